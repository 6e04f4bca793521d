"""Names for networks that people can say: the form and the number of parameters, as in ``posed-1462``.

A name follows from the network alone and is no part of its identity: two networks may share one, and then the first
digits of the hash tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from search_spaces.architecture import Architecture
from search_spaces.catalog import name_of as preset_name
from search_spaces.form import Form, form

PATTERN = re.compile(rf"({'|'.join(sorted(Form, key=len, reverse=True))})-\d+(-[0-9a-f]{{4,12}})?")
# Digits of the hash that are added where a name is shared.
DIGITS = 4


def network_name(architecture: Architecture, parameters: int) -> str:
    """Return the name of a network of so many parameters: a preset's own, else form and parameters.

    >>> from search_spaces.language.notation import parse_network
    >>> network_name(parse_network("conv3x3(8) bn relu | gap | linear(10)"), 178)
    'plain-178'
    """
    return preset_name(architecture.hash) or f"{form(architecture)}-{parameters}"


def network_names(sized: Iterable[tuple[Architecture, int]]) -> dict[str, str]:
    """Return a name for each network, given with its parameters, by its hash; unique among them."""
    by_name: dict[str, set[str]] = {}
    for architecture, parameters in sized:
        by_name.setdefault(network_name(architecture, parameters), set()).add(architecture.hash)
    return {
        network_hash: name if len(hashes) == 1 else f"{name}-{network_hash[:DIGITS]}"
        for name, hashes in by_name.items()
        for network_hash in hashes
    }


def is_named(architecture: Architecture, parameters: int, name: str) -> bool:
    """Return whether a network has this name, with or without digits of its hash."""
    own = network_name(architecture, parameters)
    return name == own or (name.startswith(f"{own}-") and architecture.hash.startswith(name.removeprefix(f"{own}-")))
