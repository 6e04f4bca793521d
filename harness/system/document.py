"""JSON documents read back as the frozen dataclasses that wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from harness.system.errors import ContentError

_T = TypeVar("_T")


def documented(kind: type[_T]) -> type[_T]:
    """Mark a dataclass as one that documents hold: fields it does not know, nan and infinity are refused."""
    kind.__pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # type: ignore[attr-defined]
    return kind


def read_as(kind: type[_T], text: str | bytes, where: str) -> _T:
    """Return the dataclass that a JSON text states; fields left out take their defaults.

    Nothing is converted: a number in quotes, a number that is not finite or an unknown field is an error. The fields
    that break a rule are named with their place in the document.

    Raises:
        ContentError: the text is not JSON, or states no such value; ``where`` begins the message.
    """
    from pydantic import ValidationError

    try:
        value: _T = _adapter(cast(Any, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        # Another schema explains all the other faults, so it is named first.
        found = sorted(error.errors(include_url=False), key=lambda fault: fault["loc"] != ("schema_version",))
        faults = [_fault(fault) for fault in found[:3]]
        more = len(found) - len(faults)
        rest = f"; and {more} more" if more > 0 else ""
        raise ContentError(f"{where} is not what this program writes: {'; '.join(faults)}{rest}") from error
    return value


def read_each(read: Callable[[Path], _T], paths: Iterable[Path]) -> tuple[list[_T], list[ContentError]]:
    """Return what could be read, and for each of the others why it could not."""
    found, damage = [], []
    for path in paths:
        try:
            found.append(read(path))
        except ContentError as error:
            damage.append(error)
    return found, damage


@cache
def _adapter(kind: type[Any]) -> Any:
    # Imported and built here: pydantic takes a tenth of a second, and a command that reads no document need not wait.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    given = repr(fault["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    if fault["type"] in ("missing", "json_invalid"):
        return f"{place}: {fault['msg']}" if place else str(fault["msg"])
    return f"{place} is {given}: {fault['msg']}" if place else f"{given}: {fault['msg']}"
