"""``harness verify``: text, JSON and exit codes of verifications and certifications."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import run
from harness.data import training_images as data
from harness.data.datasets import DATASETS
from harness.evidence import ledger
from harness.system.files import Workspace
from tests import verifications
from tests.fakes import Seeds, without_training
from tests.verifications import commit_evidence

NETWORK = str(verifications.NETWORK)


@pytest.fixture
def home(workspace: Path) -> Workspace:
    return Workspace(workspace)


@pytest.fixture(autouse=True)
def seeds(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> Seeds:
    def load_data(name: str, folder: Path | None) -> Any:
        return SimpleNamespace(dataset=DATASETS["mnist" if name == "auto" else name], train_labels=range(60_000))

    monkeypatch.setattr(data, "load", load_data)
    return without_training(monkeypatch)


def verify(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["verify", NETWORK, "--json", *arguments]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def declare(home: Workspace, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    attempt: dict[str, Any] = verify(capsys, "--certify", "--declare-only", *arguments)["attempt"]
    commit_evidence(home)
    return attempt


def test_json_has_documented_fields(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    seeds.errors = lambda index: 50 + index

    document = verify(capsys, "--seeds", "6")

    assert (document["architecture"], document["hash"]) == (NETWORK, verifications.NETWORK.hash)
    assert document["parameters"] == 36 + 8 + 50
    assert (document["tier"], document["target_pct"], document["passed"], document["attempt"]) == (
        "verified",
        99.4,
        True,
        None,
    )
    assert document["test_errors"] == [50, 51, 52, 53, 54, 55]
    accuracies = [100 - errors / 100 for errors in document["test_errors"]]
    assert document["mean_test_accuracy_pct"] == pytest.approx(statistics.mean(accuracies))
    assert document["std_test_accuracy_pct"] == pytest.approx(statistics.stdev(accuracies))
    # t(0.98, 5) is 2.75651 by scipy.stats.
    bound = statistics.mean(accuracies) - 2.756508 * statistics.stdev(accuracies) / 6**0.5
    assert document["lower_bound_pct"] == pytest.approx(bound, abs=1e-6)
    assert len(set(document["seeds"])) == 6
    assert document["row"]["seeds"] == 6


@pytest.mark.parametrize(
    ("count", "errors", "code", "verdict", "lacking"),
    [(1, [61], 3, "not reached yet (measured)", "at least 5 seeds"), (5, [59], 0, "proved (verified)", ""),
     (4, [40], 3, "probable (measured)", "at least 5 seeds"), (5, [61], 3, "not reached (measured)", "1.0 more than"),
     (5, range(57, 62), 0, "probable (at the target)", "")],
)  # fmt: skip
def test_text_has_verdict_and_lacking_seeds(
    count: int,
    errors: Sequence[int],
    code: int,
    verdict: str,
    lacking: str,
    seeds: Seeds,
    capsys: pytest.CaptureFixture[str],
):
    seeds.errors = lambda index: errors[index % len(errors)]

    assert run(["verify", NETWORK, "--seeds", str(count)]) == code

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:count]] == [f"seed {index}" for index in range(count)]
    assert lines[count].startswith(f"{verdict}, target 99.4 %: mean ")
    assert "nan" not in lines[count]
    further = lines[count + 1 :]
    assert len(further) == (0 if code == 0 else 1 + (count < 5))
    assert lacking in "".join(further)
    if count < 5:
        # The printed command runs the lacking seeds.
        run(shlex.split(lines[-1].removeprefix("next: "))[1:])
        assert len({job.seed_index for job in seeds.jobs}) == 5


def test_rerun_that_contradicts_record_has_exit_code_3(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    verify(capsys, "--seeds", "5")
    seeds.errors, seeds.weights = lambda index: 90, lambda index: "other"

    assert run(["verify", NETWORK, "--seeds", "5"]) == 3

    lines = capsys.readouterr().out.splitlines()
    assert all("NOT equal to the record" in line for line in lines[:5])
    assert "contradict the record" in lines[-1]


def forecast_seconds(text: str) -> int:
    [words] = re.findall(r"about ((?:\d+ (?:h|min|s) ?)+)", text)
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (h|min|s)", words))


def test_forecast_counts_seeds_and_epochs_to_train(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    forecasts = []
    for count, epochs in ((5, 10), (5, 40), (15, 40)):
        run(["verify", NETWORK, "--recipe", "small", "--epochs", f"{epochs}", "--seeds", f"{count}", "--workers", "1"])
        forecasts.append(forecast_seconds(capsys.readouterr().err))

    # Ten of the fifteen seeds are new.
    assert [forecast / forecasts[0] for forecast in forecasts] == pytest.approx([1, 4, 8], rel=0.02)


def test_seeds_of_different_target_are_omitted_with_a_message(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    for target, count in (("99", 0), ("98", 1)):
        run(["verify", NETWORK, "--seeds", "5", "--target", target])
        assert capsys.readouterr().err.count("5 earlier seeds") == count


def test_recorded_seeds_are_not_omitted_in_run_of_declared_seeds(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    def interrupt(job: object) -> None:
        raise KeyboardInterrupt

    run(["verify", NETWORK, "--seeds", "5"])
    seeds.watch = interrupt
    assert run(["verify", NETWORK, "--seeds", "8"]) == 130
    seeds.watch = lambda job: None
    capsys.readouterr()

    run(["verify", NETWORK, "--seeds", "2"])

    assert "left out" not in capsys.readouterr().err


# Certification -----------------------------------------------------------------------------------------------


def test_certification_declares_thirty_seeds(seeds: Seeds, home: Workspace, capsys: pytest.CaptureFixture[str]):
    attempt = declare(home, capsys)
    assert seeds.jobs == []

    document = verify(capsys, "--certify")

    assert (attempt["seeds"], attempt["alpha"]) == (30, 0.01)
    assert len(seeds.jobs) == 30
    assert (document["tier"], document["attempt"]["outcome"]) == ("certified", "certified")


def test_declaration_prints_ledger_and_requires_commit(
    seeds: Seeds, home: Workspace, capsys: pytest.CaptureFixture[str]
):
    assert run(["verify", NETWORK, "--certify", "--declare-only", "--seeds", "25"]) == 0

    assert str(home.ledger) in capsys.readouterr().out
    assert [attempt.seeds for attempt in ledger.read(home.ledger).attempts] == [25]
    assert seeds.jobs == []
    # The declaration is not committed.
    assert run(["verify", NETWORK, "--certify"]) == 2


# Selection of the network ------------------------------------------------------------------------------------


def test_hash_selects_recipe_data_set_target_and_name_of_record(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    verify(capsys, "--recipe", "smoke", "--dataset", "kmnist", "--target", "90", "--seeds", "5", "--name", "mine")

    assert run(["verify", verifications.NETWORK.hash, "--seeds", "6", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["recipe"], document["dataset"], document["target_pct"]) == ("smoke", "kmnist", 90.0)
    assert (document["row"]["name"], document["row"]["seeds"]) == ("mine", 6)


def test_interrupted_verification_suggests_resuming(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    def interrupt(job: object) -> None:
        raise KeyboardInterrupt

    seeds.watch = interrupt

    assert run(["verify", NETWORK]) == 130

    assert "resume with the same command" in capsys.readouterr().err
