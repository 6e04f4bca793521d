"""Draws, mutations and counts of search spaces, compared with enumeration and closed forms."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.spaces import counting
from harness.spaces.catalog import SPACES, space
from harness.spaces.counting import FeasibleCount, clopper_pearson, feasible, smallest
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import (
    Condition,
    Decision,
    DecisionOptions,
    Draw,
    Metric,
    SearchSpace,
    by_configurations,
    draw,
    draw_uniform,
    enumerate_draws,
    judge,
    mutate,
    replay,
    uniform,
)
from harness.spaces.space_errors import DrawError

# Largest number of derivations that is enumerated.
MAX_ENUMERATED = 300


class FirstOption:
    """Chooser of the first option, which records all decisions."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, DecisionOptions]] = []

    def __call__(self, name: str, options: DecisionOptions) -> int:
        self.decisions.append((name, options))
        return 0


def test_chooser_receives_each_decision_once_with_options():
    chooser = FirstOption()
    draw_result = draw(
        parse_space("let r = {0.1, 0.2}; net = <bn / relu dropout(r)> bn? conv3x3({4, 8}){1..3}"), chooser
    )
    assert str(draw_result.architecture) == "bn conv3x3(4)"
    assert chooser.decisions == [
        ("r", DecisionOptions(("0.1", "0.2"), ordered=True, weights=(1, 1))),
        ("group", DecisionOptions(("bn", "relu dropout(r)"), ordered=False, weights=(1, 1))),
        ("bn?", DecisionOptions(("no", "yes"), ordered=False, weights=(1, 1))),
        ("conv3x3*", DecisionOptions(("1", "2", "3"), ordered=True, weights=(2, 4, 8))),
        ("conv3x3[1]/channels", DecisionOptions(("4", "8"), ordered=True, weights=(1, 1))),
    ]
    assert draw_result.decisions[0] == Decision("r", index=0, size=2, ordered=True)
    assert [decision.size for decision in draw_result.decisions] == [2, 2, 2, 3, 2]


def test_bars_of_shared_parts_are_kept_at_each_use():
    space = parse_space("let s = bn | relu; net = conv3x3(4) s | res(s) linear(10)")
    assert str(draw(space, FirstOption()).architecture) == "conv3x3(4) bn | relu | res(bn | relu) linear(10)"


def test_uniform_decisions_and_uniform_derivations_differ():
    space = parse_space("net = <bn / conv3x3(1..9)>")
    rng = random.Random(3)
    by_decision = Counter(draw(space, uniform(rng)).decisions[0].index for _ in range(4000))
    by_derivation = Counter(draw(space, by_configurations(rng)).decisions[0].index for _ in range(4000))
    # Six standard deviations of a count in 4,000 draws are at most 190.
    assert abs(by_decision[0] - 2000) < 190
    assert abs(by_derivation[0] - 400) < 115


@given(st.from_type(SearchSpace))
def test_enumeration_yields_each_derivation_once_and_matches_count(space: SearchSpace):
    assume(space.configurations <= MAX_ENUMERATED)
    decisions = [each.decisions for each in enumerate_draws(space)]
    assert len(decisions) == len(set(decisions)) == space.configurations


@given(st.from_type(SearchSpace), st.integers(0, 1000))
def test_replay_reproduces_draw(space: SearchSpace, seed: int):
    draw_result = draw(space, uniform(random.Random(seed)))
    assert replay(space, draw_result.indices, FirstOption()) == draw_result
    assert len(draw_result.indices) == len(draw_result.decisions)


def test_replay_uses_chooser_for_invalid_or_missing_decisions():
    space = parse_space("net = conv3x3({4, 8}) bn? conv1x1({4, 8, 12})")
    draw_result = replay(space, {"channels": 1, "bn?": 7, "channels.2": -1, "unknown": 3}, FirstOption())
    assert [decision.index for decision in draw_result.decisions] == [1, 0, 0]


def test_space_without_accepted_networks_raises_draw_error():
    impossible = parse_space("net = conv3x3({4, 8}) <gap linear(10) / gap>; where parameters <= 50", "narrow")
    with pytest.raises(DrawError):
        draw_uniform(impossible, random.Random(0), attempts=100)


NETWORK = parse_network("conv3x3(8) | gap | linear(10)")  # 162 parameters, 56,528 multiply-adds, field 3


@pytest.mark.parametrize(
    ("where", "budget", "reason"),
    [
        ("", None, None),
        ("", 162, None),
        ("", 161, "parameters"),
        ("where parameters <= 161", 200, "parameters"),
        ("where parameters <= 200", 100, "parameters"),
        ("where parameters == 162, macs < 56529, receptive_field > 2", None, None),
        ("where macs < 56528", None, "macs"),
        ("where receptive_field >= 20", None, "receptive_field"),
    ],
)
def test_judge_applies_conditions_and_budget(where: str, budget: int | None, reason: str | None):
    result = judge(parse_space(f"net = bn; {where}"), NETWORK, budget)
    assert (result.reason, result.accepted, bool(result.message)) == (reason, reason is None, reason is not None)
    assert result.analysis == analyse(NETWORK, MNIST)


def changed_decisions(parent: tuple[Decision, ...], child: tuple[Decision, ...]) -> list[str]:
    """Return the names of decisions that are in both draws, with different options."""
    indices = {decision.name: decision.index for decision in parent}
    return [each.name for each in child if indices.get(each.name, each.index) != each.index]


def child_of(search_space: SearchSpace, indices: Mapping[str, int], rng: random.Random, **options: int) -> Draw:
    """Return a mutation of the network with these decisions; missing decisions are drawn."""
    return mutate(search_space, replay(search_space, indices, uniform(rng)), rng, **options)[0]


def with_budget(search_space: SearchSpace, budget: int) -> SearchSpace:
    return replace(search_space, conditions=(*search_space.conditions, Condition(Metric.PARAMETERS, "<=", budget)))


@pytest.mark.parametrize("name", SPACES)
def test_child_differs_in_one_decision_of_parent(name: str):
    rng, search_space = random.Random(2), space(name)
    for _ in range(20):
        parent = draw_uniform(search_space, rng)
        child = child_of(search_space, parent.indices, rng)
        assert child.architecture != parent.architecture
        assert judge(search_space, child.architecture).accepted
        assert len(changed_decisions(parent.decisions, child.decisions)) == 1


def test_mutate_changes_requested_number_of_decisions_at_most_all():
    space = parse_space("net = conv3x3(1..9) conv3x3(1..9) conv3x3(1..9) gap linear(10)")
    parent = draw_uniform(space, random.Random(0))
    for changes, expected in ((1, {1}), (2, {2}), (3, {3}), (7, {3})):
        children = [child_of(space, parent.indices, random.Random(seed), changes=changes) for seed in range(10)]
        assert {len(changed_decisions(parent.decisions, child.decisions)) for child in children} == expected


@given(st.integers(0, 1_000))
def test_mutate_returns_accepted_judgement_of_child(seed: int):
    search_space = with_budget(space("card"), 19_000)
    parent = draw_uniform(space("card"), random.Random(seed))
    child, judgement = mutate(search_space, parent, random.Random(seed))
    assert judgement == judge(search_space, child.architecture)
    assert judgement.accepted
    assert child == child_of(search_space, parent.indices, random.Random(seed))


@pytest.mark.parametrize("changes", [1, 2])
def test_parent_without_accepted_neighbours_raises_draw_error(changes: int):
    with pytest.raises(DrawError):
        child_of(parse_space("net = <bn / bn> linear(10)", "twins"), {}, random.Random(0), attempts=30, changes=changes)


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
def test_configurations_equal_number_of_derivations(text: str, number: int):
    assert parse_space(text).configurations == number


@given(st.from_type(SearchSpace), st.sampled_from([None, 300]))
def test_feasible_judges_all_derivations_of_small_spaces(space: SearchSpace, budget: int | None):
    total = space.configurations
    assume(total <= 300)
    networks = [each.architecture for each in enumerate_draws(space)]
    judgements = [judge(space, network, budget) for network in networks]
    accepted = [each.analysis for each in judgements if each.accepted and each.analysis is not None]
    macs = sorted(analysis.macs for analysis in accepted)
    numbers = sorted(each.map_numbers for each in accepted)
    median_index = (len(accepted) - 1) // 2
    parameters = sorted(analysis.parameters for analysis in accepted)
    medians: tuple[int | None, int | None, int | None] = (None, None, None)
    if accepted:
        medians = (macs[median_index], numbers[median_index], parameters[median_index])
    count = feasible(space, budget)
    number = len(macs)
    assert count == FeasibleCount(number, number, total, True, total, number, 1.0, *medians, count.rejected)
    reasons = Counter(each.reason for each in judgements if each.reason is not None)
    assert {each.reason: each.times for each in count.rejected} == reasons
    rejections = {(str(network), each.reason, each.message) for network, each in zip(networks, judgements, strict=True)}
    assert {(each.network, each.reason, each.message) for each in count.rejected} <= rejections


def test_smallest_returns_smallest_accepted_network():
    text = "net = conv3x3({4, 8, 12}) gap linear(10)"

    def parameters(conditions: str) -> int | None:
        judgement = smallest(parse_space(f"{text}{conditions}"))
        assert judgement.accepted
        return judgement.analysis.parameters if judgement.analysis else None

    assert parameters("") == 4 * 9 + 4 * 10 + 10
    assert parameters("; where macs >= 60000") == 12 * 9 + 12 * 10 + 10


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("parameters <= 10", "parameters is 86"),  # 4 x 9 + 4 x 10 + 10
        ("macs >= 90000", "macs is 84,792"),  # 784 x 9 x 12 + 12 x 10
        ("ram_bytes <= 3", "ram_bytes is 3,136"),  # 4 maps of 784
        # Conditions are checked in order; the nearest network violates the latest condition.
        ("ram_bytes <= 4000, macs <= 1, parameters <= 1", "macs is 28,264"),
    ],
)
def test_smallest_reports_nearest_value_if_no_network_is_accepted(condition: str, value: str):
    judgement = smallest(parse_space(f"net = conv3x3({{4, 8, 12}}) gap linear(10); where {condition}"))

    assert not judgement.accepted
    assert judgement.message.startswith(f"{value}, ")


def test_interval_covers_exact_count_with_stated_confidence(monkeypatch: pytest.MonkeyPatch):
    small = parse_space("net = conv3x3(1..40) conv3x3(1..10) gap linear(10); where parameters <= 900")
    exact_count = feasible(small).low
    monkeypatch.setattr(counting, "MAX_EXACT", 0)
    monkeypatch.setattr(counting, "_CONFIDENCE", 0.8)
    hits = 0
    for seed in range(60):
        count = feasible(small, rng=random.Random(seed), samples=50)
        hits += count.low <= exact_count <= count.high
    # At least 48 are expected, with a standard deviation of 3.1.
    assert hits >= 40


def tail_probability(successes: int, trials: int, share: float) -> float:
    """Return the probability of at least ``successes`` successes, by exact combinations."""
    return sum(
        math.comb(trials, count) * share**count * (1 - share) ** (trials - count)
        for count in range(successes, trials + 1)
    )


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_bounds_cut_equal_tails(trials: int, data: st.DataObject, confidence: float):
    successes = data.draw(st.integers(0, trials))
    low, high = clopper_pearson(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    if successes:
        assert tail_probability(successes, trials, low) == pytest.approx((1 - confidence) / 2, rel=1e-6)
    if successes < trials:
        assert 1 - tail_probability(successes + 1, trials, high) == pytest.approx((1 - confidence) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "fewest"),
    [
        # A filter of 1x1, and a linear layer on a mean: 1 + 2 * 10.
        ("net = <conv1x1({1..200}) / conv3x3({1..200})> <bn relu>? <conv3x3({1..200})>{0..2} | gap | linear(10)", 21),
        # 100 filters of 9 weights, and a second layer of a single filter, which is smaller than 100 means per class.
        ("net = conv3x3({100..200}) <relu / conv3x3({1..200})> | gap | linear(10); where macs >= 0",
         100 * 9 + 100 * 9 * 1 + 2 * 10),
    ],
)  # fmt: skip
def test_smallest_network_of_a_large_space_is_reached_by_single_changes(text: str, fewest: int):
    space = parse_space(text)
    assert space.configurations > 5_000

    analysis = smallest(space).analysis
    within = smallest(space, 5_000).analysis

    assert analysis is not None
    assert analysis.parameters == fewest
    assert within is not None
    assert within.parameters <= 5_000
