"""Options of commands and API functions, and output helpers of the commands.

``takes`` declares the arguments of an API function as click options, which check the arguments and complete the
docstring. ``of`` gives these options to a command.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from harness.interface.declarations import COMPLETED, DECLARED, DatasetType, known
from harness.system.errors import Interrupted, UsageError
from harness.system.terminal import Parsed, counted, say, text_of, write

if TYPE_CHECKING:
    from harness.training.native.engine import EngineChoice
    from harness.training.recipe import Recipe

_F = TypeVar("_F", bound=Callable[..., Any])


def _completed(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    return lambda ctx, param, begun: [each for each in known(name) if each.startswith(begun)]


class Grouped(click.Command):
    """A command with many options, which the help text shows in groups."""

    _GROUPS: ClassVar = {
        "Goal": ("budget", "limits", "chip", "target_pct", "minimise"),
        "Data": ("dataset", "data"),
        "Method": ("space", "sampler", "recipe", "trainer", "epochs", "prior", "start_from", "seed"),
        "Effort": ("time", "trials", "trial_time", "trial_memory", "workers", "cluster", "device", "engine"),
    }

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in one section per group; ungrouped options form the section ``Output``."""
        left = {str(each.name): record for each in self.get_params(ctx) if (record := each.get_help_record(ctx))}
        groups = {title: [left.pop(name) for name in names] for title, names in self._GROUPS.items()}
        for title, records in (groups | {"Output": list(left.values())}).items():
            with formatter.section(title):
                formatter.write_dl(records)


as_json = click.option("--json", "as_json", is_flag=True, help="Print a single JSON document.")


def flag(name: str) -> str:
    """Return the command-line flag of a declared argument."""
    called: str = DECLARED[name].get("flag", f"--{name.replace('_', '-')}")
    return called


def option(name: str, **changes: Any) -> Callable[[_F], _F]:
    """Return a decorator that adds a declared option to a command; ``changes`` replace parts of the declaration."""
    words = {key: value for key, value in DECLARED[name].items() if key not in ("flag", "also")} | changes
    if name in COMPLETED:
        words["shell_complete"] = _completed(name)
    return click.option(flag(name), *DECLARED[name].get("also", ()), name, **words)


def some(*names: str) -> Callable[[_F], _F]:
    """Return a decorator that adds the named options, in the given order, and ``--json`` to a command."""

    def decorated(command: _F) -> _F:
        return functools.reduce(lambda made, name: option(name)(made), reversed(names), as_json(command))

    return decorated


def takes(**changes: dict[str, Any]) -> Callable[[_F], _F]:
    """Return a decorator that checks the arguments of an API function as the command line does.

    The options are stored in ``__click_params__``, and their help texts are appended to the section ``Args:`` of the
    docstring, which must be the last one before ``Raises:``.

    Args:
        changes: Keyword arguments of ``click.option`` by argument name, which replace declared values. Defaults are
            those of the signature.
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
    """Return the arguments of an API function, converted as on the command line, or raise UsageError."""
    return {each.name: _value(each, arguments[each.name]) for each in _options(function) if each.name in arguments}


def value(name: str, kind: Any, argument: Any) -> Any:
    """Return a Python value converted by the click type ``kind``, or raise UsageError that names the argument."""
    is_text = isinstance(argument, str | os.PathLike)
    try:
        if kind is click.STRING and not is_text and type(argument).__name__ != "device":
            raise click.UsageError(f"{reprlib.repr(argument)} is not a text")
        if isinstance(kind, click.Path) and not (is_text and "\0" not in os.fspath(argument)):
            raise click.UsageError(f"{reprlib.repr(argument)} is not a path")
        # Values that are not text are converted to text first, so that API and command line share the rules.
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
            raise UsageError(f"{declared.name}: at least one value is required")
        return tuple(value(declared.name, declared.type, each) for each in members)
    return None if argument is None else value(declared.name, declared.type, argument)


def names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the option names of an API function."""
    return tuple(str(each.name) for each in _options(function))


def changed(function: Callable[..., Any], request: object) -> dict[str, Any]:
    """Return the fields of a request that differ from the defaults of an API function, by name."""
    defaults = {str(each.name): _value(each, each.default) for each in _options(function)}
    return {name: getattr(request, name) for name, default in defaults.items() if getattr(request, name) != default}


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
    """Print on stderr how networks will be trained, as far as the user should know.

    The lines name refused instruction sets of the engine, the reason why torch trains, the additional starts, and too
    few images for the scales of integers.
    """
    for why in choice.engine.skipped if choice.engine is not None else ():
        say(f"the native engine is built {why}")
    if choice.why:
        say(f"training with torch instead of the native engine: {choice.why}")
    if recipe.starts > 1:
        from harness.training.recipe import halvings, start_overhead

        last = halvings(recipe, recipe.epochs)[-1].epochs
        overhead = counted(start_overhead(recipe, recipe.epochs), "epoch")
        say(
            f"{recipe.starts} starts per training: after epoch {last} of {recipe.epochs}, only the start with the "
            f"lowest training loss is left; the dropped starts take {overhead}"
        )
    if recipe.precision == "int8":
        from harness.training.integer import warn_of_few

        warn_of_few(image_count)


def say_left_out(damage: Iterable[str]) -> None:
    """Print a warning on stderr for each damaged document that was left out."""
    for message in damage:
        say(f"left out: {message}", "warning")


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must be replaced by None first."""
    click.echo(json.dumps(document, allow_nan=False))


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print the answer of a command, as JSON or as text."""
    print_json(document) if as_json else write(text)
