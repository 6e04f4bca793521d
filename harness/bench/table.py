"""A table of recorded trainings: networks of one space, each trained with several seeds, looked at on every rung.

Methods of search are replayed on it. It holds validation accuracies only; the test set was never read for it. On disk
it is a folder with ``table.csv``, the rows, and ``table.json``, the facts and the SHA-256 of the rows.
"""

from __future__ import annotations

import hashlib
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.evidence.study import StudyConfig
from harness.system import errors, files
from harness.system.document import csv_text, documented, read_as
from harness.system.errors import ContentError, DataError, UsageError, reason
from harness.system.files import Workspace
from harness.system.statistics import pooled_deviation, spearman
from harness.system.terminal import counted, duration_text
from harness.training.recipe import Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION, Environment, Status, finite, same_bits_due
from search_spaces.errors import nearest

_ROWS, _FACTS = "table.csv", "table.json"
# The tables that come with the checkout.
_COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "tables"


class _TableError(DataError):
    """Raise when a table is missing or damaged, or does not hold together."""


class Row(NamedTuple):
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

    @property
    def engine(self) -> str:
        """``native`` or ``torch``: the engine without its build, which differs from machine to machine."""
        return self.environment.engine.partition(" ")[0]


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


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What holds for all rows of a table.

    Attributes:
        split_sha256: of the indices of the validation images, in ascending order, joined by commas.
        space: the whole definition, in the language of spaces; ``space_name`` is for people.
        rungs: epochs, ascending; the last one is the recipe's last.
        samples: one for each recording that went into it.
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
    samples: tuple[Sample, ...]
    machines: tuple[Machine, ...]
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1

    def config(self, budget: int, target_pct: float, seed: int = 0, sampler: str = "stratified") -> StudyConfig:
        """Return the configuration of a study that asks the same."""
        return StudyConfig(
            dataset=self.dataset,
            data_hash=self.data_hash,
            budget=budget,
            target_pct=target_pct,
            threshold_pct=target_pct,
            space=self.space_name,
            space_text=self.space,
            sampler=sampler,
            recipe=self.recipe,
            recipe_name=self.recipe_name,
            rungs=self.rungs,
            seed=seed,
        )

    @property
    def is_exhaustive(self) -> bool:
        """Whether a recording took all networks of the space and its budget."""
        return any(sample.bands == 0 for sample in self.samples)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _FactsFile:
    facts: Facts
    networks: int
    rows: int
    rows_sha256: str
    schema_version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory.

    Attributes:
        rows: in order of parameters, hash, seed and rung; every run has all rungs.
        runs: the same rows, ``runs[hash][seed][rung]``.
    """

    facts: Facts
    rows: tuple[Row, ...]
    runs: Mapping[str, Mapping[int, Mapping[int, Row]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the rows in order and by network; raise TableError where they do not hold together."""
        rows = tuple(sorted(self.rows, key=lambda row: (row.parameters, row.hash, row.seed, row.rung)))
        runs: dict[str, dict[int, dict[int, Row]]] = {}
        for row in rows:
            runs.setdefault(row.hash, {}).setdefault(row.seed, {})[row.rung] = row
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "runs", runs)
        if fault := _fault(self):
            raise _TableError(f"the table {self.facts.name!r} does not hold together: {fault}")

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which every run was looked at, ascending."""
        return self.facts.rungs

    @property
    def content(self) -> bytes:
        """The rows as CSV, in UTF-8; equal tables give equal bytes."""
        return csv_text(Row._fields, self.rows).encode()

    @property
    def sizes(self) -> dict[str, int]:
        """The parameters of each network, by its hash, ascending."""
        return {row.hash: row.parameters for row in self.rows}

    @property
    def true_accuracies_pct(self) -> dict[str, float]:
        """Each network's mean validation accuracy at the last rung, over its seeds; no method sees it."""
        return {key: _mean_at(runs, self.rungs[-1]) for key, runs in self.runs.items()}


def _mean_at(runs: Mapping[int, Mapping[int, Row]], rung: int) -> float:
    return statistics.fmean(run[rung].validation_accuracy_pct for run in runs.values())


def _fault(table: Table) -> str:
    from pandas import DataFrame

    frame, rungs = DataFrame(table.rows, columns=Row._fields), list(table.rungs)
    counts = frame[["parameters", "macs", "seed", "rung", "seconds", "machine"]]
    runs = frame.groupby(["hash", "seed"])
    faults = {
        "it has no rows": frame.empty,
        "a figure is out of its range": not ((counts >= 0).all(axis=None) and (frame["rung"] > 0).all())
        or not frame["validation_accuracy_pct"].between(0, 100).all(),
        "a run is neither complete nor diverged": not frame["status"].isin(["complete", "diverged"]).all(),
        "a row is of an unknown machine": bool((frame["machine"] >= len(table.facts.machines)).any()),
        "a network has several texts or sizes": bool(
            (frame.groupby("hash")[["architecture", "parameters", "macs"]].nunique() > 1).any(axis=None)
        ),
        f"a run has other rungs than {', '.join(map(str, rungs))}": any(
            run.tolist() != rungs for _, run in runs["rung"]
        ),
        "a run has fewer seconds at a later rung": bool((runs["seconds"].diff() < 0).any()),
    }
    return next((words for words, holds in faults.items() if holds), "")


# On disk ----------------------------------------------------------------------------------------------------


def _contents(table: Table) -> dict[str, bytes]:
    digest = hashlib.sha256(table.content).hexdigest()
    whole = _FactsFile(facts=table.facts, networks=len(table.runs), rows=len(table.rows), rows_sha256=digest)
    document = asdict(whole)
    document["facts"]["recipe"] = recipe_document(table.facts.recipe)
    return {_ROWS: table.content, _FACTS: files.json_text(document).encode()}


def write_table(folder: Path, table: Table) -> None:
    """Write a table's files, all or none."""
    files.write_together({folder / name: content for name, content in _contents(table).items()})


def read_table(folder: Path) -> Table:
    """Read a table.

    Raises:
        TableError: it is missing, damaged or of another version of this program.
    """
    import pandas

    try:
        text, content = (folder / _FACTS).read_bytes(), (folder / _ROWS).read_bytes()
        whole = read_as(_FactsFile, text, f"the table's {folder / _FACTS}")
        kinds: dict[str, Any] = {"parameters": int, "macs": int, "seed": int, "rung": int, "machine": int}
        kinds |= {"validation_accuracy_pct": float, "seconds": float}
        frame = pandas.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        if hashlib.sha256(content).hexdigest() != whole.rows_sha256 or tuple(frame.columns) != Row._fields:
            raise _TableError(f"{folder / _ROWS} is not the file that {_FACTS} was written with")
        cells = frame.astype(kinds).itertuples(index=False, name=None)
        rows = (Row(*each)._replace(status=Status(each[8])) for each in cells)
        table = Table(whole.facts, tuple(rows))
    except OSError as error:
        raise _TableError(f"cannot read the table in {folder}: {reason(error)}: {error.filename}") from error
    except (ContentError, ValueError) as error:
        raise _TableError(f"the table in {folder} is damaged: {getattr(error, 'message', error)}") from error
    if (whole.networks, whole.rows) != (len(table.runs), len(table.rows)):
        raise _TableError(f"{folder / _ROWS} has not as many networks and rows as {_FACTS} notes")
    return table


def export_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV and Parquet with its facts, and checksums for ``sha256sum --check``; return the files."""
    errors.require("export", ("pyarrow",), "Parquet")
    from pandas import DataFrame

    frame = DataFrame(table.rows, columns=Row._fields).astype({"status": "str"})
    written = _contents(table) | {"table.parquet": frame.to_parquet(engine="pyarrow", index=False)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(written.items()))
    written["SHA256SUMS"] = sums.encode()
    files.write_together({folder / name: content for name, content in written.items()})
    return [folder / name for name in written]


def table_folder(name: str, place: Workspace) -> Path:
    """Return where the table of that name is: a folder named with a slash, a person's own, or a committed one."""
    if "/" in name:
        return Path(name)
    known = {
        path.parent.name: path.parent for folder in (_COMMITTED, place.tables) for path in folder.glob(f"*/{_FACTS}")
    }
    if name in known or (place.tables / name).exists():
        return known.get(name, place.tables / name)
    raise UsageError(
        f"no table {name!r} in {place.tables}; known are: {', '.join(sorted(known)) or 'none'}, or a folder written "
        "with a slash",
        hint=nearest(name, known),
    )


# Several tables, and what one says --------------------------------------------------------------------------

_SHARED = ("dataset", "data_hash", "split_sha256", "space", "recipe", "rungs", "protocol_version")


def merged(parts: Sequence[Table], name: str) -> Table:
    """Pool the runs of tables; of runs that several have, from machines whose bits may differ, the first part's.

    Raises:
        ContentError: the tables differ in what all rows must share, or the same seed gave different figures on
            machines that give equal bits.
    """
    first = parts[0].facts
    for other in (part.facts for part in parts):
        if differs := next((what for what in _SHARED if getattr(first, what) != getattr(other, what)), None):
            raise ContentError(f"the tables {first.name!r} and {other.name!r} have another {differs}")
    machines = list(dict.fromkeys(machine for part in parts for machine in part.facts.machines))
    if len({machine.engine for machine in machines}) > 1:
        raise ContentError("the tables were trained by different engines")
    runs: dict[tuple[str, int], list[Row]] = {}
    for part in parts:
        places = [machines.index(machine) for machine in part.facts.machines]
        for network_hash, seed in ((key, seed) for key, of in part.runs.items() for seed in of):
            run = [row._replace(machine=places[row.machine]) for row in part.runs[network_hash][seed].values()]
            there = runs.setdefault((network_hash, seed), run)
            here, elsewhere = (machines[each[0].machine].environment for each in (run, there))
            alike = [row.validation_accuracy_pct for row in run] == [row.validation_accuracy_pct for row in there]
            if same_bits_due(here, elsewhere) and not alike:
                raise ContentError(
                    f"seed {seed} of network {network_hash} has other accuracies in {part.facts.name!r} than in a "
                    "table before it, on machines that give equal bits"
                )
    rows = [row for run in runs.values() for row in run]
    # A machine all of whose runs another part had is no longer one of this table.
    used = sorted({row.machine for row in rows})
    samples = tuple(dict.fromkeys(sample for part in parts for sample in part.facts.samples))
    facts = replace(first, name=name, samples=samples, machines=tuple(machines[index] for index in used))
    return Table(facts, tuple(row._replace(machine=used.index(row.machine)) for row in rows))


def summary(table: Table) -> dict[str, Any]:
    """Return what a table says of its networks, and what seeds and rungs are worth, as plain JSON values.

    ``seed_deviation_pct`` is that between seeds of one network, pooled over the networks, None with one seed each;
    ``rank_correlation`` is Spearman's, of the networks' means at a rung with those at the last one.
    """
    last, facts = table.rungs[-1], table.facts
    finals = [row for row in table.rows if row.rung == last]
    firsts = list({row.hash: row for row in reversed(finals)}.values())
    seeds = [len(runs) for runs in table.runs.values()]
    means = {rung: [_mean_at(runs, rung) for runs in table.runs.values()] for rung in table.rungs}

    def at(rung: int) -> dict[str, Any]:
        groups = [[run[rung].validation_accuracy_pct for run in runs.values()] for runs in table.runs.values()]
        return {
            "epoch": rung,
            "accuracy_pct": _spread(means[rung]),
            "seed_deviation_pct": finite(pooled_deviation(groups)[0]),
            # Two pairs always agree, or always disagree.
            "rank_correlation": finite(spearman(means[rung], means[last])) if len(firsts) > 2 else None,
            "seconds": _spread([row.seconds for row in table.rows if row.rung == rung]),
        }

    return {
        "name": facts.name,
        "dataset": facts.dataset,
        "space": facts.space_name,
        "recipe": facts.recipe_name,
        "recipe_hash": facts.recipe.hash,
        "networks": len(table.runs),
        "runs": len(finals),
        "rows": len(table.rows),
        "diverged": sum(row.status is Status.DIVERGED for row in finals),
        "seeds": [min(seeds), max(seeds)],
        "parameters": _spread([row.parameters for row in firsts]),
        "macs": _spread([row.macs for row in firsts]),
        "rungs": [at(rung) for rung in table.rungs],
        "train_seconds": math.fsum(row.seconds for row in finals),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"low": min(values), "median": statistics.median(values), "high": max(values)}


def summary_text(table: Table, found: Mapping[str, Any]) -> str:
    """Return the facts of a table for people."""
    sizes = [
        "{low:,.0f} to {high:,.0f} (median {median:,.0f})".format(**found[name]) for name in ("parameters", "macs")
    ]
    lines = [
        f"table {found['name']}: {counted(found['networks'], 'network')}, "
        f"{'all' if table.facts.is_exhaustive else 'a sample'} of the space {found['space']!r}; "
        f"seeds a network: {' to '.join(map(str, dict.fromkeys(found['seeds'])))}",
        f"  {found['runs']:,} runs ({found['diverged']:,} diverged), {found['dataset']}, recipe {found['recipe']} "
        f"({found['recipe_hash']}), {duration_text(found['train_seconds'])} of training",
        f"  parameters {sizes[0]}; multiply-adds {sizes[1]}",
        "epoch  validation accuracy %, lowest median highest  between seeds  rank correlation  seconds",
    ]
    for rung in found["rungs"]:
        accuracies = "{low:.2f} {median:.2f} {high:.2f}".format(**rung["accuracy_pct"])
        deviation = "-" if rung["seed_deviation_pct"] is None else f"{rung['seed_deviation_pct']:.3f}"
        correlation = "-" if rung["rank_correlation"] is None else f"{rung['rank_correlation']:.2f}"
        lines.append(
            f"{rung['epoch']:>5}  {accuracies:>46}  {deviation:>13}  {correlation:>16}  "
            f"{rung['seconds']['median']:>7.1f}"
        )
    return "\n".join(lines)
