"""What a table says of its networks: counts, ranges, what seeds and rungs are worth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.bench.table import Machine, Table, is_exhaustive
from harness.system.statistics import pooled_deviation, spearman
from harness.system.terminal import counted, duration_text
from harness.training.result import Status, finite


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
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
    accuracy_pct: _Spread
    seed_deviation_pct: float | None
    rank_correlation: float | None
    seconds: _Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """The facts of a table."""

    networks: int
    runs: int
    rows: int
    diverged: int
    seeds: tuple[int, int]
    parameters: _Spread
    macs: _Spread
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


def _spread(values: list[int] | list[float]) -> _Spread:
    return _Spread(low=min(values), median=statistics.median(values), high=max(values))


def _places(machines: Sequence[Machine]) -> set[Machine]:
    """Return the machines without the commits that trained on them: a recording may go on with a later one."""
    return {replace(each, environment=replace(each.environment, commit=None, dirty=None)) for each in machines}


def summary_text(table: Table, found: _Summary) -> str:
    """Return the facts of a table for people."""
    facts = table.facts
    sizes = [
        f"{spread.low:,.0f} to {spread.high:,.0f} (median {spread.median:,.0f})"
        for spread in (found.parameters, found.macs)
    ]
    extent = "all" if is_exhaustive(facts) else "a sample"
    lines = [
        f"table {facts.name}: {counted(found.networks, 'network')}, {extent} of the space {facts.space_name!r}; "
        f"seeds a network: {' to '.join(map(str, dict.fromkeys(found.seeds)))}",
        f"  {found.runs:,} runs ({found.diverged:,} diverged), {facts.dataset}, recipe {facts.recipe_name} "
        f"({facts.recipe.hash}), {duration_text(found.train_seconds)} of training on "
        f"{counted(len(_places(facts.machines)), 'machine')}",
        f"  parameters {sizes[0]}; multiply-adds {sizes[1]}",
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
