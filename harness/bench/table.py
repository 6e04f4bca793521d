"""A table of recorded trainings: networks of one space, each trained with several seeds, looked at on every rung.

Methods of search are replayed on it. It holds validation accuracies only; the test set was never read for it.
``table_files`` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Literal

from harness.system.document import documented
from harness.system.errors import ContentError, DataError
from harness.training.recipe import Recipe
from harness.training.result import PROTOCOL_VERSION, Environment, Status, same_bits_due


class TableError(DataError):
    """Raise when a table is missing or damaged, or does not hold together."""


class _NotInTable(ContentError):
    """Raise when a table has no runs of a network."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one network as it stood at one rung.

    Attributes:
        architecture: canonical text; ``hash`` is its hash.
        seed: index of one of the fixed seeds of the purpose ``bench``.
        rung: the epoch, counted from 1; the run goes on under the same schedule to the last rung.
        validation_accuracy_pct: of the weights that predict after that epoch. A run that diverged keeps what its last
            weights gave.
        seconds: training since the start of the run, looking at the validation images left out.
        status: how the run ended, ``complete`` or ``diverged``; the same at all its rungs.
        machine: which of the table's machines trained it, counted from 0.
    """

    architecture: str
    hash: str
    parameters: int
    macs: int
    seed: int
    rung: int
    validation_accuracy_pct: float
    seconds: float
    status: Status = Status.COMPLETE
    machine: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; raises ValueError."""
        for name, least in (("parameters", 1), ("macs", 1), ("seed", 0), ("rung", 1), ("seconds", 0), ("machine", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} is {value}, but {least} is the least")
        if not 0 <= self.validation_accuracy_pct <= 100:
            raise ValueError(f"validation_accuracy_pct is {self.validation_accuracy_pct}, which is not from 0 to 100")
        if self.status not in (Status.COMPLETE, Status.DIVERGED):
            raise ValueError(f"status is {self.status}, but a run of a table is complete or diverged")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where runs were trained; seconds can be compared where all but the commit is equal.

    Attributes:
        processor: its model, or the GPU's.
        workers: how many runs were trained side by side.
    """

    processor: str
    cores: int
    workers: int
    environment: Environment


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How networks were chosen from the space.

    Attributes:
        seed: of the draws.
        networks: how many were asked for.
        bands: of sizes, equally wide in the logarithm, which got equal numbers where they had them; 0 where all
            networks of the space were taken.
        budget: most parameters of a network; None for the space's own conditions only.
    """

    seed: int
    networks: int
    bands: int
    budget: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a table and its recordings are of.

    Attributes:
        split_sha256: of the indices of the validation images, in ascending order, joined by commas.
        space: the whole definition, in the language of spaces; ``space_name`` is for people.
        rungs: epochs, ascending; the last one is the recipe's last.
    """

    name: str
    dataset: str
    data_hash: str
    split_sha256: str
    space: str
    space_name: str
    recipe: Recipe
    recipe_name: str
    rungs: tuple[int, ...]


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Question):
    """What holds for all rows of a table; ``samples`` has one for each recording that went into it."""

    samples: tuple[Sample, ...]
    machines: tuple[Machine, ...]
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1


# The runs of a network: rows by index of the seed, then by rung.
Runs = Mapping[int, Mapping[int, Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory.

    Attributes:
        rows: in order of parameters, hash, seed and rung; every run has all rungs.
        runs: the same rows by hash of the network.
    """

    facts: Facts
    rows: tuple[Row, ...]
    runs: Mapping[str, Runs] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the rows in order and by network."""
        rows = tuple(sorted(self.rows, key=lambda row: (row.parameters, row.hash, row.seed, row.rung)))
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "runs", _by_network(self.facts, rows))

    @property
    def recipe(self) -> Recipe:
        """What every run was trained by."""
        return self.facts.recipe

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which every run was looked at, ascending."""
        return self.facts.rungs


def runs_of(table: Table, network_hash: str) -> Runs:
    """Return the rows of a network by seed and rung: ``runs_of(table, hash)[seed][rung]``."""
    found = table.runs.get(network_hash)
    if found is None:
        whole = "all " if is_exhaustive(table.facts) else ""
        raise _NotInTable(
            f"network {network_hash} is not in the table {table.facts.name!r}, which holds {whole}"
            f"{len(table.runs):,} networks of the space {table.facts.space_name!r}",
            hint="propose networks of the table only, or record a table that holds it with 'harness bench table'",
        )
    return found


def engine_kind(machine: Machine) -> str:
    """Return ``native`` or ``torch``: the engine without its build, which differs from machine to machine."""
    return machine.environment.engine.partition(" ")[0]


def is_exhaustive(facts: Facts) -> bool:
    """Return whether a recording took all networks of the space and its budget."""
    return any(sample.bands == 0 for sample in facts.samples)


def _by_network(facts: Facts, rows: tuple[Row, ...]) -> dict[str, dict[int, dict[int, Row]]]:
    if not rows:
        raise _broken(facts, "it has no rows")
    if (most := max(row.machine for row in rows)) >= len(facts.machines):
        raise _broken(facts, f"a row is of machine {most}, counted from 0, of {len(facts.machines)}")
    found: dict[str, dict[int, dict[int, Row]]] = {}
    for network_hash, group in groupby(rows, key=lambda row: row.hash):
        runs: dict[int, dict[int, Row]] = {}
        network = list(group)
        for name in ("architecture", "parameters", "macs"):
            if len(values := {getattr(row, name) for row in network}) > 1:
                raise _broken(facts, f"network {network_hash} has {len(values)} different values of {name}")
        for seed, run in groupby(network, key=lambda row: row.seed):
            at = list(run)
            if tuple(row.rung for row in at) != facts.rungs:
                given = ", ".join(str(row.rung) for row in at)
                wanted = ", ".join(map(str, facts.rungs))
                raise _broken(facts, f"seed {seed} of network {network_hash} has the rungs {given}, not {wanted}")
            if any(later.seconds < earlier.seconds for earlier, later in pairwise(at)):
                raise _broken(facts, f"seed {seed} of network {network_hash} has fewer seconds at a later rung")
            runs[seed] = {row.rung: row for row in at}
        found[network_hash] = runs
    return found


def _broken(facts: Facts, what: str) -> TableError:
    return TableError(
        f"the table {facts.name!r} does not hold together: {what}",
        hint="fetch the table again, or record it anew with 'harness bench table'",
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


def merged(parts: Sequence[Table], name: str) -> Table:
    """Pool the runs of tables; of runs that several have, from machines whose bits may differ, the first part's.

    Raises:
        ContentError: the tables differ in what all rows must share, or the same seed gave different figures on
            machines that give equal bits.
    """
    first = parts[0]
    for other in parts[1:]:
        for what, words in _SHARED.items():
            if getattr(first.facts, what) != getattr(other.facts, what):
                raise ContentError(f"the tables {first.facts.name!r} and {other.facts.name!r} have different {words}")
    kinds = sorted({engine_kind(machine) for part in parts for machine in part.facts.machines})
    if len(kinds) > 1:
        raise ContentError(f"the tables were trained by different engines ({' and '.join(kinds)})")
    machines = list(dict.fromkeys(machine for part in parts for machine in part.facts.machines))
    runs: dict[tuple[str, int], list[Row]] = {}
    for part in parts:
        for network_hash, seeds in part.runs.items():
            for seed, at in seeds.items():
                run = [replace(row, machine=machines.index(part.facts.machines[row.machine])) for row in at.values()]
                there = runs.setdefault((network_hash, seed), run)
                here, elsewhere = (machines[each[0].machine].environment for each in (run, there))
                alike = [row.validation_accuracy_pct for row in run] == [row.validation_accuracy_pct for row in there]
                if same_bits_due(here, elsewhere) and not alike:
                    raise ContentError(
                        f"seed {seed} of network {network_hash} has other accuracies in {part.facts.name!r} than in "
                        "a table before it, on machines that give equal bits; one of them was changed"
                    )
    rows = [row for run in runs.values() for row in run]
    # A machine all of whose runs another part had is no longer one of this table.
    used = sorted({row.machine for row in rows})
    samples = tuple(dict.fromkeys(sample for part in parts for sample in part.facts.samples))
    facts = replace(first.facts, name=name, samples=samples, machines=tuple(machines[index] for index in used))
    return Table(facts, tuple(replace(row, machine=used.index(row.machine)) for row in rows))
