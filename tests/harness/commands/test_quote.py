"""The command ``harness quote``: a few real trainings of the embedded images, and invalid requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import run
from harness.data import testset, user
from tests.fakes import train_in_this_process

SPACE = "net = conv3x3({2, 3, 4, 6}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
QUICK = ("--space", "@few.space", "--recipe", "smoke", "--workers", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def space(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    train_in_this_process(monkeypatch)
    (workspace / "few.space").write_text(SPACE, encoding="utf-8")


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_quote_trains_few_networks_and_writes_no_files(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(testset, "read_test_set", lambda *_, **__: pytest.fail("the test set was read"))
    files_before = files_in(workspace)

    assert run(["quote", "mnist-5k", "--target", "30", "--time", "20s", "--json", *QUICK]) == 0

    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert files_in(workspace) == files_before
    assert len(document["parameters"]) == len(document["seconds"]) == len(document["accuracy_pct"]) == 3
    # Two of the linear layers of the baselines, with 10 numbers for each of 784, 196 or 49 pixels and a bias.
    assert document["linear"]["parameters"] in (7_850, 1_970, 500)
    # Four baselines, and networks of the space.
    assert 4 < document["trained"] <= 8
    assert document["curve"]["more"] in ("pictures", "parameters", "both", "chance")
    assert document["probe_seconds"] < 25


def test_quote_states_precision_of_mean_over_unseen_groups(capsys: pytest.CaptureFixture[str]):
    images = np.random.default_rng(0).integers(0, 256, (480, 28, 28), dtype=np.uint8)
    data = user.Data.from_arrays("writers", images, np.tile(np.arange(10), 48), groups=np.repeat(np.arange(24), 20))
    assert (len(data.validation_group_sizes), len(data.test_group_sizes)) == (19, 5)

    assert run(["search", "--dataset", data.name, "--target", "30", "--plan", "--json", *QUICK]) == 0
    plan = json.loads(capsys.readouterr().out)
    # The margin is in the confirmation, so the threshold of a run is the target.
    assert (plan["config"]["threshold_pct"], plan["confidence"], plan["stand_seeds"]) == (30.0, 0.9, 5)
    assert (plan["config"]["validation_groups"], plan["config"]["test_groups"]) == (19.0, 5.0)

    assert run(["quote", data.name, "--target", "30", "--time", "5s", *QUICK]) == 0
    # Half of the 70 % of errors is the usual deviation of a group: 35 * sqrt(1 / 19 + 1 / 5) = 17.6.
    assert {"19", "5", "17.6"} <= {*re.findall(r"[\d.]+\b", capsys.readouterr().out)}


def test_quote_without_successful_training_reports_the_failure(workspace: Path, capsys: pytest.CaptureFixture[str]):
    (workspace / "failing_trainer.py").write_text("def train(*arguments):\n    raise ValueError('no such layer')\n")
    (workspace / "user.toml").write_text("trainer = 'failing_trainer:train'\nepochs = 1\n")

    assert run(["quote", "mnist-5k", "--recipe", "@user.toml", "--space", "@few.space", "--workers", "1"]) == 4
    assert "no such layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("mnist-6k",), 2),
        (("mnist-5k", "--target", "0.5"), 2),
        (("mnist-5k", "--target", "100"), 2),
        (("mnist-5k", "--space", "none"), 2),
        (("mnist-5k", "--recipe", "none"), 2),
        (("mnist-5k", "--budget", "5"), 4),
    ],
)
def test_quote_and_search_refuse_equal_requests(
    arguments: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
):
    options = [*QUICK] if not {"--space", "--recipe"} & {*arguments} else []
    assert run(["quote", *arguments, *options]) == code
    search_arguments = [*(("--dataset",) if arguments else ("--budget", "none")), *arguments]
    capsys.readouterr()
    assert run(["search", *search_arguments, *options]) == code
