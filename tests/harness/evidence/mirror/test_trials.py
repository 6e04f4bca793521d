"""The trials that a log tells of, compared with the results that the same search has left in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evidence import study
from harness.evidence.mirror.trials import LOST, OPEN, State, Story, all_trials, read_on
from harness.system.errors import ContentError
from harness.training.result import Purpose, Status
from tests.harness import logged, scripted
from tests.harness.scripted import Trainer

STATES = {Status.COMPLETE: State.COMPLETE, Status.PRUNED: State.PRUNED}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def told(folder: Path) -> Story:
    story = Story(folder, study.read_config(folder))
    read_on(story)
    return story


def test_each_network_is_a_trial_with_the_errors_and_the_state_of_its_first_run(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort())

    trials = all_trials(told(tmp_path), is_running=False)

    results = [found for found in study.finished_results(tmp_path) if found.purpose is Purpose.SEARCH]
    assert len(trials) == len(results) == 20
    assert {trial.state for trial in trials} == {State.COMPLETE, State.PRUNED}
    for trial, result in zip(trials, results, strict=True):
        errors = {epoch.epoch: epoch.validation_errors for epoch in result.history}
        assert trial.state is STATES[result.status]
        assert {key: trial.attributes[key] for key in ("network", "hash", "parameters", "seed")} == {
            "network": str(result.architecture),
            "hash": result.hash,
            "parameters": result.parameters,
            "seed": result.seed,
        }
        assert trial.decisions == result.decisions
        assert set(trial.errors_pct) == {2, 4, 8} & set(errors)
        assert trial.errors_pct == {epoch: 100 * (errors[epoch] or 0) / scripted.SIZE for epoch in trial.errors_pct}
        complete = (100 * (result.validation_errors or 0) / scripted.SIZE, result.parameters)
        assert trial.values == (complete if result.status is Status.COMPLETE else None)


def test_what_confirms_a_network_is_an_attribute_of_the_study(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort())

    attributes = told(tmp_path).attributes

    (winner,) = scripted.events(tmp_path, "winner")
    fresh = [found for found in study.finished_results(tmp_path) if found.purpose is Purpose.CONFIRM]
    assert attributes["winner's trial"] == attributes["smallest confirmed trial"] == winner["trial"]
    assert attributes["winner's parameters"] == winner["parameters"]
    assert attributes[f"trial {winner['trial']}: errors on fresh seeds (%)"] == {
        str(found.seed_index): 100 * (found.validation_errors or 0) / scripted.SIZE
        for found in fresh
        if found.trial == winner["trial"]
    }
    assert attributes["search"] == "ended: trials"


def test_the_accuracy_of_a_winner_that_missed_is_not_that_of_the_next_one(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort())
    (winner,) = scripted.events(tmp_path, "winner")
    logged.note(tmp_path, "verified", 90.0, tier="measured", mean_test_accuracy_pct=99.39, passed=False)
    assert told(tmp_path).attributes["test accuracy (%)"] == 99.39

    facts = {"hash": "ab", "parameters": 9_000}
    logged.note(tmp_path, "winner", 91.0, trial=winner["trial"] + 1, **facts)

    attributes = told(tmp_path).attributes
    assert attributes["winner's parameters"] == 9_000
    assert (attributes["verified"], attributes["test accuracy (%)"]) == (None, None)


def test_a_log_is_read_on_from_where_it_was_left_and_a_torn_line_waits_for_its_end(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path / "whole", scripted.config(), scripted.effort(trials=4))
    whole = told(tmp_path / "whole")
    content = (tmp_path / "whole" / "log.jsonl").read_bytes()
    part = Story(tmp_path, whole.config)

    for end in (*range(0, len(content), 97), len(content)):
        (tmp_path / "log.jsonl").write_bytes(content[:end])
        read_on(part)

    assert (part.trials, part.attributes, part.offset) == (whole.trials, whole.attributes, len(content))


def test_a_network_without_a_result_waits_while_no_search_runs(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=3))
    log = tmp_path / "log.jsonl"
    before, proposed, _ = log.read_text().rpartition('{"event": "proposed"')
    log.write_text(before + proposed + log.read_text()[len(before + proposed) :].splitlines(keepends=True)[0])
    story = told(tmp_path)

    open_ = [[trial.state for trial in all_trials(story, is_running=is_running)][-1] for is_running in (True, False)]

    assert open_ == list(OPEN)


def test_a_damaged_line_leaves_all_other_trials_their_numbers(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=4))
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    whole = all_trials(told(tmp_path), is_running=False)
    kept = [line for line in lines if not ('"proposed"' in line and '"trial": 1,' in line)]
    (tmp_path / "log.jsonl").write_text("".join(kept))

    trials = all_trials(told(tmp_path), is_running=False)

    assert trials == [whole[0], LOST, *whole[2:]]


@pytest.mark.parametrize("number", [99_999_999, -1])
def test_a_network_whose_number_the_log_is_too_short_for_is_refused(number: int, trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=2))
    log = tmp_path / "log.jsonl"
    before, proposed, after = log.read_text().rpartition('{"event": "proposed"')
    log.write_text(before + proposed + after.replace('"trial": 1,', f'"trial": {number},', 1))
    line = before.count("\n") + 1

    with pytest.raises(ContentError, match=f"^line {line} of {log} .* {number}"):
        told(tmp_path)


def test_a_run_that_ends_without_an_accuracy_has_failed(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 50.0
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=1))
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text().replace('"status": "pruned"', '"status": "timed_out"'))

    (trial,) = all_trials(told(tmp_path), is_running=False)

    assert (trial.state, trial.attributes["status"], trial.values) == (State.FAIL, "timed_out", None)
