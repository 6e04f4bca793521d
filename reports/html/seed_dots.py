"""The seeds of a row as dots on the axis of errors, small enough to stand in its cell of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.evidence.record import Record
from harness.search.nearest_miss import allowed_errors
from reports.html import svg
from reports.html.page import Html, element, joined, text

WIDTH, HEIGHT = 120, 24
_MARGIN, _RADIUS = 5, 3.0
# Seeds that diverged lie at the end of the axis: they must not squeeze all others into one place.
_FURTHEST = 2


@dataclass(frozen=True, slots=True)
class SeedDots:
    """The seeds of one row.

    Attributes:
        errors: wrong test images of each seed.
        allowed: the most errors with which a seed's own accuracy reaches the target.
    """

    errors: tuple[int, ...]
    allowed: int


def seed_dots(evidence: Record) -> SeedDots | None:
    """Return the seeds of a record, None where it has none."""
    if not evidence.seeds:
        return None
    allowed = allowed_errors(evidence.target_pct, evidence.seeds[0].test_size)
    return SeedDots(tuple(run.test_errors for run in evidence.seeds), allowed)


def shared_axis(rows: Iterable[SeedDots]) -> svg.Axis | None:
    """Return the logarithmic axis of errors that all rows of a table are drawn on, None where there is no row."""
    found = list(rows)
    if not found:
        return None
    allowed = max(row.allowed for row in found)
    errors = [errors for row in found for errors in (*row.errors, row.allowed)]
    low = max(min(errors), 1)
    high = max(min(max(errors), _FURTHEST * allowed), low + 1)
    return svg.Axis(low / 1.05, high * 1.05, _MARGIN, WIDTH - _MARGIN, logarithmic=True)


def draw(row: SeedDots, across: svg.Axis) -> Html:
    """Return a dot a seed, those with equal errors on top of each other, and a tick at the errors allowed."""
    middle = HEIGHT / 2
    tick = across.position(max(row.allowed, 1))
    parts = [
        svg.line(_MARGIN, middle, WIDTH - _MARGIN, middle, "axis"),
        svg.line(tick, 1, tick, HEIGHT - 1, "target"),
    ]
    xs = [round(across.position(max(errors, 1)), 1) for errors in row.errors]
    places = Counter(xs)
    step = min(2.5, (middle - _RADIUS) / max(1, max(places.values(), default=1) - 1))
    stacked: Counter[float] = Counter()
    for x, reached in sorted((x, errors <= row.allowed) for x, errors in zip(xs, row.errors, strict=True)):
        parts.append(svg.mark("circle", x, middle - step * stacked[x], "reached" if reached else "short", size=_RADIUS))
        stacked[x] += 1
    words = f"Errors of each seed: {', '.join(map(str, sorted(row.errors)))}. Allowed: {row.allowed}."
    return element(
        "svg",
        element("title", text(words)),
        joined(parts, ""),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="seed-dots",
        role="img",
    )
