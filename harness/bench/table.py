"""Table of recorded trainings: networks of a space, trained with several seeds and validated at each rung.

Search methods are replayed on a table. The test set is never read. A table of a user-defined data set contains
``data.json``, so that the table can be read without the data.
"""

from __future__ import annotations

import hashlib
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_type_hints

from harness.data.datasets import DATASETS, Dataset, dataset, dataset_of
from harness.spaces.notation import parse_space
from harness.spaces.space_errors import nearest
from harness.studies.config import StudyConfig
from harness.system import errors, files
from harness.system.document import csv_text, document_of, read_as, strict_json
from harness.system.errors import ContentError, DataError, UsageError, reason
from harness.system.files import Workspace
from harness.system.machine import core_count, device_name, processor_name
from harness.system.statistics import pooled_deviation
from harness.system.terminal import counted, duration_text
from harness.training.recipe import Recipe
from harness.training.result import PROTOCOL_VERSION, Environment, Status, environment, finite

if TYPE_CHECKING:
    import torch

_ROWS = "table.csv"
_FACTS = "table.json"
_DATA = "data.json"
# Few networks reach the default target, so that the smallest of these are hard to find.
_REACHING = 0.25
_SHIPPED = Path(__file__).resolve().parent / "shipped"


class Row(NamedTuple):
    """State of a run at a rung.

    Attributes:
        architecture: Canonical text of the network.
        seed: Index of a fixed seed of the purpose ``bench``.
        rung: Epoch, counted from 1; the learning-rate schedule is that of the whole run.
        validation_accuracy_pct: Accuracy of the weights used for prediction; a diverged run keeps its last accuracy.
        seconds: Training seconds since the start of the run, without validation.
        status: Status at the end of the run, ``complete`` or ``diverged``; equal at all rungs.
        machine: Index of the machine in ``TableFacts.machines``.
        validation_soft_errors: ``Epoch.validation_soft_errors``; None in tables of earlier versions, or if not finite.
        validation_loss: ``Epoch.validation_loss``; None as for the soft errors.
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
    validation_soft_errors: float | None = None
    validation_loss: float | None = None


_OPTIONAL = ("validation_soft_errors", "validation_loss")  # columns that tables of earlier versions lack


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Machine that trained ``workers`` runs in parallel; seconds of equal machines are comparable.

    Attributes:
        processor: Model of the processor, or of the GPU if the runs were trained there.
        cores: Number of cores that the program could use.
        environment: Environment of the trainings, without the commit.
    """

    processor: str
    cores: int
    workers: int
    environment: Environment

    @classmethod
    def here(cls, device: torch.device, data_hash: str, engine: str, workers: int) -> Machine:
        """Return this machine; arguments as in ``harness.training.result.environment``.

        The commit is left out, because a recording may be resumed with a later commit.
        """
        facts = replace(environment(device, data_hash, engine), commit=None, dirty=None, threads=1)
        processor = processor_name() if device.type == "cpu" else device_name(device)
        return cls(processor=processor, cores=core_count(), workers=workers, environment=facts)

    @property
    def engine(self) -> str:
        """Engine without its build, ``native`` or ``torch``; the build differs between machines."""
        return self.environment.engine.partition(" ")[0]


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Choice of the networks of a recording.

    Attributes:
        bands: Number of bands of parameters, equally wide in the logarithm, with equally many networks if possible; 0
            if all networks of the space were taken.
        budget: Most parameters of a network; None for the conditions of the space only.
    """

    seed: int
    networks: int
    bands: int
    budget: int | None = None


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """Facts that hold for all rows of a table.

    Attributes:
        split_sha256: SHA-256 of the indices of the validation images, ascending, joined by commas.
        rungs: Epochs, ascending, with the last epoch of the recipe.
        samples: Choice of networks of each recording in the table.
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

    @property
    def space_hash(self) -> str:
        """Hash of the space without comments, as ``SearchSpace.hash``."""
        return parse_space(self.space).hash

    def config(self, budget: int, target_pct: float, seed: int = 0) -> StudyConfig:
        """Return the configuration of a study with the data, space and recipe of the table."""
        return StudyConfig(
            dataset=self.dataset,
            data_hash=self.data_hash,
            budget=budget,
            target_pct=target_pct,
            threshold_pct=target_pct,
            space=self.space_name,
            space_text=self.space,
            sampler="stratified",
            recipe=self.recipe,
            recipe_name=self.recipe_name,
            rungs=self.rungs,
            seed=seed,
        )

    @property
    def is_exhaustive(self) -> bool:
        """Whether a recording took all networks of the space within its budget."""
        return any(sample.bands == 0 for sample in self.samples)


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _FactsFile:
    facts: TableFacts
    networks: int
    rows: int
    rows_sha256: str
    schema_version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Table in memory.

    Attributes:
        rows: Rows, sorted by parameters, hash, seed and rung.
        runs: The rows as ``runs[hash][seed][rung]``.
    """

    facts: TableFacts
    rows: tuple[Row, ...]
    user_data: Dataset | None = None
    runs: Mapping[str, Mapping[int, Mapping[int, Row]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = tuple(sorted(self.rows, key=lambda row: (row.parameters, row.hash, row.seed, row.rung)))
        runs: dict[str, dict[int, dict[int, Row]]] = {}
        for row in rows:
            runs.setdefault(row.hash, {}).setdefault(row.seed, {})[row.rung] = row
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "runs", runs)

    @property
    def data(self) -> Dataset:
        """Data set of the table, which need not be known to the workspace."""
        return self.user_data or dataset(self.facts.dataset)

    @property
    def content(self) -> bytes:
        """Rows as CSV in UTF-8; equal tables give equal bytes."""
        columns = self.columns
        return csv_text(columns, [row[: len(columns)] for row in self.rows]).encode()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the fields of a row, without soft errors and loss if no row has these."""
        has_all = any(getattr(row, name) is not None for row in self.rows for name in _OPTIONAL)
        return Row._fields if has_all else Row._fields[: -len(_OPTIONAL)]

    @property
    def sizes(self) -> dict[str, int]:
        """Parameters of each network by hash, ascending."""
        return {row.hash: row.parameters for row in self.rows}

    @property
    def true_accuracies_pct(self) -> dict[str, float]:
        """Mean validation accuracy over the seeds at the last rung, by hash; hidden from the methods."""
        return {key: statistics.fmean(values) for key, values in self._accuracies(self.facts.rungs[-1]).items()}

    def target_pct(self, budget: float = math.inf) -> float:
        """Return the default target, which a quarter of the networks of at most ``budget`` parameters reach.

        The target is rounded down to two decimals, so that the networks at the quantile reach the target.

        Raises:
            ContentError: No network has at most ``budget`` parameters.
        """
        sizes = self.sizes
        accuracies = [accuracy for key, accuracy in self.true_accuracies_pct.items() if sizes[key] <= budget]
        if not accuracies:
            raise ContentError(f"the table {self.facts.name!r} has no network of at most {budget:,} parameters")
        quantile = sorted(accuracies, reverse=True)[int(_REACHING * (len(accuracies) - 1))]
        # The summand absorbs the error of the product, which may be below an integer.
        return math.floor(100 * quantile + 1e-9) / 100

    def _accuracies(self, rung: int) -> dict[str, list[float]]:
        return {key: [run[rung].validation_accuracy_pct for run in runs.values()] for key, runs in self.runs.items()}

    def summary(self) -> dict[str, Any]:
        """Return statistics of the networks, seeds and rungs as plain JSON values.

        ``seed_deviation_pct`` is the standard deviation between seeds of a network, pooled over the networks; None with
        a single seed per network. ``rank_correlation`` is Spearman's correlation of the networks' mean accuracies at a
        rung with the mean accuracies at the last rung; None for fewer than three networks or equal accuracies.
        """
        from scipy.stats import spearmanr

        facts = self.facts
        finals = [row for row in self.rows if row.rung == facts.rungs[-1]]
        final_means = list(self.true_accuracies_pct.values())
        seed_counts = [len(runs) for runs in self.runs.values()]
        macs = {row.hash: row.macs for row in self.rows}

        def spread(values: Sequence[float]) -> dict[str, float]:
            return {"low": min(values), "median": statistics.median(values), "high": max(values)}

        rungs = []
        for rung in facts.rungs:
            groups = list(self._accuracies(rung).values())
            means = [statistics.fmean(group) for group in groups]
            # The rank correlation of two networks is always 1 or -1.
            is_ranked = len(groups) > 2 and min(len(set(means)), len(set(final_means))) > 1
            rungs.append(
                {
                    "epoch": rung,
                    "accuracy_pct": spread(means),
                    "seed_deviation_pct": finite(pooled_deviation(groups)[0]),
                    "rank_correlation": float(spearmanr(means, final_means).statistic) if is_ranked else None,
                    "seconds": spread([row.seconds for row in self.rows if row.rung == rung]),
                }
            )
        return {
            "name": facts.name,
            "dataset": facts.dataset,
            "space": facts.space_name,
            "recipe": facts.recipe_name,
            "recipe_hash": facts.recipe.hash,
            "networks": len(self.runs),
            "runs": len(finals),
            "rows": len(self.rows),
            "diverged": sum(row.status is Status.DIVERGED for row in finals),
            "seeds": [min(seed_counts), max(seed_counts)],
            "parameters": spread(list(self.sizes.values())),
            "macs": spread(list(macs.values())),
            "rungs": rungs,
            "train_seconds": math.fsum(row.seconds for row in finals),
        }


def summary_text(table: Table, summary: Mapping[str, Any]) -> str:
    """Return ``Table.summary`` as text."""
    interval = "{low:,.0f} to {high:,.0f} (median {median:,.0f})"
    sizes = interval.format(**summary["parameters"])
    macs = interval.format(**summary["macs"])
    extent = "all" if table.facts.is_exhaustive else "a sample"
    seeds = " to ".join(map(str, dict.fromkeys(summary["seeds"])))  # one number if all networks have equally many
    lines = [
        f"table {summary['name']}: {counted(summary['networks'], 'network')}, {extent} of the space "
        f"{summary['space']!r}; seeds per network: {seeds}",
        f"  {summary['runs']:,} runs ({summary['diverged']:,} diverged), {summary['dataset']}, recipe "
        f"{summary['recipe']} ({summary['recipe_hash']}), {duration_text(summary['train_seconds'])} of training",
        f"  parameters {sizes}; multiply-adds {macs}",
        "epoch  validation accuracy %, lowest median highest  between seeds  rank correlation  seconds",
    ]
    for rung in summary["rungs"]:
        accuracies = "{low:.2f} {median:.2f} {high:.2f}".format(**rung["accuracy_pct"])
        deviation = number_text(rung["seed_deviation_pct"], ".3f")
        correlation = number_text(rung["rank_correlation"], ".2f")
        words = f"{rung['epoch']:>5}  {accuracies:>46}  {deviation:>13}  {correlation:>16}"
        lines.append(f"{words}  {rung['seconds']['median']:>7.1f}")
    return "\n".join(lines)


def number_text(number: float | None, digits: str) -> str:
    """Return a number in a format such as ``.2f``, or ``-`` for None."""
    return "-" if number is None else format(number, digits)


# On disk ----------------------------------------------------------------------------------------------------


def _contents(table: Table) -> dict[str, bytes]:
    digest = hashlib.sha256(table.content).hexdigest()
    facts_file = _FactsFile(facts=table.facts, networks=len(table.runs), rows=len(table.rows), rows_sha256=digest)
    document = asdict(facts_file)
    # The form that leaves out recipe fields with default values, so that new fields change no table.
    document["facts"]["recipe"] = table.facts.recipe.document
    contents = {_ROWS: table.content, _FACTS: files.json_text(document).encode()}
    if table.user_data is not None:
        contents[_DATA] = files.json_text(document_of(table.user_data)).encode()
    return contents


def write_table(folder: Path, table: Table) -> None:
    """Write the files of a table, all or none."""
    files.write_together({folder / name: content for name, content in _contents(table).items()})


def read_table(folder: Path) -> Table:
    """Read a table.

    Raises:
        DataError: The table is missing, damaged or of a different schema version.
        MissingSubject: The data set is not known, or its description is damaged.
    """
    import pandas

    try:
        text = (folder / _FACTS).read_bytes()
        content = (folder / _ROWS).read_bytes()
        facts_file = read_as(_FactsFile, text, f"the table's {folder / _FACTS}")
    except OSError as error:
        raise DataError(f"cannot read the table in {folder}: {reason(error)}: {error.filename}") from error
    except ContentError as error:
        raise DataError(f"the table in {folder} is damaged: {error.message}") from error
    if hashlib.sha256(content).hexdigest() != facts_file.rows_sha256:
        raise DataError(f"{folder / _ROWS} does not have the hash stored in {_FACTS}")
    name = facts_file.facts.dataset
    user_data = None if name in DATASETS else dataset_of(name, f"the table in {folder}", folder)
    if user_data is not None and user_data.sha256 != facts_file.facts.data_hash:
        raise DataError(f"{folder / _DATA} does not describe the data of the table")
    kinds = {name: kind for name, kind in get_type_hints(Row).items() if kind in (int, float)}
    try:
        frame = pandas.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        columns = [name for name in Row._fields if name not in _OPTIONAL or name in frame]
        cells = frame[columns].astype(kinds).itertuples(index=False, name=None)
        rows = tuple(_typed(Row(**dict(zip(columns, of_row, strict=True)))) for of_row in cells)
        for row in rows:
            numbers = (row.validation_accuracy_pct, row.seconds, row.validation_soft_errors, row.validation_loss)
            if not all(number is None or math.isfinite(number) for number in numbers):
                raise ValueError("a number is not finite")
        table = Table(facts_file.facts, rows, user_data)
        runs = [run for by_seed in table.runs.values() for run in by_seed.values()]
        rungs = facts_file.facts.rungs
        if not runs or list(rungs) != sorted({*rungs}) or any(tuple(run) != rungs for run in runs):
            raise ValueError("the runs do not have the rungs of the facts")
        if not {row.machine for row in rows} <= {*range(len(facts_file.facts.machines))}:
            raise ValueError("a machine of a row is not listed in the facts")
    except (ValueError, KeyError, OverflowError) as error:
        raise DataError(f"{folder / _ROWS} is damaged: {' '.join(str(error).split())}") from error
    return table


def _typed(row: Row) -> Row:
    """Return a row whose status and optional numbers were texts."""
    numbers: dict[str, Any] = {name: float(getattr(row, name)) if getattr(row, name) else None for name in _OPTIONAL}
    return row._replace(status=Status(row.status), **numbers)


def export_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV and Parquet with facts and ``SHA256SUMS``; return the paths."""
    errors.require("export", ("pyarrow",), "Parquet")
    from pandas import DataFrame

    frame = DataFrame(table.rows, columns=Row._fields)[[*table.columns]].astype({"status": "str"})
    contents = _contents(table) | {"table.parquet": frame.to_parquet(engine="pyarrow", index=False)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(contents.items()))
    contents["SHA256SUMS"] = sums.encode()
    files.write_together({folder / name: content for name, content in contents.items()})
    return [folder / name for name in contents]


def table_folder(name: str, workspace: Workspace) -> Path:
    """Return the folder of a table: ``name`` itself if it contains a slash, else shipped or in the workspace.

    Raises:
        UsageError: There is no table of this name.
    """
    if "/" in name:
        return Path(name)
    tables = workspace.tables
    folders = {path.parent.name: path.parent for root in (_SHIPPED, tables) for path in root.glob(f"*/{_FACTS}")}
    if name in folders or (tables / name).exists():
        return folders.get(name, tables / name)
    raise UsageError(
        f"no table {name!r} in {tables}; known are: {', '.join(sorted(folders)) or 'none'}, or a folder (with a slash)",
        hint=nearest(name, folders),
    )


# Several tables ---------------------------------------------------------------------------------------------

# Facts that merged tables share; comments in the space may differ.
_SHARED = ("dataset", "data_hash", "split_sha256", "space_hash", "recipe", "rungs", "protocol_version")


def merged(tables: Sequence[Table], name: str) -> Table:
    """Return a table ``name`` with the runs of all tables; a run in several tables is taken from the first.

    Raises:
        ContentError: The tables differ in their facts, or a run differs though the machines should give equal bits.
    """
    first = tables[0].facts
    machines = list(dict.fromkeys(machine for table in tables for machine in table.facts.machines))
    _check_alike([table.facts for table in tables], machines)
    runs: dict[tuple[str, int], list[Row]] = {}
    for table in tables:
        indices = [machines.index(machine) for machine in table.facts.machines]
        rows = [row._replace(machine=indices[row.machine]) for row in table.rows]
        # The rows of a run are neighbours.
        for (network_hash, seed), run_rows in groupby(rows, key=lambda row: (row.hash, row.seed)):
            run = list(run_rows)
            earlier_run = runs.setdefault((network_hash, seed), run)
            machine = machines[run[0].machine]
            earlier_machine = machines[earlier_run[0].machine]
            pairs = zip(run, earlier_run, strict=True)
            differs = any(row.validation_accuracy_pct != earlier.validation_accuracy_pct for row, earlier in pairs)
            if differs and machine.environment.gives_bits_of(earlier_machine.environment):
                raise ContentError(
                    f"seed {seed} of network {network_hash} has different accuracies in {table.facts.name!r} and in an "
                    "earlier table, although the machines give equal bits"
                )
    rows = [row for run in runs.values() for row in run]
    # Drop machines without runs in the merged table.
    indices = sorted({row.machine for row in rows})
    samples = tuple(dict.fromkeys(sample for table in tables for sample in table.facts.samples))
    facts = replace(first, name=name, samples=samples, machines=tuple(machines[index] for index in indices))
    return Table(facts, tuple(row._replace(machine=indices.index(row.machine)) for row in rows), tables[0].user_data)


def _check_alike(facts: Sequence[TableFacts], machines: Sequence[Machine]) -> None:
    first = facts[0]
    for table_facts in facts:
        for name in _SHARED:
            if getattr(first, name) != getattr(table_facts, name):
                fact = "space" if name == "space_hash" else name
                raise ContentError(f"the tables {first.name!r} and {table_facts.name!r} differ in {fact}")
    if len({machine.engine for machine in machines}) > 1:
        raise ContentError("the tables were trained by different engines")
