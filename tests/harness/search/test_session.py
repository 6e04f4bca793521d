"""A session as it is opened from a study's files, and what it keeps of its runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.search import session
from harness.search.proposals.features import work
from harness.search.proposals.prior import keep
from harness.search.proposals.trainings import shipped
from harness.search.race import Candidate
from harness.search.session import Session
from harness.training.result import Status
from harness.training.seeds import Purpose
from harness.training.workers.executor import Processes
from harness.training.workers.workers import Source, Worker
from search_spaces.task import MNIST
from tests.harness import scripted
from tests.harness.scripted import Trainer
from tests.harness.silent import Silent

PROPOSAL = scripted.proposal(0, "conv3x3(4) gap linear(10)")
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


@pytest.fixture
def opened(tmp_path: Path, trainer: Trainer) -> Session:
    found = session.open_session(
        tmp_path,
        scripted.config(space_text=FEW),
        scripted.effort(),
        Source("mnist", None),
        Silent(),
    )
    found.candidates[0] = Candidate(PROPOSAL)
    return found


def test_a_run_is_filed_once_whatever_comes_twice(opened: Session):
    candidate = opened.candidates[0]
    runs = [
        scripted.made_result(session.job_for(opened, candidate, Purpose.CONFIRM, index), scripted.by_size, 8)
        for index in (2, 0, 2)
    ]

    for run in runs:
        session.file_result(opened.candidates, run)

    assert [run.seed_index for run in candidate.fresh] == [0, 2]
    assert candidate.first is None


def test_a_first_run_is_no_fresh_seed(opened: Session):
    run = scripted.made_result(scripted.first_job(PROPOSAL), scripted.by_size, 8)

    session.file_result(opened.candidates, run)
    session.file_result(opened.candidates, replace(run, trial=7))

    assert opened.candidates[0].first == run
    assert opened.candidates[0].fresh == []
    assert list(opened.candidates) == [0]


def test_the_first_run_stops_at_every_rung_and_fresh_seeds_do_not(opened: Session):
    candidate = opened.candidates[0]

    first = session.job_for(opened, candidate, Purpose.SEARCH, 0)
    fresh = session.job_for(opened, candidate, Purpose.CONFIRM, 4)

    assert (first.until_epoch, fresh.until_epoch) == (2, None)
    assert first.checkpoint == opened.folder / "checkpoints" / "trial-00000-search-0.pt"
    assert fresh.checkpoint == opened.folder / "checkpoints" / "trial-00000-confirm-4.pt"
    assert [session.next_rung(opened, 8, epoch) for epoch in (0, 2, 3, 4, 8)] == [2, 4, 4, None, None]


def test_a_network_of_another_length_is_trained_so_and_stops_at_rungs_of_its_own(opened: Session):
    candidate = Candidate(replace(PROPOSAL, epochs=20))

    first = session.job_for(opened, candidate, Purpose.SEARCH, 0)
    fresh = session.job_for(opened, candidate, Purpose.CONFIRM, 0)

    assert (first.recipe.epochs, first.recipe_name, first.until_epoch) == (20, "short-20ep", 5)
    assert (fresh.recipe, fresh.recipe_name, fresh.until_epoch) == (first.recipe, "short-20ep", None)
    assert replace(first.recipe, epochs=8) == scripted.RECIPE
    assert session.next_rung(opened, 20, 5) == 10


# Time -------------------------------------------------------------------------------------------------------


def file(opened: Session, *seconds: float) -> Candidate:
    """Let the network have so many fresh runs, which took so long."""
    candidate = opened.candidates[0]
    for index, each in enumerate(seconds):
        job = session.job_for(opened, candidate, Purpose.CONFIRM, index)
        run = scripted.made_result(job, scripted.by_size, 8)
        session.file_result(opened.candidates, replace(run, train_seconds=each))
    return candidate


def test_a_run_takes_what_the_whole_ones_before_took(opened: Session):
    candidate = file(opened, 7.0, 9.0)
    candidate.first = replace(candidate.fresh[0], status=Status.PRUNED, train_seconds=1.0)

    assert session.run_seconds(opened, candidate) == 8.0


def test_a_run_of_a_network_that_was_not_trained_takes_the_pace_of_the_others(opened: Session):
    estimated = session.run_seconds(opened, opened.candidates[0])
    pace = session.pace_of(opened)

    slow = file(opened, 3 * estimated)
    other = Candidate(replace(PROPOSAL, trial=1, epochs=16))

    assert session.run_seconds(opened, other) == pytest.approx(3 * 2 * estimated)
    assert session.run_seconds(opened, slow) == pytest.approx(3 * estimated)
    assert session.pace_of(opened).seconds_an_image == pytest.approx(3 * pace.seconds_an_image)
    # 8 epochs of 50,000 images by the figures of torch.
    assert estimated == pytest.approx(8 * 50_000 * (1.85e-4 + 3.35e-11 * work(PROPOSAL.architecture, MNIST)))


def test_without_an_end_there_is_room_for_any_training(opened: Session):
    found = session.room(opened)

    assert (found.seconds, found.left, found.images, found.workers) == (None, float("inf"), 50_000, 1)
    assert found.pace == session.pace_of(opened)


@pytest.mark.parametrize(
    ("workers", "rounds"),
    # The first run, two fresh seeds, and five of 1.2 times the length to verify; the workers share what they can.
    [(1, 1 + 2 + 5 * 1.2), (2, 1 + 1 + 3 * 1.2), (5, 1 + 1 + 1.2)],
)
def test_a_training_has_room_if_its_network_can_be_confirmed_and_verified(workers: int, rounds: float, opened: Session):
    opened.effort = scripted.effort(seconds=1_000.0, workers=workers)

    found = session.room(opened)

    # Raised by 15 %, and 20 s for what is no training.
    assert found.seconds == pytest.approx((1_000 - 12) / (1.1 * rounds), rel=1e-3)
    assert found.left == pytest.approx(1_000, rel=1e-3)
    opened.before = 990.0
    assert session.room(opened).seconds == 0.0


# Files ------------------------------------------------------------------------------------------------------


def test_free_seeds_leave_out_what_is_run_and_what_is_being_run(opened: Session):
    candidate = opened.candidates[0]
    for index in (0, 3):
        job = session.job_for(opened, candidate, Purpose.CONFIRM, index)
        session.file_result(opened.candidates, scripted.made_result(job, scripted.by_size, 8))
    jobs = [
        session.job_for(opened, candidate, Purpose.CONFIRM, 1),
        session.job_for(opened, candidate, Purpose.SEARCH, 2),
        replace(session.job_for(opened, candidate, Purpose.CONFIRM, 4), trial=9),
        None,
    ]
    source = Source("mnist", None)
    pool = [Worker(scripted.FakeProcess(), None, source, job) for job in jobs]  # type: ignore[arg-type]
    opened.executor = Processes(source, opened.effort.limits, pool)

    free = session.free_indices(opened, candidate)

    assert [next(free) for _ in range(4)] == [2, 4, 5, 6]


def test_what_is_left_is_infinite_without_an_end_in_time(opened: Session):
    assert opened.left == float("inf")
    opened.effort = scripted.effort(seconds=100.0)
    opened.before = 40.0
    assert 59.0 < opened.left < 60.0


def test_a_resumed_study_learns_from_the_trainings_that_it_keeps(trainer: Trainer, tmp_path: Path):
    past = tuple(item for item in shipped("mnist") if item.learning_rate == scripted.RECIPE.learning_rate)[:5]
    assert len(past) == 5
    other = replace(past[0], learning_rate=0.5)
    keep(tmp_path, (*past, other))

    with_past = session.open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())
    without = session.open_session(
        tmp_path / "new", scripted.config(), scripted.effort(), Source("mnist", None), Silent()
    )

    assert [seen.errors for seen in scripted.proposer_of(with_past).past] == [item.errors for item in past]
    assert scripted.proposer_of(with_past).ladder == []
    assert scripted.proposer_of(without).past == ()
    assert scripted.proposer_of(without).ladder != []


def test_networks_without_a_result_are_waiting_when_a_session_opens(trainer: Trainer, tmp_path: Path):
    with scripted.killed_at(trainer, 60):
        scripted.run(tmp_path, scripted.config(), scripted.effort(workers=3, trials=9))

    found = session.open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

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

    found = session.open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

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

    session.open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    (*_, again) = scripted.events(tmp_path, "standing")
    names = ("trial", "hash", "parameters", "budget")
    assert [again[name] for name in names] == [last[name] for name in names]
