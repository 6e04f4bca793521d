"""The page of a comparison of search methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.bench.comparison import DEFAULT, Comparison
from harness.bench.scores import AT_THE_END, LEVEL, OVER_TIME, Findings, p_text
from harness.search import race
from harness.system import files
from reports import charts
from reports.render import page


def write_page(folder: Path, comparison: Comparison, found: Findings) -> Path:
    """Write ``report.html`` and return its path.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = folder / "report.html"
    files.write_text(path, render(comparison, found))
    return path


def render(comparison: Comparison, found: Findings) -> str:
    """Return the page."""
    facts = found.document
    names = [method["name"] for method in facts["methods"] if not method["is_variant"]]
    chart = charts.bench_curves(found)
    return page(
        "bench.html",
        charts={"curves": chart} if chart else {},
        comparison=comparison,
        facts=facts,
        names=names,
        name_titles=["method", *(f"#{name}" for name in names)],
        size_titles=["method", *(f"#{item['size']:,} parameters" for item in facts["methods"][0]["runtimes"])],
        matrices=[(when, matrix(facts["pairs"], names, when)) for when in (OVER_TIME, AT_THE_END)],
        default=DEFAULT,
        level_pct=100 * LEVEL,
        race=race,
        p_text=p_text,
    )


def matrix(
    pairs: Sequence[Mapping[str, Any]], names: Sequence[str], when: str
) -> list[list[tuple[float, bool] | None]]:
    """Return each method beside each other by one score: its sizes over theirs, and whether the difference holds.

    A row and a column a method; None on the diagonal and for untested pairs.
    """
    found = {
        (pair["first"], pair["second"]): (pair["ratio"], pair["differs"]) for pair in pairs if pair["when"] == when
    }
    found |= {(second, first): (1 / ratio, differs) for (first, second), (ratio, differs) in found.items()}
    return [[found.get((row, column)) for column in names] for row in names]
