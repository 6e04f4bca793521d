"""``harness toy``: JSON document, text, written files, and start-up time."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import run
from harness.interface.plots import write_figure
from harness.system.errors import UsageError
from harness.toy import toy_page
from harness.toy.backprop import LEARNING_RATES, START, losses
from harness.toy.command import _rates_figure
from harness.toy.rates import rate_curve
from tests.conftest import REPOSITORY
from tests.processor_time import relative_processor_time


@pytest.fixture(scope="module", autouse=True)
def shared_contents() -> Iterator[None]:
    """Compute the contents of the files once, because the contents depend on no option and take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_page, "contents", functools.cache(toy_page.contents))
        yield


def toy(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["toy", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_json_has_documented_fields_and_values(capsys: pytest.CaptureFixture[str]):
    document = toy(capsys, "--check")

    assert document["checks"]["autograd_max_difference"] <= 1e-12
    assert document["checks"]["central_differences_max_difference"] <= 1e-10
    assert list(document)[:3] == ["initial_loss", "gradients", "curves"]
    assert round(document["initial_loss"], 9) == 0.242519857
    assert list(document["gradients"]) == ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]
    assert list(document["curves"]) == ["0.1", "0.2", "0.5", "0.8", "1.0", "2.0"]
    for rate in LEARNING_RATES:
        assert document["curves"][str(rate)] == losses(START, rate, 1_000)
    assert document["updates_to_target"] == {"0.1": 1199, "0.2": 599, "0.5": 239, "0.8": 149, "1.0": 119, "2.0": 59}


def test_text_shows_formula_numbers_and_value_of_every_gradient(capsys: pytest.CaptureFixture[str]):
    assert run(["toy"]) == 0

    lines = capsys.readouterr().out.splitlines()
    for name in ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"):
        (long_line,) = [line for line in lines if re.match(rf"  dE_d{name} +=", line) and line.count("=") == 3]
        (short_line,) = [line for line in lines if line.startswith(f"  dE_d{name} = ") and line.count("=") == 2]
        assert short_line.split("=")[1].strip() == long_line.split("=")[-1].strip()
    assert any(line.endswith("=  0.242519857348") for line in lines)
    head, first = (line.split() for line in lines if re.match(r" +(rate|0\.1) ", line))
    assert head[:9] == ["rate", "after", "1", "after", "10", "after", "100", "after", "1,000"]
    assert first == ["0.1", "0.241109", "0.228678", "0.133511", "0.0125478", "1,199"]


def test_out_writes_page_workbook_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "new" / "toy"

    document = toy(capsys, "--out", str(folder), "--iterations", "1")

    names = ["toy.html", "toy.xlsx", "learning-rates.svg", "learning-rates.png"]
    assert document["files"] == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["toy.xlsx", "learning-rates.png"])
def test_failed_replacement_leaves_all_files_unchanged(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / name).mkdir()
    (tmp_path / "toy.html").write_text("old", encoding="utf-8")

    assert run(["toy", "--out", str(tmp_path), "--iterations", "1"]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / name) in captured.err
    assert (tmp_path / "toy.html").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["toy.html", name])


def test_toy_is_fast_and_imports_no_heavy_libraries_or_commands():
    program = (
        "import sys\nfrom harness.cli import run\ncode = run(['toy'])\n"
        "libraries = {'torch', 'numpy', 'scipy', 'pandas', 'optuna', 'matplotlib', 'xlsxwriter', 'rich'}\n"
        "heavy = sorted({*libraries, 'harness.commands.search', 'harness.bench.command'} & {*sys.modules})\n"
        "print(code, heavy, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert result.stderr.splitlines()[-1] == "0 []"
    # 0.5 s on a machine on which the imports take 0.05 s.
    assert relative_processor_time("-c", program) < 10


def test_rate_curves_show_losses(tmp_path: Path):
    figure = _rates_figure([rate_curve(START, rate, 100, 0.01) for rate in LEARNING_RATES], 0.01)

    (axes,) = figure.axes
    plotted_losses = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert plotted_losses[:-1] == [losses(START, rate, 100) for rate in LEARNING_RATES]
    for name in ("rates.svg", "rates.pdf"):
        write_figure(figure, tmp_path / name)
    assert (tmp_path / "rates.svg").read_text().startswith("<?xml")
    assert (tmp_path / "rates.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match=r"\.svg"):
        write_figure(figure, tmp_path / "rates.gif")
    assert {path.name for path in tmp_path.iterdir()} == {"rates.svg", "rates.pdf"}
