"""Which run is next: what is worth a fresh seed, and what is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.search import race
from harness.search.race import Candidate
from harness.training.result import Purpose, Status
from tests.harness.raced import THRESHOLD, candidate, proposal, result

BUDGET = 2_000


def test_a_network_that_passed_gets_two_seeds_at_once_and_then_one_after_the_other():
    assert race.passed_first(candidate(), THRESHOLD)
    assert [race.seeds_wanted(candidate(*[95] * count, first=80), THRESHOLD) for count in range(5)] == [2, 2, 3, 4, 5]


def test_a_network_that_passed_by_a_hair_or_was_lucky_once_gets_none():
    # 100 errors of a first run count as 108, far from the 90 that stand.
    assert race.seeds_wanted(candidate(first=100), THRESHOLD) == 0
    assert race.seeds_wanted(candidate(first=94), THRESHOLD) == 2
    assert race.seeds_wanted(candidate(120, first=90), THRESHOLD) == 1


def test_a_network_that_missed_gets_one_seed_for_each_time_it_was_proposed_again():
    missed = candidate(first=101)

    assert race.seeds_wanted(missed, THRESHOLD) == 0
    missed.repeats = 2
    assert race.seeds_wanted(missed, THRESHOLD) == 2
    assert race.next_to_confirm([missed], THRESHOLD, BUDGET, {0: 1}) is missed
    assert race.next_to_confirm([missed], THRESHOLD, BUDGET, {0: 2}) is None


@pytest.mark.parametrize("status", [Status.PRUNED, Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY])
def test_a_network_whose_first_run_was_not_completed_gets_none(status: Status):
    network = Candidate(proposal(), 1000, result(0, status=status, purpose=Purpose.SEARCH), repeats=3)

    assert not race.passed_first(network, THRESHOLD)
    assert race.next_to_confirm([network], THRESHOLD, BUDGET, {}) is None


def test_a_network_that_is_still_in_its_first_run_gets_none():
    assert race.next_to_confirm([Candidate(proposal(), 1000, repeats=1)], THRESHOLD, BUDGET, {}) is None


def test_of_networks_that_passed_alike_the_smallest_is_confirmed_first():
    networks = [candidate(first=80, trial=0, parameters=900), candidate(first=80, trial=1, parameters=800)]

    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {}) is networks[1]
    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {1: 2}) is networks[0]
    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {0: 2, 1: 2}) is None


def test_one_that_passed_clearly_is_confirmed_before_a_smaller_one_that_may_have_been_lucky():
    clear, lucky = candidate(first=60, trial=0, parameters=900), candidate(first=90, trial=1, parameters=800)
    assert race.next_to_confirm([clear, lucky], THRESHOLD, BUDGET, {}) is clear

    # Far smaller, it is worth the risk; and below a network that stands at 910 there is little to be had from 900.
    small = candidate(first=85, trial=1, parameters=100)
    assert race.next_to_confirm([clear, small], THRESHOLD, BUDGET, {}) is small
    standing = candidate(80, 80, trial=2, parameters=910)
    assert race.next_to_confirm([clear, lucky, standing], THRESHOLD, BUDGET, {}) is lucky


def test_a_seed_that_takes_less_time_is_worth_more():
    small, large = candidate(first=80, trial=0, parameters=800), candidate(first=80, trial=1, parameters=900)
    networks = [small, large]

    # The fall from 2,001 is 0.917 and 0.799 in the logarithm: 1.147 times as much.
    for seconds, taken in ((7.0, small), (114.0, small), (115.0, large)):
        found = race.next_to_confirm(networks, THRESHOLD, BUDGET, {}, seconds_of({0: seconds, 1: min(seconds, 100.0)}))
        assert found is taken


def seconds_of(known: dict[int, float]) -> Callable[[Candidate], float]:
    return lambda network: known[network.proposal.trial]


def test_the_chance_to_stand_is_that_of_all_runs_the_first_discounted():
    # By hand, with a printed table of the normal distribution; two seeds stand on a mean of 93.94 errors. A first run
    # of 80 counts 83.2, and its deviation with that of two seeds' mean is 0.09798: 1.239 deviations, so 0.8923.
    assert race.chance_to_stand(candidate(first=80), THRESHOLD) == pytest.approx(0.8923, abs=0.001)
    # One that missed is not lucky: 110, 1.611 deviations above.
    assert race.chance_to_stand(candidate(first=110), THRESHOLD) == pytest.approx(0.0536, abs=0.001)
    # With fresh runs of 90 and 96 the mean of all is 89.73, so that of three fresh ones may come to 91.91, where 94.57
    # stand; the deviation is a third of that of one seed and of what is known of the mean, 0.03079: 0.928.
    assert race.chance_to_stand(candidate(90, 96, first=80), THRESHOLD) == pytest.approx(0.8233, abs=0.002)
    assert race.chance_to_stand(candidate(0, 0, 0, first=0), THRESHOLD) == pytest.approx(1.0)


@pytest.mark.parametrize("first", [70, 80, 90, 98])
def test_the_chance_to_stand_is_how_often_two_fresh_seeds_make_few_enough_errors(first: int):
    draw = np.random.default_rng(3)
    own = draw.normal(math.log(first * 1.04), 0.08, 200_000)
    two = np.exp(own + draw.normal(0, 0.08, (2, 200_000)).mean(axis=0))

    chance = race.chance_to_stand(candidate(first=first), THRESHOLD)

    assert chance == pytest.approx((two <= 100 * race.needed_share()).mean(), abs=0.01)


def test_of_two_alike_the_one_that_has_begun_is_finished_first():
    begun = candidate(84, first=80, trial=0, parameters=900)
    new = candidate(first=80, trial=1, parameters=890)

    assert race.next_to_confirm([new, begun], THRESHOLD, BUDGET, {}) is begun


def test_what_is_not_smaller_than_the_smallest_that_stands_is_not_confirmed():
    standing = candidate(80, 80, trial=0, parameters=800)

    assert race.next_to_confirm([standing, candidate(first=80, trial=1, parameters=800)], THRESHOLD, BUDGET, {}) is None
    smaller = candidate(first=80, trial=1, parameters=799)
    assert race.next_to_confirm([standing, smaller], THRESHOLD, BUDGET, {}) is smaller


def test_a_network_that_stands_or_is_refuted_is_not_confirmed():
    assert race.next_to_confirm([candidate(80, 80, first=80)], THRESHOLD, BUDGET, {}) is None
    refuted = candidate(112, first=70)
    refuted.repeats = 5
    assert race.refuted(refuted, THRESHOLD)
    assert race.next_to_confirm([refuted], THRESHOLD, BUDGET, {}) is None
