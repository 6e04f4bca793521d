"""Altair charts of all pages; a function returns None if there is not enough data for a chart.

Pages draw the charts with an embedded Vega-Lite, notebooks show the charts directly; ``svg`` and ``png`` convert a
chart to a file. The colours equal the light theme of ``page.css``, which replaces the colours in the dark theme.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from harness.evidence.leaderboard_table import LeaderboardRow, pareto_front
from harness.pages import history
from harness.pages.render import count, specification
from harness.pages.study_facts import DIGITS, front_of
from harness.spaces.catalog import network_name
from harness.spaces.integer_plan import WIDE_BITS
from harness.spaces.space import OBJECTIVES, Metric
from harness.studies.candidate import NetworkState
from harness.system import statistics
from harness.training.result import finite

if TYPE_CHECKING:
    from harness.bench.comparison import Findings
    from harness.pages.study_facts import NetworkFacts, StudyFacts
    from harness.studies.config import StudyConfig

BLUE = "#0072b2"
_NAVY = "#1d3f8a"
GREY = "#6f7a84"
ORANGE = "#c14a00"
PURPLE = "#8a4a80"
GREEN = "#10693a"
RED = "#a3271b"
_AMBER = "#7a4b00"
TEXT = "#1b2127"
_SERIES = [BLUE, ORANGE, PURPLE, _NAVY, GREEN, _AMBER, RED, GREY]

Row = Mapping[str, Any]

_TEXTS = {"labelColor": TEXT, "titleColor": TEXT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
# Vega hides labels that touch; without a separation, the outermost labels, which are moved inwards, still overlap.
_TICKS = {"labelOverlap": True, "labelSeparation": 8}  # pixels
# A legend has a single column on a narrow screen. The signal ``width`` changes after the layout of legends, which would
# then be cut off.
_LEGEND_COLUMNS = "(containerSize()[0] < 640 ? 1 : 3)"
_LEGEND_LABELS = {
    "columns": {"expr": _LEGEND_COLUMNS},
    "labelLimit": {"expr": f"containerSize()[0] / {_LEGEND_COLUMNS} - 90"},  # pixels
}
_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "system-ui, sans-serif",
    "aria": False,  # the page has a text description; screen readers would read out each of a thousand points
    "mark": {"aria": False},
    "autosize": {"type": "fit", "contains": "padding"},
    "view": {"stroke": None},
    "axis": {**_TEXTS, **_TICKS, "gridColor": "#d3dae0", "domainColor": GREY, "tickColor": GREY},
    # A label that exceeds the axis by more than the padding would be cut off.
    "axisX": {"labelBound": 5},  # pixels
    "legend": {**_TEXTS, **_LEGEND_LABELS, "orient": "top", "title": None, "symbolSize": 90},
    "range": {"category": _SERIES},
}
_DASHED: dict[str, Any] = {"strokeDash": [6, 4], "color": TEXT}


def svg(chart: Any, width: int = 760) -> str:
    """Return a chart as SVG, ``width`` pixels wide."""
    return vl_convert.vegalite_to_svg(specification(chart.properties(width=width)))


def png(chart: Any, width: int = 760) -> bytes:
    """Return a chart as PNG, ``2 * width`` pixels wide."""
    return vl_convert.vegalite_to_png(specification(chart.properties(width=width)), scale=2)


def _finished(chart: Any, description: str, height: int = 320, **datasets: Sequence[Row]) -> Any:
    result = chart.properties(width="container", height=height, description=description).configure(**_CONFIG)
    if datasets:
        result.datasets = datasets  # not passed through Altair, which would check every value
    return result


def text_chart(text: str) -> Any:
    """Return a chart that consists of a text, as a placeholder for a missing chart."""
    return _finished(_over([{"words": text}]).mark_text(fontSize=14).encode(text="words:N"), text)


def _over(rows: Iterable[Row] | str) -> alt.Chart:
    return alt.Chart(alt.NamedData(name=rows) if isinstance(rows, str) else alt.InlineData(values=list(rows)))


def _zoom() -> alt.Parameter:
    return alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")


def _errors_pct(accuracy_pct: float) -> float:
    # Zero errors have no logarithm. The tooltips show the exact accuracy. ``max`` returns a NaN that comes first.
    return max(100 - accuracy_pct, 0.05)


def _accuracy_axis(title: str) -> Any:
    """Return an axis for the field ``errors`` in per cent: logarithmic in the errors, labelled with accuracies.

    The scale spreads accuracies near 100 %: the distance from 99.4 to 99.7 equals the distance from 98 to 99.
    """
    scale = alt.Scale(type="log", reverse=True, nice=False, padding=18)
    return alt.Y(
        "errors:Q",
        scale=scale,
        title=f"{title} (errors logarithmic)",
        axis=alt.Axis(labelExpr="format(100 - datum.value, '.6~r')"),
    )


def _log_axis(channel: type[Any], field: str, title: str) -> Any:
    """Return a logarithmic axis of counts above 0, as a 0 among the data would move all marks to the corner.

    Args:
        channel: ``alt.X`` or ``alt.Y``.
        field: Field with the counts.
        title: Title of the axis.
    """
    scale = alt.Scale(type="log", nice=False, padding=16)
    return channel(f"{field}:Q", scale=scale, title=f"{title} (logarithmic)", axis=alt.Axis(format=",d", tickCount=8))


def _names(field: str = "network", names: Sequence[str] | None = None) -> Any:
    """Return an axis with a line per name, in the order of ``names``, else in the order of the data."""
    # A label of more than 30 characters is broken after the last space or hyphen of the first 27.
    lines = r"split(replace(datum.label, regexp('(?=.{31})(.{1,26}[ -])', 'g'), '$1\n'), '\n')"
    axis = alt.Axis(labelLimit=280, labelExpr=lines, domain=False, ticks=False)
    return alt.Y(f"{field}:N", sort=list(names) if names else None, title=None, axis=axis)


def _looks(field: str, kinds: Mapping[str, tuple[str, str]], present: Iterable[object]) -> Any:
    """Return colour and shape channels, with a legend of the ``present`` kinds.

    Args:
        field: Field of a row with its kind.
        kinds: Colour and shape of each kind, in the order of the legend.
        present: Kinds of the rows.
    """
    names = set(present)
    legend = alt.Legend(values=[kind for kind in kinds if kind in names])
    colours, shapes = zip(*kinds.values(), strict=True)
    return {
        "color": alt.Color(f"{field}:N", scale=alt.Scale(domain=list(kinds), range=list(colours)), legend=legend),
        "shape": alt.Shape(f"{field}:N", scale=alt.Scale(domain=list(kinds), range=list(shapes)), legend=legend),
    }


def _tips(*fields: str) -> list[alt.Tooltip]:
    tooltips = []
    for field in fields:
        name, title, number_format = [*field.split("|"), "", ""][:3]
        tooltips.append(alt.Tooltip(name, title=title or alt.Undefined, format=number_format or alt.Undefined))
    return tooltips


def _bars(values: Sequence[tuple[str, float]], title: str, description: str, *, is_logarithmic: bool = False) -> Any:
    """Return a bar chart of (name, value) pairs with the title of the values in the tooltips; None without values."""
    if not values:
        return None
    rows: list[Row] = []
    for name, value in values:
        length = math.log1p(value) if is_logarithmic else value  # log1p: a bar of 0 has the length 0
        rows.append({"name": name, "value": value, "length": length})
    longest = max(row["length"] for row in rows)
    # The number behind the longest bar needs 50 pixels.
    scale = alt.Scale(domain=[0, longest or 1.0], range=[0, alt.ExprRef("width - 50")])
    x = alt.X("length:Q", axis=None, scale=scale)
    base = _over(rows).encode(x=x, y=_names("name"), tooltip=_tips("name:N", f"value:Q|{title}|,d"))
    numbers = base.mark_text(align="left", dx=4, color=TEXT).encode(text=alt.Text("value:Q", format=",d"))
    bars = alt.layer(base.mark_bar(color=BLUE, height={"band": 0.6}), numbers)
    return _finished(bars, description, 30 + 30 * len(rows))


def study_charts(info: StudyFacts, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the charts of a study, by the name used on the page; ``rows`` is the result of ``networks_rows``."""
    facts = history.accounting(info)
    return {
        "front": _front_of_costs(info, rows),
        "accuracy": accuracy_over_cost(info, rows),
        "seeds": _seeds_of_networks(info),
        "over-time": _search_over_time(info, rows),
        "learning-curves": _learning_curves(info),
        "steps": _bars(facts["steps"], "proposals", "From proposals to a verified network", is_logarithmic=True),
        "rejections": _bars(facts["rejections"], "proposals", "Rejections by reason"),
        "time": _bars(history.time_spent(info), "seconds", "Time of all workers by activity"),
    }


def networks_rows(info: StudyFacts) -> list[dict[str, Any]]:
    """Return the data set ``networks`` of a study, a row per network, used by charts, filters and figures."""
    front = {network.hash for network in front_of(info.networks)}
    end_minutes = {number: round(seconds / 60, 2) for number, seconds in history.first_ends(info).items()}
    rows: list[dict[str, Any]] = []
    for number, network in enumerate(info.networks):
        row = network.row
        accuracies = network.validation_accuracies_pct
        mean = statistics.mean(accuracies)
        deviation = statistics.standard_deviation(accuracies)
        kind = None  # without an accuracy, and without a cost for the logarithmic axis, a network is not drawn
        if accuracies and network.cost > 0:
            kind = "pruned" if network.state is NetworkState.PRUNED else "trained"
            if network.hash in front:
                kind = "on the Pareto front"
        macs = None if network.first_run is None else network.first_run.macs
        # Minimised costs are known before the first run has ended.
        costs = dict(zip(info.config.minimised, (network.cost, network.second), strict=False))
        fields = ("hash", "origin", "trial", "parameters", "cost", "second", "epochs")
        values = {"n": number, "network": network.label, "state": str(network.state), "shown": kind}
        values |= {field: getattr(network, field) for field in fields}
        values |= {"macs": costs.get(Metric.MACS, macs), "seeds": len(accuracies), "ended": end_minutes.get(number)}
        values |= {"validation_pct": _rounded(mean), "deviation_pct": _rounded(deviation)}
        bounds = {"errors": mean, "low": mean - deviation, "high": mean + deviation}
        values |= {field: _rounded(_errors_pct(accuracy)) for field, accuracy in bounds.items()}
        values["tier"] = None if row is None else str(row.tier)
        values["test_pct"] = None if row is None else _rounded(row.mean_test_accuracy_pct)
        rows.append(values)
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


# Colour and shape of the points, by the field ``shown``.
_KINDS = {
    "trained": (BLUE, "circle"),
    "on the Pareto front": (_NAVY, "square"),
    "pruned": (GREY, "triangle-down"),
    "mean on the test set": (ORANGE, "diamond"),
    "smallest on the leaderboard": (TEXT, "cross"),
}


def _network_tips(unit: str) -> list[alt.Tooltip]:
    """Return the tooltip of a row of ``networks_rows``; ``unit`` is the name of the cost."""
    numbers = (f"cost:Q|{unit}|,d", "validation_pct:Q|validation, %|.2f", "seeds:Q", "test_pct:Q|test, %|.3f")
    return _tips("network:N", *numbers, "state:N")


def accuracy_over_cost(info: StudyFacts, rows: Sequence[Row] | None = None) -> Any:
    """Return the chart of cost against accuracy of a study's networks, with target, threshold and budget."""
    rows = networks_rows(info) if rows is None else rows
    config = info.config
    unit = OBJECTIVES[config.minimised[0]]
    tested_networks = _tested_networks(info)
    points = [row for row in (*rows, *tested_networks) if row["shown"]]
    if not any(row["n"] is not None for row in points):
        return None
    x = _log_axis(alt.X, "cost", unit)
    y = _accuracy_axis("accuracy, %")
    looks = _looks("shown", _KINDS, [row["shown"] for row in points])
    layers, labels = _levels(config, y)
    limit_name = "budget" if config.minimised[0] is Metric.PARAMETERS else "at most"
    bound = f"{limit_name} {config.limits[0]:,}"
    # A line far from all points would squeeze the points.
    if config.limits[0] <= 1.3 * max(row["cost"] for row in points):
        line = _over([{"cost": config.limits[0]}]).mark_rule(strokeDash=[2, 3], color=PURPLE)
        layers.append(line.encode(x=x, tooltip=alt.value(bound)))
    networks = _over("networks").transform_filter("isValid(datum.shown)").encode(x=x, y=y)
    front = networks.transform_filter("datum.shown == 'on the Pareto front'")
    layers.append(front.mark_line(interpolate="step-after", color=_NAVY, strokeWidth=1.5))
    test_tips = _tips("network:N", "cost:Q||,d", "test_pct:Q|test, %")
    for data, tips, mark_style in (
        (networks, _network_tips(unit), {"size": 55, "opacity": 0.8, "cursor": "pointer"}),
        (_over(tested_networks).encode(x=x, y=y), test_tips, {"size": 90}),
    ):
        bars = data.transform_filter("isValid(datum.low)").mark_rule()
        marks = data.mark_point(filled=True, **mark_style).encode(tooltip=tips, **looks)
        layers += [bars.encode(y="low:Q", y2="high:Q", color=looks["color"]), marks]
    layers[-1] = layers[-1].add_params(_zoom())
    summary = "; ".join(f"{network.cost:,} with {network.accuracy_pct:.2f} %" for network in front_of(info.networks))
    description = (
        f"{unit.capitalize()} against accuracy of {len(points)} points. {bound}, target {config.target_pct:g} %, "
        f"validation threshold {config.threshold_text}. Pareto front on validation: {summary or 'empty'}. "
        "The table of networks lists all figures."
    )
    return _finished(alt.layer(*layers, *labels), description, 400, networks=rows)


def _tested_networks(info: StudyFacts) -> list[Row]:
    """Return rows of the study's networks with a test accuracy, and of the three cheapest further leaderboard rows."""
    metric = info.config.minimised[0]
    bits_by_key = {(record.key, False): record.recipe.weight_bits for record in info.evidence.records}

    def cost(row: LeaderboardRow) -> int:
        # A row without a record is of a search or a claim.
        return row.cost(metric, bits_by_key.get(row.key, WIDE_BITS))

    hashes_of_study = {network.hash for network in info.networks}
    goal = (info.config.dataset, info.config.target_pct)
    rivals = [row for row in info.evidence.rows if row.reached and (row.dataset, row.target_pct) == goal]
    further_rows = {row.hash: row for row in rivals if row.hash not in hashes_of_study}
    cheapest = sorted(further_rows.values(), key=cost)[:3]
    study_points = [(number, network.label, network.row) for number, network in enumerate(info.networks)]
    further = [(None, network_name(row.architecture, row.parameters) or row.hash[:DIGITS], row) for row in cheapest]
    rows: list[Row] = []
    for number, label, row in (*study_points, *further):
        if row is None or row.mean_test_accuracy_pct is None or cost(row) <= 0:
            continue
        mean = row.mean_test_accuracy_pct
        # A single seed has no standard deviation.
        deviation = 0.0 if row.std_test_accuracy_pct is None else row.std_test_accuracy_pct
        kind = "smallest on the leaderboard" if number is None else "mean on the test set"
        values = {"n": number, "network": label, "cost": cost(row), "test_pct": round(mean, 4), "shown": kind}
        bounds = {"errors": mean, "low": mean - deviation, "high": mean + deviation}
        rows.append(values | {field: _errors_pct(accuracy) for field, accuracy in bounds.items()})
    return rows


def _level_texts(config: StudyConfig) -> dict[float, str]:
    """Return the texts of threshold and target by level, or only of the target if both are equal."""
    target = f"target {config.target_pct:g} %"
    return {config.threshold_pct: f"threshold {config.threshold_text}", config.target_pct: target}


def _levels(config: StudyConfig, y: Any) -> tuple[list[Any], list[Any]]:
    lines = []
    labels = []
    levels = _level_texts(config)
    for level, words in levels.items():
        line = _over([{"errors": _errors_pct(level), "words": words}]).encode(y=y)
        lines.append(line.mark_rule(**_DASHED))
        text = line.mark_text(align="left", dx=4, dy=-7 if level == max(levels) else 10, color=TEXT, fontSize=11)
        labels.append(text.encode(x=alt.value(0), text="words:N"))
    return lines, labels


# Colour and shape of the points of ``_front_of_costs``.
_FATES = {"trained": (GREY, "circle"), "confirmed": (BLUE, "square"), "tested": (GREEN, "diamond")}


def _fate(network: NetworkFacts) -> str | None:
    """Return a key of ``_FATES``, or None; a network that missed the target on the test images is ``trained``."""
    if network.row is not None:
        return "tested" if network.row.reached else "trained"
    if network.state.is_confirmed:
        return "confirmed"
    return "trained" if network.is_complete else None


def _front_of_costs(info: StudyFacts, rows: Sequence[Row]) -> Any:
    """Return the chart of both minimised metrics with the Pareto front; None if the study minimises a single metric."""
    config = info.config
    fates = map(_fate, info.networks)
    points = [{**row, "fate": fate} for row, fate in zip(rows, fates, strict=True) if fate is not None]
    points = [row for row in points if min(row["cost"], row["second"] or 0) > 0]
    if not config.is_front or not points:
        return None
    candidates = [network for network in info.networks if _fate(network) in ("confirmed", "tested")]
    front = pareto_front(candidates, lambda network: (network.cost, network.second or 0, network.hash))
    first, second = (OBJECTIVES[metric] for metric in config.minimised)
    axes = {"x": _log_axis(alt.X, "cost", first), "y": _log_axis(alt.Y, "second", second)}
    tips = _tips("network:N", f"cost:Q|{first}|,d", f"second:Q|{second}|,d", "validation_pct:Q|validation, %|.2f")
    looks = _looks("fate", _FATES, [row["fate"] for row in points])
    marks = _over(points).mark_point(filled=True, size=70, opacity=0.8, cursor="pointer")
    layers = [marks.encode(**axes, tooltip=tips, **looks).add_params(_zoom())]
    if front:
        line_points = [each for each in front if min(each.cost, each.second or 0) > 0]
        line = _over({"cost": each.cost, "second": each.second} for each in line_points)
        layers.append(line.mark_line(interpolate="step-after", color=_NAVY, strokeWidth=1.5).encode(**axes))
    summary = "; ".join(f"{each.cost:,} and {each.second:,}" for each in front)
    description = f"{first.capitalize()} against {second}. Pareto front of confirmed networks: {summary or 'empty'}."
    return _finished(alt.layer(*layers), description, 400)


def _search_over_time(info: StudyFacts, rows: Sequence[Row]) -> Any:
    """Return the chart of tried costs and of the effective budget over the time of the search."""
    ended_count = sum(row["ended"] is not None for row in rows)
    if not ended_count:
        return None
    unit = OBJECTIVES[info.config.minimised[0]]
    decisions = info.study.decisions
    steps = history.budget_steps(info)
    decision_rows = [
        {"ended": item.elapsed / 60, "cost": item.cost, "fate": item.state.value} for item in decisions if item.cost > 0
    ]
    x = alt.X("ended:Q", title="minutes of the search", scale=alt.Scale(nice=False, domainMin=0))
    y = _log_axis(alt.Y, "cost", unit)
    kinds = {"first run": (BLUE, "circle"), "confirmed": (GREEN, "square"), "failed confirmation": (RED, "cross")}
    looks = _looks("fate", kinds, kinds)
    line = _over({"ended": seconds / 60, "cost": level} for seconds, level in steps if level > 0)
    runs = _over("networks").transform_filter("isValid(datum.ended) && datum.cost > 0")
    points = runs.transform_calculate(fate="'first run'")
    points = points.mark_point(filled=True, size=45, opacity=0.7, cursor="pointer")
    layers = [
        line.mark_line(interpolate="step-after", color=PURPLE, strokeWidth=2).encode(x=x, y=y),
        points.encode(x=x, y=y, tooltip=_network_tips(unit), **looks).add_params(_zoom()),
    ]
    if decision_rows:
        marks = _over(decision_rows).mark_point(filled=True, size=110)
        layers.append(marks.encode(x=x, y=y, tooltip=["fate:N", "cost:Q"], **looks))
    confirmations = sum(item.state is NetworkState.CONFIRMED for item in decisions)
    description = (
        f"Networks by the end of the first run: {ended_count}. The effective budget fell from "
        f"{steps[0][1]:,} to {info.config.minimised[0].counted(steps[-1][1])}; confirmations: {confirmations}."
    )
    return _finished(alt.layer(*layers), description, 320, networks=rows)


_SEEDS_BELOW = 2.0  # percentage points below target and mean; a lower seed is drawn at the edge of the chart
_MAX_NETWORKS_WITH_SEEDS = 8  # networks of the chart of seeds, the answer and then the cheapest


def _seeds_of_networks(info: StudyFacts) -> Any:
    """Return the chart of all seeds of networks that were trained with several seeds, the answer first."""
    seed_rows, _ = history.seed_spread(info)
    seed_rows = sorted(seed_rows, key=lambda row: row.network is not info.network)[:_MAX_NETWORKS_WITH_SEEDS]
    kinds = {
        "validation, fresh seed": (BLUE, "circle"),
        "test set": (ORANGE, "diamond"),
        "validation, first run": (GREY, "triangle-down"),
    }
    # Draw an outlier at the edge with a label, otherwise the remaining seeds would coincide.
    accuracies = list(itertools.chain.from_iterable((*row.fresh_pct, *row.test_pct) for row in seed_rows))
    low = min(info.config.target_pct, statistics.mean(accuracies)) - _SEEDS_BELOW if accuracies else 0.0
    names = [row.network.label for row in seed_rows]
    rows: list[Row] = []
    outside: list[Row] = []
    for name, (network, fresh_pct, test_pct) in zip(names, seed_rows, strict=True):
        first_pct = () if network.first_pct is None else (network.first_pct,)
        for kind, group in zip(kinds, (fresh_pct, test_pct, first_pct), strict=True):
            rows += [{"network": name, "seed": kind, "accuracy": each, "drawn": max(each, low)} for each in group]
            low_texts = sorted({f"{each:.2f}" for each in group if each < low}, key=float)
            if low_texts:
                words = " to ".join(low_texts[:: max(1, len(low_texts) - 1)])  # the lowest and the highest
                outside.append({"network": name, "seed": kind, "drawn": low, "words": f"{words}, outside"})
    if not rows:
        return None
    places = {"y": _names(names=names), "yOffset": alt.YOffset("seed:N", sort=list(kinds))}
    marks = _over(rows).mark_point(filled=True, size=60, opacity=0.8)
    marks = marks.encode(
        x=alt.X("drawn:Q", title="accuracy of a seed, %", scale=alt.Scale(zero=False, padding=12)),
        **places,
        tooltip=_tips("network:N", "seed:N", "accuracy:Q||.2f"),
        **_looks("seed", kinds, [row["seed"] for row in rows]),
    )
    lines = _over({"drawn": value, "words": words} for value, words in _level_texts(info.config).items())
    description = f"Accuracy of each seed of {len(names)} networks; dashed: target and threshold."
    layers = [lines.mark_rule(**_DASHED).encode(x="drawn:Q", tooltip="words:N"), marks]
    if outside:
        labels = _over(outside).mark_text(align="left", dx=7, color=TEXT, fontSize=11)
        layers.append(labels.encode(x="drawn:Q", **places, text="words:N"))
    return _finished(alt.layer(*layers), description, 110 + 34 * len(names))


def _learning_curves(info: StudyFacts) -> Any:
    """Return the chart of validation accuracy by epoch, with a line per network."""
    curves = history.learning_curves(info)
    if not curves:
        return None
    rows: list[Row] = []
    for number, run, points in curves:
        network = {"n": number, "network": info.networks[number].label, "end": run.status.replace("_", " ")}
        for epoch, value in points:
            accuracy = {"errors": _rounded(_errors_pct(value)), "validation_pct": _rounded(value)}
            rows.append({**network, "epoch": epoch, **accuracy})
    names = ("complete", "pruned", "shortened", "diverged", "timed out", "out of memory", "crashed")
    colours = (BLUE, GREY, GREEN, RED, _AMBER, PURPLE, _NAVY)
    kinds = {name: (colour, "circle") for name, colour in zip(names, colours, strict=True)}
    looks = _looks("end", kinds, [row["end"] for row in rows])
    marks = _over("curves").mark_line(point={"size": 25}, strokeWidth=1.25, opacity=0.85)
    chart = marks.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=_accuracy_axis("validation accuracy, %"),
        detail="n:N",
        color=looks["color"],
        tooltip=_tips("network:N", "epoch:Q", "validation_pct:Q|validation, %|.2f", "end:N"),
    ).add_params(_zoom())
    description = f"Validation accuracy by epoch of the first runs of {len(curves)} networks."
    return _finished(chart, description, 320, curves=rows)


# Kind of a row of ``frontier`` by its tier; then colour and shape by kind.
_KIND_OF_TIER = {
    "certified": "certified or verified",
    "verified": "certified or verified",
    "at the target": "measured",
    "searched": "searched (validation)",
    "claimed": "reported elsewhere",
}
_TIERS = {
    "certified or verified": (GREEN, "square"),
    "measured": (ORANGE, "diamond"),
    "searched (validation)": (BLUE, "circle"),
    "reported elsewhere": (PURPLE, "triangle-up"),
}


def frontier(rows: Sequence[Row], target_pct: float, *, height: int = 400) -> Any:
    """Return the chart of parameters against accuracy; the smallest networks per target are joined and labelled.

    Args:
        rows: Rows with ``network``, ``parameters``, ``accuracy`` and ``target`` in per cent, ``tier``, ``recipe``,
            ``best`` (whether the row is the smallest at its target) and ``href`` (target of a click).
        target_pct: Accuracy in per cent at which a line is drawn.
        height: Height in pixels.
    """
    points = [
        {**row, "errors": _errors_pct(row["accuracy"]), "kind": _KIND_OF_TIER.get(row["tier"], row["tier"])}
        for row in rows
    ]
    if len({(row["parameters"], row["accuracy"]) for row in points}) < 3:
        return None
    x = _log_axis(alt.X, "parameters", "parameters")
    y = _accuracy_axis("accuracy, %")
    # Fix the ends of the axes, otherwise a filter that removes points would rescale the chart.
    sizes = [row["parameters"] for row in points]
    errors = [row["errors"] for row in points]
    x.scale.domain = [min(sizes) / 1.15, max(sizes) * 1.15]
    y.scale.domain = [min(errors) / 1.4, max(errors) * 1.15]
    fields = ("parameters:Q||,d", "accuracy:Q|accuracy, %|.3f", "tier:N", "target:Q|target, %", "recipe:N")
    best_rows = _over("rows").transform_filter("datum.best").encode(x=x, y=y)
    marks = _over("rows").mark_point(filled=True, size=70, opacity=0.85, cursor="pointer")
    looks = _looks("kind", _TIERS, [row["kind"] for row in points])
    chart = alt.layer(
        _over([{"errors": _errors_pct(target_pct)}]).mark_rule(**_DASHED).encode(y=y),
        best_rows.mark_line(color=GREEN),
        marks.encode(x=x, y=y, tooltip=_tips("network:N", *fields), **looks).add_params(_zoom()),
        best_rows.mark_text(dy=-13, color=TEXT).encode(text=alt.Text("parameters:Q", format=",d")),
    )
    summary = "; ".join(f"{row['target']:g} % with {row['parameters']:,}" for row in points if row["best"])
    description = f"The smallest network verified or certified for each target: {summary or 'none'}."
    return _finished(chart, f"Parameters against accuracy. {description}", height, rows=points)


def bench_curves(findings: Findings) -> Any:
    """Return the chart of each method's median answer size over time, best rank first; None without answers."""
    facts = findings.document
    methods = [method for method in facts["methods"] if not method["is_variant"]]
    methods.sort(key=lambda method: method["mean_rank"])
    unit, unit_seconds = ("minutes", 60.0) if facts["seconds"] > 300 else ("seconds", 1.0)
    names = [method["name"] for method in methods]
    # (name, seconds, median size, lower and upper end of the band)
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
    y = _log_axis(alt.Y, "size", "parameters of the answer")
    selection = alt.selection_point(fields=["method"], bind="legend")
    base = _over("curves")
    band = base.transform_filter({"param": selection.name, "empty": False})
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        x=x,
        y=y,
        # A domain for both, because Vega-Lite joins no legends with a ``sort``; ten methods share eight colours.
        color=alt.Color("method:N", scale=alt.Scale(domain=names)),
        strokeDash=alt.StrokeDash("method:N", scale=alt.Scale(domain=names)),
        opacity=alt.condition(selection, alt.value(1), alt.value(0.15)),
        tooltip=_tips("method:N", f"at:Q|{unit}", "size:Q||,d"),
    )
    area = band.mark_area(interpolate="step-after", opacity=0.2)
    area = area.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", detail="method:N")
    layers: list[Any] = [area, lines.add_params(selection)]
    if facts["smallest"] is not None:
        smallest = _over([{"size": facts["smallest"], "words": "smallest size that reaches the target"}])
        layers.append(smallest.mark_rule(**_DASHED).encode(y=y, tooltip=["words:N", "size:Q"]))
    sizes = {method["name"]: method["final_size"] for method in methods}
    summary = "; ".join(f"{name} {'none' if size is None else count(size)}" for name, size in sizes.items())
    description = f"Size of the answer in the median repeat at the end: {summary}."
    return _finished(alt.layer(*layers), description, 400, curves=rows)


def toy_rates(curves: Mapping[float, Sequence[float]]) -> Any:
    """Return the chart of the toy's loss over the updates, with a line per learning rate."""
    rows: list[Row] = []
    for rate, curve in curves.items():
        points = list(enumerate(curve))[::5]  # every fifth update is enough for a smooth line
        rows += [{"learning rate": str(rate), "updates": updates, "loss": loss} for updates, loss in points]
    layer = _over("curves").mark_line(strokeWidth=1.8)
    layer = layer.encode(
        x="updates:Q",
        y=alt.Y("loss:Q", scale=alt.Scale(type="log"), title="E_total"),
        color=alt.Color("learning rate:N", legend=alt.Legend(title="learning rate")),
        strokeDash="learning rate:N",
    )
    return _finished(layer, "Loss of the toy network over the updates, by learning rate.", curves=rows)
