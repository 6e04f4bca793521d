"""The figures of a comparison for other programs and for a terminal: CSV files, one JSON document, one text."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.bench.results.comparison import Comparison
from harness.bench.results.findings import Findings, MethodFinding
from harness.bench.results.ranks import Pair
from harness.bench.results.runtime import Runtime
from harness.system import files
from harness.system.document import csv_text
from harness.system.terminal import counted, duration_text
from harness.training.result import finite

METHODS, TIMES, RUNTIMES, PAIRS = "methods.csv", "times.csv", "runtimes.csv", "pairs.csv"
_METHOD_COLUMNS = ("method", "is_variant", "mean_rank", "ratio", "final_size", "answered", "false", "networks", "runs")


def write_figures(folder: Path, facts: Findings) -> list[Path]:
    """Write the CSV files and return their paths; an empty cell stands for infinity, which is no answer.

    Raises:
        UsageError: the folder cannot be written.
    """
    methods = [
        [document["name" if column == "method" else column] for column in _METHOD_COLUMNS]
        for document in (_method_document(method, facts) for method in facts.methods)
    ]
    times = [
        [method.name, *map(finite, line)]
        for method in facts.methods
        for line in zip(method.curve.times, method.curve.median, method.curve.low, method.curve.high, strict=True)
    ]
    runtimes = [
        [method.name, *_plain(asdict(runtime)).values()] for method in facts.methods for runtime in method.runtimes
    ]
    compared = [_plain(asdict(pair)).values() for pair in (*facts.pairs, *facts.variants)]
    contents = {
        METHODS: csv_text(_METHOD_COLUMNS, methods),
        TIMES: csv_text(("method", "seconds", "median_size", "low", "high"), times),
        RUNTIMES: csv_text(("method", *_names(Runtime)), runtimes),
        PAIRS: csv_text(_names(Pair), [[*values] for values in compared]),
    }
    made = {folder / name: text.encode() for name, text in contents.items()}
    files.write_together(made)
    return list(made)


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
    runtimes = facts.methods[0].runtimes
    aim = f"{runtimes[_shown(runtimes)].size:,} parameters" if runtimes else "no size, since none reaches"
    note = (
        f"over time: size of the answers over the smallest that reaches ({smallest}), geometric mean; at the end: "
        f"median size; expected time: to {aim}, misses counted (repeats that got there)"
    )
    return "\n".join([head, "", table, "", note, *facts.sentences])


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
    """Return the values with None for each number that is not finite."""
    return {name: finite(value) if isinstance(value, float) else value for name, value in values.items()}


def _names(kind: type[Runtime | Pair]) -> list[str]:
    return [item.name for item in fields(kind)]
