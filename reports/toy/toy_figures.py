"""The pictures of the toy's learning rates, with matplotlib, as SVG and PNG: six curves, and a map of all rates.

The map goes beyond the documents' rates: it shows the loss after so many updates for every rate from 0.001 to 1,000,
so one sees where a larger step stops helping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, losses
from reports.html import figures
from reports.html.figures import COLOURS, GRID
from reports.toy.toy_curves import references, spread

UPDATES = 1_000
COUNTS = (1, 10, 100, 1_000)
RATES_PER_DECADE = 20
# Line styles tell the lines apart without colour.
_STYLES = ("-", (0, (7, 2)), (0, (4, 2)), (0, (2, 1.3)), (0, (7, 2, 1.5, 2)), (0, (1, 1.5)))
_LOWEST = 1e-8


@dataclass(frozen=True, slots=True)
class RateMap:
    """Losses over learning rates and updates.

    Attributes:
        learning_rates: equal ratios apart.
        losses: one curve a rate, before the first update and after each.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]

    def after(self, updates: int) -> list[float]:
        """Return the loss of each rate after so many updates."""
        return [curve[updates] for curve in self.losses]

    def best(self, updates: int) -> tuple[float, float]:
        """Return the rate with the smallest loss after so many updates, and that loss."""
        return min(zip(self.learning_rates, self.after(updates), strict=True), key=lambda pair: pair[1])


def rate_map() -> RateMap:
    """Train at every rate from 0.001 to 1,000."""
    rates = tuple(
        10 ** (number / RATES_PER_DECADE) for number in range(-3 * RATES_PER_DECADE, 3 * RATES_PER_DECADE + 1)
    )
    return RateMap(rates, tuple(tuple(losses(WEIGHTS, EXAMPLE, rate, UPDATES)) for rate in rates))


def contents() -> dict[str, bytes]:
    """Return both pictures in both formats by the names of their files."""
    return figures.contents({"learning-rates": curves_figure, "learning-rate-map": lambda: map_figure(rate_map())})


def curves_figure() -> Figure:
    """Return the six curves, once with a linear and once with a logarithmic loss."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("Loss of the toy for six learning rates", fontsize=13)
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        axes.set_yscale(scale)
        axes.set(xlabel="updates", ylabel=f"E_total{', logarithmic' if scale == 'log' else ''}", xlim=(0, UPDATES))
        axes.set_ylim((1e-4, 0.4) if scale == "log" else (0, 0.26))
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines["top"].set_visible(False)
        for curve, colour, line in zip(references().values(), COLOURS, _STYLES, strict=True):
            axes.plot(curve, color=colour, linestyle=line, linewidth=1.8)
        _label_ends(axes, [curve[-1] for curve in references().values()])
    return figure


def map_figure(found: RateMap) -> Figure:
    """Return the loss after 1, 10, 100 and 1,000 updates over the rate, and after any number of them as a map."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    figure.suptitle("Where a larger learning rate stops helping", fontsize=13)
    lines, area = figure.subplots(1, 2)
    _draw_lines(lines, found)
    _draw_area(figure, area, found)
    return figure


def _label_ends(axes: Any, ends: Sequence[float]) -> None:
    """Write each rate at the end of its line; labels that would touch move up."""
    place = axes.transData.transform
    back = axes.transData.inverted().transform
    axes.figure.canvas.draw()
    pixels = [-float(place((UPDATES, end))[1]) for end in ends]
    moved = spread(pixels, 0.135 * axes.figure.dpi, 0.0)
    for rate, end, pixel, colour in zip(LEARNING_RATES, ends, moved, COLOURS, strict=True):
        height = float(back((0, -pixel))[1])
        axes.plot((UPDATES, UPDATES * 1.04), (end, height), color=colour, linewidth=0.8, clip_on=False)
        axes.text(UPDATES * 1.05, height, str(rate), va="center")


def _draw_lines(axes: Any, found: RateMap) -> None:
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="E_total, logarithmic", xlim=(1e-3, 1e3))
    axes.set_ylim(_LOWEST / 3, 0.6)
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines["top"].set_visible(False)
    for updates, colour, line in zip(COUNTS, COLOURS, _STYLES, strict=False):
        rate, loss = found.best(updates)
        words = f"{updates:,} update{'s' * (updates > 1)}: best {loss:.2g} at {rate:.3g}"
        axes.plot(found.learning_rates, found.after(updates), color=colour, linestyle=line, linewidth=1.8, label=words)
        axes.plot([rate], [loss], "o", color=colour, markersize=5)
    axes.legend(loc="lower left", frameon=False, title=f"best of {RATES_PER_DECADE} rates a decade")
    axes.annotate(
        "overshot:\nno slope\nleft",
        (1e3, 1e-4),
        (-2, -6),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
    )


def _draw_area(figure: Figure, axes: Any, found: RateMap) -> None:
    # The loss before the first update is the same everywhere, and a logarithmic axis has no 0.
    heights = [[curve[updates] for curve in found.losses] for updates in range(1, UPDATES + 1)]
    shade = LogNorm(_LOWEST, 0.3)
    mesh = axes.pcolormesh(
        found.learning_rates, range(1, UPDATES + 1), heights, norm=shade, cmap="cividis", rasterized=True
    )
    # Without 0.0001, the loss of the plateau: rounding alone would draw that line.
    levels = [10.0**power for power in range(-7, 0) if power != -4]
    contours = axes.contour(
        found.learning_rates, range(1, UPDATES + 1), heights, levels, colors="white", linewidths=0.8
    )
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="updates", ylim=(1, UPDATES))
    figure.colorbar(mesh, ax=axes, label="E_total").add_lines(contours)
