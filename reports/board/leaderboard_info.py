"""The facts of the leaderboard as a page: its rows by data set and target, their seeds, and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.data.datasets import DATASETS
from harness.evidence.leaderboard import PROVEN, LeaderboardRow, Tier
from harness.evidence.record import Record
from harness.system.errors import typed
from reports.html.seed_dots import SeedDots, seed_dots
from reports.numbers import short
from reports.study.provenance import recipe_options
from search_spaces.catalog import network_names
from search_spaces.cost import Analysis, analyse
from search_spaces.task import MNIST

# Digits of a hash that people see; the commands get all of it.
HASH_DIGITS = 6
Key = tuple[str, str, str, float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row.

    Attributes:
        name: of the network, the same in all its rows and no other network's.
        seeds: its test errors; None where no record holds them.
        commands: what to type, each with what it does.
    """

    row: LeaderboardRow
    name: str
    analysis: Analysis
    seeds: SeedDots | None
    commands: tuple[tuple[str, str], ...]

    @property
    def accuracy_pct(self) -> float | None:
        """On the test set; on validation of what was only searched."""
        row = self.row
        return row.validation_accuracy_pct if row.tier is Tier.SEARCHED else row.mean_test_accuracy_pct


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one data set and target, best first."""

    dataset: str
    target_pct: float
    entries: tuple[Entry, ...]

    @property
    def anchor(self) -> str:
        """Its place on the page: ``mnist-99.4``."""
        return f"{self.dataset}-{short(self.target_pct)}"

    @property
    def smallest(self) -> Entry | None:
        """The smallest network that is proven to reach the target."""
        proven = [entry for entry in self.entries if entry.row.tier in PROVEN]
        return min(proven, key=lambda entry: entry.row.parameters, default=None)


def groups(rows: Sequence[LeaderboardRow], records: Iterable[Record], kept: Iterable[Key] = ()) -> tuple[Group, ...]:
    """Return the groups: the default target of the first data set, then the others in the order of the standings.

    Args:
        rows: ranked.
        records: of the workspace.
        kept: keys of the records whose first seed's weights are at hand.
    """
    by_key = {record.key: record for record in records}
    names = network_names((row.architecture, row.parameters) for row in rows) | {
        row.hash: row.name for row in rows if row.name
    }
    weights = frozenset(kept)

    def entry(row: LeaderboardRow) -> Entry:
        record = by_key.get(row.key[:5]) if row.tier is not Tier.CLAIMED else None
        # A file may hold rows of other versions of this program.
        task = DATASETS[row.dataset].task if row.dataset in DATASETS else MNIST
        return Entry(
            row=row,
            name=names[row.hash],
            analysis=analyse(row.architecture, task),
            seeds=seed_dots(record) if record else None,
            commands=_commands(row, [item for item in by_key.values() if item.hash == row.hash], record, weights),
        )

    made = [
        Group(dataset, target_pct, tuple(map(entry, group)))
        for (dataset, target_pct), group in groupby(rows, key=lambda row: (row.dataset, row.target_pct))
    ]
    first = made[0].dataset if made else ""
    default = DATASETS[first].target_pct if first in DATASETS else None
    return tuple(sorted(made, key=lambda group: (group.dataset, group.target_pct) != (first, default)))


def _commands(
    row: LeaderboardRow, records: Sequence[Record], record: Record | None, kept: frozenset[Key]
) -> tuple[tuple[str, str], ...]:
    """Return the commands, the quickest first; ``records`` are all of the network, ``record`` that of the row."""
    found = []
    if record is not None:
        if record.key in kept:
            which = ["--recipe", record.recipe_name] if len({item.recipe_hash for item in records}) > 1 else []
            which += ["--dataset", record.dataset] if len({item.dataset for item in records}) > 1 else []
            said = "loads its weights and counts its errors on the test set: seconds"
            found.append((typed("evaluate", row.hash, *which), said))
        seeds = str(max((run.index for run in record.seeds), default=0) + 1)
        which = _which_row(record, records)
        said = "trains the recorded seeds again and compares them with the record"
        found.append((typed("verify", row.hash, *which, "--seeds", seeds), said))
    else:
        where = ["--dataset", row.dataset, "--target", short(row.target_pct)]
        recipe = recipe_options(row.recipe, row.epochs) if row.recipe else []
        said = "trains it on fresh seeds and reads the test set"
        found.append((typed("verify", row.hash, *recipe, *where), said))
    return (*found, (typed("explain", row.hash), "shows its layers and their costs"))


def _which_row(record: Record, records: Sequence[Record]) -> list[str]:
    """Return the options that tell a record from the others of its network."""
    options: list[str] = []
    if len({item.recipe_hash for item in records}) > 1:
        options += recipe_options(record.recipe_name, record.recipe.epochs)
    if len({item.dataset for item in records}) > 1:
        options += ["--dataset", record.dataset]
    if len({item.target_pct for item in records}) > 1:
        options += ["--target", short(record.target_pct)]
    return options
