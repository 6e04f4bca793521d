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
    from harness.bench.findings import Findings

BLUE, NAVY, GREY, ORANGE, PURPLE = "#0072b2", "#1d3f8a", "#6f7a84", "#c14a00", "#8a4a80"
GREEN, RED, AMBER, TEXT = "#10693a", "#a3271b", "#7a4b00", "#1b2127"
_SERIES = [BLUE, ORANGE, PURPLE, NAVY, GREEN, AMBER, RED, GREY]

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
    "range": {"category": _SERIES},
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


def zoom() -> alt.Parameter:
    """Return what moves a chart by dragging; the wheel zooms it while Shift is held, so that pages still scroll."""
    return alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")


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
    x.scale.domain, y.scale.domain = [min(sizes) / 1.15, max(sizes) * 1.15], [min(errors) / 1.4, max(errors) * 1.15]
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


def bench_curves(facts: Findings) -> Any:
    """Return the median size of each method's answer over time, the best-ranked first; None where none has one."""
    ranks = list(facts.ranking.mean_ranks)
    whole = [method for method in facts.methods if not method.is_variant]
    methods = sorted(whole, key=lambda method: ranks.index(method.name) if method.name in ranks else len(ranks))
    unit, seconds = ("minutes", 60.0) if facts.seconds > 300 else ("seconds", 1.0)
    highest = max((size for method in whole for size in method.curve.median if math.isfinite(size)), default=None)
    if highest is None:
        return None
    rows = [
        {
            "method": method.name,
            "at": at / seconds,
            "size": size if math.isfinite(size) else None,
            "low": low if math.isfinite(low) else None,
            # A band whose upper end has no size reaches the top.
            "high": min(high, 1.1 * highest) if math.isfinite(low) else None,
        }
        for method in methods
        for at, size, low, high in zip(
            method.curve.times, method.curve.median, method.curve.low, method.curve.high, strict=True
        )
    ]
    names = [method.name for method in methods]
    x = alt.X("at:Q", title=f"time, {unit}", scale=alt.Scale(nice=False))
    y = log_axis(alt.Y, "size", "parameters of the answer (logarithmic)")
    picked = alt.selection_point(fields=["method"], bind="legend")
    colour = alt.Color("method:N", sort=names, legend=alt.Legend(columns=4))
    base = alt.Chart(named("curves"))
    band = base.transform_filter({"param": picked.name, "empty": False}).mark_area(
        interpolate="step-after", opacity=0.2
    )
    lines = base.mark_line(interpolate="step-after", strokeWidth=2).encode(
        x=x,
        y=y,
        color=colour,
        strokeDash=alt.StrokeDash("method:N", sort=names, legend=None),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.15)),
        tooltip=["method:N", alt.Tooltip("at:Q", title=unit), alt.Tooltip("size:Q", format=",d")],
    )
    layers = [band.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", detail="method:N"), lines.add_params(picked)]
    if math.isfinite(facts.judge.smallest):
        smallest = over([{"size": facts.judge.smallest, "words": "smallest size that reaches the target"}])
        layers.append(smallest.mark_rule(strokeDash=[6, 4], color=TEXT).encode(y=y, tooltip=["words:N", "size:Q"]))
    said = "; ".join(
        f"{method.name} {method.final_size:,.0f}" if math.isfinite(method.final_size) else f"{method.name} none"
        for method in methods
    )
    return finished(
        alt.layer(*layers), f"Size of the answer in the median repeat at the end: {said}.", 400, curves=rows
    )


def seeds_side_by_side(rows: Sequence[Row], means: Sequence[Row], targets_pct: Sequence[float]) -> Any:
    """Return each seed's test ``accuracy``, a line a ``network``; ``means`` have ``mean``, ``low`` and ``high``."""
    if not rows:
        return None
    names = [str(row["network"]) for row in means]
    x = alt.X("accuracy:Q", title="test accuracy, %", scale=alt.Scale(zero=False, padding=12))
    y = alt.Y("network:N", sort=names, title=None, axis=alt.Axis(labelLimit=220))
    colour = alt.Color("network:N", sort=names, legend=None)
    lines = over([{"accuracy": value, "words": f"target {value:g} %"} for value in targets_pct])
    seeds, of_all = (over(part).encode(y=y, color=colour) for part in (rows, means))
    chart = alt.layer(
        lines.mark_rule(strokeDash=[6, 4], color=TEXT).encode(x=x, tooltip="words:N"),
        of_all.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        seeds.mark_point(filled=True, size=40, opacity=0.7).encode(x=x, tooltip=["network:N", "seed:O", "accuracy:Q"]),
        of_all.mark_point(filled=True, size=160, shape="diamond").encode(
            x=alt.X("mean:Q"), tooltip=["network:N", "mean:Q"]
        ),
    )
    return finished(chart, f"Test accuracy of {len(rows)} seeds, a line a network.", 80 + 56 * len(names))


def parts(rows: Sequence[Row], names: Sequence[str]) -> Any:
    """Return where ``parameters`` sit: a bar a ``network``, a part an ``op`` in the order ``at``, by ``kind``."""
    if not rows:
        return None
    bars_ = over(rows).mark_bar(stroke="white", height={"band": 0.6})
    chart = bars_.encode(
        x=alt.X("parameters:Q"),
        y=alt.Y("network:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=220)),
        color=alt.Color("kind:N", scale=alt.Scale(domain=list(dict.fromkeys(str(row["kind"]) for row in rows)))),
        order="at:Q",
        tooltip=["network:N", "op:N", alt.Tooltip("parameters:Q", format=",d")],
    )
    return finished(chart, f"Parameters by op of {', '.join(names)}.", 80 + 44 * len(names))


def fronts(rows: Sequence[Mapping[str, Any]], names: Sequence[str], thresholds_pct: Sequence[float], unit: str) -> Any:
    """Return the Pareto fronts of several studies: ``cost`` and validation ``accuracy`` of each ``network``."""
    if not rows:
        return None
    x, y = log_axis(alt.X, "cost", unit), accuracy_axis("errors", "validation accuracy, %")
    domain = alt.Scale(domain=list(names))
    colour = alt.Color("study:N", scale=domain)
    points = over([{**row, "errors": errors_pct(row["accuracy"])} for row in rows]).encode(x=x, y=y, color=colour)
    lines = over([{"errors": errors_pct(value), "words": f"threshold {value:g} %"} for value in thresholds_pct])
    tooltip = ["study:N", "network:N", alt.Tooltip("cost:Q", format=",d"), "accuracy:Q"]
    chart = alt.layer(
        lines.mark_rule(strokeDash=[6, 4], color=TEXT).encode(y=y, tooltip="words:N"),
        points.mark_line(interpolate="step-after"),
        points.mark_point(filled=True, size=70).encode(shape=alt.Shape("study:N", scale=domain), tooltip=tooltip),
    )
    return finished(chart, f"Pareto fronts on validation of {', '.join(names)}; {len(rows)} networks.", 400)


def budgets(rows: Sequence[Row], names: Sequence[str]) -> Any:
    """Return how the effective ``budget`` of several studies fell over their ``minutes``."""
    domain = alt.Scale(domain=list(names))
    colour = alt.Color("study:N", scale=domain)
    chart = over(rows).mark_line(interpolate="step-after", strokeWidth=2, point={"size": 40})
    chart = chart.encode(
        x=alt.X("minutes:Q", title="minutes of the search"),
        y=log_axis(alt.Y, "budget", "effective budget"),
        color=colour,
        strokeDash=alt.StrokeDash("study:N", scale=domain, legend=None),
        tooltip=["study:N", "minutes:Q", alt.Tooltip("budget:Q", format=",d")],
    )
    return finished(chart, f"Effective budgets over time of {', '.join(names)}.", 320)
