"""Whole searches with scripted workers: starts, pruning, confirmation and the end of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from torch import nn

from harness.searching import loop, scheduler
from harness.searching.search_state import Search
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.spaces.space import Metric
from harness.storage import mirror
from harness.studies.candidate import _REFUTED_BELOW, _SURE, CONFIDENCE
from harness.studies.config import StudyConfig, open_study
from harness.studies.events import EndReason, Entry, RungReached, Verified
from harness.studies.standing import Standing
from harness.system.errors import DataError, DeviceError
from harness.training import torch_network
from harness.training.executors.base import JobEnded, JobFailed, WorkerEvent
from harness.training.result import Purpose, Status, derive_seed
from harness.training.run import Job
from tests import searches
from tests.factories import make_job_result, make_proposal
from tests.fakes import Trainer, by_size
from tests.searches import Trial
from tests.study_logs import write_entry, write_event

TINY_SPACE = "net = conv3x3({4, 8, 12}) gap linear(10);"
# A network of 20,000 parameters.
ALLOWED = "conv3x3(31) conv3x3(57) conv1x1(56, bias) gap linear(10)"


def always(accuracy_pct: float) -> Callable[[int, int], float]:
    return lambda parameters, seed: accuracy_pct


def test_coordinator_builds_no_module(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module_names: list[str] = []
    initialise = nn.Module.__init__

    def spy(module: nn.Module, *arguments: object, **named: object) -> None:
        module_names.append(type(module).__name__)
        initialise(module, *arguments, **named)

    monkeypatch.setattr(nn.Module, "__init__", spy)
    torch_network.build(parse_network(ALLOWED), MNIST)
    assert module_names, "the spy sees nothing"
    module_names.clear()

    searches.run(tmp_path, searches.config(budget=1_500, sampler="random"), searches.effort())

    assert searches.events(tmp_path, "rejected")
    assert module_names == []


def test_jobs_of_a_search_have_no_access_to_the_test_set(trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort())

    assert searches.events(tmp_path, "winner")
    assert {(job.test_log, job.test_each_epoch) for job in trainer.jobs} == {(None, False)}
    assert {job.purpose for job in trainer.jobs} == {Purpose.SEARCH, Purpose.CONFIRM}


# Budget and repeats -----------------------------------------------------------------------------------------


def test_budget_is_lowered_only_after_confirmation_by_two_fresh_seeds(trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(seed=2), searches.effort(trials=30))

    budget = 20_000
    fresh: dict[int, list[float]] = {}
    for event in searches.events(tmp_path):
        match event["event"]:
            case "proposed":
                assert event["parameters"] <= budget
            case "finished" if event["purpose"] == "confirm":
                fresh.setdefault(event["trial"], []).append(100 - event["validation_errors"] / 100)
            case "confirmed":
                assert len(fresh[event["trial"]]) >= 2
                assert event["validation_seeds"] == len(fresh[event["trial"]])
                assert event["budget"] == event["parameters"] - 1 < budget
                budget = event["budget"]
    assert budget < 20_000


def test_single_lucky_run_does_not_lower_budget(trainer: Trainer, tmp_path: Path):
    seeds_of_search = {}

    def lucky_once(parameters: int, seed: int) -> float:
        return 99.9 if seed in seeds_of_search else 98.9

    for width in (4, 8, 12):
        network = parse_network(f"conv3x3({width}) gap linear(10)")
        seeds_of_search[derive_seed(network.hash, searches.RECIPE_HASH, Purpose.SEARCH, 0, 0)] = width
    trainer.accuracy_pct = lucky_once
    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort())

    assert all(candidate.passed_first for candidate in search.state.candidates.values())
    assert searches.events(tmp_path, "confirmed", "winner") == []
    assert {event["trial"] for event in searches.events(tmp_path, "refuted")} == {0, 1, 2}
    # Two equal fresh seeds suffice to refute a network.
    assert [len(candidate.fresh_runs) for candidate in search.state.candidates.values()] == [2, 2, 2]


def test_refuted_incumbent_restores_earlier_budget(trainer: Trainer, tmp_path: Path):
    """The third seed of a network started before the second seed ended, and misses the threshold."""
    search = searches.with_trials(tmp_path, [Trial(20, fresh=(99.2, 99.2)), Trial(12, fresh=(99.2, 99.2))], workers=2)
    assert search.max_cost == 10 + 19 * 12 - 1
    search.executor.submit(search.job(search.state.candidates[1], Purpose.CONFIRM, 2))
    trainer.accuracy_pct = always(90.0)

    loop._on_worker_events(search, search.executor.wait(0.5))

    assert [event["trial"] for event in searches.events(tmp_path, "refuted")] == [1]
    [confirmation] = searches.events(tmp_path, "confirmed")
    assert (confirmation["trial"], confirmation["budget"]) == (0, 10 + 19 * 20 - 1)
    assert search.max_cost == 10 + 19 * 20 - 1


def test_repeated_proposal_of_failed_network_becomes_fresh_seed(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(98.93)

    search = searches.run(
        tmp_path, searches.config(space_text=TINY_SPACE, sampler="random"), searches.effort(workers=3)
    )

    repeats = {trial: 0 for trial in search.state.candidates}
    for event in searches.events(tmp_path, "repeated"):
        repeats[event["trial"]] += 1
    assert sum(repeats.values()) > 0
    assert {trial: candidate.repeats for trial, candidate in search.state.candidates.items()} == repeats
    for trial, candidate in search.state.candidates.items():
        # A single seed refutes the network; two further seeds may be running.
        assert min(repeats[trial], 1) <= len(candidate.fresh_runs) <= min(repeats[trial], 3)
    seeds = [(job.trial, job.purpose, job.seed_index) for job in trainer.jobs if job.until_epoch is None]
    assert len(seeds) == len(set(seeds))


# The end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_search_starts_exactly_the_allowed_number_of_trials(workers: int, trainer: Trainer, tmp_path: Path):
    search = searches.run(tmp_path, searches.config(), searches.effort(trials=4, workers=workers))

    assert len(searches.events(tmp_path, "proposed")) == len(search.state.candidates) == 4
    assert all(candidate.first_run for candidate in search.state.candidates.values())
    assert search.end_reason is EndReason.TRIALS


def test_search_without_time_for_any_network_ends_for_lack_of_time(trainer: Trainer, tmp_path: Path):
    # A training is estimated to take 74 s before any measurement.
    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort(seconds=100.0, trials=None))

    assert search.state.candidates == {}
    assert searches.events(tmp_path, "ended")[-1]["reason"] == "time"


def test_search_ends_when_remaining_time_is_needed_for_verification(trainer: Trainer, tmp_path: Path):
    search = searches.with_trials(tmp_path, [Trial(30, fresh=(99.4, 99.4))], seconds=1_000.0)
    assert loop._stop_reason(search) is None

    search.earlier_seconds = 1_000.0 - search.closing_seconds()

    assert loop._stop_reason(search) is EndReason.TIME
    loop.explore(search)
    assert search.end_reason is EndReason.TIME
    assert trainer.jobs == []


def test_time_limit_includes_all_sessions(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(98.0)
    searches.run(tmp_path, searches.config(), searches.effort(trials=2))
    write_event(tmp_path, "rung", 100.0)

    search = searches.run(tmp_path, searches.config(), searches.effort(trials=5, seconds=100.5))

    assert search.earlier_seconds == 100.0
    assert search.seconds_left < 0.5


def test_repeated_command_does_not_change_finished_search(trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort(trials=5))
    log = (tmp_path / "log.jsonl").read_bytes()
    job_count = len(trainer.jobs)

    search = searches.run(tmp_path, searches.config(), searches.effort(trials=5))

    assert search.finished
    assert (tmp_path / "log.jsonl").read_bytes() == log
    assert len(trainer.jobs) == job_count


# Status of a run --------------------------------------------------------------------------------------------


# 70, 92 and 60 errors of a hundred allowed errors: confirmation is likely, unlikely, and reached.
LIKELY, UNLIKELY = 99.30, 99.08
INCUMBENT = Trial(30, fresh=(99.4, 99.4))


def start_jobs(search: Search) -> list[tuple[int | None, str]]:
    """Submit the next job to each idle worker; return trials and purposes."""
    for _ in range(search.executor.idle()):
        job = loop._next_job(search)
        assert job is not None
        search.executor.submit(job)
    return [(job.trial, job.purpose.value) for job in search.at_work]


@pytest.mark.parametrize(
    ("networks", "trials", "jobs"),
    [
        # Without an incumbent, all workers run fresh seeds of a passed network; with an incumbent, half of the workers,
        ([Trial(20, first=UNLIKELY)], 20, [(0, "confirm"), (0, "confirm")]),
        ([INCUMBENT, Trial(20, first=UNLIKELY)], 20, [(1, "confirm"), (2, "search")]),
        # unless the confirmation is likely, or all trials are proposed.
        ([INCUMBENT, Trial(20, first=LIKELY)], 20, [(1, "confirm"), (1, "confirm")]),
        ([INCUMBENT, Trial(20, first=UNLIKELY)], 2, [(1, "confirm"), (1, "confirm")]),
    ],
)
def test_fresh_seeds_occupy_all_workers_or_half_of_the_workers(
    networks: list[Trial], trials: int, jobs: list[tuple[int, str]], trainer: Trainer, tmp_path: Path
):
    search = searches.with_trials(tmp_path, networks, workers=2, trials=trials)
    last = search.state.candidates[len(networks) - 1].chance_to_confirm
    assert (last >= loop._LIKELY) is (networks[-1].first == LIKELY)
    assert last > _REFUTED_BELOW

    assert start_jobs(search) == jobs


# A run takes 8 s: both fresh seeds on two workers 1.1 * 8, the verification in three rounds 1.1 * 1.2 * 3 * 8 + 12.
@pytest.mark.parametrize(("spare", "confirmed"), [(-1.0, False), (1.0, True)])
def test_network_without_time_for_verification_is_not_confirmed(
    spare: float, confirmed: bool, trainer: Trainer, tmp_path: Path
):
    seconds = 8.8 + 31.68 + 12 + spare
    search = searches.with_trials(tmp_path, [INCUMBENT, Trial(20, first=LIKELY)], workers=2, seconds=seconds)
    search.session_start = search.executor.now()

    assert (loop._confirmable(search, has_all_proposals=False) is not None) is confirmed


def test_without_incumbent_network_is_confirmed_even_without_time_for_verification(trainer: Trainer, tmp_path: Path):
    search = searches.with_trials(tmp_path, [Trial(20, first=LIKELY)], workers=2, seconds=30.0)
    search.session_start = search.executor.now()

    assert loop._confirmable(search, has_all_proposals=False) is search.state.candidates[0]


FAILURES = [Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.CRASHED]


def failure_event(job: Job, status: Status) -> WorkerEvent:
    """Return the report of a worker on a failed run; a loss that is not finite is a result with errors."""
    if status is Status.DIVERGED:
        return JobEnded(job, replace(make_job_result(job, always(10.0), 3), status=status))
    return JobFailed(job, status, f"it was {status}")


def trial_states(search: Search) -> list[str]:
    return [trial.state.name for trial in searches.sampler_trials(search)]


# Rungs ------------------------------------------------------------------------------------------------------


def test_run_predicted_below_threshold_is_pruned_at_first_rung(trainer: Trainer, tmp_path: Path):
    # 98.8 %: 120 errors at the end, 347 after 2 of 8 epochs; 0.3 of these are 104, and 100 are allowed.
    trainer.accuracy_pct = always(98.8)

    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort(trials=1))

    (rung,) = searches.events(tmp_path, "rung")
    assert (rung["epoch"], rung["validation_errors"], rung["pruned"], rung["exempt"]) == (2, 347, True, False)
    assert (rung["ratio"], rung["predicted_pct"]) == (0.3, pytest.approx(100 - 1.041))
    first = search.state.candidates[0].first_run
    assert first is not None
    assert (first.status, len(first.history)) == (Status.PRUNED, 2)
    assert all(figure in first.message for figure in ("epoch 2", "98.9590 %", "99.0000 %"))
    assert trial_states(search) == ["PRUNED"]
    assert searches.sampler_trials(search)[0].constraints == {"accuracy": pytest.approx(2.47)}


def test_run_predicted_at_threshold_continues_through_all_rungs(trainer: Trainer, tmp_path: Path):
    # 98.95 %: 105 errors, 304 at the first rung (0.3 of them: 91), 174 at the second (0.55 of them: 96).
    trainer.accuracy_pct = always(98.95)

    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort(trials=1))

    assert [(job.until_epoch, job.spent_seconds) for job in trainer.jobs] == [(2, 0.0), (4, 2.0), (None, 4.0)]
    assert [event["pruned"] for event in searches.events(tmp_path, "rung")] == [False, False]
    assert search.state.candidates[0].runs[0].status is Status.COMPLETE
    assert trial_states(search) == ["COMPLETE"]


def test_run_of_exempt_network_is_never_pruned_and_logged_as_exempt(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer.accuracy_pct = always(98.0)
    monkeypatch.setattr(scheduler, "_EXEMPT_ONE_IN", 1)

    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort(trials=1))

    rungs = searches.events(tmp_path, "rung")
    assert [(rung["epoch"], rung["pruned"], rung["exempt"]) for rung in rungs] == [(2, False, True), (4, False, True)]
    assert search.state.candidates[0].runs[0].status is Status.COMPLETE


def test_study_prunes_by_own_ratio_after_eight_complete_runs(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scheduler, "_EXEMPT_ONE_IN", 1 << 60)
    # 104 errors at the end, 301 at the rung: the prior of 0.3 hopes for 90, the study's own 0.3455 for 104.
    trainer.accuracy_pct = always(98.96)

    search = searches.run(tmp_path, searches.config(sampler="random", rungs=(2,)), searches.effort(trials=12))

    ends = [search.state.candidates[trial].first_run for trial in range(12)]
    assert [end.status for end in ends if end] == [Status.COMPLETE] * 8 + [Status.PRUNED] * 4


def begin_long_run(folder: Path, trainer: Trainer, **fields: Any) -> StudyConfig:
    """Write a study that proposed a training of 8 epochs, of which 2 suffice, and return its configuration."""
    # 99.9 %: 10 errors at the end, 29 after 2 of 8 epochs; 100 are allowed.
    trainer.accuracy_pct = always(99.9)
    config = searches.config(space_text=TINY_SPACE, lengths=(2, 8), **fields)
    open_study(folder, config, {})
    write_entry(folder, Entry(0.0, replace(make_proposal(0, "conv3x3(12) gap linear(10)"), epochs=8)))
    return config


@pytest.mark.parametrize(
    ("workers", "fields"),
    [
        (1, {"sampler": "surrogate"}),
        (1, {"sampler": "tpe"}),
        (2, {}),
        (1, {"second": Metric.MACS, "second_most": 200_000}),
        (1, {"image_folds": 5}),
        (1, {"group_folds": 5, "validation_groups": 50.0, "test_groups": 20.0}),
        (1, {"start_from": "study", "known": ("conv3x3(12) gap linear(10)", "conv3x3(4) gap linear(10)")}),
    ],
)
def test_run_that_suffices_at_a_rung_is_replaced_by_shorter_training(
    workers: int, fields: dict[str, Any], trainer: Trainer, tmp_path: Path
):
    config = begin_long_run(tmp_path / "whole", trainer, **fields)
    search = searches.run(tmp_path / "whole", config, searches.effort(trials=None, workers=workers))
    first = search.state.candidates[0]
    second = next(each for each in search.state.candidates.values() if each.proposal.origin == "shorter")

    assert first.first_run is not None
    assert (first.first_run.status, first.first_run.trained_epochs, first.is_confirmed) == (Status.SHORTENED, 2, False)
    assert (second.proposal.epochs, second.proposal.hash, second.passed_first) == (2, first.proposal.hash, True)
    # With two workers, a smaller network is confirmed first.
    assert second.is_confirmed is (workers == 1)
    assert mirror._trial(first.first_run, "", first.proposal, "", config).state is TrialState.PRUNED

    # A search that is killed after the decision, the run or the shorter training makes the same proposals.
    lines = (tmp_path / "whole" / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for text in ('"rung"', '"finished"', '"shorter"') if workers == 1 else ():
        begin_long_run(tmp_path / text, trainer, **fields)
        count = next(number for number, line in enumerate(lines, 1) if text in line)
        (tmp_path / text / "log.jsonl").write_text("".join(lines[:count]), encoding="utf-8")
        resumed = searches.run(tmp_path / text, config, searches.effort(trials=None))
        assert resumed.state.proposals == search.state.proposals


@pytest.mark.parametrize(
    ("is_decided", "trials", "is_shortened"), [(False, 2, False), (True, 2, True), (True, 1, False)]
)
def test_limit_of_trials_turns_off_shorter_trainings_but_keeps_decision_of_killed_session(
    is_decided: bool, trials: int, is_shortened: bool, trainer: Trainer, tmp_path: Path
):
    config = begin_long_run(tmp_path, trainer)
    if is_decided:
        write_entry(tmp_path, Entry(0.0, RungReached(trial=0, epoch=2, shorter_epochs=2)))

    search = searches.run(tmp_path, config, searches.effort(trials=trials))

    first, *later = search.state.candidates.values()
    assert first.first_run is not None
    assert (first.first_run.trained_epochs, first.is_confirmed) == ((2, False) if is_shortened else (8, True))
    # Without a trial for the shorter training, the run goes on.
    assert any(each.proposal.origin == "shorter" for each in later) is is_shortened


def test_shortened_run_and_shorter_training_count_once_before_forecast(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "_FORECAST_TRAININGS", 2)
    config = begin_long_run(tmp_path, trainer)
    search = searches.resume(tmp_path, config, searches.effort(trials=None))
    search.logs_forecast = True

    loop.run_search(search, ["harness"])

    events = searches.events(tmp_path, "finished", "quoted")
    count = [event["event"] for event in events].index("quoted")
    assert sum(event["purpose"] == "search" for event in events[:count]) == 3


# Failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", FAILURES)
def test_search_continues_after_failed_first_run(status: Status, trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: failure_event(job, status) if job.trial == 1 else None

    search = searches.run(tmp_path, searches.config(), searches.effort(trials=6))

    failed_run = search.state.candidates[1].first_run
    assert failed_run is not None
    assert failed_run.status is status
    assert failed_run.message == ("" if status is Status.DIVERGED else f"it was {status}")
    further_runs = [candidate.first_run for trial, candidate in search.state.candidates.items() if trial != 1]
    assert len(further_runs) == 5
    assert all(first and first.status in (Status.COMPLETE, Status.PRUNED) for first in further_runs)
    assert searches.sampler_trials(search)[1].state is TrialState.FAIL
    assert search.state.candidates[1].fresh_runs == []
    assert len([job for job in trainer.jobs if job.trial == 1]) == (2 if status is Status.CRASHED else 1)
    assert [result for result in searches.results(tmp_path) if result.trial == 1] == [failed_run]


def test_crashed_run_is_repeated_once_from_last_rung(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(99.5)
    crashes = iter([True])
    trainer.special = lambda job: (
        JobFailed(job, Status.CRASHED, "signal 9") if job.until_epoch == 4 and next(crashes, False) else None
    )

    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort(trials=1))

    assert [job.until_epoch for job in trainer.jobs][:4] == [2, 4, 4, None]
    assert search.state.candidates[0].runs[0].status is Status.COMPLETE


@pytest.mark.parametrize("status", FAILURES)
def test_failed_fresh_seed_prevents_confirmation(status: Status, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(99.5)
    trainer.special = lambda job: (
        failure_event(job, status) if job.purpose is Purpose.CONFIRM and job.seed_index == 1 else None
    )

    search = searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort())

    assert searches.events(tmp_path, "winner") == []
    for candidate in search.state.candidates.values():
        assert [run.status for run in candidate.fresh_runs][1] is status
        assert not candidate.is_confirmed


def test_ten_consecutive_crashes_end_search_with_last_error(trainer: Trainer, tmp_path: Path):
    trainer.special = lambda job: JobFailed(job, Status.CRASHED, f"CUDA error {job.trial}", DeviceError)

    with pytest.raises(DeviceError, match=r"^10 consecutive runs crashed; the last error: CUDA error 9$") as caught:
        searches.run(tmp_path, searches.config(), searches.effort())

    assert caught.value.exit_code == 6
    assert len(searches.results(tmp_path)) == loop._MAX_CRASHES == 10


def test_data_error_ends_search(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def raise_data_error(job: Job) -> WorkerEvent:
        raise DataError("the data went away")

    trainer.special = raise_data_error

    with pytest.raises(DataError, match=r"^the data went away$"):
        searches.run(tmp_path, searches.config(), searches.effort())

    assert searches.results(tmp_path) == []


# Files ------------------------------------------------------------------------------------------------------


SIZES = {4: 86, 8: 162, 12: 238}
CLEAR = (99.4, 99.4)
BARELY = (99.1, 99.1)


def test_winner_is_smallest_network_confirmed_by_two_fresh_seeds(trainer: Trainer, tmp_path: Path):
    accuracies = {
        derive_seed(
            parse_network(f"conv3x3({width}) gap linear(10)").hash, searches.RECIPE_HASH, Purpose.CONFIRM, index, 0
        ): accuracy_pct
        for width, accuracy_pct in ((4, 98.0), (8, 99.15), (12, 99.4))
        for index in range(6)
    }
    trainer.accuracy_pct = lambda parameters, seed: accuracies.get(seed, 99.5)

    searches.run(tmp_path, searches.config(space_text=TINY_SPACE), searches.effort())

    winner = searches.events(tmp_path, "winner")[-1]
    assert (winner["parameters"], winner["validation_seeds"]) == (SIZES[8], 2)
    assert winner["validation_accuracy_pct"] == pytest.approx(99.15)
    assert SIZES[4] in {event["parameters"] for event in searches.events(tmp_path, "refuted")}


CONFIRMED_TRIAL = Trial(12, fresh=CLEAR)


@pytest.mark.parametrize(
    ("networks", "slow_trials", "verdicts", "winner"),
    [
        # If time is short, the winner is a network with time for a verification, or else the smallest network.
        ([CONFIRMED_TRIAL, Trial(8, fresh=CLEAR), Trial(4, fresh=CLEAR)], [2], {}, 1),
        ([CONFIRMED_TRIAL, Trial(8, fresh=CLEAR)], [0, 1], {}, 1),
        # A network that has missed is not chosen again.
        ([CONFIRMED_TRIAL, Trial(8, fresh=CLEAR), Trial(4, fresh=CLEAR)], [], {2: False}, 1),
        ([CONFIRMED_TRIAL, Trial(8, fresh=CLEAR)], [], {0: False, 1: False}, None),
        # A verified network needs no time, and further seeds do not change the verdict.
        ([CONFIRMED_TRIAL, Trial(8, fresh=(99.4, 98.4, 98.4))], [1], {1: True}, 1),
    ],
)
def test_winner_depends_on_time_and_earlier_verifications(
    networks: list[Trial],
    slow_trials: list[int],
    verdicts: dict[int, bool],
    winner: int | None,
    trainer: Trainer,
    tmp_path: Path,
):
    search = searches.with_trials(tmp_path, networks, seconds=90.0)
    for trial in slow_trials:
        searches.slow_down(search, trial)
    search.state.verdicts |= {trial: Verified(passed=passed) for trial, passed in verdicts.items()}

    candidate = loop.choose(search)

    assert (candidate and candidate.trial) == winner
    assert len(searches.events(tmp_path, "winner")) == (candidate is not None)


def test_second_verification_selects_smallest_network_with_high_chance(trainer: Trainer, tmp_path: Path):
    networks = [Trial(4, fresh=BARELY), Trial(6, fresh=BARELY), Trial(8, fresh=CLEAR), Trial(12, fresh=(99.6, 99.6))]
    search = searches.with_trials(tmp_path, networks, seconds=1_000.0)
    chances = [candidate.chance_to_verify for candidate in search.state.candidates.values()]
    assert CONFIDENCE < chances[0] == chances[1] < _SURE < chances[2] < chances[3]
    first = loop.choose(search)
    assert first is not None
    assert first.trial == 0
    search.add(Verified(hash=first.hash, recipe_hash=searches.RECIPE_HASH, tier=Standing.MEASURED, passed=False))

    second = loop.choose(search)

    assert second is not None
    assert second.trial == 2


@pytest.mark.parametrize(
    ("fresh", "winner"), [([(99.02, 98.98), (99.05, 99.0), (98.0, 98.0)], 1), ([(98.9,), (98.0, 98.0)], None)]
)
def test_without_incumbent_most_probable_network_at_target_is_verified(
    fresh: list[tuple[float, ...]], winner: int | None, trainer: Trainer, tmp_path: Path
):
    networks = [Trial(4 + 4 * number, fresh=accuracies) for number, accuracies in enumerate(fresh)]
    search = searches.with_trials(tmp_path, networks, seconds=1_000.0)
    assert search.state.incumbent is None
    assert (search.closing_seconds() > 0) is (winner is not None)

    candidate = loop.choose(search)

    assert (candidate and candidate.trial) == winner


def test_unconfirmed_network_is_verified_if_confirmed_networks_are_too_slow(trainer: Trainer, tmp_path: Path):
    networks = [Trial(12, fresh=CLEAR), Trial(8, fresh=(99.02, 98.98))]
    search = searches.with_trials(tmp_path, networks, seconds=100.0)
    search.timing.slowdowns.clear()  # the pace is constant
    searches.slow_down(search, 0)
    assert search.closing_seconds() == pytest.approx(search.verify_seconds(search.state.candidates[1]))

    candidate = loop.choose(search)

    assert candidate is not None
    assert candidate.trial == 1


@pytest.mark.parametrize("misses", [1, 2])
def test_missed_network_is_no_incumbent_and_verifications_end_after_two(misses: int, trainer: Trainer, tmp_path: Path):
    networks = [Trial(16, fresh=CLEAR), Trial(12, fresh=CLEAR), Trial(8, fresh=CLEAR)]
    search = searches.with_trials(tmp_path, networks, seconds=1_000.0)
    smallest_first = sorted(search.state.candidates, key=lambda trial: search.state.candidates[trial].cost)
    for trial in smallest_first[:misses]:
        winner = loop.choose(search)
        assert winner is not None
        assert winner.trial == trial
        searches.apply(
            search, Verified(hash=winner.hash, recipe_hash=searches.RECIPE_HASH, tier=Standing.MEASURED, passed=False)
        )

    candidate = loop.choose(search)

    incumbent = search.state.incumbent
    assert incumbent is not None
    assert incumbent.proposal.trial == smallest_first[misses]
    assert search.max_cost == incumbent.cost - 1
    assert scheduler.may_look(search.state) is (misses < 2)
    assert (candidate and candidate.trial) == (smallest_first[1] if misses < 2 else None)


# The fewest parameters: 8 channels, 64,640 multiply-adds or more. The fewest multiply-adds: 16 channels at half the
# rows and columns, 28,384.
SPACE = "net = <conv3x3({8, 12, 16}) / conv3x3({16, 24}, stride=2)> bn relu gap linear(10);"


@pytest.mark.parametrize("sampler", ["surrogate", "evolution", "tpe", "random"])
@pytest.mark.parametrize(
    ("objective", "parameters"), [({}, 178), ({"minimise": Metric.MACS, "most": 200_000}, 346)], ids=["size", "macs"]
)
def test_incumbent_minimises_objective_of_study(
    sampler: str, objective: dict[str, Any], parameters: int, trainer: Trainer, tmp_path: Path
):
    trainer.accuracy_pct = lambda parameters, seed: 99.6
    config = searches.config(space_text=SPACE, sampler=sampler, **objective)

    search = searches.run(tmp_path, config, searches.effort(trials=30))

    incumbent = search.state.incumbent
    assert incumbent is not None
    assert incumbent.proposal.parameters == parameters
    costs = {candidate.proposal.hash: candidate.cost for candidate in search.state.candidates.values()}
    limits = [event["budget"] for event in searches.events(tmp_path, "confirmed")]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == costs[incumbent.proposal.hash] - 1


@pytest.mark.parametrize("sampler", ["surrogate", "evolution", "tpe", "nsga2", "random"])
def test_stopped_and_resumed_search_equals_uninterrupted_search(sampler: str, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = by_size
    config = searches.config(
        space_text="width = 1..100; net = conv3x3(width, stride={1, 2}) bn relu conv3x3(40) gap linear(10);",
        sampler=sampler,
        minimise=Metric.MACS,
        most=4_000_000,
    )
    uninterrupted = searches.run(tmp_path / "whole", config, searches.effort(trials=20))
    for trials in (9, 12, 20):
        resumed = searches.run(tmp_path / "parts", config, searches.effort(trials=trials))

    assert [item.proposal.hash for item in uninterrupted.state.candidates.values()] == [
        item.proposal.hash for item in resumed.state.candidates.values()
    ]
    assert [item.cost for item in resumed.state.candidates.values()] == [
        item.cost for item in uninterrupted.state.candidates.values()
    ]
    if sampler != "surrogate":
        # The sampler gets multiply-adds, for rejections too.
        values = [
            sorted(trial.values for trial in searches.sampler_trials(search) if trial.values)
            for search in (uninterrupted, resumed)
        ]
        assert values[0] == values[1]
    lines = [event for event in searches.events(tmp_path / "parts", "rejected") if event["violation"] is not None]
    assert bool(lines) is (sampler in ("tpe", "nsga2", "random"))
