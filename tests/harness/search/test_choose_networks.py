"""Where the choices of the surrogate come from: draws and their changes, for one worker and for many."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.search import choose as acquisition
from harness.search import choose as aim
from harness.search import choose as aim_module
from harness.search import loop, pruning, race
from harness.search import optuna_sampler as sampler
from harness.search import propose as proposer
from harness.search.choose import Aimed, _aim_of, _observed, aimed
from harness.search.clock import PACES, TimeLeft
from harness.search.proposal_step import ProposalStep
from harness.search.propose import Found, Proposer
from harness.search.race import Candidate
from harness.search.surrogate import Observation, predicted, row_of, training_row
from harness.training.executor import Source
from harness.training.recipe import Recipe
from harness.training.result import Status
from search_spaces.catalog import space
from search_spaces.draw import Draw
from search_spaces.notation import parse_network, parse_space
from search_spaces.task import MNIST
from tests.harness import scripted
from tests.harness.scripted import Trainer

WIDE = "width = 1..100; net = conv3x3(width) gap linear(10);"  # 10 + 19 a channel
FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"
# Trainings of such networks: a hundred errors, which are allowed, at 40 channels.
LARGER_IS_BETTER = tuple(
    Observation(
        training_row(parse_network(f"conv3x3({width}) gap linear(10)"), epochs, 64, Recipe().augmented_share, MNIST),
        errors,
        20,
    )
    for epochs in (5, 8, 10)
    for width, errors in ((4, 1_000.0), (10, 400.0), (20, 200.0), (40, 100.0), (80, 50.0), (100, 40.0))
)
ROOM = TimeLeft(images=50_000, pace=PACES["native"], workers=2)


@pytest.fixture(autouse=True)
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the draws and changes that a search looks at; whatever it looks at, it must choose the best of it."""
    for name, number in {"AIM_DRAWS": 60, "AIM_LOOKS": 160, "PARENTS": 3}.items():
        monkeypatch.setattr(aim_module, name, number)


def network(trial: int, width: int, errors: int, fresh: Sequence[int] = ()) -> Candidate:
    """Return a network whose runs ended with so many errors; 100 are the threshold."""
    made = scripted.proposal(trial, f"conv3x3({width}) gap linear(10)")
    run = scripted.made_result(scripted.first_job(made), scripted.by_size, scripted.RECIPE.epochs)
    seeds = [replace(run, seed_index=index, validation_errors=count) for index, count in enumerate(fresh)]
    return Candidate(made, made.parameters, replace(run, validation_errors=errors), seeds)


def new(text: str, past: Sequence[Observation] = (), **changes: object) -> Proposer:
    config = scripted.config(space_text=text, sampler="surrogate", **changes)
    return Proposer.new(parse_space(text, "test"), config, past=past)


def step(*candidates: Candidate, budget: int = 20_000, time_left: TimeLeft = ROOM, **changes: object) -> ProposalStep:
    config = scripted.config(space_text=WIDE, **changes)
    known = {item.proposal.trial: item for item in candidates}
    hashes = {item.proposal.hash: trial for trial, item in known.items()}
    return ProposalStep(
        parse_space(WIDE, "test"), config, budget, known, hashes, frozenset(), len(known), [], time_left
    )


def proposed(proposer: Proposer, *candidates: Candidate, budget: int = 20_000, time_left: TimeLeft = ROOM) -> Found:
    return proposer.propose(budget, {item.proposal.trial: item for item in candidates}, time_left)


def test_a_network_that_fell_on_fresh_seeds_is_not_taken_for_what_its_first_run_said():
    lucky, fallen = network(0, 20, 50), network(0, 20, 50, fresh=(300, 300))
    model = {name: _aim_of(step(item), LARGER_IS_BETTER).model for name, item in (("lucky", lucky), ("fell", fallen))}
    row = row_of(parse_network("conv3x3(20) gap linear(10)"), scripted.RECIPE, MNIST)

    # 20 channels were known for 200 errors.
    assert predicted(model["lucky"], [row])[0][0] < math.log(200) < predicted(model["fell"], [row])[0][0]


@pytest.mark.parametrize("lengths", [(), (5, 10)])
def test_no_network_is_proposed_twice_with_one_length(lengths: tuple[int, ...]):
    proposer = new(FEW, LARGER_IS_BETTER, lengths=lengths)
    candidates: list[Candidate] = []
    while (found := proposed(proposer, *candidates).proposal) is not None:
        candidates.append(Candidate(found, found.parameters))

    pairs = {(item.proposal.hash, item.proposal.epochs) for item in candidates}
    assert len(pairs) == len(candidates) == 3 * max(1, len(lengths))
    assert {item.proposal.epochs for item in candidates} == set(lengths or (8,))
    assert [item.proposal.trial for item in candidates] == list(range(len(candidates)))


def test_once_something_stands_nothing_without_a_chance_is_proposed_in_a_search_that_has_an_end():
    standing = network(0, 60, 50, fresh=(60, 60))
    ended = replace(ROOM, seconds=1_000.0, left=3_600.0)
    # Six channels at most, which make 700 errors.
    found = proposed(new(WIDE, LARGER_IS_BETTER), standing, budget=10 + 19 * 6, time_left=ended)

    # It is not for want of time: with more of it none of them has a chance either.
    assert found.proposal is None
    assert not found.lacks_time
    assert "has a chance to reach the target" in found.why
    assert proposed(new(WIDE, LARGER_IS_BETTER), standing, budget=10 + 19 * 6).proposal is not None


# Spaces that are too large to be listed ---------------------------------------------------------------------


def card(seed: int = 0, **changes: object) -> Proposer:
    """Return a proposer of a space that is drawn from; it begins as if something had been trained before."""
    found = space("card")
    config = scripted.config(space_text=found.text, space="card", sampler="surrogate", seed=seed, **changes)
    return Proposer.new(found, config, past=LARGER_IS_BETTER)


def test_the_best_of_the_draws_and_of_their_neighbours_is_taken(monkeypatch: pytest.MonkeyPatch):
    found = space("card")
    asked = replace(step(), space=found, ceiling=4_000)
    seen: list[list[acquisition.Option]] = []
    choices = acquisition.choices

    def spy(
        aim: acquisition._Aim, options: Sequence[acquisition.Option], taken: frozenset[tuple[str, int]]
    ) -> list[acquisition.Choice]:
        seen.append(list(options))
        return choices(aim, options, taken)

    monkeypatch.setattr(acquisition, "choices", spy)

    best = aimed(asked, LARGER_IS_BETTER, random.Random(0)).choice

    assert best is not None
    drawn, every = seen[0], [each for options in seen for each in options]
    assert len(every) > len(drawn) > 0
    # Each is looked at once.
    assert len({each.hash for each in every}) == len(every)
    assert max(each.cost for each in every) <= 4_000
    aim = _aim_of(asked, LARGER_IS_BETTER)
    assert best.worth == pytest.approx(max(choice.worth for choice in choices(aim, every)))
    assert best.worth >= max(choice.worth for choice in choices(aim, drawn))


def test_the_latest_networks_are_changed_even_where_none_has_passed(monkeypatch: pytest.MonkeyPatch):
    asked = replace(step(), space=space("card"), ceiling=4_000)
    proposer = card()
    missed = Candidate(proposed(proposer, budget=4_000).proposal, 4_000)  # type: ignore[arg-type]
    parents: list[Draw] = []

    def no_children(step: ProposalStep, found: Sequence[Draw], rng: random.Random) -> list[acquisition.Option]:
        parents.extend(found)
        return []

    monkeypatch.setattr(aim_module, "_children", no_children)

    aimed(replace(asked, candidates={0: missed}), LARGER_IS_BETTER, random.Random(0))

    assert missed.proposal.hash in {each.architecture.hash for each in parents}


# What the model is told -------------------------------------------------------------------------------------


def test_a_network_teaches_the_mean_of_its_runs_under_its_own_length():
    config = scripted.config(lengths=(5, 8))
    trained = network(0, 20, 90, fresh=(120, 60))
    trained.proposal = replace(trained.proposal, epochs=5)

    row = row_of(parse_network("conv3x3(20) gap linear(10)"), replace(scripted.RECIPE, epochs=5), MNIST)
    assert _observed(trained, config, MNIST) == [Observation(row, 90.0, 3, 0.0)]


def test_a_pruned_run_teaches_a_guess_and_a_failed_one_nothing():
    trained = network(0, 20, 300)
    assert trained.first is not None
    stopped = replace(trained.first, status=Status.PRUNED, history=trained.first.history[:2])
    [guess] = _observed(replace_first(trained, stopped), scripted.config(), MNIST)

    assert guess.errors == pytest.approx(300 * pruning._TYPICAL_RATIO[0.25])
    assert guess.doubt > 0
    failed = replace(trained.first, status=Status.DIVERGED, validation_errors=None, validation_size=None)
    assert _observed(replace_first(trained, failed), scripted.config(), MNIST) == []
    assert _observed(Candidate(trained.proposal, trained.proposal.parameters), scripted.config(), MNIST) == []


def replace_first(trained: Candidate, first: object) -> Candidate:
    return Candidate(trained.proposal, trained.proposal.parameters, first)  # type: ignore[arg-type]


def test_an_aim_knows_what_stands_and_what_may_come_to():
    training = Candidate(replace(network(0, 30, 0).proposal, chance=0.3), 580)
    passed, missed = network(1, 40, 80), network(2, 10, 400)
    standing, refuted = network(3, 60, 50, fresh=(60, 60)), network(4, 20, 90, fresh=(200, 200))

    aim = _aim_of(step(training, passed, missed, standing, refuted, budget=1_000), ())

    assert (aim.below, aim.stands) == (1_001, True)
    assert aim.allowed == pytest.approx(100.0)
    assert aim.open == ((580, 0.3), (770, race.chance_to_stand(passed, 99.0)))
    assert not _aim_of(step(passed, missed, refuted), ()).stands
    # Four that were trained, and what was known before.
    told = _aim_of(step(training, passed, missed, standing, refuted), LARGER_IS_BETTER)
    assert len(told.model.rows) == 4 + len(LARGER_IS_BETTER)


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


def test_of_too_many_earlier_trainings_every_form_keeps_its_share(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aim, "MOST_OBSERVATIONS", 5)
    past = [replace(LARGER_IS_BETTER[0], errors=float(errors)) for errors in range(8)]
    own = [replace(LARGER_IS_BETTER[0], errors=100.0)]

    assert [seen.errors for seen in aim._learned(past, own)] == [0, 2, 4, 6, 100]
    assert aim._learned(past, own * 5) == own * 5
    assert aim._learned(past[:2], own) == [*past[:2], *own]


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

    opened = loop.opened(tmp_path, config, scripted.effort(workers=32), Source("mnist", None))

    assert scripted.proposer_of(opened).index.asked == scripted.proposer_of(found).index.asked
