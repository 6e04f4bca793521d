"""The toy drawn as a network: units with what enters and leaves them, edges with weight and slope.

Each number stands in an element that names its quantity in ``data-value``; the script of the page renews it.
"""

from __future__ import annotations

from collections.abc import Mapping

from reports.html import svg
from reports.html.page import Html, element, joined, text
from reports.numbers import short

_WIDTH, _HEIGHT = 1120, 400
_TOP, _BOTTOM = 90.0, 310.0
_RADIUS = 52
# Centre of each unit, with what enters it and what leaves it.
_UNITS = {
    "h1": (430.0, _TOP, "a_h1"),
    "h2": (430.0, _BOTTOM, "a_h2"),
    "o1": (790.0, _TOP, "a_o1"),
    "o2": (790.0, _BOTTOM, "a_o2"),
}
_INPUTS = {"i1": (80.0, _TOP), "i2": (80.0, _BOTTOM)}
# From, to, and where on the edge its label stands: edges that cross are labelled near their beginning.
_EDGES = {
    "w1": ("i1", "h1", 0.5),
    "w2": ("i2", "h1", 0.34),
    "w3": ("i1", "h2", 0.34),
    "w4": ("i2", "h2", 0.5),
    "w5": ("h1", "o1", 0.5),
    "w6": ("h2", "o1", 0.34),
    "w7": ("h1", "o2", 0.34),
    "w8": ("h2", "o2", 0.5),
}
_LOSSES = {"E1": ("o1", "t1", _TOP), "E2": ("o2", "t2", _BOTTOM)}


def draw(numbers: Mapping[str, float]) -> Html:
    """Return the picture with these numbers in it."""
    nowhere = svg.Axis(0, 1, 0, 1)
    return svg.picture(
        svg.Frame(_WIDTH, _HEIGHT, nowhere, nowhere),
        "network",
        "The network with its current numbers",
        _DESCRIPTION,
        joined(_edge_line(name) for name in _EDGES),
        joined(_loss(name, numbers) for name in _LOSSES),
        joined(_edge_label(name, numbers) for name in _EDGES),
        joined(_input(name, numbers) for name in _INPUTS),
        joined(_unit(name, numbers) for name in _UNITS),
        class_="network",
    )


_DESCRIPTION = (
    "Two inputs i1 and i2, each with an edge to both hidden units h1 and h2, and from these to both output units o1 "
    "and o2; each output has its error, and the errors add up to E_total. An edge carries its weight and the "
    "derivative of E_total with respect to it. The tables below have every number."
)


def value(name: str, numbers: Mapping[str, float]) -> Html:
    """Return a piece of SVG text that shows a quantity, which the script finds by its name."""
    return element("tspan", text(short(numbers[name])), data_value=name, data_digits=6)


def _place(name: str) -> tuple[float, float]:
    found = _INPUTS.get(name) or _UNITS[name][:2]
    return found[0], found[1]


def _edge_line(name: str) -> Html:
    (x1, y1), (x2, y2) = (_place(end) for end in _EDGES[name][:2])
    return svg.line(x1, y1, x2, y2, "edge")


def _edge_label(name: str, numbers: Mapping[str, float]) -> Html:
    start, end, share = _EDGES[name]
    (x1, y1), (x2, y2) = _place(start), _place(end)
    x, y = x1 + share * (x2 - x1), y1 + share * (y2 - y1)
    if y1 == y2:  # A level edge has its label on the outer side, the crossing ones on the line.
        y += -24 if y1 == _TOP else 30
    weight = element("text", text(f"{name} "), value(name, numbers), x=x, y=y, text_anchor="middle", class_="weight")
    slope = element(
        "text",
        text("slope "),
        value(f"dE_d{name}", numbers),
        x=x,
        y=y + 17,
        text_anchor="middle",
        class_="slope",
    )
    return joined([weight, slope])


def _input(name: str, numbers: Mapping[str, float]) -> Html:
    x, y = _INPUTS[name]
    return _node(x, y, [element("tspan", text(name), class_="name"), value(name, numbers)], "input-node")


def _unit(name: str, numbers: Mapping[str, float]) -> Html:
    x, y, leaves = _UNITS[name]
    lines = [
        element("tspan", text(name), class_="name"),
        value(name, numbers),
        element("tspan", text(leaves), class_="name"),
        value(leaves, numbers),
    ]
    return _node(x, y, lines, "unit")


def _node(x: float, y: float, lines: list[Html], class_: str) -> Html:
    """Return a circle with lines of text in it, centred."""
    circle = element("circle", cx=x, cy=y, r=_RADIUS, class_=class_)
    first = y + 5 - 17 * (len(lines) - 1) / 2
    texts = [
        element("text", line, x=x, y=first + 17 * number, text_anchor="middle") for number, line in enumerate(lines)
    ]
    return joined([circle, *texts])


def _loss(name: str, numbers: Mapping[str, float]) -> Html:
    unit, target, y = _LOSSES[name]
    x = 985.0
    parts = [svg.line(_UNITS[unit][0], y, x, y, "edge")]
    parts.append(svg.line(x, y, x, (_TOP + _BOTTOM) / 2, "edge"))
    box = element("rect", x=x - 70, y=y - 34, width=140, height=68, class_="loss")
    words = element("text", text(f"{name} "), value(name, numbers), x=x, y=y - 5, text_anchor="middle")
    wanted = element(
        "text", text(f"{target} "), value(target, numbers), x=x, y=y + 17, text_anchor="middle", class_="name"
    )
    total = [
        element("rect", x=x - 90, y=166, width=180, height=68, class_="loss total"),
        element("text", text("E_total"), x=x, y=194, text_anchor="middle", class_="name"),
        element("text", value("E_total", numbers), x=x, y=217, text_anchor="middle", class_="figure"),
    ]
    # The sum is drawn once, over the lines of both errors.
    return joined([*parts, box, words, wanted, *(total if name == "E2" else [])])
