"""The charts of all pages: plain facts in, Altair charts out.

A page draws them with Vega-Lite inside it, a notebook shows them as they are, and ``svg`` and ``png`` make files.
Colours are those of ``page.css`` on light ground; the style sheet exchanges them on dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

if TYPE_CHECKING:
    from reports.study.study_info import StudyInfo

BLUE, NAVY, GREY, ORANGE, PURPLE = "#0072b2", "#1d3f8a", "#6f7a84", "#c14a00", "#8a4a80"
GREEN, RED, AMBER, TEXT = "#10693a", "#a3271b", "#7a4b00", "#1b2127"
SERIES = [BLUE, ORANGE, PURPLE, NAVY, GREEN, AMBER, RED, GREY]

Row = Mapping[str, object]

_LINES = "#d3dae0"
_WORDS = {"labelColor": TEXT, "titleColor": TEXT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "system-ui, sans-serif",
    "aria": False,  # the page describes the whole; a thousand points read out would help nobody
    "mark": {"aria": False},
    "autosize": {"type": "fit", "contains": "padding"},
    "view": {"stroke": None},
    "axis": {**_WORDS, "gridColor": _LINES, "domainColor": GREY, "tickColor": GREY, "labelOverlap": True},
    "legend": {**_WORDS, "orient": "top", "title": None, "symbolSize": 90, "labelLimit": 400},
    "range": {"category": SERIES},
}
# Fewer errors cannot be told apart on 10,000 images, and a logarithmic axis has no 0.
_FEWEST_ERRORS_PCT = 0.05


def finished(chart: Any, description: str, height: int = 320, **datasets: Sequence[Row]) -> Any:
    """Return a chart as pages take it: as wide as its place, in the common style, with its named data sets."""
    extra = {"datasets": {name: [dict(row) for row in rows] for name, rows in datasets.items()}} if datasets else {}
    return chart.properties(width="container", height=height, description=description, **extra).configure(**_CONFIG)


def named(name: str) -> alt.NamedData:
    """Return a data set that ``finished`` is given under this name; charts of one page may share it."""
    return alt.NamedData(name=name)


def over(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart of rows of its own."""
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows]))


def errors_pct(accuracy_pct: float) -> float:
    """Return where an accuracy lies on ``accuracy_axis``: its share of errors, never 0."""
    return max(100 - accuracy_pct, _FEWEST_ERRORS_PCT)


def accuracy_axis(field: str, title: str, **axis: Any) -> alt.Y:
    """Return an axis for a field of ``errors_pct``: logarithmic in the errors, labelled with accuracies.

    Accuracies near 100 % crowd together: here 99.4 to 99.7 is as far as 98 to 99.
    """
    scale = alt.Scale(type="log", reverse=True, nice=False, padding=12)
    words = "format(100 - datum.value, '.6~r')"
    return alt.Y(f"{field}:Q", scale=scale, title=title, axis=alt.Axis(labelExpr=words, **axis))


def log_axis(channel: type[Any], field: str, title: str) -> Any:
    """Return a logarithmic axis of counts, for ``alt.X`` or ``alt.Y``."""
    scale = alt.Scale(type="log", nice=False, padding=16)
    return channel(f"{field}:Q", scale=scale, title=title, axis=alt.Axis(format=",d", tickCount=8))


def svg(chart: Any, width: int = 760) -> str:
    """Return a chart as SVG."""
    return vl_convert.vegalite_to_svg(chart.properties(width=width).to_dict(validate=False))


def png(chart: Any, width: int = 760) -> bytes:
    """Return a chart as PNG, two pixels a unit."""
    return vl_convert.vegalite_to_png(chart.properties(width=width).to_dict(validate=False), scale=2)


def toy_rates(curves: Mapping[float, Sequence[float]]) -> Any:
    """Return the loss of the toy over its updates, a line a learning rate."""
    rows = [
        {"learning rate": str(rate), "updates": done, "loss": loss}
        for rate, curve in curves.items()
        for done, loss in enumerate(curve)
        if done % 5 == 0
    ]
    lines = alt.Chart(alt.NamedData(name="curves")).mark_line(strokeWidth=1.8)
    drawn = lines.encode(
        x=alt.X("updates:Q"),
        y=alt.Y("loss:Q", scale=alt.Scale(type="log"), title="E_total"),
        color=alt.Color("learning rate:N", legend=alt.Legend(title="learning rate")),
        strokeDash=alt.StrokeDash("learning rate:N"),
    )
    return finished(drawn, "Loss of the toy over its updates, by learning rate.", curves=rows)


_TIERS = {
    "certified": "certified or verified",
    "verified": "certified or verified",
    "at the target": "measured",
    "measured": "measured",
    "searched": "searched (validation)",
    "claimed": "published by others",
}


def frontier(rows: Sequence[Mapping[str, Any]], target_pct: float, *, height: int = 400) -> Any:
    """Return sizes against accuracies, those that are smallest at their target joined and named.

    Args:
        rows: ``network``, ``parameters``, ``accuracy`` and ``target`` in per cent, ``tier``, ``recipe``, whether it is
            ``best`` at its target, and ``href``, where a click leads.
        target_pct: the accuracy that has a line.
    """
    points = [{**row, "errors": errors_pct(row["accuracy"]), "kind": _TIERS[row["tier"]]} for row in rows]
    if len({(row["parameters"], row["accuracy"]) for row in points}) < 3:
        return None  # two points make no picture that a table does not
    x = log_axis(alt.X, "parameters", "parameters (logarithmic)")
    y: Any = accuracy_axis("errors", "accuracy, % (errors logarithmic)")
    # The ends of the axes stay where a filter takes points away.
    sizes, errors = ([row[name] for row in points] for name in ("parameters", "errors"))
    x.scale.domain, y.scale.domain = [min(sizes) / 1.15, max(sizes) * 1.15], [min(errors) / 1.25, max(errors) * 1.15]
    kinds = [kind for kind in dict.fromkeys(_TIERS.values()) if any(row["kind"] == kind for row in points)]
    looks = dict(zip(dict.fromkeys(_TIERS.values()), (GREEN, ORANGE, BLUE, PURPLE), strict=True))
    shapes = dict(zip(dict.fromkeys(_TIERS.values()), ("square", "diamond", "circle", "triangle-up"), strict=True))
    legend = alt.Legend(columns=2)
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[looks[kind] for kind in kinds]), legend=legend)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=[shapes[kind] for kind in kinds]), legend=legend)
    tooltip = [
        "network:N",
        alt.Tooltip("parameters:Q", format=",d"),
        alt.Tooltip("accuracy:Q", title="accuracy, %", format=".3f"),
        "tier:N",
        alt.Tooltip("target:Q", title="target, %"),
        "recipe:N",
    ]
    best = alt.Chart(named("rows")).transform_filter("datum.best")
    line = over([{"errors": errors_pct(target_pct)}]).mark_rule(strokeDash=[6, 4], color=TEXT).encode(y=y)
    joined = best.mark_line(color=GREEN).encode(x=x, y=y)
    marks = alt.Chart(named("rows")).mark_point(filled=True, size=70, opacity=0.85, cursor="pointer")
    marks = marks.encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
    words = best.mark_text(dy=-13, color=TEXT).encode(x=x, y=y, text=alt.Text("parameters:Q", format=",d"))
    said = "; ".join(f"{row['target']:g} % with {row['parameters']:,}" for row in points if row["best"])
    return finished(
        alt.layer(line, joined, marks.add_params(alt.selection_interval(bind="scales")), words),
        f"Parameters against accuracy. The smallest network verified or certified for each target: {said or 'none'}.",
        height,
        rows=points,
    )


# A study.


def networks_rows(info: StudyInfo) -> list[dict[str, object]]:
    """Return the data set ``networks`` of a study's page: a row a network, for charts, filter and files alike."""
    front = {point.number for point in info.picture.front}
    searched = {point.number: point for point in info.picture.points if point.kind != "tested"}
    rows = []
    for number, network in enumerate(info.networks):
        point, row = searched.get(number), network.row
        accuracy, deviation = (point.accuracy_pct, point.deviation_pct) if point else (None, None)
        kind = "pruned" if network.state == "pruned" else "on the Pareto front" if number in front else "trained"
        end = info.ends.get(number)
        rows.append(
            {
                "n": number,
                "hash": network.hash,
                "network": network.label,
                "state": str(network.state),
                "origin": network.origin,
                "trial": network.trial,
                "parameters": network.parameters,
                "macs": network.minimised if network.minimised is not None else network.first and network.first.macs,
                "cost": network.cost,
                "epochs": network.epochs,
                "validation_pct": _rounded(accuracy),
                "deviation_pct": _rounded(deviation),
                "seeds": len(network.validation_accuracies_pct),
                "errors": None if accuracy is None else _rounded(errors_pct(accuracy)),
                "low": None if accuracy is None or deviation is None else _rounded(errors_pct(accuracy - deviation)),
                "high": None if accuracy is None or deviation is None else _rounded(errors_pct(accuracy + deviation)),
                "shown": kind if point else None,
                "ended": None if end is None else round(end / 60, 2),
                "tier": str(row.tier) if row else None,
                "test_pct": _rounded(row.mean_test_accuracy_pct) if row else None,
            }
        )
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _networks_tooltip(unit: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("network:N"),
        alt.Tooltip("cost:Q", title=unit, format=",d"),
        alt.Tooltip("validation_pct:Q", title="validation, %", format=".2f"),
        alt.Tooltip("seeds:Q"),
        alt.Tooltip("test_pct:Q", title="test, %", format=".3f"),
        alt.Tooltip("state:N"),
    ]


_KINDS = ["trained", "on the Pareto front", "pruned", "mean on the test set", "smallest on the leaderboard"]
_KIND_COLOURS = alt.Scale(domain=_KINDS, range=[BLUE, NAVY, GREY, ORANGE, TEXT])
_KIND_SHAPES = alt.Scale(domain=_KINDS, range=["circle", "square", "triangle-down", "diamond", "cross"])


def accuracy_over_cost(info: StudyInfo) -> Any:
    """Return the networks of a study: what it minimises against accuracy, with target, threshold and budget."""
    picture, config = info.picture, info.config
    front = picture.front
    if not picture.points:
        return None
    x = log_axis(alt.X, "cost", picture.unit)
    y = accuracy_axis("errors", "accuracy, %")
    present = {kind for kind in ("trained", "pruned") if any(p.kind == kind for p in picture.points)}
    present |= {"on the Pareto front"} if front else set()
    tested = [
        {
            "n": point.number,
            "network": point.label,
            "cost": point.cost,
            "test_pct": round(point.accuracy_pct, 4),
            "errors": errors_pct(point.accuracy_pct),
            "low": errors_pct(point.accuracy_pct - (point.deviation_pct or 0)),
            "high": errors_pct(point.accuracy_pct + (point.deviation_pct or 0)),
            "shown": "mean on the test set",
        }
        for point in picture.points
        if point.kind == "tested"
    ]
    ghosts = [
        {
            "network": ghost.label,
            "cost": ghost.cost,
            "test_pct": round(ghost.accuracy_pct, 4),
            "errors": errors_pct(ghost.accuracy_pct),
            "shown": "smallest on the leaderboard",
        }
        for ghost in picture.ghosts
    ]
    present |= {str(rows[0]["shown"]) for rows in (tested, ghosts) if rows}
    legend = alt.Legend(values=[kind for kind in _KINDS if kind in present], columns=3)
    colour = alt.Color("shown:N", scale=_KIND_COLOURS, legend=legend)
    shape = alt.Shape("shown:N", scale=_KIND_SHAPES, legend=legend)
    levels = {config.target_pct: "target", config.threshold_pct: "threshold"}
    if len(levels) == 1:
        levels = {config.target_pct: "target and threshold"}
    # The lines lie close together: each label stands on the side away from the other line.
    layers: list[Any] = []
    labels = []
    for level, name in levels.items():
        line = over([{"errors": errors_pct(level), "words": f"{name} {level:g} %"}])
        layers.append(line.mark_rule(strokeDash=[6, 4], color=TEXT).encode(y=y))
        text = line.mark_text(align="left", dx=4, dy=-7 if level == max(levels) else 10, color=TEXT, fontSize=11)
        labels.append(text.encode(y=y, x=alt.value(0), text="words:N"))
    costs = [point.cost for point in picture.points]
    if config.ceiling <= 1.3 * max(costs):
        bound = over([{"cost": config.ceiling}]).mark_rule(strokeDash=[2, 3], color=PURPLE)
        layers.append(bound.encode(x=x, tooltip=alt.value(picture.bound_words)))
    if front:
        end = {"cost": max(costs), "errors": errors_pct(front[-1].accuracy_pct)}
        steps = [*({"cost": point.cost, "errors": errors_pct(point.accuracy_pct)} for point in front), end]
        line = over(steps).mark_line(interpolate="step-after", color=NAVY, strokeWidth=1.5)
        layers.append(line.encode(x=x, y=y))
    networks = alt.Chart(named("networks")).transform_filter("isValid(datum.errors)")
    spread = networks.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1)
    layers.append(spread.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour))
    zoom = alt.selection_interval(bind="scales")
    points = networks.mark_point(filled=True, size=55, opacity=0.8, cursor="pointer")
    layers.append(
        points.encode(x=x, y=y, color=colour, shape=shape, tooltip=_networks_tooltip(picture.unit)).add_params(zoom)
    )
    for rows, size in ((ghosts, 60), (tested, 90)):
        if rows:
            tooltip = [
                alt.Tooltip("network:N"),
                alt.Tooltip("cost:Q", format=",d"),
                alt.Tooltip("test_pct:Q", title="test, %"),
            ]
            data = over(rows)
            if rows is tested:
                layers.append(data.mark_rule(strokeWidth=1.5).encode(x=x, y="low:Q", y2="high:Q", color=colour))
            layers.append(
                data.mark_point(filled=True, size=size).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
            )
    steps_words = "; ".join(f"{point.cost:,} with {point.accuracy_pct:.2f} %" for point in front)
    description = (
        f"{picture.unit.capitalize()} against accuracy of {len(picture.points)} points. {picture.bound_words}, target "
        f"{config.target_pct:g} %, validation threshold {config.threshold_pct:g} %. Pareto front on validation: "
        f"{steps_words or 'empty'}. The table of networks has every figure."
    )
    return finished(alt.layer(*layers, *labels), description, 400, networks=networks_rows(info))


def search_over_time(info: StudyInfo) -> Any:
    """Return when which costs were tried, and how the effective budget fell with each confirmed network."""
    facts = info.budget
    if not info.ends:
        return None
    x = alt.X("ended:Q", title="minutes of the search", scale=alt.Scale(nice=False, domainMin=0))
    y = log_axis(alt.Y, "cost", facts.unit)
    levels = [
        (0.0, facts.first),
        *((trial.elapsed, trial.budget) for trial in facts.trials),
        (facts.elapsed, facts.last),
    ]
    steps = [{"ended": seconds / 60, "cost": level} for seconds, level in levels]
    tries = [
        {
            "ended": trial.elapsed / 60,
            "cost": trial.cost,
            "fate": "confirmed" if trial.stands else "failed confirmation",
        }
        for trial in facts.trials
        if trial.cost > 0
    ]
    kinds = ["first run", "confirmed", "failed confirmation"]
    colour = alt.Color("fate:N", scale=alt.Scale(domain=kinds, range=[BLUE, GREEN, RED]))
    shape = alt.Shape("fate:N", scale=alt.Scale(domain=kinds, range=["circle", "square", "cross"]))
    line = over(steps).mark_line(interpolate="step-after", color=PURPLE, strokeWidth=2)
    first = (
        alt.Chart(named("networks")).transform_filter("isValid(datum.ended)").transform_calculate(fate="'first run'")
    )
    points = first.mark_point(filled=True, size=45, opacity=0.7, cursor="pointer").encode(
        x=x, y=y, color=colour, shape=shape, tooltip=_networks_tooltip(facts.unit)
    )
    layers = [line.encode(x=x, y=y), points.add_params(alt.selection_interval(bind="scales"))]
    if tries:
        marks = over(tries).mark_point(filled=True, size=110)
        layers.append(marks.encode(x=x, y=y, color=colour, shape=shape, tooltip=["fate:N", "cost:Q"]))
    description = (
        f"{len(info.ends)} networks by the end of their first run. The effective budget fell from {facts.first:,} to "
        f"{facts.last:,} {facts.unit}; {sum(trial.stands for trial in facts.trials)} times a network was confirmed."
    )
    return finished(alt.layer(*layers), description, 320, networks=networks_rows(info))


def seeds_of_networks(info: StudyInfo) -> Any:
    """Return every seed of the networks that were trained on several, the answer first."""
    rows = []
    answer = info.answer.hash if info.answer else ""
    spread = sorted(info.seeds.rows, key=lambda row: row.network.hash != answer)[:8]
    names = []
    low = info.config.target_pct - 2.0
    for row in spread:
        name = f"{row.network.label}, {row.network.cost:,}"
        names.append(name)
        first = row.network.first_pct
        groups = (
            ("validation, fresh seed", row.fresh),
            ("test set", row.test),
            ("validation, the run it was chosen by", () if first is None else (first,)),
        )
        # Seeds that went wrong lie on the edge, so that the others can be told apart.
        rows += [
            {"network": name, "seed": kind, "accuracy": max(value, low)} for kind, group in groups for value in group
        ]
    if not rows:
        return None
    kinds = ["validation, fresh seed", "test set", "validation, the run it was chosen by"]
    kinds = [kind for kind in kinds if any(row["seed"] == kind for row in rows)]
    palette = {"validation, fresh seed": BLUE, "test set": ORANGE, "validation, the run it was chosen by": GREY}
    y = alt.Y("network:N", sort=names, title=None, axis=alt.Axis(labelLimit=220))
    marks = over(rows).mark_point(filled=True, size=60, opacity=0.8)
    marks = marks.encode(
        x=alt.X("accuracy:Q", title="accuracy of a seed, %", scale=alt.Scale(zero=False, padding=12)),
        y=y,
        yOffset=alt.YOffset("seed:N", sort=kinds),
        color=alt.Color(
            "seed:N",
            scale=alt.Scale(domain=kinds, range=[palette[kind] for kind in kinds]),
            legend=alt.Legend(columns=1),
        ),
        shape=alt.Shape(
            "seed:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond", "triangle-down"][: len(kinds)])
        ),
        tooltip=["network:N", "seed:N", alt.Tooltip("accuracy:Q", format=".2f")],
    )
    lines = {info.config.target_pct: "target", info.config.threshold_pct: "threshold"}
    values = [{"accuracy": value, "words": f"{words} {value:g} %"} for value, words in lines.items()]
    rule = over(values).mark_rule(strokeDash=[6, 4], color=TEXT).encode(x="accuracy:Q", tooltip="words:N")
    description = f"Accuracy of each seed of {len(spread)} networks; dashed: target and threshold."
    return finished(alt.layer(rule, marks), description, 110 + 34 * len(spread))


def learning_curves(info: StudyInfo) -> Any:
    """Return validation accuracy while networks were in training, a line a network."""
    if not info.curves:
        return None
    rows = [
        {
            "n": curve.number,
            "network": info.networks[curve.number].label,
            "epoch": epoch,
            "errors": _rounded(errors_pct(value)),
            "validation_pct": _rounded(value),
            "end": "to the end" if curve.ended == "complete" else str(curve.ended).replace("_", " "),
        }
        for curve in info.curves
        for epoch, value in curve.points
    ]
    kinds = [kind for kind in ("to the end", "pruned") if any(row["end"] == kind for row in rows)]
    kinds += sorted({str(row["end"]) for row in rows} - set(kinds))
    colours = (
        ([BLUE] if "to the end" in kinds else []) + ([GREY] if "pruned" in kinds else []) + [RED, AMBER, PURPLE, NAVY]
    )
    marks = alt.Chart(named("curves")).mark_line(point={"size": 25}, strokeWidth=1.25, opacity=0.7)
    chart = marks.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=accuracy_axis("errors", "validation accuracy, %"),
        detail="n:N",
        color=alt.Color("end:N", scale=alt.Scale(domain=kinds, range=colours[: len(kinds)])),
        tooltip=["network:N", "epoch:Q", alt.Tooltip("validation_pct:Q", title="validation, %", format=".2f"), "end:N"],
    ).add_params(alt.selection_interval(bind="scales"))
    return finished(
        chart, f"Validation accuracy by epoch of the first runs of {len(info.curves)} networks.", 320, curves=rows
    )


def bars(
    rows: Sequence[tuple[str, float]], title: str, description: str, *, logs: bool = False, digits: str = ",d"
) -> Any:
    """Return one bar a name, each with its value; None where there is none."""
    if not rows:
        return None
    values = [{"name": name, "value": value, "length": math.log1p(value) if logs else value} for name, value in rows]
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=280, domain=False, ticks=False))
    longest = max(row["length"] for row in values) or 1  # type: ignore[type-var]
    x = alt.X("length:Q", axis=None, scale=alt.Scale(domain=[0, longest * 1.15]))  # type: ignore[operator]
    base = over(values).encode(x=x, y=y, tooltip=["name:N", alt.Tooltip("value:Q", title=title, format=digits)])
    words = base.mark_text(align="left", dx=4, color=TEXT).encode(text=alt.Text("value:Q", format=digits))
    return finished(
        alt.layer(base.mark_bar(color=BLUE, height={"band": 0.6}), words), description, 30 + 26 * len(values)
    )
