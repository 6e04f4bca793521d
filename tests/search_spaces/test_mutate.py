from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.catalog import SPACES, space
from search_spaces.draw import Decision, Draw, Uniform, draw_uniform, judge, mutate, replay
from search_spaces.errors import DrawError
from search_spaces.resolve import parse_space
from search_spaces.space import Condition, Metric, SearchSpace


def changed(before: tuple[Decision, ...], after: tuple[Decision, ...]) -> list[str]:
    """Names that stand in both with different options."""
    old = {decision.name: decision.index for decision in before}
    return [each.name for each in after if old.get(each.name, each.index) != each.index]


def child_of(found: SearchSpace, indices: Mapping[str, int], rng: random.Random, **more: int) -> Draw:
    """Return a changed network of which only the decisions are known; those that are missing are drawn."""
    return mutate(found, replay(found, indices, Uniform(rng)), rng, **more)[0]


def within(found: SearchSpace, budget: int) -> SearchSpace:
    return replace(found, conditions=(*found.conditions, Condition(Metric.PARAMETERS, "<=", budget)))


@pytest.mark.parametrize("name", SPACES)
def test_a_child_differs_by_one_decision_and_what_that_opens(name: str):
    rng, found = random.Random(2), space(name)
    for _ in range(20):
        parent = draw_uniform(found, rng)
        child = child_of(found, parent.indices, rng)
        assert child.architecture != parent.architecture
        assert judge(found, child.architecture).accepted
        assert len(changed(parent.decisions, child.decisions)) == 1


def test_several_decisions_change_at_once_and_no_more_than_there_are():
    found = parse_space("net = conv3x3(1..9) conv3x3(1..9) conv3x3(1..9) gap linear(10)")
    parent = draw_uniform(found, random.Random(0))
    for changes, expected in ((1, {1}), (2, {2}), (3, {3}), (7, {3})):
        children = [child_of(found, parent.indices, random.Random(seed), changes=changes) for seed in range(10)]
        assert {len(changed(parent.decisions, child.decisions)) for child in children} == expected


@given(st.from_type(SearchSpace), st.integers(0, 100))
def test_children_are_accepted_or_refused_with_a_reason(found: SearchSpace, seed: int):
    rng = random.Random(seed)
    try:
        parent = draw_uniform(found, rng, attempts=50)
        child = child_of(within(found, 5000), parent.indices, rng, attempts=50)
    except DrawError:
        assume(False)
    assert child.architecture != parent.architecture
    assert judge(found, child.architecture, 5000).accepted


def test_repetitions_that_stay_keep_their_decisions():
    found = parse_space("net = conv3x3({1, 2, 3, 4}){1..3} gap linear(10)")
    parent = {"conv3x3*": 0, "conv3x3[1]/channels": 2}
    grown = [child_of(found, parent, random.Random(seed)) for seed in range(20)]
    assert any(child.indices["conv3x3*"] > 0 for child in grown)
    assert all(child.indices["conv3x3[1]/channels"] == 2 for child in grown if child.indices["conv3x3*"] > 0)


def test_the_budget_holds_for_children():
    found = parse_space("net = conv3x3(1..30) gap linear(10)")
    for seed in range(20):
        child = child_of(within(found, 190), {"channels": 3}, random.Random(seed))
        assert judge(found, child.architecture, 190).accepted


def test_every_other_option_is_reached():
    found = parse_space("net = conv3x3(1..5) gap linear(10)")
    children = {child_of(found, {"channels": 2}, random.Random(seed)).indices["channels"] for seed in range(100)}
    assert children == {0, 1, 3, 4}


@given(st.integers(0, 1_000))
def test_a_change_comes_with_the_judgement_that_accepted_it(seed: int):
    found = within(space("card"), 19_000)
    parent = draw_uniform(space("card"), random.Random(seed))

    child, judgement = mutate(found, parent, random.Random(seed))

    assert judgement == judge(found, child.architecture)
    assert judgement.accepted
    assert child == child_of(found, parent.indices, random.Random(seed))


def test_a_space_of_one_network_cannot_change():
    with pytest.raises(DrawError, match=r"^'one' decides nothing, so its network cannot be changed$"):
        child_of(parse_space("net = linear(10)", "one"), {}, random.Random(0))


def test_a_parent_without_accepted_neighbours_is_named():
    found = parse_space("net = <bn / bn> linear(10)", "twins")
    with pytest.raises(
        DrawError, match=r"^none of 30 changes of one decision gave another accepted network of 'twins'$"
    ):
        child_of(found, {}, random.Random(0), attempts=30)


def test_so_is_one_that_several_changes_did_not_help():
    with pytest.raises(DrawError, match=r"^none of 30 changes of 2 decisions gave another accepted network of 'twins'"):
        child_of(parse_space("net = <bn / bn> linear(10)", "twins"), {}, random.Random(0), attempts=30, changes=2)
