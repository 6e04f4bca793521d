"""Tests of the runs of measurements: what is on file is kept, what is missing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import runs
from benchmarks.runs import trained
from harness.system.document import read_as
from harness.system.errors import HarnessError
from harness.training import workers
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job, TrainingData, execute
from harness.training.workers import Broken, Finished, Limits
from search_spaces.notation import parse_network
from tests.benchmarks.made_up import small_data

TEXT = "avgpool(4) | linear(10)"
RECIPE = Recipe(epochs=2, batch_size=16, augmented_share=0.0)


def job(index: int, **changes: Any) -> Job:
    plain = Job(
        architecture=parse_network(TEXT),
        recipe=RECIPE,
        recipe_name="short",
        purpose=Purpose.REFERENCE,
        seed_index=index,
    )
    return replace(plain, **changes)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Train in this process what workers are asked for, and return a list of that."""
    found: list[Job] = []
    bench = TrainingData.of(small_data())

    def poll(pool: list[Any], limits: Limits, timeout: float) -> list[Any]:
        events = []
        for worker in pool:
            if worker.job is not None:
                found.append(worker.job)
                events.append(Finished(worker.job, execute(worker.job, bench)))
                worker.job = None
        return events

    monkeypatch.setattr(workers, "start", lambda source, count: [SimpleNamespace(job=None) for _ in range(count)])
    monkeypatch.setattr(workers, "assign", lambda worker, item: setattr(worker, "job", item))
    monkeypatch.setattr(workers, "poll", poll)
    monkeypatch.setattr(workers, "stop", lambda pool: None)
    monkeypatch.setattr(runs, "load", lambda: SimpleNamespace(name="native plain 0"))
    return found


def test_runs_are_trained_in_order_and_kept(asked: list[Job], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "runs" / "some.json"
    jobs = [job(0), job(1), job(0, recipe=replace(RECIPE, epochs=1))]

    first = trained(jobs, None, path)

    assert [(run.seed_index, len(run.history)) for run in first] == [(0, 2), (1, 2), (0, 1)]
    assert all(run.status is Status.COMPLETE and run.validation_size == 80 for run in first)
    # Chance is 10 %, and the place of a bar tells the class.
    assert all(20 < (run.validation_accuracy_pct or 0.0) <= 100 for run in first)
    assert [item.teachers for item in asked] == [path.parent / ".teachers"] * 3
    assert len({run.weights_sha256 for run in first}) == 3
    kept = read_as(list[Result], path.read_bytes(), "the file")
    assert sorted(run.weights_sha256 or "" for run in kept) == sorted(run.weights_sha256 or "" for run in first)
    assert capsys.readouterr().out.count("short, 500 parameters, seed ") == 3

    asked.clear()
    assert trained([jobs[1], job(2)], None, path)[0] == first[1]
    assert [item.seed_index for item in asked] == [2]
    assert len(read_as(list[Result], path.read_bytes(), "the file")) == 4


def test_runs_of_another_commit_are_trained_again_and_stay_on_file(
    asked: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "some.json"
    trained([job(0)], None, path)
    monkeypatch.setattr(runs, "code_version", lambda: ("another", False))

    trained([job(0)], None, path)

    assert [item.seed_index for item in asked] == [0, 0]
    assert len(read_as(list[Result], path.read_bytes(), "the file")) == 2


def test_a_worker_that_breaks_ends_the_measurement(asked: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = [Broken(job(3), Status.CRASHED, "the worker process ended with signal 9")]
    monkeypatch.setattr(workers, "poll", lambda pool, limits, timeout: broken)

    with pytest.raises(HarnessError, match=r"^short, seed 3: the worker process ended with signal 9$"):
        trained([job(3)], None, tmp_path / "some.json")
