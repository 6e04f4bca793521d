"""Optuna samplers as proposers of decisions; only ``samplers`` imports this module."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as Trial

from harness.spaces.space import (
    Decision,
    DecisionOptions,
    Draw,
    SearchSpace,
    draw,
    draw_uniform,
    mutate,
    replay,
    uniform,
)
from harness.spaces.space_errors import DrawError, nearest
from harness.studies.candidate import SURROGATE, Candidate
from harness.system.errors import UsageError
from harness.system.user_code import function_of, guarding_user_code
from harness.training.result import Status

# P of aging evolution (``_offspring``). Real et al. use P = 100 and S = 25 for 20,000 networks; a search trains about
# 100 (diary 51).
_POPULATION = 20
_SAMPLE = 5  # tournament size S
_MORE_CHANGES = 0.5  # probability of each further change: half of the children differ by one decision
_PARENTS = 10  # parents tried for a child before a random draw replaces the child
_MUTATIONS = 20  # attempts to mutate a parent
_DRAWS = 500  # attempts of a random draw
# Constraints of an Optuna trial, which hold at 0 and below.
_ACCURACY = "accuracy"  # threshold minus validation accuracy, percentage points; of trained networks
_LIMITS = "limits"  # violation of the limits; of rejected networks


class _Member(NamedTuple):
    """Trained network in the population of aging evolution.

    Attributes:
        indices: Option indices by name of the decision.
        violation_pct: Threshold minus validation accuracy, in percentage points.
        cost: Cost of a completed run; None for a run that ended at a rung.
    """

    indices: Mapping[str, int]
    violation_pct: float
    cost: int | None


def _offspring(space: SearchSpace, members: Sequence[_Member], hashes: Container[str], rng: random.Random) -> Draw:
    """Return the next network of aging evolution (Real et al., Regularized Evolution, 2019).

    With a full population, the network is a feasible and new child of a tournament winner. Otherwise, or without such a
    child in ``_PARENTS`` tournaments, the network is a uniform draw, feasible unless ``_DRAWS`` attempts fail.

    Args:
        space: Search space whose conditions include all limits.
        members: All trained networks in order of proposal; the last ``_POPULATION`` form the population.
    """

    def fitness(member: _Member) -> tuple[bool, float]:
        # Lower is fitter.
        if member.cost is not None and member.violation_pct <= 0:
            return (False, float(member.cost))
        return (True, member.violation_pct)

    tournaments = _PARENTS if len(members) >= _POPULATION else 0
    for _ in range(tournaments):
        # With replacement, as in the paper.
        parent = min(rng.choices(members[-_POPULATION:], k=_SAMPLE), key=fitness)
        changes = 1
        while rng.random() < _MORE_CHANGES:
            changes += 1
        try:
            parent_draw = replay(space, parent.indices, uniform(rng))
            child, _ = mutate(space, parent_draw, rng, attempts=_MUTATIONS, changes=changes)
        except DrawError:
            continue
        if child.architecture.hash not in hashes:
            return child
    try:
        return draw_uniform(space, rng, attempts=_DRAWS)
    except DrawError:
        # The proposer rejects and counts the infeasible draw.
        return draw(space, uniform(rng))


def _members_of(study: optuna.Study) -> list[_Member]:
    members: dict[frozenset[tuple[str, Any]], _Member] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        # Rejected networks have no accuracy.
        if _ACCURACY in trial.constraints:
            cost = None if trial.value is None else int(trial.value)
            member = _Member(dict(trial.params), trial.constraints[_ACCURACY], cost)
            members.setdefault(frozenset(trial.params.items()), member)
    return list(members.values())


class _EvolutionSampler(BaseSampler):
    """Optuna sampler around ``_offspring``: relative sampling proposes all decisions of a network jointly."""

    def __init__(self, seed: int, space: SearchSpace, hashes: Container[str]) -> None:
        self._space = space
        self._hashes = hashes
        self._rng = random.Random(seed)
        self._proposed: dict[int, Draw] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        proposal = _offspring(self._space, _members_of(study), self._hashes, self._rng)
        self._proposed[trial.number] = proposal
        return {decision.name: _distribution(decision) for decision in proposal.decisions}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(self._proposed.pop(trial.number).indices)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"'{param_name}' is not a decision of the proposed network")


def _tpe(seed: int, space: SearchSpace, hashes: Container[str]) -> BaseSampler:
    # Without ``group``, TPE samples each decision of a conditional space independently.
    return TPESampler(
        n_startup_trials=10, n_ei_candidates=24, seed=seed, multivariate=True, group=True, constant_liar=True
    )


def _nsga2(seed: int, space: SearchSpace | None = None, hashes: Container[str] = ()) -> BaseSampler:
    return NSGAIISampler(population_size=20, mutation_prob=None, crossover_prob=0.9, swapping_prob=0.5, seed=seed)


def _random(seed: int, space: SearchSpace, hashes: Container[str]) -> BaseSampler:
    return RandomSampler(seed=seed)


_NSGA2 = "nsga2"
# Factories of samplers, from a seed, the space with all present limits, and the hashes of networks proposed earlier;
# only evolution uses the space and the hashes.
# ``SURROGATE`` has an Optuna study only if an ablation of the bench disables the surrogate model.
SAMPLERS: dict[str, Callable[[int, SearchSpace, Container[str]], BaseSampler]] = {
    "tpe": _tpe,
    _NSGA2: _nsga2,
    "evolution": _EvolutionSampler,
    "random": _random,
    SURROGATE: _random,
}


def check_sampler(name: str) -> None:
    """Check the name of a sampler: a key of ``SAMPLERS``, or ``module:function``.

    A function takes a seed and returns an Optuna sampler, or takes a problem (``takes_problem``).

    Raises:
        UsageError: There is no sampler with this name, or the function cannot be imported.
        ContentError: The user's function fails, or returns no Optuna sampler.
    """
    if ":" not in name and name not in SAMPLERS:
        known_names = f"unknown sampler {name!r}; known are auto, {', '.join(SAMPLERS)}"
        raise UsageError(known_names, hint=nearest(name, SAMPLERS))
    if ":" in name and not takes_problem(name):
        _user_sampler(name, seed=0)


def takes_problem(name: str) -> bool:
    """Return whether a name refers to a user-defined method: a function with a parameter ``problem``."""
    return ":" in name and "problem" in inspect.signature(function_of(name, "sampler")).parameters


def _user_sampler(name: str, seed: int) -> BaseSampler:
    function = function_of(name, "sampler")
    with guarding_user_code(f"sampler {name}"):
        sampler = function(seed)
        if not isinstance(sampler, BaseSampler):
            raise TypeError(f"expected a sampler of Optuna, got {type(sampler).__name__}")
    return sampler


class SamplerStudy:
    """In-memory Optuna study of a search that minimises the cost.

    Attributes:
        seeds: ``samplers.seeds_of``; ``ask`` and ``start_fixed_trial`` use a seed each.
        study: Optuna study of the networks with decisions; parameters are option indices by decision name.
    """

    def __init__(self, sampler: str, seeds: Iterator[int]) -> None:
        self.sampler = sampler
        self._seeds = seeds
        # A placeholder, which prevents the default sampler of Optuna; each proposal sets its own.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(direction="minimize", sampler=RandomSampler(seed=0), study_name="search")
        # BruteForceSampler raises if only some trials have parameters (optuna/optuna#4948); networks such as baselines
        # have none.
        self._outside = optuna.create_study(sampler=RandomSampler(seed=0), study_name="outside the space")

    def ask(self, space: SearchSpace, hashes: Container[str] = frozenset()) -> tuple[Trial, Draw]:
        """Return the running trial and the draw that the sampler proposes, which may be infeasible.

        Deterministic by seed and history. Only some samplers take the conditions of ``space`` into account.
        """
        seed = next(self._seeds)
        with warnings.catch_warnings():
            # 'group' of TPE and constraints are marked as experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.sampler in SAMPLERS:
                self.study.sampler = SAMPLERS[self.sampler](seed, space, hashes)
                return self._new_trial(space)
            self.study.sampler = _user_sampler(self.sampler, seed)
            with guarding_user_code(f"sampler {self.sampler}"):
                answer = self._new_trial(space)
            self.study.sampler = RandomSampler(seed=seed)  # user code must run only inside ``guarding_user_code``
            return answer

    def _new_trial(self, space: SearchSpace) -> tuple[Trial, Draw]:
        trial = self.study.ask()

        def decide(name: str, options: DecisionOptions) -> int:
            if options.ordered:
                return trial.suggest_int(name, 0, options.size - 1)
            return int(trial.suggest_categorical(name, list(range(options.size))))

        return trial, draw(space, decide)

    def start_fixed_trial(self, decisions: tuple[Decision, ...]) -> Trial:
        """Return a running trial for a network that the sampler does not propose now."""
        seed = next(self._seeds)
        if not decisions:
            return self._outside.ask()
        self.study.enqueue_trial({decision.name: decision.index for decision in decisions})
        trial = self.study.ask({decision.name: _distribution(decision) for decision in decisions})
        if self.sampler == _NSGA2:
            # NSGA-II assigns the generation of a trial in relative sampling, which fixed parameters skip; reading this
            # property starts the sampling.
            self.study.sampler = _nsga2(seed)
            _ = trial.relative_params
        return trial

    def reject(self, trial: Trial, cost: int, violation: float) -> None:
        """Report a proposal as rejected before training.

        ``violation`` is the sum of the violations of the limits, each as a share of its bound.
        """
        trial.set_constraint(_LIMITS, violation)
        self._end(trial, cost, complete=False)

    def forget(self, trial: Trial) -> None:
        """Mark a trial as failed, which samplers ignore."""
        trial.study.tell(trial, state=TrialState.FAIL)

    def tell(self, trial: Trial, candidate: Candidate) -> None:
        """Report the cost of a candidate and, as a constraint, the threshold minus the accuracy of its first run.

        Failed, diverged and running candidates are marked as failed.
        """
        first = candidate.first_run
        accuracy_pct = None if first is None else first.validation_accuracy_pct
        if first is None or accuracy_pct is None or not first.status.ended_without_failure:
            self.forget(trial)
        else:
            trial.set_constraint(_ACCURACY, candidate.threshold_pct - accuracy_pct)
            self._end(trial, candidate.cost, complete=first.status is Status.COMPLETE)

    def _end(self, trial: Trial, cost: int, *, complete: bool) -> None:
        # NSGA-II uses complete trials only; the constraint keeps infeasible trials from being preferred.
        if complete or self.sampler == _NSGA2:
            trial.study.tell(trial, cost)
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)


def _distribution(decision: Decision) -> BaseDistribution:
    if decision.ordered:
        return IntDistribution(0, decision.size - 1)
    return CategoricalDistribution(list(range(decision.size)))
