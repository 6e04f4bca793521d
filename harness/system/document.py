"""Serialisation of frozen dataclasses as JSON, and of tables as CSV.

A network is written as text and parsed while reading. CSV is safe to open in a spreadsheet: no text is a formula.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from harness.spaces.network import Architecture
from harness.spaces.notation import parse_notation
from harness.spaces.space_errors import NotationError, nearest
from harness.system.errors import ContentError, UsageError, reason
from harness.system.files import read_bytes, read_typed

_T = TypeVar("_T")
_NO_NETWORK = "no_network"  # type of the pydantic error of ``_Notation``
BRING_BACK = "restore a committed file with 'git restore'; remove an uncommitted file and repeat the command"
# A spreadsheet reads such a text as a formula, which an apostrophe in front prevents.
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")

_MAX_DIGITS = 64  # of a number in a document from an untrusted source
_MAX_DEPTH = 64  # of nesting in such a document; documents of this program have at most 12
_LONG_NUMBER = re.compile(rf"\d{{{_MAX_DIGITS + 1}}}")


class _Notation:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import PydanticCustomError, core_schema

        def network(text: str) -> Architecture:
            try:
                return parse_notation(text)
            except NotationError as error:
                facts = {"message": error.message, "position": error.position}
                raise PydanticCustomError(_NO_NETWORK, "{message}", facts) from error

        return core_schema.no_info_after_validator_function(network, core_schema.str_schema())


# Shapes are not checked, because the task is not known here.
WrittenNetwork = Annotated[Architecture, _Notation()]


def strict_json(kind: type[_T]) -> type[_T]:
    """Make documents of a dataclass strict: unknown fields, NaN and infinity are rejected."""
    kind.__pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # type: ignore[attr-defined]
    return kind


def document_of(value: Any) -> Any:
    """Return a dataclass as plain JSON values, recursively; a network becomes the canonical text.

    The key of a field is its name, or ``alias`` in the metadata of the field.
    """
    if isinstance(value, Architecture):
        return str(value)
    if is_dataclass(value):
        return {_key_of(item): document_of(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: document_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [*map(document_of, value)]
    return value


def _key_of(item: Field[Any]) -> str:
    key: str = item.metadata.get("alias", item.name)
    return key


def read_as(
    kind: type[_T], text: str | bytes | Path, source: str, hint: str | None = None, *, is_table: bool = False
) -> _T:
    """Return the dataclass stored in a JSON text or file; missing fields take the default values.

    ``source`` names the document in messages. With ``is_table``, values are texts, the cells of a table, to convert.

    Raises:
        ContentError: The file cannot be read, or a field is invalid; the message names the first invalid field.
    """
    from pydantic import ValidationError

    try:
        content = read_bytes(text) if isinstance(text, Path) else text
        try:
            parse_json(content)
        except json.JSONDecodeError:
            pass  # the validation below raises with a better message
        except ValueError as error:
            raise ContentError(f"{source}: {error}", hint=hint) from error
        value: _T = _adapter(cast(Any, kind)).validate_json(content, strict=not is_table)
        return value
    except OSError as error:
        raise ContentError(f"cannot read {source}: {reason(error)}") from error
    except ValidationError as error:
        # Another schema version explains all other errors.
        fault = min(error.errors(include_url=False), key=lambda each: each["loc"] != ("schema_version",))
        key = ".".join(map(str, fault["loc"]))
        violation = fault["msg"]
        if fault["type"] == _NO_NETWORK:
            message = f"{source}: {key} is not a network: {violation}"
            raise ContentError(message, position=fault["ctx"]["position"], text=fault["input"]) from error
        if fault["type"] == "unexpected_keyword_argument" and len(fault["loc"]) == 1:
            keys = [*map(_key_of, fields(cast(Any, kind)))]
            hint = hint or nearest(key, keys) or f"known keys: {', '.join(keys)}"
        if fault["type"] not in ("missing", "json_invalid", "value_error"):
            value_text = repr(fault["input"])
            if len(value_text) > 60:
                value_text = value_text[:57] + "..."
            # Without a key, the document as a whole has the wrong type.
            key = f"{key} is {value_text}".removeprefix(" is ")
        message = ": ".join(filter(None, (source, key, violation.removeprefix("Value error, "))))
        raise ContentError(message, hint=hint) from error


def read_toml(path: Path, subject: str) -> dict[str, Any]:
    """Return the table of a TOML file of a user; ``subject`` is the content in messages, such as ``recipe``.

    Raises:
        UsageError: The file cannot be read.
        ContentError: The file is not TOML.
    """
    try:
        text = read_typed(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the {subject} {path}: {reason(error)}") from error
    try:
        table = tomllib.loads(text)
        _check_limits(text, table)
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{path} is not TOML: {_fault(error)}") from error
    return table


def parse_json(content: str | bytes) -> Any:
    """Return the value of a JSON text from an untrusted source.

    Raises:
        ValueError: The text is not JSON (``json.JSONDecodeError``), a key is repeated, or a number or the nesting
            exceeds the limits.
    """
    try:
        value = json.loads(content, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError(_fault(error)) from error
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(str(error), "", 0) from error
    _check_limits(content, value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"duplicate key {key!r}")
        values[key] = value
    return values


def _check_limits(content: str | bytes, value: Any) -> None:
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    # Few brackets and dots (of keys in TOML), and no long number.
    if sum(map(text.count, "[{.")) <= _MAX_DEPTH and _LONG_NUMBER.search(text) is None:
        return
    level = [value]
    depth = 0
    while level:
        if depth > _MAX_DEPTH:
            raise ValueError(_fault(RecursionError()))
        if any(type(item) is int and abs(item) >= 10**_MAX_DIGITS for item in level):
            raise ValueError(f"a number has more than {_MAX_DIGITS} digits")
        members: list[Any] = []
        for item in level:
            if isinstance(item, list):
                members += item
            elif isinstance(item, dict):
                members += item.values()
        level = members
        depth += 1


def _fault(error: Exception) -> str:
    return f"the nesting is deeper than {_MAX_DEPTH} levels" if isinstance(error, RecursionError) else str(error)


def read_each(read: Callable[[Path], _T], paths: Iterable[Path]) -> tuple[list[_T], list[ContentError]]:
    """Return the documents at ``paths``, and the errors of unreadable paths."""
    documents = []
    damage = []
    for path in paths:
        try:
            documents.append(read(path))
        except ContentError as error:
            damage.append(error)
    return documents, damage


@cache
def _adapter(kind: type[Any]) -> Any:
    # pydantic takes 0.1 s to load, and many commands read no document.
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a CSV text with a header; None is an empty cell, True and False are ``true`` and ``false``."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        text = str(value)
        if isinstance(value, bool):
            text = text.lower()
        if isinstance(value, str) and text.startswith(_GUARDED):
            text = f"'{text}"
        # csv.reader would end the row at a carriage return.
        if any(mark in text for mark in ',"\r\n'):
            text = '"' + text.replace('"', '""') + '"'
        return text

    return "".join(",".join(map(cell, line)) + "\n" for line in [columns, *rows])


def unguarded(cell: str) -> str:
    """Return the text of a CSV cell without the guarding apostrophe."""
    text = cell.removeprefix("'")
    return text if text.startswith(_GUARDED) else cell
