"""Pages of the bench: search methods on a table or in live searches, and ranks over several tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from harness.bench.comparison import AT_THE_END, DEFAULT, LEVEL, OVER_TIME, Comparison, Findings, p_text
from harness.pages import charts
from harness.pages.render import count, page
from harness.studies import candidate
from harness.system import files
from harness.training.result import finite


def write_bench_page(folder: Path, comparison: Comparison, findings: Findings) -> Path:
    """Write ``report.html`` and return its path; raise UsageError if the folder is not writable."""
    path = folder / "report.html"
    files.write_text(path, _bench_page(comparison, findings))
    return path


def write_ranks_page(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write ``ranks.html``, the ranking over several tables (``ranks_of``), and return its path.

    The page links to the page of each table, in a folder named after the table.
    """
    path = folder / "ranks.html"
    files.write_text(path, page("ranks.html", package="harness.bench", facts=document, default=DEFAULT, p_text=p_text))
    return path


def _bench_page(comparison: Comparison, findings: Findings) -> str:
    facts = findings.document
    names = [method["name"] for method in facts["methods"] if not method["is_variant"]]
    return page(
        "bench.html",
        package="harness.bench",
        charts={"curves": _curves(findings)},
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
    """Return a matrix over all pairs of methods for the score ``when``; None for untested pairs.

    A cell is the size of the row's method over the size of the column's method, and whether the difference is
    significant.
    """
    cells: dict[tuple[str, str], tuple[float, bool]] = {}
    for pair in pairs:
        if pair["when"] == when:
            cells[pair["first"], pair["second"]] = pair["ratio"], pair["differs"]
            cells[pair["second"], pair["first"]] = 1 / pair["ratio"], pair["differs"]
    return [[cells.get((row, column)) for column in names] for row in names]


def _curves(findings: Findings) -> Any:
    facts = findings.document
    methods = [method for method in facts["methods"] if not method["is_variant"]]
    methods.sort(key=lambda method: method["mean_rank"])
    unit, unit_seconds = ("minutes", 60.0) if facts["seconds"] > 300 else ("seconds", 1.0)
    names = [method["name"] for method in methods]
    points = [(name, *point) for name in names for point in findings.curves[name]]
    largest = max((size for _, _, size, _, _ in points if math.isfinite(size)), default=None)
    if largest is None:
        return None
    rows = []
    for name, at, size, low, high in points:
        # A band with an infinite upper end reaches the top of the chart.
        top = min(high, 1.1 * largest) if math.isfinite(low) else None
        rows.append({"method": name, "at": at / unit_seconds, "size": finite(size), "low": finite(low), "high": top})
    x = alt.X("at:Q", title=f"time, {unit}", scale=alt.Scale(nice=False))
    y = charts.log_axis(alt.Y, "size", "parameters of the answer")
    selection = alt.selection_point(fields=["method"], bind="legend")
    base = charts.chart_of("curves")
    band = base.transform_filter({"param": selection.name, "empty": False})
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        x=x,
        y=y,
        # A domain for both, because Vega-Lite joins no legends with a ``sort``; ten methods share eight colours.
        color=alt.Color("method:N", scale=alt.Scale(domain=names)),
        strokeDash=alt.StrokeDash("method:N", scale=alt.Scale(domain=names)),
        opacity=alt.condition(selection, alt.value(1), alt.value(0.15)),
        tooltip=charts.tooltips("method:N", f"at:Q|{unit}", "size:Q||,d"),
    )
    area = band.mark_area(interpolate="step-after", opacity=0.2)
    area = area.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", detail="method:N")
    layers: list[Any] = [area, lines.add_params(selection)]
    if facts["smallest"] is not None:
        smallest = charts.chart_of([{"size": facts["smallest"], "words": "smallest size that reaches the target"}])
        layers.append(smallest.mark_rule(**charts.DASHED).encode(y=y, tooltip=["words:N", "size:Q"]))
    sizes = {method["name"]: method["final_size"] for method in methods}
    summary = "; ".join(f"{name} {'none' if size is None else count(size)}" for name, size in sizes.items())
    description = f"Size of the answer in the median repeat at the end: {summary}."
    return charts.finish(alt.layer(*layers), description, 400, curves=rows)
