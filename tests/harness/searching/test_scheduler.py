"""The decisions of a search at their boundaries; probabilities are checked against printed tables and by simulation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.searching import scheduler
from harness.searching.scheduler import Turn
from harness.spaces.space import Metric
from harness.studies.candidate import (
    Candidate,
    allowed_errors,
    confirmed_by_cost,
    nearest_miss,
    needed_share,
    rung_ratios,
)
from harness.studies.events import Entry, RunEnded
from harness.studies.study_state import StudyState
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result, Status
from tests import searches
from tests.factories import SIZE, make_candidate, make_proposal, make_result

DRAWS = 200_000


# Confirmation ------------------------------------------------------------------------------------------------


def test_confirmation_limit_is_students_bound_at_80_percent_with_pooled_deviation():
    # Equal seeds: the square of the deviation is 20 * 0.08 ** 2 / 21, half of it for the mean of two; six seeds of the
    # verification add 0.08 ** 2 / 6, the network 0.032 ** 2. The 80 % quantile of t with 21 degrees of freedom is 0.859
    # in printed tables, so the limit is 100 / exp(0.859 * 0.07168) = 94.03 errors.
    assert make_candidate(94, 94).is_confirmed
    assert not make_candidate(95, 95).is_confirmed
    assert replace(make_candidate(905, 905), threshold_pct=100 - 9.63).is_confirmed
    assert not replace(make_candidate(905, 905), threshold_pct=100 - 9.62).is_confirmed


@pytest.mark.parametrize("errors", [(85, 95), (96, 84, 90), (104, 94), (92, 108, 99, 101)])
def test_chance_to_verify_equals_simulation_of_six_further_seeds(errors: tuple[int, ...]):
    # Uncertainty of a network after the fresh seeds: the mean, the change of images, and six seeds on the test images.
    rng = np.random.default_rng(1)
    means = rng.normal(math.log(np.mean(errors)), 0.08 / math.sqrt(len(errors)), DRAWS)
    test_means = means + rng.normal(0, 0.032, DRAWS)
    test_errors = test_means + rng.normal(0, 0.08, (6, DRAWS)).mean(axis=0)

    # The deviation is known from many networks only: t with 21 degrees of freedom is within a hundredth.
    assert make_candidate(*errors).chance_to_verify == pytest.approx((test_errors <= math.log(100)).mean(), abs=0.02)


@given(st.lists(st.integers(40, 250), min_size=1, max_size=6))
def test_chance_to_verify_equals_scipy_with_pooled_deviation(errors: list[int]):
    ratios_to_mean = np.array(errors) / np.mean(errors)
    degrees_of_freedom = 20 + len(errors) - 1
    # Fewer than 60 errors have a larger deviation.
    seed_variance = 0.08**2 * max(1, 60 / float(np.mean(errors)))
    variance = (20 * seed_variance + ((ratios_to_mean - 1) ** 2).sum()) / degrees_of_freedom
    spread = math.sqrt(variance / len(errors) + 0.08**2 / 6 + 0.032**2)

    expected = stats.t.cdf(math.log(100), degrees_of_freedom, math.log(np.mean(errors)), spread)

    assert make_candidate(*errors).chance_to_verify == pytest.approx(expected, abs=1e-9)


def test_error_free_runs_on_few_images_do_not_confirm():
    """Two runs on ten images without an error confirm no target of 98 %; sixty images are needed."""
    few = [replace(run, validation_size=10, validation_errors=0) for run in make_candidate(0, 0, 0, 0, 0, 0).fresh_runs]
    candidate = replace(make_candidate(), first_run=few[0], threshold_pct=98.0)
    candidates = [replace(candidate, fresh_runs=few[:count]) for count in range(2, 7)]

    assert [network.is_confirmed for network in candidates] == [False, False, False, False, True]
    assert not any(network.is_refuted for network in candidates)
    # A single error of 20 images is too many.
    runs_with_error = [replace(few[0], validation_errors=1), *few[1:]]
    assert not replace(candidates[0], fresh_runs=runs_with_error).is_confirmed


def test_needed_share_is_confirmation_limit_of_two_equal_seeds():
    # By the table above: exp(-0.859 * sqrt(0.08 ** 2 / 2 + 0.08 ** 2 / 6 + 0.032 ** 2)).
    share = needed_share()

    assert share == pytest.approx(math.exp(-0.859 * math.sqrt(0.0032 + 0.0064 / 6 + 0.001024)), rel=1e-3)
    errors, excess = round(SIZE / 10 * share), math.ceil(SIZE / 10 * share * 1.01)
    assert replace(make_candidate(errors, errors), threshold_pct=90.0).is_confirmed
    assert not replace(make_candidate(excess, excess), threshold_pct=90.0).is_confirmed


def test_run_without_accuracy_counts_as_chance_level():
    assert make_candidate(None, SIZE).fresh_pct == [10.0, 0.0]
    assert not make_candidate(0, 0, 0, None).is_confirmed


def test_confirmed_networks_are_ordered_by_cost_and_trial():
    sizes = (900, 800, 800)
    candidates = [make_candidate(80, 80, trial=trial, parameters=size) for trial, size in enumerate(sizes)]
    candidates.append(make_candidate(100, 100, trial=3, parameters=100))

    assert [candidate.proposal.trial for candidate in confirmed_by_cost(candidates)] == [1, 2, 0]
    assert confirmed_by_cost(candidates[3:]) == []


# Refutation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", [(), (85,), (95,), (92, 94), (85, 99, 90)])
def test_chance_to_confirm_equals_simulation_of_further_seeds(errors: tuple[int, ...]):
    # A first run of 90 errors passed, so 4 % are added against selection bias. The errors of the network are predicted
    # from all runs; the mean of the fresh seeds, at least two, must be below the limit.
    rng = np.random.default_rng(3)
    run_errors = [90 * 1.04, *errors]
    seed_count = max(2, len(errors) + 1)
    missing_count = seed_count - len(errors)
    means = rng.normal(math.log(np.mean(run_errors)), 0.08 / math.sqrt(len(run_errors)), DRAWS)
    seeds = np.exp(means + rng.normal(0, 0.08, (missing_count, DRAWS)))
    fresh_means = (sum(errors) + seeds.sum(axis=0)) / seed_count

    chance = make_candidate(*errors, first=90).chance_to_confirm

    assert chance == pytest.approx((fresh_means <= 100 * needed_share(seed_count)).mean(), abs=0.03)


@pytest.mark.parametrize(("images", "threshold_pct"), [(10, 97.5), (10, 95.0), (40, 97.0), (60, 97.0)])
def test_chance_after_a_run_without_errors_is_below_the_beta_binomial_chance(images: int, threshold_pct: float):
    """Half an error in place of none approximates Jeffreys' prior, with a larger deviation on few images."""
    run = replace(make_result(errors=0), validation_size=images)
    candidate = replace(make_candidate(), first_run=run, threshold_pct=threshold_pct, confirm_seeds=5)
    most_errors = math.floor(5 * images * (100 - threshold_pct) / 100 * needed_share(5))

    expected = stats.betabinom(5 * images, 0.5, images + 0.5).cdf(most_errors)

    assert expected / 3 < candidate.chance_to_confirm < expected


def test_network_is_refuted_if_chance_to_confirm_is_below_a_quarter():
    undecided, refuted = make_candidate(88, first=88), make_candidate(101, first=88)

    assert undecided.chance_to_confirm >= 0.25 > refuted.chance_to_confirm
    assert not undecided.is_refuted
    assert refuted.is_refuted


@pytest.mark.parametrize(
    ("network", "is_contender"),
    [
        (make_candidate(first=None), True),  # in training
        (make_candidate(first=120), False),  # missed
        (make_candidate(first=80), True),  # passed: fresh seeds are required
        (make_candidate(80, first=80), True),  # a further seed is required
        (make_candidate(80, 80, first=80), True),  # confirmed
        (make_candidate(150, first=80), False),  # refuted
        (make_candidate(94, 97, 94, 97, 95, first=88), True),  # undecided
        (make_candidate(92, 97, 99, 96, 95, 98, first=80), False),  # six seeds without confirmation
    ],
)
def test_contender_is_confirmed_or_undecided(network: Candidate, is_contender: bool):
    assert network.is_contender is is_contender


# Expected errors --------------------------------------------------------------------------------------------


def candidate_pruned_at_fourth_epoch(epochs: int) -> Candidate:
    """Return a candidate that was pruned after the fourth epoch, with 200 errors."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 200) for number in range(1, 5))
    run = make_result(errors=200, status=Status.PRUNED, history=history)
    return Candidate(make_proposal(), 1000, replace(run, recipe=Recipe(epochs=epochs)), threshold_pct=99.0)


def test_expected_errors_are_mean_of_runs_or_estimate_for_pruned_run():
    ratios = rung_ratios([])
    assert make_candidate(90, 80, first=100).expected_errors(ratios) == 90.0
    assert make_candidate(first=100).expected_errors(ratios) == 100.0
    # At a quarter, two fifths and a half of the epochs: the median ratios of measured runs.
    estimates = [candidate_pruned_at_fourth_epoch(epochs).expected_errors(ratios) for epochs in (16, 10, 8)]
    assert estimates == [pytest.approx(share * 200) for share in (0.62, 0.74, 0.81)]


def test_estimate_for_pruned_run_follows_ratios_of_the_study():
    """Of 20 runs that end with 95 of 100 errors, and four typical runs with 62, the geometric mean is 88.5."""

    def completed_candidate(trial: int) -> Candidate:
        history = tuple(Epoch(number, 0.1, 0.1, 1.0, 100 if number == 4 else None) for number in range(1, 17))
        run = replace(make_result(errors=95, history=history), recipe=Recipe(epochs=16))
        return Candidate(make_proposal(trial), 1000, run, threshold_pct=99.0)

    ratios = rung_ratios([completed_candidate(trial) for trial in range(20)])

    expected = (0.62**4 * (95.5 / 100.5) ** 20) ** (1 / 24)
    assert expected == pytest.approx(0.885, abs=0.001)
    assert candidate_pruned_at_fourth_epoch(16).expected_errors(ratios) == pytest.approx(200 * expected)
    # No ratio is known at the remaining rungs.
    assert ratios[0.5] == pytest.approx(0.81)


BUDGET = 2_000
TURN = Turn(Metric.PARAMETERS, BUDGET)


def test_passed_network_gets_two_seeds_at_once_and_then_single_seeds():
    assert make_candidate().passed_first
    assert [make_candidate(*[95] * count, first=80).seeds_wanted for count in range(5)] == [2, 2, 3, 4, 5]


def test_barely_passed_network_gets_single_fresh_seed_despite_low_chance():
    lucky = make_candidate(first=100)
    assert lucky.passed_first
    assert lucky.chance_to_confirm < 0.25

    assert [lucky.seeds_wanted, make_candidate(110, first=100).seeds_wanted] == [1, 1]
    assert scheduler.next_to_confirm([lucky], TURN, {}) is lucky
    assert scheduler.next_to_confirm([lucky], TURN, {0: 1}) is None
    # A good first seed raises the chance, so a second seed follows.
    assert make_candidate(80, first=100).seeds_wanted == 2


def test_failed_network_gets_a_seed_per_repeated_proposal():
    failed_candidate = make_candidate(first=101)

    assert failed_candidate.seeds_wanted == 0
    failed_candidate.repeats = 2
    assert failed_candidate.seeds_wanted == 2
    assert scheduler.next_to_confirm([failed_candidate], TURN, {0: 1}) is failed_candidate
    assert scheduler.next_to_confirm([failed_candidate], TURN, {0: 2}) is None


RUN_ERRORS = st.tuples(
    st.integers(60, 130), st.lists(st.integers(60, 130), max_size=3), st.integers(0, 900), st.integers(1, 99)
)


@given(st.lists(RUN_ERRORS, max_size=6), st.dictionaries(st.integers(0, 5), st.integers(0, 2)))
def test_next_seed_goes_to_network_with_highest_value(histories: list[Any], running: dict[int, int]):
    networks = [
        make_candidate(*fresh, first=first, trial=trial, parameters=100 + cost)
        for trial, (first, fresh, cost, _) in enumerate(histories)
    ]
    seconds = {trial: float(each[3]) for trial, each in enumerate(histories)}
    below = min([each.cost for each in networks if each.is_confirmed], default=BUDGET + 1)

    def value(network: Candidate) -> float:
        trial, seed_count = network.proposal.trial, len(network.fresh_runs)
        wanted = network.seeds_wanted - seed_count - running.get(trial, 0)
        if wanted <= 0 or network.is_confirmed or network.is_refuted:
            return 0.0
        # Chance times the reduction below the incumbent, per missing seed; a confirmation needs two seeds.
        improvement = max(0.0, math.log(below / network.cost))
        missing = max(1, 2 - seed_count - running.get(trial, 0))
        return network.chance_to_confirm * improvement / (missing * seconds[trial])

    candidate = scheduler.next_to_confirm(networks, TURN, running, lambda each: seconds[each.proposal.trial])

    best = max(map(value, networks), default=0.0)
    assert (candidate is None) == (best == 0)
    assert candidate is None or value(candidate) == pytest.approx(best)


def test_chance_to_confirm_equals_values_by_hand():
    # By hand, with a printed table of the normal distribution; two seeds confirm up to 93.94 mean errors. A first run
    # of 80 counts 83.2, and the deviation with the mean of two seeds is 0.09798: 1.239 deviations, so 0.8923.
    assert make_candidate(first=80).chance_to_confirm == pytest.approx(0.8923, abs=0.001)
    # A run that missed is not corrected: 110, 1.611 deviations above.
    assert make_candidate(first=110).chance_to_confirm == pytest.approx(0.0536, abs=0.001)
    # With fresh runs of 90 and 96 the mean of all is 89.73, so the mean of three fresh seeds may reach 91.91, and 94.57
    # are confirmed; the deviation is a third of the deviations of a seed and of the mean, 0.03079: 0.928.
    assert make_candidate(90, 96, first=80).chance_to_confirm == pytest.approx(0.8233, abs=0.002)
    assert make_candidate(0, 0, 0, first=0).chance_to_confirm == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, ()), (2, (1,)), (3, (1, 2)), (4, (1, 2)), (5, (2, 3)), (8, (2, 4)), (15, (4, 8)), (30, (8, 15))],
)
def test_rungs_are_a_quarter_and_a_half_of_the_epochs(epochs: int, expected: tuple[int, ...]):
    assert scheduler.rungs(epochs) == expected


def full_run(at_rung: int, at_end: int, rung: int = 4) -> Result:
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, at_rung if number == rung else None) for number in range(1, 16))
    return make_result(errors=at_end, history=history)


def ratios(runs: Iterable[Result]) -> Any:
    """Return the ratios of a study with rungs after the fourth and the eighth of 15 epochs."""
    study = StudyState(Path(), searches.config(recipe=Recipe(), rungs=(4, 8)))
    study.apply(Entry(0.0, make_proposal()))
    for run in runs:
        study.apply(Entry(0.0, RunEnded(run=replace(run, trial=0))))
    return study.ratios


def decision_at(known_ratios: Any, errors: int = 100, epoch: int = 4, epochs: int = 15, threshold: float = 99.0) -> Any:
    """Return the decision about a run with these errors after an epoch."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, errors) for number in range(1, epoch + 1))
    run = make_result(errors=errors, history=history, recipe=Recipe(epochs=epochs))
    return scheduler.at_rung(run, known_ratios, threshold)


def test_ratio_is_prior_until_eight_complete_runs_of_equal_length():
    seven_runs = [full_run(200, 180) for _ in range(7)]
    ignored = [
        replace(full_run(200, 2), status=Status.PRUNED),
        replace(full_run(200, 2), status=Status.DIVERGED),
        full_run(200, 2, rung=8),
        full_run(0, 2),
        make_result(errors=2),
        replace(full_run(200, 2), recipe=Recipe(epochs=30)),
    ]

    assert decision_at(ratios([*seven_runs, *ignored])).ratio == scheduler._PRIOR_RATIO[0.25]
    assert decision_at(ratios(seven_runs), epoch=8).ratio == scheduler._PRIOR_RATIO[0.5]
    assert decision_at(ratios([*seven_runs, full_run(200, 180)])).ratio == 0.9


def test_ratio_is_lowest_decile_of_runs_in_any_order():
    runs = [full_run(100, errors) for errors in range(30, 50)]

    medians = [decision_at(ratios(each)).ratio for each in (runs, runs[::-1], runs[:9], runs[:10])]

    assert medians == [0.32, 0.32, 0.30, 0.31]


@pytest.mark.parametrize(
    ("epochs", "shares"), [(5, (0.4, 0.6)), (8, (0.25, 0.5)), (15, (0.25, 0.5)), (30, (0.25, 0.5))]
)
def test_prior_ratio_is_of_nearest_share_of_epochs(epochs: int, shares: tuple[float, ...]):
    rung_ratios = [decision_at({}, epoch=rung, epochs=epochs).ratio for rung in scheduler.rungs(epochs)]

    assert rung_ratios == [scheduler._PRIOR_RATIO[share] for share in shares]


@pytest.mark.parametrize(
    ("errors", "epoch", "proposed_epochs", "expected"),
    [
        # 100 of 10,000 errors are allowed, 94.03 on two fresh seeds. The first run is biased by 4 %, and two further
        # seeds deviate by 0.08 * sqrt(1 / 2 + 1) = 0.098: with 94.03 / 1.04 * exp(-0.842 * 0.098) = 83.3 errors the
        # chance is 80 %.
        (60, 16, (), 12),
        (83, 16, (), 12),
        (84, 16, (), None),
        (120, 16, (), None),
        (60, 30, (), 30),
        (60, 4, (), None),
        (60, 11, (), 8),
        (60, 16, (12,), None),
        (60, 16, (8, 30), 12),
        # At least half of the epochs until the rung.
        (60, 24, (), 12),
        (60, 25, (), None),
    ],
)
def test_run_that_suffices_at_a_rung_gets_longest_training_up_to_rung(
    errors: int, epoch: int, proposed_epochs: tuple[int, ...], expected: int | None
):
    config = searches.config(lengths=(5, 8, 12, 30, 60))
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, errors) for number in range(1, epoch + 1))
    run = make_result(errors=errors, history=history, recipe=Recipe(epochs=60), status=Status.RUNNING)
    candidate = replace(make_candidate(), first_run=None)
    candidate.proposal = replace(candidate.proposal, epochs=60)
    rivals = [replace(candidate, proposal=replace(candidate.proposal, epochs=each)) for each in proposed_epochs]

    assert scheduler.shorter_epochs(run, candidate, [candidate, *rivals], config) == expected


@given(st.integers(0, 2000), st.sampled_from([30, 55, 32, 90]), st.sampled_from([99.0, 99.4, 97.25]))
def test_run_is_pruned_if_predicted_errors_exceed_allowed_errors_by_half_an_image(
    errors: int, ratio: int, threshold: float
):
    study_ratios = ratios([full_run(100, ratio)] * 8)
    allowed = (100 - Fraction(str(threshold))) / 100 * SIZE + Fraction(1, 2)

    # The hash of these runs ends in 1, so that no run is exempt.
    assert decision_at(study_ratios, errors, threshold=threshold).pruned == (
        Fraction(ratio, 100) * errors > allowed + Fraction(1, 2)
    )


def test_every_tenth_hash_is_exempt_unless_another_rule_decides():
    run = make_result(errors=5_000, history=full_run(5_000, 1).history[:4])
    runs = [replace(run, hash=f"{number:012x}") for number in range(1000)]

    decisions = [scheduler.at_rung(each, {}, 99.0) for each in runs]

    assert [number for number, each in enumerate(decisions) if each.exempt] == [*range(0, 1000, 10)]
    assert all(each.pruned is not each.exempt for each in decisions)
    assert scheduler.at_rung(runs[0], {}, 99.0, lambda run: True).pruned
    assert not scheduler.at_rung(runs[1], {}, 99.0, lambda run: False).pruned


# Nearest miss -----------------------------------------------------------------------------------------


def pruned_candidate(errors: int, trial: int = 0, status: Status = Status.PRUNED) -> Candidate:
    """Return a candidate whose first run ended at a rung after two epochs."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, errors) for number in (1, 2))
    run = make_result(errors=errors, status=status, history=history)
    return Candidate(make_proposal(trial), 1000, run, threshold_pct=99.0)


@given(st.integers(0, 10_000), st.sampled_from([1, 7, 1_000, 9_999, 10_000]))
def test_allowed_errors_exceed_threshold_by_at_most_half_an_image(hundredths: int, size: int):
    # In whole numbers: 100 * (size - errors + 1/2) / size >= hundredths / 100.
    expected = max(errors for errors in range(size + 1) if 5_000 * (2 * (size - errors) + 1) >= hundredths * size)

    assert allowed_errors(hundredths / 100, size) == expected


@given(st.floats(0, 100, allow_nan=False), st.integers(1, 60))
def test_allowed_errors_are_exact_for_any_threshold(threshold_pct: float, size: int):
    allowed = allowed_errors(threshold_pct, size)

    # The rounding of floats is within a billionth of a per cent.
    least = Fraction(threshold_pct) - Fraction(1, 10**9)
    right = size - allowed + Fraction(1, 2)
    assert 100 * right / size >= least - Fraction(1, 10**12)
    assert allowed == size or 100 * (right - 1) / size < least + Fraction(1, 10**12)


# At 86.76 % of 7 images 0.93 errors are allowed, at 99.2837 % of 10,000 images 71.63.
@pytest.mark.parametrize(
    ("threshold_pct", "size", "errors", "passes"),
    [(86.76, 7, 1, True), (86.76, 7, 2, False), (99.2837, 10_000, 72, True), (99.2837, 10_000, 73, False)],
)
def test_first_run_passes_up_to_half_an_image_above_threshold(
    threshold_pct: float, size: int, errors: int, passes: bool
):
    history = (Epoch(1, 0.1, 0.1, 1.0, errors),)
    first = make_result(errors=errors, validation_size=size, history=history, hash="000000000001")
    assert Candidate(make_proposal(), 1000, first, threshold_pct=threshold_pct).passed_first is passes

    # All earlier runs had as many errors at the end as at this rung.
    rung = scheduler.at_rung(first, {(first.recipe.epochs, 1): [1.0] * 8}, threshold_pct)
    assert rung.pruned is not passes


def failed_run(errors: int | None, status: Status) -> Candidate:
    return Candidate(make_proposal(), 1000, make_result(errors=errors, status=status), threshold_pct=99.0)


@pytest.mark.parametrize(
    ("networks", "trial", "errors", "runs"),
    [
        ([], None, 0, 0),
        ([make_candidate(first=None), failed_run(50, Status.DIVERGED), failed_run(None, Status.CRASHED)], None, 0, 0),
        # The fewest errors, and the smaller network of equal errors.
        ([make_candidate(first=130, trial=0, parameters=500), make_candidate(first=104, trial=1, parameters=2000),
          make_candidate(first=104, trial=2, parameters=900)], 2, 104, 1),
        # Fresh seeds count in place of a lucky first run; a failed seed counts as chance.
        ([make_candidate(120, 121, first=90, trial=0)], 0, 120.5, 2),
        ([make_candidate(120, 121, first=90, trial=0), make_candidate(first=110, trial=1)], 1, 110, 1),
        ([make_candidate(100, None, first=90)], 0, (100 + 9000) / 2, 2),
        ([replace(make_candidate(100, None, first=90), classes=4)], 0, (100 + 7500) / 2, 2),
        # A confirmed network did not miss.
        ([make_candidate(80, 80, 80, trial=0)], None, 0, 0),
        ([make_candidate(80, 80, 80, trial=0), make_candidate(first=150, trial=1)], 1, 150, 1),
        # A pruned run is named only if no run was complete.
        ([pruned_candidate(300), pruned_candidate(250, trial=1)], 1, 250, 1),
        ([pruned_candidate(101), make_candidate(first=400, trial=5)], 5, 400, 1),
        ([pruned_candidate(250, status=Status.SHORTENED)], 0, 250, 1),
    ],
)  # fmt: skip
def test_nearest_miss_has_fewest_errors(networks: list[Candidate], trial: int | None, errors: float, runs: int):
    miss = nearest_miss(networks)

    if trial is None:
        assert miss is None
    else:
        assert miss is not None
        assert (miss.trial, miss.errors, miss.runs) == (trial, errors, runs)
        assert (miss.allowed, miss.size) == (100, SIZE)
        assert miss.rung == (2 if errors == 250 else None)
