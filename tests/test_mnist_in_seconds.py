"""``examples/mnist_in_seconds.py``, which trains to 99.4 % in seconds: verdict and, in a slow test, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.conftest import example


@pytest.fixture
def program() -> ModuleType:
    return example("mnist_in_seconds")


@pytest.mark.parametrize(
    ("accuracies", "p", "code"),
    [
        # One-sided p-values from scipy 1.16; the second mean is above 99.4 %, but not significantly.
        ([99.43, 99.44, 99.48, 99.50, 99.40, 99.48, 99.44, 99.48, 99.47, 99.35], "0.0049", 0),
        ([99.41, 99.55, 99.30, 99.50, 99.40, 99.48, 99.30, 99.48, 99.47, 99.35], "0.2", 3),
    ],
)
def test_main_succeeds_only_if_mean_is_significantly_above_target(
    program: ModuleType,
    accuracies: Sequence[float],
    p: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    runs = [SimpleNamespace(index=i, accuracy_pct=pct, train_seconds=5.0) for i, pct in enumerate(accuracies)]
    shipped = [SimpleNamespace(index=run.index, accuracy_pct=run.accuracy_pct, train_seconds=99.0) for run in runs]
    answer = SimpleNamespace(record=SimpleNamespace(seeds=shipped), verdict=SimpleNamespace(runs=runs))
    monkeypatch.setattr(program.harness, "verify", lambda *arguments, **options: answer)

    assert program.main() == code
    printed = capsys.readouterr().out
    assert f"p = {p} " in printed
    assert "5.0 s of one core per seed" in printed


@pytest.mark.slow  # 47 seconds of one core
def test_mean_of_ten_seeds_reaches_target(
    program: ModuleType, mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))

    assert program.main(str(mnist_folder)) == 0
