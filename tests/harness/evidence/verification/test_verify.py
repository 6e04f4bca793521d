"""Verification: which seeds are run, how they join the record, and what they prove."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.training_images import load
from harness.evidence import record
from harness.evidence.leaderboard import Tier
from harness.evidence.record import Record
from harness.evidence.verification import verify
from harness.system import files
from harness.system.files import Workspace
from harness.training.recipe import RECIPES
from harness.training.result import Purpose, Result, Status, derive_seed
from harness.training.run import Job, TrainingData, execute
from harness.training.workers import Event, Processes
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
    unrun.run(place, unrun.plan(range(3), device="elsewhere"))

    assert seeds.indices == [0, 1, 2]
    for job in seeds.asked:
        assert (job.purpose, job.test_log, job.study) == (Purpose.VERIFY, place.test_log, None)
        assert (job.architecture, job.recipe, job.device) == (unrun.NETWORK, RECIPES["fast"].recipe, "elsewhere")
        assert not job.test_each_epoch


def test_only_a_recipe_of_a_document_looks_at_the_test_set_each_epoch(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(1), recipe=RECIPES["seed4"]))

    assert seeds.asked[0].test_each_epoch
    assert recorded(place).assumed == RECIPES["seed4"].assumed


def test_a_real_verification_runs_the_fixed_seeds_and_repeats_them_bit_for_bit(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    network = parse_network("conv3x3(2) bn relu maxpool gap linear(10)")
    smoke = RECIPES["smoke"]
    planned = unrun.plan(range(2), architecture=network, recipe=smoke, dataset="mnist-5k", target_pct=97.0)

    first = unrun.run(place, planned)
    monkeypatch.setattr(verify, "train_one_by_one", in_this_process)
    again = unrun.run(place, replace(planned, indices=(1,)))

    ours = [run.seed for run in first.runs]
    assert ours == [derive_seed(network.hash, smoke.recipe.hash, Purpose.VERIFY, index) for index in (0, 1)]
    searched = (Purpose.SEARCH, Purpose.CONFIRM)
    assert not {derive_seed(network.hash, smoke.recipe.hash, use, i) for use in searched for i in range(2)} & {*ours}
    assert [repeat.identical for repeat in again.reruns] == [True]
    assert again.runs[0].weights_sha256 == first.runs[1].weights_sha256 != first.runs[0].weights_sha256
    assert again.runs[0].test_errors == first.runs[1].test_errors
    assert [run.test_size for run in recorded(place).seeds] == [500, 500]
    assert len(place.test_log.read_text(encoding="utf-8").splitlines()) == 3


def test_seeds_that_train_together_enter_the_record_one_by_one(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    plain = unrun.plan(engine="auto", dataset="mnist-5k", target_pct=90.0, recipe=RECIPES["smoke"])
    monkeypatch.setattr(verify, "trains_together", lambda plan: True)
    verdict = unrun.run(place, replace(plain, indices=(0, 1, 2)))

    assert [run.index for run in verdict.runs] == [0, 1, 2]
    assert len({run.weights_sha256 for run in recorded(place).seeds}) == 3
    assert len(place.test_log.read_text(encoding="utf-8").splitlines()) == 3


def in_this_process(
    waiting: list[Job], executor: Processes, workers: int, on_event: Callable[[Event], None]
) -> Iterator[Result]:
    """Train without a worker process, which takes a while to start."""
    bench = TrainingData.of(load(executor.source.dataset, executor.source.folder, allow_download=False))
    while waiting:
        yield execute(waiting.pop(0), bench)


# The record --------------------------------------------------------------------------------------------------


def test_new_seeds_join_the_record_and_repeated_ones_stay_as_they_were_measured(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(2)))
    seeds.errors = lambda index: 70

    verdict = unrun.run(place, unrun.plan(range(1, 4)))

    assert [run.test_errors for run in recorded(place).seeds] == [55, 55, 70, 70]
    assert [run.test_errors for run in verdict.runs] == [70, 70, 70]
    assert verdict.row.seeds == 4
    assert verdict.row.test_errors_mean == 62.5
    [repeat] = verdict.reruns
    assert (repeat.index, repeat.test_errors, repeat.recorded_test_errors) == (1, 70, 55)


def test_what_a_seed_has_learned_lies_beside_the_record_and_a_repeat_that_differs_does_not_replace_it(
    place: Workspace, seeds: Seeds
):
    learned = b"first"

    def learn(job: Job) -> None:
        assert job.weights is not None
        files.write_bytes(job.weights, learned)

    seeds.watch = learn
    unrun.run(place, unrun.plan(range(2)))
    learned, seeds.weights = b"second", lambda index: "other"
    unrun.run(place, unrun.plan(range(1, 3)))

    row = f"{unrun.NETWORK.hash}-{RECIPES['fast'].recipe.hash}-mnist"
    kept = {path.name: path.read_bytes() for path in (place.records / "weights" / row).iterdir()}
    assert kept == {
        "seed-0000.safetensors": b"first",
        "seed-0001.safetensors": b"first",
        "seed-0002.safetensors": b"second",
    }
    assert list(place.runs.iterdir()) == []


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

    assert [repeat.identical for repeat in verdict.reruns] == [identical]


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
    seeds.errors, seeds.weights = lambda index: 50 + index, lambda index: f"same {index}"
    assert unrun.run(place, unrun.plan()).passed
    seeds.errors, seeds.weights = errors, lambda index: f"{weights} {index}"  # type: ignore[assignment]

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

    assert (verdict.row.seeds, verdict.reruns) == (2, ())
    assert len(record.read_all(place.records)) == 2


# What it proves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 6, 7, 12])
@pytest.mark.parametrize("spread", [0, 7])
def test_a_mean_of_exactly_the_target_is_at_it(count: int, spread: int, place: Workspace, seeds: Seeds):
    # 60 of 10,000 are 0.6 %; an odd one out stays at the mean.
    last = count - 1 if count % 2 else count
    seeds.errors = lambda index: 60 if index == last else 60 + spread * (-1) ** index

    verdict = unrun.run(place, unrun.plan(range(count)))

    assert sum(run.test_errors for run in verdict.runs) == 60 * count
    # Only seeds that are all the same leave no doubt about their mean.
    tier = Tier.AT_TARGET if spread else Tier.VERIFIED
    assert (verdict.row.tier, verdict.row.reached, verdict.passed) == (tier, True, True)


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
    assert (verdict.row.seeds, verdict.passed, verdict.reruns) == (5, True, ())
