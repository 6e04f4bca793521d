"""The charts of a study: its facts in, Altair charts out, by the names under which the page and figures show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from reports import charts
from reports.study.search_course import Share
from reports.study.study_info import StudyInfo


def study_charts(info: StudyInfo) -> dict[str, Any]:
    """Return the charts of a study that have something to show."""
    facts = info.accounting
    made = {
        "accuracy": _accuracy_over_cost(info),
        "seeds": _seeds_of_networks(info),
        "over-time": _search_over_time(info),
        "learning-curves": _learning_curves(info),
        "choices": info.choices
        and charts.bars(info.choices.importances[:20], "importance", "Importance of choices", digits=".0%"),
        "steps": charts.bars(_parts(facts.steps), "proposals", "From proposals to a verified network", logs=True),
        "rejections": charts.bars(_parts(facts.rejections), "proposals", "Rejections by reason"),
        "outcomes": charts.bars(_parts(facts.outcomes), "runs", "Finished runs by outcome"),
        "time": charts.bars(_parts(info.time.spent), "seconds", "Where the time of all workers went"),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def _parts(shares: Sequence[Share]) -> list[tuple[str, float]]:
    return [(share.name, share.count) for share in shares]


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
                "errors": None if accuracy is None else _rounded(charts.errors_pct(accuracy)),
                "low": None
                if accuracy is None or deviation is None
                else _rounded(charts.errors_pct(accuracy - deviation)),
                "high": None
                if accuracy is None or deviation is None
                else _rounded(charts.errors_pct(accuracy + deviation)),
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
_KIND_COLOURS = alt.Scale(domain=_KINDS, range=[charts.BLUE, charts.NAVY, charts.GREY, charts.ORANGE, charts.TEXT])
_KIND_SHAPES = alt.Scale(domain=_KINDS, range=["circle", "square", "triangle-down", "diamond", "cross"])


def _accuracy_over_cost(info: StudyInfo) -> Any:
    """Return the networks of a study: what it minimises against accuracy, with target, threshold and budget."""
    picture, config = info.picture, info.config
    front = picture.front
    if not picture.points:
        return None
    x = charts.log_axis(alt.X, "cost", picture.unit)
    y = charts.accuracy_axis("errors", "accuracy, %")
    present = {kind for kind in ("trained", "pruned") if any(p.kind == kind for p in picture.points)}
    present |= {"on the Pareto front"} if front else set()
    tested = [
        {
            "n": point.number,
            "network": point.label,
            "cost": point.cost,
            "test_pct": round(point.accuracy_pct, 4),
            "errors": charts.errors_pct(point.accuracy_pct),
            "low": charts.errors_pct(point.accuracy_pct - (point.deviation_pct or 0)),
            "high": charts.errors_pct(point.accuracy_pct + (point.deviation_pct or 0)),
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
            "errors": charts.errors_pct(ghost.accuracy_pct),
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
        line = charts.over([{"errors": charts.errors_pct(level), "words": f"{name} {level:g} %"}])
        layers.append(line.mark_rule(strokeDash=[6, 4], color=charts.TEXT).encode(y=y))
        text = line.mark_text(align="left", dx=4, dy=-7 if level == max(levels) else 10, color=charts.TEXT, fontSize=11)
        labels.append(text.encode(y=y, x=alt.value(0), text="words:N"))
    costs = [point.cost for point in picture.points]
    if config.ceiling <= 1.3 * max(costs):
        bound = charts.over([{"cost": config.ceiling}]).mark_rule(strokeDash=[2, 3], color=charts.PURPLE)
        layers.append(bound.encode(x=x, tooltip=alt.value(picture.bound_words)))
    if front:
        end = {"cost": max(costs), "errors": charts.errors_pct(front[-1].accuracy_pct)}
        steps = [*({"cost": point.cost, "errors": charts.errors_pct(point.accuracy_pct)} for point in front), end]
        line = charts.over(steps).mark_line(interpolate="step-after", color=charts.NAVY, strokeWidth=1.5)
        layers.append(line.encode(x=x, y=y))
    networks = alt.Chart(charts.named("networks")).transform_filter("isValid(datum.errors)")
    spread = networks.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1)
    layers.append(spread.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour))
    zoom = charts.zoom()
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
            data = charts.over(rows)
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
    return charts.finished(alt.layer(*layers, *labels), description, 400, networks=networks_rows(info))


def _search_over_time(info: StudyInfo) -> Any:
    """Return when which costs were tried, and how the effective budget fell with each confirmed network."""
    facts = info.budget
    if not info.ends:
        return None
    x = alt.X("ended:Q", title="minutes of the search", scale=alt.Scale(nice=False, domainMin=0))
    y = charts.log_axis(alt.Y, "cost", facts.unit)
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
    colour = alt.Color("fate:N", scale=alt.Scale(domain=kinds, range=[charts.BLUE, charts.GREEN, charts.RED]))
    shape = alt.Shape("fate:N", scale=alt.Scale(domain=kinds, range=["circle", "square", "cross"]))
    line = charts.over(steps).mark_line(interpolate="step-after", color=charts.PURPLE, strokeWidth=2)
    first = (
        alt.Chart(charts.named("networks"))
        .transform_filter("isValid(datum.ended)")
        .transform_calculate(fate="'first run'")
    )
    points = first.mark_point(filled=True, size=45, opacity=0.7, cursor="pointer").encode(
        x=x, y=y, color=colour, shape=shape, tooltip=_networks_tooltip(facts.unit)
    )
    layers = [line.encode(x=x, y=y), points.add_params(charts.zoom())]
    if tries:
        marks = charts.over(tries).mark_point(filled=True, size=110)
        layers.append(marks.encode(x=x, y=y, color=colour, shape=shape, tooltip=["fate:N", "cost:Q"]))
    description = (
        f"{len(info.ends)} networks by the end of their first run. The effective budget fell from {facts.first:,} to "
        f"{facts.last:,} {facts.unit}; {sum(trial.stands for trial in facts.trials)} times a network was confirmed."
    )
    return charts.finished(alt.layer(*layers), description, 320, networks=networks_rows(info))


def _seeds_of_networks(info: StudyInfo) -> Any:
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
    palette = {
        "validation, fresh seed": charts.BLUE,
        "test set": charts.ORANGE,
        "validation, the run it was chosen by": charts.GREY,
    }
    y = alt.Y("network:N", sort=names, title=None, axis=alt.Axis(labelLimit=220))
    marks = charts.over(rows).mark_point(filled=True, size=60, opacity=0.8)
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
    rule = charts.over(values).mark_rule(strokeDash=[6, 4], color=charts.TEXT).encode(x="accuracy:Q", tooltip="words:N")
    description = f"Accuracy of each seed of {len(spread)} networks; dashed: target and threshold."
    return charts.finished(alt.layer(rule, marks), description, 110 + 34 * len(spread))


def _learning_curves(info: StudyInfo) -> Any:
    """Return validation accuracy while networks were in training, a line a network."""
    if not info.curves:
        return None
    rows = [
        {
            "n": curve.number,
            "network": info.networks[curve.number].label,
            "epoch": epoch,
            "errors": _rounded(charts.errors_pct(value)),
            "validation_pct": _rounded(value),
            "end": "to the end" if curve.ended == "complete" else str(curve.ended).replace("_", " "),
        }
        for curve in info.curves
        for epoch, value in curve.points
    ]
    kinds = [kind for kind in ("to the end", "pruned") if any(row["end"] == kind for row in rows)]
    kinds += sorted({str(row["end"]) for row in rows} - set(kinds))
    colours = (
        ([charts.BLUE] if "to the end" in kinds else [])
        + ([charts.GREY] if "pruned" in kinds else [])
        + [charts.RED, charts.AMBER, charts.PURPLE, charts.NAVY]
    )
    marks = alt.Chart(charts.named("curves")).mark_line(point={"size": 25}, strokeWidth=1.25, opacity=0.7)
    chart = marks.encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=charts.accuracy_axis("errors", "validation accuracy, %"),
        detail="n:N",
        color=alt.Color("end:N", scale=alt.Scale(domain=kinds, range=colours[: len(kinds)])),
        tooltip=["network:N", "epoch:Q", alt.Tooltip("validation_pct:Q", title="validation, %", format=".2f"), "end:N"],
    ).add_params(charts.zoom())
    return charts.finished(
        chart, f"Validation accuracy by epoch of the first runs of {len(info.curves)} networks.", 320, curves=rows
    )
