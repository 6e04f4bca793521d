"""How far seeds of one network lie apart: each seed a mark, one line a network, smallest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.system import statistics
from reports.html import svg
from reports.html.page import Html, element, items, joined, paragraph
from reports.numbers import count, decimal, plural, short
from reports.study.networks import Network
from reports.study.study_files import StudyFiles
from search_spaces.space import OBJECTIVES

MOST_NETWORKS = 40
# Heights in the drawing, and the room for the names of the two lines.
_ROW = 26
_TOP = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRow:
    """The seeds of one network, per cent.

    Attributes:
        number: place of the network in the order of the study's networks.
        fresh: validation accuracies of fresh seeds.
        test: test accuracies of verification seeds.
    """

    number: int
    network: Network
    fresh: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """The networks that were trained on several seeds, the lowest cost first.

    Attributes:
        unit: what the study minimises.
        pooled_points: deviation within networks over fresh and test seeds together, None where no network has two.
    """

    rows: tuple[SeedRow, ...]
    target_pct: float
    threshold_pct: float
    pooled_points: float | None
    unit: str
    left_out: int = 0


def seed_spread(files: StudyFiles, of: Sequence[Network]) -> SeedSpread:
    """Return how far the seeds of a study's networks lie apart."""
    test = {item.record.hash: item.record.accuracies_pct for item in reversed(files.measured)}
    found = [
        SeedRow(number=number, network=network, fresh=network.fresh_pct, test=test.get(network.hash, ()))
        for number, network in enumerate(of)
    ]
    several = [row for row in found if len(row.fresh) + len(row.test) > 1]
    several.sort(key=lambda row: (row.network.cost, row.network.hash))
    pooled, freedom = statistics.pooled_deviation([group for row in several for group in (row.fresh, row.test)])
    return SeedSpread(
        rows=tuple(several[:MOST_NETWORKS]),
        target_pct=files.config.target_pct,
        threshold_pct=files.config.threshold_pct,
        pooled_points=pooled if freedom else None,
        unit=OBJECTIVES[files.config.minimise],
        left_out=max(0, len(several) - MOST_NETWORKS),
    )


def draw(facts: SeedSpread) -> Html:
    """Return the picture with its legend; nothing where no network has several seeds."""
    if not facts.rows:
        return Html("")
    image = svg.wide_or_narrow(lambda narrow: _picture(facts, narrow))
    legend = [svg.key("circle", "trained", "validation, a fresh seed")]
    if any(row.network.first_pct is not None for row in facts.rows):
        legend.append(svg.key("triangle", "pruned", "validation, the run that it was chosen by"))
    if any(row.test for row in facts.rows):
        legend.append(svg.key("diamond", "tested", "test set, a verification seed"))
    return joined([image, items(legend, class_="legend"), paragraph(*_words(facts), class_="note")])


def _picture(facts: SeedSpread, narrow: bool) -> Html:
    values = [value for row in facts.rows for value in (*row.fresh, *row.test)]
    values += [facts.target_pct, facts.threshold_pct]
    # Seeds that went wrong lie on the edge, so that the others can be told apart.
    low = max(min(values), facts.target_pct - 2.0)
    margin = max((max(values) - low) * 0.06, 0.02)
    height = _TOP + 56 + _ROW * len(facts.rows)
    width, left = (svg.NARROW, 112) if narrow else (svg.WIDE, 240)
    area = svg.Frame(
        width,
        height,
        svg.Axis(low - margin, max(values) + margin, left, width - 20),
        svg.Axis(len(facts.rows), 0, height - 56, _TOP),
    )
    return svg.picture(
        area,
        "seeds-picture-narrow" if narrow else "seeds-picture",
        "Seeds of one network beside each other",
        description(facts),
        _grid(area, facts),
        *(_marks(area, place, row) for place, row in enumerate(facts.rows)),
    )


def description(facts: SeedSpread) -> str:
    """Return what the picture shows, in words."""
    rows = "; ".join(
        f"{row.network.hash} with {count(row.network.cost)} {facts.unit}: "
        + " and ".join(
            f"{name} {', '.join(decimal(value, 2) for value in group)}"
            for name, group in (("validation", row.fresh), ("test", row.test))
            if group
        )
        for row in facts.rows
    )
    return f"Accuracy of each seed in per cent, smallest network first. {rows}."


def _words(facts: SeedSpread) -> list[str]:
    words = ["The upright stroke is the mean of the seeds beside it."]
    if facts.pooled_points is not None and math.isfinite(facts.pooled_points):
        words.append(
            f"Seeds of one network deviate by {decimal(facts.pooled_points, 3)} points from their mean (pooled)."
        )
    if facts.left_out:
        words.append(f"{plural(facts.left_out, 'larger network')} with several seeds not drawn.")
    return words


def _grid(area: svg.Frame, facts: SeedSpread) -> Html:
    bottom, top = area.up.start, area.up.end
    parts = []
    for value in svg.linear_ticks(area.across.low, area.across.high, area.width // 80):
        place = area.across.position(value)
        parts += [svg.line(place, bottom, place, top, "grid"), svg.label(place, bottom + 20, short(value), "middle")]
    lines = ((facts.target_pct, "target", 12), (facts.threshold_pct, "threshold", 28))
    for value, kind, height in lines:
        place = area.across.position(value)
        anchor, shift = ("end", -5) if place > area.width / 2 else ("start", 5)
        parts.append(svg.line(place, bottom, place, height - 10, kind))
        parts.append(svg.label(place + shift, height, f"{kind} {short(value)} %", anchor, f"on-{kind}"))
    parts.append(svg.line(area.across.start, bottom, area.across.end, bottom, "axis"))
    left, middle = area.across.start, (area.across.start + area.across.end) / 2
    if area.width > svg.NARROW:
        parts.append(svg.label(left - 12, _TOP - 12, f"network, {facts.unit}", "end", "title"))
    parts.append(svg.label(middle, area.height - 12, "accuracy of a seed, %", "middle", "title"))
    return joined(parts)


def _marks(area: svg.Frame, place: int, row: SeedRow) -> Html:
    y = area.up.position(place + 0.5)
    left, right = area.across.start, area.across.end
    label, first_pct = row.network.label, row.network.first_pct
    words = label.split()[0] if area.width == svg.NARROW else f"{label}, {count(row.network.cost)}"
    parts = [svg.label(left - 12, y + 4, words, "end"), svg.line(left, y, right, y, "grid")]
    for values, shape, kind, shift in ((row.fresh, "circle", "trained", -5.0), (row.test, "diamond", "tested", 5.0)):
        for value in values:
            parts.append(svg.mark(shape, area.across.position(value), y + shift, kind, size=4.0, number=row.number))
        if len(values) > 1:
            mean = area.across.position(statistics.mean(values))
            parts.append(svg.line(mean, y + shift - 8, mean, y + shift + 8, f"mean {kind}"))
    if first_pct is not None:
        x = area.across.position(first_pct)
        parts.append(svg.mark("triangle", x, y - 5, "pruned", size=4.0, number=row.number))
    return element("g", *parts, data_n=row.number, class_="seed-row")
