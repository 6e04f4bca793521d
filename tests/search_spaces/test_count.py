from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.catalog import space
from search_spaces.cost import map_numbers
from search_spaces.count import (
    Count,
    clopper_pearson,
    configurations,
    feasible,
    smallest,
)
from search_spaces.draw import enumerate_draws, judge
from search_spaces.resolve import parse_space
from search_spaces.space import SearchSpace


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("net = bn", 1),
        ("net = bn?", 2),
        ("net = <bn / relu / > bn?", 6),
        ("net = <bn / relu>{0..3}", 1 + 2 + 4 + 8),
        ("net = conv3x3({4, 8, 12}, pad=0..1, bias?, tie=a?)", 24),
        ("w = {4, 8}; net = conv3x3(w) conv3x3(w)", 4),
        ("let w = {4, 8}; net = conv3x3(w) conv3x3(w)", 2),
        ("let w = {4, 8}; net = bn", 1),
        ("let n = <bn / relu>; let w = {4, 8}; u(c) = conv3x3(c) n; net = u(w) u({4, 8}){1..2}", 2 * 2 * (2 + 4)),
        ("u(c) = conv3x3(c) conv1x1(c) bn?; net = <u({4, 8})>? res(u({1, 2}))", (1 + 4) * 4),
    ],
)
def test_derivations_are_counted_exactly(text: str, number: int):
    assert configurations(parse_space(text)) == number


@given(st.from_type(SearchSpace), st.sampled_from([None, 300]))
def test_few_derivations_are_all_looked_at(space: SearchSpace, budget: int | None):
    total = configurations(space)
    assume(total <= 300)
    networks = [each.architecture for each in enumerate_draws(space)]
    judged = [judge(space, network, budget) for network in networks]
    accepted = [each.analysis for each in judged if each.accepted and each.analysis is not None]
    macs = sorted(analysis.macs for analysis in accepted)
    numbers = sorted(map(map_numbers, accepted))
    middle = (len(accepted) - 1) // 2
    parameters = sorted(analysis.parameters for analysis in accepted)
    medians: tuple[int | None, int | None, int | None] = (None, None, None)
    if accepted:
        medians = (macs[middle], numbers[middle], parameters[middle])
    counted = feasible(space, budget)
    number = len(macs)
    assert counted == Count(number, number, total, True, total, number, 1.0, *medians, counted.rejected)
    reasons = Counter(each.reason for each in judged if each.reason is not None)
    assert {each.reason: each.times for each in counted.rejected} == reasons
    said = {(str(network), each.reason, each.message) for network, each in zip(networks, judged, strict=True)}
    assert {(each.network, each.reason, each.message) for each in counted.rejected} <= said


def test_the_medians_are_those_of_the_accepted():
    # Of three: 28 * 28 * 9 multiply-adds a channel and 10 of the head; a number a pixel and channel, one more, and
    # ten.
    found = feasible(parse_space("net = conv3x3({2, 4, 8, 16}) gap linear(10)"), 200)
    assert (found.median_macs, found.median_numbers) == (4 * (7_056 + 10), 4 * 785 + 10)
    assert found.median_parameters == 9 * 4 + 50


def test_the_smallest_network_of_a_small_space_is_known():
    text = "net = conv3x3({4, 8, 12}) gap linear(10)"
    assert smallest(parse_space(text)) == 4 * 9 + 4 * 10 + 10
    assert smallest(parse_space(f"{text}; where macs >= 60000")) == 12 * 9 + 12 * 10 + 10
    assert smallest(parse_space(f"{text}; where parameters <= 10")) is None


def test_many_derivations_give_an_interval_that_says_so():
    text = "net = conv3x3(1..40) conv3x3(1..40) gap linear(10); where parameters <= 3000"
    exact = feasible(parse_space(text))
    _sampled = feasible(parse_space(text), most_exact=100, rng=random.Random(1), samples=400, confidence=0.99)
    assert exact.exact
    assert not _sampled.exact
    assert _sampled.low < exact.low < _sampled.high
    assert (_sampled.derivations, _sampled.looked_at, _sampled.confidence) == (1600, 400, 0.99)


def test_the_interval_holds_the_true_number_as_often_as_it_says():
    small = parse_space("net = conv3x3(1..40) conv3x3(1..10) gap linear(10); where parameters <= 900")
    true = feasible(small).low
    held = 0
    for seed in range(60):
        count = feasible(small, most_exact=0, rng=random.Random(seed), samples=50, confidence=0.8)
        held += count.low <= true <= count.high
    # At least 48 are expected; five standard deviations below that is 32.
    assert held >= 40


def test_the_budget_makes_the_number_smaller():
    card = space("card")
    assert feasible(card, 4000, samples=300).high < feasible(card, samples=300).low


def test_nothing_seen_still_leaves_a_bound_above_none():
    count = feasible(space("seeds"), 600, samples=200)
    assert count.low == 0
    assert 0 < count.high < count.derivations


def tail(successes: int, trials: int, share: float) -> float:
    """Probability of at least so many successes, by exact combinations."""
    return sum(
        math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
        for count in range(successes, trials + 1)
    )


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_ends_where_what_was_seen_becomes_unlikely(trials: int, data: st.DataObject, confidence: float):
    successes = data.draw(st.integers(0, trials))
    low, high = clopper_pearson(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    if successes:
        assert tail(successes, trials, low) == pytest.approx((1 - confidence) / 2, rel=1e-6)
    if successes < trials:
        assert 1 - tail(successes + 1, trials, high) == pytest.approx((1 - confidence) / 2, rel=1e-6)


def test_the_interval_of_no_success_is_known_in_closed_form():
    # The rule of Clopper and Pearson for none of n: high = 1 - (tail probability) ** (1 / n).
    assert clopper_pearson(0, 100, 0.95) == pytest.approx((0, 1 - 0.025**0.01))
    assert clopper_pearson(100, 100, 0.95) == pytest.approx((0.025**0.01, 1))
