"""Optuna samplers, and aging evolution as an Optuna sampler."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import pytest
from optuna.trial import TrialState

from harness.searching import optuna_sampler as sampler
from harness.searching.optuna_sampler import _POPULATION, SAMPLERS, SamplerStudy, Trial, _Member, _offspring
from harness.searching.samplers import seeds_of
from harness.spaces.catalog import space
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_space
from harness.spaces.space import Condition, Draw, Metric, SearchSpace, draw, draw_uniform, judge, uniform
from harness.studies.candidate import Candidate
from harness.system.errors import UsageError
from harness.training.result import Status
from tests.factories import SIZE, make_proposal, make_result

CARD = space("card")
EACH_SAMPLER = pytest.mark.parametrize("name", sorted(SAMPLERS))


def make_trained_candidate(parameters: int, violation_pct: float, status: Status = Status.COMPLETE) -> Candidate:
    """Return a candidate whose first run ended ``violation_pct`` points below a threshold of 90 per cent."""
    failed = not status.ended_without_failure
    errors = None if failed else round(SIZE * (10 + violation_pct) / 100)
    return Candidate(make_proposal(), parameters, make_result(errors=errors, status=status), threshold_pct=90.0)


def tell(study: SamplerStudy, trial: Trial, proposal: Draw, number: int, within: SearchSpace = CARD) -> None:
    """Reject more than 20,000 parameters, else tell an outcome by number: complete, pruned or diverged."""
    analysis = judge(within, proposal.architecture).analysis
    if analysis is None:
        study.forget(trial)
    elif analysis.parameters > 20_000:
        study.reject(trial, analysis.parameters, analysis.parameters / 20_000 - 1)
    else:
        kind = number % 5
        status = {3: Status.PRUNED, 4: Status.DIVERGED}.get(kind, Status.COMPLETE)
        study.tell(trial, make_trained_candidate(analysis.parameters, 0.1 * (kind - 1), status))


def ask_and_tell(study: SamplerStudy, count: int) -> list[Draw]:
    proposals = []
    for number in range(count):
        trial, proposal = study.ask(CARD)
        proposals.append(proposal)
        tell(study, trial, proposal, number)
    return proposals


def test_sampler_name_refuses_unknown_sampler():
    with pytest.raises(UsageError):
        sampler.check_sampler("tpee")


@EACH_SAMPLER
def test_restored_study_continues_with_same_proposals(name: str):
    """Restart on both sides of 10 trials (start-up of TPE) and 20 (generation of NSGA-II, population of evolution)."""
    for stop in (0, 9, 24, 39):
        original, restored = SamplerStudy(name, seeds_of(7)), SamplerStudy(name, seeds_of(7))
        for number, proposal in enumerate(ask_and_tell(original, stop)):
            # As a later session restores the trials from the log.
            tell(restored, restored.start_fixed_trial(proposal.decisions), proposal, number)
        expected = ask_and_tell(original, 3)

        assert ask_and_tell(restored, 3) == expected, f"after {stop} questions"
        assert ask_and_tell(SamplerStudy(name, seeds_of(8)), stop + 3)[stop:] != expected


@EACH_SAMPLER
def test_start_fixed_trial_enters_network_unchanged(name: str):
    study = SamplerStudy(name, seeds_of(0))
    ask_and_tell(study, 25)
    draw_result = draw(CARD, uniform(random.Random(5)))

    assert study.start_fixed_trial(draw_result.decisions).params == draw_result.indices
    assert study.study.trials[-1].state is TrialState.RUNNING


@pytest.mark.parametrize(
    ("candidate", "name", "state", "value", "constraint"),
    [
        (make_trained_candidate(500, -0.25), "tpe", TrialState.COMPLETE, 500, -0.25),
        (make_trained_candidate(500, 0.25), "tpe", TrialState.COMPLETE, 500, 0.25),
        (make_trained_candidate(500, 2.5, Status.PRUNED), "tpe", TrialState.PRUNED, None, 2.5),
        (make_trained_candidate(500, -2.5, Status.SHORTENED), "tpe", TrialState.PRUNED, None, -2.5),
        (make_trained_candidate(500, 2.5, Status.PRUNED), "nsga2", TrialState.COMPLETE, 500, 2.5),
        (make_trained_candidate(500, 0.0, Status.DIVERGED), "tpe", TrialState.FAIL, None, None),
        (make_trained_candidate(500, 0.0, Status.CRASHED), "nsga2", TrialState.FAIL, None, None),
        (Candidate(make_proposal(), 500, threshold_pct=90.0), "tpe", TrialState.FAIL, None, None),
    ],
)
def test_tell_reports_size_as_value_and_accuracy_as_constraint(
    candidate: Candidate, name: str, state: TrialState, value: int | None, constraint: float | None
):
    study = SamplerStudy(name, seeds_of(0))
    trial, _ = study.ask(CARD)

    study.tell(trial, candidate)

    (optuna_trial,) = study.study.trials
    assert (optuna_trial.state, optuna_trial.value) == (state, value)
    assert optuna_trial.constraints == ({} if constraint is None else {"accuracy": pytest.approx(constraint)})


@pytest.mark.parametrize(
    ("name", "state", "value"), [("tpe", TrialState.PRUNED, None), ("nsga2", TrialState.COMPLETE, 30_000)]
)
def test_reject_reports_violated_constraint(name: str, state: TrialState, value: int | None):
    study = SamplerStudy(name, seeds_of(0))
    trial, _ = study.ask(CARD)

    study.reject(trial, 30_000, 0.5)

    (optuna_trial,) = study.study.trials
    assert (optuna_trial.state, optuna_trial.value, optuna_trial.constraints) == (state, value, {"limits": 0.5})


# Aging evolution: widths a, b, c of 1 to 10; 10 + 9 a + 9 ab + 9 bc + 10 c parameters ----------------------------

WIDTHS = parse_space("net = conv3x3(1..10) conv3x3(1..10) conv3x3(1..10) gap linear(10);")
DECISIONS = ("channels", "channels.2", "channels.3")


def member(*indices: int, violation: float = 0.5, parameters: int | None = 1_000) -> _Member:
    return _Member(dict(zip(DECISIONS, indices, strict=True)), violation, parameters)


def children(members: Sequence[_Member], count: int, within: SearchSpace = WIDTHS) -> list[Draw]:
    return [_offspring(within, members, frozenset(), random.Random(seed)) for seed in range(count)]


def distance(child: Draw, parent: _Member) -> int:
    return sum(child.indices[name] != index for name, index in parent.indices.items())


@pytest.fixture
def one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_MORE_CHANGES", 0.0)


def test_evolution_removes_oldest_member_even_if_best(one_change: None):
    best = member(9, 9, 9, violation=-1.0, parameters=1)
    others = [member(0, 0, 0)] * (_POPULATION - 1)

    earlier_children = children([best, *others], 40)
    later_children = children([best, *others, member(0, 0, 0)], 40)

    assert any(distance(child, best) == 1 for child in earlier_children)
    assert {distance(child, member(0, 0, 0)) for child in later_children} == {1}


# From the fittest: feasible members by parameters, then infeasible members by violation.
RANKED = [
    member(9, 9, 9, violation=-0.01, parameters=900),
    member(9, 9, 9, violation=-0.30, parameters=901),
    member(9, 9, 9, violation=0.0, parameters=5_000),
    member(9, 9, 9, violation=0.01, parameters=5_000),
    member(9, 9, 9, violation=0.02, parameters=10),
    member(9, 9, 9, violation=3.0, parameters=None),
]


@pytest.mark.parametrize("rank", range(len(RANKED) - 1))
def test_evolution_selects_fittest_of_sample_as_parent(rank: int, one_change: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sampler, "_SAMPLE", 200)
    next_best = RANKED[rank + 1]._replace(indices=member(0, 0, 0).indices)

    offspring = children([*[next_best] * (_POPULATION - 1), RANKED[rank]], 10)

    # A sample of 200 draws with replacement lacks this member with a probability of 0.95 ** 200 = 1 / 28,000.
    assert {distance(child, RANKED[rank]) for child in offspring} == {1}


def test_half_of_children_differ_from_parent_by_one_decision():
    parents = [member(4, 4, 4)] * _POPULATION

    differences = [distance(child, parents[0]) for child in children(parents, 200)]

    assert 70 < differences.count(1) < 130
    assert 30 < differences.count(2) < 70
    assert set(differences) == {1, 2, 3}


@pytest.mark.parametrize("name", ["card", "tied", "posed"])
def test_children_are_feasible_with_infeasible_parents(name: str):
    above, below = (Condition(Metric.PARAMETERS, sign, 2_500) for sign in (">", "<="))
    large, within = (replace(space(name), conditions=(*space(name).conditions, each)) for each in (above, below))
    rng = random.Random(0)
    members = [_Member(draw_uniform(large, rng).indices, 0.1, 3_000) for _ in range(_POPULATION)]

    assert all(judge(within, child.architecture).accepted for child in children(members, 10, within))


def tell_violation(study: SamplerStudy, trial: Trial, proposal: Draw, violation_pct: float) -> None:
    study.tell(trial, make_trained_candidate(analyse(proposal.architecture, MNIST).parameters, violation_pct))


def full_studies(count: int = 2) -> list[SamplerStudy]:
    """Return equal studies with a full population."""
    studies = [SamplerStudy("evolution", seeds_of(1)) for _ in range(count)]
    for study in studies:
        for number in range(_POPULATION):
            trial, proposal = study.ask(WIDTHS)
            tell_violation(study, trial, proposal, 0.01 * number)
    return studies


def test_evolution_ignores_rejected_failed_and_repeated_networks():
    first, second = full_studies()
    for number in range(30):
        trial, _ = first.ask(WIDTHS)
        if number % 2:
            first.reject(trial, 1, 0.0)
        else:
            first.tell(trial, make_trained_candidate(1, 0.0, Status.DIVERGED))
        second.forget(second.ask(WIDTHS)[0])
    for study in (first, second):
        trial, proposal = study.ask(WIDTHS)
        tell_violation(study, trial, proposal, 0.0)
        trial = study.start_fixed_trial(proposal.decisions)
        if study is first:
            tell_violation(first, trial, proposal, 0.0)
        else:
            second.forget(trial)

    assert first.ask(WIDTHS)[1] == second.ask(WIDTHS)[1]


def test_running_trials_have_no_children_and_age_is_order_of_proposal():
    first, second = full_studies()
    running = [[study.ask(WIDTHS) for _ in range(4)] for study in (first, second)]
    assert len({proposal.architecture.hash for _, proposal in running[0]}) == 4

    # The outcomes arrive in opposite orders.
    for study, trials in ((first, running[0]), (second, running[1][::-1])):
        for trial, proposal in trials:
            tell_violation(study, trial, proposal, 0.5)

    assert first.ask(WIDTHS)[1] == second.ask(WIDTHS)[1]


def smallest_reaching(name: str, seed: int, asks: int = 50) -> float:
    """Return the parameters of the smallest feasible network of ``asks`` proposals in the space 'tiny'.

    The simulated violation falls with the number of parameters, rises with the number of eight decisions that differ
    from a hidden optimum, and has a noise term by network hash.
    """
    tiny, study = space("tiny"), SamplerStudy(name, seeds_of(seed))
    within = replace(tiny, conditions=(*tiny.conditions, Condition(Metric.PARAMETERS, "<=", 4_000)))
    hidden = random.Random(f"hidden {seed}")
    decisions = hidden.sample(draw_uniform(within, hidden).decisions, 8)
    hashes: set[str] = set()
    best = float("inf")
    while len(hashes) < asks:
        trial, proposal = study.ask(within, hashes)
        if proposal.architecture.hash in hashes or not judge(within, proposal.architecture).accepted:
            study.forget(trial)
            continue
        hashes.add(proposal.architecture.hash)
        parameters = analyse(proposal.architecture, MNIST).parameters
        differences = sum(proposal.indices.get(each.name) != each.index for each in decisions)
        noise = random.Random(proposal.architecture.hash).gauss(0, 0.02)
        violation = 0.1 * (differences - 5) + 0.2 * (1_500 / parameters - 1) + noise
        tell_violation(study, trial, proposal, violation)
        best = min(best, parameters) if violation <= 0 else best
    return best


@pytest.mark.nightly
def test_evolution_finds_smaller_networks_than_uniform_draws_in_median():
    evolution, baseline = ([smallest_reaching(name, seed) for seed in range(9)] for name in ("evolution", "random"))

    assert median(evolution) < 0.9 * median(baseline)


def test_networks_outside_space_are_no_trials_of_sampler():
    study = SamplerStudy("random", seeds_of(0))
    outside = study.start_fixed_trial(())
    inside, _ = study.ask(space("tiny"))

    assert study.study.trials == [trial for trial in study.study.trials if trial.params]
    study.forget(outside)
    study.forget(inside)
    assert len(study.study.trials) == 1
