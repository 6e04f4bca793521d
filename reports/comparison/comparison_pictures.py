"""The pictures of comparisons: seeds side by side, where parameters sit, fronts and budgets of several studies.

A side has its own mark, line style and colour, in the order in which the sides were given.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.system import statistics
from reports.comparison.comparison_networks import NetworkSide
from reports.html import svg
from reports.html.page import Html, element, items, joined, text
from reports.html.svg import errors_pct
from reports.numbers import count, duration, pct, plural, short
from reports.study.search_course import Point
from reports.study.study_info import StudyInfo
from search_spaces.op_specs import op_text
from search_spaces.ops import BatchNorm, Conv, Linear, Op

SHAPES = ("circle", "diamond", "square", "triangle")
_ROW, _LEFT, _WIDTH = 56, 72, 1120


def seeds_picture(sides: Sequence[NetworkSide]) -> Html:
    """Return every seed's test accuracy, a row a network, with mean and 95 % interval."""
    shown = [(place, side) for place, side in enumerate(sides) if side.test_pct and side.row]
    if not shown:
        return element("p", text("None of these networks was measured on the test set."))
    values = [value for _, side in shown for value in side.test_pct]
    targets = {side.row.target_pct for _, side in shown if side.row}
    values += [end for _, side in shown if len(side.test_pct) > 1 for end in statistics.interval(side.test_pct, 0.95)]
    low, high = min(*values, *targets), max(*values, *targets)
    room = max(high - low, 0.05) * 0.08
    bottom = 34 + _ROW * len(shown)
    across = svg.Axis(low - room, high + room, _LEFT, _WIDTH - 20)
    area = svg.Frame(_WIDTH, bottom + 56, across, svg.Axis(0, 1, bottom, 28))
    parts = [svg.grid(area, svg.ticks(across, short), [], "test accuracy, %", "")]
    for target in sorted(targets):
        x = across.position(target)
        parts.append(svg.line(x, bottom, x, 28, "target"))
        parts.append(svg.label(x + 6, 24, f"target {short(target)} %", class_="on-target"))
    for row, (place, side) in enumerate(shown):
        parts.append(_seed_row(across, 34 + _ROW * row, place, side))
    image = svg.picture(area, "seeds-picture", "Test accuracy seed by seed", _seeds_words(shown), *parts)
    note = "Each small mark is a seed; the bar is the 95 % t interval of the mean, which the large mark shows."
    return joined([image, element("p", text(note), class_="note")])


def _seed_row(across: svg.Axis, top: float, place: int, side: NetworkSide) -> Html:
    y = top + 36
    accuracies = side.test_pct
    parts = [svg.label(across.start + 6, top + 14, side.name)]
    if len(accuracies) > 1:
        low, high = (across.position(value) for value in statistics.interval(accuracies, 0.95))
        parts.append(svg.line(low, y, high, y, f"bar side-{place + 1}"))
        parts += [svg.line(x, y - 5, x, y + 5, f"bar side-{place + 1}") for x in (low, high)]
    for number, value in enumerate(accuracies):
        words = f"{side.name}, seed {number}: {pct(value)}"
        parts.append(svg.mark(SHAPES[place], across.position(value), y, f"side-{place + 1}", words, 3.0))
    mean = statistics.mean(accuracies)
    words = f"{side.name}: mean {pct(mean, 3)} over {plural(len(accuracies), 'seed')}"
    parts.append(svg.mark(SHAPES[place], across.position(mean), y, f"side-{place + 1}", words, 7.0))
    return joined(parts)


def _seeds_words(shown: Sequence[tuple[int, NetworkSide]]) -> str:
    said = [
        f"{side.name}: {', '.join(map(pct, side.test_pct))}, mean {pct(statistics.mean(side.test_pct), 3)}"
        for _, side in shown
    ]
    return f"{'; '.join(said)}."


def parameters_picture(sides: Sequence[NetworkSide]) -> Html:
    """Return where the parameters sit: a bar a network, all on one scale, a part an op."""
    largest = max(max(side.analysis.parameters for side in sides), 1)
    bottom = 10 + _ROW * len(sides)
    across = svg.Axis(0, largest * 1.02, _LEFT, _WIDTH - 20)
    area = svg.Frame(_WIDTH, bottom + 56, across, svg.Axis(0, 1, bottom, 10))
    parts = [svg.grid(area, svg.ticks(across, count), [], "parameters", "")]
    kinds = set()
    for row, side in enumerate(sides):
        top, done = 10 + _ROW * row, 0
        words = f"{side.name}: {plural(side.analysis.parameters, 'parameter')}"
        parts.append(svg.label(across.start + 6, top + 14, words))
        for layer in side.analysis.layers:
            if not layer.parameters:
                continue
            kind = _kind(layer.op)
            kinds.add(kind)
            ends = across.position(done), across.position(done + layer.parameters)
            parts.append(_part(ends, top + 20, kind, op_text(layer.op), layer.parameters))
            done += layer.parameters
    said = "; ".join(f"{side.name} {count(side.analysis.parameters)}" for side in sides)
    image = svg.picture(
        area,
        "parameters-picture",
        "Where the parameters sit",
        f"Parameters by op, in order of execution: {said}. The tables of ops below have every figure.",
        *parts,
    )
    legend = [svg.key("square", f"part {kind}", words) for kind, words in _KINDS.items() if kind in kinds]
    return joined([image, items(legend, class_="legend")])


_KINDS = {
    "kernel": "convolution with a window",
    "pointwise": "1x1 convolution",
    "norm": "batch normalisation",
    "output": "linear",
}


def _kind(op: Op) -> str:
    match op:
        case Conv(kernel_size=1):
            return "pointwise"
        case BatchNorm():
            return "norm"
        case Linear():
            return "output"
        case _:  # A residual sum is drawn as what it mostly holds.
            return "kernel"


def _part(ends: tuple[float, float], top: float, kind: str, op: str, parameters: int) -> Html:
    width = ends[1] - ends[0]
    title = element("title", text(f"{op}: {plural(parameters, 'parameter')}"))
    box = element("rect", title, x=ends[0], y=float(top), width=width, height=24, class_=f"part {kind}")
    if len(op) * 6.2 + 8 > width:
        return box
    return joined([box, svg.label(ends[0] + 5, top + 16, op, class_="on-part")], "")


def fronts_picture(infos: Sequence[StudyInfo]) -> Html:
    """Return the Pareto fronts of several studies in one picture."""
    fronts = [info.picture.front for info in infos]
    points = [point for front in fronts for point in front]
    if not points:
        return element("p", text("None of these studies has a trained network yet."))
    if apart := _apart(infos):
        return apart
    unit = infos[0].picture.unit
    sizes = [point.cost for point in points] + [info.config.ceiling for info in infos]
    levels = [errors_pct(point.accuracy_pct) for point in points] + [
        errors_pct(info.config.threshold_pct) for info in infos
    ]
    area = svg.frame(
        _WIDTH, 460, (min(sizes) / 1.15, max(sizes) * 1.15, True), (max(levels) * 1.15, min(levels) / 1.15, True)
    )
    ticks = svg.ticks(area.across, count, 9, whole=True)
    shares = svg.ticks(area.up, lambda errors: short(100 - errors), 12)
    parts = [svg.grid(area, ticks, shares, f"{unit} (logarithmic)", "validation accuracy, % (errors logarithmic)")]
    for threshold in sorted({info.config.threshold_pct for info in infos}):
        y = area.up.position(errors_pct(threshold))
        parts.append(svg.line(area.across.start, y, area.across.end, y, "threshold"))
        parts.append(svg.label(area.across.start + 6, y - 6, f"threshold {short(threshold)} %", class_="on-threshold"))
    for place, (info, front) in enumerate(zip(infos, fronts, strict=True)):
        places = [(area.across.position(p.cost), area.up.position(errors_pct(p.accuracy_pct))) for p in front]
        parts.append(svg.path(svg.staircase(places, area.across.end), f"side-line side-{place + 1}"))
        parts += [
            svg.mark(SHAPES[place], x, y, f"side-{place + 1}", f"{info.name}\n{point.label}")
            for point, (x, y) in zip(front, places, strict=True)
        ]
    said = [f"{info.name}: {_front_words(front)}" for info, front in zip(infos, fronts, strict=True)]
    image = svg.picture(
        area,
        "fronts-picture",
        "Pareto fronts on validation",
        f"{unit.capitalize()} with accuracy. {'; '.join(said)}.",
        *parts,
    )
    return joined([image, _sides_legend([info.name for info in infos])])


def _apart(infos: Sequence[StudyInfo]) -> Html | None:
    """Return a sentence where studies minimise different metrics, which no axis can show together."""
    units = dict.fromkeys(info.picture.unit for info in infos)
    if len(units) == 1:
        return None
    return element("p", text(f"These studies minimise {' and '.join(units)}, which one axis cannot show."))


def _front_words(front: Sequence[Point]) -> str:
    said = [f"{count(point.cost)} with {pct(point.accuracy_pct)}" for point in front]
    return ", ".join(said) or "nothing trained"


def budgets_picture(infos: Sequence[StudyInfo]) -> Html:
    """Return how the effective budgets of several studies fell over their time."""
    elapsed = max(info.budget.elapsed for info in infos)
    if elapsed <= 0:
        return element("p", text("No time has passed in these studies yet."))
    if apart := _apart(infos):
        return apart
    unit, seconds = ("hours", 3600) if elapsed > 3 * 3600 else ("minutes", 60)
    sizes = [size for info in infos for size in (info.budget.first, *(trial.budget for trial in info.budget.trials))]
    area = svg.frame(
        _WIDTH, 340, (0.0, elapsed / seconds, False), (max(min(sizes), 1) / 1.3, max(max(sizes), 1) * 1.15, True)
    )
    ticks, levels = svg.ticks(area.across, short), svg.ticks(area.up, count)
    parts = [svg.grid(area, ticks, levels, f"time of search, {unit}", "effective budget (logarithmic)")]
    said = []
    for place, info in enumerate(infos):
        falls = [(0.0, info.budget.first), *((trial.elapsed, trial.budget) for trial in info.budget.trials)]
        places = [(area.across.position(at / seconds), area.up.position(size)) for at, size in falls]
        end = area.across.position(info.budget.elapsed / seconds)
        parts.append(svg.path(svg.staircase(places, end), f"side-line side-{place + 1}"))
        parts.append(
            svg.mark(SHAPES[place], end, places[-1][1], f"side-{place + 1}", f"{info.name}: {count(info.budget.last)}")
        )
        said.append(f"{info.name}: {count(info.budget.last)} after {duration(info.budget.elapsed)}")
    image = svg.picture(
        area, "budgets-picture", "Effective budgets over time", f"At the end: {'; '.join(said)}.", *parts
    )
    return joined([image, _sides_legend([info.name for info in infos])])


def _sides_legend(names: Sequence[str]) -> Html:
    return items(
        (svg.key(SHAPES[place], f"side-{place + 1}", name) for place, name in enumerate(names)), class_="legend"
    )
