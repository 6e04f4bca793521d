"""Validation accuracy while networks were in training: one line a network, from the run that the search began with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.study import StudyConfig
from harness.search.pruning import rungs_of
from harness.training.result import Result, Status
from reports.html import svg
from reports.html.page import Html, element, items, joined, text
from reports.html.svg import errors_pct
from reports.numbers import count, plural, short
from reports.study.networks import Network

# Lines beyond these would only blacken the picture.
MOST_CURVES = 1_000
# On a phone the best ones, so that the page stays small.
MOST_NARROW = 20


@dataclass(frozen=True, slots=True)
class Curve:
    """One run.

    Attributes:
        number: place of its network in the order of the study's networks.
        ended: how the run did.
        points: (epoch, validation accuracy in per cent), in order; the last is that of its end.
    """

    number: int
    ended: Status
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """The runs that have been looked at, best network first; ``left_out`` of them are not drawn.

    Attributes:
        rungs: epochs after which pruning was decided; none where trainings had several lengths.
    """

    curves: tuple[Curve, ...]
    epochs: int
    rungs: tuple[int, ...]
    threshold_pct: float
    left_out: int = 0


def learning_curves(of: Sequence[Network], config: StudyConfig) -> LearningCurves:
    """Return the learning curves of a study's networks."""
    found = []
    for number, network in enumerate(of):
        points = curve_points(network.first)
        if network.first is not None and points:
            found.append(Curve(number, network.first.status, points))
    epochs = max((curve.points[-1][0] for curve in found), default=0)
    shown = found[:MOST_CURVES]
    lengths = config.all_lengths
    rungs = rungs_of(config, lengths[0]) if len(lengths) == 1 else ()
    return LearningCurves(tuple(shown), epochs, rungs, config.threshold_pct, len(found) - len(shown))


def curve_points(run: Result | None) -> tuple[tuple[int, float], ...]:
    """Return what is known of a run's validation accuracy, as (epoch, per cent)."""
    if run is None or not run.validation_size:
        return ()
    size = run.validation_size
    read = {
        item.epoch: item.validation_errors for item in run.history if item.validation_errors is not None and item.epoch
    }
    if run.validation_errors is not None and run.history:
        read[run.history[-1].epoch] = run.validation_errors
    return tuple((epoch, 100 - 100 * read[epoch] / size) for epoch in sorted(read))


def draw(facts: LearningCurves) -> Html:
    """Return the picture with its legend; nothing where there is nothing to draw."""
    if not facts.curves:
        return Html("")
    image = svg.wide_or_narrow(lambda narrow: _picture(facts, narrow))
    kinds = {curve.ended for curve in facts.curves}
    legend = [svg.key("line", "curve whole", "trained to the end")] if Status.COMPLETE in kinds else []
    if Status.PRUNED in kinds:
        legend.append(svg.key("line", "curve pruned", "pruned"))
    if kinds - {Status.COMPLETE, Status.PRUNED}:
        legend.append(svg.key("line", "curve early", "ended early otherwise"))
    return joined([image, items(legend, class_="legend"), element("p", text(_note(facts)), class_="note")])


def _picture(facts: LearningCurves, narrow: bool) -> Html:
    area = _frame(facts, svg.NARROW if narrow else svg.WIDE)
    # The best lie on top.
    lines = [_line(area, curve) for curve in reversed(facts.curves[: MOST_NARROW if narrow else MOST_CURVES])]
    level = area.up.position(errors_pct(facts.threshold_pct))
    threshold = f"threshold {short(facts.threshold_pct)} %"
    return svg.picture(
        area,
        "curves-picture-narrow" if narrow else "curves-picture",
        "Learning curves",
        description(facts),
        _grid(area, facts),
        svg.line(area.across.start, level, area.across.end, level, "threshold"),
        svg.label(area.across.start + 6, level - 6, threshold, class_="on-threshold"),
        element("g", *lines, class_="curves"),
    )


def description(facts: LearningCurves) -> str:
    """Return what the picture shows, in words."""
    whole = sum(curve.ended is Status.COMPLETE for curve in facts.curves)
    pruned = sum(curve.ended is Status.PRUNED for curve in facts.curves)
    rungs = f" Pruning was decided after epoch {' and '.join(map(str, facts.rungs))}." if facts.rungs else ""
    return (
        f"Validation accuracy by epoch of {plural(len(facts.curves), 'first run')}: {whole} went to the end, "
        f"{pruned} were pruned.{rungs} The table of networks has where each of them ended."
    )


def _note(facts: LearningCurves) -> str:
    words = (
        "A run is looked at where pruning is decided and at its end; a mark by itself had a single look. "
        "What lies below the axis, at most a hundredth of the looks, is drawn on its edge."
    )
    if len(facts.curves) > MOST_NARROW:
        words = f"{words} A narrow screen shows the best {MOST_NARROW}."
    return f"{words} {plural(facts.left_out, 'further run')} not drawn." if facts.left_out else words


def _frame(facts: LearningCurves, width: int) -> svg.Frame:
    errors = sorted(errors_pct(value) for curve in facts.curves for _, value in curve.points)
    # A run that went wrong must not press all the others together: the worst hundredth lies on the edge.
    worst = errors[min(len(errors) - 1, round(0.99 * len(errors)))]
    best = min(errors[0], errors_pct(facts.threshold_pct))
    first = max(0.0, min(curve.points[0][0] for curve in facts.curves) - 1.0)
    return svg.frame(
        width, 420, (first, float(max(facts.epochs, first + 1)), False), (max(worst, best * 2) * 1.1, best / 1.15, True)
    )


def _grid(area: svg.Frame, facts: LearningCurves) -> Html:
    epochs = svg.ticks(area.across, count, area.width // 70, whole=True)
    shares = svg.ticks(area.up, lambda errors: short(100 - errors), 10)
    rungs = [
        svg.line(area.across.position(rung), area.up.start, area.across.position(rung), area.up.end, "rung")
        for rung in facts.rungs
    ]
    return joined([svg.grid(area, epochs, shares, "epoch", "validation accuracy, % (errors logarithmic)"), *rungs])


def _line(area: svg.Frame, curve: Curve) -> Html:
    places = [(area.across.position(epoch), area.up.position(errors_pct(value))) for epoch, value in curve.points]
    kind = {Status.COMPLETE: "whole", Status.PRUNED: "pruned"}.get(curve.ended, "early")
    if len(places) == 1:
        shape = "triangle" if kind == "pruned" else "circle"
        return svg.mark(shape, *places[0], "pruned", size=2.5, number=curve.number)
    return svg.path(places, f"curve {kind}", curve.number)
