"""``toy.xlsx``: the toy as a spreadsheet that is alive, one row an iteration and one column a quantity.

Only EXP, IF, arithmetic and cell references, so that every spreadsheet program agrees. Each formula carries the value
that Python computed, for those programs that show a file without calculating it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name

from harness.toy.backprop import BACKWARD, EXAMPLE, FORWARD, LEARNING_RATES, UPDATE, WEIGHTS, losses, train, with_names

UPDATES = 1_000
_FIRST_ROW = 5
"""The row of iteration 0 on the sheet Training, counted from 1 as spreadsheets do."""
COLUMNS = ("iteration", *WEIGHTS, *FORWARD, *BACKWARD)
PRINTED_UPDATES = 50
# Where the inputs stand on the sheet Inputs.
_INPUT_CELLS = {
    "learning_rate": "B4",
    **{name: f"B{row}" for row, name in enumerate(EXAMPLE, start=7)},
    **{name: f"B{row}" for row, name in enumerate(WEIGHTS, start=13)},
}

# EXP overflows above some 709, so a sigmoid takes its exponential of the side that is not positive.
_SIGMOID = "IF({0} < 0, exp({0}) / (1 + exp({0})), 1 / (1 + exp(-{0})))"
_SIGMOIDS = {f"a_{unit}": _SIGMOID.format(unit) for unit in ("h1", "h2", "o1", "o2")}
_MEANINGS = {
    "learning_rate": "the step: choose from the list, or type any other number",
    "i1": "first input",
    "i2": "second input",
    "t1": "what a_o1 should be",
    "t2": "what a_o2 should be",
    "w1": "from i1 to h1",
    "w2": "from i2 to h1",
    "w3": "from i1 to h2",
    "w4": "from i2 to h2",
    "w5": "from a_h1 to o1",
    "w6": "from a_h2 to o1",
    "w7": "from a_h1 to o2",
    "w8": "from a_h2 to o2",
}
_NOTES = (
    "Blue on yellow is yours to change: everything else follows, the chart too.",
    "Sheet Training: row by row, one iteration; from left to right, the weights, the forward pass, the backward pass.",
    "dE_dw1 is the partial derivative of E_total with respect to w1. The next row's w1 is w1 - learning_rate * dE_dw1.",
    "Row 3 of Training shows each column's formula in words. No macros, no functions but EXP and IF.",
    "With IF a sigmoid has two forms, one for each sign, so that EXP never overflows.",
    f"Training prints its first {PRINTED_UPDATES} updates; for more, change the print range.",
    "Beyond a learning rate of some 90 the first update passes both targets; from some 200 on nothing moves after it.",
)

_BELOW_THE_CHARTS = 44


def workbook(start: Mapping[str, float], learning_rate: float) -> bytes:
    """Return the file for these inputs."""
    content = io.BytesIO()
    book = xlsxwriter.Workbook(content, {"in_memory": True})
    # A fixed date, so that the same numbers give the same bytes.
    book.set_properties({"title": "Backpropagation on eight weights", "created": datetime(2000, 1, 1)})
    formats = {name: book.add_format(look) for name, look in _LOOKS.items()}
    inputs = book.add_worksheet("Inputs")
    training = book.add_worksheet("Training")
    numbers = {"learning_rate": learning_rate, **start}
    _write_inputs(inputs, formats, numbers, losses(start, learning_rate, UPDATES))
    _write_training(training, formats, start, learning_rate)
    for number, logarithmic in enumerate((False, True)):
        inputs.insert_chart(5 + 19 * number, 3, _chart(book, logarithmic))
    inputs.activate()
    book.close()
    return content.getvalue()


class _Cell(NamedTuple):
    row: int
    column: int
    formula: str
    value: float


def _cells(start: Mapping[str, float], learning_rate: float) -> Iterator[_Cell]:
    """Yield every formula of the sheet Training and the value it has, row by row."""
    formulas = FORWARD | _SIGMOIDS | BACKWARD
    letters = {name: xl_col_to_name(place) for place, name in enumerate(COLUMNS)}
    fixed = {name: f"Inputs!${cell[0]}${cell[1:]}" for name, cell in _INPUT_CELLS.items()}
    for iteration, known in enumerate(islice(train(start, learning_rate), UPDATES + 1)):
        row = _FIRST_ROW + iteration
        here = {"exp": "EXP", **fixed, **{name: f"{letter}{row}" for name, letter in letters.items()}}
        above = {"learning_rate": fixed["learning_rate"]}
        above |= {name: f"{letter}{row - 1}" for name, letter in letters.items()}
        for place, name in enumerate(COLUMNS[1:], start=1):
            if name in formulas:
                formula = with_names(formulas[name], here)
            else:
                formula = with_names(UPDATE[name], above) if iteration else fixed[name]
            yield _Cell(row, place, f"={formula}", known[name])


def _write_inputs(sheet: Any, formats: Mapping[str, Any], numbers: Mapping[str, float], found: Sequence[float]) -> None:
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.set_column(0, 0, 16)
    sheet.set_column(1, 1, 12)
    sheet.set_column(2, 2, 44)
    sheet.write("A1", "Backpropagation on a network of eight weights", formats["title"])
    sheet.write("A2", _NOTES[0], formats["note"])
    sheet.write("A6", "Example", formats["heading"])
    sheet.write("A12", "First weights", formats["heading"])
    for name, cell in _INPUT_CELLS.items():
        row = int(cell[1:]) - 1
        sheet.write(row, 0, name)
        sheet.write_number(row, 1, numbers[name], formats["input"])
        sheet.write(row, 2, _MEANINGS[name], formats["note"])
    sheet.data_validation(
        _INPUT_CELLS["learning_rate"],
        {
            "validate": "list",
            "source": list(LEARNING_RATES),
            # A warning, not a stop: any other rate may be typed.
            "error_type": "information",
            "error_title": "Not one of the documents' rates",
            "error_message": "Any number works: 0 learns nothing, below 0 it walks uphill, beyond 90 it overshoots, "
            "from 200 nothing moves.",
        },
    )
    last = _FIRST_ROW + UPDATES
    sheet.write("A22", "Results", formats["heading"])
    for row, updates in enumerate((0, 1, 10, 100, UPDATES), start=22):
        sheet.write(row, 0, f"loss after {updates:,}")
        place = f"Training!{xl_col_to_name(COLUMNS.index('E_total'))}{last - UPDATES + updates}"
        sheet.write_formula(row, 1, f"={place}", formats["number"], found[updates])
    for row, words in enumerate(_NOTES[1:], start=_BELOW_THE_CHARTS):
        sheet.write(row, 0, words, formats["note"])


def _write_training(sheet: Any, formats: Mapping[str, Any], start: Mapping[str, float], learning_rate: float) -> None:
    groups = (
        (1, "weights", tuple(WEIGHTS)),
        (9, "forward pass", tuple(FORWARD)),
        (20, "backward pass", tuple(BACKWARD)),
    )
    for first, words, names in groups:
        sheet.merge_range(1, first, 1, first + len(names) - 1, words, formats["heading"])
    sheet.write(0, 0, "One row an iteration; everything here is calculated, change it on the sheet Inputs.")
    in_words = {name: f"next: {formula}" for name, formula in UPDATE.items()} | FORWARD | BACKWARD
    for place, name in enumerate(COLUMNS):
        sheet.write(2, place, in_words.get(name, ""), formats["words"])
        sheet.write(3, place, name, formats["column"])
    sheet.set_row(2, 48)
    sheet.set_column(0, 0, 10)
    sheet.set_column(1, len(COLUMNS) - 1, 15)
    sheet.freeze_panes(4, 1)
    # A4 pages, four side by side: on fewer the columns are too small to read, all rows fill a stack.
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(4, 0)
    sheet.repeat_rows(2, 3)
    sheet.repeat_columns(0)
    sheet.print_area(0, 0, _FIRST_ROW - 1 + PRINTED_UPDATES, len(COLUMNS) - 1)
    for iteration in range(UPDATES + 1):
        sheet.write_number(_FIRST_ROW - 1 + iteration, 0, iteration)
    for cell in _cells(start, learning_rate):
        sheet.write_formula(cell.row - 1, cell.column, cell.formula, formats["number"], cell.value)


def _chart(book: Any, logarithmic: bool) -> Any:
    column = COLUMNS.index("E_total")
    first, last = _FIRST_ROW - 1, _FIRST_ROW - 1 + UPDATES
    chart = book.add_chart({"type": "scatter", "subtype": "straight"})
    chart.add_series(
        {
            "name": "E_total",
            "categories": ["Training", first, 0, last, 0],
            "values": ["Training", first, column, last, column],
            "line": {"color": "#0072B2", "width": 2},
        }
    )
    chart.set_title({"name": f"Loss{', logarithmic' if logarithmic else ''}", "name_font": {"size": 12}})
    chart.set_x_axis({"name": "updates", "min": 0, "max": UPDATES, "major_gridlines": {"visible": False}})
    chart.set_y_axis(
        {"name": "E_total", "num_format": "0.0E+00", "log_base": 10} if logarithmic else {"name": "E_total"}
    )
    chart.set_legend({"none": True})
    chart.set_size({"width": 620, "height": 360})
    return chart


_LOOKS: dict[str, dict[str, Any]] = {
    "title": {"bold": True, "font_size": 14},
    "heading": {"bold": True, "bottom": 1},
    "column": {"bold": True, "align": "right", "bottom": 1},
    "words": {"italic": True, "font_color": "#555555", "text_wrap": True, "valign": "bottom", "font_size": 8},
    "note": {"font_color": "#555555"},
    "input": {"font_color": "#0000FF", "bg_color": "#FFF8D6", "border": 1},
    "number": {"num_format": "0.000000000"},
}
