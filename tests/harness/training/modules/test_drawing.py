"""First weights from a generator of one's own: the same as torch's, whatever the process's generator does meanwhile."""

from __future__ import annotations

import threading

import pytest
import torch

from harness.training.build import Network, build, draw_first_weights, drawing_from
from harness.training.recipe import Initialisation, Recipe
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.networks import NETWORKS

# Tied kernels, biases, residual sums, depthwise layers, linear layers, slopes: what draws, and what draws in vain.
TEXTS = (NETWORKS[1], NETWORKS[2], NETWORKS[8])


def by_torch(text: str, recipe: Recipe, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(parse_network(text), MNIST)
        draw_first_weights(network, recipe)
    return network


def by_generator(text: str, recipe: Recipe, seed: int) -> Network:
    with drawing_from(torch.Generator().manual_seed(seed)):
        network = build(parse_network(text), MNIST)
        draw_first_weights(network, recipe)
    return network


def equal(one: Network, other: Network) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("initialisation", Initialisation)
@pytest.mark.parametrize("text", TEXTS)
def test_first_weights_are_those_that_torch_draws_with_that_seed(text: str, initialisation: Initialisation):
    recipe = Recipe(initialisation=initialisation)
    expected = by_torch(text, recipe, 5)
    before = torch.get_rng_state()

    assert equal(by_generator(text, recipe, 5), expected)
    assert not equal(by_generator(text, recipe, 6), expected)
    # Nothing came from the generator of the process.
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_that_draw_at_once_do_not_get_each_others_numbers():
    recipe, seeds = Recipe(), range(4)
    expected = [by_torch(NETWORKS[0], recipe, seed) for seed in seeds]
    found: dict[int, list[Network]] = {}

    def draw(seed: int) -> None:
        found[seed] = [by_generator(NETWORKS[0], recipe, seed) for _ in range(10)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(equal(network, expected[seed]) for seed in seeds for network in found[seed])


def test_draws_outside_the_block_are_torchs_own():
    torch.manual_seed(3)
    with drawing_from(torch.Generator().manual_seed(5)):
        torch.empty(4).uniform_()
    first = torch.empty(4).uniform_()
    torch.manual_seed(3)

    assert torch.equal(torch.empty(4).uniform_(), first)
