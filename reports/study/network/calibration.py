"""How far a network's confidence can be trusted: images by how sure it was, and how many of them were right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.training.inspection import Confidence, Inspection
from reports.html.numbers import count, decimal, pct, plural, short
from reports.html.page import Column, Html, joined, paragraph, table, text


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


def calibration_table(facts: Calibration, identifier: str) -> Html:
    """Return the classes of confidence as a table."""
    columns = (
        Column("probability of the class said"),
        Column("images", numeric=True),
        Column("mean, %", numeric=True),
        Column("right, %", numeric=True),
        Column("wrong", numeric=True),
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
    words = f"Confidence and accuracy lie {pct(facts.error_points, 2)} apart on average (expected calibration error)."
    return joined([table(caption, columns, rows, identifier=f"{identifier}-calibration"), paragraph(words)])


def _pooled(items: Sequence[Confidence]) -> Confidence:
    images = sum(item.images for item in items)
    mean = sum(item.mean * item.images for item in items) / images if images else 0.0
    right = sum(item.right for item in items)
    return Confidence(low=items[0].low, high=items[0].high, images=images, right=right, mean=mean)
