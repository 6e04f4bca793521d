"""Optuna's part of a search: it proposes decisions and is told what came of them. The only file that knows Optuna.

The study lives in memory and is rebuilt from the results of a study folder; ``write_database`` leaves a copy
that Optuna's own tools can open.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as Trial

from harness.search.race import Outcome
from harness.system import files
from harness.system.errors import UsageError
from search_spaces.draw import Chooser, Decision, Draw, draw, draw_uniform, mutate, replay, uniform
from search_spaces.errors import DrawError, nearest
from search_spaces.space import Options, SearchSpace

# P and S of the paper, which has 100 and 25 for 20,000 networks; a search here trains a hundred
# (docs/lab, "aging evolution").
POPULATION = 20
SAMPLE = 5
# Each further change of a child is as likely as not, so that half of them differ by one decision.
MORE_CHANGES = 0.5
# Parents tried for one child, and mutations of each; then a network is drawn instead.
PARENTS = 10
_MUTATIONS = 20
DRAWS = 500


@dataclass(frozen=True, slots=True)
class _Member:
    """A trained network.

    Attributes:
        indices: its decisions, by name.
        violation_pct: how far its validation accuracy stays below the threshold; for one that was pruned, at its rung.
        cost: what is minimised; None where it was not trained to the end.
    """

    indices: Mapping[str, int]
    violation_pct: float
    cost: int | None


def _fitness(member: _Member) -> tuple[bool, float]:
    """Return what is lowest for the fittest: one that reaches counts by its cost, any other by its violation."""
    if member.cost is not None and member.violation_pct <= 0:
        return (False, float(member.cost))
    return (True, member.violation_pct)


def living(members: Sequence[_Member]) -> Sequence[_Member]:
    """Return the population, of all members in order of their birth: the youngest."""
    return members[-POPULATION:]


def _offspring(space: SearchSpace, members: Sequence[_Member], known: Container[str], rng: random.Random) -> Draw:
    """Return the next network to try, accepted by the space and not known, where a bounded search finds one.

    A child of the population once that is complete; else, or where no child is to be had, a uniform draw.

    Args:
        space: its conditions hold all limits, the budget too.
        members: all trained networks in order of their birth.
        known: hashes of networks that were proposed before.
    """
    if len(members) >= POPULATION:
        for _ in range(PARENTS):
            # With replacement, as in the paper.
            parent = min(rng.choices(living(members), k=SAMPLE), key=_fitness)
            changes = 1
            while rng.random() < MORE_CHANGES:
                changes += 1
            try:
                known_parent = replay(space, parent.indices, uniform(rng))
                child, _ = mutate(space, known_parent, rng, attempts=_MUTATIONS, changes=changes)
            except DrawError:
                continue
            if child.architecture.hash not in known:
                return child
    try:
        return draw_uniform(space, rng, attempts=DRAWS)
    except DrawError:
        # The coordinator rejects and counts it.
        return draw(space, uniform(rng))


optuna.logging.set_verbosity(optuna.logging.WARNING)

AUTO = "auto"
# Names of the constraints that trials carry.
ACCURACY, LIMITS = "accuracy", "limits"


@dataclass(frozen=True, slots=True)
class Question:
    """What a sampler may know besides the study.

    Attributes:
        space: its conditions hold all limits of the moment, the budget too.
        known: hashes of networks that were proposed before.
    """

    seed: int
    space: SearchSpace
    known: Container[str] = frozenset()


class _EvolutionSampler(BaseSampler):
    """Aging evolution in the language of the space, for one question of a study; see ``evolution``.

    Optuna asks its samplers by inheritance, so this is a class. It proposes whole networks: all decisions at once.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._rng = random.Random(question.seed)
        self._proposed: dict[int, Draw] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Decide on a network, and return the decisions that it has."""
        found = _offspring(self._question.space, _members(study), self._question.known, self._rng)
        self._proposed[trial.number] = found
        return {decision.name: _distribution(decision) for decision in found.decisions}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the network's decisions."""
        return dict(self._proposed.pop(trial.number).indices)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Refuse: a network has no other decisions than those that were returned."""
        raise AssertionError(f"'{param_name}' is no decision of the proposed network")


def _members(study: optuna.Study) -> list[_Member]:
    born: dict[frozenset[tuple[str, Any]], _Member] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if ACCURACY in trial.constraints:
            # A pruned trial has no value.
            cost = None if trial.value is None else int(trial.value)
            member = _Member(dict(trial.params), trial.constraints[ACCURACY], cost)
            born.setdefault(frozenset(trial.params.items()), member)
    return list(born.values())


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        # 'group' is marked experimental; without it a conditional space falls back to independent draws.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            n_startup_trials=10,
            n_ei_candidates=24,
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
        )


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=20, mutation_prob=None, crossover_prob=0.9, swapping_prob=0.5, seed=seed)


_NSGA2 = "nsga2"
# The model of the errors proposes (``choose``); Optuna keeps the study, and draws where the model is left out.
SURROGATE = "surrogate"
SAMPLERS: dict[str, Callable[[Question], BaseSampler]] = {
    "tpe": lambda question: _tpe(question.seed),
    _NSGA2: lambda question: _nsga2(question.seed),
    "evolution": _EvolutionSampler,
    "random": lambda question: RandomSampler(seed=question.seed),
    SURROGATE: lambda question: RandomSampler(seed=question.seed),
}
# What `--sampler auto` means. `harness bench run` judges it (docs/decisions.md#12): test_bench_results.py fails once
# benchmarks/results/bench-parts.json shows another sampler to be better.
DEFAULT = SURROGATE


def sampler_name(name: str) -> str:
    """Return the sampler's own name, ``auto`` resolved.

    Raises:
        UsageError: there is no sampler of that name.
    """
    if name == AUTO:
        return DEFAULT
    if name not in SAMPLERS:
        raise UsageError(
            f"unknown sampler {name!r}; known are {AUTO}, {', '.join(SAMPLERS)}", hint=nearest(name, SAMPLERS)
        )
    return name


@dataclass(slots=True)
class Index:
    """An Optuna study of one search, with the trials that are being trained."""

    study: optuna.Study
    sampler: str
    seed: int
    asked: int = 0


def _by_trial(trial: Trial) -> Chooser:
    """Let an Optuna trial decide."""

    def choose(name: str, options: Options) -> int:
        if options.ordered:
            return trial.suggest_int(name, 0, options.size - 1)
        return int(trial.suggest_categorical(name, list(range(options.size))))

    return choose


def new_index(sampler: str, seed: int) -> Index:
    """Return an empty study that minimises a cost."""
    # Each question brings a sampler of its own; this one only keeps Optuna from making one.
    study = optuna.create_study(direction="minimize", sampler=RandomSampler(seed=seed), study_name="search")
    return Index(study, sampler, seed)


def ask(index: Index, space: SearchSpace, known: Container[str] = frozenset()) -> tuple[Trial, Draw]:
    """Return the sampler's next proposal; it may be rejected. The same seed and history give the same proposal.

    Args:
        space: a sampler that can keeps to its conditions.
        known: hashes of networks that such a sampler does not propose again, where it finds others.
    """
    # A sampler that is made anew for each question needs no saved state: it goes on after a restart as before.
    index.study.sampler = SAMPLERS[index.sampler](Question(_seed(index), space, known))
    index.asked += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        trial = index.study.ask()
        return trial, draw(space, _by_trial(trial))


def impose(index: Index, decisions: tuple[Decision, ...]) -> Trial:
    """Enter a network that is not the sampler's proposal, or one of an earlier session, as a running trial."""
    distributions = {decision.name: _distribution(decision) for decision in decisions}
    index.study.enqueue_trial({decision.name: decision.index for decision in decisions})
    trial = index.study.ask(distributions)
    if index.sampler == _NSGA2:
        # It numbers the generation of a trial when it works out parameters, which nobody has asked for here.
        index.study.sampler = _nsga2(_seed(index))
        _ = trial.relative_params
    index.asked += 1
    return trial


def generator(index: Index) -> random.Random:
    """Return a generator for draws beside the sampler, fixed by the seed and the number of questions asked."""
    seed = _seed(index)
    index.asked += 1
    return random.Random(seed)


def reject(index: Index, trial: Trial, cost: int, violation: float) -> None:
    """Tell that a proposal was rejected before training; ``violation`` is what it breaks its limits by."""
    trial.set_constraint(LIMITS, violation)
    _end(index, trial, cost, complete=False)


def forget(index: Index, trial: Trial) -> None:
    """Drop a proposal without a lesson for the sampler."""
    index.study.tell(trial, state=TrialState.FAIL)


def tell(index: Index, trial: Trial, outcome: Outcome) -> None:
    """Tell what came of a proposal."""
    if outcome.violation_pct is None:
        forget(index, trial)
        return
    trial.set_constraint(ACCURACY, outcome.violation_pct)
    _end(index, trial, outcome.cost, complete=outcome.complete)


def write_database(index: Index, path: Path) -> None:
    """Leave the study as an SQLite file for Optuna's own tools; nothing here ever reads it."""
    # Made in memory: a kill leaves no folder behind, and '?' in a person's path has no meaning of a database URL.
    storage = optuna.storages.RDBStorage("sqlite://")
    optuna.create_study(storage=storage, study_name="search", direction="minimize").add_trials(
        [trial for trial in index.study.get_trials(deepcopy=False) if trial.state.is_finished()]
    )
    storage.remove_session()
    with contextlib.closing(storage.engine.raw_connection()) as connection:
        assert connection.driver_connection is not None, "it has just been opened"
        content = connection.driver_connection.serialize()
    storage.engine.dispose()
    files.write_bytes(path, content)


def _end(index: Index, trial: Trial, cost: int, *, complete: bool) -> None:
    # NSGA-II learns from complete trials only; the constraint keeps the others from being parents of choice.
    if complete or index.sampler == _NSGA2:
        index.study.tell(trial, cost)
    else:
        index.study.tell(trial, state=TrialState.PRUNED)


def _distribution(decision: Decision) -> BaseDistribution:
    if decision.ordered:
        return IntDistribution(0, decision.size - 1)
    return CategoricalDistribution(list(range(decision.size)))


def _seed(index: Index) -> int:
    return random.Random(f"{index.seed}/{index.asked}").getrandbits(31)
