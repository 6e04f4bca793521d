"""Where many workers train one look of the model serves several proposals; where few train, each has its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.search import choose as aim
from harness.search import optuna_sampler as sampler
from harness.search import propose as proposer
from harness.search.choose import Aimed, aimed
from harness.search.proposal_step import ProposalStep
from harness.search.propose import Proposer
from harness.search.race import Candidate
from harness.search.resume import open_session
from harness.search.surrogate import Observation, row_of
from harness.training.workers import Source
from search_spaces.task import MNIST
from tests.harness import scripted
from tests.harness.scripted import Trainer
from tests.harness.search.proposals.test_aim import LARGER_IS_BETTER, ROOM, WIDE, network, new, proposed, step
from tests.harness.silent import Silent


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[ProposalStep]:
    """Return what is filled with each look that is taken with the model."""
    seen: list[ProposalStep] = []

    def noted(step: ProposalStep, past: Sequence[Observation], rng: random.Random) -> Aimed:
        seen.append(step)
        return aimed(step, past, rng)

    monkeypatch.setattr(proposer, "aimed", noted)
    return seen


def trained(asked: Proposer, workers: int, count: int = 8) -> list[Candidate]:
    """Return so many networks that were proposed one after the other and are all in training."""
    found: list[Candidate] = []
    for _ in range(count):
        proposal = proposed(asked, *found, time_left=replace(ROOM, workers=workers)).proposal
        assert proposal is not None
        found.append(Candidate(proposal, proposal.parameters))
    return found


@pytest.mark.parametrize("workers", [1, 2, 15])
def test_with_few_workers_each_proposal_is_the_first_choice_of_a_look_of_its_own(workers: int):
    asked, other = new(WIDE, LARGER_IS_BETTER), new(WIDE, LARGER_IS_BETTER)
    found = trained(asked, workers)

    for number, each in enumerate(found):
        before = found[:number]
        taken = frozenset((one.proposal.hash, one.proposal.epochs or 0) for one in before)
        known = step(*before, time_left=replace(ROOM, workers=workers), sampler="surrogate")
        first = aimed(replace(known, taken=taken), LARGER_IS_BETTER, sampler.generator(other.index)).choice
        assert first is not None
        assert (each.proposal.hash, each.proposal.chance) == (first.option.hash, first.chance)
        other.enter(each.proposal)
    assert asked.ahead == []


@pytest.mark.parametrize(("workers", "expected"), [(1, 8), (8, 8), (15, 8), (16, 4), (32, 2), (64, 1)])
def test_one_look_serves_a_proposal_for_each_eight_workers(workers: int, expected: int, looks: list[ProposalStep]):
    found = trained(new(WIDE, LARGER_IS_BETTER), workers)

    assert len(looks) == expected
    assert len({each.proposal.hash for each in found}) == 8
    assert {each.proposal.origin for each in found} == {"aim"}


@pytest.mark.parametrize("workers", [2, 64])
def test_the_same_seed_gives_the_same_proposals(workers: int):
    first, again = (trained(new(WIDE, LARGER_IS_BETTER), workers, 12) for _ in range(2))

    assert [each.proposal for each in first] == [each.proposal for each in again]


def test_the_next_look_knows_all_that_was_proposed_of_the_last_one(looks: list[ProposalStep]):
    found = trained(new(WIDE, LARGER_IS_BETTER), 24, 4)

    _, second = looks
    assert [each.proposal.hash for each in second.candidates.values()] == [each.proposal.hash for each in found[:3]]
    assert aim._aim_of(second, LARGER_IS_BETTER).open == tuple((each.cost, each.proposal.chance) for each in found[:3])


def test_what_a_look_has_left_is_passed_over_where_it_is_known_or_takes_too_long(looks: list[ProposalStep]):
    asked, many = new(WIDE, LARGER_IS_BETTER), replace(ROOM, workers=40)
    first = proposed(asked, time_left=many).proposal
    assert first is not None
    known, slow, good, *_ = asked.ahead
    asked.ahead[1] = replace(slow, option=replace(slow.option, work=1e18))
    again = scripted.proposal(1, str(known.option.found.architecture))
    candidates = [Candidate(first, first.parameters), Candidate(replace(again, epochs=known.epochs), again.parameters)]

    found = proposed(asked, *candidates, time_left=replace(many, seconds=1e6)).proposal

    assert found is not None
    assert (found.hash, found.epochs, found.chance) == (good.option.hash, good.epochs, good.chance)
    assert len(looks) == 1


def test_what_a_look_has_left_is_dropped_when_another_network_stands(looks: list[ProposalStep]):
    asked, many = new(WIDE, LARGER_IS_BETTER), replace(ROOM, workers=40)
    proposed(asked, time_left=many)
    standing = network(0, 90, 40, fresh=(40, 40))

    found = proposed(asked, standing, budget=standing.cost - 1, time_left=many).proposal

    assert found is not None
    assert found.parameters < standing.cost
    assert len(looks) == 2
    assert {each.option.cost < standing.cost for each in asked.ahead} == {True}


def test_what_a_look_has_left_stays_dropped_when_the_other_network_stands_no_longer(looks: list[ProposalStep]):
    asked, many = new(WIDE, LARGER_IS_BETTER), replace(ROOM, workers=40)
    proposed(asked, time_left=many)
    assert proposed(asked, budget=1, time_left=many).proposal is None

    proposed(asked, time_left=many)

    assert len(looks) == 3


def test_of_too_many_earlier_trainings_every_form_keeps_its_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aim, "MOST_OBSERVATIONS", 5)
    past = [replace(LARGER_IS_BETTER[0], errors=float(errors)) for errors in range(8)]
    own = [replace(LARGER_IS_BETTER[0], errors=100.0)]

    assert [seen.errors for seen in aim._learned(past, own)] == [0, 2, 4, 6, 100]
    assert aim._learned(past, own * 5) == own * 5
    assert aim._learned(past[:2], own) == [*past[:2], *own]


def test_the_model_is_fitted_to_the_latest_observations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aim, "MOST_OBSERVATIONS", 3)
    known = [network(trial, 10 + trial, 100 + trial) for trial in range(5)]

    fitted = aim._aim_of(step(*known), LARGER_IS_BETTER).model

    rows = [row_of(each.proposal.architecture, scripted.RECIPE, MNIST) for each in known]
    assert fitted.rows.tolist() == [list(row) for row in rows[2:]]


# A whole search ---------------------------------------------------------------------------------------------


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def test_a_search_with_many_workers_repeats_itself_and_no_network(trainer: Trainer, tmp_path: Path):
    config, effort = scripted.config(sampler="surrogate"), scripted.effort(workers=32, trials=60)

    first, again = (scripted.run(tmp_path / name, config, effort) for name in ("first", "again"))

    proposals = [each.proposal for each in first.candidates.values()]
    assert len({each.hash for each in proposals}) == len(proposals) == 60
    assert proposals == [each.proposal for each in again.candidates.values()]
    assert [each.fresh_pct for each in first.candidates.values()] == [
        each.fresh_pct for each in again.candidates.values()
    ]


def test_a_search_with_many_workers_counts_its_questions_on_after_a_stop(trainer: Trainer, tmp_path: Path):
    config = scripted.config(sampler="surrogate")
    found = scripted.run(tmp_path, config, scripted.effort(workers=32, trials=40))

    opened = open_session(tmp_path, config, scripted.effort(workers=32), Source("mnist", None), Silent())

    assert scripted.proposer_of(opened).index.asked == scripted.proposer_of(found).index.asked
