"""The decisions of a search, each at its boundary; chances are checked against printed tables and by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.search import pruning, race
from harness.search.race import Candidate, Outcome
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Status
from tests.harness.raced import SIZE, THRESHOLD, candidate, proposal, result

DRAWS = 200_000

# What stands ------------------------------------------------------------------------------------------------


def test_two_fresh_seeds_well_below_the_allowed_errors_stand_and_one_does_not():
    assert race.is_confirmed(candidate(80, 80), THRESHOLD)
    assert not race.is_confirmed(candidate(80), THRESHOLD)
    assert not race.is_confirmed(candidate(0), THRESHOLD)
    assert not race.is_confirmed(candidate(100, 100), THRESHOLD)


def test_the_bound_of_standing_is_students_at_80_per_cent_with_the_seeds_of_other_networks():
    # Equal seeds: the square of the deviation is 20 * 0.08 ** 2 / 21, half of it for the mean of two; six seeds of the
    # verification add 0.08 ** 2 / 6, the network 0.032 ** 2. The 80 % quantile of t with 21 degrees of freedom is 0.859
    # in every printed table, so 100 errors may be exceeded by exp(0.859 * 0.07168) = 1.0635: 94.03 stand.
    assert race.is_confirmed(candidate(94, 94), THRESHOLD)
    assert not race.is_confirmed(candidate(95, 95), THRESHOLD)
    assert race.is_confirmed(candidate(905, 905), 100 - 9.63)
    assert not race.is_confirmed(candidate(905, 905), 100 - 9.62)


def test_more_fresh_seeds_of_the_same_errors_say_more():
    chances = [race.chance_to_verify(candidate(*[92] * count), THRESHOLD) for count in range(7)]

    assert chances[0] == 0.0
    assert chances == sorted(chances)
    assert len(set(chances)) == 7


def test_seeds_that_differ_more_than_those_of_other_networks_say_less():
    assert race.chance_to_verify(candidate(60, 110), THRESHOLD) < race.chance_to_verify(candidate(85, 85), THRESHOLD)


@pytest.mark.parametrize("errors", [(85, 95), (96, 84, 90), (104, 94), (92, 108, 99, 101)])
def test_the_chance_to_verify_is_how_often_six_further_seeds_keep_to_the_allowed_errors(errors: tuple[int, ...]):
    # What is known of a network after its fresh seeds: its own mean, on other images, and six seeds there.
    draw = np.random.default_rng(1)
    own = draw.normal(math.log(np.mean(errors)), 0.08 / math.sqrt(len(errors)), DRAWS)
    elsewhere = own + draw.normal(0, 0.032, DRAWS)
    verified = elsewhere + draw.normal(0, 0.08, (6, DRAWS)).mean(axis=0)

    # The deviation is known from many networks only: t with its 21 degrees of freedom is within a hundredth.
    assert race.chance_to_verify(candidate(*errors), THRESHOLD) == pytest.approx(
        (verified <= math.log(100)).mean(), abs=0.02
    )


@given(st.lists(st.integers(40, 250), min_size=1, max_size=6))
def test_the_chance_to_verify_is_that_of_scipy_with_a_pooled_deviation(errors: list[int]):
    relative = np.array(errors) / np.mean(errors)
    freedom = 20 + len(errors) - 1
    pooled = (20 * 0.08**2 + ((relative - 1) ** 2).sum()) / freedom
    spread = math.sqrt(pooled / len(errors) + 0.08**2 / 6 + 0.032**2)

    expected = stats.t.cdf(math.log(100), freedom, math.log(np.mean(errors)), spread)

    assert race.chance_to_verify(candidate(*errors), THRESHOLD) == pytest.approx(expected, abs=1e-9)


def test_the_needed_share_is_what_two_equal_seeds_just_stand_on():
    # By the table above: exp(-0.859 * sqrt(0.08 ** 2 / 2 + 0.08 ** 2 / 6 + 0.032 ** 2)).
    share = race.needed_share()

    assert share == pytest.approx(math.exp(-0.859 * math.sqrt(0.0032 + 0.0064 / 6 + 0.001024)), rel=1e-3)
    just, more = round(SIZE / 10 * share), math.ceil(SIZE / 10 * share * 1.01)
    assert race.is_confirmed(candidate(just, just), 90.0)
    assert not race.is_confirmed(candidate(more, more), 90.0)


def test_a_lucky_first_run_does_not_help_a_network_to_stand():
    assert not race.is_confirmed(candidate(101, 101, first=0), THRESHOLD)
    assert not race.is_confirmed(candidate(first=0), THRESHOLD)


def test_without_confirmation_the_first_run_suffices():
    lucky = replace_seeds(candidate(first=100), 0)

    assert race.is_confirmed(lucky, THRESHOLD)
    assert not race.is_confirmed(replace_seeds(candidate(first=101), 0), THRESHOLD)


def test_a_run_without_an_accuracy_counts_as_chance_and_one_without_a_hit_as_nothing():
    assert candidate(None, SIZE).fresh_pct == [10.0, 0.0]
    assert not race.is_confirmed(candidate(0, 0, 0, None), THRESHOLD)


def test_the_smallest_that_stands_is_found_and_of_equals_the_first():
    stands = (80, 80)
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


@pytest.mark.parametrize("errors", [(), (85,), (95,), (92, 94), (85, 99, 90)])
def test_the_chance_to_stand_is_how_often_the_next_seeds_bring_the_mean_low_enough(errors: tuple[int, ...]):
    # A first run of 90 passed, so it counts as 4 % luckier than it looks. What the network makes is guessed from all of
    # its runs; the mean of the fresh ones, two at the least, must come low enough.
    draw = np.random.default_rng(3)
    known = [90 * 1.04, *errors]
    wanted = max(2, len(errors) + 1)
    coming = wanted - len(errors)
    own = draw.normal(math.log(np.mean(known)), 0.08 / math.sqrt(len(known)), DRAWS)
    seeds = np.exp(own + draw.normal(0, 0.08, (coming, DRAWS)))
    means = (sum(errors) + seeds.sum(axis=0)) / wanted

    chance = race.chance_to_stand(candidate(*errors, first=90), THRESHOLD)

    assert chance == pytest.approx((means <= 100 * race.needed_share(wanted)).mean(), abs=0.03)


def test_one_bad_seed_refutes_and_a_fair_one_does_not():
    assert race.refuted(candidate(101, first=88), THRESHOLD)
    assert not race.refuted(candidate(88, first=88), THRESHOLD)


def test_a_network_is_refuted_when_its_chance_to_stand_is_below_a_quarter():
    open_, given_up = candidate(88, first=88), candidate(101, first=88)

    assert race.chance_to_stand(open_, THRESHOLD) >= 0.25 > race.chance_to_stand(given_up, THRESHOLD)


def test_a_network_without_a_fresh_seed_is_not_refuted():
    assert not race.refuted(candidate(first=5000), THRESHOLD)
    assert not race.refuted(Candidate(proposal(), 1000), THRESHOLD)


def test_seeds_that_leave_a_network_in_doubt_leave_it_open_until_the_sixth():
    assert not race.refuted(candidate(94, 96, first=88), THRESHOLD)
    assert not race.refuted(candidate(94, 97, 94, 97, 95, first=88), THRESHOLD)
    assert race.refuted(candidate(94, 97, 94, 97, 95, 109, first=88), THRESHOLD)


@given(st.lists(st.integers(0, 400), max_size=7))
def test_no_network_stands_and_is_refuted(errors: list[int]):
    network = candidate(*errors)

    assert not (race.is_confirmed(network, THRESHOLD) and race.refuted(network, THRESHOLD))


def replace_seeds(network: Candidate, count: int) -> Candidate:
    network.confirm_seeds = count
    return network


# What the sampler learns ------------------------------------------------------------------------------------


def test_the_sampler_learns_how_far_a_network_stays_below_the_threshold():
    assert race.outcome(candidate(first=150), THRESHOLD) == Outcome(1000, 0.5, True)
    assert race.outcome(candidate(first=50), THRESHOLD) == Outcome(1000, -0.5, True)


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.CRASHED])
def test_the_sampler_learns_nothing_from_a_run_that_failed(status: Status):
    failed = Candidate(proposal(), 1000, result(9000, status=status, purpose=Purpose.SEARCH))

    assert race.outcome(failed, THRESHOLD) == Outcome(1000, None, False)


def test_a_pruned_run_is_a_shortfall_that_is_not_complete():
    pruned = Candidate(proposal(), 1000, result(300, status=Status.PRUNED, purpose=Purpose.SEARCH))

    assert race.outcome(pruned, THRESHOLD) == Outcome(1000, 2.0, False)


def test_a_network_without_a_run_has_no_outcome():
    with pytest.raises(AssertionError, match=r"^only finished trials have an outcome$"):
        race.outcome(candidate(first=None), THRESHOLD)


@pytest.mark.parametrize(
    ("network", "is_settled"),
    [
        (candidate(first=None), False),  # in training
        (candidate(first=120), True),  # missed
        (candidate(first=80), False),  # passed: fresh seeds are wanted
        (candidate(80, first=80), False),  # another one is wanted
        (candidate(80, 80, first=80), False),  # stands
        (candidate(150, first=80), True),  # refuted
        (candidate(92, 97, 99, 96, 95, 98, first=80), True),  # six seeds, and does not stand
    ],
)
def test_a_network_is_settled_when_it_neither_stands_nor_is_to_have_a_run(network: Candidate, is_settled: bool):
    assert race.settled(network, THRESHOLD) is is_settled


def test_a_network_that_missed_and_was_proposed_again_is_not_settled_until_it_had_its_seed():
    again = candidate(first=120)
    again.repeats = 1
    assert not race.settled(again, THRESHOLD)

    again.fresh = [result(120)]
    assert race.settled(again, THRESHOLD)


# Expected errors --------------------------------------------------------------------------------------------


def pruned(epochs: int) -> Candidate:
    """Return a network that was stopped after the fourth of so many epochs, with 200 errors."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 200) for number in range(1, 5))
    stopped = result(200, status=Status.PRUNED, purpose=Purpose.SEARCH, history=history)
    return Candidate(proposal(), 1000, replace(stopped, recipe=Recipe(epochs=epochs)))


def test_the_expected_errors_are_the_mean_of_all_runs_and_a_guess_where_a_run_was_pruned():
    assert race.expected_errors(candidate(90, 80, first=100)) == 90.0
    assert race.expected_errors(candidate(first=100)) == 100.0
    assert race.expected_errors(pruned(16)) == pruning.TYPICAL_RATIO[0.25] * 200
    assert race.expected_errors(pruned(8)) == pruning.TYPICAL_RATIO[0.5] * 200


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT, Status.DIVERGED])
def test_a_run_that_failed_says_nothing_of_the_errors(status: Status):
    failed = Candidate(proposal(), 1000, result(None, status=status, purpose=Purpose.SEARCH))

    assert race.expected_errors(failed) is None
    assert race.expected_errors(Candidate(proposal(), 1000)) is None
