"""How ``harness search`` ends without an answer, through the command: a real search whose trainings are made up."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.system.files import Workspace
from harness.training.executor import Broken
from harness.training.result import Status
from reports import study_page
from reports.answer import NextStep, next_step
from reports.study_facts import read_study
from tests.harness import scripted
from tests.harness.scripted import Trainer

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "@few.space")
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"


@pytest.fixture
def trainer(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Networks with 310 errors on validation, where 300 are allowed; no report is drawn."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(study_page, "write_report", lambda folder, place, study=None: folder / "report.html")
    (workspace / "few.space").write_text(FEW, encoding="utf-8")
    made = scripted.without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 96.9
    return made


def documents(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 3) -> dict[str, Any]:
    """Return what a search prints with ``--json``."""
    assert run([*arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def planned(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, Any]:
    """Return the plan of a command that was named to be pasted."""
    program, *arguments = shlex.split(command)
    assert program == "harness"
    return documents(capsys, *arguments, "--plan", code=0)


def test_the_command_named_after_too_few_trials_goes_on_with_the_same_study(
    trainer: Trainer, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    given = (*SEARCH, "--trials", "2", "--trial-time", "90s", "--target", "97", "--time", "1h")
    document = documents(capsys, *given)

    assert (document["reached"], document["winner"], document["trained"]) == (False, None, 2)
    assert document["last_words"]["why"] == "trials"
    nearest = document["nearest_miss"]
    assert (nearest["errors"], nearest["allowed"], nearest["runs"]) == (310, 300, 1)
    plan = planned(capsys, document["last_words"]["command"])
    assert (plan["study"], plan["exists"]) == (document["study"], True)
    assert (plan["effort"]["trials"], plan["effort"]["seconds"]) == (4, 3600)
    assert plan["effort"]["limits"]["seconds"] == 90
    config = json.loads((workspace / "runs" / document["study"] / "config.json").read_text(encoding="utf-8"))
    assert plan["config"] == config["config"]


def test_a_search_that_is_over_says_the_same_again(trainer: Trainer, capsys: pytest.CaptureFixture[str]):
    first = documents(capsys, *SEARCH, "--trials", "2")
    asked = len(trainer.asked)

    again = documents(capsys, *SEARCH, "--trials", "2")

    assert again["last_words"] == first["last_words"]
    assert again["nearest_miss"] == first["nearest_miss"]
    assert len(trainer.asked) == asked


def test_a_time_without_an_answer_is_doubled(trainer: Trainer, capsys: pytest.CaptureFixture[str]):
    document = documents(capsys, *SEARCH, "--time", "0.001s", "--study", "mine")

    assert document["last_words"]["why"] == "time"
    plan = planned(capsys, document["last_words"]["command"])
    assert (plan["study"], plan["exists"]) == ("mine", True)
    assert plan["effort"]["seconds"] > document["seconds"]


def test_a_space_that_is_used_up_begins_a_study_of_another_configuration(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
):
    # The largest, 238 parameters, is the nearest: a budget of 300 binds.
    trainer.accuracy_pct = lambda parameters, seed: 96.9 if parameters > 200 else 96.0
    document = documents(capsys, *SEARCH, "--study", "mine", "--budget", "300", "--epochs", "30")

    assert document["trained"] == 3
    assert document["last_words"]["why"] == "space"
    plan = planned(capsys, document["last_words"]["command"])
    assert (plan["config"]["budget"], plan["config"]["space"], plan["exists"]) == (600, "few", False)


def test_runs_that_ran_out_of_memory_are_not_counted_as_trained(trainer: Trainer, capsys: pytest.CaptureFixture[str]):
    trainer.special = lambda job: Broken(job, Status.OUT_OF_MEMORY, "took 300 MiB; 64 MiB allowed")
    document = documents(capsys, *SEARCH, "--trials", "2", "--trial-memory", "64")

    assert (document["trained"], document["last_words"]["why"]) == (0, "trials")
    assert "2 runs ended out of memory" in document["last_words"]["sentences"][0]


def test_a_target_out_of_reach_is_lowered(trainer: Trainer, capsys: pytest.CaptureFixture[str]):
    trainer.accuracy_pct = lambda parameters, seed: 80.0
    document = documents(capsys, *SEARCH)

    assert document["last_words"]["why"] == "target"
    plan = planned(capsys, document["last_words"]["command"])
    assert 0 < plan["config"]["target_pct"] < 80
    assert plan["config"]["budget"] == document["budget"]


def test_the_terminal_and_the_report_advise_the_same(
    trainer: Trainer, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    document = documents(capsys, *SEARCH, "--trials", "2")
    words = document["last_words"]
    told = [*words["sentences"], f"this command {words['advice']}:", f"  {words['command']}"]

    assert run([*SEARCH, "--trials", "2"]) == 3
    assert capsys.readouterr().out.splitlines()[: len(told)] == told
    assert next_step(read_study(Path(document["report"]).parent, Workspace(workspace))) == NextStep(
        words["command"], words["advice"]
    )
