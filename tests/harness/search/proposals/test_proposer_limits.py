"""Whose turn it is, what a training's length is, and what there is no time for."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from harness.search import proposal_step as enumeration
from harness.search import propose as proposer_module
from harness.search.clock import TimeLeft
from harness.search.features import work_of
from harness.search.propose import Switches, is_aimed
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.search.proposals.test_proposer import (
    FEW,
    ROOM,
    WIDE,
    new,
    only_asking,
    rejections,
    take,
    without_ladder,
)


def test_every_second_network_is_the_model_s_with_a_sampler_that_was_asked_for():
    _, answers = take(without_ladder(sampler="random"), 6)

    assert [found.proposal.origin for found in answers if found.proposal] == ["aim", "random"] * 3


def test_the_model_chooses_every_network_where_no_sampler_was_asked_for():
    _, answers = take(without_ladder(sampler="surrogate"), 6)

    assert [found.proposal.origin for found in answers if found.proposal] == ["aim"] * 6
    assert all(is_aimed("surrogate", trial) for trial in range(9))


# Length -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["ladder", "aim", "random", "draw"])
def test_every_network_is_trained_for_one_of_the_lengths(origin: str, monkeypatch: pytest.MonkeyPatch):
    proposer = new(sampler="random", lengths=(5, 10), switches=Switches(ladder=origin == "ladder", aim=origin == "aim"))
    if origin == "draw":
        monkeypatch.setattr(proposer_module, "ASKS", 0)

    found = proposer.propose(20_000, {}, ROOM)

    assert found.proposal is not None
    assert found.proposal.origin == origin
    assert found.proposal.epochs in (5, 10)
    assert found.proposal.chance is not None
    assert 0 <= found.proposal.chance <= 1


@pytest.mark.parametrize("lengths", [(), (8,)])
def test_with_one_length_there_is_no_choice(lengths: tuple[int, ...]):
    found = only_asking(sampler="random", lengths=lengths).propose(20_000, {}, ROOM)

    assert found.proposal is not None
    assert (found.proposal.epochs, found.proposal.chance) == (8, None)


@pytest.mark.parametrize("ladder", [True, False])
def test_of_two_lengths_the_one_that_there_is_time_for_is_taken(ladder: bool):
    only = "net = conv3x3(12) gap linear(10);"
    proposer = new(only, Switches(ladder=ladder, aim=False), sampler="random", lengths=(5, 10))
    seconds = ROOM.takes(5, work_of_channels(12)) + 1e-6

    found = proposer.propose(20_000, {}, replace(ROOM, seconds=seconds))

    assert found.proposal is not None
    assert found.proposal.epochs == 5


# Time -------------------------------------------------------------------------------------------------------


def work_of_channels(channels: int) -> float:
    analysis = analyse(parse_network(f"conv3x3({channels}) gap linear(10)"), MNIST)
    return work_of(analysis)


def for_channels(channels: int) -> TimeLeft:
    """Return time for eight epochs of a network of so many channels."""
    return replace(ROOM, seconds=ROOM.takes(8, work_of_channels(channels)) + 1e-6)


@pytest.mark.parametrize("ladder", [True, False])
def test_networks_that_take_too_long_are_rejected_for_their_multiply_adds(ladder: bool):
    proposer = new(WIDE, Switches(ladder=ladder, aim=False), sampler="random")

    found = proposer.propose(20_000, {}, for_channels(5))

    assert found.proposal is not None
    assert found.proposal.parameters <= 10 + 19 * 5
    assert {item.reason for item in rejections([found])} == {"macs"}


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_a_training_that_there_is_just_time_for_is_accepted(sampler: str):
    proposer = without_ladder("net = conv3x3(4) gap linear(10);", sampler=sampler)

    assert proposer.propose(20_000, {}, for_channels(3)).proposal is None
    assert proposer.propose(20_000, {}, for_channels(4)).proposal is not None


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_a_search_without_time_for_any_network_says_so(sampler: str):
    found = without_ladder(WIDE, sampler=sampler).propose(20_000, {}, replace(ROOM, seconds=0.25))

    assert found.proposal is None
    assert found.lacks_time
    assert "at most 20,000 parameters" in found.why
    assert "at most 0 s" in found.why


def test_without_an_end_in_time_nothing_lacks_it():
    candidates, _ = take(without_ladder(FEW, sampler="surrogate"), 3)

    found = without_ladder(FEW, sampler="surrogate").propose(20_000, candidates, ROOM)

    assert (found.proposal, found.lacks_time) == (None, False)


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_a_space_that_is_used_up_lacks_no_time(sampler: str):
    candidates, _ = take(without_ladder(FEW, sampler=sampler), 3)

    used_up = without_ladder(FEW, sampler=sampler).propose(20_000, candidates, replace(ROOM, seconds=1_000.0))
    del candidates[2]
    slow = without_ladder(FEW, sampler=sampler).propose(20_000, candidates, replace(ROOM, seconds=0.0))

    assert [(found.proposal, found.lacks_time) for found in (used_up, slow)] == [(None, False), (None, True)]
    assert "the space has no further network" in used_up.why
    assert "the space has no further network" in slow.why


def test_a_space_too_large_to_be_listed_is_drawn_from_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(enumeration, "MOST", 10)

    for sampler, end in (("surrogate", "further draws was"), ("random", "further draws was a new network")):
        found = without_ladder(WIDE, sampler=sampler).propose(20_000, {}, replace(ROOM, seconds=0.0))

        assert found.proposal is None
        assert found.lacks_time
        assert end in found.why


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_a_look_that_finds_nothing_ends_with_the_time_of_the_search(sampler: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(enumeration, "MOST", 10)
    asked = itertools.count(1)
    time_left = replace(ROOM, seconds=0.0, is_over=lambda: next(asked) > 50)

    found = without_ladder(WIDE, sampler=sampler).propose(20_000, {}, time_left)

    assert found.proposal is None
    assert found.lacks_time
    assert found.why == "the time was over before a further network was found"
    assert sum(found.rejected.values()) <= 50
