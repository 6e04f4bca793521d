"""How far a network's confidence can be trusted: images by how sure it was, and how many of them were right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.training.inspection import Confidence, Inspection
from reports.html import svg
from reports.html.page import Column, Html, details, joined, numeric, paragraph, table, text
from reports.numbers import count, decimal, pct, plural, short


@dataclass(frozen=True, slots=True)
class Calibration:
    """Classes of confidence over all inspected seeds, least sure first.

    Attributes:
        error_points: mean distance of confidence and accuracy over the images, per cent (expected calibration error:
            Guo, Pleiss, Sun and Weinberger 2017).
    """

    seeds: int
    confidences: tuple[Confidence, ...]
    error_points: float


def calibration(inspections: Sequence[Inspection]) -> Calibration | None:
    """Return how far the confidence of the inspected seeds can be trusted; None without any."""
    gathered: dict[tuple[float, float], list[Confidence]] = defaultdict(list)
    for inspection in inspections:
        for item in inspection.confidences:
            gathered[item.low, item.high].append(item)
    pooled = tuple(_pooled(gathered[edges]) for edges in sorted(gathered))
    images = sum(item.images for item in pooled)
    if not images:
        return None
    distance = sum(abs(item.right - item.mean * item.images) for item in pooled)
    return Calibration(len(inspections), pooled, 100 * distance / images)


def calibration_curve(facts: Calibration, identifier: str) -> Html:
    """Return the share that was right against the probability of the class said, with the table of both."""
    words = f"Confidence and accuracy lie {pct(facts.error_points, 2)} apart on average (expected calibration error)."
    return joined([_curve(facts, identifier), paragraph(words), details("Every class", _table(facts, identifier))])


def _curve(facts: Calibration, identifier: str) -> Html:
    points = [(100 * item.mean, 100 * item.right / item.images) for item in facts.confidences]
    lowest = min(value for point in points for value in point)
    ends = (max(0.0, lowest - 5), 100.0, False)
    area = svg.frame(svg.NARROW, 320, ends, ends)
    ticks = svg.ticks(area.across, short, 5)
    places = [(area.across.position(said), area.up.position(right)) for said, right in points]
    titles = (
        f"{plural(item.images, 'image')}: said {pct(said, 1)}, right {pct(right, 1)}"
        for item, (said, right) in zip(facts.confidences, points, strict=True)
    )
    return svg.picture(
        area,
        f"{identifier}-calibration-curve",
        "Calibration: how often a class was right, by the probability that the network gave it",
        f"{plural(len(points), 'point')}, the diagonal where both are equal. Below it the network is too sure. "
        "The table has every figure.",
        svg.grid(area, ticks, ticks, "mean probability of the class said, %", "right, %"),
        svg.line(area.across.start, area.up.start, area.across.end, area.up.end, "axis"),
        svg.path(places, "curve whole"),
        *(svg.mark("circle", *place, "trained", words) for place, words in zip(places, titles, strict=True)),
        class_="snug",
    )


def _table(facts: Calibration, identifier: str) -> Html:
    columns = (
        Column("probability of the class said"),
        *numeric("images", "mean, %", "right, %", "wrong"),
    )
    rows = [
        [
            text(f"above {short(100 * item.low)} up to {short(100 * item.high)} %"),
            text(count(item.images)),
            text(decimal(100 * item.mean, 2)),
            text(decimal(100 * item.right / item.images, 2)),
            text(count(item.images - item.right)),
        ]
        for item in facts.confidences
    ]
    caption = f"Calibration: test images by how sure the network was, summed over {plural(facts.seeds, 'seed')}."
    return table(caption, columns, rows, identifier=f"{identifier}-calibration")


def _pooled(items: Sequence[Confidence]) -> Confidence:
    images = sum(item.images for item in items)
    mean = sum(item.mean * item.images for item in items) / images if images else 0.0
    right = sum(item.right for item in items)
    return Confidence(low=items[0].low, high=items[0].high, images=images, right=right, mean=mean)
