"""The loss curves of the documents' learning rates, drawn twice: with a linear and with a logarithmic axis.

Each picture holds an empty line, ``data-live``, that the script of the page fills, and the places of its axes in
``data-`` attributes, so that the script draws on the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from reports.html import svg
from reports.html.page import Html, element, items
from reports.numbers import count, short

UPDATES = 1_000
_LOWEST = 1e-5
_HIGHEST = 0.3
# Between two labels, in pixels of the drawing; less and they touch.
_LABEL_DISTANCE = 15.0
_LABEL_WIDTH = 46.0


def references() -> dict[float, list[float]]:
    """Return the six curves by their learning rates: the loss before the first update and after each."""
    return {rate: losses(WEIGHTS, EXAMPLE, rate, UPDATES) for rate in LEARNING_RATES}


def draw(curves: Mapping[float, Sequence[float]], *, logarithmic: bool) -> Html:
    """Return the picture."""
    name = "loss-logarithmic" if logarithmic else "loss-linear"
    area = svg.frame(620, 420, (0, UPDATES, False), (_LOWEST if logarithmic else 0.0, _HIGHEST, logarithmic))
    area = svg.Frame(
        area.width, area.height, svg.Axis(0, UPDATES, area.across.start, area.across.end - _LABEL_WIDTH), area.up
    )
    lines = [svg.path(_points(area, curve), f"curve rate-{number}") for number, curve in enumerate(curves.values())]
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


def _points(area: svg.Frame, curve: Sequence[float]) -> list[tuple[float, float]]:
    # Every update at the beginning, where the curve bends, then fewer and fewer.
    shown = sorted({round(UPDATES * (number / 150) ** 2) for number in range(151)} | set(range(12)))
    return [(area.across.position(update), area.up.position(max(curve[update], _LOWEST))) for update in shown]


def _labels(area: svg.Frame, curves: Mapping[float, Sequence[float]]) -> list[Html]:
    """Return the learning rate at the end of each line; where ends lie together, labels move up on a leader."""
    ends = [area.up.position(curve[-1]) for curve in curves.values()]
    x = area.across.end
    parts = []
    for number, (rate, end, place) in enumerate(zip(curves, ends, spread(ends, _LABEL_DISTANCE, 999), strict=True)):
        parts.append(svg.line(x + 1, end, x + 14, place, "leader"))
        parts.append(svg.label(x + 17, place + 4, str(rate), class_=f"on-rate-{number}"))
    return parts


def _grid(area: svg.Frame) -> Html:
    across = svg.ticks(area.across, count, 6)
    if area.up.logarithmic:
        powers = range(round(math.log10(_LOWEST)), math.floor(math.log10(_HIGHEST)) + 1)
        up = [(10.0**power, short(10.0**power)) for power in powers]
    else:
        up = svg.ticks(area.up, short)
    return svg.grid(area, across, up, "updates", "E_total")


def _description(curves: Mapping[float, Sequence[float]]) -> str:
    start = next(iter(curves.values()))[0]
    ends = "; ".join(f"{rate}: {short(curve[-1])}" for rate, curve in curves.items())
    return (
        f"All begin at {short(start)}. Loss after {count(UPDATES)} updates by learning rate: {ends}. "
        "The thick line is your own run; the status line above says where it is."
    )


def legend(curves: Mapping[float, Sequence[float]]) -> Html:
    """Return which line is which learning rate."""
    entries = [svg.key("line", f"curve rate-{number}", f"learning rate {rate}") for number, rate in enumerate(curves)]
    return items([*entries, svg.key("line", "curve live", "your run")], class_="legend")
