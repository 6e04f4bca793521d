"""Optuna's part of a search: it proposes decisions and is told what came of them. The only file that knows Optuna.

The study lives in memory and is rebuilt from the log of a study.
"""

from __future__ import annotations

import inspect
import math
import random
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as Trial

from harness.studies.candidate import Candidate
from harness.system.errors import UsageError
from harness.system.user_code import called, function_of
from harness.training.result import Status
from search_spaces.errors import DrawError, nearest
from search_spaces.space import Decision, Draw, Options, SearchSpace, draw, draw_uniform, mutate, replay, uniform

optuna.logging.set_verbosity(optuna.logging.WARNING)

# P and S of the paper, which has 100 and 25 for 20,000 networks; a search here trains a hundred
# (docs/lab, "aging evolution").
_POPULATION = 20
_SAMPLE = 5
# Each further change of a child is as likely as not, so that half of them differ by one decision.
_MORE_CHANGES = 0.5
# Parents tried for one child, and mutations of each; then a network is drawn instead.
_PARENTS = 10
_MUTATIONS = 20
_DRAWS = 500
# Names of the constraints that trials carry.
_ACCURACY, _LIMITS = "accuracy", "limits"


class _Member(NamedTuple):
    """A trained network: its decisions, by how many per cent it stays below the threshold, its cost if it is whole."""

    indices: Mapping[str, int]
    violation_pct: float
    cost: int | None


def _offspring(space: SearchSpace, members: Sequence[_Member], known: Container[str], rng: random.Random) -> Draw:
    """Return the next network of aging evolution (Real et al., Regularized Evolution, 2019), in the space's language.

    It is accepted by the space and not known, where a bounded search finds one: a child of the population once that is
    complete; else, or where no child is to be had, a uniform draw.

    Args:
        space: its conditions hold all limits, the budget too.
        members: all trained networks in order of their birth; the population are the youngest.
        known: hashes of networks that were proposed before.
    """

    def fitness(member: _Member) -> tuple[bool, float]:
        # Lowest for the fittest: one that reaches counts by its cost, any other by its violation.
        if member.cost is not None and member.violation_pct <= 0:
            return (False, float(member.cost))
        return (True, member.violation_pct)

    for _ in range(_PARENTS if len(members) >= _POPULATION else 0):
        # With replacement, as in the paper.
        parent = min(rng.choices(members[-_POPULATION:], k=_SAMPLE), key=fitness)
        changes = 1
        while rng.random() < _MORE_CHANGES:
            changes += 1
        try:
            known_parent = replay(space, parent.indices, uniform(rng))
            child, _ = mutate(space, known_parent, rng, attempts=_MUTATIONS, changes=changes)
        except DrawError:
            continue
        if child.architecture.hash not in known:
            return child
    try:
        return draw_uniform(space, rng, attempts=_DRAWS)
    except DrawError:
        # The coordinator rejects and counts it.
        return draw(space, uniform(rng))


class _EvolutionSampler(BaseSampler):
    # Optuna asks its samplers by inheritance. It proposes whole networks: all decisions at once.
    def __init__(self, seed: int, space: SearchSpace, known: Container[str]) -> None:
        self._space = space
        self._known = known
        self._rng = random.Random(seed)
        self._proposed: dict[int, Draw] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        born: dict[frozenset[tuple[str, Any]], _Member] = {}
        for earlier in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if _ACCURACY in earlier.constraints:
                # A pruned trial has no value.
                cost = None if earlier.value is None else int(earlier.value)
                member = _Member(dict(earlier.params), earlier.constraints[_ACCURACY], cost)
                born.setdefault(frozenset(earlier.params.items()), member)
        proposal = _offspring(self._space, list(born.values()), self._known, self._rng)
        self._proposed[trial.number] = proposal
        return {decision.name: _distribution(decision) for decision in proposal.decisions}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(self._proposed.pop(trial.number).indices)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"'{param_name}' is no decision of the proposed network")


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(population_size=20, mutation_prob=None, crossover_prob=0.9, swapping_prob=0.5, seed=seed)


_AUTO = "auto"
_NSGA2 = "nsga2"
# The model of the errors proposes (``acquisition``); Optuna keeps the study, and draws where the model is left out.
SURROGATE = "surrogate"
# Each is made of a seed, the space with all limits of the moment, and the hashes of networks that were proposed before.
SAMPLERS: dict[str, Callable[[int, SearchSpace, Container[str]], BaseSampler]] = {
    # Without 'group' a conditional space falls back to independent draws.
    "tpe": lambda seed, space, known: TPESampler(
        n_startup_trials=10, n_ei_candidates=24, seed=seed, multivariate=True, group=True, constant_liar=True
    ),
    _NSGA2: lambda seed, space, known: _nsga2(seed),
    "evolution": _EvolutionSampler,
    "random": lambda seed, space, known: RandomSampler(seed=seed),
    SURROGATE: lambda seed, space, known: RandomSampler(seed=seed),
}
# What `--sampler auto` means. `harness bench run` judges it (docs/decisions.md#12): test_bench_results.py fails once
# benchmarks/results/bench-parts.json shows another sampler to be better.
DEFAULT = SURROGATE


def sampler_name(name: str) -> str:
    """Return the sampler's own name, ``auto`` resolved; ``module:function`` makes one of a seed."""
    if name == _AUTO:
        return DEFAULT
    if ":" in name:
        if not takes_problem(name):
            _own(name, 0)
        return name
    if name not in SAMPLERS:
        raise UsageError(
            f"unknown sampler {name!r}; known are {_AUTO}, {', '.join(SAMPLERS)}", hint=nearest(name, SAMPLERS)
        )
    return name


def takes_problem(name: str) -> bool:
    """Return whether a sampler is a method of the bench: a function of a ``problem``, where others take a seed."""
    return ":" in name and "problem" in inspect.signature(function_of(name, "--sampler")).parameters


def _own(name: str, seed: int) -> BaseSampler:
    function = function_of(name, "--sampler")
    with called(f"--sampler {name}"):
        sampler = function(seed)
        if not isinstance(sampler, BaseSampler):
            raise TypeError(f"it returned {type(sampler).__name__}, but a sampler of Optuna is wanted")
    return sampler


class Index:
    """An Optuna study of one search that minimises a cost.

    Attributes:
        asked: questions so far. A sampler is made anew for each from this number, so it needs no saved state and goes
            on after a restart as before.
    """

    def __init__(self, sampler: str, seed: int) -> None:
        """Begin with no trials."""
        self.sampler = sampler
        self.asked = 0
        self._seed = seed
        # Each question brings a sampler of its own; this one only keeps Optuna from making one.
        self.study = optuna.create_study(direction="minimize", sampler=RandomSampler(seed=seed), study_name="search")
        # Networks that are no draws from the space, those of the floor, say nothing of its decisions. BruteForceSampler
        # raises where one trial has parameters and another has none (optuna/optuna#4948).
        self._outside = optuna.create_study(sampler=RandomSampler(seed=seed), study_name="outside the space")

    def ask(self, space: SearchSpace, known: Container[str] = frozenset()) -> tuple[Trial, Draw]:
        """Return the sampler's next proposal; it may be rejected. The same seed and history give the same proposal.

        Args:
            space: a sampler that can keeps to its conditions.
            known: hashes of networks that such a sampler does not propose again, where it finds others.
        """
        with warnings.catch_warnings():
            # TPE's 'group' and constraints are marked experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            seed = self._question_seed()
            if self.sampler not in SAMPLERS:
                self.study.sampler = _own(self.sampler, seed)
                with called(f"--sampler {self.sampler}"):
                    question = self._asked(space)
                self.study.sampler = RandomSampler(seed=seed)  # nobody's code is called beside a question
                return question
            self.study.sampler = SAMPLERS[self.sampler](seed, space, known)
            return self._asked(space)

    def _asked(self, space: SearchSpace) -> tuple[Trial, Draw]:
        self.asked += 1
        trial = self.study.ask()

        def decide(name: str, options: Options) -> int:
            if options.ordered:
                return trial.suggest_int(name, 0, options.size - 1)
            return int(trial.suggest_categorical(name, list(range(options.size))))

        return trial, draw(space, decide)

    def impose(self, decisions: tuple[Decision, ...]) -> Trial:
        """Enter a network that is not the sampler's proposal, or one of an earlier session, as a running trial."""
        if not decisions:
            self.asked += 1
            return self._outside.ask()
        self.study.enqueue_trial({decision.name: decision.index for decision in decisions})
        trial = self.study.ask({decision.name: _distribution(decision) for decision in decisions})
        if self.sampler == _NSGA2:
            # It numbers the generation of a trial when it works out parameters, which nobody has asked for here.
            self.study.sampler = _nsga2(self._question_seed())
            _ = trial.relative_params
        self.asked += 1
        return trial

    def generator(self) -> random.Random:
        """Return a generator for draws beside the sampler, fixed by the seed and the number of questions asked."""
        seed = self._question_seed()
        self.asked += 1
        return random.Random(seed)

    def reject(self, trial: Trial, cost: int, violation: float) -> None:
        """Tell that a proposal was rejected before training; ``violation`` is what it breaks its limits by."""
        trial.set_constraint(_LIMITS, violation)
        self._end(trial, cost, complete=False)

    def forget(self, trial: Trial) -> None:
        """Drop a proposal without a lesson for the sampler."""
        trial.study.tell(trial, state=TrialState.FAIL)

    def tell(self, trial: Trial, candidate: Candidate) -> None:
        """Tell what came of a proposal: its cost, and how far its first run stays below the threshold."""
        first = candidate.first
        accuracy_pct = None if first is None else first.validation_accuracy_pct
        if first is None or accuracy_pct is None or first.status not in (Status.COMPLETE, Status.PRUNED):
            self.forget(trial)
        else:
            trial.set_constraint(_ACCURACY, candidate.threshold_pct - accuracy_pct)
            cost = round(math.prod(candidate.costs) ** (1 / len(candidate.costs)))
            self._end(trial, cost, complete=first.status is Status.COMPLETE)

    def _end(self, trial: Trial, cost: int, *, complete: bool) -> None:
        # NSGA-II learns from complete trials only; the constraint keeps the others from being parents of choice.
        if complete or self.sampler == _NSGA2:
            trial.study.tell(trial, cost)
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)

    def _question_seed(self) -> int:
        return random.Random(f"{self._seed}/{self.asked}").getrandbits(31)


def _distribution(decision: Decision) -> BaseDistribution:
    if decision.ordered:
        return IntDistribution(0, decision.size - 1)
    return CategoricalDistribution(list(range(decision.size)))
