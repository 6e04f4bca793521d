"""The lanes of the workers, below the sizes that their search tried: a bar a training, as long as it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

from reports.html import svg
from reports.html.page import Html, element, joined, text
from reports.numbers import duration, plural
from reports.study.course.worker_lanes import Bar, Fate, WorkerLanes

# Class of the style sheet, and height as a share of the lane: colour alone must not tell fates apart.
_LOOKS = {
    Fate.PASSED: ("passed", 1.0),
    Fate.MISSED: ("missed", 0.7),
    Fate.STOPPED: ("stopped", 0.4),
    Fate.FAILED: ("failed", 0.4),
    Fate.CUT: ("cut", 0.7),
    Fate.RUNNING: ("running", 0.85),
}
_MOST_LANE, _LEAST_LANE, _ALL_LANES = 30, 3, 300
# With more bars they are no longer to be told apart, and their numbers would weigh.
MOST_NUMBERED = 500
# A lane that has room for words.
_ROOMY_LANE = 18
# Of a letter of the small type in a bar.
_LETTER = 6.2
# Letters that there is room for before a lane.
_LONGEST_NAME = 10


def lane_height(facts: WorkerLanes) -> int:
    """Return the height of a lane in the drawing."""
    return min(_MOST_LANE, max(_LEAST_LANE, _ALL_LANES // max(facts.lanes, 1)))


def lanes(facts: WorkerLanes, across: svg.Axis, top: float, seconds: float, *, numbered: bool = True) -> Html:
    """Return the lanes from ``top`` downwards; the axis counts units of so many seconds.

    A bar tells a script its network where it is ``numbered``.
    """
    height = lane_height(facts)
    bottom = top + height * facts.lanes
    parts = [svg.line(across.start, bottom, across.end, bottom, "axis")]
    if facts.verification is not None:
        parts.append(_verification(facts.verification, across, top, bottom, seconds))
    step = max(1, round(14 / height))
    for lane in range(facts.lanes):
        y = top + height * (lane + 0.5)
        parts.append(svg.line(across.start, y, across.end, y, "grid"))
        if lane % step == 0:
            parts.append(svg.label(across.start - 8, y + 4, _lane_name(facts, lane), "end"))
    for (fate, (kind, share)), fresh in product(_LOOKS.items(), (False, True)):
        bars = [bar for bar in facts.bars if (bar.fate, bar.fresh) == (fate, fresh)]
        if bars:
            places = [_place(bar, across, top, height, seconds) for bar in bars]
            one_by_one = numbered and len(facts.bars) <= MOST_NUMBERED
            drawn = _numbered(bars, places) if one_by_one else element("path", d="".join(places))
            thickness = max((height - 2) * share, 1.0)
            parts.append(element("g", drawn, class_=f"run {kind}{' fresh' * fresh}", stroke_width=thickness))
    return joined([*parts, *_names(facts, across, top, height, seconds)])


def _lane_name(facts: WorkerLanes, lane: int) -> str:
    """Return what stands before a lane: its worker, or its node on a cluster."""
    name = facts.nodes[lane] if facts.nodes else ""
    if not name:
        return f"worker {lane + 1}"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def legend(facts: WorkerLanes) -> list[Html]:
    """Return an entry for each fate that the lanes show."""
    present = {bar.fate for bar in facts.bars}
    entries = []
    for fate, (kind, share) in _LOOKS.items():
        if fate in present:
            entries.append(_key(f"run {kind}", share, f"training {fate}"))
    if any(bar.fresh for bar in facts.bars):
        entries.append(_key("run passed fresh", 1.0, "pale: on a fresh seed"))
    return entries


def _key(class_: str, share: float, words: str) -> Html:
    group = element("g", element("path", d="M3 8h24"), class_=class_, stroke_width=14 * share)
    small = element("svg", group, viewBox="0 0 30 16", aria_hidden="true")
    return joined([small, text(words)], " ")


def description(facts: WorkerLanes) -> str:
    """Return what the lanes show, in words."""
    counted = Counter(bar.fate for bar in facts.bars)
    fates = ", ".join(f"{counted[fate]} {fate}" for fate in Fate if counted[fate])
    nodes = {name for name in facts.nodes if name}
    where = plural(facts.lanes, "worker") + (f" of {plural(len(nodes), 'node')}" if nodes else "")
    words = f"{plural(len(facts.bars), 'training')} on {where}: {fates}."
    if facts.verification is not None:
        words += f" Verification took {duration(facts.verification[1] - facts.verification[0])}."
    return words


def _place(bar: Bar, across: svg.Axis, top: float, lane: int, seconds: float) -> str:
    """Return a bar as a path; a search has thousands."""
    left, right = across.position(bar.begin / seconds), across.position(bar.end / seconds)
    return f"M{left:.1f} {top + lane * (bar.lane + 0.5):g}h{max(right - left - 0.7, 0.5):.1f}"


def _numbered(bars: Sequence[Bar], places: Sequence[str]) -> Html:
    return joined((element("path", d=place, data_n=bar.number) for bar, place in zip(bars, places, strict=True)), "")


def _names(facts: WorkerLanes, across: svg.Axis, top: float, lane: int, seconds: float) -> list[Html]:
    """Return the names of the networks whose first runs have room for them."""
    found = []
    for bar in facts.bars:
        left, right = across.position(bar.begin / seconds), across.position(bar.end / seconds)
        name = bar.label.split()[0]
        roomy = lane >= _ROOMY_LANE and right - left > _LETTER * len(name) + 8
        if roomy and not bar.fresh and bar.fate in (Fate.PASSED, Fate.MISSED, Fate.RUNNING):
            found.append(svg.label(left + 5, top + lane * (bar.lane + 0.5) + 4, name, class_="on-run"))
    return found


def _verification(span: tuple[float, float], across: svg.Axis, top: float, bottom: float, seconds: float) -> Html:
    left, right = (across.position(moment / seconds) for moment in span)
    box = element("rect", x=left, y=top, width=right - left, height=bottom - top, class_="verification")
    if right - left < 90:
        return box
    return joined([box, svg.label((left + right) / 2, (top + bottom) / 2 - 6, "verification", "middle", "title")], "")
