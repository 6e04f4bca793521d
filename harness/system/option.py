"""An option declared once: an option of the command line, and a keyword argument of Python with the same checks."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field, fields
from enum import StrEnum
from inspect import getattr_static
from typing import Any, Generic, TypeAlias, TypeVar, overload

import click

from harness.system.errors import UsageError
from harness.system.terminal import text_of

_Accepted = TypeVar("_Accepted")
_Value = TypeVar("_Value")
_Kind: TypeAlias = "click.ParamType[Any]"  # as text, because the class is generic since click 8.5 only
# Values of Python are converted to text first, so that both share the rules.
_TEXT_TYPES = (click.types.StringParamType, click.types.BoolParamType, click.IntRange, click.Choice)


class Group(StrEnum):
    """Sections of the help text of a command with many options, in the order of the help text."""

    GOAL = "Goal"
    DATA = "Data"
    METHOD = "Method"
    EFFORT = "Effort"
    OUTPUT = "Output"


@dataclass(slots=True, eq=False)
class Option(Generic[_Accepted, _Value]):
    """Declaration of an option; a field of a dataclass, which checks and converts assigned values.

    The annotation ``Option[A, V]`` names the type A of accepted values and the type V of the checked value.

    Attributes:
        kind: Type of click that checks and converts the value.
        group: Section of the help text; None for an argument of Python alone.
        flags: By default the name of the field with hyphens, as in ``--name``.
        multiple: Whether the option may be repeated; the value is a tuple.
        known_values: Returns the known values, for completion in a shell.
        source_key: Key under which a study records the source of the value, by default the name; None for an option
            that does not change the outcome.
    """

    default: _Accepted
    help: str
    kind: _Kind = click.STRING
    _: KW_ONLY
    group: Group | None = Group.OUTPUT
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    envvar: str | None = None
    multiple: bool = False
    known_values: Callable[[], Iterable[str]] | None = None
    source_key: str | None = ""
    name: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.flags = self.flags or (f"--{name.replace('_', '-')}",)
        if self.source_key == "":
            self.source_key = name

    @overload
    def __get__(self, instance: None, owner: type) -> _Accepted: ...
    @overload
    def __get__(self, instance: object, owner: type) -> _Value: ...
    def __get__(self, instance: object | None, owner: type) -> _Accepted | _Value:
        # A dataclass reads the default from the class.
        if instance is None:
            return self.default
        value: _Value = vars(instance)[self.name]
        return value

    def __set__(self, instance: object, value: _Accepted) -> None:
        vars(instance)[self.name] = self.checked(value)

    def checked(self, value: Any) -> Any:
        """Return a value converted as on the command line; None stands for the default. Raises UsageError."""
        if value is None:
            # An empty environment variable counts as a missing one.
            environment_value = "" if self.envvar is None else os.environ.get(self.envvar, "")
            value = environment_value or self.default
        if value is None:
            return None
        if not self.multiple:
            return converted(self.name, self.kind, value)
        members = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        if not members and self.default:
            raise UsageError(f"{self.name}: at least one value is required")
        return tuple(converted(self.name, self.kind, member) for member in members)


def options_of(dataclass_type: type) -> dict[str, Option[Any, Any]]:
    """Return the options that the fields of a dataclass, all of which are options, declare, by name."""
    # ``getattr`` would return the default value, see ``Option.__get__``.
    return {each.name: getattr_static(dataclass_type, each.name) for each in fields(dataclass_type)}


def converted(name: str, kind: _Kind, value: Any) -> Any:
    """Return a value of Python converted by a click type; raise UsageError, about ``name``, if not allowed."""
    is_text = isinstance(value, str | os.PathLike)
    is_device = type(value).__name__ == "device"  # of torch, which is not imported here
    try:
        if isinstance(kind, click.types.StringParamType) and not (is_text or is_device):
            raise click.UsageError(f"{reprlib.repr(value)} is not a {kind.name}")
        if isinstance(kind, click.Path) and (not is_text or "\0" in os.fspath(value)):
            raise click.UsageError(f"{reprlib.repr(value)} is not a path")
        return kind.convert(text_of(value) if isinstance(kind, _TEXT_TYPES) else value, None, None)
    except (click.UsageError, ValueError) as error:
        # click says that a text "is not a valid integer range".
        message = " ".join(str(error).split()).rstrip(".").replace("a valid integer range", "a whole number")
        raise UsageError(f"{name}: {message}") from None
