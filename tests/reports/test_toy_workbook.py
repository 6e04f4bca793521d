from __future__ import annotations

import io
import re
import subprocess
import zipfile
from itertools import islice
from typing import Any

import openpyxl
import pytest

from harness.toy.backprop import BACKWARD, FORWARD, LEARNING_RATES, START, WEIGHTS, train
from reports.toy import COLUMNS, FIRST_ROW, INPUT_CELLS, UPDATES, workbook
from tests import browser

OFFICE = ("soffice", "libreoffice")


@pytest.fixture(scope="module")
def content() -> bytes:
    """The file for the documents' numbers and the rate 0.5."""
    return workbook(START, 0.5)


@pytest.fixture(scope="module")
def formulas(content: bytes) -> Any:
    """The same, taken apart."""
    return opened(content, cached=False)


def opened(content: bytes, *, cached: bool) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content), data_only=cached)


def expected_rows(learning_rate: float = 0.5, **changed: float) -> list[list[float]]:
    """What the sheet Training must show, by harness.toy.backprop."""
    known = islice(train(START | changed, learning_rate), UPDATES + 1)
    return [[float(number), *(row[name] for name in COLUMNS[1:])] for number, row in enumerate(known)]


def shown_rows(book: Any) -> list[list[float]]:
    return [list(row) for row in book["Training"].iter_rows(min_row=FIRST_ROW, values_only=True)]


def test_one_column_a_quantity_and_one_row_an_iteration(formulas: Any):
    sheet = formulas["Training"]

    assert [cell.value for cell in sheet[FIRST_ROW - 1]] == ["iteration", *WEIGHTS, *FORWARD, *BACKWARD]
    assert (sheet.max_row, sheet.max_column) == (FIRST_ROW + UPDATES, len(COLUMNS))
    assert sheet.freeze_panes == "B5"
    charts = formulas["Inputs"]._charts
    assert [chart.y_axis.scaling.logBase for chart in charts] == [None, 10.0]


def test_everything_is_a_formula_of_the_inputs_with_only_arithmetic_exp_and_if(formulas: Any):
    for row in formulas["Training"].iter_rows(min_row=FIRST_ROW, min_col=2, values_only=True):
        for formula in row:
            assert formula.startswith("=")
            assert set(re.findall(r"[A-Z]+(?=\()", formula)) <= {"EXP", "IF"}
            assert not re.search(r"\d\.\d", formula)


def test_the_cached_values_are_those_of_python(content: bytes):
    book = opened(content, cached=True)

    for found, expected in zip(shown_rows(book), expected_rows(), strict=True):
        assert found == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_inputs_are_marked_and_the_rate_is_chosen_from_the_documents(formulas: Any):
    sheet = formulas["Inputs"]

    known = START | {"learning_rate": 0.5}
    for name, place in INPUT_CELLS.items():
        cell = sheet[place]
        assert cell.value == known[name]
        assert sheet[f"A{cell.row}"].value == name
        assert (cell.font.color.rgb, cell.fill.fgColor.rgb) == ("FF0000FF", "FFFFF8D6")
    (selector,) = sheet.data_validations.dataValidation
    assert (str(selector.sqref), selector.type, selector.errorStyle) == ("B4", "list", "information")
    assert selector.formula1 == '"' + ",".join(map(str, LEARNING_RATES)) + '"'


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
@pytest.mark.parametrize("name", BOOKS)
def test_libreoffice_calculates_every_cell_as_python_does(name: str, recalculated: dict[str, Any]):
    rows = expected_rows(**BOOKS[name])

    for found, expected in zip(shown_rows(recalculated[name]), rows, strict=True):
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    place = COLUMNS.index("E_total")
    results = [recalculated[name]["Inputs"][f"B{row}"].value for row in range(23, 28)]
    assert results == pytest.approx([rows[updates][place] for updates in (0, 1, 10, 100, 1_000)], rel=0, abs=1e-12)
    if name in ("weight", "rate"):
        # These saturate: a plain exponential would overflow.
        assert min(row[COLUMNS.index(quantity)] for row in rows for quantity in ("h1", "h2", "o1", "o2")) < -709
