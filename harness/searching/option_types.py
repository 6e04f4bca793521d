"""Types of option values, shared by the command line and ``import harness``."""

from __future__ import annotations

import functools
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.data import datasets
from harness.system.errors import UsageError
from harness.system.terminal import Parsed, say

if TYPE_CHECKING:
    from harness.spaces.ops import Shape

_MAX_COLOURS = 4  # channels of a colour picture: red, green, blue and alpha


def number_or(word: str, number: str, low: int, high: int | None = None, name: str = "number") -> Parsed:
    """Return the type of an option that accepts an integer in a range, or a word that stands for None.

    Args:
        number: Description of the integer in error messages.
        high: Largest allowed integer; None for no limit.
        name: Name of the integer in help texts.
    """

    def parse(text: str) -> int | None:
        if text == word:
            return None
        if not text.isdecimal() or int(text) < low or (high is not None and int(text) > high):
            raise ValueError(f"{text!r} is neither {word} nor {number}")
        return int(text)

    return Parsed(f"{name}|{word}", parse)


def _epochs(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*\d{1,6}\s*(,\s*\d{1,6}\s*)*", text, re.ASCII):
        raise ValueError(f"{text!r} is not a list of epochs such as 1,2,4,8")
    return tuple(map(int, text.split(",")))


def _accuracy(text: str, whole: int) -> float:
    """Return an accuracy of 1 to 100 % in per cent (``whole`` 100) or as a share (``whole`` 1).

    If the number is valid only in the other unit, the error suggests the converted number.
    """
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not whole / 100 <= number <= whole:
        conversion = number * 100 if whole == 100 else number / 100
        suggestion = f"; did you mean {conversion:.12g}?" if whole / 100 <= conversion <= whole else ""
        raise ValueError(f"{text} is not a valid accuracy; allowed are {whole / 100:g} to {whole}{suggestion}")
    # The target is part of names and keys: 100 * 0.974 == 97.39999999999999.
    return float(f"{number:.12g}")


def _shape(text: str) -> Shape:
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){2}", text):
        raise ValueError(f"{text!r} is not a shape such as 1x32x32 (channels, rows, columns)")
    channels, rows, columns = map(int, text.split("x"))
    # Probably the order of Keras (rows, columns, channels).
    if channels > datasets.MAX_CHANNELS and rows > _MAX_COLOURS >= columns:
        raise ValueError(f"{text} is channels x rows x columns; did you mean {columns}x{channels}x{rows}?")
    return channels, rows, columns


class _DatasetType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    name = "name or path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if isinstance(value, datasets.Dataset):
            return value.name
        if not isinstance(value, str | os.PathLike):
            self.fail(f"a value of type {type(value).__name__} is not a data set, a name or a path; see harness.Data")
        if value in (datasets.AUTO, *datasets.DATASETS):
            return str(value)
        from harness.data.user import SourceOptions, data_name, options_of_path

        try:
            name = data_name(str(value))
        except UsageError as error:
            if os.sep in str(value) or os.path.exists(value):
                raise
            hint = f"{value} is a network, not a data set" if ".py:" in str(value) else error.hint
            raise UsageError(f"{error.message}; no file or folder has this name", hint=hint) from None
        if name != str(value):
            spec = datasets.dataset(name)
            options = options_of_path(str(value))
            remarks = "".join(f"; {remark}" for remark in spec.remarks)
            options_text = "" if options == SourceOptions() else f", read with {options} as described before"
            say(f"{value} is the data set {name}{options_text}: {spec.classes} classes, {spec.parts_text}{remarks}")
        return name


DATASET = _DatasetType()
SHAPE = Parsed("CxRxC", _shape, between="x")
PER_CENT = Parsed("per cent", functools.partial(_accuracy, whole=100))
SHARE = Parsed("share", functools.partial(_accuracy, whole=1))
EPOCHS = Parsed("epochs", _epochs, between=",")
WORKERS = number_or("auto", "a number from 1 to 256", 1, 256)
FILE = click.Path(path_type=Path)
