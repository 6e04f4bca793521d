"""Page and workbook of the toy example: numbers in browser and LibreOffice equal ``harness.toy.backprop``."""

from __future__ import annotations

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from harness.toy import toy_page
from harness.toy.backprop import (
    BACKWARD,
    FORWARD,
    LEARNING_RATES,
    START,
    UPDATE,
    WEIGHTS,
    forward_and_backward,
    losses,
    train,
    with_numbers,
)
from harness.toy.toy_page import _COLUMNS, _FIRST_ROW, _INPUT_CELLS, _UPDATES, _workbook
from tests import axe, browser


def test_page_has_formula_and_numbers_of_every_quantity():
    source = toy_page.render()
    numbers = forward_and_backward(START) | {"learning_rate": 0.5}

    assert {*START, *FORWARD, *BACKWARD} <= {*re.findall(r'data-value="(\w+)"', source)}
    assert re.findall(r'data-next="(\w+)"', source) == [*UPDATE]
    for formula in (FORWARD | BACKWARD | UPDATE).values():
        assert f">{with_numbers(formula, numbers)}<" in source
    assert not re.search(r"https?://|url\(|@import|<link|<img|src=", source)


@pytest.fixture(scope="module")
def page(chromium: browser.Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    path = tmp_path_factory.mktemp("toy") / "toy.html"
    path.write_text(toy_page.render(), encoding="utf-8")
    chromium.complaints.clear()
    chromium.open(path)
    yield chromium
    assert chromium.complaints == []


@pytest.fixture
def new_page(page: browser.Page) -> browser.Page:
    """Return the page in the initial state: numbers of the documents, learning rate 0.5, no updates."""
    click(page, "documents")
    page.evaluate("document.querySelector('[data-rate=\"0.5\"]').click()")
    return page


def click(page: browser.Page, identifier: str) -> None:
    page.evaluate(f"document.getElementById('{identifier}').click()")


def text_of(page: browser.Page, selector: str) -> str:
    text: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
    return text


def type_into(page: browser.Page, selector: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)}); box.value = '{value}'; "
        "box.dispatchEvent(new Event('input')); })()"
    )


def loss_of(page: browser.Page) -> float:
    return float(text_of(page, "#status").partition("loss ")[2].split(" ")[0].rstrip("."))


@pytest.mark.browser
@pytest.mark.parametrize("rate", [*LEARNING_RATES, 0.0, -0.3, 30.0, 1000.0])
def test_curves_equal_python(page: browser.Page, rate: float):
    curve = page.evaluate(f"toy.losses({rate}, 1000)")

    # The last place of exp may differ between engines, and 1,000 updates propagate the difference.
    assert curve == pytest.approx(losses(START, rate, 1_000), rel=0, abs=1e-12)


@pytest.mark.browser
@pytest.mark.parametrize(
    "numbers",
    [
        tuple(START.values()),
        (-0.7, 2.0, 0.2, 0.6, 1.5, -2.0, 0.3, 4.0, -1.25, 0.5, 3.0, -0.1),
        (1.0, 1.0, 0.0, 1.0, *[0.0] * 8),
    ],
)
def test_quantities_equal_python_after_each_of_20_updates(page: browser.Page, numbers: tuple[float, ...]):
    start = dict(zip(START, numbers, strict=True))
    program = (
        f"(() => {{ const all = [toy.forwardAndBackward({json.dumps(start)})]; for (let i = 0; i < 20; i += 1) "
        "all.push(toy.forwardAndBackward(toy.update(all.at(-1), 0.8))); return all; })()"
    )

    steps: list[dict[str, float]] = page.evaluate(program)

    for quantities, expected in zip(steps, islice(train(start, 0.8), 21), strict=True):
        assert quantities == pytest.approx(expected, rel=0, abs=1e-14)


@pytest.mark.browser
def test_buttons_step_run_and_reset_and_inputs_change_start(new_page: browser.Page):
    expected = losses(START, 0.5, 1_000)
    figures = re.findall(r'data-value="(\w+)" data-digits="9">([^<]+)<', toy_page.render())
    assert len(figures) == len(FORWARD | BACKWARD)
    for name, number in figures:
        assert float(text_of(new_page, f'span[data-value="{name}"]')) == float(number)

    click(new_page, "step")
    click(new_page, "ten")
    assert loss_of(new_page) == float(f"{expected[11]:.6g}") == float(text_of(new_page, 'tspan[data-value="E_total"]'))
    assert len(new_page.evaluate("document.querySelector('[data-live]').getAttribute('points')").split()) == 12
    click(new_page, "reset")
    assert loss_of(new_page) == float(f"{expected[0]:.6g}")
    click(new_page, "run")
    assert text_of(new_page, "#run") == "Pause"
    new_page.evaluate(
        "new Promise((done) => { const look = () => document.getElementById('run').textContent === 'Run' ? done() : "
        "setTimeout(look, 50); look(); })"
    )
    assert loss_of(new_page) == float(f"{expected[-1]:.6g}")
    type_into(new_page, "[data-start=w5]", "-1.5")
    click(new_page, "step")
    assert loss_of(new_page) == float(f"{losses(START | {'w5': -1.5}, 0.5, 1)[1]:.6g}")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("value", "words_before", "words_after"),
    [
        ("0", "does not change", "does not change"),
        ("-1", "the loss rises", "the loss rises"),
        ("0.001", "below 0.01", "below 0.01"),
        ("1", "", ""),
        ("200", "", "gradient vanishes"),
        # An invalid value keeps the last rate.
        ("", "is used: 0.5", "is used: 0.5"),
    ],
)
def test_unsuitable_learning_rate_is_explained(new_page: browser.Page, value: str, words_before: str, words_after: str):
    type_into(new_page, "#rate", value)

    for words in (words_before, words_after):
        remark = text_of(new_page, "#remark")
        assert words in remark
        assert bool(remark) == bool(words)
        click(new_page, "step")


@pytest.mark.browser
def test_page_works_by_keyboard_in_both_themes_and_on_phone(page: browser.Page, tmp_path: Path):
    (path := tmp_path / "toy.html").write_text(toy_page.render(), encoding="utf-8")
    for dark in (True, False):
        page.open(path, dark=dark)
        assert axe.violations(page) == []
    page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.send("Emulation.clearDeviceMetricsOverride")

    page.evaluate("document.getElementById('slider').focus()")
    page.press("ArrowRight")
    assert float(page.evaluate("document.getElementById('rate').value")) == 0.513
    page.evaluate("document.querySelector('[data-rate=\"2.0\"]').focus()")
    page.press("Enter", "\r")
    page.evaluate("document.getElementById('step').focus()")
    page.press(" ", " ")
    assert loss_of(page) == float(f"{losses(START, 2.0, 1)[1]:.6g}")


# Workbook -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content() -> bytes:
    """Return the workbook for the numbers of the documents and learning rate 0.5."""
    return _workbook(START, 0.5)


def load_book(content: bytes, *, cached: bool) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content), data_only=cached)


def expected_rows(learning_rate: float = 0.5, **changes: float) -> list[list[float]]:
    """Return the expected rows of the sheet Training."""
    steps = islice(train(START | changes, learning_rate), _UPDATES + 1)
    return [[float(number), *(row[name] for name in _COLUMNS[1:])] for number, row in enumerate(steps)]


def training_rows(book: Any) -> list[list[float]]:
    return [list(row) for row in book["Training"].iter_rows(min_row=_FIRST_ROW, values_only=True)]


def test_cells_are_formulas_of_inputs_with_arithmetic_exp_and_if(content: bytes):
    book = load_book(content, cached=False)
    training, inputs = book["Training"], book["Inputs"]

    assert [cell.value for cell in training[_FIRST_ROW - 1]] == ["iteration", *WEIGHTS, *FORWARD, *BACKWARD]
    assert (training.max_row, training.max_column) == (_FIRST_ROW + _UPDATES, len(_COLUMNS))
    for row in training.iter_rows(min_row=_FIRST_ROW, min_col=2, values_only=True):
        for formula in row:
            assert formula.startswith("=")
            assert set(re.findall(r"[A-Z]+(?=\()", formula)) <= {"EXP", "IF"}
            assert not re.search(r"\d\.\d", formula)
    for name, cell in _INPUT_CELLS.items():
        assert inputs[cell].value == (START | {"learning_rate": 0.5})[name]
        assert (inputs[cell].font.color.rgb, inputs[cell].fill.fgColor.rgb) == ("FF0000FF", "FFFFF8D6")
    (selector,) = inputs.data_validations.dataValidation
    assert selector.formula1 == '"' + ",".join(map(str, LEARNING_RATES)) + '"'
    assert [chart.y_axis.scaling.logBase for chart in inputs._charts] == [None, 10.0]
    for values, expected in zip(training_rows(load_book(content, cached=True)), expected_rows(), strict=True):
        assert values == pytest.approx(expected, rel=1e-14, abs=1e-15)


# Changes of the inputs of each workbook.
BOOKS: dict[str, dict[str, float]] = {
    "documents": {},
    "changed": {"learning_rate": 1.75, "w1": -0.6, "w8": 1.25, "i2": 0.8, "t1": 0.3},
    "weight": {"w5": -2000.0},
    "rate": {"learning_rate": 1e8},
}


def without_values(content: bytes, changes: dict[str, float]) -> bytes:
    """Return the workbook with changed inputs and without the stored values of the formulas."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                for quantity, number in changes.items():
                    cell = rb'(<c r="%b"[^>]*><v>)[^<]*' % _INPUT_CELLS[quantity].encode()
                    part, count = re.subn(cell, rb"\g<1>%r" % number, part)
                    assert count == 1
            if name.startswith("xl/worksheets/sheet"):
                part, count = re.subn(rb"</f><v>[^<]*</v>", b"</f>", part)
                assert count == part.count(b"</f>") > 0
            new.writestr(name, part)
    return target.getvalue()


@pytest.fixture(scope="module")
def libreoffice_books(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return each workbook after recalculation by LibreOffice, which starts once for all workbooks."""
    program = browser.find_program(("soffice", "libreoffice"), "the workbook's test")
    folder = tmp_path_factory.mktemp("books")
    for name, changes in BOOKS.items():
        (folder / f"{name}.xlsx").write_bytes(without_values(content, changes))
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    books = [str(folder / f"{name}.xlsx") for name in BOOKS]
    command = [program, "--headless", profile, "--convert-to", "xlsx", "--outdir", str(folder / "made"), *books]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return {name: load_book((folder / "made" / f"{name}.xlsx").read_bytes(), cached=True) for name in BOOKS}


@pytest.mark.office
@pytest.mark.parametrize("name", BOOKS)
def test_libreoffice_equals_python_in_every_cell(name: str, libreoffice_books: dict[str, Any]):
    rows = expected_rows(**BOOKS[name])

    for values, expected in zip(training_rows(libreoffice_books[name]), rows, strict=True):
        assert values == pytest.approx(expected, rel=1e-12, abs=1e-12)
    column = _COLUMNS.index("E_total")
    results = [libreoffice_books[name]["Inputs"][f"B{row}"].value for row in range(23, 28)]
    assert results == pytest.approx([rows[updates][column] for updates in (0, 1, 10, 100, 1_000)], rel=0, abs=1e-12)
    if name in ("weight", "rate"):
        # These inputs saturate the sigmoid: exp without a guard would overflow.
        assert min(row[_COLUMNS.index(quantity)] for row in rows for quantity in ("h1", "h2", "o1", "o2")) < -709
