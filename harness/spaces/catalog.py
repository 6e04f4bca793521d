"""Catalog of the named networks and search spaces of the package, and names of arbitrary networks."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from harness.spaces.network import FAMILIES, MNIST, Architecture, Task
from harness.spaces.notation import MAX_TEXT, parse_network, parse_space
from harness.spaces.space import SearchSpace
from harness.spaces.space_errors import NotationError, UnknownNameError, nearest, reason

_FILES = resources.files("harness.spaces").joinpath("declared")
_CATALOG = tomllib.loads(_FILES.joinpath("catalog.toml").read_text("utf-8"))
SPACES: Mapping[str, str] = _CATALOG["spaces"]  # descriptions by name
PRESETS: Mapping[str, str] = _CATALOG["networks"]  # text of each network, by name
NOTES: Mapping[str, str] = _CATALOG["notes"]  # sentence on each network that needs an explanation, by name
# Names of networks without a preset: family, number of parameters and, if two networks share these, digits of the hash.
PATTERN = re.compile(rf"({'|'.join(sorted(FAMILIES, key=len, reverse=True))})-\d+(-[0-9a-f]{{4,12}})?")


def name_of(network_hash: str) -> str | None:
    """Return the name of the preset with the hash ``network_hash``, or None."""
    return _names().get(network_hash)


def space(name: str, task: Task = MNIST) -> SearchSpace:
    """Return a search space for a task.

    ``name`` is in the catalog, and its ten outputs become the classes of the task, or is ``@PATH``.

    Raises:
        UnknownNameError: No space has this name, or the file cannot be read.
        NotationError: The file does not contain a valid search space.
    """
    if name.startswith("@"):
        path = Path(name[1:])
        try:
            with open(path, encoding="utf-8-sig") as file:
                text = file.read(MAX_TEXT + 1)
            return parse_space(text, path.stem, task)
        except UnicodeDecodeError as error:
            message = f"{path} is not UTF-8 text: invalid byte at offset {error.start:,}"
            raise NotationError(message) from None
        except NotationError as error:
            error.message = f"{path}: {error.message}"
            if path.suffix == ".py":
                error.hint = "a space is a text of the notation; a PyTorch module is a single network, FILE.py:NAME"
            raise
        except (OSError, ValueError) as error:  # ValueError: the path contains a null character
            raise UnknownNameError(f"cannot read the search space {path}: {reason(error)}") from None
    if name not in SPACES:
        message = f"unknown search space '{name}'; known spaces: {', '.join(SPACES)}, or @FILE"
        is_file = os.path.isfile(name)  # False for invalid file names
        raise UnknownNameError(message, hint=f"to read the file, write @{name}" if is_file else nearest(name, SPACES))
    text = _FILES.joinpath(f"{name}.space").read_text("utf-8")
    if task.classes != MNIST.classes:
        # Seeds of searches are derived from the text for ten classes, which must not change.
        text = re.sub(r"(linear|conv1x1)\(10\b", r"\1(classes", text)
    return parse_space(text, name, task)


@cache
def _names() -> dict[str, str]:
    return {parse_network(text).hash: name for name, text in PRESETS.items()}


def network_name(architecture: Architecture, parameters: int) -> str:
    """Return the name of the preset, or else the family and the number of parameters.

    >>> from harness.spaces.notation import parse_network
    >>> network_name(parse_network("conv3x3(8) bn relu | gap | linear(10)"), 178)
    'plain-178'
    """
    return name_of(architecture.hash) or f"{architecture.family}-{parameters}"


def network_names(networks: Iterable[tuple[Architecture, int]]) -> dict[str, str]:
    """Return a unique name for each network, by hash, from pairs of network and number of parameters."""
    by_name: dict[str, set[str]] = {}
    for architecture, parameters in networks:
        by_name.setdefault(network_name(architecture, parameters), set()).add(architecture.hash)
    names = {}
    for name, hashes in by_name.items():
        for network_hash in hashes:
            names[network_hash] = name if len(hashes) == 1 else f"{name}-{network_hash[:4]}"
    return names


def is_named(architecture: Architecture, parameters: int, name: str) -> bool:
    """Return whether ``name`` is the name of a network, with or without digits of the hash."""
    short_name = network_name(architecture, parameters)
    digits = name.removeprefix(f"{short_name}-")  # equals ``name`` without this prefix
    return name == short_name or (digits != name and architecture.hash.startswith(digits))
