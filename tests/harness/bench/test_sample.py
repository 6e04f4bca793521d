from __future__ import annotations

import math

import pytest

from harness.bench.recording import BANDS, sampled
from search_spaces.catalog import space
from search_spaces.cost import analyse
from search_spaces.errors import DrawError
from search_spaces.resolve import parse_space
from search_spaces.task import MNIST

WIDE = parse_space("net = conv3x3(60..1000) gap linear(10)", "wide")


def test_a_space_with_no_more_networks_than_wanted_is_taken_whole():
    found = sampled(space("bench"), 400, seed=0)

    assert len({network.architecture.hash for network in found.networks}) == found.considered == 384
    assert found.enumerated
    assert found.sample.bands == 0


def test_the_whole_of_a_space_is_taken_below_a_budget():
    found = sampled(space("bench"), 1000, seed=0, budget=1000)

    assert 0 < len(found.networks) < 384
    assert found.considered == len(found.networks)
    assert all(network.parameters <= 1000 for network in found.networks)
    assert (found.sample.bands, found.sample.budget) == (0, 1000)


def test_networks_that_two_derivations_spell_count_once():
    twice = parse_space("net = conv3x3({4, 8}) <bn / bn> gap linear(10)", "twice")

    assert len(sampled(twice, 10, seed=0).networks) == 2


def test_every_band_of_sizes_gives_the_same_number():
    found = sampled(WIDE, 160, seed=3)

    everything = sampled(WIDE, 6400, seed=0).networks
    low, high = (math.log(limit(network.parameters for network in everything)) for limit in (min, max))
    edges = [math.exp(low + (high - low) * band / BANDS) for band in range(1, BANDS)]
    counts = [0] * BANDS
    for network in found.networks:
        counts[sum(network.parameters >= edge for edge in edges)] += 1
    assert len(found.networks) == 160
    assert counts == [20] * BANDS


def test_a_band_with_too_few_networks_is_made_up_for_by_the_others():
    lopsided = parse_space("net = conv3x3({1, 41..80}) gap linear(10)", "lopsided")

    found = sampled(lopsided, 30, seed=0)

    assert len(found.networks) == 30
    assert min(network.parameters for network in found.networks) == 9 + 20


def test_a_space_too_large_to_enumerate_is_sampled_by_drawing():
    found = sampled(space("card"), 16, seed=1, budget=4000)

    assert len({network.architecture.hash for network in found.networks}) == 16
    assert not found.enumerated
    assert found.considered == 320
    for network in found.networks:
        analysis = analyse(network.architecture, MNIST)
        assert (network.parameters, network.macs) == (analysis.parameters, analysis.macs)
        assert network.parameters <= 4000


def test_the_same_seed_chooses_the_same_networks_and_another_seed_others():
    first, again, other = (sampled(space("card"), 8, seed=seed, budget=4000) for seed in (5, 5, 6))

    assert first == again
    assert set(first.networks) != set(other.networks)


def test_a_beginning_of_the_order_has_all_sizes():
    beginning = sampled(space("bench"), 384, seed=0).networks[:BANDS]

    sizes = [network.parameters for network in beginning]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 8 * sizes[0]


def test_a_budget_below_every_network_is_refused():
    with pytest.raises(DrawError) as caught:
        sampled(space("bench"), 10, seed=0, budget=100)

    assert caught.value.message == (
        "no network of the space 'bench' keeps its conditions and the budget of 100 parameters"
    )
