"""What a person sees of a search: a panel on a terminal, a line a minute elsewhere, and lines for what matters."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands.searching.search_panel import MOST_LINES, Running, View, panel
from harness.commands.searching.search_progress import SearchReporter
from harness.evidence.events import FailedConfirmation
from harness.search.nearest_miss import NearestMiss
from harness.search.race import Candidate
from harness.search.session import Moment, confirmed, summary_of
from harness.system.terminal import console
from harness.training.result import Epoch, Purpose, Result, Status
from harness.training.workers import Broken, Finished, Progress
from tests.harness import scripted

PROPOSAL = scripted.proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)")
JOB = scripted.first_job(PROPOSAL)
NEAREST = NearestMiss(
    trial=3, hash="0" * 12, parameters=2140, epochs=8, errors=70, runs=1, allowed=69, size=10_000, cost=2140
)
FOLDER = Path("/there/mine")
CONFIG = scripted.config(dataset="kmnist", target_pct=99.4, threshold_pct=99.3)
EFFORT = scripted.effort(seconds=2700.0, trials=None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def validated(errors: int | None, status: Status = Status.COMPLETE, message: str = "", **changes: object) -> Result:
    plain = scripted.made_result(JOB, lambda parameters, seed: 99.0, 8)
    size = None if errors is None else 10_000
    result = replace(plain, validation_errors=errors, validation_size=size, status=status, message=message)
    return replace(result, train_seconds=12.4, **changes)  # type: ignore[arg-type]


def seen(view: View, monkeypatch: pytest.MonkeyPatch, width: int = 80) -> str:
    """Return the panel as text."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    where = console(stderr=True)
    where.width = width
    where.print(panel(view))
    return stream.getvalue()


# Lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            validated(None, Status.TIMED_OUT, "still training after 9 s; 8 allowed"),
            "trial 3 (3,330 parameters, first run): timed_out, still training after 9 s; 8 allowed, 12 s",
        ),
        (validated(104), None),
        (validated(300, Status.PRUNED, "at best 98 %"), None),
    ],
)
def test_a_run_that_went_wrong_is_a_line_and_others_are_not(
    result: Result, line: str | None, capsys: pytest.CaptureFixture[str]
):
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.ended(Candidate(PROPOSAL, PROPOSAL.parameters), result, None)

    assert capsys.readouterr().err.splitlines() == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (validated(104), "trial 3 (3,330 parameters, first run): complete, 98.96 % validation, 12 s"),
        (
            validated(90, purpose=Purpose.CONFIRM, seed_index=1),
            "trial 3 (3,330 parameters, fresh seed 1): complete, 99.10 % validation, 12 s",
        ),
    ],
)
def test_each_run_is_a_line_on_demand(result: Result, line: str, capsys: pytest.CaptureFixture[str]):
    with SearchReporter(FOLDER, CONFIG, EFFORT, verbose=True) as reporter:
        reporter.ended(Candidate(PROPOSAL, PROPOSAL.parameters), result, None)

    assert capsys.readouterr().err == f"{line}\n"


def test_a_network_that_comes_to_stand_is_announced(capsys: pytest.CaptureFixture[str]):
    fresh = [validated(errors, purpose=Purpose.CONFIRM) for errors in (90, 95, 91)]
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        network = Candidate(PROPOSAL, PROPOSAL.parameters, fresh=fresh)
        reporter.ended(network, fresh[-1], confirmed(network))

    said = capsys.readouterr().err
    for fact in ("trial 3", "3,330 parameters", "99.080 %", "3 fresh seeds"):
        assert fact in said


@pytest.mark.parametrize(
    ("errors", "stood", "why"),
    [((120, 130), False, "below 25 %"), ((71,) * 6, False, "6 seeds are the most"), ((71, 90), True, "took")],
)
def test_a_network_that_failed_its_confirmation_is_a_line_with_the_cause(
    errors: tuple[int, ...], stood: bool, why: str, capsys: pytest.CaptureFixture[str]
):
    fresh = [validated(each, purpose=Purpose.CONFIRM) for each in errors]
    network = Candidate(PROPOSAL, PROPOSAL.parameters, fresh=fresh)
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.tick(Moment(0.5, network if stood else None, None, [None]))
        reporter.ended(network, fresh[-1], FailedConfirmation(**summary_of(network)))

    line = capsys.readouterr().err.splitlines()[-1]
    mean = f"{100 - sum(errors) / len(errors) / 100:.3f} %"
    assert all(fact in line for fact in ("trial 3", "3,330 parameters", mean, f"{len(errors)} fresh", "99.300 %", why))


def test_a_failed_confirmation_says_that_another_seed_still_trains(capsys: pytest.CaptureFixture[str]):
    fresh = [validated(120 + seed, purpose=Purpose.CONFIRM, seed_index=seed) for seed in (1, 2)]
    network = Candidate(PROPOSAL, PROPOSAL.parameters, fresh=fresh)
    said = []
    # The seed that has just ended, another seed of the network, and another network.
    for trial, seed in ((PROPOSAL.trial, 2), (PROPOSAL.trial, 3), (PROPOSAL.trial + 1, 3)):
        with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
            job = replace(JOB, trial=trial, purpose=Purpose.CONFIRM, seed_index=seed)
            reporter.tick(Moment(0.5, None, None, [job]))
            reporter.ended(network, fresh[-1], FailedConfirmation(**summary_of(network)))
        said.append("still training" in capsys.readouterr().err)

    assert said == [False, True, False]


def test_only_first_runs_that_gave_an_accuracy_count_as_trained_networks():
    crashed = replace(validated(104), status=Status.CRASHED, validation_errors=None)
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.ended(Candidate(PROPOSAL, PROPOSAL.parameters), crashed, None)
        reporter.ended(Candidate(PROPOSAL, PROPOSAL.parameters), validated(104), None)
        reporter.ended(Candidate(PROPOSAL, PROPOSAL.parameters), validated(104, purpose=Purpose.CONFIRM), None)

    assert reporter.trained == 1


def nearest_lines(capsys: pytest.CaptureFixture[str], *seen: tuple[float, float]) -> list[str]:
    """Return what is said of the nearest miss at moments of so many seconds, each with its errors."""
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.tick(Moment(0.0, None, None, [None]))
        for elapsed, errors in seen:
            reporter.tick(Moment(elapsed, None, replace(NEAREST, errors=errors), [None]))
    return capsys.readouterr().err.splitlines()[1:]


def test_a_nearer_miss_is_a_line_and_a_farther_one_is_not(capsys: pytest.CaptureFixture[str]):
    lines = nearest_lines(capsys, (1.0, 75), (2.0, 80), (3.0, 70), (4.0, 70))

    assert ["75 errors" in lines[0], "70 errors, 69 allowed" in lines[1], len(lines)] == [True, True, 2]


def test_nearer_misses_of_one_second_are_one_line_and_the_last_one_is_not_lost(capsys: pytest.CaptureFixture[str]):
    lines = nearest_lines(capsys, (1.0, 80), (1.1, 75), (1.2, 72), (3.0, 72))

    assert [line.partition("  ")[0] for line in lines] == ["0:01", "0:03"]
    assert ["80 errors" in lines[0], "72 errors" in lines[1]] == [True, True]


def test_the_line_of_a_minute_says_what_came_nearest_and_no_other_line_does(capsys: pytest.CaptureFixture[str]):
    [line] = nearest_lines(capsys, (61.0, 75))

    assert "; nearest 2,140 parameters, 75 errors" in line


def test_what_came_nearest_is_told_as_its_fresh_seeds_have_left_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    reporter = SearchReporter(FOLDER, CONFIG, EFFORT)
    reporter.tick(Moment(0.0, None, NEAREST, [None]))
    reporter.tick(Moment(61.0, None, replace(NEAREST, errors=81.5, runs=2), [None]))

    assert "mean 81.5 errors of 2 runs" in capsys.readouterr().err.splitlines()[-1]
    assert "mean 81.5 errors of 2 runs" in seen(reporter.view(), monkeypatch)


def test_without_a_terminal_a_search_says_from_time_to_time_where_it_is(capsys: pytest.CaptureFixture[str]):
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.rejected = 7
        for elapsed in (0.4, 8.0, 11.0, 20.0, 900.0, 950.0, 961.5):
            reporter.tick(Moment(elapsed, None, None, [JOB, replace(JOB, trial=4, until_epoch=2), None]))

    lines = capsys.readouterr().err.splitlines()
    times = [line.split(" of 45:00 | ")[0] for line in lines]
    assert times == ["0:00", "0:11", "15:00", "16:02"]
    assert all("7 rejected" in line and line.endswith("2 running") for line in lines)


def test_a_terminal_that_cannot_move_its_cursor_has_lines(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.tick(Moment(61.0, None, None, [None]))

    assert terminal.getvalue().startswith("1:01 of 45:00 | ")
    assert "\x1b" not in terminal.getvalue()


# The panel --------------------------------------------------------------------------------------------------


def test_the_panel_goes_on_between_two_events_and_counts_from_the_last(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    reporter = SearchReporter(FOLDER, CONFIG, EFFORT, clock=clock)
    reporter.tick(Moment(60.0, None, NEAREST, [JOB, None]))
    clock.now += 7.0

    shown = seen(reporter.view(), monkeypatch)

    assert "searching 1:07 of 45:00" in shown
    assert "2,140 parameters, 70 errors, 69 allowed" in shown
    assert "99.4 % on kmnist (not MNIST): at most 70 errors" in shown
    assert "trial 3: plain-3330, to epoch 8, for 0:07" in shown
    assert "idle" in shown
    assert "/there/mine/report.html" in shown


def test_the_panel_names_the_node_of_each_worker(monkeypatch: pytest.MonkeyPatch):
    reporter = SearchReporter(FOLDER, CONFIG, EFFORT)
    reporter.tick(Moment(1.0, None, None, [JOB, None, None], ["forge", "anvil\x1b", ""]))

    rows = [line for line in seen(reporter.view(), monkeypatch).splitlines() if "worker" in line]

    assert [" ".join(row.strip("│ ").split()[:4]) for row in rows] == [
        "worker 1 on forge",
        "worker 2 on anvil?",
        "worker 3 idle",
    ]


def test_the_panel_names_what_stands_in_place_of_what_came_nearest(monkeypatch: pytest.MonkeyPatch):
    reporter = SearchReporter(FOLDER, CONFIG, EFFORT)
    reporter.tick(Moment(1.0, None, NEAREST, [None]))
    reporter.tick(Moment(2.0, Candidate(PROPOSAL, PROPOSAL.parameters), None, [None]))

    shown = seen(reporter.view(), monkeypatch)

    assert "3,330 parameters" in shown
    assert "2,140" not in shown


def test_the_panel_shows_the_seeds_of_the_verification(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    verify = [replace(JOB, purpose=Purpose.VERIFY, seed_index=index) for index in (0, 1, 2)]
    reporter = SearchReporter(FOLDER, CONFIG, EFFORT)
    reporter.tick(Moment(60.0, Candidate(PROPOSAL, PROPOSAL.parameters), None, [JOB, None]))
    reporter.verifying()
    assert "trial 3" not in seen(reporter.view(), monkeypatch)
    for job in verify:
        reporter.on_event(Progress(job, Epoch(3, 0.1, 0.1, 1.0)))
    reporter.on_event(Finished(verify[0], validated(None, test_errors=57, test_size=10_000)))
    reporter.on_event(Broken(verify[1], Status.CRASHED, "signal 9"))
    said = capsys.readouterr().err

    shown = seen(reporter.view(), monkeypatch)

    assert "seed 0: complete, 99.43 % test" in said
    assert "seed 1: crashed, signal 9" in said
    assert "verifying 1:0" in shown
    assert "seed 2: plain-3330, epoch 3 of 8" in shown
    assert "seed 0" not in shown


def test_a_search_without_an_end_shows_its_trials(monkeypatch: pytest.MonkeyPatch):
    shown = seen(SearchReporter(FOLDER, CONFIG, scripted.effort(trials=20)).view(), monkeypatch)

    assert "0 trained of 20 at most" in shown
    assert " of 45:00" not in shown


def test_a_name_is_no_markup_and_steers_no_terminal(monkeypatch: pytest.MonkeyPatch):
    shown = seen(SearchReporter(Path("a\x1b[2Jb/s[bold]1"), CONFIG, EFFORT).view(), monkeypatch)

    assert "s[bold]1" in shown
    assert "a?[2Jb" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_panel_keeps_to_the_width_and_to_some_lines(width: int, monkeypatch: pytest.MonkeyPatch):
    running = [
        Running(what=f"trial {number}", name="plain-20", epochs=8, epoch=None, seconds=1.0)
        for number in range(MOST_LINES + 3)
    ]
    view = replace(SearchReporter(FOLDER, CONFIG, EFFORT).view(), running=running)

    lines = seen(view, monkeypatch, width).splitlines()

    assert max(map(len, lines)) <= width
    assert any("and 3 more" in line for line in lines)


def test_on_a_terminal_the_panel_goes_when_the_search_ends_and_lines_stay(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with SearchReporter(FOLDER, CONFIG, EFFORT) as reporter:
        reporter.say("a line that stays")

    shown = terminal.getvalue()
    assert "harness search: mine" in shown
    assert "a line that stays\n" in shown
    # Erased: up and clear, once for each line of the panel.
    assert shown.rstrip().endswith("\x1b[2K")
