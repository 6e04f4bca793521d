"""What a person sees: plain lines where stderr is no terminal, one line that changes where it is."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace

import pytest

from harness.training.executor import Broken, Finished
from harness.training.progress import Reporter
from harness.training.result import Purpose, Result, Status
from tests.harness import scripted

PROPOSAL = scripted.proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)")
JOB = scripted.first_job(PROPOSAL)
VERIFY = replace(JOB, purpose=Purpose.VERIFY, seed_index=2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of stderr; not in a fixture, since pytest sets stderr anew before each test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def with_test_errors(errors: int | None, status: Status = Status.COMPLETE) -> Result:
    plain = scripted.made_result(JOB, lambda parameters, seed: 99.0, 8)
    size = None if errors is None else 10_000
    return replace(plain, validation_errors=None, status=status, test_errors=errors, test_size=size)


def test_each_seed_of_a_verification_is_one_plain_line(capsys: pytest.CaptureFixture[str]):
    with Reporter(2, "seeds") as reporter:
        reporter.on_event(Finished(VERIFY, with_test_errors(57)))
        reporter.on_event(Finished(VERIFY, with_test_errors(8_987, Status.DIVERGED)))
        reporter.on_event(Finished(VERIFY, with_test_errors(None)))
        reporter.on_event(Broken(VERIFY, Status.CRASHED, "the worker process ended with signal 9"))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "seed 2: complete, 99.43 % test",
        "seed 2: diverged, 10.13 % test",
        "seed 2: complete",
        "seed 2: crashed, the worker process ended with signal 9; it is run again",
    ]


def test_on_a_terminal_a_bar_counts_the_seeds(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    with Reporter(2, "seeds") as reporter:
        reporter.on_event(Finished(VERIFY, with_test_errors(57)))
    shown = terminal.getvalue()
    assert "seed 2: complete, 99.43 % test\n" in shown
    assert "1/2" in shown


def test_without_a_terminal_long_work_says_from_time_to_time_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    with Reporter(7_000, "steps") as reporter:
        for now[0] in (101.0, 109.0, 110.0, 119.0):
            reporter.advance(1_000)

    assert capsys.readouterr().err.splitlines() == ["3,000 of 7,000 steps"]
