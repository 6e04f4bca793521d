"""Which network is proposed next: the ladder, the sampler, the surrogate, and what is passed over."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.evidence.events import Rejected, Repeated
from harness.search import proposal_step as enumeration
from harness.search import propose as proposer_module
from harness.search.clock import PACES, TimeLeft
from harness.search.features import work_of
from harness.search.propose import ALL_ON, Found, Proposer, Switches, _size_ladder, violation
from harness.search.race import Candidate, Outcome
from search_spaces.catalog import space
from search_spaces.cost import analyse
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import Condition, Metric
from search_spaces.task import MNIST
from tests.harness import scripted

# Two networks that are a parameter apart, counted by hand:
# 9 * 31 + 9 * 31 * 57 + 57 * 56 + 56 + 56 * 10 + 10, and 9 * 38 + 9 * 38 * 49 + 49 * 49 + 49 * 10 + 10.
ALLOWED, FORBIDDEN = (
    "conv3x3(31) conv3x3(57) conv1x1(56, bias) gap linear(10)",
    "conv3x3(38) conv3x3(49) conv1x1(49) gap linear(10)",
)
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"  # 86, 162 and 238 parameters
WIDE = "width = 1..100; net = conv3x3(width) gap linear(10);"  # 10 + 19 a channel
ROOM = TimeLeft(images=50_000, pace=PACES["native"])


def new(text: str = scripted.SPACE, switches: Switches = ALL_ON, **changes: object) -> Proposer:
    config = scripted.config(space_text=text, **changes)
    return Proposer.new(parse_space(text, "test"), config, switches)


def without_ladder(text: str = scripted.SPACE, **changes: object) -> Proposer:
    return new(text, Switches(ladder=False), **changes)


def only_asking(text: str = scripted.SPACE, **changes: object) -> Proposer:
    """Return a proposer that always asks the sampler."""
    return new(text, Switches(ladder=False, aim=False), **changes)


def take(
    proposer: Proposer, count: int, budget: int = 20_000, *, finished: bool = True
) -> tuple[dict[int, Candidate], list[Found]]:
    """Propose so often; each network has been trained, with success, before the next is asked for."""
    candidates: dict[int, Candidate] = {}
    answers = []
    for _ in range(count):
        answers.append(proposer.propose(budget, candidates, ROOM))
        proposal = answers[-1].proposal
        if proposal is not None:
            candidates[proposal.trial] = Candidate(proposal, proposal.parameters)
        if proposal is not None and finished:
            job = scripted.first_job(proposal)
            candidates[proposal.trial].first = scripted.made_result(job, scripted.by_size, job.recipe.epochs)
            proposer.tell(proposal.trial, Outcome(proposal.parameters, -1.0, True))
    return candidates, answers


def rejections(answers: Sequence[Found]) -> list[Rejected]:
    return [item for found in answers for item in found.passed if isinstance(item, Rejected)]


def repeats(answers: Sequence[Found]) -> list[Repeated]:
    return [item for found in answers for item in found.passed if isinstance(item, Repeated)]


# The ladder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["card", "tiny", "tied", "posed", "seeds"])
def test_the_ladder_spreads_sizes_evenly_in_the_logarithm_those_above_the_middle_first(name: str):
    steps = _size_ladder(space(name), 20_000, Metric.PARAMETERS, random.Random(0))

    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]
    order = [sorted(sizes).index(size) for size in sizes]
    ratios = [larger / smaller for smaller, larger in zip(sorted(sizes), sorted(sizes)[1:], strict=False)]
    assert order == [4, 3, 5, 2, 6, 1, 0]
    assert max(ratios) < 2 * min(ratios)


def test_the_ladder_keeps_budget_and_conditions():
    text = "width = 1..100; net = conv3x3(width) gap linear(10); where macs >= 7056;"
    steps = _size_ladder(parse_space(text), 200, Metric.PARAMETERS, random.Random(0))

    # macs: 7,056 a channel and 10 more, so one channel keeps the condition; 200 parameters are ten channels.
    assert {analyse(step.architecture, MNIST).parameters for step in steps} <= set(range(29, 201))
    assert max(analyse(step.architecture, MNIST).parameters for step in steps) == 200


def test_the_first_proposals_are_the_ladder():
    proposer = new()
    steps = [step.architecture for step in proposer.ladder]

    _, answers = take(proposer, len(steps) + 1)

    proposals = [found.proposal for found in answers if found.proposal]
    assert [proposal.architecture for proposal in proposals[:-1]] == steps
    assert [proposal.origin for proposal in proposals[:-1]] == ["ladder"] * len(steps)
    assert proposals[-1].origin != "ladder"
    assert [proposal.trial for proposal in proposals] == list(range(len(steps) + 1))


def test_steps_over_the_budget_of_the_day_are_counted_as_rejected():
    proposer = new()
    sizes = [analyse(step.architecture, MNIST).parameters for step in proposer.ladder]
    budget = sorted(sizes)[2]

    found = proposer.propose(budget, {}, ROOM)

    before = sizes[: next(number for number, size in enumerate(sizes) if size <= budget)]
    assert [(item.reason, item.parameters, item.origin) for item in rejections([found])] == [
        ("parameters", size, "ladder") for size in before
    ]
    assert found.proposal is not None
    assert found.proposal.parameters <= budget


# The budget -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_no_proposal_is_over_the_budget_and_every_rejection_has_a_reason(sampler: str):
    _, answers = take(without_ladder(sampler=sampler, seed=1), 12, budget=1_500)

    assert all(found.proposal and found.proposal.parameters <= 1_500 for found in answers)
    rejected = rejections(answers)
    assert rejected
    assert {item.reason for item in rejected} == {"parameters"}
    assert all(item.parameters is not None and item.parameters > 1_500 for item in rejected)


@pytest.mark.parametrize(
    ("condition", "budget", "expected"),
    [
        ("", 50, (86 - 50) / 50),
        ("where parameters <= 43", 86, 1.0),
        ("where receptive_field >= 6", 86, 0.5),  # it is 3
        ("where parameters < 86", 86, 1 / 86),
        ("where receptive_field >= 6, parameters <= 43", 43, 2.5),
        ("", 86, 0.0),
    ],
)
def test_the_violation_sums_what_is_broken_as_shares_of_the_limits(condition: str, budget: int, expected: float):
    within = parse_space(f"net = conv3x3(4) gap linear(10); {condition};" if condition else FEW)

    limited = replace(within, conditions=(*within.conditions, Condition(Metric.PARAMETERS, "<=", budget)))
    found = violation(limited, analyse(parse_network("conv3x3(4) gap linear(10)"), MNIST))

    assert found == pytest.approx(expected)


# What is known already --------------------------------------------------------------------------------------


def test_a_known_network_is_a_repeat_and_not_proposed_again():
    candidates, answers = take(only_asking(FEW, sampler="random"), 3)

    assert len({candidate.proposal.hash for candidate in candidates.values()}) == 3
    for repeat in repeats(answers):
        assert repeat.trial in candidates
        assert repeat.indices


def test_where_the_sampler_finds_nothing_new_a_network_is_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposer_module, "ASKS", 0)

    found = only_asking().propose(20_000, {}, ROOM)

    assert found.proposal is not None
    assert found.proposal.origin == "draw"


def test_a_space_that_is_used_up_says_so_and_keeps_count_of_what_was_passed():
    candidates, answers = take(without_ladder(FEW, budget=162), 3, budget=162)

    assert len(candidates) == 2
    assert answers[-1].proposal is None
    assert answers[-1].why == "the space has no further network with at most 162 parameters"
    assert len(answers[-1].passed) == proposer_module.ASKS


def test_every_second_network_is_the_model_s_with_a_sampler_that_was_asked_for():
    _, answers = take(without_ladder(sampler="random"), 6)

    assert [found.proposal.origin for found in answers if found.proposal] == ["aim", "random"] * 3


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
def test_a_search_without_time_for_any_network_says_so(sampler: str):
    found = without_ladder(WIDE, sampler=sampler).propose(20_000, {}, replace(ROOM, seconds=0.25))

    assert found.proposal is None
    assert found.lacks_time
    assert "at most 20,000 parameters" in found.why
    assert "at most 0 s" in found.why


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
