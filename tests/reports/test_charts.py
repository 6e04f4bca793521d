"""Charts as files, and their colours, which the style sheet exchanges on dark ground by their values."""

from __future__ import annotations

import re
from importlib import resources

import altair as alt

from reports import charts


def test_a_chart_becomes_a_file_with_its_named_rows():
    marks = alt.Chart(charts.named("rows")).mark_point().encode(x="x:Q", y=charts.accuracy_axis("errors", "accuracy"))
    chart = charts.finished(
        marks, "two points", rows=[{"x": 1, "errors": 0.6}, {"x": 2, "errors": charts.errors_pct(100)}]
    )

    drawn = charts.svg(chart)
    assert drawn.count('aria-roledescription="point"') + drawn.count("<path") >= 2
    assert "99.4" in drawn
    assert charts.png(chart).startswith(b"\x89PNG")


def test_the_style_sheet_exchanges_every_colour_of_the_charts():
    style = resources.files("reports").joinpath("page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--(\w+): (#\w+);", style.partition("@media")[0]))

    for colour in (*charts._SERIES, charts.TEXT):
        assert colour in light.values()
        for paint in ("fill", "stroke"):
            [name] = re.findall(rf'\[{paint}="{colour}"\] \{{ {paint}: var\(--(\w+)\); \}}', style)
            assert light[name] == colour
