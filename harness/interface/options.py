"""Options in use: ``takes`` gives them to functions of the API, ``of`` to the commands of these functions.

Also what commands do alike: they say what is going on, and print their answer for people or for programs.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from harness.interface.declarations import COMPLETED, DECLARED, DatasetType, known
from harness.system.errors import Interrupted, UsageError
from harness.system.terminal import Parsed, counted, say, text_of, write
from search_spaces.network import Task, analyse
from search_spaces.notation import parse_network

if TYPE_CHECKING:
    from harness.training.native.engine import Choice
    from harness.training.recipe import Recipe

_F = TypeVar("_F", bound=Callable[..., Any])


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    return lambda ctx, param, begun: [each for each in known(name) if each.startswith(begun)]


class Grouped(click.Command):
    """A command of many options, which its help shows in groups."""

    _GROUPS: ClassVar = {
        "Goal": ("budget", "limits", "chip", "target_pct", "minimise"),
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
    called: str = DECLARED[name].get("flag", f"--{name.replace('_', '-')}")
    return called


def option(name: str, **changes: Any) -> Callable[[_F], _F]:
    """Return the decorator that adds an option that is declared here to a command, with these changes."""
    words = {key: value for key, value in DECLARED[name].items() if key not in ("flag", "also")} | changes
    if name in COMPLETED:
        words["shell_complete"] = _completed(name)
    return click.option(flag(name), *DECLARED[name].get("also", ()), name, **words)


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
                kind = DECLARED.get(name, {}).get("type")
                click.argument(name, type=kind, shell_complete=_completed(name))(checked)
            elif name in DECLARED:
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
        plain = argument if isinstance(kind, Parsed | DatasetType | click.Path) else text_of(argument)
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


def say_training(choice: Choice, recipe: Recipe, task: Task, image_count: int, teachers: Path) -> None:
    """Say why torch trains, what the engine lacks, which teachers and starts train, of how few images integers come."""
    for why in choice.engine.skipped if choice.engine is not None else ():
        say(f"the engine is built {why}")
    if choice.why:
        say(f"torch trains, not the native engine: {choice.why}")
    if recipe.teacher_recipe is not None:
        parameters = analyse(parse_network(recipe.teacher, task), task).parameters
        say(
            f"{counted(recipe.teacher_seeds, 'teacher')} of {parameters:,} parameters; a missing one is trained first, "
            f"for {counted(recipe.teacher_recipe.epochs, 'epoch')}, and kept in {teachers}"
        )
    if recipe.starts > 1:
        from harness.training.recipe import halvings, start_overhead

        last = halvings(recipe, recipe.epochs)[-1].epochs
        overhead = counted(start_overhead(recipe, recipe.epochs), "epoch")
        say(
            f"{recipe.starts} starts a training: the best by training loss is left after {last} of "
            f"{counted(recipe.epochs, 'epoch')}, and the others take {overhead}"
        )
    if recipe.precision == "int8":
        from harness.training.integer import warn_of_few

        warn_of_few(image_count)


def say_left_out(damage: Iterable[str]) -> None:
    """Say on stderr what was left out because it does not hold together, a line each."""
    for message in damage:
        say(f"left out: {message}", "warning")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must have been made null."""
    click.echo(json.dumps(document, allow_nan=False))


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print what a command has found, for programs or for people."""
    print_json(document) if as_json else write(text)
