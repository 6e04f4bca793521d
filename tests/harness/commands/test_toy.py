from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.toy.backprop import LEARNING_RATES, START, losses
from reports import toy_page
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module", autouse=True)
def drawn_once() -> Iterator[None]:
    """The files depend on no option and take seconds, so the tests here share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_page, "contents", functools.cache(toy_page.contents))
        yield


def toy(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["toy", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_is_the_documented_document(capsys: pytest.CaptureFixture[str]):
    found = toy(capsys, "--check")

    assert found["checks"]["autograd_max_difference"] <= 1e-12
    assert found["checks"]["central_differences_max_difference"] <= 1e-10
    assert list(found)[:3] == ["initial_loss", "gradients", "curves"]
    assert round(found["initial_loss"], 9) == 0.242519857
    assert list(found["gradients"]) == ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]
    assert list(found["curves"]) == ["0.1", "0.2", "0.5", "0.8", "1.0", "2.0"]
    for rate in LEARNING_RATES:
        assert found["curves"][str(rate)] == losses(START, rate, 1_000)
    assert found["updates_to_target"] == {"0.1": 1199, "0.2": 599, "0.5": 239, "0.8": 149, "1.0": 119, "2.0": 59}


def test_the_text_shows_formula_numbers_and_value_of_every_gradient(capsys: pytest.CaptureFixture[str]):
    assert run(["toy"]) == 0

    lines = capsys.readouterr().out.splitlines()
    for name in ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"):
        (worked_out,) = [line for line in lines if re.match(rf"  dE_d{name} +=", line) and line.count("=") == 3]
        (in_one,) = [line for line in lines if line.startswith(f"  dE_d{name} = ") and line.count("=") == 2]
        value = worked_out.split("=")[-1].strip()
        assert in_one.split("=")[1].strip() == value
    assert any(line.endswith("=  0.242519857348") for line in lines)
    head, first = (line.split() for line in lines if re.match(r" +(rate|0\.1) ", line))
    assert head[:9] == ["rate", "after", "1", "after", "10", "after", "100", "after", "1,000"]
    assert first == ["0.1", "0.241109", "0.228678", "0.133511", "0.0125478", "1,199"]


def test_out_writes_the_page_the_workbook_and_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "new" / "toy"

    found = toy(capsys, "--out", str(folder), "--iterations", "1")

    names = ["toy.html", "toy.xlsx", "learning-rates.svg", "learning-rates.png"]
    assert found["files"] == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["toy.xlsx", "learning-rates.png"])
def test_a_file_that_cannot_be_replaced_leaves_all_others_as_they_were(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / name).mkdir()
    (tmp_path / "toy.html").write_text("old", encoding="utf-8")

    assert run(["toy", "--out", str(tmp_path), "--iterations", "1"]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / name) in captured.err
    assert (tmp_path / "toy.html").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["toy.html", name])


def test_the_answer_comes_in_half_a_second_without_heavy_libraries_or_other_commands():
    program = (
        "import sys\nfrom harness.cli import run\ncode = run(['toy'])\n"
        "libraries = {'torch', 'numpy', 'scipy', 'pandas', 'optuna', 'matplotlib', 'xlsxwriter', 'rich'}\n"
        "heavy = sorted({*libraries, 'harness.commands.search', 'harness.commands.bench'} & {*sys.modules})\n"
        "print(code, heavy, file=sys.stderr)"
    )
    before = os.times()

    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    after = os.times()
    assert done.stderr.splitlines()[-1] == "0 []"
    # Processor time, which other programs on the machine do not lengthen.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
