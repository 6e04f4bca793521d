"""Drawing with SVG: axes, marks and the figure around them.

Colours and line styles are classes of the style sheet, so that themes change them. Each kind of mark has its own shape,
because colour alone must not tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.html.page import Html, element, joined, text

# Fewer errors cannot be told apart on 10,000 images, and a logarithmic axis has no 0.
FEWEST_ERRORS_PCT = 0.05


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from values to pixels; ``low`` lies at ``start``, ``high`` at ``end``, and either may be the larger.

    Attributes:
        logarithmic: equal ratios are equal distances; both ends must be positive.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def position(self, value: float) -> float:
        """Return where a value lies; values beyond an end lie at that end."""
        value = min(max(value, min(self.low, self.high)), max(self.low, self.high))
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


# Widths of a picture in its own units: on a desk, and on a telephone, where the wide one would have letters too small.
WIDE, NARROW = 1120, 390


# A value on an axis, with its label.
Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that marks are drawn in, with its two axes."""

    width: int
    height: int
    across: Axis
    up: Axis


def frame(width: int, height: int, across: tuple[float, float, bool], up: tuple[float, float, bool]) -> Frame:
    """Return a frame with room for labels left and below; an axis is given as (low, high, logarithmic)."""
    left, right, top, bottom = 72, 20, 28, 56
    return Frame(
        width,
        height,
        Axis(across[0], across[1], left, width - right, across[2]),
        Axis(up[0], up[1], height - bottom, top, up[2]),
    )


def linear_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return round values from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Return round values from ``low`` to ``high``, as many to a power of ten as fit."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3)):
        ticks = [round(factor * 10.0**power, 10) for power in powers for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return [10.0**power for power in powers if low <= 10.0**power <= high]


def ticks(axis: Axis, words: Callable[[float], str], most: int = 7, *, whole: bool = False) -> list[Tick]:
    """Return labelled places at round values of an axis, only at whole numbers where it counts something."""
    low, high = sorted((axis.low, axis.high))
    values = log_ticks(low, high, most) if axis.logarithmic else linear_ticks(low, high, most)
    return [(value, words(value)) for value in values if not whole or value % 1 == 0]


def grid(area: Frame, across: Sequence[Tick], up: Sequence[Tick], across_title: str, up_title: str) -> Html:
    """Return axes, grid lines, labels and axis titles."""
    left, right = area.across.start, area.across.end
    bottom, top = area.up.start, area.up.end
    parts = []
    for value, words in across:
        place = area.across.position(value)
        parts.append(line(place, bottom, place, top, "grid"))
        parts.append(label(place, bottom + 20, words, anchor="middle"))
    for value, words in up:
        place = area.up.position(value)
        parts.append(line(left, place, right, place, "grid"))
        parts.append(label(left - 8, place + 4, words, anchor="end"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    parts.append(line(left, bottom, left, top, "axis"))
    parts.append(label((left + right) / 2, area.height - 12, across_title, anchor="middle", class_="title"))
    middle = (top + bottom) / 2
    turned = element(
        "text",
        text(up_title),
        transform=f"rotate(-90 13 {middle:.0f})",
        x=13,
        y=float(middle),
        text_anchor="middle",
        class_="title",
    )
    return joined([*parts, turned])


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """Return a straight line."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def label(x: float, y: float, words: str, anchor: str = "start", class_: str | None = None) -> Html:
    """Return a text with its anchor at a place."""
    return element("text", text(words), x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def staircase(places: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return a path that holds the level of each place until the next one, and the last one until ``end``."""
    found: list[tuple[float, float]] = []
    for x, y in places:
        if found:
            found.append((x, found[-1][1]))
        found.append((x, y))
    return [*found, (end, found[-1][1])] if found else []


def path(points: Sequence[tuple[float, float]], class_: str, number: int | None = None) -> Html:
    """Return a line through several places; ``number`` as for a mark."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_, data_n=number)


def mark(
    shape: str, x: float, y: float, class_: str, title: str = "", size: float = 5.0, number: int | None = None
) -> Html:
    """Return a mark with its place as the centre.

    ``title`` is shown where a pointer rests on it; ``number`` tells a script which thing it stands for.
    """
    children = [element("title", text(title))] if title else []
    if shape == "circle":
        return element(
            "circle", *children, cx=round(x, 1), cy=round(y, 1), r=size, class_=f"mark {class_}", data_n=number
        )
    # A page may hold thousands of marks: a path is the shortest way to write one.
    outline = " ".join(f"{round(x + size * dx, 1):g} {round(y + size * dy, 1):g}" for dx, dy in _OUTLINES[shape])
    return element("path", *children, d=f"M{outline}z", class_=f"mark {class_}", data_n=number)


def error_bar(x: float, low: float, high: float, class_: str, number: int | None = None) -> Html:
    """Return a vertical bar with caps."""
    caps = f"M{x - 3:.1f},{low:.1f}h6M{x:.1f},{low:.1f}V{high:.1f}M{x - 3:.1f},{high:.1f}h6"
    return element("path", d=caps, class_=class_, data_n=number)


def picture(
    area: Frame,
    identifier: str,
    title: str,
    description: str,
    *parts: Html,
    role: str = "img",
    class_: str | None = None,
) -> Html:
    """Return the image with its name and its description for those who do not see it.

    ``role`` is ``group`` where parts of it can be reached by themselves.
    """
    image = element(
        "svg",
        element("title", text(title), id=f"{identifier}-title"),
        element("desc", text(description), id=f"{identifier}-text"),
        *parts,
        viewBox=f"0 0 {area.width} {area.height}",
        role=role,
        class_=class_,
        aria_labelledby=f"{identifier}-title",
        aria_describedby=f"{identifier}-text",
    )
    # The frame scrolls on a narrow screen; the keyboard must be able to scroll it too.
    return element("div", image, class_="picture", role="region", aria_labelledby=f"{identifier}-title", tabindex=0)


def wide_or_narrow(picture_of: Callable[[bool], Html]) -> Html:
    """Return a picture in both widths, of which the style sheet shows one; the function is told which is wanted."""
    return joined(
        [element("div", picture_of(narrow), class_=name) for name, narrow in (("wide", False), ("narrow", True))]
    )


def key(shape: str, class_: str, words: str) -> Html:
    """Return one entry of a legend: a mark, or a line where ``shape`` is ``line``, and what it means."""
    drawn = line(1, 8, 29, 8, class_) if shape == "line" else mark(shape, 15, 8, class_)
    small = element("svg", drawn, viewBox="0 0 30 16", width=30, height=16, aria_hidden="true")
    return joined([small, text(words)], " ")


_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "diamond": ((0, -1.5), (1.3, 0), (0, 1.5), (-1.3, 0)),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((-1, -0.8), (1, -0.8), (0, 1)),
    "cross": (
        *((-1, -0.65), (-0.65, -1), (0, -0.35), (0.65, -1), (1, -0.65), (0.35, 0)),
        *((1, 0.65), (0.65, 1), (0, 0.35), (-0.65, 1), (-1, 0.65), (-0.35, 0)),
    ),
}


def errors_pct(accuracy_pct: float) -> float:
    """Return the errors, per cent of the images, that an accuracy is drawn by: from 0.05 to 100."""
    return min(max(100 - accuracy_pct, FEWEST_ERRORS_PCT), 100.0)
