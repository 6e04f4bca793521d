"""Which run is next: what is worth a fresh seed, and what is not."""

from __future__ import annotations

import math

import pytest

from harness.search import race
from harness.search.race import Candidate
from harness.training.result import Status
from harness.training.seeds import Purpose
from tests.harness.raced import THRESHOLD, candidate, proposal, result

BUDGET = 2_000


def test_a_network_that_passed_gets_three_seeds_at_once_and_then_one_after_the_other():
    assert race.passed_first(candidate(), THRESHOLD)
    assert [race.seeds_wanted(candidate(*[120] * count), THRESHOLD) for count in range(5)] == [3, 3, 3, 4, 5]


def test_a_network_that_missed_gets_one_seed_for_each_time_it_was_proposed_again():
    missed = candidate(first=101)

    assert race.seeds_wanted(missed, THRESHOLD) == 0
    missed.repeats = 2
    assert race.seeds_wanted(missed, THRESHOLD) == 2
    assert race.next_to_confirm([missed], THRESHOLD, BUDGET, {0: 1}) is missed
    assert race.next_to_confirm([missed], THRESHOLD, BUDGET, {0: 2}) is None


@pytest.mark.parametrize("status", [Status.PRUNED, Status.DIVERGED, Status.TIMED_OUT, Status.OUT_OF_MEMORY])
def test_a_network_whose_first_run_was_not_completed_gets_none(status: Status):
    network = Candidate(proposal(), result(0, status=status, purpose=Purpose.SEARCH), repeats=3)

    assert not race.passed_first(network, THRESHOLD)
    assert race.next_to_confirm([network], THRESHOLD, BUDGET, {}) is None


def test_a_network_that_is_still_in_its_first_run_gets_none():
    assert race.next_to_confirm([Candidate(proposal(), repeats=1)], THRESHOLD, BUDGET, {}) is None


def test_of_networks_that_passed_alike_the_smallest_is_confirmed_first():
    networks = [candidate(trial=0, parameters=900), candidate(trial=1, parameters=800)]

    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {}) is networks[1]
    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {1: 3}) is networks[0]
    assert race.next_to_confirm(networks, THRESHOLD, BUDGET, {0: 3, 1: 3}) is None


def test_one_that_passed_clearly_is_confirmed_before_a_smaller_one_that_may_have_been_lucky():
    clear, lucky = candidate(first=70, trial=0, parameters=900), candidate(first=99, trial=1, parameters=800)
    assert race.next_to_confirm([clear, lucky], THRESHOLD, BUDGET, {}) is clear

    # Far smaller, it is worth the risk; and below a network that stands at 910 there is little to be had from 900.
    small = candidate(first=95, trial=1, parameters=200)
    assert race.next_to_confirm([clear, small], THRESHOLD, BUDGET, {}) is small
    standing = candidate(90, 90, 90, trial=2, parameters=910)
    assert race.next_to_confirm([clear, lucky, standing], THRESHOLD, BUDGET, {}) is lucky


def test_the_chance_to_stand_is_that_of_all_runs_the_first_discounted():
    # Worked out by hand, with a printed table of the normal distribution. A first run of 99 errors counts 106.92,
    # whose deviation is 8.55: 100 lies 0.809 deviations below, so 0.209.
    alone = candidate(first=99, parameters=1000)
    assert race._worth_of_a_seed(alone, THRESHOLD, 2000, 0) == pytest.approx(0.209 * math.log(2) / 3, rel=0.005)
    # With fresh runs of 90 and 96 the mean is 97.64, its deviation 4.51: 0.523, so 0.6996; one seed is left.
    known = candidate(90, 96, first=99, parameters=1000)
    assert race._worth_of_a_seed(known, THRESHOLD, 2000, 0) == pytest.approx(0.6996 * math.log(2), rel=0.005)
    assert race._worth_of_a_seed(candidate(0, 0, 0, first=0), THRESHOLD, 2000, 0) == pytest.approx(math.log(2))


def test_of_two_alike_the_one_that_has_begun_is_finished_first():
    begun, new = candidate(92, first=95, trial=0, parameters=900), candidate(first=95, trial=1, parameters=890)

    assert race.next_to_confirm([new, begun], THRESHOLD, BUDGET, {}) is begun


def test_what_is_not_smaller_than_the_smallest_that_stands_is_not_confirmed():
    standing = candidate(100, 100, 100, trial=0, parameters=800)

    assert race.next_to_confirm([standing, candidate(trial=1, parameters=800)], THRESHOLD, BUDGET, {}) is None
    assert race.next_to_confirm([standing, candidate(trial=1, parameters=799)], THRESHOLD, BUDGET, {}) is not None


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
    assert race.next_to_confirm([candidate(150, 150)], THRESHOLD, BUDGET, {}) is None
