"""What a person sees: plain lines where stderr is no terminal, one line that changes where it is."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from harness.search.nearest_miss import NearestMiss
from harness.search.progress import Reporter, SearchReporter
from harness.search.race import Candidate
from harness.training.result import Epoch, Result, Status
from harness.training.seeds import Purpose
from harness.training.workers import Broken, Finished, Progress
from tests.harness import scripted

PROPOSAL = scripted.proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)")
JOB = scripted.first_job(PROPOSAL)
NEAREST = NearestMiss(trial=3, hash="0" * 12, parameters=2140, epochs=8, errors=70, runs=1, allowed=69, size=10_000)
VERIFY = replace(JOB, purpose=Purpose.VERIFY, seed_index=2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of stderr; not in a fixture, since pytest sets stderr anew before each test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def validated(errors: int | None, status: Status = Status.COMPLETE, message: str = "", **changes: object) -> Result:
    plain = scripted.made_result(JOB, lambda parameters, seed: 99.0, 8)
    size = None if errors is None else 10_000
    result = replace(plain, validation_errors=errors, validation_size=size, status=status, message=message)
    return replace(result, train_seconds=12.4, **changes)  # type: ignore[arg-type]


def with_test_errors(errors: int | None, status: Status = Status.COMPLETE) -> Result:
    return replace(validated(None, status), test_errors=errors, test_size=None if errors is None else 10_000)


# A verification ---------------------------------------------------------------------------------------------


def test_each_seed_of_a_verification_is_one_plain_line(capsys: pytest.CaptureFixture[str]):
    with Reporter(2, "seeds") as reporter:
        reporter.on_event(Progress(VERIFY, Epoch(1, 0.1, 0.1, 1.0)))
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
        reporter.on_event(Progress(VERIFY, Epoch(3, 0.1, 0.1, 1.0)))
        reporter.on_event(Finished(VERIFY, with_test_errors(57)))

    shown = terminal.getvalue()
    assert "seed 2: complete, 99.43 % test\n" in shown
    assert "seed 2 epoch 3/8" in shown
    assert "1/2" in shown


# A search ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (validated(104), "trial 3 (3,330 parameters, first run): complete, 98.96 % validation, 12 s"),
        (
            validated(300, Status.PRUNED, "at best 98 %"),
            "trial 3 (3,330 parameters, first run): pruned, 97.00 % validation, 12 s",
        ),
        (
            validated(None, Status.TIMED_OUT, "still training after 9 s; 8 allowed"),
            "trial 3 (3,330 parameters, first run): timed_out, still training after 9 s; 8 allowed, 12 s",
        ),
        (
            validated(90, purpose=Purpose.CONFIRM, seed_index=1),
            "trial 3 (3,330 parameters, fresh seed 1): complete, 99.10 % validation, 12 s",
        ),
    ],
)
def test_each_run_of_a_search_is_one_plain_line(result: Result, line: str, capsys: pytest.CaptureFixture[str]):
    with SearchReporter(60.0, None) as reporter:
        reporter.ended(Candidate(PROPOSAL), result, is_standing=False)

    assert capsys.readouterr().err == f"{line}\n"


def test_a_network_that_comes_to_stand_is_announced(capsys: pytest.CaptureFixture[str]):
    fresh = [validated(errors, purpose=Purpose.CONFIRM) for errors in (90, 95, 91)]
    with SearchReporter(60.0, None) as reporter:
        reporter.ended(Candidate(PROPOSAL, fresh=fresh), fresh[-1], is_standing=True)

    assert capsys.readouterr().err.splitlines()[1] == (
        "trial 3 stands with 3,330 parameters: mean 99.080 % validation over 3 fresh seeds; "
        "from here on only smaller networks are proposed"
    )


def test_only_first_runs_count_as_trained_networks():
    with SearchReporter(60.0, None) as reporter:
        reporter.ended(Candidate(PROPOSAL), validated(104), is_standing=False)
        reporter.ended(Candidate(PROPOSAL), validated(104, purpose=Purpose.CONFIRM), is_standing=False)

    assert reporter.trained == 1


def test_without_a_terminal_a_search_says_once_a_minute_where_it_is(capsys: pytest.CaptureFixture[str]):
    with SearchReporter(2700.0, None) as reporter:
        reporter.rejected = 7
        for elapsed in (0.4, 30.0, 59.0, 61.0, 100.0, 121.5):
            reporter.tick(elapsed, 2700.0 - elapsed, None, None, [JOB, replace(JOB, trial=4, until_epoch=2), None])

    busy = "trial 3 to epoch 8, trial 4 to epoch 2"
    assert capsys.readouterr().err.splitlines() == [
        f"{spent} left | smallest that stands: none yet | 0 trained, 7 rejected | {busy}"
        for spent in ("0:00, 45:00", "1:01, 43:59", "2:02, 42:58")
    ]


def test_while_nothing_stands_the_nearest_miss_is_named_until_something_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with SearchReporter(None, 9) as reporter:
        reporter.tick(1.0, 2699.0, None, NEAREST, [None])
    plain = capsys.readouterr().err
    terminal = on_terminal(monkeypatch)
    with SearchReporter(None, 9) as reporter:
        reporter.tick(1.0, 2699.0, None, NEAREST, [None])
        before = terminal.getvalue()
        reporter.tick(2.0, 2698.0, Candidate(PROPOSAL), NEAREST, [None])

    named = "smallest that stands: none yet; nearest 2,140 parameters, 70 errors, 69 allowed | 0 trained"
    assert named in plain
    assert named in before
    assert "nearest" not in terminal.getvalue()[len(before) :]


def test_on_a_terminal_the_line_changes_in_its_place(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    with SearchReporter(2700.0, None) as reporter:
        reporter.tick(1.0, 2699.0, None, None, [None])
        reporter.tick(2.0, 2698.0, Candidate(PROPOSAL), None, [None])

    assert "\r0:01, 44:59 left | smallest that stands: none yet | 0 trained, 0 rejected | idle" in terminal.getvalue()
    assert "\r0:02, 44:58 left | smallest that stands: 3,330 parameters" in terminal.getvalue()


@pytest.mark.parametrize(("trials", "shown"), [(20, "20 trials at most"), (None, "no end")])
def test_where_time_has_no_end_the_trials_are_shown(trials: int | None, shown: str, monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    with SearchReporter(None, trials) as reporter:
        reporter.tick(1.0, float("inf"), None, None, [])

    assert f"0:01, {shown} |" in terminal.getvalue()


def test_whatever_happens_is_a_beat_for_what_shows_it_elsewhere():
    beats: list[int] = []
    with Reporter(1, "seeds") as reporter:
        reporter.heartbeat = lambda: beats.append(1)
        reporter.on_event(Progress(VERIFY, Epoch(1, 0.1, 0.1, 1.0)))
        reporter.on_event(Finished(VERIFY, with_test_errors(57)))

    assert len(beats) == 2
