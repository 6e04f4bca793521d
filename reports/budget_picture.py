"""The sizes that a search tried over time, and its effective budget, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from reports import svg
from reports.effective_budget import EffectiveBudget, Trial, Tried
from reports.numbers import count, duration, pct, plural, short
from reports.page import Html, element, items, joined, text


def draw(facts: EffectiveBudget, networks: Sequence[Tried] = ()) -> Html:
    """Return the picture with its legend, or a sentence where no time has passed."""
    if facts.elapsed <= 0:
        return element("p", text(f"The budget is {plural(facts.first, 'parameter')}; no time has passed yet."))
    unit, seconds = ("hours", 3600) if facts.elapsed > 3 * 3600 else ("minutes", 60)
    sizes = [trial.parameters for trial in facts.trials if trial.parameters > 0]
    lowest = min([facts.last, *sizes, *(item.parameters for item in networks)])
    area = svg.frame(1120, 340, (0.0, facts.elapsed / seconds, False), (max(lowest, 1) / 1.3, facts.first * 1.15, True))
    ticks = [svg.Tick(value, short(value)) for value in svg.linear_ticks(0.0, facts.elapsed / seconds)]
    powers = [svg.Tick(value, count(value)) for value in svg.log_ticks(area.up.low, area.up.high, 7)]
    image = svg.picture(
        area,
        "budget-picture",
        "The search over time",
        description(facts, networks),
        svg.grid(area, ticks, powers, f"time of search, {unit}", "parameters (logarithmic)"),
        *(_dot(area, item, seconds) for item in networks),
        svg.path(_steps(area, facts, seconds), "budget-steps"),
        *(_mark(area, trial, seconds) for trial in facts.trials),
        role="group" if networks else "img",
        class_="points" if networks else None,
    )
    legend = [svg.key("line", "budget-steps", "effective budget")]
    if any(item.whole for item in networks):
        legend.append(svg.key("circle", "trained", "trained to the end"))
    if not all(item.whole for item in networks):
        legend.append(svg.key("triangle", "pruned", "pruned or ended early"))
    if any(trial.stands for trial in facts.trials):
        legend.append(svg.key("square", "on-front", "stood on fresh validation seeds"))
    if any(not trial.stands for trial in facts.trials):
        legend.append(svg.key("cross", "refuted", "refuted on fresh validation seeds"))
    return joined([image, items(legend, class_="legend")])


def description(facts: EffectiveBudget, networks: Sequence[Tried] = ()) -> str:
    """Return what the picture shows, in words."""
    falls = "; ".join(
        f"{count(trial.budget)} after {duration(trial.elapsed)}" for trial in facts.trials if trial.stands
    )
    refuted = sum(not trial.stands for trial in facts.trials)
    return (
        f"The effective budget began at {count(facts.first)} parameters and ended at {count(facts.last)} "
        f"after {duration(facts.elapsed)}. It fell to: {falls or 'nothing smaller'}. "
        f"{plural(refuted, 'network')} refuted on fresh seeds. First runs that ended: {len(networks)}."
    )


def _steps(area: svg.Frame, facts: EffectiveBudget, seconds: float) -> list[tuple[float, float]]:
    levels = [(0.0, facts.first), *((trial.elapsed / seconds, trial.budget) for trial in facts.trials)]
    places = [(area.across.position(elapsed), area.up.position(budget)) for elapsed, budget in levels]
    return svg.staircase(places, area.across.end)


def _dot(area: svg.Frame, item: Tried, seconds: float) -> Html:
    shape, kind = ("circle", "trained") if item.whole else ("triangle", "pruned")
    x, y = area.across.position(item.elapsed / seconds), area.up.position(item.parameters)
    return svg.mark(shape, x, y, kind, size=3.0, number=item.number)


def _mark(area: svg.Frame, trial: Trial, seconds: float) -> Html:
    words = (
        f"{trial.hash}: {plural(trial.parameters, 'parameter')}, validation {pct(trial.validation_accuracy_pct)} over "
        f"{plural(trial.validation_seeds or 0, 'fresh seed')}, {'stands' if trial.stands else 'refuted'} after "
        f"{duration(trial.elapsed)}"
    )
    shape, class_ = ("square", "on-front") if trial.stands else ("cross", "refuted")
    return svg.mark(
        shape,
        area.across.position(trial.elapsed / seconds),
        area.up.position(trial.parameters),
        class_,
        words,
    )
