"""A session as it is opened from a study's files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.search.prior import keep, shipped
from harness.search.resume import open_session
from harness.training.result import Purpose
from harness.training.workers import Source
from tests.harness import scripted
from tests.harness.scripted import Trainer
from tests.harness.silent import Silent


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def test_a_resumed_study_learns_from_the_trainings_that_it_keeps(trainer: Trainer, tmp_path: Path):
    past = tuple(item for item in shipped("mnist") if item.learning_rate == scripted.RECIPE.learning_rate)[:5]
    assert len(past) == 5
    other = replace(past[0], learning_rate=0.5)
    keep(tmp_path, (*past, other))

    with_past = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())
    without = open_session(tmp_path / "new", scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    assert [seen.errors for seen in scripted.proposer_of(with_past).past] == [item.errors for item in past]
    assert scripted.proposer_of(with_past).ladder == []
    assert scripted.proposer_of(without).past == ()
    assert scripted.proposer_of(without).ladder != []


def test_networks_without_a_result_are_waiting_when_a_session_opens(trainer: Trainer, tmp_path: Path):
    with scripted.killed_at(trainer, 60):
        scripted.run(tmp_path, scripted.config(), scripted.effort(workers=3, trials=9))

    found = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    open_trials = [trial for trial, candidate in found.candidates.items() if candidate.first is None]
    assert open_trials
    assert [job.trial for job in found.waiting] == open_trials
    assert {job.purpose for job in found.waiting} == {Purpose.SEARCH}
    assert sorted(scripted.proposer_of(found).running) == open_trials


def test_a_result_whose_note_was_lost_is_noted_and_told_when_the_session_opens(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=3))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    lost = next(line for line in reversed(lines) if '"finished"' in line and '"search"' in line)
    (tmp_path / "log.jsonl").write_text("\n".join(line for line in lines if line != lost) + "\n")

    found = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    (*_, again) = scripted.events(tmp_path, "finished")
    kept = {"utc", "elapsed"}
    assert {name: value for name, value in json.loads(lost).items() if name not in kept} == {
        name: value for name, value in again.items() if name not in kept
    }
    assert scripted.proposer_of(found).running == {}
    assert found.waiting == []


def test_a_standing_network_whose_note_was_lost_is_noted_when_the_session_opens(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=9))
    (*_, last) = scripted.events(tmp_path, "standing")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    kept = [line for line in lines if not ('"event": "standing"' in line and f'"trial": {last["trial"]},' in line)]
    (tmp_path / "log.jsonl").write_text("\n".join(kept) + "\n")

    open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    (*_, again) = scripted.events(tmp_path, "standing")
    names = ("trial", "hash", "parameters", "budget")
    assert [again[name] for name in names] == [last[name] for name in names]
