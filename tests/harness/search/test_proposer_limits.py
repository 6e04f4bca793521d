"""Proposals that are aimed at a size, and those that there is no time for."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.search import proposer as proposer_module
from harness.search.proposer import propose, size_ladder, violation
from harness.search.race import Candidate
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space
from tests.harness import scripted
from tests.harness.search.test_proposer import FEW, WIDE, new, rejections, take, without_ladder


def test_every_second_network_is_aimed_and_the_others_are_asked_for():
    _, answers = take(without_ladder(sampler="random"), 6)

    assert [found.proposal.origin for found in answers if found.proposal] == ["aim", "random"] * 3


def test_an_aim_is_below_the_smallest_that_passed_and_above_what_has_no_chance():
    proposer = without_ladder(WIDE)
    passed = candidate_of("conv3x3(50) gap linear(10)", errors=50)  # 960 parameters
    missed = candidate_of("conv3x3(12) gap linear(10)", errors=500)

    sizes = []
    for seed in range(12):
        proposer.index.asked = seed
        found = propose(proposer, 20_000, {0: missed, 1: passed})
        assert found.proposal is not None
        assert found.proposal.origin == "aim"
        sizes.append(found.proposal.parameters)

    # 238 parameters made five times the errors that are allowed; 960 made half of them.
    assert min(sizes) > 238
    assert max(sizes) < 960


def test_a_network_that_was_refuted_is_no_aim():
    proposer = without_ladder(WIDE)
    refuted = candidate_of("conv3x3(2) gap linear(10)", errors=50)
    assert refuted.first is not None
    refuted.fresh = [replace(refuted.first, seed_index=index, validation_errors=300) for index in range(2)]
    other = candidate_of("conv3x3(90) gap linear(10)", errors=50)

    found = propose(proposer, 20_000, {0: refuted, 1: other})

    assert found.proposal is not None
    assert found.proposal.parameters > 400


def test_an_aim_keeps_the_budget():
    found = propose(without_ladder(WIDE), 67, {})

    assert found.proposal is not None
    assert found.proposal.parameters <= 67


def candidate_of(architecture: str, errors: int) -> Candidate:
    """Return a network whose first run ended with so many errors; 100 are the threshold."""
    proposal = scripted.proposal(0, architecture)
    first = scripted.made_result(scripted.first_job(proposal), scripted.by_size, scripted.RECIPE.epochs)
    return Candidate(proposal, replace(first, validation_errors=errors))


# Time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ladder", [True, False])
def test_networks_that_take_too_long_are_rejected_for_their_multiply_adds(ladder: bool):
    proposer = new(WIDE, sampler="random")
    if not ladder:
        proposer.ladder = []
    most_macs = 5 * 9 * 784 + 5 * 10  # those of five channels

    found = propose(proposer, 20_000, {0: candidate_of("conv3x3(30) gap linear(10)", 300)}, most_macs)

    assert found.proposal is not None
    assert found.proposal.parameters <= 10 + 19 * 5
    assert {item.reason for item in rejections([found])} == {"macs"}
    assert size_ladder(parse_space(WIDE), 20_000, random.Random(0), 0) == []


def test_multiply_adds_that_there_is_just_time_for_are_accepted():
    proposer = without_ladder("net = conv3x3(4) gap linear(10);")

    assert propose(proposer, 20_000, {}, 28_263).proposal is None
    assert propose(proposer, 20_000, {}, 28_264).proposal is not None


def test_a_search_without_time_for_any_network_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposer_module, "DRAWS", 60)

    found = propose(without_ladder(WIDE), 20_000, {}, 5_000)

    assert found.proposal is None
    assert found.why == (
        "none of 60 further draws was a new network of at most 20,000 parameters and 5,000 multiply-adds"
    )


def test_the_violation_counts_multiply_adds_for_which_there_is_no_time():
    analysis = analyse(parse_network("conv3x3(4) gap linear(10)"))  # 28,264

    assert violation(parse_space(FEW), analysis, 86, 14_132) == pytest.approx(1.0)
    assert violation(parse_space(FEW), analysis, 86, 28_264) == 0.0


# Restarts ---------------------------------------------------------------------------------------------------
