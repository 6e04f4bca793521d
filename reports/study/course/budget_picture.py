"""The search over time as a picture: the sizes that it tried, its effective budget, and the lanes of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports.html import svg
from reports.html.page import Html, items, joined
from reports.numbers import count, duration, pct, plural, short
from reports.study.course import worker_lanes_picture
from reports.study.course.effective_budget import EffectiveBudget, Trial, Tried
from reports.study.course.worker_lanes import WorkerLanes
from reports.study.networks import DIGITS

_NO_LANES = WorkerLanes((), 0, None)


def draw(facts: EffectiveBudget, networks: Sequence[Tried] = (), lanes: WorkerLanes = _NO_LANES) -> Html:
    """Return the picture with its legend; nothing where no time has passed."""
    if facts.elapsed <= 0:
        return Html("")
    legend = [svg.key("line", "budget-steps", "largest size still worth trying")]
    if any(item.whole for item in networks):
        legend.append(svg.key("circle", "trained", "trained to the end"))
    if not all(item.whole for item in networks):
        legend.append(svg.key("triangle", "pruned", "stopped early or failed"))
    if any(trial.stands for trial in facts.trials):
        legend.append(svg.key("square", "stands", "confirmed on fresh seeds"))
    if any(not trial.stands for trial in facts.trials):
        legend.append(svg.key("cross", "refuted", "failed confirmation"))
    legend += worker_lanes_picture.legend(lanes)
    return joined(
        [svg.wide_or_narrow(lambda narrow: _picture(facts, networks, lanes, narrow)), items(legend, "legend")]
    )


def _picture(facts: EffectiveBudget, networks: Sequence[Tried], lanes: WorkerLanes, narrow: bool) -> Html:
    unit, seconds = ("hours", 3600) if facts.elapsed > 3 * 3600 else ("minutes", 60)
    sizes = [trial.cost for trial in facts.trials if trial.cost > 0]
    lowest = min([facts.last, *sizes, *(item.cost for item in networks)])
    across = (0.0, max(facts.elapsed, 60.0) / seconds, False)
    area = svg.frame(svg.NARROW if narrow else svg.WIDE, 300, across, (max(lowest, 1) / 1.3, facts.first * 1.15, True))
    ticks = svg.ticks(area.across, short, 4 if narrow else 12)
    numbered = [] if narrow else networks
    # The lanes hang below the names of the axis and share it.
    height = area.height + (worker_lanes_picture.lane_height(lanes) * lanes.lanes + 6 if lanes.lanes else 0)
    return svg.picture(
        replace(area, height=height),
        "budget-picture-narrow" if narrow else "budget-picture",
        "The search over time",
        description(facts, networks, lanes),
        svg.grid(area, ticks, svg.ticks(area.up, count), f"time of search, {unit}", f"{facts.unit} (logarithmic)"),
        *(_dot(area, item, seconds) for item in numbered),
        svg.path(_steps(area, facts, seconds), "budget-steps"),
        *(_mark(area, trial, seconds, facts.unit) for trial in facts.trials),
        worker_lanes_picture.lanes(lanes, area.across, area.height, seconds, numbered=not narrow)
        if lanes.lanes
        else Html(""),
        role="group" if numbered else "img",
        class_="points" if numbered else None,
    )


def description(facts: EffectiveBudget, networks: Sequence[Tried] = (), lanes: WorkerLanes = _NO_LANES) -> str:
    """Return what the picture shows, in words."""
    falls = "; ".join(
        f"{count(trial.budget)} after {duration(trial.elapsed)}" for trial in facts.trials if trial.stands
    )
    refuted = sum(not trial.stands for trial in facts.trials)
    return (
        f"The effective budget began at {count(facts.first)} {facts.unit} and ended at {count(facts.last)} "
        f"after {duration(facts.elapsed)}. It fell to: {falls or 'nothing smaller'}. "
        f"{plural(refuted, 'network')} failed confirmation. First runs that ended: {len(networks)}."
        + (f" {worker_lanes_picture.description(lanes)}" if lanes.bars else "")
    )


def _steps(area: svg.Frame, facts: EffectiveBudget, seconds: float) -> list[tuple[float, float]]:
    levels = [(0.0, facts.first), *((trial.elapsed / seconds, trial.budget) for trial in facts.trials)]
    places = [(area.across.position(elapsed), area.up.position(budget)) for elapsed, budget in levels]
    return svg.staircase(places, area.across.end)


def _dot(area: svg.Frame, item: Tried, seconds: float) -> Html:
    shape, kind = ("circle", "trained") if item.whole else ("triangle", "pruned")
    x, y = area.across.position(item.elapsed / seconds), area.up.position(item.cost)
    return svg.mark(shape, x, y, kind, size=3.0, number=item.number)


def _mark(area: svg.Frame, trial: Trial, seconds: float, unit: str) -> Html:
    words = (
        f"{trial.hash[:DIGITS]}: {count(trial.cost)} {unit}, "
        f"validation {pct(trial.validation_accuracy_pct)} over {plural(trial.validation_seeds or 0, 'fresh seed')}, "
        f"{'confirmed' if trial.stands else 'failed confirmation'} after {duration(trial.elapsed)}"
    )
    shape, class_ = ("square", "stands") if trial.stands else ("cross", "refuted")
    return svg.mark(
        shape,
        area.across.position(trial.elapsed / seconds),
        area.up.position(trial.cost),
        class_,
        words,
    )
