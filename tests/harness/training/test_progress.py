"""Progress of trainings: plain lines on stderr without a terminal, and a bar of tqdm in notebooks."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest

from harness.training import progress
from harness.training.executors.base import JobEnded, Slot, WorkerEvent, run_all
from harness.training.progress import Progress
from harness.training.result import Purpose
from harness.training.run import Job
from tests import searches
from tests.factories import make_job_result, make_proposal

JOB = searches.first_job(make_proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)"))
VERIFY = replace(JOB, purpose=Purpose.VERIFY, seed_index=2)
RESULT = replace(make_job_result(JOB, lambda parameters, seed: 99.0, 8), test_errors=57, test_size=10_000)


def test_progress_in_notebook_uses_tqdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with Progress(7_000, "steps") as bar:
        bar.advance(1_000)
        bar.say("epoch 1/7")
    output = capsys.readouterr()
    assert "1000/7000" in output.err
    assert "epoch 1/7" in output.out + output.err


def test_advance_counts_on_from_last_shown_amount_in_lines_and_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "status_interval_seconds", lambda elapsed: 0.0)
    with Progress(None, "runs") as bar:
        bar.show(done=3, total=7)
        bar.advance(2)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("5 of 7 runs")

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with Progress(None, "runs") as bar:
        bar.show("almost done")
        bar.show(done=3, total=7)
        bar.advance(2)
    assert "almost done" in capsys.readouterr().err.rpartition("5/7")[2]


class SlowExecutor:
    """Executor for a single job, which ends at the fourth wait."""

    def __init__(self) -> None:
        self.waits = 0
        self.job: Job | None = None

    def start(self, count: int) -> None: ...

    def stop(self) -> None: ...

    def idle(self) -> int:
        return int(self.job is None)

    def slots(self) -> list[Slot]:
        return [Slot(self.job)]

    def submit(self, job: Job) -> None:
        self.job = job

    def wait(self, seconds: float) -> list[WorkerEvent]:
        self.waits += 1
        if self.job is None or self.waits < 4:
            return []
        job, self.job = self.job, None
        return [JobEnded(job, RESULT)]

    def now(self) -> float:
        return 0.0


def test_progress_without_terminal_prints_lines_during_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "status_interval_seconds", lambda elapsed: 0.0)
    with Progress(1, "seeds") as bar:
        assert len(list(run_all([VERIFY], SlowExecutor(), 1, bar.on_worker_event, bar.tick))) == 1

    *earlier, last = [line for line in capsys.readouterr().err.splitlines() if "0 of 1" in line or "1 of 1" in line]
    assert len(earlier) >= 3
    assert "1 of 1 seeds" in last
    assert "99.43 %" in last
