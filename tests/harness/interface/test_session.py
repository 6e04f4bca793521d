"""Progress output of a search: a line per event, a bar in notebooks, and the live report."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from harness.commands.search import search
from harness.interface.session import SearchProgress, _command_options
from harness.searching.ending import search_arguments
from harness.searching.request import SearchRequest
from harness.searching.search_state import Moment
from harness.studies.candidate import Candidate, NearestMiss
from harness.studies.events import Confirmed, Entry, FailedConfirmation, RunEnded
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.terminal import say, silent
from harness.training.result import Purpose, Result, Status
from tests import searches
from tests.factories import make_job_result, make_proposal

PROPOSAL = make_proposal(3, "conv3x3(40) relu conv3x3(8) relu gap linear(10)")
JOB = searches.first_job(PROPOSAL)
NEAREST = NearestMiss(
    trial=3, hash="0" * 12, parameters=2140, epochs=8, errors=70, runs=1, allowed=69, size=10_000, cost=2140
)
CONFIG = searches.config(dataset="kmnist", target_pct=99.4, threshold_pct=99.3)
STATE = StudyState(Path("one"), CONFIG)
EFFORT = searches.effort(seconds=2700.0, trials=None)


def progress_of(workspace: Workspace | None = None, *, verbose: bool = False) -> SearchProgress:
    return SearchProgress(CONFIG, EFFORT, workspace, verbose=verbose)


def validated(errors: int | None, status: Status = Status.COMPLETE, message: str = "", **changes: object) -> Result:
    plain = make_job_result(JOB, lambda parameters, seed: 99.0, 8)
    size = None if errors is None else 10_000
    result = replace(plain, validation_errors=errors, validation_size=size, status=status, message=message)
    return replace(result, train_seconds=12.4, **changes)  # type: ignore[arg-type]


def candidate_with_fresh_runs(*errors: int) -> Candidate:
    """Return a candidate with runs on fresh seeds that have these numbers of errors."""
    fresh = [validated(each, purpose=Purpose.CONFIRM, seed_index=index) for index, each in enumerate(errors, start=1)]
    return Candidate(PROPOSAL, PROPOSAL.parameters, fresh_runs=fresh, threshold_pct=99.0)


# Lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last_errors", "message"), [(20, "confirmed"), (150, "not confirmed")])
def test_failed_confirmation_is_not_reported_while_a_seed_trains(
    last_errors: int, message: str, capsys: pytest.CaptureFixture[str]
):
    network, progress = candidate_with_fresh_runs(20, 130), progress_of()
    state = StudyState(Path("one"), CONFIG)
    state.candidates[PROPOSAL.trial] = network
    jobs = [replace(JOB, purpose=Purpose.CONFIRM, seed_index=seed) for seed in (2, 3)]
    progress.on_tick(Moment(31.0, STATE, None, jobs))
    capsys.readouterr()
    for event in (RunEnded(run=network.fresh_runs[-1]), FailedConfirmation(**network.on_fresh_seeds)):
        progress.on_entry(state, Entry(31.1, event))
    assert capsys.readouterr().err == ""

    progress.on_tick(Moment(31.2, STATE, None, jobs[1:]))
    network.fresh_runs.append(validated(last_errors, purpose=Purpose.CONFIRM, seed_index=3))
    progress.on_entry(state, Entry(31.3, RunEnded(run=network.fresh_runs[-1])))
    if message == "confirmed":
        progress.on_entry(state, Entry(31.3, Confirmed(**network.on_fresh_seeds, budget=network.cost - 1)))

    [line] = capsys.readouterr().err.splitlines()
    assert f"  {message}: " in line  # the elapsed time before the message differs between runs
    # The mean of 20, 130 and 150 errors is the allowed number, so either outcome is equally likely.
    assert ("probability of 50 %, required: 80 % on at least 2 seeds" in line) == (message == "not confirmed")


def test_status_line_counts_trials_without_baselines(capsys: pytest.CaptureFixture[str]):
    state = StudyState(Path("one"), CONFIG)
    for trial, origin in enumerate(["baseline", "baseline", "sampler"]):
        proposal = make_proposal(trial, origin=origin)
        state.candidates[trial] = Candidate(proposal, 1000, validated(900), threshold_pct=99.0)

    SearchProgress(CONFIG, searches.effort(trials=6), None).on_tick(Moment(31.0, state, None, []))

    assert "; 3 trained, 0 rejected, 1 of 6 trials; " in capsys.readouterr().err


def test_notebook_shows_tqdm_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with progress_of() as progress:
        monkeypatch.setattr(StudyState, "nearest", NEAREST)
        progress.on_tick(Moment(300.0, STATE, None, [JOB]))
    output = capsys.readouterr()
    assert "300.0/2700.0" in output.err
    assert "5:00  nearest: 2,140 parameters" in output.out + output.err


def test_silent_hides_lines_and_notebook_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with silent(), progress_of() as progress:
        progress.on_tick(Moment(300.0, STATE, None, [JOB]))
        progress.say("a line")
        say("a note", "warning")
        thread = threading.Thread(target=say, args=("of a loud thread",))
        thread.start()
        thread.join()

    assert capsys.readouterr() == ("", "of a loud thread\n")


# The report ------------------------------------------------------------------------------------------------


class ReportClock:
    """A clock that ``advance`` sets forward, as does each report, by ``cost`` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: float = 0.0, error: Exception | None = None) -> None:
        self.now = 1000.0
        self.written: list[float] = []

        def write(folder: Path, home: Workspace, *, live: bool, state: StudyState) -> Path:
            self.written.append(self.now)
            self.now += cost
            if error is not None:
                raise error
            return folder / "report.html"

        monkeypatch.setattr("harness.pages.study_page.write_report", write)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.progress = progress_of(Workspace(Path()))
        # Without jobs, so that only reports are written.
        self.moment = Moment(0.0, STATE, None, ())

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.progress.on_tick(self.moment)


@pytest.mark.parametrize(("error", "message"), [(UsageError("no room"), "no room"), (KeyError("x"), "KeyError: 'x'")])
def test_failed_report_does_not_end_search(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, capsys: pytest.CaptureFixture[str]
):
    clock = ReportClock(monkeypatch, error=error)

    clock.advance(100)

    assert len(clock.written) == 1
    assert capsys.readouterr().err.count(message) == 1


def test_report_waits_until_idle_workers_have_jobs(monkeypatch: pytest.MonkeyPatch):
    pages = ReportClock(monkeypatch)
    busy, half, idle = (replace(pages.moment, jobs=jobs) for jobs in ((JOB, JOB), (JOB, None), (None, None)))

    # Number of workers with a job: 1, 2, 1, 0, 1.
    for moment in (half, busy, half, idle, half):
        pages.now += 100.0
        pages.progress.on_tick(moment)
    assert pages.written == [1200.0]

    # There is no job for the second worker.
    pages.now += 100.0
    pages.progress.on_tick(half)
    assert pages.written == [1200.0, 1600.0]


def test_search_arguments_are_readable_by_command_line():
    request = SearchRequest("mnist-5k", workers="auto", time="2m", minimise=("parameters", "macs"), target_pct=97)

    words = search_arguments(_command_options(request))[1:]

    parameters = search.make_context("search", [*words]).params
    assert (parameters["workers"], parameters["time"], parameters["target_pct"]) == (None, 120.0, 97.0)
    assert parameters["minimise"] == ("parameters", "macs")
