"""Where options live: each is declared once, for the command line and for the function of ``import harness`` alike.

``takes`` lets a function of the API take arguments that are declared here, ``of`` gives them to its command.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from harness.system.errors import Interrupted, UsageError
from harness.system.files import workspace
from harness.system.terminal import DURATION, Parsed, counted, say, text_of

if TYPE_CHECKING:
    from harness.training.native.engine import Choice
    from harness.training.recipe import Recipe
    from search_spaces.network import Task
    from search_spaces.ops import Shape
    from search_spaces.space import Condition

_F = TypeVar("_F", bound=Callable[..., Any])
# Channels of a data set (docs/data.md), and of a picture in colours.
_MOST_CHANNELS, _MOST_COLOURS = 16, 4


# The values ------------------------------------------------------------------------------------------------------


def number_or(word: str, number: str, low: int, high: int | None = None, name: str = "number") -> Parsed:
    """Return the type of a number of a range, or a word, which becomes None; errors call it ``number``."""

    def parse(text: str) -> int | None:
        if text != word and not (text.isdecimal() and low <= int(text) <= (high or int(text))):
            raise ValueError(f"{text!r} is neither {word} nor {number}")
        return None if text == word else int(text)

    return Parsed(f"{name}|{word}", parse)


def _spelled_out(text: str) -> str:
    # 20k and 1.5M as whole numbers.
    def number(match: re.Match[str]) -> str:
        return f"{Decimal(match[1]) * (10**6 if match[2] in 'mM' else 1000):f}".partition(".")[0]

    return re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)([kKmM])\b", number, text)


class Count(click.IntRange):
    """A whole number of a range; 20k and 1.5M are understood."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        text: Any = _spelled_out(value) if isinstance(value, str) else value
        return super().convert(text, param, ctx)


def _address(text: str) -> str:
    if (
        not re.fullmatch(r"local|auto|.+:\d{1,5}", text)
        or not 0 < int(text.rpartition(":")[2] if ":" in text else 1) < 65536
    ):
        raise ValueError(f"{text!r} is none of local, auto and HOST:PORT, such as 10.0.0.1:6379")
    return text


def _epochs(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*\d{1,6}\s*(,\s*\d{1,6}\s*)*", text, re.ASCII):
        raise ValueError(f"{text!r} is not a list of epochs such as 1,2,4,8")
    return tuple(map(int, text.split(",")))


def _accuracy(text: str, whole: int) -> float:
    # Of 100 or of 1: whoever writes 0.994 of 100 means a share, and whoever writes 97 of 1 means per cent.
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not whole / 100 <= number <= whole:
        other = number * 100 if whole == 100 else number / 100
        meant = f"; did you mean {other:.12g}?" if whole / 100 <= other <= whole else ""
        raise ValueError(f"{text} is no accuracy to ask for; allowed are {whole / 100:g} to {whole}{meant}")
    # A hundred times 0.974 is 97.39999999999999, and the target is a part of names and keys.
    return float(f"{number:.12g}")


def _conditions(text: str) -> tuple[Condition, ...]:
    from search_spaces.errors import NotationError
    from search_spaces.notation import parse_conditions

    try:
        return parse_conditions(_spelled_out(text))
    except NotationError as error:
        raise ValueError(f"{error.message}, in {text!r}; {error.hint or 'such as macs<=1000000'}") from error


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){2}", text):
        raise ValueError(f"{text!r} is no shape such as 1x32x32 (channels, rows, columns)")
    channels, rows, columns = map(int, text.split("x"))
    # Tall strips of more channels than a data set may have: the order of Keras.
    if channels > _MOST_CHANNELS and rows > _MOST_COLOURS >= columns:
        raise ValueError(f"{text} is channels x rows x columns; did you mean {columns}x{channels}x{rows}?")
    return channels, rows, columns


class _DatasetType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """Turns a data set, or the path of one's own, into its name."""

    name = "name or path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name under which the data are known; what is a path is read and kept."""
        from harness.data import datasets

        if isinstance(value, datasets.Dataset):
            return value.name
        if not isinstance(value, str | os.PathLike):
            self.fail(f"a value of type {type(value).__name__} is no data set, name or path; harness.Data makes one")
        if value in (datasets.AUTO, *datasets.DATASETS):
            return str(value)
        from harness.data.own import Options, name_of, parts_text, source_options

        name = name_of(str(value))
        if name != str(value):
            spec, options = datasets.dataset(name), source_options(str(value))
            remarks = "".join(f"; {remark}" for remark in spec.remarks)
            manner = "" if options == Options() else f", read with {options} as it was described"
            say(f"{value} is the data set {name}{manner}: {spec.classes} classes, {parts_text(spec)}{remarks}")
        return name


SHAPE = Parsed("CxRxC", _shape, between="x")
PER_CENT = Parsed("per cent", functools.partial(_accuracy, whole=100))
SHARE = Parsed("share", functools.partial(_accuracy, whole=1))
EPOCHS = Parsed("epochs", _epochs, between=",")
WORKERS = number_or("auto", "a number from 1 to 256", 1, 256)
FILE = click.Path(path_type=Path)


# The options -----------------------------------------------------------------------------------------------------

# By the name of the argument; the option is called so too, but for a ``flag``. The default is the function's.
_DECLARED: dict[str, dict[str, Any]] = {
    "budget": {"type": Count(1, 10**9), "help": "Parameter budget: a network that has more is refused."},
    "minimise": {
        "also": ["--minimize"],
        "type": click.Choice(["parameters", "macs", "weight_bytes", "ram_bytes", "latency_us"]),
        "multiple": True,
        "help": "Objective to minimise, bytes being those of an int8 deployment; given twice, a Pareto front is kept.",
    },
    "limits": {
        "flag": "--limit",
        "type": Parsed("METRIC<=N", _conditions, between=","),
        "help": "Constraints on every network, such as 'macs<=1000000,receptive_field>=20'.",
    },
    "target_pct": {
        "flag": "--target",
        "type": PER_CENT,
        "help": "Test accuracy to reach, in per cent [default: that of the row or the data set].",
    },
    "space": {"help": "Search space: a name, or @FILE; auto suits the shape of the images."},
    "sampler": {
        "help": "auto (the same as surrogate), surrogate, evolution, tpe, nsga2, random, or MODULE:FUNCTION, "
        "which makes one of Optuna's samplers of a seed."
    },
    "recipe": {"help": "Training recipe: a name, or @FILE.toml; auto suits the data set."},
    "trainer": {
        "metavar": "MODULE:FUNCTION",
        "help": "Train by one's own code, in place of a recipe; the module may lie in the current folder.",
    },
    "start_from": {
        "flag": "--from",
        "metavar": "STUDY",
        "help": "Begin with the confirmed networks of a study, or with those of the 'leaderboard'.",
    },
    "epochs": {"type": click.IntRange(1), "help": "Number of epochs, in place of those of the recipe that is named."},
    "prior": {
        "type": click.Choice(["shipped", "own", "none"]),
        "help": "Past runs to learn from: shipped with the package, own (these and your own studies'), or none.",
    },
    "trials": {"type": click.IntRange(1), "help": "Maximum number of trials [default: unlimited]."},
    "time": {"type": DURATION, "help": "Time budget, verification included."},
    "seeds": {"type": click.IntRange(1, 1000), "help": "How many seeds [default: 10, or 30 for a certification]."},
    "seed": {"type": click.IntRange(0, 2**32 - 1), "help": "Index of one of the fixed seeds."},
    "study": {"help": "Name of the study [default: made from the configuration]."},
    "trial_time": {"type": DURATION, "help": "Time limit of one run."},
    "trial_memory": {"type": Count(64, 10**9), "help": "Memory limit of a worker in MiB, mapped files not counted."},
    "storage": {
        "metavar": "URL",
        "help": "Mirror the study in this database, for optuna-dashboard: postgresql://..., sqlite:///FILE.",
    },
    "log": {
        "type": click.Choice(["tensorboard", "mlflow"]),
        "help": "Write runs for TensorBoard, into the study's folder, or for MLflow; needs the extra 'logs'.",
    },
    "workers": {
        "type": WORKERS,
        "default": "auto",
        "help": "Training processes [auto: one a core on a CPU, one on a GPU].",
    },
    # None for this machine's processes.
    "cluster": {
        "type": Parsed("local|auto|HOST:PORT", _address),
        "help": "Train on the nodes of a Ray cluster: one started here, the one this machine is in, or the one whose "
        "head is named; --workers then counts for each node (docs/cluster.md).",
    },
    "device": {"default": "auto", "help": "auto, cpu, cuda or cuda:N."},
    "engine": {
        "default": "auto",
        "help": "native (compiled, for CPUs), torch, or auto (native where it can train the recipe).",
    },
    "dataset": {
        "default": "auto",
        "type": _DatasetType(),
        "help": "auto, mnist, fashion-mnist, kmnist, mnist-5k, or the path of one's own ('harness data describe'); "
        "auto is the data set of a recorded network, else mnist, or mnist-5k where there is no MNIST.",
    },
    "data": {
        "envvar": "HARNESS_DATA",
        "type": FILE,
        "help": "Folder of the data, in torchvision's layout [env HARNESS_DATA; default: the user's cache].",
    },
    "name": {"help": "Name of the row.", "show_default": False},
    "input_shape": {
        "flag": "--input",
        "type": SHAPE,
        "help": "Shape of an image: channels x rows x columns [default: 1x28x28].",
    },
    "classes": {"type": click.IntRange(2), "help": "Classes to tell apart [default: 10]."},
    "torch": {"help": "Count with torch, torchsummary and fvcore too."},
    "onnx": {"type": FILE, "help": "Write an ONNX model there."},
    "safetensors": {"type": FILE, "help": "Write the weights there."},
    "out": {"type": FILE, "help": "Write the weights there, as safetensors."},
    "retrain": {"help": "Train a recorded seed again; needed where its weights are not kept."},
}


def _known(name: str) -> Iterable[str]:
    """Return what an option or argument may name."""
    match name:
        case "space":
            from search_spaces.catalog import SPACES

            return ("auto", *SPACES)
        case "sampler":
            from harness.searching.optuna_sampler import SAMPLERS

            return ("auto", *SAMPLERS)
        case "recipe":
            from harness.training.recipe import RECIPES

            return ("auto", *RECIPES)
        case "engine":
            return ("auto", "native", "torch")
        case "dataset":
            from harness.data.datasets import DATASETS

            return ("auto", *DATASETS, *(path.name for path in (workspace().runs / ".data").glob("*-*")))
        case "study" | "start_from":
            from harness.interface.lookup import studies

            return studies(workspace())
        case "network":
            from harness.interface.lookup import known_names

            return known_names(workspace())
    return ()


_COMPLETED = ("space", "sampler", "recipe", "engine", "dataset", "study", "start_from")


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    return lambda ctx, param, begun: [each for each in _known(name) if each.startswith(begun)]


class Grouped(click.Command):
    """A command of many options, which its help shows in groups."""

    _GROUPS: ClassVar = {
        "Goal": ("budget", "limits", "target_pct", "minimise"),
        "Data": ("dataset", "data"),
        "Method": ("space", "sampler", "recipe", "trainer", "epochs", "prior", "start_from", "seed"),
        "Effort": ("time", "trials", "trial_time", "trial_memory", "workers", "cluster", "device", "engine"),
    }

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section a group."""
        left = {str(each.name): record for each in self.get_params(ctx) if (record := each.get_help_record(ctx))}
        groups = {title: [left.pop(name) for name in names] for title, names in self._GROUPS.items()}
        for title, records in (groups | {"Output": list(left.values())}).items():
            with formatter.section(title):
                formatter.write_dl(records)


as_json = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")


def flag(name: str) -> str:
    """Return how an argument is called as an option."""
    called: str = _DECLARED[name].get("flag", f"--{name.replace('_', '-')}")
    return called


def option(name: str, **changes: Any) -> Callable[[_F], _F]:
    """Return the decorator that adds an option that is declared here to a command, with these changes."""
    words = {key: value for key, value in _DECLARED[name].items() if key not in ("flag", "also")} | changes
    if name in _COMPLETED:
        words["shell_complete"] = _completed(name)
    return click.option(flag(name), *_DECLARED[name].get("also", ()), name, **words)


def some(*names: str) -> Callable[[_F], _F]:
    """Return the decorator that adds these options, in this order, and ``--json``."""

    def decorated(command: _F) -> _F:
        return functools.reduce(lambda made, name: option(name)(made), reversed(names), as_json(command))

    return decorated


def takes(**changes: dict[str, Any]) -> Callable[[_F], _F]:
    """Return a decorator: what a function is given is checked as the command line does, and told in its docstring.

    Args:
        changes: by argument, what differs from its declaration; its default is that of the signature.
    """

    def decorated(function: _F) -> _F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*arguments: Any, **keywords: Any) -> Any:
            bound = signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            bound.arguments.update(values(checked, bound.arguments))
            return function(*bound.args, **bound.kwargs)

        for name, parameter in reversed(list(signature.parameters.items())):
            if parameter.default is parameter.empty:
                click.argument(name, shell_complete=_completed(name))(checked)
            elif name in _DECLARED:
                own = {"default": parameter.default, "is_flag": isinstance(parameter.default, bool)}
                option(name, **own | changes.get(name, {}))(checked)
        before, raises, after = inspect.cleandoc(function.__doc__ or "").partition("Raises:")
        arguments = "" if "Args:" in before else "\nArgs:"
        lines = "".join(f"\n    {parameter.name}: {parameter.help}" for parameter in _options(checked))
        checked.__doc__ = f"{before.rstrip()}\n{arguments}{lines}\n\n{raises}{after}"
        return checked  # type: ignore[return-value]

    return decorated


def _options(function: Callable[..., Any]) -> list[click.Option]:
    return [each for each in reversed(vars(function)["__click_params__"]) if isinstance(each, click.Option)]


def values(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function of the API as the command line would give them, or raise UsageError."""
    return {each.name: _value(each, arguments[each.name]) for each in _options(function) if each.name in arguments}


def value(name: str, kind: Any, argument: Any) -> Any:
    """Return one value of Python as an option of this type has it, or raise UsageError."""
    is_text = isinstance(argument, str | os.PathLike)
    try:
        if kind is click.STRING and not is_text and type(argument).__name__ != "device":
            raise click.UsageError(f"{reprlib.repr(argument)} is no text")
        if isinstance(kind, click.Path) and not (is_text and "\0" not in os.fspath(argument)):
            raise click.UsageError(f"{reprlib.repr(argument)} is no path")
        # What is no text is written as one, so that both doors have one rule.
        plain = argument if isinstance(kind, Parsed | _DatasetType | click.Path) else text_of(argument)
        return kind.convert(plain, None, None)
    except (click.UsageError, ValueError) as error:
        message = error.message if isinstance(error, click.UsageError) else str(error)
        plain = " ".join(message.split()).rstrip(".").replace("a valid integer range", "a whole number")
        raise UsageError(f"{name}: {plain}") from None


def _value(declared: click.Option, argument: Any) -> Any:
    if argument is None:
        argument = os.environ.get(declared.envvar) or None if isinstance(declared.envvar, str) else declared.default
    if declared.multiple:
        members = [argument] if isinstance(argument, str) or not isinstance(argument, Iterable) else list(argument)
        if not members:
            raise UsageError(f"{declared.name}: nothing is named")
        return tuple(value(declared.name, declared.type, each) for each in members)
    return None if argument is None else value(declared.name, declared.type, argument)


def names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the options of a function of the API."""
    return tuple(str(each.name) for each in _options(function))


def changed(function: Callable[..., Any], request: object) -> dict[str, Any]:
    """Return the fields of a request, made of a function's arguments, that are not the function's defaults."""
    defaults = {str(each.name): _value(each, each.default) for each in _options(function)}
    return {name: getattr(request, name) for name, default in defaults.items() if getattr(request, name) != default}


def of(function: Callable[..., Any]) -> Callable[[_F], _F]:
    """Return the decorator that gives a command what a function of the API takes, in its order, and ``--json``."""

    def decorated(command: _F) -> _F:
        vars(as_json(command)).setdefault("__click_params__", []).extend(vars(function)["__click_params__"])
        return command

    return decorated


# What commands do alike ------------------------------------------------------------------------------------------


@contextmanager
def resumable() -> Iterator[None]:
    """Say to whoever interrupts the block that the same command resumes it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", hint="resume with the same command") from error


def say_training(choice: Choice, recipe: Recipe, task: Task, teachers: Path) -> None:
    """Say once why torch trains, what the engine is built without, and that a teacher that is not kept is trained."""
    for why in choice.engine.skipped if choice.engine is not None else ():
        say(f"the engine is built {why}")
    if choice.why:
        say(f"torch trains, not the native engine: {choice.why}")
    if recipe.teacher_recipe is not None:
        from search_spaces.network import analyse
        from search_spaces.notation import parse_network

        parameters = analyse(parse_network(recipe.teacher, task), task).parameters
        say(
            f"{counted(recipe.teacher_seeds, 'teacher')} of {parameters:,} parameters; a missing one is trained first, "
            f"for {counted(recipe.teacher_recipe.epochs, 'epoch')}, and kept in {teachers}"
        )


def say_left_out(damage: Iterable[str]) -> None:
    """Say on stderr what was left out because it does not hold together, a line each."""
    for message in damage:
        say(f"left out: {message}", "warning")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must have been made null."""
    click.echo(json.dumps(document, allow_nan=False))


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print what a command has found, for programs or for people."""
    print_json(document) if as_json else click.echo(text)
