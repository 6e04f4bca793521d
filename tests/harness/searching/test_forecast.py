"""The forecast of a search: size, accuracy and time for known errors, and the effect of more images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.searching import answer, loop
from harness.searching.finder import Finder, Inquiry
from harness.searching.forecast import Predictions, forecast_of
from harness.searching.probes import _curve_of, _Probes
from harness.searching.scheduler import turn_at
from harness.searching.surrogate.model import NO_PRIOR
from harness.searching.time_budget import Pace, TimeLeft
from harness.spaces.notation import parse_space
from harness.studies.candidate import BASELINE, Candidate
from harness.studies.config import open_study
from harness.studies.events import SearchForecast
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.training.executors.base import DataLocation
from harness.training.result import Purpose
from tests import searches
from tests.factories import make_job_result
from tests.fakes import without_processes

SPACE = parse_space(searches.SPACE, "widths")
# The errors halve when the parameters double; the deviation of the predictions is a factor of 1.5.
SIZES = np.array([4_000, 1_000, 2_000, 500, 250])
MODEL = Predictions(SIZES, np.log(400_000 / SIZES), np.full(len(SIZES), math.log(1.5)), SIZES / 1_000)


@pytest.mark.parametrize(
    ("errors", "chance", "parameters"),
    [
        (400, 0.5, 1_000),  # the median of the errors is 400
        (399, 0.5, 2_000),
        (400, 0.05, 1_000),  # 500 parameters make 800 errors, 1.71 deviations above
        (430, 0.05, 500),  # 1.53 deviations
        (400, 0.95, 2_000),  # 200 errors, 1.71 deviations below
        (380, 0.95, 4_000),
        (50, 0.5, None),
    ],
)
def test_smallest_network_has_requested_chance(errors: float, chance: float, parameters: int | None):
    index = MODEL.smallest(errors, chance)
    assert (None if index is None else int(SIZES[index])) == parameters
    if index is not None:
        margin = math.log(errors / (400_000 / SIZES[index])) / math.log(1.5)
        assert MODEL.chances(errors)[index] == pytest.approx(NormalDist().cdf(margin))


def test_fewest_errors_equal_quantile_of_largest_network():
    deviation = NormalDist().inv_cdf(0.95)
    for quantile, factor in ((0.05, 1.5**-deviation), (0.5, 1.0), (0.95, 1.5**deviation)):
        assert MODEL.fewest_errors(quantile) == pytest.approx(100 * factor)


def trained_candidate(trial: int, width: int, errors: int, origin: str = "ladder") -> Candidate:
    text = f"conv3x3({width}) relu conv3x3({width}) relu gap linear(10)"
    return searches.trained_candidate(trial, text, errors, origin)


def quote_of(
    *candidates: Candidate, pace: float = 1e-5, workers: int = 1, max_cost: int = 20_000, lengths: tuple[int, ...] = ()
):
    time_left = TimeLeft(images=1_000, pace=Pace(pace, 0.0), workers=workers)
    inquiry = Inquiry(max_cost, {each.proposal.trial: each for each in candidates}, time_left)
    return forecast_of(Finder(SPACE, searches.config(lengths=lengths), inquiry, NO_PRIOR))


LADDER_RUNS = [trained_candidate(number, width, 1_000 // width) for number, width in enumerate((4, 8, 12, 20, 32))]


def test_interval_contains_network_at_the_threshold():
    # A hundred errors are allowed: the network of width 10, with 1,100 parameters, makes a hundred.
    answer = quote_of(*LADDER_RUNS)
    low, middle, high = answer.parameters
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < 1_100 < high
    assert low < middle < high
    assert answer.chance > 0.9
    assert answer.accuracy_pct == tuple(sorted(answer.accuracy_pct))


def test_harder_data_require_more_parameters_or_have_no_answer():
    easy_parameters = quote_of(*LADDER_RUNS).parameters[1]
    hard_runs = [trained_candidate(number, width, 1_700 // width) for number, width in enumerate((4, 8, 12, 20, 32))]
    unreachable_runs = [trained_candidate(number, width, 4_000) for number, width in enumerate((4, 8, 12, 20, 32))]
    hard_parameters = quote_of(*hard_runs).parameters[1]
    assert easy_parameters is not None
    assert hard_parameters is not None
    assert hard_parameters > easy_parameters
    assert quote_of(*unreachable_runs).parameters == (None, None, None)
    assert quote_of(*unreachable_runs).chance < 0.05


@pytest.mark.parametrize("fresh_seeds", [0, 2])
def test_confirmed_baseline_is_median_answer(fresh_seeds: int):
    # A single run without an error proves little if few images validate.
    baseline = trained_candidate(9, 3, 50, BASELINE)
    for seed_index in range(fresh_seeds):
        job = searches.first_job(baseline.proposal)
        run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
        baseline.fresh_runs.append(replace(run, purpose=Purpose.CONFIRM, seed_index=seed_index))
    low, middle, high = quote_of(*LADDER_RUNS, baseline).parameters
    assert (middle == baseline.proposal.parameters) is bool(fresh_seeds)
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < middle < high


def test_forecast_of_fast_search_has_usual_duration():
    fast, usual, slow = quote_of(*LADDER_RUNS, pace=1e-5).seconds
    assert fast < usual < 180 < slow < 240


def test_forecast_seconds_scale_with_pace_and_workers():
    slow = quote_of(*LADDER_RUNS, pace=1e-2)
    # A training takes 80 seconds, so that all further work is negligible.
    twice_as_slow = quote_of(*LADDER_RUNS, pace=2e-2)
    assert twice_as_slow.search_seconds == pytest.approx(2 * slow.search_seconds, rel=0.05)
    assert twice_as_slow.parameters == slow.parameters
    assert quote_of(*LADDER_RUNS, pace=1e-2, workers=4).search_seconds < slow.search_seconds / 2
    for workers in (2, 4, 8):
        assert quote_of(*LADDER_RUNS, pace=1e-2, workers=workers).parameters == slow.parameters


def test_lengths_without_time_for_verification_are_omitted_from_forecast():
    epochs = searches.RECIPE.epochs
    in_time = quote_of(*LADDER_RUNS, pace=1e-3, lengths=(epochs, 2 * epochs))
    # The longer of both lengths takes 17.6 s, and 180 s suffice for trainings of up to 17.0 s.
    longer = quote_of(*LADDER_RUNS, pace=1.1e-3, lengths=(epochs, 2 * epochs))
    assert longer.search_seconds == in_time.search_seconds == 180
    assert longer.parameters == quote_of(*LADDER_RUNS, pace=1e-3).parameters
    assert in_time.parameters != longer.parameters


@pytest.mark.parametrize(
    ("half", "all_", "largest", "recommendation"),
    [
        ([2_000] * 3, [1_000] * 3, [950] * 3, "pictures"),
        ([1_050] * 3, [1_000] * 3, [400] * 3, "parameters"),
        ([1_500] * 3, [1_000] * 3, [670] * 3, "both"),
        ([1_050] * 3, [1_000] * 3, [960] * 3, "chance"),
        # So few errors are no evidence.
        ([4], [2], [2], "chance"),
    ],
)
def test_recommendation_of_images_or_parameters_requires_significant_difference(
    half: list[int], all_: list[int], largest: list[int], recommendation: str
):
    curve = _curve_of({"half": half, "all": all_, "largest": largest}, (500, 5_000))
    assert curve.more == recommendation
    assert curve.pictures_fall_pct == pytest.approx(100 * (1 - all_[0] / half[0]), abs=0.1)
    assert curve.parameters_fall_pct == pytest.approx(100 * (1 - largest[0] / all_[0]), abs=0.1)


@pytest.mark.parametrize(("logs_forecast", "count"), [(True, 1), (False, 0)])
def test_forecast_is_logged_once_after_training_of_the_ladder(
    logs_forecast: bool, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_processes(monkeypatch)
    config = searches.config(sampler="surrogate")
    open_study(tmp_path, config, {})

    def quotes(trials: int) -> int:
        state = StudyLog(tmp_path).recover_into(StudyState(tmp_path, config))
        effort = searches.effort(trials=trials)
        loop.run_search(
            loop.open_search(state, effort, DataLocation("mnist", None), logs_forecast=logs_forecast), ["harness"]
        )
        return len(state.of_kind(SearchForecast))

    # The ladder has at most seven networks.
    assert [quotes(trials) for trials in (2, 7, 11)] == [0, count, count]


@pytest.mark.parametrize(("parameters", "holds"), [(499, False), (500, True), (900, True), (901, False)])
def test_interval_includes_both_ends(parameters: int, holds: bool):
    assert answer.holds((500, 700, 900), parameters) is holds
    assert answer.holds((500, None, None), parameters) is (parameters >= 500)


class SimulatedProbes(_Probes):
    """Probes with a job that runs until the test removes the job."""

    seconds_left = 100.0
    trained = ()  # type: ignore[assignment]

    def __init__(self) -> None:
        self.search: Any = SimpleNamespace(at_work=["a job"])
        self.pairs: list[Any] = []
        self.forecasts = 0

    def _unproposed_pairs(self) -> list[Any]:
        self.forecasts += 1
        return self.pairs

    def _propose(self, option: Any, epochs: int, origin: str) -> Any:
        return option, epochs


def test_probes_wait_for_running_job_before_next_forecast():
    probes = SimulatedProbes()
    jobs = iter(probes.jobs_of_quantiles())

    assert [next(jobs) for _ in range(20)] == [None] * 20
    assert probes.forecasts == 1

    probes.trained, probes.pairs = ("the job",), [("network", 8)]  # type: ignore[assignment]
    job: Any = next(jobs)
    assert job == ("network", 8)

    probes.search.at_work, probes.pairs = [], []
    assert list(jobs) == []


@pytest.mark.parametrize(("accuracy_pct", "seeds"), [(99.5, 2), (97.0, 1)])
def test_probes_train_fresh_seeds_of_passed_baselines_until_decision(accuracy_pct: float, seeds: int):
    baselines = [trained_candidate(1, 3, 50, BASELINE), trained_candidate(2, 4, 300, BASELINE)]
    probes = SimulatedProbes()
    probes.trained = (*baselines, *LADDER_RUNS)  # type: ignore[assignment]
    probes.search.turn = turn_at(searches.config(), trial=0)
    probes.search.at_work = []
    probes.search.free_index = lambda candidate: len(candidate.fresh_runs)
    probes.search.job = lambda candidate, purpose, index: replace(
        searches.first_job(candidate.proposal), purpose=purpose, seed_index=index
    )
    count = 0
    for job in probes.jobs_of_passed_baselines():
        assert job is not None
        assert job.trial == 1
        baselines[0].fresh_runs.append(make_job_result(job, lambda parameters, seed: accuracy_pct, job.recipe.epochs))
        count += 1
    assert count == seeds
