"""What a search would begin with below a size, chosen from what is known of other trainings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.worthiest import worthiest
from harness.search.proposals.features import work
from harness.search.proposals.trainings import past_training
from harness.system.errors import UsageError
from harness.training.recipe import RECIPES
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space
from search_spaces.task import MNIST

SMALL = RECIPES["small"].recipe
WIDTHS = (10, 20, 40, 80)
SPACE = parse_space("width = 1..100; net = conv3x3(width) bn relu gap linear(10);", "test")
# Twenty trainings of each width and length: half as many errors with twice the channels, 66 of them with forty.
PAST = [
    past_training(
        parse_network(f"conv3x3({width}) bn relu gap linear(10)"),
        replace(SMALL, epochs=epochs),
        2640 / width,
        20,
        "test",
    )
    for width in WIDTHS
    for epochs in (5, 8, 12)
]
# One training of 12 epochs of the network with 100 channels fits into so many seconds, one of 60 does not.
SECONDS = 12 * 50_000 * 9.9e-11 * 1.01 * work(parse_network("conv3x3(100) bn relu gap linear(10)"), MNIST)


def test_networks_are_those_that_are_expected_to_reach_below_the_size():
    made = worthiest(SPACE, SMALL, PAST, 1_500, SECONDS, 4, 0)

    assert len({(item.architecture, item.epochs) for item in made}) == 4
    # With 21 parameters a channel and ten more: 40 channels have 66 errors and 850 parameters.
    assert all(850 < item.parameters < 1_500 for item in made)
    assert all(
        work(parse_network(item.architecture), MNIST) * item.epochs * 50_000 * 9.9e-11 <= SECONDS for item in made
    )
    assert made == worthiest(SPACE, SMALL, PAST, 1_500, SECONDS, 4, 0)


def test_what_was_trained_already_is_not_chosen_again():
    known = parse_network("conv3x3(40) bn relu gap linear(10)")
    one = parse_space("net = conv3x3(40) bn relu gap linear(10);", "test")
    past = [past_training(known, replace(SMALL, epochs=epochs), 30, 1, "test") for epochs in (5, 8, 12, 20, 30)]

    assert [item.epochs for item in worthiest(one, SMALL, past, 2_000, 1e4, 1, 0)] == [60]


def test_more_than_the_space_holds_is_refused():
    one = parse_space("net = conv3x3(40) bn relu gap linear(10);", "test")

    with pytest.raises(UsageError, match="only 0 networks to train below 850 parameters"):
        worthiest(one, SMALL, PAST, 850, SECONDS, 1, 0)
