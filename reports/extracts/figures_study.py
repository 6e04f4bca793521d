"""The figures of a study, with matplotlib: accuracy over size, the budget over time, where the proposals went."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from harness.system import files
from reports.html import figures, svg
from reports.html.figures import GRID
from reports.html.page import style
from reports.html.svg import FEWEST_ERRORS_PCT, errors_pct
from reports.numbers import count, short
from reports.study.search_course import Kind, Point
from reports.study.study_info import StudyInfo

# Those of the report on light ground.
_COLOURS = dict(re.findall(r"--(\w+): (#\w+);", style().partition("@media")[0]))
_SIZE = (9, 5)
_MARKS: dict[Kind, dict[str, Any]] = {
    Kind.TRAINED: {"marker": "o", "color": _COLOURS["trained"], "label": "trained, validation accuracy"},
    Kind.PRUNED: {
        "marker": "v",
        "color": _COLOURS["pruned"],
        "markerfacecolor": "white",
        "label": "pruned, validation accuracy when stopped",
    },
    Kind.TESTED: {"marker": "D", "color": _COLOURS["tested"], "label": "mean test accuracy, trained on all images"},
}


def write_figures(info: StudyInfo, folder: Path) -> list[Path]:
    """Write the figures of a study below ``folder`` and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    made = figures.contents(
        {
            "accuracy": lambda: accuracy_figure(info),
            "budget": lambda: budget_figure(info),
            "proposals": lambda: proposals_figure(info),
        }
    )
    files.write_together({folder / name: content for name, content in made.items()})
    return [folder / name for name in made]


def accuracy_figure(info: StudyInfo) -> Figure:
    """Return what is minimised against accuracy, with the front, the target, the threshold and the budget."""
    facts = info.picture
    figure, axes = _begun(f"{info.name}: {facts.unit} against accuracy")
    for kind in Kind:
        points = [point for point in facts.points if point.kind is kind]
        if points:
            _draw(axes, points, _MARKS[kind])
    front = facts.front
    if front:
        sizes = [point.cost for point in front]
        axes.step(
            [*sizes, info.config.ceiling],
            [*(errors_pct(point.accuracy_pct) for point in front), errors_pct(front[-1].accuracy_pct)],
            where="post",
            color=_COLOURS["front"],
            label="Pareto front of validation",
        )
    axes.axhline(
        errors_pct(info.config.target_pct),
        color=_COLOURS["text"],
        linewidth=1,
        label=f"target {short(info.config.target_pct)} %",
    )
    axes.axhline(
        errors_pct(info.config.threshold_pct),
        color=_COLOURS["trained"],
        linewidth=1,
        linestyle=(0, (6, 3)),
        label=f"threshold {short(info.config.threshold_pct)} %, validation",
    )
    axes.axvline(info.config.ceiling, color=_COLOURS["budget"], linestyle=(0, (2, 2)), label=facts.bound_words)
    axes.set(xscale="log", yscale="log", xlabel=facts.unit, ylabel="accuracy, % (errors logarithmic)")
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    _label(axes.xaxis, low, high, count)
    low, high = sorted(axes.get_ylim())
    _label(axes.yaxis, low, high, lambda value: short(round(100 - value, 6)), most=12)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def budget_figure(info: StudyInfo) -> Figure:
    """Return how the effective budget fell."""
    facts = info.budget
    unit, seconds = ("hours", 3600) if facts.elapsed > 3 * 3600 else ("minutes", 60)
    figure, axes = _begun(f"{info.name}: effective budget over time")
    at = [0.0, *(trial.elapsed / seconds for trial in facts.trials), facts.elapsed / seconds]
    levels = [facts.first, *(trial.budget for trial in facts.trials), facts.last]
    axes.step(at, levels, where="post", color=_COLOURS["budget"], label="effective budget")
    for stands, marker, colour, words in (
        (True, "s", _COLOURS["good"], "confirmed on fresh validation seeds"),
        (False, "x", _COLOURS["bad"], "failed on fresh validation seeds"),
    ):
        found = [trial for trial in facts.trials if trial.stands is stands and trial.cost > 0]
        if found:
            places = [trial.elapsed / seconds for trial in found], [trial.cost for trial in found]
            axes.plot(*places, linestyle="none", marker=marker, color=colour, label=words)
    axes.set(yscale="log", xlabel=f"time of search, {unit}", ylabel=facts.unit, xlim=(0, None))
    low, high = sorted(axes.get_ylim())
    _label(axes.yaxis, max(low, 0.5), high, count)
    axes.legend(loc="best", fontsize=8)
    return figure


def proposals_figure(info: StudyInfo) -> Figure:
    """Return where the proposals went: rejected by reason, repeated, and trained by how that ended."""
    facts = info.accounting
    figure, axes = _begun(f"{info.name}: where the proposals went")
    bars = [(f"rejected: {share.name}", share.count, _COLOURS["bad"]) for share in facts.rejections]
    bars += [("repeated", facts.repeated, _COLOURS["pruned"])] if facts.repeated else []
    bars += [(f"runs, {share.name}", share.count, _COLOURS["trained"]) for share in facts.outcomes]
    names = [figures.plain(name, 60) for name, _, _ in bars]
    drawn = axes.barh(range(len(bars)), [number for _, number, _ in bars], color=[colour for _, _, colour in bars])
    axes.bar_label(drawn, [count(number) for _, number, _ in bars], padding=3)
    axes.set_yticks(range(len(bars)), names, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="proposals, and runs of those that were trained")
    if not bars:
        axes.text(0.5, 0.5, "nothing proposed yet", transform=axes.transAxes, ha="center")
    return figure


def _begun(words: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    figures.title(figure, words)
    axes = figure.subplots()
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["top"].set_visible(False)
    return figure, axes


def _draw(axes: Any, points: list[Point], style: dict[str, Any]) -> None:
    errors = [errors_pct(point.accuracy_pct) for point in points]
    deviations = [point.deviation_pct or 0.0 for point in points]
    # Below, the bar of a very accurate network must not reach 0.
    down = [min(deviation, error - FEWEST_ERRORS_PCT) for deviation, error in zip(deviations, errors, strict=True)]
    sizes = [point.cost for point in points]
    axes.errorbar(sizes, errors, (down, deviations), linestyle="none", markersize=5, elinewidth=0.8, **style)


def _label(axis: Any, low: float, high: float, words: Any, most: int = 9) -> None:
    """Label a logarithmic axis at round values."""
    axis.set_major_locator(FixedLocator(svg.log_ticks(low, high, most)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_formatter(NullFormatter())
