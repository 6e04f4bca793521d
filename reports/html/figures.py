"""Figures of matplotlib: SVG and PNG, the same figure in the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's palette (jfly.uni-koeln.de/color), yellow left out.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#000000")
GRID = "#DDDDDD"
# No date and fixed identifiers, so that the same numbers give the same bytes.
_METADATA = {"svg": {"Date": None, "Creator": "harness"}, "png": {"Software": "harness"}}
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "harness",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere
    "font.size": 10,
    "axes.spines.right": False,
}


def contents(figures: Mapping[str, Callable[[], Figure]]) -> dict[str, bytes]:
    """Return figures, given by name with what draws them, in both formats by the names of their files.

    Whatever settings a person has given matplotlib have no effect.
    """
    made = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        for name, draw in figures.items():
            figure = draw()
            for kind in ("svg", "png"):
                content = io.BytesIO()
                figure.savefig(content, format=kind, dpi=144, metadata=_METADATA[kind])
                made[f"{name}.{kind}"] = content.getvalue()
    return made


def title(figure: Figure, words: str) -> None:
    """Give a figure its title."""
    figure.suptitle(plain(words, 90), fontsize=12, parse_math=False)


def plain(words: str, longest: int) -> str:
    """Return words that the font can show, cut where they are too long; draw them with ``parse_math=False``."""
    line = "".join(mark if mark.isprintable() else "?" for mark in words.encode("ascii", "replace").decode())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
