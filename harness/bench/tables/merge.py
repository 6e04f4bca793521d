"""Several tables of one space, recipe and split made one; each row keeps the machine that recorded it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.bench.tables.table import Machine, Row, Table, engine_kind
from harness.system.errors import ContentError
from harness.training.result import same_bits_due


@dataclass(frozen=True, slots=True)
class Merged:
    """The table, and the runs that more than one part had.

    Attributes:
        equal: runs that two parts had from machines that give equal bits; they agreed.
        first_kept: runs that two parts had from machines whose bits may differ; the first part's are kept.
        largest_difference_pct: of validation accuracy at the last rung among ``first_kept``, 0 where there is none.
    """

    table: Table
    equal: int
    first_kept: int
    largest_difference_pct: float


Run = tuple[Row, ...]


def merged(parts: Sequence[Table], name: str) -> Merged:
    """Pool the runs of tables.

    Raises:
        ContentError: the tables differ in what all rows must share, or the same seed gave different figures on
            machines that give equal bits.
    """
    first = parts[0]
    for other in parts[1:]:
        _check_alike(first, other)
    machines: list[Machine] = []
    runs: dict[tuple[str, int], Run] = {}
    equal = kept = 0
    largest = 0.0
    for part in parts:
        for key, run in _runs(part, machines).items():
            if key not in runs:
                runs[key] = run
                continue
            if _check_equal(runs[key], run, machines, part.facts.name):
                equal += 1
            else:
                kept += 1
                largest = max(largest, abs(runs[key][-1].validation_accuracy_pct - run[-1].validation_accuracy_pct))
    samples = tuple(dict.fromkeys(sample for part in parts for sample in part.facts.samples))
    rows = tuple(row for run in runs.values() for row in run)
    # A machine all of whose runs another part had is no longer one of this table.
    used = sorted({row.machine for row in rows})
    rows = tuple(replace(row, machine=used.index(row.machine)) for row in rows)
    facts = replace(first.facts, name=name, samples=samples, machines=tuple(machines[index] for index in used))
    return Merged(Table(facts, rows), equal, kept, largest)


def _check_alike(first: Table, other: Table) -> None:
    for what, hint in _SHARED.items():
        ours, theirs = getattr(first.facts, what), getattr(other.facts, what)
        if ours != theirs:
            shown = f" ({ours!r} and {theirs!r})" if what in ("dataset", "rungs", "protocol_version") else ""
            raise ContentError(
                f"the tables {first.facts.name!r} and {other.facts.name!r} have different {hint}{shown}; "
                "merging is for one space, recipe, rungs and split"
            )
    kinds = {engine_kind(machine) for table in (first, other) for machine in table.facts.machines}
    if len(kinds) > 1:
        raise ContentError(
            f"the tables {first.facts.name!r} and {other.facts.name!r} were trained by different engines "
            f"({' and '.join(sorted(kinds))}); a table never mixes engines"
        )


_SHARED = {
    "dataset": "data sets",
    "data_hash": "data",
    "split_sha256": "splits",
    "space": "spaces",
    "recipe": "recipes",
    "rungs": "rungs",
    "protocol_version": "protocols",
}


def _runs(part: Table, machines: list[Machine]) -> Mapping[tuple[str, int], Run]:
    """Return a table's runs with their machines counted in ``machines``, which is added to."""
    index = []
    for machine in part.facts.machines:
        if machine not in machines:
            machines.append(machine)
        index.append(machines.index(machine))
    return {
        (network_hash, seed): tuple(replace(row, machine=index[row.machine]) for row in at.values())
        for network_hash, runs in part.runs.items()
        for seed, at in runs.items()
    }


def _check_equal(ours: Run, theirs: Run, machines: Sequence[Machine], part: str) -> bool:
    """Return whether two recordings of a run must be equal, and raise ContentError where they must and are not."""
    first, second = machines[ours[0].machine], machines[theirs[0].machine]
    if not same_bits_due(first.environment, second.environment):
        return False
    for one, other in zip(ours, theirs, strict=True):
        if one.validation_accuracy_pct != other.validation_accuracy_pct:
            raise ContentError(
                f"seed {one.seed} of network {one.hash} has {one.validation_accuracy_pct} % after epoch {one.rung} in "
                f"one table and {other.validation_accuracy_pct} % in {part!r}, on machines that give equal bits; one "
                "of them was changed"
            )
    return True
