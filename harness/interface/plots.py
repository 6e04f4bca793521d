"""Figures for notebooks and papers, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spaces.space import OBJECTIVES
from harness.system.errors import UsageError
from harness.system.files import check_writable, write_together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.studies.config import StudyConfig

_FORMATS = (".png", ".svg", ".pdf")
_SIZE = (6.4, 3.84)  # inches; the width is the default of matplotlib


def study_figure(title: str, config: StudyConfig, points: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """Return a scatter plot of the networks of a study, validation accuracy over cost.

    ``points`` has cost and validation accuracy (per cent) of each network, by at most three kinds such as
    ``confirmed``.
    """
    figure, axes = empty_figure()
    for (kind, members), marker in zip(points.items(), "o^*", strict=False):
        costs = [cost for cost, _ in members]
        accuracies = [accuracy for _, accuracy in members]
        axes.scatter(costs, accuracies, marker=marker, label=f"{kind} ({len(members)})")
    axes.axhline(config.threshold_pct, linestyle="--", label=f"threshold {config.threshold_text}")
    axes.set(xscale="log", xlabel=OBJECTIVES[config.minimised[0]], ylabel="validation accuracy, %", title=title)
    axes.legend()
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format given by the suffix of its path.

    Raises:
        UsageError: The suffix is none of .png, .svg and .pdf, or the folder cannot be written.
    """
    from io import BytesIO

    if path.suffix not in _FORMATS:
        raise UsageError(f"{path}: allowed suffixes of a figure are {', '.join(_FORMATS)}")
    check_writable(path.parent)
    content = BytesIO()
    figure.savefig(content, format=path.suffix[1:])
    write_together({path: content.getvalue()})


def empty_figure() -> tuple[Figure, Any]:
    """Return a figure of the common size, and its axes."""
    from matplotlib.figure import Figure

    # Without pyplot, whose state belongs to the caller.
    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, figure.subplots()
