"""Options of commands and API functions, and output helpers of the commands.

``takes`` and ``takes_request`` declare the arguments of an API function as options, which check the arguments and
complete the docstring. A command gets the options from an API function by ``of``, or by name from ``some``.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import chain
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, get_args

import click
from click.core import ParameterSource

from harness.searching.option_types import FILE, SHAPE
from harness.searching.request import SearchRequest
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.space_errors import nearest
from harness.system.errors import Interrupted
from harness.system.files import workspace
from harness.system.interruption import deferred
from harness.system.option import Group, Option, options_of
from harness.system.settings import fixed_settings
from harness.system.terminal import counted, say, write

if TYPE_CHECKING:
    from harness.training.native.engine import EngineChoice
    from harness.training.recipe import Recipe

_F = TypeVar("_F", bound=Callable[..., Any])
_Arguments = ParamSpec("_Arguments")
_Request = TypeVar("_Request")
_Result = TypeVar("_Result")


def _known_networks() -> Iterable[str]:
    from harness.interface.lookup import known_names

    return known_names(workspace())


class _FurtherOptions:
    """Options that a search lacks, or that have a different meaning in a search."""

    network = Option[Any, Any](
        None, "An ``Architecture``, the notation, a preset, a hash or name of the leaderboard, ``@FILE``, ``-`` for "
        "stdin, a PyTorch module (``FILE.py:NAME`` executes the code), a ``Trial``, or a ``Study`` (the answer).",
        known_values=_known_networks,
    )  # fmt: skip
    epochs = Option[Any, Any](None, "Number of epochs; replaces the number of the named recipe.", click.IntRange(1))
    seed = Option[Any, Any](0, "Index of the seed in the list of fixed seeds.", click.IntRange(0, 2**32 - 1))
    seeds = Option[Any, Any](None, "Number of seeds [default: 10, or 30 for a certification].", click.IntRange(1, 1000))
    name = Option[Any, Any]("", "Name of the leaderboard row.")
    input_shape = Option[Any, Any](
        None, "Shape of an image: channels x rows x columns [default: 1x28x28].", SHAPE, flags=("--input",)
    )
    classes = Option[Any, Any](None, "Number of classes [default: 10].", click.IntRange(2))
    torch = Option[Any, Any](False, "Also count with torch, torchsummary and fvcore.", click.BOOL)
    c = Option[Any, Any](None, "Folder to write, with the integer network as C.", FILE)
    optimise = Option[Any, Any](
        None, "Goal of the C code: few bytes or few instructions [default: size; speed if it fits --chip].",
        click.Choice(list(map(str, Optimisation))), flags=("--optimise", "--optimize"),
    )  # fmt: skip
    profile = Option[Any, Any](
        False, "Also print work and bytes of each layer of the C on emulated chips, and the layer to change first.",
        click.BOOL,
    )  # fmt: skip
    stream = Option[Any, Any](
        False, "C code that takes an image row by row, or a series step by step, so that the arena holds rows.",
        click.BOOL,
    )  # fmt: skip
    pytorch = Option[Any, Any](None, "Folder to write, with the network as plain PyTorch.", FILE)
    onnx = Option[Any, Any](None, "ONNX file to write.", FILE)
    safetensors = Option[Any, Any](None, "File to write, with the weights as safetensors.", FILE)
    out = Option[Any, Any](None, "File to write, with the weights as safetensors.", FILE)
    retrain = Option[Any, Any](
        False, "Train a recorded seed again; required if the weights of the seed are not kept.", click.BOOL
    )


_FURTHER = {name: option for name, option in vars(_FurtherOptions).items() if isinstance(option, Option)}
_DECLARED: dict[str, Option[Any, Any]] = options_of(SearchRequest) | _FURTHER


class _GroupedOption(click.Option):
    def __init__(self, *arguments: Any, group: Group, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.group = group


class Grouped(click.Command):
    """A command with many options, which the help text shows in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section per group; ungrouped options belong to the section ``Output``."""
        sections: dict[Group, list[tuple[str, str]]] = {group: [] for group in Group}
        for parameter in self.get_params(ctx):
            group = parameter.group if isinstance(parameter, _GroupedOption) else Group.OUTPUT
            help_line = parameter.get_help_record(ctx)
            if help_line is not None and isinstance(parameter, click.Option):
                sections[group].append(help_line)
        for group, help_lines in sections.items():
            with formatter.section(group):
                formatter.write_dl(help_lines)


as_json = click.option("--json", "as_json", is_flag=True, help="Print a single JSON document.")


def option(name: str, **changes: Any) -> Callable[[_F], _F]:
    """Return a decorator that adds a named option; ``changes`` replace arguments of ``click.option``."""
    return _click_option(_DECLARED[name], **changes)


def _click_option(declaration: Option[Any, Any], **changes: Any) -> Callable[[_F], _F]:
    is_list = getattr(declaration.kind, "between", "") == ","  # members may also be given by repeated options
    keywords = {
        "cls": _GroupedOption,
        "group": declaration.group,
        "type": declaration.kind,
        "default": declaration.default,
        "help": declaration.help,
        "metavar": declaration.metavar,
        "envvar": declaration.envvar,
        "multiple": declaration.multiple or is_list,
        "callback": (lambda ctx, param, lists: tuple(chain.from_iterable(lists)) or None) if is_list else None,
        "is_flag": isinstance(declaration.default, bool),
        "show_default": declaration.default not in ("", ()),
        "shell_complete": _completed(declaration),
    }
    return click.option(*declaration.flags, declaration.name, **keywords | changes)


def _completed(declaration: Option[Any, Any]) -> Callable[[click.Context, click.Parameter, str], list[str]] | None:
    known_values = declaration.known_values
    if known_values is None:
        return None
    return lambda ctx, param, prefix: [value for value in known_values() if value.startswith(prefix)]


def json_and(*names: str) -> Callable[[_F], _F]:
    """Return a decorator that adds the named options, in this order, and ``--json`` to a command."""

    def decorated(command: _F) -> _F:
        command = as_json(command)
        # click shows the option of the last decorator first.
        for name in reversed(names):
            command = option(name)(command)
        return command

    return decorated


def dataset_as_argument(command: _F) -> _F:
    """Give a command the argument DATASET, which means the same as the option ``--dataset``."""

    @functools.wraps(command)
    def merged(*arguments: Any, dataset_argument: str | None, **keywords: Any) -> Any:
        context = click.get_current_context()
        if dataset_argument is not None:
            if context.get_parameter_source("dataset") is ParameterSource.COMMANDLINE:
                raise click.UsageError("DATASET and --dataset cannot be combined")
            context.set_parameter_source("dataset", ParameterSource.COMMANDLINE)
            keywords["dataset"] = dataset_argument
        return command(*arguments, **keywords)

    declaration = _DECLARED["dataset"]
    completed = _completed(declaration)
    argument = click.argument(
        "dataset_argument", metavar="[DATASET]", required=False, type=declaration.kind, shell_complete=completed
    )
    return argument(merged)  # type: ignore[return-value]


def takes(**helps: str) -> Callable[[_F], _F]:
    """Return a decorator that checks and converts the arguments of an API function as the command line does.

    A parameter with a default that has the name of a declared option is an option, with the default of the signature. A
    parameter without a default is an argument of the command.

    Args:
        helps: Texts by argument name, in place of the declared texts.
    """

    def decorated(function: _F) -> _F:
        signature = inspect.signature(function)
        required: list[Option[Any, Any]] = []
        declarations: dict[str, Option[Any, Any]] = {}
        for name, parameter in signature.parameters.items():
            if name not in _DECLARED:
                continue
            declaration = copy(_DECLARED[name])
            declaration.help = helps.get(name, declaration.help)
            if parameter.default is parameter.empty:
                required.append(declaration)
            else:
                declaration.default = parameter.default
                declarations[name] = declaration

        @functools.wraps(function)
        @fixed_settings()
        def checking(*arguments: Any, **keywords: Any) -> Any:
            values = _bound(function.__name__, signature, *arguments, **keywords)
            checked_values = {name: each.checked(values.get(name)) for name, each in declarations.items()}
            with deferred():
                return function(**values | checked_values)

        _declare(checking, declarations.values(), required)
        for argument in required:
            click.argument(argument.name, type=argument.kind, shell_complete=_completed(argument))(checking)
        return checking  # type: ignore[return-value]

    return decorated


def takes_request(
    request: Callable[_Arguments, _Request],
) -> Callable[[Callable[[_Request], _Result]], Callable[_Arguments, _Result]]:
    """Return a decorator that gives a function of a request the fields of the request, ``Option``, as arguments."""

    def decorated(function: Callable[[_Request], _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(function)
        @fixed_settings()
        def called(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
            checked_request = cast(Any, request)(**_bound(function.__name__, signature, *arguments, **keywords))
            with deferred():
                return function(checked_request)

        # For ``help`` and editors, the signature has the types that ``Option[A, V]`` accepts: A.
        options = inspect.signature(request).parameters.values()
        parameters = [each.replace(annotation=get_args(each.annotation)[0]) for each in options]
        signature = inspect.signature(function).replace(parameters=parameters)
        vars(called)["__signature__"] = signature
        _declare(called, options_of(cast(type, request)).values())
        return called

    return decorated


def _bound(name: str, signature: inspect.Signature, /, *arguments: Any, **keywords: Any) -> dict[str, Any]:
    try:
        return signature.bind(*arguments, **keywords).arguments
    except TypeError as error:
        # ``bind`` names the first unknown argument.
        hints = [nearest(each, signature.parameters) for each in keywords if each not in signature.parameters][:1]
        raise TypeError("; ".join(filter(None, [f"harness.{name}: {error}", *hints]))) from None


def _declare(
    function: Callable[..., Any], options: Collection[Option[Any, Any]], required: Collection[Option[Any, Any]] = ()
) -> None:
    """Store options for ``of``, and append the help texts to ``Args:``, the last section before ``Raises:``.

    Click stores options in the attribute ``__click_params__`` of a function until the function becomes a command.
    """
    before, raises, after = inspect.cleandoc(function.__doc__ or "").partition("Raises:")
    arguments = "" if "Args:" in before else "\nArgs:"
    lines = "".join(f"\n    {declaration.name}: {declaration.help}" for declaration in (*required, *options))
    function.__doc__ = f"{before.rstrip()}\n{arguments}{lines}\n\n{raises}{after}"
    for declaration in reversed([*options]):
        if declaration.group is not None:
            _click_option(declaration)(function)


def of(function: Callable[..., Any]) -> Callable[[_F], _F]:
    """Return a decorator that gives a command the parameters of an API function, in the same order, and ``--json``."""

    def decorated(command: _F) -> _F:
        vars(as_json(command)).setdefault("__click_params__", []).extend(vars(function)["__click_params__"])
        return command

    return decorated


# Helpers of commands ---------------------------------------------------------------------------------------------


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C within the block into ``Interrupted``, with a hint that the same command resumes."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", hint="resume with the same command") from error


def say_training(choice: EngineChoice, recipe: Recipe, image_count: int) -> None:
    """Print on stderr the unusual properties, if any, of the trainings that follow."""
    if choice.engine is not None:
        for limitation in choice.engine.skip_reasons:
            say(f"the native engine is built {limitation}")
    if choice.why:
        say(f"training with torch instead of the native engine: {choice.why}")
    if recipe.starts > 1:
        last_stage_epoch = recipe.start_stages(recipe.epochs)[-1].epochs
        overhead = counted(recipe.start_overhead(recipe.epochs), "epoch")
        say(
            f"{recipe.starts} starts per training: after epoch {last_stage_epoch} of {recipe.epochs}, only the start "
            f"with the lowest training loss is left; the dropped starts take {overhead}"
        )
    if recipe.precision == "int8":
        from harness.training.integer import warn_of_few

        warn_of_few(image_count)


def say_left_out(damage: Iterable[str]) -> None:
    """Print a warning on stderr for each damaged document that was left out."""
    for message in damage:
        say(f"left out: {message}", "warning")


def print_json(document: dict[str, Any]) -> None:
    """Print a JSON document on stdout; non-finite numbers must be replaced by None first."""
    click.echo(json.dumps(document, allow_nan=False))


def print_result(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print the result of a command on stdout: ``document`` if ``as_json``, else ``text``."""
    if as_json:
        print_json(document)
    else:
        write(text)
