"""Page of the leaderboard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt

from harness.data.datasets import DATASETS, task_or_mnist
from harness.evidence.leaderboard_table import LeaderboardRow, Survey
from harness.evidence.record import Record
from harness.pages import charts
from harness.pages.charts import Colour, Row
from harness.pages.render import page
from harness.spaces.catalog import network_names
from harness.spaces.network import Analysis, analyse
from harness.studies.candidate import allowed_errors
from harness.studies.standing import Standing
from harness.system import files
from harness.system.errors import as_command
from harness.system.files import Workspace


class _BoardEntry(NamedTuple):
    """Row of the leaderboard page.

    Attributes:
        accuracy_pct: Mean test accuracy; validation accuracy for the tier ``searched``; None if unknown.
        errors: Wrong test images per seed; empty without a record.
        allowed_errors: Most wrong test images that reach the target; 0 without a record.
        commands: Pairs of command line and effect.
    """

    row: LeaderboardRow
    name: str
    accuracy_pct: float | None
    analysis: Analysis
    errors: list[int]
    allowed_errors: int
    commands: list[tuple[str, str]]


class _RowGroup(NamedTuple):
    """Rows of a data set and target, best first; ``smallest`` is the proven row with the fewest parameters."""

    dataset: str
    target_pct: float
    entries: list[_BoardEntry]
    smallest: _BoardEntry | None


def _groups(rows: Sequence[LeaderboardRow], records: Sequence[Record], workspace: Workspace) -> list[_RowGroup]:
    """Return the groups of rows, the default target of the first data set before the rest.

    ``rows`` have the order of ``leaderboard_table.ranked``.
    """
    # As ``LeaderboardRow.key``: a claim has no record.
    by_key = {(record.key, False): record for record in records}
    names = network_names((row.architecture, row.parameters) for row in rows)
    names |= {row.hash: row.name for row in rows if row.name}

    groups = []
    for (dataset, target_pct), group in groupby(rows, key=lambda row: (row.dataset, row.target_pct)):
        entries = []
        for row in group:
            record = by_key.get(row.key)
            commands = list(_commands(row, record, workspace))
            entries.append(_entry(row, names[row.hash], record, commands))
        proven_entries = [item for item in entries if item.row.tier.is_proven]
        smallest = min(proven_entries, key=lambda item: item.row.parameters, default=None)
        groups.append(_RowGroup(dataset, target_pct, entries, smallest))
    name = groups[0].dataset if groups else ""
    if name in DATASETS:
        # The default target first; the sort is stable.
        groups.sort(key=lambda group: (group.dataset, group.target_pct) != (name, DATASETS[name].target_pct))
    return groups


def _entry(row: LeaderboardRow, name: str, record: Record | None, commands: list[tuple[str, str]]) -> _BoardEntry:
    seeds = record.seeds if record else ()
    return _BoardEntry(
        row=row,
        name=name,
        accuracy_pct=row.validation_accuracy_pct if row.tier is Standing.SEARCHED else row.mean_test_accuracy_pct,
        analysis=analyse(row.architecture, task_or_mnist(row.dataset)),
        errors=[run.test_errors for run in seeds],
        allowed_errors=allowed_errors(row.target_pct, seeds[0].test_size) if seeds else 0,
        commands=commands,
    )


def _commands(row: LeaderboardRow, record: Record | None, workspace: Workspace) -> Iterator[tuple[str, str]]:
    explain = (as_command("explain", row.hash), "shows the layers and their costs")
    if record is None:
        yield as_command(*row.arguments("verify")), "trains the network on fresh seeds and reads the test set"
        yield explain
        return
    # By default ``evaluate`` and ``export`` take seed 0.
    if 0 in record.kept_indices(workspace.records):
        effect = "loads the weights and counts the errors on the test set (takes seconds)"
        yield as_command(*row.arguments("evaluate")), effect
        if record.recipe.precision == "int8":
            yield as_command(*row.arguments("export", "--c", "network")), "writes C code and a demo page"
    verify = as_command(*row.arguments("verify", "--seeds", str(max(1, len(record.seeds)))))
    yield verify, "repeats the recorded trainings and compares the results with the record"
    yield explain


def write_leaderboard(workspace: Workspace, survey: Survey) -> Path:
    """Write the leaderboard as a page beside the CSV file and return the path."""
    path = workspace.leaderboard.with_suffix(".html")
    groups = _groups(survey.rows, survey.records, workspace)
    damage = [error.one_line for error in survey.damage]
    files.write_text(path, page("leaderboard.html", damage=damage, **_board(groups)))
    return path


def _board(groups: Sequence[_RowGroup]) -> dict[str, Any]:
    rows = []
    for number, group in enumerate(groups, start=1):
        for index, entry in enumerate(group.entries, start=1):
            if group.dataset != groups[0].dataset or entry.accuracy_pct is None or entry.row.parameters <= 0:
                continue
            rows.append(
                {
                    "network": entry.name,
                    "parameters": entry.row.parameters,
                    "accuracy": entry.accuracy_pct,
                    "tier": entry.row.tier.value,
                    "target": group.target_pct,
                    "recipe": entry.row.recipe,
                    "best": entry is group.smallest,
                    "href": f"#row-{number}-{index}",  # id of the table row in board.html
                }
            )
    # Drawing order: the smallest proven networks lie below all other points.
    rows.sort(key=lambda row: not row["best"])
    return {
        "charts": {"frontier": frontier(rows, groups[0].target_pct) if groups else None},
        "styles": ["board.css"],
        "scripts": ["board.js"],
        "groups": groups,
        "dots": _dots,
    }


def _dots(group: _RowGroup) -> list[dict[str, Any] | None]:
    """Return a dot plot per row, None for a row without seeds: a dot per seed, and a tick at ``allowed_errors``.

    All plots of the group have the same logarithmic axis of errors. ``board.html`` draws 120 x 24 units, with the axis
    from x = 5 to x = 115 at y = 12. Stacked dots rise at most 9 units, with a step of at most 2.5. A plot has the x of
    the tick, and for each dot x, y and whether the seed reached the target.
    """
    entries = [entry for entry in group.entries if entry.errors]
    limits = [entry.allowed_errors for entry in entries]
    errors = [*limits, *chain.from_iterable(entry.errors for entry in entries)]
    low = max(min(errors, default=1), 1) / 1.05
    # Diverged seeds lie at the end of the axis, otherwise all remaining seeds would coincide.
    most = min(max(errors, default=1), 2 * max(limits, default=1))
    high = 1.05 * max(most, low + 1)

    def position(number: int) -> float:
        return round(5 + 110 * math.log(min(max(number, low), high) / low) / math.log(high / low), 1)

    plots: list[dict[str, Any] | None] = []
    for entry in group.entries:
        if not entry.errors:
            plots.append(None)
            continue
        # The step shrinks with the number of dots, so that all dots fit the picture.
        highest_stack = max(Counter(map(position, entry.errors)).values())
        step = min(2.5, 9 / max(1, highest_stack - 1))
        heights = Counter[float]()
        marks = []
        for x, is_at_target in sorted((position(number), number <= entry.allowed_errors) for number in entry.errors):
            marks.append((x, round(12 - step * heights[x], 1), is_at_target))
            heights[x] += 1
        plots.append({"tick": position(entry.allowed_errors), "marks": marks})
    return plots


_KIND_OF_TIER = {
    "certified": "certified or verified",
    "verified": "certified or verified",
    "at the target": "measured",
    "searched": "searched (validation)",
    "claimed": "reported elsewhere",
}
_TIERS = {
    "certified or verified": (Colour.GREEN, "square"),
    "measured": (Colour.ORANGE, "diamond"),
    "searched (validation)": (Colour.BLUE, "circle"),
    "reported elsewhere": (Colour.PURPLE, "triangle-up"),
}


def frontier(rows: Sequence[Row], target_pct: float, *, height: int = 400) -> Any:
    """Return the chart of parameters against accuracy; the smallest networks per target are joined and labelled.

    Args:
        rows: Rows with ``network``, ``parameters``, ``accuracy`` and ``target`` in per cent, ``tier``, ``recipe``,
            ``best`` (whether the row is the smallest at its target) and ``href`` (target of a click).
    """
    points = [
        {**row, "errors": charts.errors_pct(row["accuracy"]), "kind": _KIND_OF_TIER.get(row["tier"], row["tier"])}
        for row in rows
    ]
    if len({(row["parameters"], row["accuracy"]) for row in points}) < 3:
        return None
    x = charts.log_axis(alt.X, "parameters", "parameters")
    y = charts.accuracy_axis("accuracy, %")
    # Otherwise a filter that removes points would rescale the chart.
    sizes = [row["parameters"] for row in points]
    errors = [row["errors"] for row in points]
    x.scale.domain = [min(sizes) / 1.15, max(sizes) * 1.15]
    y.scale.domain = [min(errors) / 1.4, max(errors) * 1.15]
    fields = ("parameters:Q||,d", "accuracy:Q|accuracy, %|.3f", "tier:N", "target:Q|target, %", "recipe:N")
    best_rows = charts.chart_of("rows").transform_filter("datum.best").encode(x=x, y=y)
    marks = charts.chart_of("rows").mark_point(filled=True, size=70, opacity=0.85, cursor="pointer")
    looks = charts.point_styles("kind", _TIERS, [row["kind"] for row in points])
    chart = alt.layer(
        charts.chart_of([{"errors": charts.errors_pct(target_pct)}]).mark_rule(**charts.DASHED).encode(y=y),
        best_rows.mark_line(color=Colour.GREEN),
        marks.encode(x=x, y=y, tooltip=charts.tooltips("network:N", *fields), **looks).add_params(charts.zoom()),
        best_rows.mark_text(dy=-13, color=Colour.TEXT).encode(text=alt.Text("parameters:Q", format=",d")),
    )
    summary = "; ".join(f"{row['target']:g} % with {row['parameters']:,}" for row in points if row["best"])
    description = f"The smallest network verified or certified for each target: {summary or 'none'}."
    return charts.finished(chart, f"Parameters against accuracy. {description}", height, rows=points)
