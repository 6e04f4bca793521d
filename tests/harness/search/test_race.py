"""The decisions of a search, each at its boundary; the t bounds are checked against printed quantiles."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search import race
from harness.search.race import Candidate, Outcome
from harness.search.study import Proposal
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result, Status
from harness.training.seeds import Purpose

THRESHOLD = 99.0
SIZE = 10_000


def proposal(trial: int = 0, parameters: int = 1000, network_hash: str = "000000000001") -> Proposal:
    return Proposal(
        trial=trial,
        architecture="gap linear(10)",
        hash=network_hash,
        parameters=parameters,
        origin="tpe",
        decisions=(),
    )


def result(
    errors: int | None,
    *,
    status: Status = Status.COMPLETE,
    purpose: Purpose = Purpose.CONFIRM,
    index: int = 0,
    history: tuple[Epoch, ...] = (),
) -> Result:
    return Result(
        architecture="gap linear(10)",
        hash="000000000001",
        parameters=1000,
        macs=1,
        recipe=Recipe(),
        recipe_name="fast",
        recipe_hash=Recipe().hash,
        dataset="mnist",
        purpose=purpose,
        seed_index=index,
        seed=index,
        status=status,
        validation_errors=errors,
        validation_size=None if errors is None else SIZE,
        history=history,
    )


def candidate(*fresh: int | None, first: int | None = 100, trial: int = 0, parameters: int = 1000) -> Candidate:
    """Return a network with so many errors in its first run and on its fresh seeds; 100 errors are the threshold."""
    begun = None if first is None else result(first, purpose=Purpose.SEARCH)
    runs = [result(errors, index=index) for index, errors in enumerate(fresh)]
    return Candidate(proposal(trial, parameters), begun, runs)


# What stands ------------------------------------------------------------------------------------------------


def test_three_fresh_seeds_at_the_threshold_stand_and_two_do_not():
    assert race.stands(candidate(100, 100, 100), THRESHOLD)
    assert not race.stands(candidate(100, 100), THRESHOLD)
    assert not race.stands(candidate(0, 0), THRESHOLD)


def test_the_bound_is_students_at_80_per_cent_one_sided():
    # Errors 80, 90, 100: mean 90, deviation 10. The 80 % quantile of t with 2 degrees of freedom is 1.0607 in every
    # printed table, so the bound is 90 + 1.0607 * 10 / sqrt(3) = 96.124 errors.
    network = candidate(80, 90, 100)

    assert race.stands(network, 100 - 0.9613)
    assert not race.stands(network, 100 - 0.9612)


def test_a_lucky_first_run_does_not_help_a_network_to_stand():
    assert not race.stands(candidate(101, 101, 101, first=0), THRESHOLD)
    assert not race.stands(candidate(first=0), THRESHOLD)


def test_a_run_without_an_accuracy_counts_as_chance_and_one_without_a_hit_as_nothing():
    assert candidate(None, SIZE).fresh_pct == [10.0, 0.0]
    assert not race.stands(candidate(0, 0, 0, None), THRESHOLD)


def test_the_smallest_that_stands_is_found_and_of_equals_the_first():
    stands = (100, 100, 100)
    networks = [
        candidate(*stands, trial=0, parameters=900),
        candidate(*stands, trial=1, parameters=800),
        candidate(*stands, trial=2, parameters=800),
        candidate(100, 100, trial=3, parameters=100),
    ]

    smallest = race.smallest_standing(networks, THRESHOLD)

    assert smallest is networks[1]
    assert race.smallest_standing([networks[3]], THRESHOLD) is None
    assert [item.proposal.trial for item in race.final_order(networks, THRESHOLD)] == [1, 2, 0]


# What is refuted --------------------------------------------------------------------------------------------


def test_one_bad_seed_does_not_refute_two_do():
    assert not race.refuted(candidate(150), THRESHOLD)
    assert race.refuted(candidate(150, 150), THRESHOLD)


def test_seeds_that_contradict_each_other_leave_a_network_open_until_the_fifth():
    assert not race.refuted(candidate(80, 130), THRESHOLD)
    assert not race.refuted(candidate(80, 130, 80, 130), THRESHOLD)
    assert race.refuted(candidate(80, 130, 80, 130, 80), THRESHOLD)


def test_the_bound_of_a_refutation_mirrors_that_of_standing():
    # As above: mean 110, deviation 10 gives 110 - 6.124 errors at best.
    assert race.refuted(candidate(100, 110, 120), 100 - 1.0387)
    assert not race.refuted(candidate(100, 110, 120), 100 - 1.0388)


def test_counts_that_mean_the_threshold_exactly_stand():
    assert race.stands(candidate(3, 3, 3), 99.97)
    assert race.is_final(candidate(3, 3, 3, 3, 3, 3), 99.97)
    assert not race.stands(candidate(3, 3, 4), 99.97)


@given(st.lists(st.integers(0, 400), max_size=7))
def test_no_network_stands_and_is_refuted(errors: list[int]):
    network = candidate(*errors)

    assert not (race.stands(network, THRESHOLD) and race.refuted(network, THRESHOLD))


# Which run is next ------------------------------------------------------------------------------------------


def test_a_network_that_passed_gets_three_seeds_at_once_and_then_one_after_the_other():
    assert race.passed_first(candidate(), THRESHOLD)
    assert [race.seeds_wanted(candidate(*[120] * count), THRESHOLD) for count in range(5)] == [3, 3, 3, 4, 5]


def test_a_network_that_missed_gets_one_seed_for_each_time_it_was_proposed_again():
    missed = candidate(first=101)

    assert race.seeds_wanted(missed, THRESHOLD) == 0
    missed.repeats = 2
    assert race.seeds_wanted(missed, THRESHOLD) == 2
    assert race.next_to_confirm([missed], THRESHOLD, {0: 1}) is missed
    assert race.next_to_confirm([missed], THRESHOLD, {0: 2}) is None


@pytest.mark.parametrize("status", [Status.PRUNED, Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY])
def test_a_network_whose_first_run_was_not_completed_gets_none(status: Status):
    network = Candidate(proposal(), result(0, status=status, purpose=Purpose.SEARCH), repeats=3)

    assert not race.passed_first(network, THRESHOLD)
    assert race.next_to_confirm([network], THRESHOLD, {}) is None


def test_a_network_that_is_still_in_its_first_run_gets_none():
    assert race.next_to_confirm([Candidate(proposal(), repeats=1)], THRESHOLD, {}) is None


def test_the_smallest_open_network_is_confirmed_first():
    networks = [candidate(trial=0, parameters=900), candidate(trial=1, parameters=800)]

    assert race.next_to_confirm(networks, THRESHOLD, {}) is networks[1]
    assert race.next_to_confirm(networks, THRESHOLD, {1: 3}) is networks[0]
    assert race.next_to_confirm(networks, THRESHOLD, {0: 3, 1: 3}) is None


def test_what_is_not_smaller_than_the_smallest_that_stands_is_not_confirmed():
    standing = candidate(100, 100, 100, trial=0, parameters=800)

    assert race.next_to_confirm([standing, candidate(trial=1, parameters=800)], THRESHOLD, {}) is None
    assert race.next_to_confirm([standing, candidate(trial=1, parameters=799)], THRESHOLD, {}) is not None


def test_the_smallest_that_stands_gets_the_seeds_of_the_finals_while_others_are_searched():
    networks = [candidate(100, 100, 100, trial=0, parameters=900), candidate(100, 100, 100, trial=1, parameters=800)]

    assert race.next_finalist(networks, THRESHOLD, {}) is networks[1]
    assert race.next_finalist(networks, THRESHOLD, {1: 1}) is networks[1]
    # Both missing seeds are in flight; what they say decides who is next.
    assert race.next_finalist(networks, THRESHOLD, {1: 2}) is None


def test_behind_a_certain_network_nobody_needs_seeds_and_an_uncertain_one_lets_the_next_try():
    certain = candidate(90, 90, 90, 90, 90, trial=0, parameters=800)
    uncertain = candidate(88, 100, 95, 90, 103, trial=1, parameters=700)
    larger = candidate(100, 100, 100, trial=2, parameters=900)
    assert race.stands(uncertain, THRESHOLD)
    assert not race.is_final(uncertain, THRESHOLD)

    assert race.next_finalist([certain, larger], THRESHOLD, {}) is None
    assert race.next_finalist([uncertain, larger], THRESHOLD, {}) is larger
    assert race.next_finalist([], THRESHOLD, {}) is None


def test_a_refuted_network_is_not_confirmed():
    assert race.next_to_confirm([candidate(150, 150)], THRESHOLD, {}) is None


# What the sampler learns ------------------------------------------------------------------------------------


def test_the_sampler_learns_how_far_a_network_stays_below_the_threshold():
    assert race.outcome(candidate(first=150), THRESHOLD) == Outcome(1000, 0.5, True)
    assert race.outcome(candidate(first=50), THRESHOLD) == Outcome(1000, -0.5, True)


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.CRASHED])
def test_the_sampler_learns_nothing_from_a_run_that_failed(status: Status):
    failed = Candidate(proposal(), result(9000, status=status, purpose=Purpose.SEARCH))

    assert race.outcome(failed, THRESHOLD) == Outcome(1000, None, False)


def test_a_pruned_run_is_a_shortfall_that_is_not_complete():
    pruned = Candidate(proposal(), result(300, status=Status.PRUNED, purpose=Purpose.SEARCH))

    assert race.outcome(pruned, THRESHOLD) == Outcome(1000, 2.0, False)


def test_a_network_without_a_run_has_no_outcome():
    with pytest.raises(AssertionError, match=r"^only finished trials have an outcome$"):
        race.outcome(candidate(first=None), THRESHOLD)


# Rungs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, ()), (2, (1,)), (3, (1, 2)), (4, (1, 2)), (8, (2, 4)), (15, (4, 8)), (60, (15, 30))]
)
def test_rungs_are_a_quarter_and_a_half_of_the_epochs(epochs: int, expected: tuple[int, ...]):
    assert race.rungs(epochs) == expected


def full_run(at_rung: int, at_end: int, rung: int = 4) -> Result:
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, at_rung if number == rung else None) for number in range(1, 16))
    return result(at_end, history=history)


def test_the_ratio_is_the_prior_until_eight_runs_of_the_study_say_better():
    seven = [full_run(200, 180) for _ in range(7)]

    assert race.hopeful_ratio(seven, 4, 15) == race.PRIOR_RATIO[0.25]
    assert race.hopeful_ratio(seven, 8, 15) == race.PRIOR_RATIO[0.5]
    assert race.hopeful_ratio([*seven, full_run(200, 180)], 4, 15) == 0.9


def test_the_ratio_is_that_of_the_luckiest_tenth():
    runs = [full_run(100, errors) for errors in range(30, 50)]

    assert race.hopeful_ratio(runs, 4, 15) == 0.32
    assert race.hopeful_ratio(runs[:9], 4, 15) == 0.30
    assert race.hopeful_ratio(runs[:10], 4, 15) == 0.31


def test_only_runs_to_the_end_that_were_looked_at_at_the_rung_have_a_ratio():
    seven = [full_run(200, 180) for _ in range(7)]
    others = [
        replace(full_run(200, 2), status=Status.PRUNED),
        replace(full_run(200, 2), status=Status.DIVERGED),
        full_run(200, 2, rung=8),
        full_run(0, 2),
        result(2),
    ]

    assert race.hopeful_ratio([*seven, *others], 4, 15) == race.PRIOR_RATIO[0.25]


def test_the_expected_errors_are_the_mean_of_all_runs_and_a_guess_where_a_run_was_pruned():
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 200) for number in range(1, 5))
    pruned = Candidate(proposal(), result(200, status=Status.PRUNED, purpose=Purpose.SEARCH, history=history))

    assert race.expected_errors(candidate(90, 80, first=100), 15) == 90.0
    assert race.expected_errors(candidate(first=100), 15) == 100.0
    assert race.expected_errors(pruned, 16) == race.TYPICAL_RATIO[0.25] * 200
    assert race.expected_errors(pruned, 8) == race.TYPICAL_RATIO[0.5] * 200


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT, Status.DIVERGED])
def test_a_run_that_failed_says_nothing_of_the_errors(status: Status):
    failed = Candidate(proposal(), result(None, status=status, purpose=Purpose.SEARCH))

    assert race.expected_errors(failed, 15) is None
    assert race.expected_errors(Candidate(proposal()), 15) is None


def test_the_prediction_lets_errors_fall_by_the_ratio():
    assert race.predicted_pct(200, SIZE, 0.3) == pytest.approx(99.4)
    assert race.predicted_pct(0, SIZE, 0.3) == 100.0


@given(st.integers(0, 2000), st.sampled_from([0.3, 0.55, 0.32, 0.9]), st.sampled_from([99.0, 99.4, 97.25]))
def test_what_can_reach_the_threshold_by_the_ratio_is_hoped_for_and_nothing_else(
    errors: int, ratio: float, threshold: float
):
    end = Fraction(str(ratio)) * errors
    allowed = (100 - Fraction(str(threshold))) / 100 * SIZE

    assert (race.predicted_pct(errors, SIZE, ratio) >= threshold - 1e-9) == (end <= allowed)


# The winner -------------------------------------------------------------------------------------------------


def test_the_winner_needs_five_seeds_and_a_bound_of_95_per_cent():
    # Errors 80, 85, 90, 95, 100: mean 90, deviation 7.9057; the 95 % quantile of t with 4 degrees of freedom is 2.1318:
    # 90 + 2.1318 * 7.9057 / sqrt(5) = 97.537 errors.
    network = candidate(80, 85, 90, 95, 100)

    assert race.is_final(network, 100 - 0.9754)
    assert not race.is_final(network, 100 - 0.9753)
    assert not race.is_final(candidate(0, 0, 0, 0), THRESHOLD)
    assert race.margin_pct(network, 99.0) == pytest.approx(1 - 0.97537, abs=1e-5)
