"""Options that lead to no accepted network."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.spaces.count import derivations
from search_spaces.spaces.draw import enumerate_draws
from search_spaces.spaces.judge import judge
from search_spaces.spaces.resolve import parse_space
from search_spaces.spaces.space import SearchSpace
from search_spaces.spaces.vain_options import vain_options


@given(st.from_type(SearchSpace))
def test_the_vain_options_of_a_small_space_are_those_that_no_accepted_network_has(space: SearchSpace):
    assume(derivations(space) <= 300)
    draws = list(enumerate_draws(space))
    accepted = [found.indices.items() for found in draws if judge(space, found.architecture).accepted]
    options = {item for found in draws for item in found.indices.items()}
    vain = options - {item for items in accepted for item in items} if accepted else set()
    times = Counter((name, sum(found.indices.get(name) == index for found in draws)) for name, index in vain)
    assert Counter((each.decision, each.looked_at) for each in vain_options(space, random.Random(0))) == times


def test_a_rare_option_of_a_large_space_is_not_called_vain_and_an_impossible_one_is():
    # A kernel of one channel is one of ninety: few of 2,000 draws have it. Five pools leave no pixel.
    text = "net = conv3x3(1..90) <conv3x3(1..90) / maxpool maxpool maxpool maxpool maxpool> gap linear(10)"
    space = parse_space(f"{text}; where parameters >= 800")
    assert derivations(space) > 5_000
    [found] = vain_options(space, random.Random(0))
    assert "maxpool" in found.message
    assert (found.decision, found.option) == ("group", "maxpool maxpool maxpool maxpool maxpool")
    # Half of 2,000 draws have it, and then each of 2,000.
    assert 2_900 < found.looked_at < 3_100


def test_the_example_of_a_vain_option_is_rejected_for_the_option():
    # Most networks with nine outputs have a map that is too small, too; as have networks with ten.
    text = "net = <maxpool maxpool maxpool maxpool maxpool / maxpool> conv3x3(4, pad={0, 1}) gap linear({9, 10})"
    found = {each.option: each for each in vain_options(parse_space(text), random.Random(0))}

    assert "must end in 10 values" in found["9"].message
    assert found["9"].network.endswith("linear(9)")


def test_options_are_not_judged_where_hardly_a_draw_is_accepted():
    text = "net = conv3x3(1..90) <conv3x3(1..90) / maxpool maxpool maxpool maxpool maxpool> gap linear(10)"
    assert vain_options(parse_space(f"{text}; where parameters <= 100"), random.Random(0)) == []
