"""Size against errors of all rows on one data set, whatever their target; the smallest of each target are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.leaderboard import Tier
from reports.board.leaderboard_info import Entry, Group
from reports.html import svg
from reports.html.page import Html, items, joined
from reports.html.svg import errors_pct
from reports.numbers import DASH, count, pct, plural, short

# Two points make no picture that the table does not.
FEWEST_POINTS = 3
_SHARES_OF_ERRORS = 8
# Width of a letter, in pixels of the drawing.
_LETTER = 8
# The layouts: on a telephone a wide one would have type of six pixels.
_WIDE, _NARROW = (960, 420), (390, 360)
# The mark of each tier; what nobody has measured on the test set is hollow.
_KINDS = {
    Tier.CERTIFIED: ("square", "reached", "certified or verified: mean test accuracy"),
    Tier.VERIFIED: ("square", "reached", "certified or verified: mean test accuracy"),
    Tier.AT_TARGET: ("square", "measured", "at the target: mean test accuracy"),
    Tier.MEASURED: ("diamond", "measured", "measured: mean test accuracy below the target, or fewer than five seeds"),
    Tier.SEARCHED: ("circle", "searched", "searched: validation accuracy"),
    Tier.CLAIMED: ("triangle", "claimed", "claimed by others: not checked here"),
}


@dataclass(frozen=True, slots=True)
class Frontier:
    """All points of one data set.

    Attributes:
        targets_pct: rising.
        points: each row with its accuracy, per cent.
        smallest: the smallest proven network of each target, by rising target; part of ``points``.
    """

    dataset: str
    targets_pct: tuple[float, ...]
    points: tuple[tuple[Entry, float], ...]
    smallest: tuple[tuple[Entry, float], ...]


def frontier(groups: Sequence[Group]) -> Frontier | None:
    """Return the facts about the first data set, None where there are too few points."""
    if not groups:
        return None
    own = sorted((group for group in groups if group.dataset == groups[0].dataset), key=lambda group: group.target_pct)
    points = [_point(entry) for group in own for entry in group.entries]
    known = tuple(point for point in points if point is not None)
    best = [_point(group.smallest) for group in own if group.smallest is not None]
    targets = tuple(group.target_pct for group in own)
    found = Frontier(groups[0].dataset, targets, known, tuple(point for point in best if point is not None))
    return found if len({(entry.row.parameters, value) for entry, value in known}) >= FEWEST_POINTS else None


def draw(facts: Frontier, default_pct: float) -> Html:
    """Return the picture in both layouts, with its legend; the line of ``default_pct`` is emphasised."""
    tiers = {entry.row.tier for entry, _ in facts.points}
    kinds = dict.fromkeys(_KINDS[tier] for tier in Tier if tier in tiers)
    drawn = svg.wide_or_narrow(lambda narrow: _drawn(facts, default_pct, narrow=narrow))
    return joined([drawn, items((svg.key(*kind) for kind in kinds), class_="legend")])


def _point(entry: Entry | None) -> tuple[Entry, float] | None:
    if entry is None or entry.accuracy_pct is None or entry.row.parameters <= 0:
        return None
    return entry, entry.accuracy_pct


def _drawn(facts: Frontier, default_pct: float, *, narrow: bool) -> Html:
    width, height = _NARROW if narrow else _WIDE
    sizes = [entry.row.parameters for entry, _ in facts.points]
    levels = [errors_pct(value) for value in (*facts.targets_pct, *(value for _, value in facts.points))]
    area = svg.frame(
        width, height, (min(sizes) / 1.3, max(sizes) * 1.3, True), (max(levels) * 1.2, min(levels) / 1.25, True)
    )
    across = svg.ticks(area.across, count, width // 80, whole=True)
    y = area.up.position(errors_pct(default_pct))
    joining = [_place(area, *point) for point in facts.smallest]
    title = f"Parameters against errors on {facts.dataset}"
    said = "; ".join(
        f"{short(entry.row.target_pct)} % by {entry.name} with {plural(entry.row.parameters, 'parameter')}"
        for entry, _ in facts.smallest
    )
    return svg.picture(
        area,
        f"frontier-{'narrow' if narrow else 'wide'}",
        title,
        f"The smallest network that is verified or certified for each target: {said or DASH}.",
        svg.grid(area, across, _levels(facts, area), "parameters (logarithmic)", "accuracy, % (errors logarithmic)"),
        svg.line(area.across.start, y, area.across.end, y, "target"),
        svg.path(joining, "front") if len(joining) > 1 else Html(""),
        *(_mark(area, entry, value) for entry, value in reversed(facts.points)),
        *(_label(area, entry, value, narrow=narrow) for entry, value in facts.smallest),
    )


def _levels(facts: Frontier, area: svg.Frame) -> list[svg.Tick]:
    """Return a tick a target; round shares of errors where there are fewer than three targets."""
    if len(facts.targets_pct) < FEWEST_POINTS:
        return svg.ticks(area.up, lambda errors: short(100 - errors), _SHARES_OF_ERRORS)
    return [(errors_pct(target), short(target)) for target in facts.targets_pct]


def _place(area: svg.Frame, entry: Entry, value: float) -> tuple[float, float]:
    return area.across.position(entry.row.parameters), area.up.position(errors_pct(value))


def _mark(area: svg.Frame, entry: Entry, value: float) -> Html:
    row = entry.row
    shape, class_, _ = _KINDS[row.tier]
    words = (
        f"{entry.name} {row.hash[:6]}: {plural(row.parameters, 'parameter')}, {pct(value, 3)}, {row.tier}, "
        f"target {short(row.target_pct)} %, recipe {row.recipe or DASH}"
    )
    return svg.mark(shape, *_place(area, entry, value), class_, words)


def _label(area: svg.Frame, entry: Entry, value: float, *, narrow: bool) -> Html:
    """Return the name of a network beside its mark, its size alone where there is little room."""
    x, y = _place(area, entry, value)
    words = count(entry.row.parameters) if narrow else entry.name
    if x - area.across.start < _LETTER * len(words) + 8:
        return svg.label(x + 9, y + 4, words, class_="winner")
    return svg.label(x - 8, y - 6, words, anchor="end", class_="winner")
