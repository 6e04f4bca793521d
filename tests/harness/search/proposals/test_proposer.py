"""Proposals: a ladder of sizes where nothing is known, then the sampler's; what is over the budget is never trained."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.events import Rejected, Repeated
from harness.search import propose as proposer_module
from harness.search.clock import PACES, TimeLeft
from harness.search.propose import ALL_ON, Found, Proposer, Switches, size_ladder, violation
from harness.search.race import Candidate, Outcome
from search_spaces.catalog import space
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space
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
    steps = size_ladder(space(name), 20_000, Metric.PARAMETERS, random.Random(0))

    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]
    order = [sorted(sizes).index(size) for size in sizes]
    ratios = [larger / smaller for smaller, larger in zip(sorted(sizes), sorted(sizes)[1:], strict=False)]
    assert order == [4, 3, 5, 2, 6, 1, 0]
    assert max(ratios) < 2 * min(ratios)


def test_the_ladder_keeps_budget_and_conditions():
    text = "width = 1..100; net = conv3x3(width) gap linear(10); where macs >= 7056;"
    steps = size_ladder(parse_space(text), 200, Metric.PARAMETERS, random.Random(0))

    # macs: 7,056 a channel and 10 more, so one channel keeps the condition; 200 parameters are ten channels.
    assert {analyse(step.architecture, MNIST).parameters for step in steps} <= set(range(29, 201))
    assert max(analyse(step.architecture, MNIST).parameters for step in steps) == 200


def test_a_space_of_few_networks_has_a_short_ladder():
    steps = size_ladder(parse_space(FEW), 300, Metric.PARAMETERS, random.Random(0))
    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]

    assert sorted(sizes) == [86, 162, 238]


def test_where_nothing_is_within_the_budget_the_ladder_is_empty():
    assert size_ladder(parse_space(FEW), 85, Metric.PARAMETERS, random.Random(0)) == []


def test_the_draws_for_a_ladder_end_where_networks_within_the_budget_are_rare(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposer_module, "DRAWS", 50)
    steps = size_ladder(parse_space(WIDE), 29, Metric.PARAMETERS, random.Random(0))
    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]

    assert sizes in ([], [29])


def test_enough_networks_for_a_ladder_end_the_draws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposer_module, "LADDER_DRAWS", 2)

    assert len(size_ladder(parse_space(WIDE), 20_000, Metric.PARAMETERS, random.Random(0))) == 2


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


def test_a_budget_is_kept_to_the_parameter():
    candidates, answers = take(without_ladder(f"net = <{ALLOWED} / {FORBIDDEN}>;"), 2)

    assert [candidate.proposal.parameters for candidate in candidates.values()] == [20_000]
    assert {item.parameters for item in rejections(answers)} == {20_001}
    assert answers[1].proposal is None


def test_a_shape_that_does_not_fit_is_rejected_without_a_size():
    # A pad of 0 leaves a map of 24x24, which is too small for the larger pooling: 4 of 6 networks fit.
    proposer = only_asking("net = conv5x5({2, 4}, pad=0)? <maxpool(28) / maxpool(2)> gap linear(10);")

    candidates, answers = take(proposer, 5)

    assert len(candidates) == 4
    assert {(item.reason, item.parameters) for item in rejections(answers)} == {("shape", None)}


def test_a_condition_of_the_space_is_a_reason_of_its_own():
    proposer = only_asking("net = conv3x3({2, 4}){1..4} gap linear(10); where receptive_field >= 5, macs <= 90000;")

    _, answers = take(proposer, 8)

    assert {item.reason for item in rejections(answers)} == {"receptive_field", "macs"}


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


def test_only_the_first_rejections_of_a_proposal_are_lessons():
    proposer = only_asking(WIDE, sampler="random", seed=2)

    found = proposer.propose(29, {}, ROOM)

    told = [item.violation is not None for item in rejections([found])]
    assert len(told) > proposer_module.LESSONS
    assert told == [number < proposer_module.LESSONS for number in range(len(told))]
    assert all(bool(item.indices) == (item.violation is not None) for item in rejections([found]))


# What is known already --------------------------------------------------------------------------------------


def test_a_known_network_is_a_repeat_and_not_proposed_again():
    candidates, answers = take(only_asking(FEW, sampler="random"), 3)

    assert len({candidate.proposal.hash for candidate in candidates.values()}) == 3
    for repeat in repeats(answers):
        assert repeat.trial in candidates
        assert repeat.indices


def test_the_sampler_is_told_again_what_is_known_of_a_repeat():
    proposer = only_asking(FEW, sampler="random")
    _, answers = take(proposer, 3)

    told = [trial.value for trial in proposer.index.study.trials]

    assert len(repeats(answers)) > 0
    assert len(told) == 3 + len(repeats(answers))
    assert None not in told


def test_a_repeat_of_a_network_in_training_tells_nothing():
    proposer = only_asking(FEW, sampler="random")

    _, answers = take(proposer, 3, finished=False)

    states = Counter(trial.state.name for trial in proposer.index.study.trials)
    assert states == {"RUNNING": 3, "FAIL": len(repeats(answers))}
    assert len(repeats(answers)) > 0


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


# Repeatability ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "evolution", "random"])
def test_the_same_seed_proposes_the_same_networks(sampler: str):
    first, again, other = (take(new(sampler=sampler, seed=seed), 15)[1] for seed in (5, 5, 6))

    assert first == again
    assert first != other


@given(st.integers(1, 40))
def test_what_lies_at_two_thirds_comes_first(count: int):
    order = proposer_module._upper_middle_first(count)

    assert sorted(order) == list(range(count))
    distances = [abs(3 * step - 2 * (count - 1)) for step in order]
    assert distances == sorted(distances)
