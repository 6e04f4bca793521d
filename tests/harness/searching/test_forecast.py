"""What a quote says of models whose errors are stated, and what more pictures bring, by counts of errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.searching import advice, loop
from harness.searching.finder import Finder, Inquiry
from harness.searching.forecast import Outlook, Predictions, quote
from harness.searching.probes import _Probes, curve_of
from harness.searching.surrogate.model import NO_PAST
from harness.searching.time_budget import Pace, TimeLeft
from harness.searching.turn import turn_at
from harness.studies.candidate import BASELINE, Candidate
from harness.studies.config import open_study
from harness.studies.events import Quoted
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.training.executors.base import DataLocation
from harness.training.result import Purpose
from search_spaces.notation import parse_space
from tests import searches
from tests.factories import make_job_result, make_proposal
from tests.fakes import without_processes

SPACE = parse_space(searches.SPACE, "widths")
# The errors halve when the parameters double; the model is sure of them to a factor of 1.5.
SIZES = np.array([4_000, 1_000, 2_000, 500, 250])
MODEL = Predictions(SIZES, np.log(400_000 / SIZES), np.full(len(SIZES), math.log(1.5)), SIZES / 1_000)


@pytest.mark.parametrize(
    ("errors", "chance", "parameters"),
    [
        (400, 0.5, 1_000),  # which makes 400 in the middle of all cases
        (399, 0.5, 2_000),
        (400, 0.05, 1_000),  # 500 make 800, which is 1.71 deviations too many
        (430, 0.05, 500),  # 1.53 deviations
        (400, 0.95, 2_000),  # which makes 200: 1.71 deviations of room
        (380, 0.95, 4_000),
        (50, 0.5, None),
    ],
)
def test_the_smallest_network_has_the_chance_that_is_asked_for(errors: float, chance: float, parameters: int | None):
    at = MODEL.smallest(errors, chance)
    assert (None if at is None else int(SIZES[at])) == parameters
    if at is not None:
        margin = math.log(errors / (400_000 / SIZES[at])) / math.log(1.5)
        assert MODEL.chances(errors)[at] == pytest.approx(NormalDist().cdf(margin))


def test_the_fewest_errors_are_those_of_the_best_network_in_each_case():
    deviation = NormalDist().inv_cdf(0.95)
    for quantile, factor in ((0.05, 1.5**-deviation), (0.5, 1.0), (0.95, 1.5**deviation)):
        assert MODEL.fewest_errors(quantile) == pytest.approx(100 * factor)


def trained(trial: int, width: int, errors: int, origin: str = "ladder") -> Candidate:
    text = f"conv3x3({width}) relu conv3x3({width}) relu gap linear(10)"
    proposal = make_proposal(trial, text, origin=origin)
    job = searches.first_job(proposal)
    run = make_job_result(job, lambda parameters, seed: 100 - errors / 100, job.recipe.epochs)
    return Candidate(proposal, proposal.parameters, run, threshold_pct=99.0)


def quoted(
    *candidates: Candidate, pace: float = 1e-5, workers: int = 1, max_cost: int = 20_000, lengths: tuple[int, ...] = ()
):
    time_left = TimeLeft(images=1_000, pace=Pace(pace, 0.0), workers=workers)
    inquiry = Inquiry(max_cost, {each.proposal.trial: each for each in candidates}, time_left)
    return quote(Outlook(Finder(SPACE, searches.config(lengths=lengths), inquiry, NO_PAST)))


LADDER = [trained(number, width, 1_000 // width) for number, width in enumerate((4, 8, 12, 20, 32))]


def test_the_interval_holds_the_network_that_just_reaches():
    # A hundred errors are allowed: width 10, of 1,100 parameters, makes as many.
    answer = quoted(*LADDER)
    low, middle, high = answer.parameters
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < 1_100 < high
    assert low < middle < high
    assert answer.chance > 0.9
    assert answer.accuracy_pct == tuple(sorted(answer.accuracy_pct))


def test_harder_data_take_more_parameters_or_are_out_of_reach():
    easy = quoted(*LADDER).parameters[1]
    hard = [trained(number, width, 1_700 // width) for number, width in enumerate((4, 8, 12, 20, 32))]
    out_of_reach = [trained(number, width, 4_000) for number, width in enumerate((4, 8, 12, 20, 32))]
    more = quoted(*hard).parameters[1]
    assert easy is not None
    assert more is not None
    assert more > easy
    assert quoted(*out_of_reach).parameters == (None, None, None)
    assert quoted(*out_of_reach).chance < 0.05


@pytest.mark.parametrize("fresh_seeds", [0, 2])
def test_a_baseline_is_an_answer_if_fresh_seeds_confirm_it(fresh_seeds: int):
    # A single run without an error proves little if few images validate.
    baseline = trained(9, 3, 50, BASELINE)
    for seed_index in range(fresh_seeds):
        job = searches.first_job(baseline.proposal)
        run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
        baseline.fresh_runs.append(replace(run, purpose=Purpose.CONFIRM, seed_index=seed_index))
    low, middle, high = quoted(*LADDER, baseline).parameters
    assert (middle == baseline.proposal.parameters) is bool(fresh_seeds)
    assert low is not None
    assert middle is not None
    assert high is not None
    assert low < middle < high


def test_short_trainings_are_quoted_for_the_usual_time_of_a_search():
    fast, usual, slow = quoted(*LADDER, pace=1e-5).seconds
    assert fast < usual < 180 < slow < 240


def test_time_goes_with_the_pace_and_the_workers():
    slow = quoted(*LADDER, pace=1e-2)
    # A training takes 80 seconds, beside which nothing else counts.
    twice_as_slow = quoted(*LADDER, pace=2e-2)
    assert twice_as_slow.search_seconds == pytest.approx(2 * slow.search_seconds, rel=0.05)
    assert twice_as_slow.parameters == slow.parameters
    assert quoted(*LADDER, pace=1e-2, workers=4).search_seconds < slow.search_seconds / 2
    for workers in (2, 4, 8):
        assert quoted(*LADDER, pace=1e-2, workers=workers).parameters == slow.parameters


def test_trainings_that_a_search_cannot_verify_in_its_time_are_left_out():
    epochs = searches.RECIPE.epochs
    in_time = quoted(*LADDER, pace=1e-3, lengths=(epochs, 2 * epochs))
    # The longer of both lengths takes 17.6 s, and 180 s suffice for trainings of up to 17.0 s.
    longer = quoted(*LADDER, pace=1.1e-3, lengths=(epochs, 2 * epochs))
    assert longer.search_seconds == in_time.search_seconds == 180
    assert longer.parameters == quoted(*LADDER, pace=1e-3).parameters
    assert in_time.parameters != longer.parameters


@pytest.mark.parametrize(
    ("half", "all_", "largest", "more"),
    [
        ([2_000] * 3, [1_000] * 3, [950] * 3, "pictures"),
        ([1_050] * 3, [1_000] * 3, [400] * 3, "parameters"),
        ([1_500] * 3, [1_000] * 3, [670] * 3, "both"),
        ([1_050] * 3, [1_000] * 3, [960] * 3, "chance"),
        # As few errors of as few images are no evidence.
        ([4], [2], [2], "chance"),
    ],
)
def test_pictures_and_parameters_are_compared_beyond_chance(
    half: list[int], all_: list[int], largest: list[int], more: str
):
    curve = curve_of({"half": half, "all": all_, "largest": largest}, (500, 5_000))
    assert curve.more == more
    assert curve.pictures_fall_pct == pytest.approx(100 * (1 - all_[0] / half[0]), abs=0.1)
    assert curve.parameters_fall_pct == pytest.approx(100 * (1 - largest[0] / all_[0]), abs=0.1)


@pytest.mark.parametrize(("logs_forecast", "count"), [(True, 1), (False, 0)])
def test_a_search_is_quoted_once_when_its_first_networks_have_been_trained(
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
        return len(state.of_kind(Quoted))

    # The ladder has seven steps at the most.
    assert [quotes(trials) for trials in (2, 7, 11)] == [0, count, count]


@pytest.mark.parametrize(("parameters", "holds"), [(499, False), (500, True), (900, True), (901, False)])
def test_an_interval_holds_what_lies_within_its_ends(parameters: int, holds: bool):
    assert advice.holds((500, 700, 900), parameters) is holds
    assert advice.holds((500, None, None), parameters) is (parameters >= 500)


class StillProbes(_Probes):
    """Probes with a job that runs until ``runs`` says otherwise."""

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


def test_probes_wait_for_a_running_job_before_they_forecast_again():
    probes = StillProbes()
    jobs = iter(probes.jobs_of_quantiles())

    assert [next(jobs) for _ in range(20)] == [None] * 20
    assert probes.forecasts == 1

    probes.trained, probes.pairs = ("the job",), [("network", 8)]  # type: ignore[assignment]
    job: Any = next(jobs)
    assert job == ("network", 8)

    probes.search.at_work, probes.pairs = [], []
    assert list(jobs) == []


@pytest.mark.parametrize(("accuracy_pct", "seeds"), [(99.5, 2), (97.0, 1)])
def test_probes_train_fresh_seeds_of_passed_baselines_until_these_are_decided(accuracy_pct: float, seeds: int):
    baselines = [trained(1, 3, 50, BASELINE), trained(2, 4, 300, BASELINE)]
    probes = StillProbes()
    probes.trained = (*baselines, *LADDER)  # type: ignore[assignment]
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
