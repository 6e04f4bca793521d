"""What people may write where a command wants a network: ``-``, ``@FILE``, a preset, the notation, or a hash."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import claims, record
from harness.errors import ContentError, UsageError
from harness.leaderboard import read as read_leaderboard
from harness.recipe import Recipe
from harness.study import finished_results
from harness.workspace import Workspace
from search_spaces.architecture import Architecture
from search_spaces.catalog import PRESETS
from search_spaces.errors import NotationError, nearest
from search_spaces.notation import parse_network

_HASH = re.compile(r"[0-9a-f]{6,12}")


@dataclass(frozen=True, slots=True)
class NetworkArgument:
    """A network that a person has named.

    Attributes:
        text: what was parsed, for errors that point into it.
        recipe: the recipe of its row, where it was named by a hash.
        recipe_name: that recipe's name.
    """

    architecture: Architecture
    text: str
    name: str = ""
    recipe: Recipe | None = None
    recipe_name: str = ""
    dataset: str | None = None
    target_pct: float | None = None


def read_network(argument: str, workspace: Workspace) -> NetworkArgument:
    """Return the network that an argument names.

    Raises:
        UsageError: the file does not exist.
        ContentError: the hash is unknown or ambiguous.
        SearchSpaceError: the notation is wrong, or the ops do not fit together.
    """
    if argument == "-":
        text = sys.stdin.read()
        return NetworkArgument(parse_network(text), text)
    if argument.startswith("@"):
        text = _read_file(Path(argument[1:]))
        return NetworkArgument(parse_network(text), text)
    if argument in PRESETS:
        text = PRESETS[argument].text
        return NetworkArgument(parse_network(text), text, argument)
    if _HASH.fullmatch(argument):
        return _by_hash(argument, workspace)
    try:
        return NetworkArgument(parse_network(argument), argument)
    except NotationError as error:
        if re.fullmatch(r"[0-9a-f]{1,5}", argument):
            raise ContentError(f"{argument!r} is too short for a hash: give at least 6 digits") from error
        if re.fullmatch(r"\w+", argument) and (hint := nearest(argument, PRESETS)):
            message = f"{argument!r} is neither an op nor a preset; presets are {', '.join(PRESETS)}"
            raise NotationError(message, hint=hint) from error
        raise


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the network file {path}: {error}") from error


def _by_hash(prefix: str, workspace: Workspace) -> NetworkArgument:
    """Look a hash up in records, then in the local studies and the leaderboard."""
    found: dict[tuple[str, str], NetworkArgument] = {}
    for evidence in record.read_all(workspace.records):
        if evidence.hash.startswith(prefix):
            found.setdefault(
                (evidence.hash, evidence.recipe_hash),
                NetworkArgument(
                    parse_network(evidence.architecture),
                    evidence.architecture,
                    evidence.name,
                    evidence.recipe,
                    evidence.recipe_name,
                    evidence.dataset,
                    evidence.target_pct,
                ),
            )
    known = {network for network, _ in found}
    for architecture, recipe, recipe_name in _searched(workspace, prefix):
        if architecture.hash not in known:
            found.setdefault(
                (architecture.hash, recipe.hash if recipe else ""),
                NetworkArgument(architecture, str(architecture), "", recipe, recipe_name),
            )
    if not found:
        raise ContentError(
            f"no network of this workspace has a hash that begins with {prefix!r}",
            hint="harness leaderboard shows the hashes",
        )
    if len({network for network, _ in found}) > 1:
        raise ContentError(
            f"hash {prefix!r} is ambiguous: {', '.join(sorted({network for network, _ in found}))}",
            hint="give more digits",
        )
    if len(found) > 1:
        names = ", ".join(sorted(f"{item.recipe_name} ({recipe})" for (_, recipe), item in found.items()))
        first = next(iter(found.values()))
        # The network is clear, the recipe is not: the caller must ask for --recipe.
        return NetworkArgument(first.architecture, first.text, first.name, None, names, first.dataset, first.target_pct)
    return next(iter(found.values()))


def _searched(workspace: Workspace, prefix: str) -> list[tuple[Architecture, Recipe | None, str]]:
    found: list[tuple[Architecture, Recipe | None, str]] = []
    for folder in sorted(path.parent for path in workspace.runs.glob("*/config.json")):
        for result in finished_results(folder):
            if result.hash.startswith(prefix):
                found.append((parse_network(result.architecture), result.recipe, result.recipe_name))
    for claim in claims.read(workspace.records / "claims.json"):
        architecture = parse_network(claim.architecture)
        if architecture.hash.startswith(prefix):
            found.append((architecture, None, ""))
    if not found and workspace.leaderboard.exists():
        for row in read_leaderboard(workspace.leaderboard):
            if row.hash.startswith(prefix):
                found.append((parse_network(row.architecture), None, ""))
    return found
