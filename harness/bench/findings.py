"""All that a comparison shows: figures of each method, tests between them, and sentences that say what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from harness.bench.comparison import Comparison, Judged
from harness.bench.scores import (
    Curve,
    Judge,
    Pair,
    Ranking,
    Runtime,
    Trace,
    curve,
    fewest_repeats,
    final_score,
    pairs,
    ranking,
    runtime,
    score,
    size_targets,
    steps,
    times,
)
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.system.terminal import counted, duration_text
from harness.training.result import finite

# The method that a search uses, and what it must beat.
DEFAULT, _BASELINE = "default", "random"
# The two scores that methods are compared by.
OVER_TIME, AT_THE_END = "over time", "at the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class _MethodFinding:
    """One method.

    Attributes:
        says: what it does.
        is_variant: it is the default with one part changed.
        ratio: its sizes over the smallest that reaches, the geometric mean over repeats and time; NaN where nothing
            reaches.
        final_size: median size at the end; infinite where the median repeat has none.
        answered: share of the repeats with an answer at the end; ``false`` of those whose answer does not reach.
        networks: mean number of networks a repeat; ``runs`` of trainings.
    """

    name: str
    says: str
    is_variant: bool
    curve: Curve
    runtimes: tuple[Runtime, ...]
    ratio: float
    final_size: float
    answered: float
    false: float
    networks: float
    runs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The whole comparison.

    Attributes:
        methods: in the order they were given.
        ranking: of those that are no variants, by their score over time.
        pairs: every two of those by both scores; ``variants`` each variant with the default.
    """

    seconds: float
    repeats: int
    judge: Judge
    methods: tuple[_MethodFinding, ...]
    ranking: Ranking
    pairs: tuple[Pair, ...]
    variants: tuple[Pair, ...]
    sentences: tuple[str, ...]


def found(comparison: Comparison, traces: Sequence[Trace], judged: Judged) -> Findings:
    """Return what the repeats of a comparison show."""
    task, smallest = comparison.task, math.inf if judged.smallest is None else judged.smallest
    judge = Judge(judged.accuracies_pct, task.target_pct, task.budget, smallest)
    says = {method.name: method.says for method in comparison.methods}
    variants = frozenset(method.name for method in comparison.methods if method.is_variant)
    return findings(traces, says, variants, task.seconds, judge)


def findings(
    traces: Sequence[Trace], says: Mapping[str, str], variants: frozenset[str], seconds: float, judge: Judge
) -> Findings:
    """Return what the traces show; every method has the same repeats.

    Args:
        says: what each method does, by name, in the order of the report.
        variants: names of those that are the default with one part changed; the default is among the methods then.
    """
    grouped = {name: [trace for trace in traces if trace.method == name] for name in says}
    stepped = {name: [steps(trace, judge) for trace in group] for name, group in grouped.items()}
    scores = {name: [score(found, judge, seconds) for found in group] for name, group in stepped.items()}
    whole = [name for name in says if name not in variants]
    last = {name: [final_score(found, judge, seconds) for found in group] for name, group in stepped.items()}
    scored = {OVER_TIME: scores, AT_THE_END: last}
    compared = pairs(scored, list(combinations(whole, 2)))
    varied = pairs(scored, [(name, DEFAULT) for name in says if name in variants])
    ranked = ranking({name: scores[name] for name in whole})
    repeats = len(next(iter(grouped.values())))
    methods = []
    for name, group in grouped.items():
        made = curve(stepped[name], times(seconds))
        ends = [trace.answers[-1].hash if trace.answers else None for trace in group]
        answered = [network for network in ends if network is not None]
        false = sum(not judge.reaches(network) for network in answered)
        methods.append(
            _MethodFinding(
                name=name,
                says=says[name],
                is_variant=name in variants,
                curve=made,
                runtimes=tuple(runtime(stepped[name], size, seconds) for size in size_targets(judge.smallest)),
                ratio=math.exp(statistics.mean(scores[name])) if math.isfinite(judge.smallest) else math.nan,
                final_size=made.median[-1],
                answered=len(answered) / len(group),
                false=false / len(answered) if answered else 0.0,
                networks=statistics.mean([float(trace.networks) for trace in group]),
                runs=statistics.mean([float(trace.runs) for trace in group]),
            )
        )
    return Findings(
        seconds=seconds,
        repeats=repeats,
        judge=judge,
        methods=tuple(methods),
        ranking=ranked,
        pairs=tuple(compared),
        variants=tuple(varied),
        sentences=(*_too_few(repeats, compared, varied), *sentences(ranked, compared, varied)),
    )


def _too_few(repeats: int, *families: Sequence[Pair]) -> list[str]:
    """Return what is to be said where no outcome could have shown a difference; each family is corrected by itself."""
    tests = max(map(len, families))
    needed = fewest_repeats(tests)
    if not tests or repeats >= needed:
        return []
    return [f"{repeats} repeats are too few to show any difference by {tests} tests, whatever came out; {needed} can."]


def sentences(ranked: Ranking, compared: Sequence[Pair], varied: Sequence[Pair]) -> list[str]:
    """Return what follows, the default against random first."""
    found = [_said(pair, DEFAULT, _BASELINE) for pair in compared if {pair.first, pair.second} == {DEFAULT, _BASELINE}]
    best = next(iter(ranked.mean_ranks), None)
    rivals = [pair for pair in compared if {pair.first, pair.second} == {DEFAULT, best} and best != _BASELINE]
    found += [_first(ranked, compared)] if len(ranked.mean_ranks) > 1 else []
    found += [_said(pair, DEFAULT, str(best)) for pair in rivals]
    return found + [_said(pair, pair.first, DEFAULT) for pair in varied]


def _first(ranked: Ranking, compared: Sequence[Pair]) -> str:
    least = min(ranked.mean_ranks.values())
    first, *equal = [name for name, rank in ranked.mean_ranks.items() if rank == least]
    if equal:
        return f"Ranked first alike: {', '.join((first, *equal))}."
    worse = {
        pair.second if pair.first == first else pair.first
        for pair in compared
        if pair.when == OVER_TIME and first in (pair.first, pair.second)
        if pair.differs and _seen_from(pair, first)[0] < 1
    }
    others = [name for name in ranked.mean_ranks if name != first]
    beaten, left = ([name for name in others if (name in worse) is wanted] for wanted in (True, False))
    said = [f"better than {', '.join(beaten)}"] if beaten else []
    said += [f"not shown to be better than {', '.join(left)}"] if left else []
    return f"Ranked first: {first}; over time it is {' and '.join(said)}."


def _said(pair: Pair, name: str, other: str) -> str:
    ratio, low, high = _seen_from(pair, name)
    tested = f"uncorrected interval {low:.3f} to {high:.3f}, corrected p {p_text(pair.corrected_p)}"
    size = f"its answers {pair.when} are {ratio:.3f} times as large ({tested})"
    if not pair.differs:
        return f"{name} is not shown to differ from {other}: {size}."
    return f"{name} is {'better' if ratio < 1 else 'worse'} than {other}: {size}."


def _seen_from(pair: Pair, name: str) -> tuple[float, float, float]:
    if pair.first == name:
        return pair.ratio, pair.low, pair.high
    return 1 / pair.ratio, 1 / pair.high, 1 / pair.low


def p_text(p: float) -> str:
    """Return a p value as people read it."""
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


_METHOD_COLUMNS = ("method", "is_variant", "mean_rank", "ratio", "final_size", "answered", "false", "networks", "runs")


def write_figures(folder: Path, document: dict[str, Any], facts: Findings) -> list[Path]:
    """Write the CSV files and return their paths; an empty cell stands for infinity, which is no answer.

    Args:
        document: of ``figures_document``.
    """
    methods = [method | {"method": method["name"]} for method in document["methods"]]
    times = [
        [method.name, *map(finite, line)]
        for method in facts.methods
        for line in zip(method.curve.times, method.curve.median, method.curve.low, method.curve.high, strict=True)
    ]
    runtimes = [[method["name"], *runtime.values()] for method in methods for runtime in method["runtimes"]]
    pairs = [[pair[name] for name in _names(Pair)] for pair in (*document["pairs"], *document["variants"])]
    contents = {
        "methods.csv": csv_text(_METHOD_COLUMNS, [[method[name] for name in _METHOD_COLUMNS] for method in methods]),
        "times.csv": csv_text(("method", "seconds", "median_size", "low", "high"), times),
        "runtimes.csv": csv_text(("method", *_names(Runtime)), runtimes),
        "pairs.csv": csv_text(_names(Pair), pairs),
    }
    files.write_together({folder / name: text.encode() for name, text in contents.items()})
    return [folder / name for name in contents]


def figures_document(comparison: Comparison, facts: Findings) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "table": comparison.table,
        "repeats": facts.repeats,
        "seconds": facts.seconds,
        "workers": comparison.task.workers,
        "target_pct": comparison.task.target_pct,
        "smallest": finite(facts.judge.smallest),
        "sentences": list(facts.sentences),
        "friedman_p": finite(facts.ranking.p),
        "methods": [
            {
                **{name: getattr(method, name) for name in ("name", "says", "is_variant")},
                "mean_rank": facts.ranking.mean_ranks.get(method.name),
                **_plain({name: getattr(method, name) for name in _METHOD_COLUMNS[3:]}),
                "runtimes": [_plain(asdict(item)) for item in method.runtimes],
            }
            for method in facts.methods
        ],
        "pairs": [_plain(asdict(pair)) | {"differs": pair.differs} for pair in facts.pairs],
        "variants": [_plain(asdict(pair)) | {"differs": pair.differs} for pair in facts.variants],
    }


def figures_text(comparison: Comparison, facts: Findings) -> str:
    """Return the comparison for people."""
    task = comparison.task
    source = f"table {comparison.table}" if comparison.table else f"real trainings in {task.space_name}"
    head = (
        f"{source}: {counted(facts.repeats, 'repeat')}, {duration_text(task.seconds)} each on "
        f"{counted(task.workers, 'worker')}, "
        f"target {task.target_pct:g} % validation"
    )
    lines: list[tuple[str, ...]] = [("method", "over time", "at the end", "false answers", "rank", "expected time")]
    lines += [_line(method, facts) for method in facts.methods]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    table = "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )
    smallest = f"{facts.judge.smallest:,.0f} parameters" if math.isfinite(facts.judge.smallest) else "none known"
    # The middle one of the sizes: a terminal has room for one.
    runtimes = facts.methods[0].runtimes
    aim = f"{runtimes[len(runtimes) // 2].size:,} parameters" if runtimes else "no size, since none reaches"
    note = (
        f"over time: size of the answers over the smallest that reaches ({smallest}), geometric mean; at the end: "
        f"median size; expected time: to {aim}, misses counted (repeats that got there)"
    )
    return "\n".join([head, "", table, "", note, *facts.sentences])


def _line(method: _MethodFinding, facts: Findings) -> tuple[str, ...]:
    rank = facts.ranking.mean_ranks.get(method.name)
    runtime = method.runtimes[len(method.runtimes) // 2] if method.runtimes else None
    never = runtime is None or not math.isfinite(runtime.expected_seconds)
    return (
        method.name,
        f"{method.ratio:.3f}" if math.isfinite(method.ratio) else "-",
        f"{method.final_size:,.0f}" if math.isfinite(method.final_size) else "none",
        f"{100 * method.false:.0f} %",
        "-" if rank is None else f"{rank:.2f}",
        "never"
        if never or runtime is None
        else f"{duration_text(runtime.expected_seconds)} ({runtime.hits} of {runtime.repeats})",
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in values.items()}


def _names(kind: type[Runtime | Pair]) -> list[str]:
    return [item.name for item in fields(kind)]
