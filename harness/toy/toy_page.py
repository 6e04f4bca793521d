"""Outputs of the toy network: an interactive offline page, a live spreadsheet, and a figure of the learning rates.

The script of the page (``toy.html``) repeats the arithmetic of Python. The workbook (``toy.xlsx``) uses EXP, IF,
arithmetic and cell references only, so that all spreadsheet programs give equal results; each formula cell stores the
value computed by Python.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import altair as alt
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from harness.pages import charts
from harness.pages.render import page
from harness.toy import backprop

_UPDATES = 1_000  # of the workbook, of the figure and of the final losses
_FIRST_RATE = 0.5  # with which page and workbook open


def contents() -> dict[str, bytes]:
    """Return the page, the workbook and the figure of the learning rates (SVG and PNG), by file name."""
    chart = _rates_chart({rate: backprop.losses(backprop.START, rate, _UPDATES) for rate in backprop.LEARNING_RATES})
    return {
        "toy.html": render().encode(),
        "toy.xlsx": _workbook(backprop.START, _FIRST_RATE),
        "learning-rates.svg": charts.svg(chart).encode(),
        "learning-rates.png": charts.png(chart),
    }


def render() -> str:
    """Return the HTML of the page."""
    quantities = backprop.forward_and_backward(backprop.START)
    numbers = quantities | {"learning_rate": _FIRST_RATE}
    return page(
        "toy.html",
        package="harness.toy",
        styles=["toy.css"],
        scripts=["toy.js"],
        data={"start": backprop.START},
        rate=_FIRST_RATE,
        final_losses={rate: backprop.losses(backprop.START, rate, _UPDATES)[-1] for rate in backprop.LEARNING_RATES},
        updates=_UPDATES,
        start=backprop.START,
        numbers=numbers,
        start_after_update=backprop.update(quantities, _FIRST_RATE),
        tables={"forward": backprop.FORWARD, "backward": backprop.BACKWARD, "update": backprop.UPDATE},
        put_in=lambda formula: backprop.with_numbers(formula, numbers),
    )


def _rates_chart(curves: Mapping[float, Sequence[float]]) -> Any:
    rows: list[charts.Row] = []
    for rate, curve in curves.items():
        points = list(enumerate(curve))[::5]  # enough for a smooth line
        rows += [{"learning rate": str(rate), "updates": updates, "loss": loss} for updates, loss in points]
    layer = charts.chart_of("curves").mark_line(strokeWidth=1.8)
    layer = layer.encode(
        x="updates:Q",
        y=alt.Y("loss:Q", scale=alt.Scale(type="log"), title="E_total"),
        color=alt.Color("learning rate:N", legend=alt.Legend(title="learning rate")),
        strokeDash="learning rate:N",
    )
    return charts.finish(layer, "Loss of the toy network over the updates, by learning rate.", curves=rows)


# The workbook ---------------------------------------------------------------------------------------------------------

_FIRST_ROW = 5  # row of iteration 0 on the sheet Training, counted from 1
_COLUMNS = ("iteration", *backprop.WEIGHTS, *backprop.FORWARD, *backprop.BACKWARD)  # columns of the sheet Training
# Cells of the sheet Inputs.
_INPUT_CELLS = {
    "learning_rate": "B4",
    **{name: f"B{row}" for row, name in enumerate(backprop.EXAMPLE, start=7)},
    **{name: f"B{row}" for row, name in enumerate(backprop.WEIGHTS, start=13)},
}
# EXP overflows above about 709, so no branch takes the exponential of a positive number. ``_write_training`` replaces
# ``exp``, as written in ``FORWARD``, by EXP.
_SIGMOID = "IF({0} < 0, exp({0}) / (1 + exp({0})), 1 / (1 + exp(-{0})))"
_FORMULAS = (
    backprop.FORWARD | {f"a_{unit}": _SIGMOID.format(unit) for unit in ("h1", "h2", "o1", "o2")} | backprop.BACKWARD
)
# Units that each weight connects, in the order of ``WEIGHTS``.
_CONNECTIONS = ("i1 h1", "i2 h1", "i1 h2", "i2 h2", "a_h1 o1", "a_h2 o1", "a_h1 o2", "a_h2 o2")
# In column C of the sheet Inputs.
_MEANINGS = {
    "learning_rate": "choose from the list or enter any number",
    "i1": "first input",
    "i2": "second input",
    "t1": "target of a_o1",
    "t2": "target of a_o2",
    **{name: f"from {' to '.join(pair.split())}" for name, pair in zip(backprop.WEIGHTS, _CONNECTIONS, strict=True)},
}
_NOTES = (
    "Change the blue numbers on yellow; all remaining cells and both charts follow.",
    "Sheet Training has one row per iteration; from left to right: weights, forward pass, backward pass.",
    "dE_dw1 is the partial derivative of E_total with respect to w1. Next row: w1 - learning_rate * dE_dw1.",
    "Row 3 of Training shows the formula of each column. The workbook has no macros and uses only EXP and IF.",
    "IF selects the form of the sigmoid by the sign of the input, so that EXP never overflows.",
    "The print range of Training is the first 50 updates.",
    "Above a rate of about 90 the first update overshoots both targets; from about 200 the weights then stay constant.",
)
_FORMATS: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 14},
    "heading": {"bold": True, "bottom": 1},
    "column": {"bold": True, "align": "right", "bottom": 1},
    "formula": {"italic": True, "font_color": "#555555", "text_wrap": True, "valign": "bottom", "font_size": 8},
    "note": {"font_color": "#555555"},
    "input": {"font_color": "#0000FF", "bg_color": "#FFF8D6", "border": 1},
    "number": {"num_format": "0.000000000"},
}


def _workbook(start: Mapping[str, float], learning_rate: float) -> bytes:
    content = io.BytesIO()
    book = xlsxwriter.Workbook(content, {"in_memory": True})
    # Otherwise equal inputs would not give equal bytes.
    book.set_properties({"title": "Backpropagation on eight weights", "created": datetime(2000, 1, 1)})
    formats = {name: book.add_format(properties) for name, properties in _FORMATS.items()}
    inputs = book.add_worksheet("Inputs")
    training = book.add_worksheet("Training")
    _write_inputs(inputs, formats, start, learning_rate)
    _write_training(training, formats, start, learning_rate)
    inputs.insert_chart("D6", _chart(book, is_logarithmic=False))
    inputs.insert_chart("D25", _chart(book, is_logarithmic=True))
    inputs.activate()
    book.close()
    return content.getvalue()


def _write_inputs(sheet: Any, formats: Mapping[str, Any], start: Mapping[str, float], learning_rate: float) -> None:
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)  # a single page wide
    for column, width in enumerate((16, 12, 44)):
        sheet.set_column(column, column, width)
    sheet.write("A1", "Backpropagation on a network of eight weights", formats["title"])
    sheet.write("A2", _NOTES[0], formats["note"])
    for cell, title in (("A6", "Example"), ("A12", "First weights"), ("A22", "Results")):
        sheet.write(cell, title, formats["heading"])
    for name, cell in _INPUT_CELLS.items():
        row = int(cell[1:]) - 1
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, {"learning_rate": learning_rate, **start}[name], formats["input"])
        sheet.write(row, 2, _MEANINGS[name], formats["note"])
    sheet.data_validation(
        _INPUT_CELLS["learning_rate"],
        {
            "validate": "list",
            "source": list(backprop.LEARNING_RATES),
            # Only a warning: other rates are allowed.
            "error_type": "information",
            "error_title": "Learning rate not in the list",
            "error_message": "Any number is allowed: 0 learns nothing, below 0 the loss rises, above 90 the first "
            "update overshoots, from 200 the weights then stay constant.",
        },
    )
    loss_after = backprop.losses(start, learning_rate, _UPDATES)
    column = xl_col_to_name(_COLUMNS.index("E_total"))  # of the sheet Training
    # Counted from 0: below the heading in A22.
    for row, updates in enumerate((0, 1, 10, 100, _UPDATES), start=22):
        sheet.write(row, 0, f"loss after {updates:,}")
        sheet.write_formula(row, 1, f"=Training!{column}{_FIRST_ROW + updates}", formats["number"], loss_after[updates])
    for row, note in enumerate(_NOTES[1:], start=44):  # below the charts
        sheet.write(row, 0, note, formats["note"])


def _write_training(sheet: Any, formats: Mapping[str, Any], start: Mapping[str, float], learning_rate: float) -> None:
    sheet.write(0, 0, "One row per iteration; all values are computed from the sheet Inputs.")
    first_column = 1
    for title, names in (
        ("weights", backprop.WEIGHTS),
        ("forward pass", backprop.FORWARD),
        ("backward pass", backprop.BACKWARD),
    ):
        sheet.merge_range(1, first_column, 1, first_column + len(names) - 1, title, formats["heading"])
        first_column += len(names)
    # The formulas of the documents; the cells below compute the sigmoid without overflow.
    formula_texts = (
        {name: f"next: {formula}" for name, formula in backprop.UPDATE.items()} | backprop.FORWARD | backprop.BACKWARD
    )
    for column, name in enumerate(_COLUMNS):
        sheet.write(2, column, formula_texts.get(name, ""), formats["formula"])
        sheet.write(3, column, name, formats["column"])
    sheet.set_row(2, 48)
    sheet.set_column(0, 0, 10)
    sheet.set_column(1, len(_COLUMNS) - 1, 15)
    sheet.freeze_panes(4, 1)
    # Four A4 pages; on fewer, the columns would be too small to read.
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(4, 0)
    sheet.repeat_rows(2, 3)
    sheet.repeat_columns(0)
    sheet.print_area(0, 0, _FIRST_ROW - 1 + 50, len(_COLUMNS) - 1)
    letters = {name: xl_col_to_name(column) for column, name in enumerate(_COLUMNS)}
    input_cells = {name: f"Inputs!${cell[0]}${cell[1:]}" for name, cell in _INPUT_CELLS.items()}
    for iteration, quantities in enumerate(islice(backprop.train(start, learning_rate), _UPDATES + 1)):
        row = _FIRST_ROW + iteration
        sheet.write_number(row - 1, 0, iteration)
        # Later entries replace earlier entries: weights refer to the sheet Training, all else to Inputs.
        cells_of_row = {"exp": "EXP", **input_cells, **{name: f"{letter}{row}" for name, letter in letters.items()}}
        cells_above = input_cells | {name: f"{letter}{row - 1}" for name, letter in letters.items()}
        for column, name in enumerate(_COLUMNS[1:], start=1):
            if name in _FORMULAS:
                formula = backprop.with_names(_FORMULAS[name], cells_of_row)
            else:  # a weight
                formula = backprop.with_names(backprop.UPDATE[name], cells_above) if iteration else input_cells[name]
            sheet.write_formula(row - 1, column, f"={formula}", formats["number"], quantities[name])


def _chart(book: Any, *, is_logarithmic: bool) -> Any:
    column = _COLUMNS.index("E_total")
    first_row = _FIRST_ROW - 1
    last_row = first_row + _UPDATES
    chart = book.add_chart({"type": "scatter", "subtype": "straight"})
    chart.add_series(
        {
            "name": "E_total",
            "categories": ["Training", first_row, 0, last_row, 0],
            "values": ["Training", first_row, column, last_row, column],
            "line": {"color": "#0072B2", "width": 2},
        }
    )
    title = "Loss, logarithmic" if is_logarithmic else "Loss"
    loss_axis = {"num_format": "0.0E+00", "log_base": 10} if is_logarithmic else {}
    chart.set_title({"name": title, "name_font": {"size": 12}})
    chart.set_x_axis({"name": "updates", "min": 0, "max": _UPDATES, "major_gridlines": {"visible": False}})
    chart.set_y_axis({"name": "E_total", **loss_axis})
    chart.set_legend({"none": True})
    chart.set_size({"width": 620, "height": 360})
    return chart
