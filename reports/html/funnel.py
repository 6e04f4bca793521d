"""A funnel: how many are left after each step, a bar a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.html import svg
from reports.html.page import Html, element, joined
from reports.html.shares import Share
from reports.numbers import count

_ROW, _BAR, _LEFT, _LONGEST = 28, 16, 168, 150


def funnel(title: str, steps: Sequence[Share], identifier: str) -> Html:
    """Return the picture; bars are logarithmic, because a search rejects thousands for each network that it trains."""
    most = math.log1p(max(step.count for step in steps))
    rows = []
    for place, step in enumerate(steps):
        y = _ROW * place + 6
        length = _LONGEST * math.log1p(step.count) / most if most else 0.0
        rows.append(svg.label(_LEFT - 8, y + 13, step.name, "end"))
        rows.append(element("rect", x=_LEFT, y=y, width=max(length, 1.0), height=_BAR, class_="share-bar"))
        rows.append(svg.label(_LEFT + length + 8, y + 13, count(step.count)))
    nowhere = svg.Axis(0, 1, 0, 1)
    area = svg.Frame(svg.NARROW, _ROW * len(steps) + 8, nowhere, nowhere)
    words = ", ".join(f"{step.name}: {count(step.count)}" for step in steps)
    return svg.picture(area, identifier, title, f"{words}.", joined(rows, ""), class_="snug")
