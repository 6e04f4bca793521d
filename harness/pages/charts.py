"""Parts of the Altair charts of all pages: colours, axes, legends, tooltips and file formats.

The colours equal the light theme of ``page.css``, which replaces the colours in the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import altair as alt
import vl_convert

from harness.pages.render import specification


class Colour(StrEnum):
    """Colours of the series of a chart, in this order, and of texts."""

    BLUE = "#0072b2"
    ORANGE = "#c14a00"
    PURPLE = "#8a4a80"
    NAVY = "#1d3f8a"
    GREEN = "#10693a"
    AMBER = "#7a4b00"
    RED = "#a3271b"
    GREY = "#6f7a84"
    TEXT = "#1b2127"


Row = Mapping[str, Any]

_TEXTS = {
    "labelColor": Colour.TEXT,
    "titleColor": Colour.TEXT,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
# Vega hides labels that touch; without a separation, the outermost labels, which move inwards, still overlap.
_TICKS = {"labelOverlap": True, "labelSeparation": 8}  # pixels
# A single column on a narrow screen. The signal ``width`` changes after the layout of legends.
_LEGEND_COLUMNS = "(containerSize()[0] < 640 ? 1 : 3)"
_LEGEND_LABELS = {
    "columns": {"expr": _LEGEND_COLUMNS},
    "labelLimit": {"expr": f"containerSize()[0] / {_LEGEND_COLUMNS} - 90"},  # pixels
}
_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "system-ui, sans-serif",
    "aria": False,  # screen readers would read out each of a thousand points
    "mark": {"aria": False},
    "autosize": {"type": "fit", "contains": "padding"},
    "view": {"stroke": None},
    "axis": {**_TEXTS, **_TICKS, "gridColor": "#d3dae0", "domainColor": Colour.GREY, "tickColor": Colour.GREY},
    # A label that exceeds the axis by more would be cut off.
    "axisX": {"labelBound": 5},  # pixels
    "legend": {**_TEXTS, **_LEGEND_LABELS, "orient": "top", "title": None, "symbolSize": 90},
    "range": {"category": [colour for colour in Colour if colour is not Colour.TEXT]},
}
DASHED: dict[str, Any] = {"strokeDash": [6, 4], "color": Colour.TEXT}


def svg(chart: Any, width: int = 760) -> str:
    """Return a chart as SVG, ``width`` pixels wide."""
    return vl_convert.vegalite_to_svg(specification(chart.properties(width=width)))


def png(chart: Any, width: int = 760) -> bytes:
    """Return a chart as PNG, ``2 * width`` pixels wide."""
    return vl_convert.vegalite_to_png(specification(chart.properties(width=width)), scale=2)


def finished(chart: Any, description: str, height: int = 320, **datasets: Sequence[Row]) -> Any:
    """Return a chart as wide as the page; ``datasets`` are the named tables of rows."""
    result = chart.properties(width="container", height=height, description=description).configure(**_CONFIG)
    if datasets:
        result.datasets = datasets  # Altair would check every value
    return result


def chart_of(rows: Iterable[Row] | str) -> alt.Chart:
    """Return a chart of rows, or of the named table of rows (``finished``)."""
    return alt.Chart(alt.NamedData(name=rows) if isinstance(rows, str) else alt.InlineData(values=list(rows)))


def zoom() -> alt.Parameter:
    """Return the selection that zooms by a wheel with Shift."""
    return alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")


def errors_pct(accuracy_pct: float) -> float:
    """Return the errors in per cent, at least 0.05, because zero errors have no logarithm."""
    # ``max`` returns a NaN that comes first.
    return max(100 - accuracy_pct, 0.05)


def accuracy_axis(title: str) -> Any:
    """Return an axis for ``errors`` in per cent: logarithmic in the errors, labelled with accuracies.

    The distance from 99.4 to 99.7 equals the distance from 98 to 99.
    """
    scale = alt.Scale(type="log", reverse=True, nice=False, padding=18)
    return alt.Y(
        "errors:Q",
        scale=scale,
        title=f"{title} (errors logarithmic)",
        axis=alt.Axis(labelExpr="format(100 - datum.value, '.6~r')"),
    )


def log_axis(channel: type[Any], field: str, title: str) -> Any:
    """Return a logarithmic axis of counts above 0, as a 0 would move all marks to the corner.

    ``channel`` is ``alt.X`` or ``alt.Y``.
    """
    scale = alt.Scale(type="log", nice=False, padding=16)
    return channel(f"{field}:Q", scale=scale, title=f"{title} (logarithmic)", axis=alt.Axis(format=",d", tickCount=8))


def point_styles(field: str, kinds: Mapping[str, tuple[str, str]], present: Iterable[object]) -> Any:
    """Return colour and shape channels of ``field``, with a legend of the ``present`` kinds.

    ``kinds`` has colour and shape of each kind, in the order of the legend.
    """
    names = set(present)
    legend = alt.Legend(values=[kind for kind in kinds if kind in names])
    colours, shapes = zip(*kinds.values(), strict=True)
    return {
        "color": alt.Color(f"{field}:N", scale=alt.Scale(domain=list(kinds), range=list(colours)), legend=legend),
        "shape": alt.Shape(f"{field}:N", scale=alt.Scale(domain=list(kinds), range=list(shapes)), legend=legend),
    }


def tooltips(*fields: str) -> list[alt.Tooltip]:
    """Return tooltips of fields, written as ``FIELD|TITLE|FORMAT``; title and format may be missing."""
    channels = []
    for field in fields:
        name, title, number_format = [*field.split("|"), "", ""][:3]
        channels.append(alt.Tooltip(name, title=title or alt.Undefined, format=number_format or alt.Undefined))
    return channels
