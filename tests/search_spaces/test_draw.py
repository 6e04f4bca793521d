from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.catalog import SPACES, space
from search_spaces.cost import analyse
from search_spaces.count import derivations
from search_spaces.draw import (
    ByDerivations,
    Decision,
    Draw,
    Uniform,
    _Replay,
    draw,
    draw_uniform,
    enumerate_draws,
    judge,
    replay,
)
from search_spaces.errors import DrawError
from search_spaces.resolve import parse_space
from search_spaces.space import Options, SearchSpace
from search_spaces.task import MNIST

# Sizes that enumeration gets through in no time.
FEW = 300


class First:
    """Takes the first option, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Options]] = []

    def choose(self, name: str, options: Options) -> int:
        self.asked.append((name, options))
        return 0


def test_a_chooser_sees_each_decision_once_with_its_options():
    chooser = First()
    found = draw(parse_space("let r = {0.1, 0.2}; net = <bn / relu dropout(r)> bn? conv3x3({4, 8}){1..3}"), chooser)
    assert str(found.architecture) == "bn conv3x3(4)"
    assert chooser.asked == [
        ("r", Options(("0.1", "0.2"), ordered=True, weights=(1, 1))),
        ("group", Options(("bn", "relu dropout(r)"), ordered=False, weights=(1, 1))),
        ("bn?", Options(("no", "yes"), ordered=False, weights=(1, 1))),
        ("conv3x3*", Options(("1", "2", "3"), ordered=True, weights=(2, 4, 8))),
        ("conv3x3[1]/channels", Options(("4", "8"), ordered=True, weights=(1, 1))),
    ]
    assert found.decisions[0] == Decision("r", index=0, size=2, ordered=True)
    assert [decision.size for decision in found.decisions] == [2, 2, 2, 3, 2]


def test_one_value_makes_no_decision():
    assert draw(parse_space("net = <bn> conv3x3({4}) relu{2} dropout(0.5..0.5)"), First()).decisions == ()


def test_a_let_is_drawn_once_and_a_rule_at_each_mention():
    space = parse_space("let a = {4, 8}; b = {4, 8}; net = conv3x3(a) conv3x3(a) conv1x1(b) conv1x1(b)")
    texts = {str(found.architecture) for found in enumerate_draws(space)}
    assert len(texts) == 8
    assert all(text.split()[0] == text.split()[1] for text in texts)


def test_bars_of_shared_parts_stand_where_they_are_named():
    space = parse_space("let s = bn | relu; net = conv3x3(4) s | res(s) linear(10)")
    assert str(draw(space, First()).architecture) == "conv3x3(4) bn | relu | res(bn | relu) linear(10)"


def test_ties_cross_the_borders_of_rules():
    space = parse_space("u(c) = conv3x3(c, tie=k); net = u(4) u(4) res(u(4)) linear(10)")
    assert str(draw(space, First()).architecture) == (
        "conv3x3(4, tie=t1) conv3x3(4, tie=t1) res(conv3x3(4, tie=t1)) linear(10)"
    )


def test_uniform_decisions_and_uniform_derivations_differ():
    space = parse_space("net = <bn / conv3x3(1..9)>")
    rng = random.Random(3)
    by_decision = Counter(draw(space, Uniform(rng)).decisions[0].index for _ in range(4000))
    by_derivation = Counter(draw(space, ByDerivations(rng)).decisions[0].index for _ in range(4000))
    # Six standard deviations of a count of 4,000 are at most 190.
    assert abs(by_decision[0] - 2000) < 190
    assert abs(by_derivation[0] - 400) < 115


@given(st.from_type(SearchSpace))
def test_enumeration_gives_each_derivation_once_and_as_many_as_counted(space: SearchSpace):
    assume(derivations(space) <= FEW)
    found = [each.decisions for each in enumerate_draws(space)]
    assert len(found) == len(set(found)) == derivations(space)


@given(st.from_type(SearchSpace), st.integers(0, 1000))
def test_a_replayed_draw_is_the_same(space: SearchSpace, seed: int):
    found = draw(space, Uniform(random.Random(seed)))
    assert replay(space, found.indices, First()) == found
    assert len(found.indices) == len(found.decisions)


def test_a_replay_falls_back_where_the_record_does_not_fit():
    space = parse_space("net = conv3x3({4, 8}) bn? conv1x1({4, 8, 12})")
    found = replay(space, {"channels": 1, "bn?": 7, "channels.2": -1, "unknown": 3}, First())
    assert [decision.index for decision in found.decisions] == [1, 0, 0]
    assert _Replay({"a": 1}, First()).choose("a", Options(("x", "y"), False, (1, 1))) == 1


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("budget", [None, 8000])
def test_uniform_draws_keep_the_conditions_and_the_budget(name: str, budget: int | None):
    rng = random.Random(5)
    for _ in range(30):
        found = draw_uniform(space(name), rng, budget)
        assert judge(space(name), found.architecture, budget).accepted
        assert analyse(found.architecture, MNIST).parameters <= (budget or 20_000)


def test_uniform_draws_repeat_with_their_seed():
    def some() -> list[Draw]:
        rng = random.Random(9)
        return [draw_uniform(space("card"), rng, 8000) for _ in range(5)]

    assert some() == some()


def test_a_space_without_accepted_networks_says_why():
    impossible = parse_space("net = conv3x3({4, 8}) <gap linear(10) / gap>; where parameters <= 50", "narrow")
    with pytest.raises(DrawError) as caught:
        draw_uniform(impossible, random.Random(0), attempts=100)
    assert caught.value.message == (
        "none of 100 networks drawn from 'narrow' was accepted; rejected for parameters 58, shape 42"
    )
    assert caught.value.hint == "raise the budget, or loosen the space's conditions"


def test_random_networks_are_drawn_named_and_costed_fast():
    card, rng = space("card"), random.Random(0)
    begin = time.process_time()
    for _ in range(500):
        found = draw(card, Uniform(rng))
        assert len(found.architecture.hash) == 12
        judge(card, found.architecture)
    seconds = time.process_time() - begin
    # The requirement is 2,000 a second; about 6,000 were measured, and a busy machine is allowed for.
    assert 500 / seconds > 1000
