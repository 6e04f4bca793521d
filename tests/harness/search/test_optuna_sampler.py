"""Samplers of Optuna, aging evolution among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import optuna
import pytest
from optuna.trial import TrialState

from harness.search import optuna_sampler as evolution
from harness.search import optuna_sampler as sampler
from harness.search.optuna_sampler import SAMPLERS, Index, _fitness, _Member, _offspring, living
from harness.search.race import Outcome
from harness.system.errors import UsageError
from search_spaces.catalog import space
from search_spaces.cost import analyse
from search_spaces.draw import Decision, Draw, draw, draw_uniform, judge, uniform
from search_spaces.notation import parse_space
from search_spaces.space import Condition, Metric, SearchSpace
from search_spaces.task import MNIST

CARD = space("card")
ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))


def decisions_of(found: Draw) -> tuple[Decision, ...]:
    return found.decisions


def made_up(found: Draw, number: int) -> Outcome:
    """Return an outcome of each kind in turn: above and below the threshold, pruned, failed."""
    analysis = judge(CARD, found.architecture).analysis
    assert analysis is not None
    kind = number % 5
    return Outcome(analysis.parameters, None if kind == 4 else 0.1 * (kind - 1), kind != 3)


def ask_and_tell(index: Index, count: int, within: SearchSpace = CARD) -> list[Draw]:
    """Return so many proposals; those over 20,000 parameters are rejected, the others told."""
    asked = []
    for number in range(count):
        trial, found = sampler.ask(index, within)
        asked.append(found)
        analysis = judge(within, found.architecture).analysis
        if analysis is None:
            sampler.forget(index, trial)
        elif analysis.parameters > 20_000:
            sampler.reject(index, trial, analysis.parameters, analysis.parameters / 20_000 - 1)
        else:
            sampler.tell(index, trial, made_up(found, number))
    return asked


def test_an_unknown_sampler_is_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"^unknown sampler 'tpee'; known are auto, tpe, nsga2, evolution, random, surrogate$"
    ) as caught:
        sampler.sampler_name("tpee")

    assert caught.value.hint == "did you mean 'tpe'?"


@ALL
def test_the_same_seed_gives_the_same_proposals_and_another_seed_others(name: str):
    first, second, other = (ask_and_tell(sampler.new_index(name, seed), 25) for seed in (3, 3, 4))

    assert first == second
    assert first != other


@ALL
def test_the_proposals_after_a_restart_are_those_that_would_have_come(name: str):
    """40 questions: NSGA-II has 20 complete trials a generation, evolution 20 parents, TPE 10 random ones first."""
    for stop in (0, 1, 9, 24, 39):
        live, again = sampler.new_index(name, 7), sampler.new_index(name, 7)
        for number, found in enumerate(ask_and_tell(live, stop)):
            _repeat(again, found, number)
        onward = ask_and_tell(live, 3)

        assert again.asked == stop
        assert ask_and_tell(again, 3) == onward, f"after {stop} questions"


def _repeat(index: Index, found: Draw, number: int) -> None:
    """Enter what ``ask_and_tell`` did, as a later session does it from the journal."""
    analysis = judge(CARD, found.architecture).analysis
    trial = sampler.impose(index, decisions_of(found))
    if analysis is None:
        sampler.forget(index, trial)
    elif analysis.parameters > 20_000:
        sampler.reject(index, trial, analysis.parameters, analysis.parameters / 20_000 - 1)
    else:
        sampler.tell(index, trial, made_up(found, number))


@ALL
def test_an_imposed_network_is_entered_as_it_is(name: str):
    index = sampler.new_index(name, 0)
    ask_and_tell(index, 25)
    found = draw(CARD, uniform(random.Random(5)))

    trial = sampler.impose(index, decisions_of(found))

    assert trial.params == found.indices
    assert index.study.trials[-1].state is TrialState.RUNNING
    assert index.asked == 26


@pytest.mark.parametrize(
    ("outcome", "name", "state", "value", "constraint"),
    [
        (Outcome(500, -0.25, True), "tpe", TrialState.COMPLETE, 500, -0.25),
        (Outcome(500, 0.25, True), "tpe", TrialState.COMPLETE, 500, 0.25),
        (Outcome(500, 2.5, False), "tpe", TrialState.PRUNED, None, 2.5),
        (Outcome(500, 2.5, False), "nsga2", TrialState.COMPLETE, 500, 2.5),
        (Outcome(500, None, True), "tpe", TrialState.FAIL, None, None),
        (Outcome(500, None, False), "nsga2", TrialState.FAIL, None, None),
    ],
)
def test_optuna_is_told_the_size_to_minimise_and_the_accuracy_as_a_constraint(
    outcome: Outcome, name: str, state: TrialState, value: int | None, constraint: float | None
):
    index = sampler.new_index(name, 0)
    trial, _ = sampler.ask(index, CARD)

    sampler.tell(index, trial, outcome)

    (told,) = index.study.trials
    assert (told.state, told.value) == (state, value)
    assert told.constraints == ({} if constraint is None else {"accuracy": constraint})


@pytest.mark.parametrize(
    ("name", "state", "value"), [("tpe", TrialState.PRUNED, None), ("nsga2", TrialState.COMPLETE, 30_000)]
)
def test_a_rejection_is_told_as_a_broken_constraint(name: str, state: TrialState, value: int | None):
    index = sampler.new_index(name, 0)
    trial, _ = sampler.ask(index, CARD)

    sampler.reject(index, trial, 30_000, 0.5)

    (told,) = index.study.trials
    assert (told.state, told.value, told.constraints) == (state, value, {"limits": 0.5})


def test_the_database_is_one_that_optuna_opens(tmp_path: Path):
    index = sampler.new_index("tpe", 0)
    ask_and_tell(index, 6)
    sampler.impose(index, decisions_of(draw(CARD, uniform(random.Random(5)))))
    path = tmp_path / "study.db"
    path.write_text("an older one")

    sampler.write_database(index, path)

    study = optuna.load_study(study_name="search", storage=f"sqlite:///{path}")
    assert [trial.params for trial in study.trials] == [trial.params for trial in index.study.trials[:6]]
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


# Each width is one of ten; 10 + 9 a + 9 ab + 9 bc + 10 c parameters.
WIDTHS = parse_space(
    "net = conv3x3(1..10) conv3x3(1..10) conv3x3(1..10) gap linear(10);",
)
NAMES = ("channels", "channels.2", "channels.3")


def member(*indices: int, violation: float = 0.5, parameters: int | None = 1_000) -> _Member:
    return _Member(dict(zip(NAMES, indices, strict=True)), violation, parameters)


def limited(within: SearchSpace, parameters: int) -> SearchSpace:
    limit = Condition(Metric.PARAMETERS, "<=", parameters)
    return replace(within, conditions=(*within.conditions, limit))


def children(members: Sequence[_Member], count: int, within: SearchSpace = WIDTHS) -> list[Draw]:
    return [_offspring(within, members, frozenset(), random.Random(seed)) for seed in range(count)]


def distance(found: Draw, parent: _Member) -> int:
    return sum(found.indices[name] != index for name, index in parent.indices.items())


@pytest.fixture
def one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evolution, "MORE_CHANGES", 0.0)


# Who is fit -------------------------------------------------------------------------------------------------


def test_what_reaches_counts_by_size_and_what_misses_by_its_shortfall():
    ranked = [
        member(0, 0, 0, violation=-0.01, parameters=900),
        member(0, 0, 0, violation=-0.30, parameters=901),
        member(0, 0, 0, violation=0.0, parameters=5_000),
        member(0, 0, 0, violation=0.01, parameters=5_000),
        member(0, 0, 0, violation=0.02, parameters=10),
        member(0, 0, 0, violation=3.0, parameters=None),
    ]

    assert sorted(reversed(ranked), key=_fitness) == ranked


# Age --------------------------------------------------------------------------------------------------------


def test_the_oldest_dies_even_when_it_is_the_best(one_change: None):
    best = member(9, 9, 9, violation=-1.0, parameters=1)
    others = [member(0, 0, 0)] * (evolution.POPULATION - 1)

    while_it_lives = children([best, *others], 40)
    after = children([best, *others, member(0, 0, 0)], 40)

    assert best not in living([best, *others, member(0, 0, 0)])
    assert any(distance(child, best) == 1 for child in while_it_lives)
    assert {distance(child, member(0, 0, 0)) for child in after} == {1}


def test_the_best_of_a_sample_is_the_parent(one_change: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evolution, "SAMPLE", 200)
    worse = [member(0, 0, 0)] * (evolution.POPULATION - 1)

    born = children([*worse, member(9, 9, 9, violation=0.4)], 20)

    # Of 200 draws with replacement one in 28,000 samples would lack it.
    assert {distance(child, member(9, 9, 9)) for child in born} == {1}


# Children ---------------------------------------------------------------------------------------------------


def test_half_of_the_children_differ_by_one_decision_and_few_by_many():
    parents = [member(4, 4, 4)] * evolution.POPULATION

    differences = [distance(child, parents[0]) for child in children(parents, 200)]

    assert 70 < differences.count(1) < 130
    assert 30 < differences.count(2) < 70
    assert set(differences) == {1, 2, 3}


@pytest.mark.parametrize("name", ["card", "tiny", "tied", "posed"])
def test_children_keep_space_and_budget_though_their_parents_do_not(name: str):
    above = Condition(Metric.PARAMETERS, ">", 2_500)
    large, rng = replace(space(name), conditions=(*space(name).conditions, above)), random.Random(0)
    members = [_Member(draw_uniform(large, rng).indices, 0.1, 3_000) for _ in range(evolution.POPULATION)]
    within = limited(space(name), 2_500)

    assert all(judge(within, child.architecture).accepted for child in children(members, 10, within))


# As a sampler -----------------------------------------------------------------------------------------------


def tell(index: Index, trial: sampler.Trial, found: Draw, violation_pct: float) -> None:
    sampler.tell(index, trial, Outcome(analyse(found.architecture, MNIST).parameters, violation_pct, True))


def population(index: Index, within: SearchSpace = WIDTHS) -> None:
    for number in range(evolution.POPULATION):
        trial, found = sampler.ask(index, within)
        tell(index, trial, found, 0.01 * number)


def test_nothing_is_learned_from_rejected_and_failed_networks():
    """Two studies are asked the same; in one the networks in between were rejected as good ones, in one forgotten."""
    first, second = (sampler.new_index("evolution", 1) for _ in range(2))
    for index in (first, second):
        population(index)
        for number in range(30):
            trial, found = sampler.ask(index, WIDTHS)
            if index is first and number % 2:
                sampler.reject(index, trial, 1, 0.0)
            elif index is first:
                sampler.tell(index, trial, Outcome(analyse(found.architecture, MNIST).parameters, None, False))
            else:
                sampler.forget(index, trial)

    assert sampler.ask(first, WIDTHS)[1] == sampler.ask(second, WIDTHS)[1]


def test_a_network_that_is_told_again_is_not_born_again():
    index = sampler.new_index("evolution", 1)
    population(index)
    before = sampler._members(index.study)
    again = tuple(Decision(name, choice, 10, ordered=True) for name, choice in before[0].indices.items())
    trial = sampler.impose(index, again)

    sampler.tell(index, trial, Outcome(before[0].cost or 0, before[0].violation_pct, True))

    assert len(index.study.trials) == evolution.POPULATION + 1
    assert sampler._members(index.study) == before


def test_networks_in_training_have_no_children_and_age_is_the_order_of_proposals():
    index = sampler.new_index("evolution", 1)
    population(index)
    flying = [sampler.ask(index, WIDTHS) for _ in range(4)]
    assert len({found.architecture.hash for _, found in flying}) == 4
    assert len(sampler._members(index.study)) == evolution.POPULATION

    for trial, found in reversed(flying):
        tell(index, trial, found, 0.5)

    youngest = sampler._members(index.study)[-4:]
    assert [one.indices for one in youngest] == [found.indices for _, found in flying]


# What it is good for ----------------------------------------------------------------------------------------


def smallest_reaching(name: str, seed: int, asks: int = 50) -> float:
    """Return the smallest network that reaches a made-up target after so many questions about the space 'tiny'.

    The made-up violation falls with the size, rises with the distance of eight decisions from a hidden optimum, and
    wavers with the network.
    """
    within, index = limited(space("tiny"), 4_000), sampler.new_index(name, seed)
    hidden = random.Random(f"hidden {seed}")
    target = draw_uniform(within, hidden)
    counted = hidden.sample(target.decisions, 8)
    known: set[str] = set()
    best = float("inf")
    while len(known) < asks:
        trial, found = sampler.ask(index, within, known)
        if found.architecture.hash in known or not judge(within, found.architecture).accepted:
            sampler.forget(index, trial)
            continue
        known.add(found.architecture.hash)
        parameters = analyse(found.architecture, MNIST).parameters
        wrong = sum(found.indices.get(each.name) != each.index for each in counted)
        wavers = random.Random(found.architecture.hash).gauss(0, 0.02)
        violation = 0.1 * (wrong - 5) + 0.2 * (1_500 / parameters - 1) + wavers
        tell(index, trial, found, violation)
        best = min(best, parameters) if violation <= 0 else best
    return best


def test_in_the_median_it_ends_with_a_smaller_network_than_drawing_does():
    evolved, drawn = ([smallest_reaching(name, seed) for seed in range(9)] for name in ("evolution", "random"))

    assert median(evolved) < 0.9 * median(drawn)
