"""What people may write where a command wants a network: ``-``, ``@FILE``, a preset, the notation, or a hash."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.evidence import leaderboard, record
from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.evidence.leaderboard import read as read_leaderboard
from harness.evidence.record import Record
from harness.evidence.study import finished_results
from harness.system.errors import ContentError, UsageError, reason, typed
from harness.system.files import Workspace
from harness.training.recipe import NamedRecipe, Recipe, named_recipe, recipe_by_hash, recipe_named_like
from search_spaces.catalog import PATTERN, PRESETS, is_named, network_name
from search_spaces.errors import NotationError, nearest
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.op_specs import OP_NAMES
from search_spaces.task import Task

# A file of characters that is no network: a device that never ends, a data set given by mistake.
LONGEST_FILE = 1_000_000
_HASH = re.compile(r"[0-9a-f]{6,12}")


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A recipe under which a network is known here, and where.

    Attributes:
        recipe: None where only the network is known, or the recipe's name alone.
        target_pct: None where nothing was verified yet.
    """

    recipe: Recipe | None
    recipe_name: str
    dataset: str | None
    target_pct: float | None


_NETWORK_ALONE = KnownRow(None, "", None, None)


@dataclass(frozen=True, slots=True)
class NetworkArgument:
    """A network that a person has named.

    Attributes:
        text: what was parsed, for errors that point into it.
        rows: the rows that it has here, where it was named by a hash.
    """

    architecture: Architecture
    text: str
    name: str = ""
    rows: tuple[KnownRow, ...] = ()


def only_row(
    given: NetworkArgument, *, dataset: str | None, target_pct: float | None, recipe_given: bool
) -> KnownRow | None:
    """Return the row that is meant, None where the network has none that fits.

    Rows of other targets count where none has this one: their recipe is the network's all the same.

    Raises:
        ContentError: several rows fit, and they differ in what was not given.
    """
    there = [row for row in given.rows if dataset is None or row.dataset in (None, dataset)]
    at_target = [row for row in there if target_pct is None or row.target_pct in (None, target_pct)]
    fitting = at_target or [replace(row, target_pct=None) for row in there]
    recipes = [None if recipe_given else row.recipe.hash if row.recipe else row.recipe_name for row in fitting]
    distinct = {(key, row.dataset, row.target_pct): row for key, row in zip(recipes, fitting, strict=True)}
    if len(distinct) > 1:
        listed = "; ".join(
            sorted(f"{row.recipe_name or 'any recipe'} on {row.dataset}, target {row.target_pct}" for row in fitting)
        )
        named = zip(("--recipe", "--dataset", "--target"), zip(*distinct, strict=True), strict=True)
        choices = [option for option, values in named if len(set(values)) > 1]
        raise ContentError(
            f"{given.architecture.hash} has several rows: {listed}", hint=f"choose with {' and '.join(choices)}"
        )
    return next(iter(distinct.values()), None)


def recipe_of(row: KnownRow | None, recipe: str | None, epochs: int | None) -> NamedRecipe:
    """Return the recipe that is asked for, else the row's own, else ``fast``.

    Args:
        recipe: a name or ``@FILE.toml``.
        epochs: in place of the recipe's own.

    Raises:
        UsageError: ``epochs`` without a recipe to change, or a row whose recipe is known here by its name alone.
        ContentError: the file is not a recipe.
    """
    if recipe is not None:
        return named_recipe(recipe, epochs=epochs)
    if row is None or not row.recipe_name:
        return named_recipe("fast", epochs=epochs)
    if row.recipe is None:
        raise UsageError(
            f"the row was trained with recipe {row.recipe_name!r}, which nothing here describes",
            hint="name it: --recipe NAME or --recipe @FILE.toml, with --epochs N where it has its own",
        )
    if epochs is not None:
        raise UsageError("--epochs changes a recipe, so name it too: --recipe NAME --epochs N")
    return recipe_named_like(row.recipe, row.recipe_name)


def recorded_rows(architecture: Architecture, workspace: Workspace) -> tuple[KnownRow, ...]:
    """Return the rows of a network that have a record here, however it was named."""
    return tuple(row for _, _, row in _recorded(record.read_all(workspace.records), architecture.hash))


def read_network(argument: str, workspace: Workspace, task: Task) -> NetworkArgument:
    """Return the network that an argument names; its ops fit together for the task.

    Raises:
        UsageError: the file does not exist.
        ContentError: the hash is unknown or ambiguous.
        SearchSpaceError: the notation is wrong, or the ops do not fit together.
    """
    if argument == "-":
        text = sys.stdin.read(LONGEST_FILE)
        return NetworkArgument(parse_network(text, task), text)
    if argument.startswith("@"):
        text = _read_file(Path(argument[1:]))
        return NetworkArgument(parse_network(text, task), text)
    if argument in PRESETS:
        text = PRESETS[argument].text
        return NetworkArgument(parse_network(text, task), text, argument)
    if _HASH.fullmatch(argument):
        return _known_here(argument, f"a hash that begins with {argument!r}", workspace)
    if PATTERN.fullmatch(argument):
        return _known_here(argument, f"the name {argument!r}", workspace)
    try:
        return NetworkArgument(parse_network(argument, task), argument)
    except NotationError as error:
        if os.path.isfile(argument):  # false for what no file can be called
            raise NotationError(f"{argument!r} is a file", hint=f"for the network in it, write @{argument}") from error
        if re.fullmatch(r"[0-9a-f]{1,5}", argument):
            raise ContentError(f"{argument!r} is too short for a hash: give at least 6 digits") from error
        if re.fullmatch(r"[\w-]+", argument) and argument not in OP_NAMES:
            message = f"{argument!r} is no preset, hash, name or op; presets are {', '.join(PRESETS)}"
            raise NotationError(message, hint=_nearest_known(argument, workspace, OP_NAMES)) from error
        raise


def _nearest_known(argument: str, workspace: Workspace, ops: Iterable[str] = ()) -> str:
    """Return which known name an argument is most like, else where all of them are shown."""
    names = (network_name(row.architecture, row.parameters) for row in _standings(workspace))
    return nearest(argument, [*PRESETS, *names, *ops]) or f"'{typed('leaderboard', '--all')}' shows hashes and names"


def _standings(workspace: Workspace) -> list[LeaderboardRow]:
    return read_leaderboard(workspace.leaderboard) if workspace.leaderboard.exists() else []


def _read_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the network file {path}: {reason(error)}") from error
    if len(text) > LONGEST_FILE:
        raise UsageError(f"the network file {path} holds more than {LONGEST_FILE:,} characters")
    return text


def _known_here(given: str, said: str, workspace: Workspace) -> NetworkArgument:
    """Look a hash or a name up in the records; where none has it, in the studies, the claims and the leaderboard."""
    records = record.read_all(workspace.records)
    known = _recorded(records, given) or _searched(workspace, records, given)
    hashes = sorted({architecture.hash for architecture, _, _ in known})
    if not hashes:
        raise ContentError(f"no network of this workspace has {said}", hint=_nearest_known(given, workspace))
    if len(hashes) > 1:
        raise ContentError(f"{given!r} is ambiguous: {', '.join(hashes)}", hint="give more digits")
    architecture, name, _ = known[0]
    return NetworkArgument(architecture, str(architecture), name, tuple(row for _, _, row in known))


_Known = tuple[Architecture, str, KnownRow]


def _is_meant(architecture: Architecture, parameters: int, given: str) -> bool:
    """Return whether a network is meant by the beginning of a hash, or by a name."""
    return architecture.hash.startswith(given) or is_named(architecture, parameters, given)


def _recorded(records: Iterable[Record], given: str) -> list[_Known]:
    return [
        (
            evidence.architecture,
            evidence.name,
            KnownRow(evidence.recipe, evidence.recipe_name, evidence.dataset, evidence.target_pct),
        )
        for evidence in records
        if _is_meant(evidence.architecture, evidence.parameters, given)
    ]


def _searched(workspace: Workspace, records: Iterable[Record], given: str) -> list[_Known]:
    found: list[_Known] = []
    for folder in sorted(path.parent for path in workspace.runs.glob("*/config.json")):
        for result in finished_results(folder):
            if _is_meant(result.architecture, result.parameters, given):
                row = KnownRow(result.recipe, result.recipe_name, result.dataset, None)
                found.append((result.architecture, "", row))
    claimed = map(leaderboard.row_of_claim, leaderboard.read_claims(workspace.records / "claims.json"))
    # What a study has trained is on the leaderboard too, or was claimed; a second row of it would ask for a choice.
    recipes = {evidence.recipe_hash: evidence.recipe for evidence in records}
    ranked = [(row, _row_of(row, recipes)) for row in _standings(workspace) if row.tier is not Tier.CLAIMED]
    for known in (ranked, [(claim, _NETWORK_ALONE) for claim in claimed]):
        before = {architecture.hash for architecture, _, _ in found}
        for told, meant in known:
            if told.hash not in before and _is_meant(told.architecture, told.parameters, given):
                found.append((told.architecture, "", meant))
    return found


def _row_of(row: LeaderboardRow, recipes: Mapping[str, Recipe]) -> KnownRow:
    known = recipe_by_hash(row.recipe_hash, row.epochs) if row.epochs else None
    return KnownRow(known or recipes.get(row.recipe_hash), row.recipe, row.dataset, None)
