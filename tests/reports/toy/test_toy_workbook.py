from __future__ import annotations

import dataclasses
import io
import re
import subprocess
import zipfile
from itertools import islice
from typing import Any

import openpyxl
import pytest

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, Example, Weights, train
from harness.toy.formulas import BACKWARD, FORWARD, WEIGHT_NAMES, values
from reports.toy.toy_workbook import COLUMNS, FIRST_ROW, INPUT_CELLS, PRINTED_UPDATES, UPDATES, contents, workbook
from tests import browser

OFFICE = ("soffice", "libreoffice")


@pytest.fixture(scope="module")
def content() -> bytes:
    """The file for the documents' numbers and the rate 0.5."""
    return workbook(WEIGHTS, EXAMPLE, 0.5)


@pytest.fixture(scope="module")
def formulas(content: bytes) -> Any:
    """The same, taken apart."""
    return opened(content, cached=False)


def opened(content: bytes, *, cached: bool) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content), data_only=cached)


def expected_rows(learning_rate: float, weights: Weights = WEIGHTS, example: Example = EXAMPLE) -> list[list[float]]:
    """What the sheet Training must show, by harness.toy.backprop."""
    steps = islice(train(weights, example, learning_rate), UPDATES + 1)
    known = [values(example, step) for step in steps]
    return [[float(number), *(row[name] for name in COLUMNS[1:])] for number, row in enumerate(known)]


def shown_rows(book: Any) -> list[list[float]]:
    return [list(row) for row in book["Training"].iter_rows(min_row=FIRST_ROW, values_only=True)]


def test_one_column_a_quantity_and_one_row_an_iteration(formulas: Any):
    sheet = formulas["Training"]

    assert [cell.value for cell in sheet[FIRST_ROW - 1]] == ["iteration", *WEIGHT_NAMES, *FORWARD, *BACKWARD]
    assert (sheet.max_row, sheet.max_column) == (FIRST_ROW + UPDATES, len(COLUMNS))
    assert sheet.freeze_panes == "B5"


def test_everything_is_a_formula_of_the_inputs_with_only_arithmetic_exp_and_if(formulas: Any):
    for row in formulas["Training"].iter_rows(min_row=FIRST_ROW, min_col=2, values_only=True):
        for formula in row:
            assert formula.startswith("=")
            assert set(re.findall(r"[A-Z]+(?=\()", formula)) <= {"EXP", "IF"}
            assert not re.search(r"\d\.\d", formula)


def test_the_cached_values_are_those_of_python(content: bytes):
    book = opened(content, cached=True)

    for found, expected in zip(shown_rows(book), expected_rows(0.5), strict=True):
        assert found == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_inputs_are_marked_and_the_rate_is_chosen_from_the_documents(formulas: Any):
    sheet = formulas["Inputs"]

    known = dataclasses.asdict(EXAMPLE) | dataclasses.asdict(WEIGHTS) | {"learning_rate": 0.5}
    for name, place in INPUT_CELLS.items():
        cell = sheet[place]
        assert cell.value == known[name]
        assert sheet[f"A{cell.row}"].value == name
        assert (cell.font.color.rgb, cell.fill.fgColor.rgb) == ("FF0000FF", "FFFFF8D6")
    (selector,) = sheet.data_validations.dataValidation
    assert (str(selector.sqref), selector.type, selector.errorStyle) == ("B4", "list", "information")
    assert selector.formula1 == '"' + ",".join(map(str, LEARNING_RATES)) + '"'


def test_it_has_a_linear_and_a_logarithmic_chart(formulas: Any):
    charts = formulas["Inputs"]._charts

    assert len(charts) == 2
    assert [chart.y_axis.scaling.logBase for chart in charts] == [None, 10.0]


def test_the_same_numbers_give_the_same_bytes(content: bytes):
    assert contents() == {"toy.xlsx": content}


def test_the_training_prints_its_first_rows_four_pages_wide_with_names_on_every_page(formulas: Any):
    sheet = formulas["Training"]

    assert sheet.print_area == f"'Training'!$A$1:$AN${FIRST_ROW + PRINTED_UPDATES}"
    assert (sheet.print_title_rows, sheet.print_title_cols) == ("$3:$4", "$A:$A")
    assert sheet.page_setup.orientation == "landscape"
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
    assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (4, 0)


def test_the_notes_say_where_the_rate_overshoots_and_where_nothing_moves(formulas: Any):
    words = " ".join(str(cell.value) for row in formulas["Inputs"].iter_rows() for cell in row)
    (selector,) = formulas["Inputs"].data_validations.dataValidation

    for text in (words, selector.error):
        assert "90" in text
        assert "200" in text
    assert "EXP and IF" in words


# From here on with LibreOffice.


# What is changed in the inputs of a book.
BOOKS: dict[str, dict[str, float]] = {
    "documents": {},
    "changed": {"learning_rate": 1.75, "w1": -0.6, "w8": 1.25, "i2": 0.8, "t1": 0.3},
    "weight": {"w5": -2000.0},
    "rate": {"learning_rate": 1e8},
}


def uncalculated(content: bytes, changes: dict[str, float]) -> bytes:
    """Return the file with other inputs, and without the values that its formulas had."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                for quantity, number in changes.items():
                    cell = rb'(<c r="%b"[^>]*><v>)[^<]*' % INPUT_CELLS[quantity].encode()
                    part, found = re.subn(cell, rb"\g<1>%r" % number, part)
                    assert found == 1
            if name.startswith("xl/worksheets/sheet"):
                part, found = re.subn(rb"</f><v>[^<]*</v>", b"</f>", part)
                assert found == part.count(b"</f>") > 0
            new.writestr(name, part)
    return made.getvalue()


@pytest.fixture(scope="module")
def recalculated(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LibreOffice shows of each book; it starts once for all of them."""
    program = browser.find_program(OFFICE, "the workbook's test")
    folder = tmp_path_factory.mktemp("books")
    for name, changes in BOOKS.items():
        (folder / f"{name}.xlsx").write_bytes(uncalculated(content, changes))
    subprocess.run(
        [
            program,
            "--headless",
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--convert-to",
            "xlsx",
            "--outdir",
            str(folder / "made"),
            *(str(folder / f"{name}.xlsx") for name in BOOKS),
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    return {name: opened((folder / "made" / f"{name}.xlsx").read_bytes(), cached=True) for name in BOOKS}


@pytest.mark.office
def test_libreoffice_calculates_every_cell_as_python_does(recalculated: dict[str, Any]):
    for found, expected in zip(shown_rows(recalculated["documents"]), expected_rows(0.5), strict=True):
        assert found == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.office
def test_a_changed_input_changes_every_cell_as_in_python(recalculated: dict[str, Any]):
    book, changes = recalculated["changed"], BOOKS["changed"]

    weights = dataclasses.replace(WEIGHTS, w1=changes["w1"], w8=changes["w8"])
    example = dataclasses.replace(EXAMPLE, i2=changes["i2"], t1=changes["t1"])
    rows = expected_rows(changes["learning_rate"], weights, example)
    for found, expected in zip(shown_rows(book), rows, strict=True):
        assert found == pytest.approx(expected, rel=0, abs=1e-12)
    results = [book["Inputs"][f"B{row}"].value for row in range(23, 28)]
    place = COLUMNS.index("E_total")
    assert results == pytest.approx([rows[updates][place] for updates in (0, 1, 10, 100, 1_000)], rel=0, abs=1e-12)


@pytest.mark.office
@pytest.mark.parametrize("name", ["weight", "rate"])
def test_a_saturated_network_is_calculated_as_in_python(name: str, recalculated: dict[str, Any]):
    book, changes = recalculated[name], BOOKS[name]

    weights = dataclasses.replace(WEIGHTS, w5=changes.get("w5", WEIGHTS.w5))
    rows = expected_rows(changes.get("learning_rate", 0.5), weights)
    assert min(row[COLUMNS.index(quantity)] for row in rows for quantity in ("h1", "h2", "o1", "o2")) < -709
    for found, expected in zip(shown_rows(book), rows, strict=True):
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
