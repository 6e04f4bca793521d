"""A recording with made-up workers: what it trains, in which order, and what a kill at any moment costs."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.bench.recording import Near, Recording, finished_runs
from harness.bench.session import record
from harness.bench.table import Table
from harness.system import files
from harness.system.errors import HarnessError
from harness.training import workers
from harness.training.progress import Reporter
from harness.training.result import Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished, Progress
from tests.harness.bench.some_table import HASHES, RUNGS, TEXTS, some_recording
from tests.harness.bench.test_recording import some_run

RECORDING = some_recording()
# What the made-up training of a network gives: wrong images after each epoch, by network and seed.
ERRORS = {
    (text, seed): tuple(100 * number + 50 * seed + 40 - 10 * epoch for epoch in range(4))
    for number, text in enumerate(TEXTS)
    for seed in range(4)
}
FIRST = {key: errors for key, errors in ERRORS.items() if key[1] < 2}


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass(slots=True)
class Trainer:
    """Trains an epoch by counting it; what it has done is in the checkpoints.

    Attributes:
        epochs: trained, by network and seed, those that a kill lost included.
        breaks: how often the worker of a run breaks before it answers.
        kill_at: number of the touch of the disk at which the session dies; ``touches`` counts them.
    """

    epochs: Counter[tuple[str, int]] = field(default_factory=Counter)
    breaks: Counter[tuple[str, int]] = field(default_factory=Counter)
    diverging: tuple[str, int] | None = None
    asked: list[Job] = field(default_factory=list)
    kill_at: int | None = None
    touches: int = 0

    def touch(self) -> None:
        self.touches += 1
        if self.touches == self.kill_at:
            raise Killed

    def answers(self, job: Job) -> list[Event]:
        key = (str(job.architecture), job.seed_index)
        self.asked.append(job)
        if self.breaks[key]:
            self.breaks[key] -= 1
            return [Broken(job, Status.CRASHED, "no reason")]
        assert job.checkpoint is not None
        done = int(job.checkpoint.read_text()) if job.checkpoint.exists() else 0
        last = 2 if key == self.diverging else max(done, job.until_epoch or 4)
        self.epochs[key] += last - done
        files.write_text(job.checkpoint, str(last))
        ended = {2: Status.DIVERGED} if key == self.diverging else {4: Status.COMPLETE}
        found = some_run(
            TEXTS.index(str(job.architecture)),
            job.seed_index,
            ERRORS[key][:last],
            status=ended.get(last, Status.RUNNING),
        )
        return [*(Progress(job, epoch) for epoch in found.history[done:]), Finished(job, found)]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Two workers that answer at once, and a disk that can kill."""
    made = Trainer()

    def poll(pool: list[Any], limits: Any, timeout: float) -> list[Event]:
        events = []
        for worker in pool:
            if worker.job is not None:
                job, worker.job = worker.job, None
                events += made.answers(job)
        return events

    def writing(write: Callable[..., None]) -> Callable[..., None]:
        def touched(*arguments: Any) -> None:
            made.touch()
            write(*arguments)
            made.touch()

        return touched

    def assign(worker: Any, job: Job) -> None:
        worker.job = job

    monkeypatch.setattr(workers, "start", lambda source, count: [SimpleNamespace(job=None) for _ in range(count)])
    monkeypatch.setattr(workers, "assign", assign)
    monkeypatch.setattr(workers, "poll", poll)
    monkeypatch.setattr(workers, "stop", lambda pool: None)
    monkeypatch.setattr(files, "write_together", writing(files.write_together))
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return made


def run_session(folder: Path, recording: Recording = RECORDING) -> Table:
    ready: Any = SimpleNamespace(recording=recording, source=None, device="cpu")
    with Reporter(6, "runs") as reporter:
        return record(folder, ready, folder / "teachers", reporter)


def test_every_network_is_trained_with_every_seed_and_read_at_every_rung(trainer: Trainer, tmp_path: Path):
    table = run_session(tmp_path)

    read = {(row.hash, row.seed, row.rung): row.validation_accuracy_pct for row in table.rows}
    assert read == {
        (HASHES[TEXTS.index(text)], seed, rung): 100 - errors[rung - 1] / 10
        for (text, seed), errors in FIRST.items()
        for rung in RUNGS
    }
    assert trainer.epochs == dict.fromkeys(FIRST, 4)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_networks_near_the_target_get_their_further_runs_after_the_others(trainer: Trainer, tmp_path: Path):
    # The means of the first two seeds are 96.5, 86.5 and 76.5 % of a thousand images.
    near = replace(RECORDING, near=Near(target_pct=90.0, within_pct=7.0, seeds=4))

    table = run_session(tmp_path, near)

    seeds = {HASHES.index(network): sorted(runs) for network, runs in table.runs.items()}
    assert seeds == {0: [0, 1, 2, 3], 1: [0, 1, 2, 3], 2: [0, 1]}
    begun = [(TEXTS.index(str(job.architecture)), job.seed_index) for job in trainer.asked if job.until_epoch == 1]
    assert begun[6:] == [(0, 2), (1, 2), (0, 3), (1, 3)]


def test_a_run_stops_at_every_rung_and_the_first_seeds_come_first(trainer: Trainer, tmp_path: Path):
    run_session(tmp_path)

    begun = [(str(job.architecture), job.seed_index) for job in trainer.asked if job.until_epoch == 1]
    assert begun == [(text, seed) for seed in range(2) for text in TEXTS]
    for _, jobs in itertools.groupby(
        sorted(trainer.asked, key=lambda job: (str(job.architecture), job.seed_index)),
        key=lambda job: (str(job.architecture), job.seed_index),
    ):
        assert [job.until_epoch for job in jobs] == list(RUNGS)


def test_a_recording_killed_at_any_touch_of_the_disk_ends_as_if_it_had_not_been(trainer: Trainer, tmp_path: Path):
    expected = run_session(tmp_path / "whole")
    touches = trainer.touches
    assert touches > 2 * 6 * (len(RUNGS) + 1)

    for point in range(1, touches + 1):
        folder = tmp_path / str(point)
        trainer.touches, trainer.kill_at = 0, point
        trainer.epochs.clear()
        with pytest.raises(Killed):
            run_session(folder)
        trainer.kill_at = None
        ended = set(finished_runs(folder, RECORDING))
        before = trainer.epochs.copy()

        assert run_session(folder) == expected
        again = {key for key in FIRST if trainer.epochs[key] > before[key]}
        assert not {(HASHES[TEXTS.index(text)], seed) for text, seed in again} & ended
        # What was trained since a rung is all that is lost: at most two epochs on each of two workers.
        assert sum(trainer.epochs.values()) - 6 * 4 <= 2 * 2


def test_a_run_whose_worker_breaks_is_trained_again_from_its_rung(trainer: Trainer, tmp_path: Path):
    key = (TEXTS[1], 0)
    trainer.breaks[key] = 2

    run_session(tmp_path)

    assert trainer.epochs == dict.fromkeys(FIRST, 4)


def test_a_run_that_breaks_its_worker_three_times_ends_the_recording_and_keeps_the_others(
    trainer: Trainer, tmp_path: Path
):
    trainer.breaks[TEXTS[1], 1] = 3

    with pytest.raises(HarnessError, match=r"^seed 1 of .* failed 3 times: no reason$") as caught:
        run_session(tmp_path)

    assert "same command" in str(caught.value.hint)
    assert len(finished_runs(tmp_path, RECORDING)) == 5


def test_a_run_that_diverges_has_ended(trainer: Trainer, tmp_path: Path):
    trainer.diverging = (TEXTS[2], 0)

    table = run_session(tmp_path)

    rows = table.runs[HASHES[2]][0]
    assert {row.status for row in rows.values()} == {Status.DIVERGED}
    assert rows[4].validation_accuracy_pct == rows[2].validation_accuracy_pct
    assert trainer.epochs[TEXTS[2], 0] == 2
