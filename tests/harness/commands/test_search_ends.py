"""``harness search`` from the command line, with a stub in place of the training: what it says at its end."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import shown_search
from harness.cli import run
from harness.evidence.events import Postponed, SessionEnded
from harness.evidence.leaderboard import row_of_record
from harness.evidence.record import Record
from harness.evidence.verify import Verdict
from harness.search import finish, loop
from harness.search.race import Candidate
from tests.harness import scripted
from tests.harness.commands.stubbed_search import SEARCH, searched, stub, typed
from tests.wording import lacking


@pytest.fixture(autouse=True)
def stubs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)


def test_no_winner_is_exit_code_3(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    searched(monkeypatch)

    assert run([*SEARCH, "--study", "one"]) == 3
    captured = capsys.readouterr()
    *words, command, report = captured.out.splitlines()
    assert "20,000 parameters" in words[0]
    assert "97.00 %" in words[0]
    assert "1 min 30 s" in words[0]
    assert typed(command) == typed(shlex.join(("harness", *SEARCH, "--study", "one", "--time", "1h54m")))
    assert report == f"report: {workspace}/runs/one/report.html"
    assert "new study one in" in captured.err
    assert run([*SEARCH, "--study", "one", "--json"]) == 3
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["study"], document["winner"], document["reached"]) == ("one", None, False)
    assert (document["nearest_miss"], document["last_words"]["why"]) == (None, "time")
    assert document["last_words"]["command"] == command.strip()
    assert lacking(captured.err, "resuming study one in", "1 min 30 s used") == []


def test_a_space_that_has_no_further_network_is_said_to_be_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    why = "none of 20,000 draws keeps the budget"
    searched(monkeypatch, event=SessionEnded(reason="exhausted", message=why))

    assert run([*SEARCH, "--study", "one"]) == 3
    assert why in capsys.readouterr().out


def test_a_postponed_verification_names_the_time_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    searched(monkeypatch, event=Postponed(parameters=1234, hash="abc", seconds=271.0))

    assert run([*SEARCH, "--study", "one", "--time", "5m"]) == 3
    shown = capsys.readouterr().out
    assert "1,234 parameters" in shown
    assert "hash abc" in shown
    # 90 and 271 seconds are more than 6 minutes.
    command = shown.splitlines()[-2]
    assert typed(command) == typed(shlex.join(("harness", *SEARCH, "--study", "one", "--time", "7m")))


def test_a_verification_that_missed_is_told_after_its_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], new_record: Callable[..., Record]
):
    record = new_record([62, 64, 66, 60, 63])
    searched(monkeypatch, Verdict(record, row_of_record(record), record.seeds, (), False))

    assert run([*SEARCH, "--study", "one"]) == 3
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("measured: ")
    assert any("63.0 test errors over 5 seeds" in line and ", 3.0 more" in line for line in shown)
    assert typed(shown[-2]) == typed(shlex.join(("harness", *SEARCH, "--seed", "1")))


def test_a_verified_winner_is_said_with_the_command_that_runs_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], new_record: Callable[..., Record]
):
    record = new_record([50, 52, 54, 50, 51])
    row = row_of_record(record)
    searched(monkeypatch, Verdict(record, row, record.seeds, (), False))
    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")

    assert run([*SEARCH, "--study", "one"]) == 0
    assert f"run it again: ./scripts/harness verify {row.hash} --seeds 5\n" in capsys.readouterr().out
    assert run([*SEARCH, "--study", "one", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["reached"], document["nearest_miss"], document["last_words"]) == (True, None, None)


def test_after_an_answer_the_command_that_trains_a_smaller_network_again_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], new_record: Callable[..., Record]
):
    record = new_record([50, 52, 54, 50, 51])
    job = scripted.first_job(scripted.proposal(3, "gap linear(10)"))
    passed = scripted.made_result(job, lambda parameters, seed: 99.9, job.recipe.epochs)
    smaller = Candidate(scripted.proposal(3, "gap linear(10)"), passed.parameters, first=passed)
    verdict = Verdict(record, row_of_record(record), record.seeds, (), False)
    searched(monkeypatch, verdict, contenders={3: smaller})

    assert run([*SEARCH, "--study", "one", "--time", "5m"]) == 0
    *_, said, goes_on, command, _ = capsys.readouterr().out.splitlines()
    assert "20 parameters, 10 errors, " in said
    assert "the same study" in goes_on
    assert typed(command) == typed(shlex.join(("harness", *SEARCH, "--study", "one", "--time", "10m")))


def test_an_interrupted_search_says_how_it_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    searched(monkeypatch, interrupted=True)
    monkeypatch.setattr(finish, "conclude", lambda *arguments: pytest.fail("it was concluded"))
    monkeypatch.setattr(sys, "argv", ["harness", *SEARCH, "--study", "my study"])
    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")

    assert run([*SEARCH, "--study", "my study"]) == 130
    assert capsys.readouterr().err.endswith("error: interrupted\nhint: resume with the same command\n")


def test_a_search_refreshes_its_report_at_every_beat(monkeypatch: pytest.MonkeyPatch):
    searched(monkeypatch)
    end: Any = loop.run_search
    refreshed: list[object] = []
    monkeypatch.setattr(shown_search.LiveReport, "refresh", lambda self: refreshed.append(self))

    def beat(search: Any, command: list[str]) -> None:
        search.watcher.heartbeat()
        search.watcher.heartbeat()
        end(search, command)

    monkeypatch.setattr(loop, "run_search", beat)

    assert run([*SEARCH, "--study", "one"]) == 3
    assert len(refreshed) == 2
