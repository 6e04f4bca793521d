"""The figures of a comparison for other programs and for a terminal: CSV files, one JSON document, one text."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.bench.results.comparison import Comparison
from harness.bench.results.findings import Findings, MethodFinding
from harness.system import files
from harness.system.csv_text import csv_text
from harness.system.duration import duration_text
from harness.system.terminal import counted
from harness.training.result import finite

METHODS, TIMES, RUNTIMES, PAIRS = "methods.csv", "times.csv", "runtimes.csv", "pairs.csv"
_METHOD_COLUMNS = ("method", "is_variant", "mean_rank", "ratio", "final_size", "answered", "false", "networks", "runs")


def write_figures(folder: Path, facts: Findings) -> list[Path]:
    """Write the CSV files and return their paths; an empty cell stands for infinity, which is no answer.

    Raises:
        UsageError: the folder cannot be written.
    """
    ranks = facts.ranking.mean_ranks
    methods = [
        (
            *(m.name, m.is_variant, ranks.get(m.name), finite(m.ratio), finite(m.final_size)),
            *(m.answered, m.false, m.networks, m.runs),
        )
        for m in facts.methods
    ]
    times = [
        [method.name, *map(finite, line)]
        for method in facts.methods
        for line in zip(method.curve.times, method.curve.median, method.curve.low, method.curve.high, strict=True)
    ]
    runtimes = [
        (
            *(method.name, r.size, finite(r.expected_seconds), finite(r.low), finite(r.high)),
            *(r.hits, r.repeats, r.share_low, r.share_high),
        )
        for method in facts.methods
        for r in method.runtimes
    ]
    compared = [[*map(finite_or_text, asdict(pair).values())] for pair in (*facts.pairs, *facts.variants)]
    runtime_columns = (
        "method",
        "size",
        "expected_seconds",
        "low",
        "high",
        "hits",
        "repeats",
        "share_low",
        "share_high",
    )
    contents = {
        METHODS: csv_text(_METHOD_COLUMNS, methods),
        TIMES: csv_text(("method", "seconds", "median_size", "low", "high"), times),
        RUNTIMES: csv_text(runtime_columns, runtimes),
        PAIRS: csv_text(("first", "second", "when", "ratio", "low", "high", "p", "corrected_p", "balance"), compared),
    }
    made = {folder / name: text.encode() for name, text in contents.items()}
    files.write_together(made)
    return list(made)


def finite_or_text(value: object) -> object:
    """Return a number that is finite, None for one that is not, and anything else as it is."""
    return finite(value) if isinstance(value, float) else value


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
        "methods": [_method_document(method, facts) for method in facts.methods],
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
    note = (
        f"over time: size of the answers over the smallest that reaches ({smallest}), geometric mean; at the end: "
        f"median size; expected time: to {_aim(facts)}, misses counted (repeats that got there)"
    )
    return "\n".join([head, "", table, "", note, *facts.sentences])


def _aim(facts: Findings) -> str:
    runtimes = facts.methods[0].runtimes
    return f"{runtimes[_shown(runtimes)].size:,} parameters" if runtimes else "no size, since none reaches"


def _shown(runtimes: tuple[object, ...]) -> int:
    """Return which of the sizes a terminal has room for: the middle one."""
    return len(runtimes) // 2


def _line(method: MethodFinding, facts: Findings) -> tuple[str, ...]:
    rank = facts.ranking.mean_ranks.get(method.name)
    runtime = method.runtimes[_shown(method.runtimes)] if method.runtimes else None
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


def _method_document(method: MethodFinding, facts: Findings) -> dict[str, Any]:
    return {
        "name": method.name,
        "says": method.says,
        "is_variant": method.is_variant,
        "mean_rank": facts.ranking.mean_ranks.get(method.name),
        "ratio": finite(method.ratio),
        "final_size": finite(method.final_size),
        "answered": method.answered,
        "false": method.false,
        "networks": method.networks,
        "runs": method.runs,
        "runtimes": [_plain(asdict(item)) for item in method.runtimes],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: finite_or_text(value) for name, value in values.items()}
