"""One row of the standings, and the CSV file that holds them; ``leaderboard`` says where rows come from.

The file is safe to open in a spreadsheet, and reading it gives the very rows that were written.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.data.datasets import DATASETS
from harness.evidence.history import is_tracked
from harness.system.document import csv_text, finite, unguarded
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from search_spaces.cost import analyse, stored_numbers
from search_spaces.errors import NotationError, ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_notation
from search_spaces.space import Metric
from search_spaces.task import MNIST, Task

SCHEMA_VERSION = 3
# Columns that earlier versions had.
_RETIRED = {"holds_corrected"}


class Tier(StrEnum):
    """How strong the evidence of an accuracy is, best first."""

    CERTIFIED = "certified"
    VERIFIED = "verified"
    AT_TARGET = "at the target"
    MEASURED = "measured"
    SEARCHED = "searched"
    CLAIMED = "claimed"


# Whose bound reaches the target.
PROVEN = (Tier.CERTIFIED, Tier.VERIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One row; the names of the fields are the columns of the CSV, in this order.

    ``mean_test_accuracy_pct`` of a claim is the claimed figure, and ``note`` says how it was obtained.
    ``lower_bound_pct`` is the one-sided 99 % t bound of the mean. ``seeds_at_target`` counts the seeds whose own
    accuracy reaches the target; None where the test set was not read. ``train_seconds`` is the mean of a seed.
    ``stored_numbers`` are the parameters and the statistics of BN. ``lower_bound_images_pct`` is the 99 % bound over
    seeds and images (``variance_components``). ``attempts`` counts the certification attempts at the row's target on
    its data set, whichever network they were about; ``confidence`` is the one at which a certified row was decided.
    """

    rank: int = 0
    name: str = ""
    tier: Tier
    target_pct: float
    reached: bool
    parameters: int
    stored_numbers: int | None = None
    macs: int
    receptive_field: int
    mean_test_accuracy_pct: float | None = None
    std_test_accuracy_pct: float | None = None
    min_test_accuracy_pct: float | None = None
    lower_bound_pct: float | None = None
    lower_bound_images_pct: float | None = None
    test_errors_mean: float | None = None
    best_epoch_test_accuracy_pct: float | None = None
    seeds: int = 0
    seeds_at_target: int | None = None
    diverged: int = 0
    attempts: int = 0
    confidence: float | None = None
    validation_accuracy_pct: float | None = None
    validation_seeds: int = 0
    epochs: int | None = None
    train_seconds: float | None = None
    teacher_seconds: float | None = None
    search_seconds: float | None = None
    dataset: str
    recipe: str
    recipe_hash: str = ""
    device: str = ""
    architecture: Architecture
    hash: str
    study: str = ""
    commit: str = ""
    date_utc: str = ""
    note: str = ""
    protocol_version: int
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> tuple[str, str, str, float, int, bool]:
        """What makes a row; a claim never shares one with a measurement."""
        claimed = self.tier is Tier.CLAIMED
        return (self.hash, self.recipe_hash, self.dataset, self.target_pct, self.protocol_version, claimed)


def columns_of(architecture: Architecture, task: Task) -> dict[str, Any]:
    """Return the columns of a row that follow from its network.

    Raises:
        ShapeError: its ops do not fit together.
    """
    analysis = analyse(architecture, task)
    return {
        "architecture": architecture,
        "hash": architecture.hash,
        "parameters": analysis.parameters,
        "stored_numbers": stored_numbers(architecture, task),
        "macs": analysis.macs,
        "receptive_field": analysis.receptive_field,
    }


def cost_of(row: LeaderboardRow, minimise: Metric) -> int:
    """Return what a row's network has of what a search minimises."""
    return row.parameters if minimise is Metric.PARAMETERS else row.macs


def standings_file(workspace: Workspace) -> Path:
    """Return where a command writes the standings by itself.

    It is leaderboard.csv. Where git keeps that file, in a clone, it is beside the studies: what somebody tries out must
    not change what was published.
    """
    return workspace.local_leaderboard if is_tracked(workspace.leaderboard) else workspace.leaderboard


def to_csv(rows: Iterable[LeaderboardRow]) -> str:
    """Return the rows as CSV: raw numbers in their shortest exact form, nothing for None."""
    columns = [item.name for item in fields(LeaderboardRow)]
    return csv_text(columns, ([getattr(row, column) for column in columns] for row in rows))


def read(path: Path) -> list[LeaderboardRow]:
    """Read a CSV that ``refresh`` has written, in this version or one before.

    Raises:
        ContentError: the file has other columns, or a value that does not fit its column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ContentError(f"cannot read the leaderboard {path}: {reason(error)}") from error
    if not table or not _is_header(table[0]):
        raise ContentError(
            f"{path} is not a leaderboard of schema {SCHEMA_VERSION} or before: move it away, and it is made anew, "
            "but for rows of studies that are on other machines"
        )
    return [_row(table[0], cells, f"{path}, line {number}") for number, cells in enumerate(table[1:], start=2)]


def searched_elsewhere(
    workspace: Workspace, rows: Iterable[LeaderboardRow]
) -> tuple[list[LeaderboardRow], list[ContentError]]:
    """Return those rows that only a study on another machine speaks for, and why some of them are left out."""
    kept, damage = [], []
    for row in rows:
        if row.tier is Tier.SEARCHED and not (workspace.runs / row.study).exists():
            try:
                kept.append(_searched(workspace.leaderboard, row))
            except ContentError as error:
                damage.append(error)
    return kept, damage


def _searched(path: Path, row: LeaderboardRow) -> LeaderboardRow:
    """Return a searched row with its stored numbers, which files of older versions lack.

    Its study is elsewhere; but what follows from its network can be computed here.

    Raises:
        ContentError: the row contradicts its own network, or states what only a verification gives.
    """
    task = DATASETS[row.dataset].task if row.dataset in DATASETS else MNIST
    try:
        columns = columns_of(row.architecture, task)
    except ShapeError as error:
        raise ContentError(f"{path}: the network of {row.hash}: {error.message}") from error
    due = replace(row, **columns, reached=False, seeds=0, mean_test_accuracy_pct=None)
    for item in fields(LeaderboardRow):
        stated, computed = getattr(row, item.name), getattr(due, item.name)
        if stated != computed and (item.name, stated) != ("stored_numbers", None):
            raise ContentError(
                f"{path} states {item.name} of the searched network {row.hash} as {stated}, but it is {computed}",
                hint="take the row out of the table",
            )
    return due


def _is_header(columns: list[str]) -> bool:
    """Whether these are columns of this version or of one before: those without a default, and none that is unknown."""
    needed = {item.name for item in fields(LeaderboardRow) if item.default is MISSING}
    known = {item.name for item in fields(LeaderboardRow)} | _RETIRED
    return needed <= set(columns) <= known and len(set(columns)) == len(columns)


def _row(columns: list[str], cells: list[str], where: str) -> LeaderboardRow:
    if len(cells) != len(columns):
        raise ContentError(f"{where}: {len(cells)} cells, but there are {len(columns)} columns")
    kinds = {item.name: str(item.type) for item in fields(LeaderboardRow)}
    values = {}
    for column, cell in zip(columns, cells, strict=True):
        if column in _RETIRED:
            continue
        try:
            values[column] = _value(kinds[column], cell)
        except (ValueError, NotationError) as error:
            raise ContentError(f"{where}, column {column}: {error}") from error
    return LeaderboardRow(**values | {"schema_version": SCHEMA_VERSION})


def _value(kind: str, cell: str) -> Any:
    if kind.endswith("| None") and cell == "":
        return None
    match kind.removesuffix(" | None"):
        case "int":
            return int(cell)
        case "float":
            return finite(cell)
        case "bool":
            if cell not in ("true", "false"):
                raise ValueError(f"{cell!r} is neither true nor false")
            return cell == "true"
        case "Tier":
            return Tier(cell)
        case "Architecture":
            return parse_notation(cell)
        case _:
            return unguarded(cell)
