"""What a person sees: plain lines where stderr is no terminal, one line that changes where it is."""

from __future__ import annotations

import io
import sys
import time
import types
from dataclasses import replace

import pytest

from harness.training.executor import Broken, Finished
from harness.training.progress import Reporter
from harness.training.result import Purpose, Status
from tests.harness import scripted

JOB = scripted.first_job(scripted.proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)"))
VERIFY = replace(JOB, purpose=Purpose.VERIFY, seed_index=2)
RESULT = replace(scripted.made_result(JOB, lambda parameters, seed: 99.0, 8), test_errors=57, test_size=10_000)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_each_seed_of_a_verification_is_one_line(is_terminal: bool, monkeypatch: pytest.MonkeyPatch):
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    with Reporter(2, "seeds") as reporter:
        reporter.on_event(Finished(VERIFY, RESULT))
        reporter.on_event(Broken(VERIFY, Status.CRASHED, "signal 9"))
    lines = [line for line in stderr.getvalue().splitlines() if "seed 2: " in line]
    assert ["99.43 % test" in line for line in lines] == [True, False]
    assert ("1/2" in stderr.getvalue()) is is_terminal


def test_without_a_terminal_long_work_says_from_time_to_time_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Reporter(7_000, "steps") as reporter:
        for now[0] in (101.0, 109.0, 110.0, 119.0):
            reporter.advance(1_000)
    assert capsys.readouterr().err.splitlines() == ["3,000 of 7,000 steps"]


def test_in_a_notebook_progress_is_that_of_tqdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    with Reporter(7_000, "steps") as reporter:
        reporter.advance(1_000)
        reporter.say("epoch 1/7")
    shown = capsys.readouterr()
    assert "1000/7000" in shown.err
    assert "epoch 1/7" in shown.out + shown.err
