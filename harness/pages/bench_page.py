"""Pages of the bench: search methods on a table or in live searches, and ranks over several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.bench.comparison import AT_THE_END, DEFAULT, LEVEL, OVER_TIME, Comparison, Findings, p_text
from harness.pages import charts
from harness.pages.render import page
from harness.studies import candidate
from harness.system import files


def write_bench_page(folder: Path, comparison: Comparison, findings: Findings) -> Path:
    """Write ``report.html`` and return its path; raise UsageError if the folder is not writable."""
    path = folder / "report.html"
    files.write_text(path, _bench_page(comparison, findings))
    return path


def write_ranks_page(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write ``ranks.html``, the ranking over several tables, and return its path.

    ``document`` is the result of ``ranks_of``. The page links to the page of each table, in a folder named after the
    table.
    """
    path = folder / "ranks.html"
    files.write_text(path, page("ranks.html", facts=document, default=DEFAULT, p_text=p_text))
    return path


def _bench_page(comparison: Comparison, findings: Findings) -> str:
    """Return the HTML page of a comparison of search methods."""
    facts = findings.document
    names = [method["name"] for method in facts["methods"] if not method["is_variant"]]
    return page(
        "bench.html",
        charts={"curves": charts.bench_curves(findings)},
        comparison=comparison,
        facts=facts,
        names=names,
        name_titles=["method", *(f"#{name}" for name in names)],
        size_titles=["method", *(f"#{item['size']:,} parameters" for item in facts["methods"][0]["runtimes"])],
        matrices=[(when, _matrix(facts["pairs"], names, when)) for when in (OVER_TIME, AT_THE_END)],
        default=DEFAULT,
        level_pct=100 * LEVEL,
        confirming=candidate,
        p_text=p_text,
    )


def _matrix(
    pairs: Sequence[Mapping[str, Any]], names: Sequence[str], when: str
) -> list[list[tuple[float, bool] | None]]:
    """Return a matrix over all pairs of methods for the score ``when``.

    A cell is the ratio of the sizes of the row's method to the column's method, and whether the difference is
    significant; None on the diagonal and for untested pairs.
    """
    cells: dict[tuple[str, str], tuple[float, bool]] = {}
    for pair in pairs:
        if pair["when"] == when:
            cells[pair["first"], pair["second"]] = pair["ratio"], pair["differs"]
            cells[pair["second"], pair["first"]] = 1 / pair["ratio"], pair["differs"]
    return [[cells.get((row, column)) for column in names] for row in names]
