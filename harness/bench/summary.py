"""What a table says of its networks: counts, ranges, what seeds and rungs are worth. Facts only."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.bench.table import Machine, Table, is_exhaustive
from harness.system.statistics import pooled_deviation, spearman
from harness.system.terminal import counted, duration_text
from harness.training.recipe import recipe_document
from harness.training.result import Status, finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Smallest, middle and largest of some values."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rung:
    """What is known at one rung.

    Attributes:
        epoch: counted from 1.
        accuracy_pct: of the networks' means over their seeds, on the validation images.
        seed_deviation_pct: deviation between seeds of one network, pooled over the networks; None with one seed each.
        rank_correlation: Spearman's, of the networks' means here with those at the last rung; None where it is not
            defined.
        seconds: of a run up to here.
    """

    epoch: int
    accuracy_pct: Spread
    seed_deviation_pct: float | None
    rank_correlation: float | None
    seconds: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """The facts of a table."""

    networks: int
    runs: int
    rows: int
    diverged: int
    seeds: tuple[int, int]
    parameters: Spread
    macs: Spread
    rungs: tuple[_Rung, ...]
    train_seconds: float


def summary(table: Table) -> _Summary:
    """Return the facts of a table that has rows."""
    last = table.rungs[-1]
    finals = [row for row in table.rows if row.rung == last]
    firsts = [next(iter(runs.values()))[last] for runs in table.runs.values()]
    seeds = [len(runs) for runs in table.runs.values()]
    return _Summary(
        networks=len(table.runs),
        runs=len(finals),
        rows=len(table.rows),
        diverged=sum(row.status is Status.DIVERGED for row in finals),
        seeds=(min(seeds), max(seeds)),
        parameters=_spread([row.parameters for row in firsts]),
        macs=_spread([row.macs for row in firsts]),
        rungs=tuple(_rung(table, rung) for rung in table.rungs),
        train_seconds=math.fsum(row.seconds for row in finals),
    )


def _means_at(table: Table, rung: int) -> list[float]:
    return [statistics.fmean(at[rung].validation_accuracy_pct for at in runs.values()) for runs in table.runs.values()]


def _rung(table: Table, rung: int) -> _Rung:
    rows = [row for row in table.rows if row.rung == rung]
    means = _means_at(table, rung)
    seeds = [[at[rung].validation_accuracy_pct for at in runs.values()] for runs in table.runs.values()]
    # Two pairs always agree, or always disagree.
    correlation = spearman(means, _means_at(table, table.rungs[-1])) if len(means) > 2 else math.nan
    return _Rung(
        epoch=rung,
        accuracy_pct=_spread(means),
        seed_deviation_pct=finite(pooled_deviation(seeds)[0]),
        rank_correlation=finite(correlation),
        seconds=_spread([row.seconds for row in rows]),
    )


def _spread(values: list[int] | list[float]) -> Spread:
    return Spread(low=min(values), median=statistics.median(values), high=max(values))


def places(machines: Sequence[Machine]) -> set[Machine]:
    """Return the machines without the commits that trained on them: a recording may go on with a later one."""
    return {replace(each, environment=replace(each.environment, commit=None, dirty=None)) for each in machines}


def summary_text(table: Table, found: _Summary) -> str:
    """Return the facts of a table for people."""
    facts = table.facts
    extent = "all" if is_exhaustive(facts) else "a sample"
    lines = [
        f"table {facts.name}: {counted(found.networks, 'network')}, {extent} of the space {facts.space_name!r}; "
        f"seeds a network: {seeds_text(found)}",
        f"  {found.runs:,} runs ({found.diverged:,} diverged), {facts.dataset}, recipe {facts.recipe_name} "
        f"({facts.recipe.hash}), {duration_text(found.train_seconds)} of training on "
        f"{counted(len(places(facts.machines)), 'machine')}",
        f"  parameters {range_text(found.parameters)}; multiply-adds {range_text(found.macs)}",
        "epoch  validation accuracy %, lowest median highest  between seeds  rank correlation  seconds",
    ]
    for rung in found.rungs:
        spread = rung.accuracy_pct
        accuracies = f"{spread.low:.2f} {spread.median:.2f} {spread.high:.2f}"
        deviation = "-" if rung.seed_deviation_pct is None else f"{rung.seed_deviation_pct:.3f}"
        correlation = "-" if rung.rank_correlation is None else f"{rung.rank_correlation:.2f}"
        lines.append(
            f"{rung.epoch:>5}  {accuracies:>46}  {deviation:>13}  {correlation:>16}  {rung.seconds.median:>7.1f}"
        )
    return "\n".join(lines)


def range_text(spread: Spread) -> str:
    """Return the ends and the middle of whole numbers."""
    return f"{spread.low:,.0f} to {spread.high:,.0f} (median {spread.median:,.0f})"


def seeds_text(found: _Summary) -> str:
    """Return the number of seeds of a network, or the fewest and the most."""
    return " to ".join(map(str, dict.fromkeys(found.seeds)))


def datasheet(table: Table, rows_sha256: str) -> str:
    """Return the datasheet of a table whose ``table.csv`` has this SHA-256."""
    facts, found = table.facts, summary(table)
    parts = (
        f"# Table {facts.name}",
        "Written by `harness bench table` from the table itself; an edit is lost.",
        "## What it is for",
        "To replay methods of architecture search on recorded trainings, hundreds of times, and to compare them by the "
        "validation accuracy that they would have seen and the seconds that they would have spent.",
        "Not for claims about accuracy: it holds no test figures, and the best of many networks on validation is in "
        "part the luckiest. `harness verify` proves a network, on other seeds. Not for another recipe, space or data "
        "set than those below. Seconds of different machines do not compare.",
        "## What was trained",
        _what(table, found),
        "## How networks were chosen",
        _chosen(table),
        "## The space",
        f"```text\n{facts.space.strip()}\n```",
        "## The recipe",
        f"`{facts.recipe_name}`, hash {facts.recipe.hash}:",
        "\n".join(f"- {name}: {value}" for name, value in recipe_document(facts.recipe).items()),
        "## What the rungs say",
        _rungs(found),
        "## Machines",
        _machines(table),
        "## Check",
        f"`table.csv` has {found.rows:,} rows and the SHA-256 `{rows_sha256}`; `table.json` notes it, and whatever "
        f"reads the table checks it. Data {facts.data_hash[:12]}..., split {facts.split_sha256[:12]}..., protocol "
        f"{facts.protocol_version}.",
    )
    return "\n\n".join(parts) + "\n"


def _what(table: Table, found: _Summary) -> str:
    return "\n".join(
        (
            f"- {found.networks:,} distinct networks of {range_text(found.parameters)} parameters and "
            f"{range_text(found.macs)} multiply-adds.",
            f"- {seeds_text(found)} seeds a network, {found.runs:,} runs in all, {found.diverged:,} of them diverged; "
            "a diverged run keeps what its last weights gave. Seeds are hashes of network, recipe and index, with the "
            "purpose `bench`: nobody chose one, and no search or verification uses them.",
            f"- {table.facts.dataset}: trained on the search split's training images, looked at on its validation "
            "images.",
            f"- One run to epoch {table.rungs[-1]} under one schedule, read after epochs "
            f"{', '.join(map(str, table.rungs))}: an early rung is a prefix of the schedule, not a short training.",
            f"- {duration_text(found.train_seconds)} of training, all runs together; `seconds` is training since the "
            "start of the run, without looking at validation images.",
        )
    )


def _chosen(table: Table) -> str:
    lines = []
    if is_exhaustive(table.facts):
        lines.append("All networks that the space allows were trained.")
    for sample in table.facts.samples:
        limit = "" if sample.budget is None else f" of at most {sample.budget:,} parameters"
        how = (
            "all there are"
            if sample.bands == 0
            else f"equal numbers from {sample.bands} bands of parameters that are equally wide in the logarithm, where "
            "a band had enough"
        )
        lines.append(f"- Up to {sample.networks:,} networks{limit}, seed {sample.seed}: {how}.")
    return "\n".join(lines)


def _rungs(found: _Summary) -> str:
    lines = [
        "| epoch | validation accuracy %, lowest, median, highest network | deviation between seeds | rank correlation "
        "with the last rung | median seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rung in found.rungs:
        spread = rung.accuracy_pct
        cells = (
            str(rung.epoch),
            f"{spread.low:.2f}, {spread.median:.2f}, {spread.high:.2f}",
            _number(rung.seed_deviation_pct, 3),
            _number(rung.rank_correlation, 2),
            f"{rung.seconds.median:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _machines(table: Table) -> str:
    last = table.rungs[-1]
    runs = Counter(row.machine for row in table.rows if row.rung == last)
    return "\n".join(
        f"- {index}: {_machine_text(machine)}; {runs[index]:,} runs"
        for index, machine in enumerate(table.facts.machines)
    )


def _machine_text(machine: Machine) -> str:
    environment = machine.environment
    commit = "unknown" if environment.commit is None else environment.commit[:12]
    dirty = " with changes" if environment.dirty else ""
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.workers} runs side by side, engine "
        f"`{environment.engine}`, torch {environment.torch}, Python {environment.python}, commit {commit}{dirty}"
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
