"""Tests of the measured ratio of errors on unseen images to those on validation: who sees what, what comes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import third_split
from benchmarks.third_split import NETWORKS, FoldRun, Stage, Task, parts_of, split_of, tasks_of
from harness.data.training_images import split
from harness.system.document import read_as
from harness.system.errors import HarnessError
from harness.training.result import Purpose, Status
from harness.training.run import TrainingData
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from tests.benchmarks.made_up import ask, small_data, validated

ONE, TWO = "avgpool(4) | linear(10)", "avgpool(7) | linear(10)"
GIVEN = ("--folds", "2", "--networks", f"1: {ONE}", f"2: {TWO}")
# Of 10,000: by network, fold and stage. Ratios 0.5 and 0.8, and 0.8 and 0.8.
ERRORS = {
    (ONE, 0): {Stage.SEARCH: 100, Stage.VERIFICATION: 50},
    (ONE, 1): {Stage.SEARCH: 100, Stage.VERIFICATION: 80},
    (TWO, 0): {Stage.SEARCH: 200, Stage.VERIFICATION: 160},
    (TWO, 1): {Stage.SEARCH: 50, Stage.VERIFICATION: 40},
}


class InThisProcess:
    """Stand in for the worker processes."""

    def __init__(self, workers: int, context: Any, hold: Callable[..., None], folder: tuple[Any, ...]) -> None:
        hold(*folder)

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, run: Callable[[Task], FoldRun], task: Task) -> Future[FoldRun]:
        future: Future[FoldRun] = Future()
        try:
            future.set_result(run(task))
        except HarnessError as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, cancel_futures: bool) -> None:
        assert cancel_futures


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small data, no processes, no compiling, and files of our own that know another data set."""
    data = small_data()
    monkeypatch.setattr(third_split, "load", lambda name, folder: data)
    monkeypatch.setattr(third_split, "load_engine", lambda: None)
    monkeypatch.setattr(third_split, "ProcessPoolExecutor", InThisProcess)
    # In the order of the tasks, where real processes end as they like.
    monkeypatch.setattr(third_split, "as_completed", list)
    monkeypatch.setattr(third_split, "RUNS", tmp_path / "runs.json")
    monkeypatch.setattr(third_split, "OFFSETS", tmp_path / "error-ratios.json")
    (tmp_path / "error-ratios.json").write_text('{"other": {"errors_ratio": 1.0}, "mnist": {"errors_ratio": 3.0}}')
    return tmp_path


@pytest.fixture
def asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Make up the errors of every run, and return a list of what was asked for."""
    found: list[Task] = []
    texts = {parse_network(text): text for text in (ONE, TWO)}

    def run(task: Task) -> FoldRun:
        found.append(task)
        made = validated(task.job, ERRORS[texts[task.job.architecture], task.fold][task.stage])
        assert made.environment is not None
        made = replace(made, environment=replace(made.environment, data_hash="abc", commit="c" * 40))
        return FoldRun(fold=task.fold, stage=task.stage, result=made)

    monkeypatch.setattr(third_split, "_run", run)
    return found


def test_the_parts_are_the_fixed_validation_split_and_five_folds_of_the_rest():
    data = small_data()

    parts = parts_of(data)

    assert parts.validation == split(data).validation.tolist()
    assert [len(fold) for fold in parts.folds] == [64] * 5
    assert sorted([*parts.validation, *(index for fold in parts.folds for index in fold)]) == list(range(400))


def test_a_search_sees_neither_validation_nor_fold_and_a_verification_all_but_the_fold():
    parts = parts_of(small_data())
    everything, validation, fold = set(range(400)), set(parts.validation), set(parts.folds[3])

    search, verification = split_of(parts, 3, Stage.SEARCH), split_of(parts, 3, Stage.VERIFICATION)

    assert set(search.train.tolist()) == everything - validation - fold
    assert search.validation.tolist() == parts.validation
    assert set(verification.train.tolist()) == everything - fold
    assert verification.validation.tolist() == parts.folds[3]
    assert search.train.tolist() == sorted(search.train.tolist())
    assert verification.train.tolist() == sorted(verification.train.tolist())


def test_folds_come_one_after_the_other_and_no_training_shares_its_seed():
    tasks = tasks_of(NETWORKS, folds=5, seeds=2)

    assert len(tasks) == 100
    assert [task.fold for task in tasks[:50]] == [fold for fold in range(5) for _ in range(10)]
    by_network: dict[Architecture, list[int]] = {}
    for task in tasks:
        by_network.setdefault(task.job.architecture, []).append(task.job.seed_index)
    assert [sorted(indices) for indices in by_network.values()] == [list(range(20))] * 5
    assert {task.job.purpose for task in tasks} == {Purpose.REFERENCE}
    assert {task.job.test_log for task in tasks} == {None}


def test_ratio_error_and_deviations_are_written_beside_other_data_sets(
    asked: list[Task], place: Path, monkeypatch: pytest.MonkeyPatch
):
    ask(monkeypatch, third_split.main, *GIVEN)

    written = json.loads((place / "error-ratios.json").read_text(encoding="utf-8"))
    found, low, high = written["mnist"], math.log(0.5), math.log(0.8)
    assert found["errors_ratio"] == round(math.exp((low + 3 * high) / 4), 4)
    # Two means of networks and two of folds, each (low + high) / 2 and high.
    assert found["relative_error"] == round((high - low) / 4, 4)
    assert found["images_deviation"] == round((high - low) / 2 / math.sqrt(2), 4)
    # Within the first fold (high - low)^2 / 2, in the second none; less two seeds at 8 %.
    assert found["network_deviation"] == round(math.sqrt((high - low) ** 2 / 4 - 2 * 0.08**2), 4)
    for part in ("recipe small", parse_network(ONE).hash, "1 epochs", "2 of 5 folds", "seeds a count: 1", "c" * 12):
        assert part in found["protocol"]
    assert written["other"] == {"errors_ratio": 1.0}


def test_several_seeds_are_averaged_before_the_ratio(asked: list[Task], place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ERRORS, (ONE, 0), {Stage.SEARCH: 100, Stage.VERIFICATION: 80})
    ask(monkeypatch, third_split.main, *GIVEN)
    monkeypatch.setitem(ERRORS, (ONE, 0), {Stage.SEARCH: 300, Stage.VERIFICATION: 120})

    ask(monkeypatch, third_split.main, *GIVEN, "--seeds", "2")

    # 80 and 120 by 100 and 300 is a half; the mean of the ratios would be 0.6.
    found = json.loads((place / "error-ratios.json").read_text(encoding="utf-8"))["mnist"]
    assert found["errors_ratio"] == round(math.exp((math.log(0.5) + 3 * math.log(0.8)) / 4), 4)
    assert found["network_deviation"] == round(math.sqrt(math.log(1.6) ** 2 / 4 - 0.08**2), 4)


def test_an_interrupted_measurement_keeps_what_is_finished_and_repeats_nothing(
    asked: list[Task], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before, run = (place / "error-ratios.json").read_bytes(), third_split._run

    def interrupted(task: Task) -> FoldRun:
        if len(asked) == 3:
            raise HarnessError("no more")
        return run(task)

    monkeypatch.setattr(third_split, "_run", interrupted)
    with pytest.raises(HarnessError, match="no more"):
        ask(monkeypatch, third_split.main, *GIVEN)
    assert (place / "error-ratios.json").read_bytes() == before
    path = place / "runs.json"
    kept = read_as(list[FoldRun], path.read_bytes(), "the file")
    assert [(run.fold, run.stage, run.result.seed_index) for run in kept] == [
        (0, Stage.SEARCH, 0),
        (0, Stage.VERIFICATION, 1),
        (0, Stage.SEARCH, 0),
    ]

    asked.clear()
    monkeypatch.setattr(third_split, "_run", run)
    ask(monkeypatch, third_split.main, *GIVEN)
    assert len(asked) == 5
    assert (
        "8 on file: fold 2, verification, 170 parameters, small-2ep, seed 3: 40 of 10000 wrong"
        in capsys.readouterr().out
    )

    asked.clear()
    ask(monkeypatch, third_split.main, *GIVEN)
    assert asked == []
    assert len(read_as(list[FoldRun], path.read_bytes(), "the file")) == 8


def test_runs_on_other_data_are_not_taken(asked: list[Task], monkeypatch: pytest.MonkeyPatch):
    ask(monkeypatch, third_split.main, *GIVEN)
    data = replace(small_data(), data_hash="other")
    monkeypatch.setattr(third_split, "load", lambda name, folder: data)
    asked.clear()

    ask(monkeypatch, third_split.main, *GIVEN)

    assert len(asked) == 8


def test_a_diverged_training_is_named_and_nothing_is_written(
    asked: list[Task], place: Path, monkeypatch: pytest.MonkeyPatch
):
    before, run = (place / "error-ratios.json").read_bytes(), third_split._run

    def diverged(task: Task) -> FoldRun:
        made = run(task)
        return replace(made, result=replace(made.result, status=Status.DIVERGED, message="not finite"))

    monkeypatch.setattr(third_split, "_run", diverged)
    with pytest.raises(HarnessError, match=r"^fold 1, search, .* diverged, not finite$"):
        ask(monkeypatch, third_split.main, *GIVEN)

    assert (place / "error-ratios.json").read_bytes() == before


def test_a_training_counts_errors_on_the_images_of_its_stage(place: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[TrainingData] = []

    def execute(job: Any, bench: TrainingData) -> Any:
        seen.append(bench)
        return validated(job, 5)

    monkeypatch.setattr(third_split, "execute", execute)
    third_split._hold(None)
    task = tasks_of([(1, ONE)], folds=2, seeds=1)[-1]

    assert third_split._run(task) == FoldRun(fold=1, stage=Stage.VERIFICATION, result=validated(task.job, 5))
    assert seen[0].split.validation.tolist() == parts_of(small_data()).folds[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--networks", f"1: {ONE}"), "two different networks"),
        (("--networks", ONE, TWO), "is not EPOCHS: NETWORK"),
        (("--networks", "1: conv3x3(", f"1: {TWO}"), "is not EPOCHS: NETWORK"),
        (("--seeds", "0"), "one seed"),
        (("--folds", "1"), "invalid choice"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    asked: list[Task],
    arguments: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit):
        ask(monkeypatch, third_split.main, *arguments)

    assert told in capsys.readouterr().err
    assert asked == []
