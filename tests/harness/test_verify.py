"""Verification: which seeds are run, how they join the record, and what they prove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import record, verify, workers
from harness.errors import HarnessError, UsageError
from harness.leaderboard import Tier
from harness.record import Record
from harness.recipes import RECIPES
from harness.result import Status
from harness.run import Job
from harness.seeds import Purpose, derive_seed
from harness.study import owned
from harness.workers import Broken, Event, Finished, Limits, Source, Worker
from harness.workspace import Workspace
from search_spaces.notation import parse_network
from tests.harness import unrun
from tests.harness.unrun import Seeds


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)


def recorded(place: Workspace) -> Record:
    [there] = record.read_all(place.records)
    return there


# Which seeds -------------------------------------------------------------------------------------------------


def test_each_seed_is_a_verification_that_reads_the_test_set_into_the_log(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(3), device="cuda:1"))

    assert seeds.indices == [0, 1, 2]
    for job in seeds.asked:
        assert (job.purpose, job.test_log, job.study) == (Purpose.VERIFY, place.test_log, None)
        assert (job.architecture, job.recipe, job.device) == (str(unrun.NETWORK), RECIPES["fast"].recipe, "cuda:1")
        assert not job.test_each_epoch


def test_only_a_recipe_of_a_document_looks_at_the_test_set_each_epoch(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(1), recipe=RECIPES["seed4"]))

    assert seeds.asked[0].test_each_epoch
    assert recorded(place).assumed == RECIPES["seed4"].assumed


def test_a_real_verification_runs_the_fixed_seeds_and_repeats_them_bit_for_bit(place: Workspace):
    network = parse_network("conv3x3(2) bn relu maxpool gap linear(10)")
    smoke = RECIPES["smoke"]
    planned = unrun.plan(range(2), architecture=network, recipe=smoke, dataset="mnist-5k", target_pct=97.0)

    first = unrun.run(place, planned)
    again = unrun.run(place, replace(planned, indices=(1,)))

    ours = [run.seed for run in first.runs]
    assert ours == [derive_seed(network.hash, smoke.recipe.hash, Purpose.VERIFY, index) for index in (0, 1)]
    searched = (Purpose.SEARCH, Purpose.CONFIRM)
    assert not {derive_seed(network.hash, smoke.recipe.hash, use, i) for use in searched for i in range(2)} & {*ours}
    assert [repeat.identical for repeat in again.repeats] == [True]
    assert again.runs[0].weights_sha256 == first.runs[1].weights_sha256 != first.runs[0].weights_sha256
    assert again.runs[0].test_errors == first.runs[1].test_errors
    assert [run.test_size for run in recorded(place).seeds] == [500, 500]
    assert len(place.test_log.read_text(encoding="utf-8").splitlines()) == 3


# The record --------------------------------------------------------------------------------------------------


def test_new_seeds_join_the_record_and_repeated_ones_stay_as_they_were_measured(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(2)))
    seeds.errors = lambda index: 70

    verdict = unrun.run(place, unrun.plan(range(1, 4)))

    assert [run.test_errors for run in recorded(place).seeds] == [55, 55, 70, 70]
    assert [run.test_errors for run in verdict.runs] == [70, 70, 70]
    assert verdict.row.seeds == 4
    assert verdict.row.test_errors_mean == 62.5
    [repeat] = verdict.repeats
    assert (repeat.index, repeat.test_errors, repeat.recorded_test_errors) == (1, 70, 55)


@pytest.mark.parametrize(
    ("weights", "changes", "identical"),
    [
        ("a", {}, True),
        ("b", {}, False),
        ("b", {"commit": "1" * 40, "dirty": True}, False),
        ("b", {"torch": "2.12.0"}, None),
        ("b", {"instructions": "x86_64 AVX512"}, None),
        ("b", {"threads": 2}, None),
        ("a", {"torch": "2.12.0"}, True),
    ],
)
def test_a_repeat_is_compared_with_the_record(
    weights: str, changes: dict[str, object], identical: bool | None, place: Workspace, seeds: Seeds
):
    seeds.weights = lambda index: "a"
    unrun.run(place, unrun.plan(range(1)))
    seeds.weights = lambda index: weights
    seeds.environment = replace(unrun.ENVIRONMENT, **changes)  # type: ignore[arg-type]

    verdict = unrun.run(place, unrun.plan(range(1)))

    assert [repeat.identical for repeat in verdict.repeats] == [identical]


@pytest.mark.parametrize(
    ("errors", "weights", "contradicted"),
    [
        (lambda index: 90 + index, "other", True),
        (lambda index: 90 + index, "same", False),
        (lambda index: 50 + index, "other", False),
        (lambda index: 20 + index, "other", False),
    ],
)
def test_a_rerun_that_is_worse_contradicts_the_record(
    errors: object, weights: str, contradicted: bool, place: Workspace, seeds: Seeds
):
    seeds.errors, seeds.weights = lambda index: 50 + index, lambda index: "same"
    assert unrun.run(place, unrun.plan()).passed
    seeds.errors, seeds.weights = errors, lambda index: weights  # type: ignore[assignment]

    verdict = unrun.run(place, unrun.plan())

    assert verdict.row.reached
    assert verdict.contradicted is contradicted
    assert verdict.passed is not contradicted


def test_new_seeds_alone_contradict_nothing(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan())
    seeds.errors = lambda index: 62 + index % 2

    assert not unrun.run(place, unrun.plan(range(5, 10))).contradicted


def test_a_diverged_seed_counts_with_its_errors(place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 9020 if index == 2 else 50
    seeds.status = lambda index: Status.DIVERGED if index == 2 else Status.COMPLETE

    verdict = unrun.run(place, unrun.plan())

    assert (verdict.row.diverged, verdict.row.test_errors_mean) == (1, (4 * 50 + 9020) / 5)
    assert not verdict.passed


def test_the_record_is_told_from_one_of_another_target(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(2)))

    verdict = unrun.run(place, unrun.plan(range(2), target_pct=99.0))

    assert (verdict.row.seeds, verdict.repeats) == (2, ())
    assert len(record.read_all(place.records)) == 2


# What it proves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 6, 7, 12])
@pytest.mark.parametrize("spread", [0, 7])
def test_a_mean_of_exactly_the_target_is_verified(count: int, spread: int, place: Workspace, seeds: Seeds):
    # 60 of 10,000 are 0.6 %; an odd one out stays at the mean.
    last = count - 1 if count % 2 else count
    seeds.errors = lambda index: 60 if index == last else 60 + spread * (-1) ** index

    verdict = unrun.run(place, unrun.plan(range(count)))

    assert sum(run.test_errors for run in verdict.runs) == 60 * count
    assert (verdict.row.tier, verdict.passed) == (Tier.VERIFIED, True)


@pytest.mark.parametrize(("count", "last"), [(1, 30), (4, 30), (5, 61), (12, 61)])
def test_too_few_seeds_or_one_error_too_many_are_measured(count: int, last: int, place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: last if index == count - 1 else 60

    verdict = unrun.run(place, unrun.plan(range(count)))

    assert (verdict.row.tier, verdict.passed) == (Tier.MEASURED, False)


def test_what_is_on_record_is_told_without_running_a_seed(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan())
    seeds.asked.clear()

    verdict = verify.recorded_verdict(unrun.plan([3, 4, 5]), place)

    assert seeds.asked == []
    assert [run.index for run in verdict.runs] == [3, 4]
    assert (verdict.row.seeds, verdict.passed, verdict.repeats) == (5, True, ())


# Interruptions and faults ------------------------------------------------------------------------------------


def test_what_an_interrupted_call_has_finished_is_not_run_twice(place: Workspace, seeds: Seeds):
    seeds.watch = interrupt_at(3)
    with pytest.raises(KeyboardInterrupt):
        unrun.run(place, unrun.plan())
    assert [run.index for run in recorded(place).seeds] == [0, 1, 2]
    assert verify.finished_indices(unrun.plan([2, 3]), place) == {2}
    seeds.asked.clear()
    seeds.watch = lambda job: None

    verdict = unrun.run(place, unrun.plan())

    assert seeds.indices == [3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert (verdict.repeats, verdict.contradicted) == ((), False)
    assert list(place.runs.iterdir()) == []


def test_a_seed_that_was_finished_but_not_recorded_is_recorded(
    place: Workspace, seeds: Seeds, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record, "write", lambda folder, made: interrupt_at(0)(seeds.asked[0]))
        unrun.run(place, unrun.plan(range(2)))

    unrun.run(place, unrun.plan(range(2)))

    assert seeds.indices == [0, 1]
    assert [run.index for run in recorded(place).seeds] == [0, 1]


def test_two_processes_do_not_verify_the_same_row(place: Workspace, seeds: Seeds):
    with owned(verify._folder(unrun.plan(), place)), pytest.raises(UsageError, match="another process is working in"):
        unrun.run(place, unrun.plan())

    assert seeds.asked == []


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Workers that answer at once; ``breaking`` of the fixture ``breaks`` do not."""
    started: list[Worker] = []

    def start(source: Source, count: int) -> list[Worker]:
        started.extend(Worker(None, None, source) for _ in range(count))  # type: ignore[arg-type]
        return started

    monkeypatch.setattr(workers, "start", start)
    monkeypatch.setattr(workers, "assign", lambda worker, job: setattr(worker, "job", job))
    monkeypatch.setattr(workers, "stop", lambda pool: pool.clear())
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return started


def breaking(times: dict[int, int], answers: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers of some seeds break so many times."""

    def poll(pool: list[Worker], limits: Limits, timeout: float) -> list[Event]:
        events: list[Event] = []
        for worker in pool:
            if (job := worker.job) is not None:
                worker.job = None
                if times.get(job.seed_index, 0) > 0:
                    times[job.seed_index] -= 1
                    events.append(Broken(job, Status.CRASHED, "ended with signal 9"))
                else:
                    events.append(Finished(job, answers.answer(job, "mnist")))
        return events

    monkeypatch.setattr(workers, "poll", poll)


def test_a_seed_whose_worker_breaks_is_run_again(place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch):
    seeds = Seeds()
    breaking({1: 2, 3: 1}, seeds, monkeypatch)

    verdict = unrun.run(place, unrun.plan(workers=2))

    assert sorted(seeds.indices) == [0, 1, 2, 3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert pool == []


def test_a_seed_that_breaks_three_times_ends_it_and_the_others_are_kept(
    place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch
):
    breaking({1: 3}, Seeds(), monkeypatch)

    with pytest.raises(HarnessError, match="^seed 1 failed 3 times: ended with signal 9$"):
        unrun.run(place, unrun.plan(range(3)))

    assert pool == []
    assert verify.finished_indices(unrun.plan(range(3)), place) == {0, 2}


def test_no_more_workers_are_started_than_there_are_seeds(
    place: Workspace, pool: list[Worker], monkeypatch: pytest.MonkeyPatch
):
    breaking({}, Seeds(), monkeypatch)
    asked: list[int] = []
    start = workers.start
    monkeypatch.setattr(workers, "start", lambda source, count: asked.append(count) or start(source, count))  # type: ignore[func-returns-value]

    unrun.run(place, unrun.plan(range(2), workers=8))

    assert asked == [2]


def interrupt_at(index: int):
    """Return what is called with a job and presses Ctrl-C at that seed."""

    def watch(job: Job) -> None:
        if job.seed_index == index:
            raise KeyboardInterrupt

    return watch
