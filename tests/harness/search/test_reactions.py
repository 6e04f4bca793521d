"""What follows from a report of a worker: pruning, typed outcomes, one retry of a crash, what the sampler hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from harness.evidence import study
from harness.search import loop as reactions
from harness.search import pruning, race
from harness.search.session import Moment, Session
from harness.system.errors import DataError, HarnessError
from harness.training.result import Purpose, Status, derive_seed
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished
from tests.harness import scripted
from tests.harness.scripted import Trainer
from tests.harness.silent import Silent

FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"
FAILURES = [Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.CRASHED]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def constant(accuracy_pct: float) -> Callable[[int, int], float]:
    return lambda parameters, seed: accuracy_pct


def broken(job: Job, status: Status) -> Event:
    """Return what a worker reports of a run that fails so; a loss that is not finite is a result with errors."""
    if status is Status.DIVERGED:
        return Finished(job, replace(scripted.made_result(job, constant(10.0), 3), status=status))
    return Broken(job, status, f"it was {status}")


def states(found: Session) -> list[str]:
    return [trial.state.name for trial in scripted.proposer_of(found).index.study.trials]


# Rungs ------------------------------------------------------------------------------------------------------


def test_a_run_that_cannot_reach_the_threshold_is_pruned_at_the_first_rung(trainer: Trainer, tmp_path: Path):
    # 98.8 %: 120 errors at the end, 347 after 2 of 8 epochs; 0.3 of these are 104, and 100 are allowed.
    trainer.accuracy_pct = constant(98.8)

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=1))

    (rung,) = scripted.events(tmp_path, "rung")
    assert (rung["epoch"], rung["validation_errors"], rung["pruned"], rung["exempt"]) == (2, 347, True, False)
    assert (rung["ratio"], rung["predicted_pct"]) == (0.3, pytest.approx(100 - 1.041))
    first = found.candidates[0].first
    assert first is not None
    assert (first.status, len(first.history)) == (Status.PRUNED, 2)
    assert all(figure in first.message for figure in ("epoch 2", "98.9590 %", "99.0000 %"))
    assert states(found) == ["PRUNED"]
    assert scripted.proposer_of(found).index.study.trials[0].constraints == {"accuracy": pytest.approx(2.47)}


def test_a_run_that_still_can_goes_on_to_the_next_rung_and_the_end(trainer: Trainer, tmp_path: Path):
    # 98.95 %: 105 errors, 304 at the first rung (0.3 of them: 91), 174 at the second (0.55 of them: 96).
    trainer.accuracy_pct = constant(98.95)

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=1))

    assert [(job.until_epoch, job.spent_seconds) for job in trainer.asked] == [(2, 0.0), (4, 2.0), (None, 4.0)]
    assert [event["pruned"] for event in scripted.events(tmp_path, "rung")] == [False, False]
    assert found.candidates[0].first is not None
    assert found.candidates[0].first.status is Status.COMPLETE
    assert states(found) == ["COMPLETE"]


def test_no_run_is_pruned_that_can_reach_the_threshold_by_the_ratio(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(seed=3), scripted.effort(trials=40))

    rungs = scripted.events(tmp_path, "rung")
    assert sum(event["pruned"] for event in rungs) > 5
    assert sum(not event["pruned"] for event in rungs) > 5
    for event in rungs:
        hopeless = event["predicted_pct"] < 99.0 - 1e-9
        assert event["pruned"] == (hopeless and not event["exempt"])
        assert not event["exempt"] or hopeless


def test_an_exempt_network_goes_to_its_end_and_says_so(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer.accuracy_pct = constant(98.0)
    monkeypatch.setattr(pruning, "is_exempt", lambda network_hash: True)

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=1))

    rungs = scripted.events(tmp_path, "rung")
    assert [(event["epoch"], event["pruned"], event["exempt"]) for event in rungs] == [
        (2, False, True),
        (4, False, True),
    ]
    assert found.candidates[0].first is not None
    assert found.candidates[0].first.status is Status.COMPLETE


def test_after_eight_runs_to_the_end_the_study_prunes_by_its_own_ratio(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pruning, "is_exempt", lambda network_hash: False)
    # 104 errors at the end, 301 at the rung: the prior of 0.3 hopes for 90, the study's own 0.3455 for 104.
    trainer.accuracy_pct = constant(98.96)

    found = scripted.run(tmp_path, scripted.config(sampler="random", rungs=(2,)), scripted.effort(trials=12))

    ends = [found.candidates[trial].first for trial in range(12)]
    assert [end.status for end in ends if end] == [Status.COMPLETE] * 8 + [Status.PRUNED] * 4


def test_fresh_seeds_have_no_rungs(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort())

    jobs = [job for job in trainer.asked if job.purpose is Purpose.CONFIRM]
    assert jobs
    assert {job.until_epoch for job in jobs} == {None}


# Progress ---------------------------------------------------------------------------------------------------


def test_a_watcher_sees_the_nearest_miss_until_a_network_stands(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Moment] = []
    monkeypatch.setattr(Silent, "tick", lambda self, at: seen.append(at))
    # The smaller ones miss by five errors.
    trainer.accuracy_pct = lambda parameters, seed: 98.95 if parameters < 200 else 99.5

    scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=3))

    before = [at.nearest for at in seen if at.standing is None]
    after = [at.nearest for at in seen if at.standing is not None]
    assert any(nearest is not None for nearest in before)
    assert after
    assert set(after) == {None}


# Failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", FAILURES)
def test_a_failed_first_run_is_an_outcome_and_the_search_goes_on(status: Status, trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: broken(job, status) if job.trial == 1 else None

    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=6))

    failed = found.candidates[1].first
    assert failed is not None
    assert failed.status is status
    assert failed.message == ("" if status is Status.DIVERGED else f"it was {status}")
    others = [candidate.first for trial, candidate in found.candidates.items() if trial != 1]
    assert len(others) == 5
    assert all(first and first.status in (Status.COMPLETE, Status.PRUNED) for first in others)
    assert scripted.proposer_of(found).index.study.trials[1].state is TrialState.FAIL
    assert found.candidates[1].fresh == []
    asked = [job for job in trainer.asked if job.trial == 1]
    assert len(asked) == (2 if status is Status.CRASHED else 1)
    assert [result for result in study.finished_results(tmp_path) if result.trial == 1] == [failed]


def test_the_file_of_a_failed_run_names_all_that_is_known(trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: Broken(job, Status.TIMED_OUT, "too slow")

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=1))

    (result,) = study.finished_results(tmp_path)
    proposal = found.candidates[0].proposal
    assert (result.architecture, result.hash, result.parameters) == (
        proposal.architecture,
        proposal.hash,
        proposal.parameters,
    )
    assert result.macs == scripted.facts(proposal.architecture)[2]
    assert result.seed == derive_seed(proposal.hash, scripted.RECIPE_HASH, Purpose.SEARCH, 0, 0)
    assert (result.trial, result.study, result.decisions) == (0, tmp_path.name, proposal.decisions)
    assert (result.validation_errors, result.history) == (None, ())


def test_a_run_whose_worker_crashed_once_is_run_again_from_its_rung(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = constant(99.5)
    crashes = iter([True])
    trainer.special = lambda job: (
        Broken(job, Status.CRASHED, "signal 9") if job.until_epoch == 4 and next(crashes, False) else None
    )

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(trials=1))

    assert [job.until_epoch for job in trainer.asked][:4] == [2, 4, 4, None]
    assert found.candidates[0].first is not None
    assert found.candidates[0].first.status is Status.COMPLETE


@pytest.mark.parametrize("status", FAILURES)
def test_a_failed_fresh_seed_counts_against_a_network(status: Status, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = constant(99.5)
    trainer.special = lambda job: (
        broken(job, status) if job.purpose is Purpose.CONFIRM and job.seed_index == 1 else None
    )

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())

    assert scripted.events(tmp_path, "winner") == []
    for candidate in found.candidates.values():
        assert [run.status for run in candidate.fresh][1] is status
        assert not race.is_confirmed(candidate, 99.0)


def test_ten_crashes_in_a_row_end_the_search_with_the_last_message(trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: Broken(job, Status.CRASHED, f"CUDA error {job.trial}")

    with pytest.raises(HarnessError, match=r"^10 runs in a row crashed, the last one with: CUDA error 9$") as caught:
        scripted.run(tmp_path, scripted.config(), scripted.effort())

    assert caught.value.exit_code == 1
    assert len(study.finished_results(tmp_path)) == reactions.MOST_CRASHES == 10


def test_crashes_with_other_outcomes_between_them_do_not_end_the_search(trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: Broken(job, Status.CRASHED, "") if (job.trial or 0) % 5 else None

    found = scripted.run(tmp_path, scripted.config(sampler="random"), scripted.effort(trials=20))

    assert found.reason == "trials"


def test_data_that_are_gone_end_the_search(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def gone(job: Job) -> Event:
        raise DataError("the data went away")

    trainer.special = gone

    with pytest.raises(DataError, match=r"^the data went away$"):
        scripted.run(tmp_path, scripted.config(), scripted.effort())

    assert study.finished_results(tmp_path) == []


# Files ------------------------------------------------------------------------------------------------------


def test_a_finished_run_leaves_a_result_and_no_checkpoint(trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=6))

    runs = sum(1 + len(candidate.fresh) for candidate in found.candidates.values())
    assert len(study.finished_results(tmp_path)) == runs
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert len(scripted.events(tmp_path, "finished")) == runs
