"""The pictures of a comparison of methods: median size over time, all in one, and a small one each with its band."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.bench.findings import DEFAULT, Findings, MethodFinding
from reports.html import svg
from reports.html.page import Html, element, foreign, items, joined, text
from reports.numbers import count, duration, short

_WIDTH, _SMALL = 1120, 380
SHAPES = ("circle", "diamond", "square", "triangle", "cross", "circle")


def curves_picture(facts: Findings) -> Html:
    """Return the medians of all methods that are no variants of the default; those ranked best have their own style."""
    ranks = list(facts.ranking.mean_ranks)
    whole = [method for method in facts.methods if not method.is_variant]
    methods = sorted(whole, key=lambda method: ranks.index(method.name) if method.name in ranks else len(ranks))
    area = _area(facts, methods, 440)
    if area is None:
        return element("p", text("No method had an answer that reaches in half of its repeats."))
    parts = [_grid(area, facts)]
    for place, method in reversed([*enumerate(methods)]):
        parts.append(_line(area, method, place, facts))
    said = "; ".join(f"{method.name}: {_size_words(method.final_size)}" for method in methods)
    image = svg.picture(
        area,
        "curves-picture",
        "Median size over time",
        f"Size of the answer in the median repeat, at the end of {duration(facts.seconds)}: {said}.",
        *parts,
    )
    return joined([image, _legend([method.name for method in methods], "ranked lower")])


def bands_pictures(facts: Findings) -> Html:
    """Return a small picture a method, all on the same axes: its median with the bootstrap band, and the default's."""
    default = next((method for method in facts.methods if method.name == DEFAULT), None)
    area = _area(facts, facts.methods, 230, _SMALL)
    if area is None:
        return element("p", text("No method had an answer that reaches in half of its repeats."))
    made = []
    for number, method in enumerate(facts.methods, start=1):
        shown = [method] + ([default] if default is not None and method is not default else [])
        parts = [_grid(area, facts), _band(area, method)]
        parts += [_line(area, item, place, facts) for place, item in enumerate(shown)]
        words = f"Median of {method.name} with the 95 % bootstrap band of the median; at the end {_ends(method)}."
        image = svg.picture(area, f"band-{number}", f"{method.name} over time", words, *parts)
        made.append(element("figure", element("figcaption", foreign(method.name)), image))
    legend = _legend(["the method, with the 95 % band of its median", f"the median of {DEFAULT}"][: 1 + bool(default)])
    return joined([legend, element("div", joined(made), class_="multiples")])


def _area(facts: Findings, methods: Sequence[MethodFinding], height: int, width: int = _WIDTH) -> svg.Frame | None:
    sizes = [size for method in methods for size in method.curve.median if math.isfinite(size)]
    if not sizes:
        return None
    low = min(*sizes, facts.judge.smallest) if math.isfinite(facts.judge.smallest) else min(sizes)
    unit = _unit(facts)[1]
    return svg.frame(width, height, (0.0, facts.seconds / unit, False), (low / 1.1, max(sizes) * 1.1, True))


def _unit(facts: Findings) -> tuple[str, float]:
    return ("minutes", 60.0) if facts.seconds > 300 else ("seconds", 1.0)


def _grid(area: svg.Frame, facts: Findings) -> Html:
    small = area.width == _SMALL
    across = svg.ticks(area.across, short, 4 if small else 7)
    up = svg.ticks(area.up, count, 5 if small else 7)
    title = "parameters" if small else "parameters of the answer (logarithmic)"
    parts = [svg.grid(area, across, up, f"time, {_unit(facts)[0]}", title)]
    if math.isfinite(facts.judge.smallest):
        y = area.up.position(facts.judge.smallest)
        parts.append(svg.line(area.across.start, y, area.across.end, y, "smallest"))
        if not small:
            words = f"smallest size that reaches the target: {count(facts.judge.smallest)}"
            parts.append(svg.label(area.across.start + 6, y - 6, words, class_="on-smallest"))
    return joined(parts)


def _line(area: svg.Frame, method: MethodFinding, place: int, facts: Findings) -> Html:
    """Return the median as a staircase; where it has no size the line is broken."""
    unit = _unit(facts)[1]
    kind = _style(place)
    parts, piece = [], list[tuple[float, float]]()
    for seconds, size in zip(method.curve.times, method.curve.median, strict=True):
        x = area.across.position(seconds / unit)
        if math.isfinite(size):
            piece.append((x, area.up.position(size)))
        elif piece:
            parts.append(svg.path(svg.staircase(piece, x), f"method-line {kind}"))
            piece = []
    if piece:
        parts.append(svg.path(svg.staircase(piece, area.across.end), f"method-line {kind}"))
        x, y = piece[-1]
        title = f"{method.name}: {_ends(method)}"
        parts.append(svg.mark(SHAPES[min(place, len(SHAPES) - 1)], area.across.end, y, f"method {kind}", title))
    return joined(parts)


def _band(area: svg.Frame, method: MethodFinding) -> Html:
    """Return the band, drawn up to the top where its upper end has no size."""
    made = method.curve
    unit = made.times[-1] / area.across.high
    places = [place for place, low in enumerate(made.low) if math.isfinite(low)]
    if not places:
        return Html("")
    xs = [area.across.position(made.times[place] / unit) for place in places]
    lower = [area.up.position(made.low[place]) for place in places]
    upper = [area.up.position(min(made.high[place], area.up.high)) for place in places]
    outline = [*zip(xs, lower, strict=True), *reversed(list(zip(xs, upper, strict=True)))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
    return element("polygon", points=points, class_="method-band method-1")


def _ends(method: MethodFinding) -> str:
    made = method.curve
    return f"{_size_words(made.median[-1])} (band {_size_words(made.low[-1])} to {_size_words(made.high[-1])})"


def _size_words(size: float) -> str:
    return f"{count(size)} parameters" if math.isfinite(size) else "no answer"


def _style(place: int) -> str:
    """Return the class of a line: the first have a style each, all others one."""
    return f"method-{place + 1}" if place < len(SHAPES) else "method-rest"


def _legend(names: Sequence[str], rest: str = "") -> Html:
    """Return the legend; ``rest`` is said of the lines that have no style of their own."""
    shown = [
        *names[: len(SHAPES)],
        *([f"{rest}: {', '.join(names[len(SHAPES) :])}"] if len(names) > len(SHAPES) else []),
    ]
    return items(
        (svg.key("line", f"method-line {_style(place)}", words) for place, words in enumerate(shown)), class_="legend"
    )
