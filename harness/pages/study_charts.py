"""Altair charts of the page of a study; a function returns None without enough data for a chart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from harness.evidence.leaderboard_table import LeaderboardRow, pareto_front
from harness.pages import charts, history
from harness.pages.charts import Colour, Row
from harness.pages.study_facts import DIGITS, PageNetwork, StudyFacts, front_of
from harness.spaces.catalog import network_name
from harness.spaces.integer_plan import WIDE_BITS
from harness.spaces.space import OBJECTIVES, Metric
from harness.studies.candidate import NetworkState
from harness.studies.config import StudyConfig
from harness.system import statistics


def charts_of(info: StudyFacts, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the charts of a study by name; ``rows`` are from ``networks_rows``."""
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
    """Return the data set ``networks``, a row per network, for charts, filters and figures."""
    front = {network.hash for network in front_of(info.networks)}
    end_minutes = {number: round(seconds / 60, 2) for number, seconds in history.first_ends(info).items()}
    rows: list[dict[str, Any]] = []
    for number, network in enumerate(info.networks):
        row = network.row
        accuracies = network.validation_accuracies_pct
        mean = statistics.mean(accuracies)
        deviation = statistics.standard_deviation(accuracies)
        kind = None  # without an accuracy or a cost, a network is not drawn
        if accuracies and network.cost > 0:
            kind = "pruned" if network.state is NetworkState.PRUNED else "trained"
            if network.hash in front:
                kind = "on the Pareto front"
        macs = None if network.first_run is None else network.first_run.macs
        # Known before the first run has ended.
        costs = dict(zip(info.config.minimised, (network.cost, network.second), strict=False))
        fields = ("hash", "origin", "trial", "parameters", "cost", "second", "epochs")
        values = {"n": number, "network": network.label, "state": str(network.state), "shown": kind}
        values |= {field: getattr(network, field) for field in fields}
        values |= {"macs": costs.get(Metric.MACS, macs), "seeds": len(accuracies), "ended": end_minutes.get(number)}
        values |= {"validation_pct": _rounded(mean), "deviation_pct": _rounded(deviation)}
        bounds = {"errors": mean, "low": mean - deviation, "high": mean + deviation}
        values |= {field: _rounded(charts.errors_pct(accuracy)) for field, accuracy in bounds.items()}
        values["tier"] = None if row is None else str(row.tier)
        values["test_pct"] = None if row is None else _rounded(row.mean_test_accuracy_pct)
        rows.append(values)
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _name_axis(field: str, names: list[str] | None = None) -> Any:
    # Names of more than 30 characters are broken after the last space or hyphen of the first 27.
    lines = r"split(replace(datum.label, regexp('(?=.{31})(.{1,26}[ -])', 'g'), '$1\n'), '\n')"
    axis = alt.Axis(labelLimit=280, labelExpr=lines, domain=False, ticks=False)
    return alt.Y(f"{field}:N", sort=names, title=None, axis=axis)


def _bars(values: Sequence[tuple[str, float]], title: str, description: str, *, is_logarithmic: bool = False) -> Any:
    if not values:
        return None
    rows: list[Row] = []
    for name, value in values:
        length = math.log1p(value) if is_logarithmic else value  # a bar of 0 has the length 0
        rows.append({"name": name, "value": value, "length": length})
    longest = max(row["length"] for row in rows)
    scale = alt.Scale(domain=[0, longest or 1.0], range=[0, alt.ExprRef("width - 50")])
    x = alt.X("length:Q", axis=None, scale=scale)
    base = charts.chart_of(rows).encode(
        x=x, y=_name_axis("name"), tooltip=charts.tooltips("name:N", f"value:Q|{title}|,d")
    )
    numbers = base.mark_text(align="left", dx=4, color=Colour.TEXT).encode(text=alt.Text("value:Q", format=",d"))
    chart = alt.layer(base.mark_bar(color=Colour.BLUE, height={"band": 0.6}), numbers)
    return charts.finish(chart, description, 30 + 30 * len(rows))


_KINDS = {
    "trained": (Colour.BLUE, "circle"),
    "on the Pareto front": (Colour.NAVY, "square"),
    "pruned": (Colour.GREY, "triangle-down"),
    "mean on the test set": (Colour.ORANGE, "diamond"),
    "smallest on the leaderboard": (Colour.TEXT, "cross"),
}


def _network_tips(unit: str) -> list[alt.Tooltip]:
    numbers = (f"cost:Q|{unit}|,d", "validation_pct:Q|validation, %|.2f", "seeds:Q", "test_pct:Q|test, %|.3f")
    return charts.tooltips("network:N", *numbers, "state:N")


def accuracy_over_cost(info: StudyFacts, rows: Sequence[Row] | None = None) -> Any:
    """Return the chart of accuracy over cost, with target, threshold and budget."""
    rows = networks_rows(info) if rows is None else rows
    config = info.config
    unit = OBJECTIVES[config.minimised[0]]
    tested_networks = _tested_networks(info)
    points = [row for row in (*rows, *tested_networks) if row["shown"]]
    if not any(row["n"] is not None for row in points):
        return None
    x = charts.log_axis(alt.X, "cost", unit)
    y = charts.accuracy_axis("accuracy, %")
    looks = charts.point_styles("shown", _KINDS, [row["shown"] for row in points])
    layers, labels = _levels(config, y)
    limit_name = "budget" if config.minimised[0] is Metric.PARAMETERS else "at most"
    bound = f"{limit_name} {config.limits[0]:,}"
    # A line far from all points would squeeze the points.
    if config.limits[0] <= 1.3 * max(row["cost"] for row in points):
        line = charts.chart_of([{"cost": config.limits[0]}]).mark_rule(strokeDash=[2, 3], color=Colour.PURPLE)
        layers.append(line.encode(x=x, tooltip=alt.value(bound)))
    networks = charts.chart_of("networks").transform_filter("isValid(datum.shown)").encode(x=x, y=y)
    front = networks.transform_filter("datum.shown == 'on the Pareto front'")
    layers.append(front.mark_line(interpolate="step-after", color=Colour.NAVY, strokeWidth=1.5))
    test_tips = charts.tooltips("network:N", "cost:Q||,d", "test_pct:Q|test, %")
    for data, tips, mark_style in (
        (networks, _network_tips(unit), {"size": 55, "opacity": 0.8, "cursor": "pointer"}),
        (charts.chart_of(tested_networks).encode(x=x, y=y), test_tips, {"size": 90}),
    ):
        bars = data.transform_filter("isValid(datum.low)").mark_rule()
        marks = data.mark_point(filled=True, **mark_style).encode(tooltip=tips, **looks)
        layers += [bars.encode(y="low:Q", y2="high:Q", color=looks["color"]), marks]
    layers[-1] = layers[-1].add_params(charts.zoom())
    summary = "; ".join(f"{network.cost:,} with {network.accuracy_pct:.2f} %" for network in front_of(info.networks))
    description = (
        f"{unit.capitalize()} against accuracy of {len(points)} points. {bound}, target {config.target_pct:g} %, "
        f"validation threshold {config.threshold_text}. Pareto front on validation: {summary or 'empty'}. "
        "The table of networks lists all figures."
    )
    return charts.finish(alt.layer(*layers, *labels), description, 400, networks=rows)


def _tested_networks(info: StudyFacts) -> list[Row]:
    metric = info.config.minimised[0]
    bits_by_key = {(record.key, False): record.recipe.weight_bits for record in info.evidence.records}

    def cost(row: LeaderboardRow) -> int:
        # Rows of searches and claims have no record.
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
        rows.append(values | {field: charts.errors_pct(accuracy) for field, accuracy in bounds.items()})
    return rows


def _level_texts(config: StudyConfig) -> dict[float, str]:
    target = f"target {config.target_pct:g} %"
    return {config.threshold_pct: f"threshold {config.threshold_text}", config.target_pct: target}


def _levels(config: StudyConfig, y: Any) -> tuple[list[Any], list[Any]]:
    lines = []
    labels = []
    levels = _level_texts(config)
    for level, words in levels.items():
        line = charts.chart_of([{"errors": charts.errors_pct(level), "words": words}]).encode(y=y)
        lines.append(line.mark_rule(**charts.DASHED))
        text = line.mark_text(align="left", dx=4, dy=-7 if level == max(levels) else 10, color=Colour.TEXT, fontSize=11)
        labels.append(text.encode(x=alt.value(0), text="words:N"))
    return lines, labels


# Colour and shape of the points of ``_front_of_costs``.
_FATES = {"trained": (Colour.GREY, "circle"), "confirmed": (Colour.BLUE, "square"), "tested": (Colour.GREEN, "diamond")}


def _fate(network: PageNetwork) -> str | None:
    """A network that missed the target on the test images is ``trained``."""
    if network.row is not None:
        return "tested" if network.row.reached else "trained"
    if network.state.is_confirmed:
        return "confirmed"
    return "trained" if network.is_complete else None


def _front_of_costs(info: StudyFacts, rows: Sequence[Row]) -> Any:
    config = info.config
    fates = map(_fate, info.networks)
    points = [{**row, "fate": fate} for row, fate in zip(rows, fates, strict=True) if fate is not None]
    points = [row for row in points if min(row["cost"], row["second"] or 0) > 0]
    if not config.is_front or not points:
        return None
    candidates = [network for network in info.networks if _fate(network) in ("confirmed", "tested")]
    front = pareto_front(candidates, lambda network: (network.cost, network.second or 0, network.hash))
    first, second = (OBJECTIVES[metric] for metric in config.minimised)
    axes = {"x": charts.log_axis(alt.X, "cost", first), "y": charts.log_axis(alt.Y, "second", second)}
    tips = charts.tooltips(
        "network:N", f"cost:Q|{first}|,d", f"second:Q|{second}|,d", "validation_pct:Q|validation, %|.2f"
    )
    looks = charts.point_styles("fate", _FATES, [row["fate"] for row in points])
    marks = charts.chart_of(points).mark_point(filled=True, size=70, opacity=0.8, cursor="pointer")
    layers = [marks.encode(**axes, tooltip=tips, **looks).add_params(charts.zoom())]
    if front:
        line_points = [each for each in front if min(each.cost, each.second or 0) > 0]
        line = charts.chart_of({"cost": each.cost, "second": each.second} for each in line_points)
        layers.append(line.mark_line(interpolate="step-after", color=Colour.NAVY, strokeWidth=1.5).encode(**axes))
    summary = "; ".join(f"{each.cost:,} and {each.second:,}" for each in front)
    description = f"{first.capitalize()} against {second}. Pareto front of confirmed networks: {summary or 'empty'}."
    return charts.finish(alt.layer(*layers), description, 400)


def _search_over_time(info: StudyFacts, rows: Sequence[Row]) -> Any:
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
    y = charts.log_axis(alt.Y, "cost", unit)
    kinds = {
        "first run": (Colour.BLUE, "circle"),
        "confirmed": (Colour.GREEN, "square"),
        "failed confirmation": (Colour.RED, "cross"),
    }
    looks = charts.point_styles("fate", kinds, kinds)
    line = charts.chart_of({"ended": seconds / 60, "cost": level} for seconds, level in steps if level > 0)
    runs = charts.chart_of("networks").transform_filter("isValid(datum.ended) && datum.cost > 0")
    points = runs.transform_calculate(fate="'first run'")
    points = points.mark_point(filled=True, size=45, opacity=0.7, cursor="pointer")
    layers = [
        line.mark_line(interpolate="step-after", color=Colour.PURPLE, strokeWidth=2).encode(x=x, y=y),
        points.encode(x=x, y=y, tooltip=_network_tips(unit), **looks).add_params(charts.zoom()),
    ]
    if decision_rows:
        marks = charts.chart_of(decision_rows).mark_point(filled=True, size=110)
        layers.append(marks.encode(x=x, y=y, tooltip=["fate:N", "cost:Q"], **looks))
    confirmations = sum(item.state is NetworkState.CONFIRMED for item in decisions)
    description = (
        f"Networks by the end of the first run: {ended_count}. The effective budget fell from "
        f"{steps[0][1]:,} to {info.config.minimised[0].counted(steps[-1][1])}; confirmations: {confirmations}."
    )
    return charts.finish(alt.layer(*layers), description, 320, networks=rows)


_SEEDS_BELOW = 2.0  # percentage points below target and mean; lower seeds are drawn at the edge of the chart
_MAX_NETWORKS_WITH_SEEDS = 8  # the answer and then the cheapest


def _seeds_of_networks(info: StudyFacts) -> Any:
    seed_rows, _ = history.seed_spread(info)
    seed_rows = sorted(seed_rows, key=lambda row: row.network is not info.network)[:_MAX_NETWORKS_WITH_SEEDS]
    kinds = {
        "validation, fresh seed": (Colour.BLUE, "circle"),
        "test set": (Colour.ORANGE, "diamond"),
        "validation, first run": (Colour.GREY, "triangle-down"),
    }
    # An outlier at the edge has a label; otherwise the remaining seeds would coincide.
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
    places = {"y": _name_axis("network", names), "yOffset": alt.YOffset("seed:N", sort=list(kinds))}
    marks = charts.chart_of(rows).mark_point(filled=True, size=60, opacity=0.8)
    marks = marks.encode(
        x=alt.X("drawn:Q", title="accuracy of a seed, %", scale=alt.Scale(zero=False, padding=12)),
        **places,
        tooltip=charts.tooltips("network:N", "seed:N", "accuracy:Q||.2f"),
        **charts.point_styles("seed", kinds, [row["seed"] for row in rows]),
    )
    lines = charts.chart_of({"drawn": value, "words": words} for value, words in _level_texts(info.config).items())
    description = f"Accuracy of each seed of {len(names)} networks; dashed: target and threshold."
    layers = [lines.mark_rule(**charts.DASHED).encode(x="drawn:Q", tooltip="words:N"), marks]
    if outside:
        labels = charts.chart_of(outside).mark_text(align="left", dx=7, color=Colour.TEXT, fontSize=11)
        layers.append(labels.encode(x="drawn:Q", **places, text="words:N"))
    return charts.finish(alt.layer(*layers), description, 110 + 34 * len(names))


def _learning_curves(info: StudyFacts) -> Any:
    curves = history.learning_curves(info)
    if not curves:
        return None
    rows: list[Row] = []
    for number, run, points in curves:
        network = {"n": number, "network": info.networks[number].label, "end": run.status.replace("_", " ")}
        for epoch, value in points:
            accuracy = {"errors": _rounded(charts.errors_pct(value)), "validation_pct": _rounded(value)}
            rows.append({**network, "epoch": epoch, **accuracy})
    names = ("complete", "pruned", "shortened", "diverged", "timed out", "out of memory", "crashed")
    colours = (Colour.BLUE, Colour.GREY, Colour.GREEN, Colour.RED, Colour.AMBER, Colour.PURPLE, Colour.NAVY)
    kinds = {name: (colour, "circle") for name, colour in zip(names, colours, strict=True)}
    looks = charts.point_styles("end", kinds, [row["end"] for row in rows])
    marks = charts.chart_of("curves").mark_line(point={"size": 25}, strokeWidth=1.25, opacity=0.85)
    chart = marks.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=charts.accuracy_axis("validation accuracy, %"),
        detail="n:N",
        color=looks["color"],
        tooltip=charts.tooltips("network:N", "epoch:Q", "validation_pct:Q|validation, %|.2f", "end:N"),
    ).add_params(charts.zoom())
    description = f"Validation accuracy by epoch of the first runs of {len(curves)} networks."
    return charts.finish(chart, description, 320, curves=rows)
