"""The loss curves of the documents' learning rates, drawn twice: with a linear and with a logarithmic axis.

Each picture holds an empty line, ``data-live``, that the script of the page fills, and the places of its axes in
``data-`` attributes, so that the script draws on the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from reports.html import svg
from reports.html.numbers import count, short
from reports.html.page import Html, element, joined

UPDATES = 1_000
_LOWEST = 1e-5
_HIGHEST = 0.3
# Between two labels, in pixels of the drawing; less and they touch.
_LABEL_DISTANCE = 15.0
_LABEL_WIDTH = 46.0


@dataclass(frozen=True, slots=True)
class Reference:
    """The curve of one learning rate of the documents."""

    learning_rate: float
    losses: tuple[float, ...]


def references() -> tuple[Reference, ...]:
    """Return the six curves."""
    return tuple(Reference(rate, tuple(losses(WEIGHTS, EXAMPLE, rate, UPDATES))) for rate in LEARNING_RATES)


def draw(curves: Sequence[Reference], *, logarithmic: bool) -> Html:
    """Return the picture."""
    name = "loss-logarithmic" if logarithmic else "loss-linear"
    area = svg.frame(620, 420, (0, UPDATES, False), (_LOWEST if logarithmic else 0.0, _HIGHEST, logarithmic))
    area = svg.Frame(
        area.width, area.height, svg.Axis(0, UPDATES, area.across.start, area.across.end - _LABEL_WIDTH), area.up
    )
    lines = [svg.path(_points(area, curve), f"curve rate-{number}") for number, curve in enumerate(curves)]
    live = element(
        "polyline",
        points="",
        class_="curve live",
        data_live="logarithmic" if logarithmic else "linear",
        data_left=area.across.start,
        data_right=area.across.end,
        data_bottom=area.up.start,
        data_top=area.up.end,
        data_low=str(area.up.low),
        data_high=str(area.up.high),
        data_updates=UPDATES,
    )
    title = f"Loss over updates, {'logarithmic' if logarithmic else 'linear'}"
    return svg.picture(area, name, title, _description(curves), _grid(area), *lines, *_labels(area, curves), live)


def spread(places: Sequence[float], distance: float, highest: float) -> list[float]:
    """Return places that keep their order and are at least ``distance`` apart, none above ``highest``."""
    order = sorted(range(len(places)), key=lambda number: -places[number])
    moved = list(places)
    limit = highest
    for number in order:
        moved[number] = min(places[number], limit)
        limit = moved[number] - distance
    return moved


def _points(area: svg.Frame, curve: Reference) -> list[tuple[float, float]]:
    # Every update at the beginning, where the curve bends, then fewer and fewer.
    shown = sorted({round(UPDATES * (number / 150) ** 2) for number in range(151)} | set(range(12)))
    return [(area.across.position(update), area.up.position(max(curve.losses[update], _LOWEST))) for update in shown]


def _labels(area: svg.Frame, curves: Sequence[Reference]) -> list[Html]:
    """Return the learning rate at the end of each line; where ends lie together, labels move up on a leader."""
    ends = [area.up.position(curve.losses[-1]) for curve in curves]
    x = area.across.end
    parts = []
    for number, (curve, end, place) in enumerate(zip(curves, ends, spread(ends, _LABEL_DISTANCE, 999), strict=True)):
        parts.append(svg.line(x + 1, end, x + 14, place, "leader"))
        parts.append(svg.label(x + 17, place + 4, str(curve.learning_rate), class_=f"on-rate-{number}"))
    return parts


def _grid(area: svg.Frame) -> Html:
    across = [svg.Tick(value, count(value)) for value in svg.linear_ticks(0, UPDATES, 6)]
    if area.up.logarithmic:
        powers = range(round(math.log10(_LOWEST)), math.floor(math.log10(_HIGHEST)) + 1)
        up = [svg.Tick(10.0**power, short(10.0**power)) for power in powers]
    else:
        up = [svg.Tick(value, short(value)) for value in svg.linear_ticks(0, _HIGHEST)]
    return svg.grid(area, across, up, "updates", "E_total")


def _description(curves: Sequence[Reference]) -> str:
    ends = "; ".join(f"{curve.learning_rate}: {short(curve.losses[-1])}" for curve in curves)
    return (
        f"All begin at {short(curves[0].losses[0])}. Loss after {count(UPDATES)} updates by learning rate: {ends}. "
        "The thick line is your own run; the status line above says where it is."
    )


def legend(curves: Sequence[Reference]) -> Html:
    """Return which line is which learning rate."""
    entries = [
        element("li", svg.key("line", f"curve rate-{number}", f"learning rate {curve.learning_rate}"))
        for number, curve in enumerate(curves)
    ]
    own = element("li", svg.key("line", "curve live", "your run"))
    return element("ul", joined([*entries, own]), class_="legend")
