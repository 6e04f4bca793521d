"""Named networks and named search spaces that come with the package, and names for all other networks.

A preset that restates a published network says so in ``source``; what the source leaves open and we filled in
stands in ``note``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from search_spaces.errors import NotationError, UnknownNameError, nearest, reason
from search_spaces.network import MNIST, Architecture, Form, Task, form
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import SearchSpace

SPACES: Mapping[str, str] = {
    "all": "every form in one space: the design card's grammar, shared, bottleneck and separable kernels, and poses",
    "card": "the design card's block grammar, up to 20,000 parameters",
    "small": "pictures with an edge of 3 to 11 pixels: one pooling at most, all forms of kernels",
    "series": "pictures of one row: kernels of 1x3, shared and separable ones",
    "tiny": "up to 5,000 parameters, with shared kernels, depthwise layers and residual sums",
    "tied": "up to 20,000 parameters; layers share kernels, also across resolutions",
    "posed": "up to 3,000,000 multiply-adds; kernels in four poses (rotated copies), shared by several layers",
    "seeds": "the family of the five seed networks",
    "bench": "384 networks of 519 to 5,774 parameters; the table mnist-bench holds a run of each",
    "forms": "256 networks of 662 to 5,778 parameters, of other forms; the table mnist-forms holds runs of each",
}

# Names that people can say: a form and a number of parameters; where two networks share one, digits of the hash.
PATTERN = re.compile(rf"({'|'.join(sorted(Form, key=len, reverse=True))})-\d+(-[0-9a-f]{{4,12}})?")
# Digits of the hash that are added where a name is shared.
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class _Preset:
    """A named network in the notation; ``note`` says what is ours in it."""

    text: str
    source: str
    note: str = ""


_RATE_IS_OURS = "The document states no dropout rate; 0.1 is ours."

PRESETS: Mapping[str, _Preset] = {
    "seed0": _Preset(
        text="conv3x3(8, bias) relu bn dropout(0.1) conv3x3(8, bias) relu bn conv3x3(20, bias) relu bn"
        " | maxpool"
        " | conv1x1(16, bias) relu bn dropout(0.1) conv3x3(16, bias) relu bn conv3x3(30, bias) relu bn"
        " | gap | conv1x1(10, bias)",
        source="seed document 0",
        note="The document's table breaks off after 9,266 parameters: the last bn and the head are ours. "
        + _RATE_IS_OURS,
    ),
    "seed1": _Preset(
        text="conv3x3(8, bias) relu bn dropout(0.1) conv3x3(8, bias) relu bn dropout(0.1)"
        " conv3x3(8, bias) relu bn | maxpool dropout(0.1)"
        " | conv3x3(16, bias) relu bn dropout(0.1) conv3x3(16, pad=0, bias) relu bn | maxpool dropout(0.1)"
        " | conv3x3(32, pad=0, bias) relu bn dropout(0.1) conv3x3(10, pad=0, bias) | gap",
        source="seed document 1",
        note=_RATE_IS_OURS,
    ),
    "seed2": _Preset(
        text="conv3x3(16, pad=0) bn relu dropout2d(0.1) conv3x3(16, pad=0) bn relu"
        " conv3x3(32, pad=0) bn relu dropout2d(0.1) | conv1x1(16, bias) relu maxpool"
        " | conv3x3(16, pad=0) bn relu dropout2d(0.1) conv3x3(16) bn relu dropout2d(0.1)"
        " conv3x3(16, pad=0) bn relu dropout2d(0.1) conv3x3(32, pad=0) bn relu dropout2d(0.1)"
        " | conv1x1(10) | gap",
        source="seed document 2",
        note=_RATE_IS_OURS,
    ),
    "seed3": _Preset(
        text="conv3x3(32, bias) relu bn conv3x3(16, bias) relu bn | maxpool dropout(0.1)"
        " | conv1x1(16, pad=1, bias) relu bn conv3x3(32, bias) relu bn conv3x3(16, stride=2, bias) relu bn"
        " | maxpool dropout(0.1) | conv1x1(128, bias) relu bn | maxpool dropout(0.1) | gap | linear(10)",
        source="seed document 3",
        note=_RATE_IS_OURS,
    ),
    "seed4": _Preset(
        text="conv3x3(8) relu bn dropout(0.069) conv3x3(16) relu bn dropout(0.069)"
        " conv3x3(16) relu bn dropout(0.069) | maxpool | conv1x1(8)"
        " | conv3x3(16, pad=0) relu bn dropout(0.069) conv3x3(16, pad=0) relu bn dropout(0.069)"
        " conv3x3(16, pad=0) relu bn dropout(0.069) conv3x3(16, pad=0) relu bn dropout(0.069)"
        " | gap | conv1x1(10)",
        source="seed document 4",
    ),
    "anchor3762": _Preset(
        text="conv3x3(4, bias) bn relu conv3x3(4, bias) bn relu conv3x3(4, bias) bn relu dropout(0.01)"
        " | maxpool"
        " | conv3x3(8, bias) bn relu conv3x3(8, bias) bn relu conv3x3(8, bias) bn relu dropout(0.01)"
        " | maxpool | conv3x3(8, bias) bn relu conv3x3(8, bias) bn relu conv3x3(8, bias) bn relu"
        " | gap | conv1x1(10, bias)",
        source="adilsammar/woolly-of-cv, the 3,762-parameter network",
    ),
    "anchor3702": _Preset(
        text="conv3x3(4) bn relu conv3x3(4) bn relu conv3x3(4) bn relu dropout(0.01) | maxpool"
        " | conv3x3(8) bn relu conv3x3(8) bn relu conv3x3(8) bn relu dropout(0.01) | maxpool"
        " | conv3x3(8) bn relu conv3x3(8) bn relu conv3x3(8) bn relu | gap | conv1x1(10, bias)",
        source="anchor3762 without the biases that its bn layers undo",
        note="The variant is ours.",
    ),
}


def name_of(network_hash: str) -> str | None:
    """Return the name of the preset with that hash, or None."""
    return _names().get(network_hash)


def space(name: str, task: Task = MNIST) -> SearchSpace:
    """Return the search space of that name, or the one in the file ``@PATH``, for a task.

    Raises:
        UnknownNameError: there is none, or the file cannot be read.
        NotationError: the file holds no search space.
    """
    if name.startswith("@"):
        path = Path(name[1:])
        try:
            return parse_space(_file_text(path), path.stem, task)
        except NotationError as error:
            if error.text is not None:
                error.message = f"{path}: {error.message}"
            raise
    if name not in SPACES:
        known = ", ".join(SPACES)
        message = f"unknown search space '{name}'; known are {known}, and @FILE"
        is_file = os.path.isfile(name)  # false for what no file can be called
        raise UnknownNameError(message, hint=f"for the file, write @{name}" if is_file else nearest(name, SPACES))
    text = resources.files("search_spaces").joinpath("spaces", f"{name}.space").read_text("utf-8")
    if task.classes != MNIST.classes:
        # The seeds of searches for ten classes hang on the text as it stands.
        text = re.sub(r"(linear|conv1x1)\(10\b", r"\1(classes", text)
    return parse_space(text, name, task)


@cache
def _names() -> dict[str, str]:
    return {parse_network(known.text).hash: name for name, known in PRESETS.items()}


def _file_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotationError(f"{path} is not text in UTF-8: its byte {error.start:,} is part of no character") from None
    except (OSError, ValueError) as error:
        raise UnknownNameError(f"cannot read the search space {path}: {reason(error)}") from None


def network_name(architecture: Architecture, parameters: int) -> str:
    """Return the name of a network of so many parameters: a preset's own, else form and parameters.

    >>> from search_spaces.notation import parse_network
    >>> network_name(parse_network("conv3x3(8) bn relu | gap | linear(10)"), 178)
    'plain-178'
    """
    return name_of(architecture.hash) or f"{form(architecture)}-{parameters}"


def network_names(sized: Iterable[tuple[Architecture, int]]) -> dict[str, str]:
    """Return a name for each network, given with its parameters, by its hash; unique among them."""
    by_name: dict[str, set[str]] = {}
    for architecture, parameters in sized:
        by_name.setdefault(network_name(architecture, parameters), set()).add(architecture.hash)
    return {
        network_hash: name if len(hashes) == 1 else f"{name}-{network_hash[:_DIGITS]}"
        for name, hashes in by_name.items()
        for network_hash in hashes
    }


def is_named(architecture: Architecture, parameters: int, name: str) -> bool:
    """Return whether a network has this name, with or without digits of its hash."""
    own = network_name(architecture, parameters)
    return name == own or (name.startswith(f"{own}-") and architecture.hash.startswith(name.removeprefix(f"{own}-")))
