"""Samplers of Optuna, aging evolution among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import pytest
from optuna.trial import TrialState

from harness.searching import optuna_sampler as sampler
from harness.searching.optuna_sampler import _POPULATION, SAMPLERS, SamplerStudy, Trial, _Member, _offspring
from harness.studies.candidate import Candidate
from harness.system.errors import UsageError
from harness.training.result import Status
from search_spaces.catalog import space
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_space
from search_spaces.space import Condition, Draw, Metric, SearchSpace, draw, draw_uniform, judge, uniform
from tests.factories import SIZE, make_proposal, make_result

CARD = space("card")
ALL = pytest.mark.parametrize("name", sorted(SAMPLERS))


def ended(parameters: int, violation_pct: float, status: Status = Status.COMPLETE) -> Candidate:
    """Return a network whose first run ended so far below a threshold of 90 per cent."""
    failed = status not in (Status.COMPLETE, Status.PRUNED)
    errors = None if failed else round(SIZE * (10 + violation_pct) / 100)
    return Candidate(make_proposal(), parameters, make_result(errors=errors, status=status), threshold_pct=90.0)


def tell(index: SamplerStudy, trial: Trial, found: Draw, number: int, within: SearchSpace = CARD) -> None:
    """Reject what has over 20,000 parameters; tell of others each outcome in turn: above, below, pruned, failed."""
    analysis = judge(within, found.architecture).analysis
    if analysis is None:
        index.forget(trial)
    elif analysis.parameters > 20_000:
        index.reject(trial, analysis.parameters, analysis.parameters / 20_000 - 1)
    else:
        kind = number % 5
        status = {3: Status.PRUNED, 4: Status.DIVERGED}.get(kind, Status.COMPLETE)
        index.tell(trial, ended(analysis.parameters, 0.1 * (kind - 1), status))


def ask_and_tell(index: SamplerStudy, count: int) -> list[Draw]:
    jobs = []
    for number in range(count):
        trial, found = index.ask(CARD)
        jobs.append(found)
        tell(index, trial, found, number)
    return jobs


def test_an_unknown_sampler_is_refused():
    assert sampler.sampler_name("auto") == "surrogate"
    with pytest.raises(UsageError):
        sampler.sampler_name("tpee")


@ALL
def test_the_proposals_after_a_restart_are_those_that_would_have_come(name: str):
    """40 questions: NSGA-II has 20 complete trials a generation, evolution 20 parents, TPE 10 random ones first."""
    for stop in (0, 9, 24, 39):
        live, again = SamplerStudy(name, 7), SamplerStudy(name, 7)
        for number, found in enumerate(ask_and_tell(live, stop)):
            # As a later session enters them from the log.
            tell(again, again.start_fixed_trial(found.decisions), found, number)
        onward = ask_and_tell(live, 3)

        assert again.seed_count == stop
        assert ask_and_tell(again, 3) == onward, f"after {stop} questions"
        assert ask_and_tell(SamplerStudy(name, 8), stop + 3)[stop:] != onward


@ALL
def test_an_imposed_network_is_entered_as_it_is(name: str):
    index = SamplerStudy(name, 0)
    ask_and_tell(index, 25)
    draw_result = draw(CARD, uniform(random.Random(5)))

    assert index.start_fixed_trial(draw_result.decisions).params == draw_result.indices
    assert index.study.trials[-1].state is TrialState.RUNNING
    assert index.seed_count == 26


@pytest.mark.parametrize(
    ("candidate", "name", "state", "value", "constraint"),
    [
        (ended(500, -0.25), "tpe", TrialState.COMPLETE, 500, -0.25),
        (ended(500, 0.25), "tpe", TrialState.COMPLETE, 500, 0.25),
        (ended(500, 2.5, Status.PRUNED), "tpe", TrialState.PRUNED, None, 2.5),
        (ended(500, 2.5, Status.PRUNED), "nsga2", TrialState.COMPLETE, 500, 2.5),
        (ended(500, 0.0, Status.DIVERGED), "tpe", TrialState.FAIL, None, None),
        (ended(500, 0.0, Status.CRASHED), "nsga2", TrialState.FAIL, None, None),
        (Candidate(make_proposal(), 500, threshold_pct=90.0), "tpe", TrialState.FAIL, None, None),
    ],
)
def test_optuna_is_told_the_size_to_minimise_and_the_accuracy_as_a_constraint(
    candidate: Candidate, name: str, state: TrialState, value: int | None, constraint: float | None
):
    index = SamplerStudy(name, 0)
    trial, _ = index.ask(CARD)

    index.tell(trial, candidate)

    (told,) = index.study.trials
    assert (told.state, told.value) == (state, value)
    assert told.constraints == ({} if constraint is None else {"accuracy": pytest.approx(constraint)})


@pytest.mark.parametrize(
    ("name", "state", "value"), [("tpe", TrialState.PRUNED, None), ("nsga2", TrialState.COMPLETE, 30_000)]
)
def test_a_rejection_is_told_as_a_broken_constraint(name: str, state: TrialState, value: int | None):
    index = SamplerStudy(name, 0)
    trial, _ = index.ask(CARD)

    index.reject(trial, 30_000, 0.5)

    (told,) = index.study.trials
    assert (told.state, told.value, told.constraints) == (state, value, {"limits": 0.5})


# Aging evolution. Each width is one of ten; 10 + 9 a + 9 ab + 9 bc + 10 c parameters. ---------------------------

WIDTHS = parse_space("net = conv3x3(1..10) conv3x3(1..10) conv3x3(1..10) gap linear(10);")
DECISIONS = ("channels", "channels.2", "channels.3")


def member(*indices: int, violation: float = 0.5, parameters: int | None = 1_000) -> _Member:
    return _Member(dict(zip(DECISIONS, indices, strict=True)), violation, parameters)


def children(members: Sequence[_Member], count: int, within: SearchSpace = WIDTHS) -> list[Draw]:
    return [_offspring(within, members, frozenset(), random.Random(seed)) for seed in range(count)]


def distance(found: Draw, parent: _Member) -> int:
    return sum(found.indices[name] != index for name, index in parent.indices.items())


@pytest.fixture
def one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_MORE_CHANGES", 0.0)


def test_the_oldest_dies_even_when_it_is_the_best(one_change: None):
    best = member(9, 9, 9, violation=-1.0, parameters=1)
    others = [member(0, 0, 0)] * (_POPULATION - 1)

    while_it_lives = children([best, *others], 40)
    after = children([best, *others, member(0, 0, 0)], 40)

    assert any(distance(child, best) == 1 for child in while_it_lives)
    assert {distance(child, member(0, 0, 0)) for child in after} == {1}


# From the fittest on: what reaches counts by its size, what misses by its shortfall.
RANKED = [
    member(9, 9, 9, violation=-0.01, parameters=900),
    member(9, 9, 9, violation=-0.30, parameters=901),
    member(9, 9, 9, violation=0.0, parameters=5_000),
    member(9, 9, 9, violation=0.01, parameters=5_000),
    member(9, 9, 9, violation=0.02, parameters=10),
    member(9, 9, 9, violation=3.0, parameters=None),
]


@pytest.mark.parametrize("rank", range(len(RANKED) - 1))
def test_the_fittest_of_a_sample_is_the_parent(rank: int, one_change: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampler, "_SAMPLE", 200)
    next_best = RANKED[rank + 1]._replace(indices=member(0, 0, 0).indices)

    born = children([*[next_best] * (_POPULATION - 1), RANKED[rank]], 10)

    # Of 200 draws with replacement one in 28,000 samples would lack it.
    assert {distance(child, RANKED[rank]) for child in born} == {1}


def test_half_of_the_children_differ_by_one_decision_and_few_by_many():
    parents = [member(4, 4, 4)] * _POPULATION

    differences = [distance(child, parents[0]) for child in children(parents, 200)]

    assert 70 < differences.count(1) < 130
    assert 30 < differences.count(2) < 70
    assert set(differences) == {1, 2, 3}


@pytest.mark.parametrize("name", ["card", "tied", "posed"])
def test_children_keep_space_and_budget_though_their_parents_do_not(name: str):
    above, below = (Condition(Metric.PARAMETERS, sign, 2_500) for sign in (">", "<="))
    large, within = (replace(space(name), conditions=(*space(name).conditions, each)) for each in (above, below))
    rng = random.Random(0)
    members = [_Member(draw_uniform(large, rng).indices, 0.1, 3_000) for _ in range(_POPULATION)]

    assert all(judge(within, child.architecture).accepted for child in children(members, 10, within))


def reached(index: SamplerStudy, trial: Trial, found: Draw, violation_pct: float) -> None:
    index.tell(trial, ended(analyse(found.architecture, MNIST).parameters, violation_pct))


def grown(count: int = 2) -> list[SamplerStudy]:
    """Return so many equal studies with a whole population."""
    samplers = [SamplerStudy("evolution", 1) for _ in range(count)]
    for index in samplers:
        for number in range(_POPULATION):
            trial, found = index.ask(WIDTHS)
            reached(index, trial, found, 0.01 * number)
    return samplers


def test_nothing_is_learned_from_rejected_failed_and_repeated_networks():
    first, second = grown()
    for number in range(30):
        trial, _ = first.ask(WIDTHS)
        if number % 2:
            first.reject(trial, 1, 0.0)
        else:
            first.tell(trial, ended(1, 0.0, Status.DIVERGED))
        second.forget(second.ask(WIDTHS)[0])
    for index in (first, second):
        trial, found = index.ask(WIDTHS)
        reached(index, trial, found, 0.0)
        trial = index.start_fixed_trial(found.decisions)
        if index is first:
            reached(first, trial, found, 0.0)
        else:
            second.forget(trial)

    assert first.ask(WIDTHS)[1] == second.ask(WIDTHS)[1]


def test_networks_in_training_have_no_children_and_age_is_the_order_of_proposals():
    first, second = grown()
    flying = [[index.ask(WIDTHS) for _ in range(4)] for index in (first, second)]
    assert len({found.architecture.hash for _, found in flying[0]}) == 4

    # Told in another order.
    for index, order in ((first, flying[0]), (second, flying[1][::-1])):
        for trial, found in order:
            reached(index, trial, found, 0.5)

    assert first.ask(WIDTHS)[1] == second.ask(WIDTHS)[1]


def smallest_reaching(name: str, seed: int, asks: int = 50) -> float:
    """Return the smallest network that reaches a made-up target after so many questions about the space 'tiny'.

    The made-up violation falls with the size, rises with the distance of eight decisions from a hidden optimum, and
    wavers with the network.
    """
    tiny, index = space("tiny"), SamplerStudy(name, seed)
    within = replace(tiny, conditions=(*tiny.conditions, Condition(Metric.PARAMETERS, "<=", 4_000)))
    hidden = random.Random(f"hidden {seed}")
    target = draw_uniform(within, hidden)
    counted = hidden.sample(target.decisions, 8)
    known: set[str] = set()
    best = float("inf")
    while len(known) < asks:
        trial, found = index.ask(within, known)
        if found.architecture.hash in known or not judge(within, found.architecture).accepted:
            index.forget(trial)
            continue
        known.add(found.architecture.hash)
        parameters = analyse(found.architecture, MNIST).parameters
        wrong = sum(found.indices.get(each.name) != each.index for each in counted)
        wavers = random.Random(found.architecture.hash).gauss(0, 0.02)
        violation = 0.1 * (wrong - 5) + 0.2 * (1_500 / parameters - 1) + wavers
        reached(index, trial, found, violation)
        best = min(best, parameters) if violation <= 0 else best
    return best


@pytest.mark.nightly
def test_in_the_median_it_ends_with_a_smaller_network_than_drawing_does():
    evolved, drawn = ([smallest_reaching(name, seed) for seed in range(9)] for name in ("evolution", "random"))

    assert median(evolved) < 0.9 * median(drawn)


def test_networks_outside_the_space_are_no_trials_of_the_sampler():
    index = SamplerStudy("random", 0)
    outside = index.start_fixed_trial(())
    inside, _ = index.ask(space("tiny"))

    assert index.study.trials == [trial for trial in index.study.trials if trial.params]
    index.forget(outside)
    index.forget(inside)
    assert (len(index.study.trials), index.seed_count) == (1, 2)
