"""Samplers and pruners of Optuna as programs for the bench: ``optuna_peers.py {gp,cmaes,ctpe,asha,bohb,auto}``.

``auto`` is AutoSampler of OptunaHub, from a copy of OptunaHub's registry: ``optuna_peers.py auto REGISTRY/package``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping

import optuna
from door import Outcome, Problem, draws_of, serve
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, TPESampler
from optuna.trial import TrialState

from harness.spaces.space import Decision, DecisionOptions, Draw, draw

_REDUCTION = 2  # ratio of the epochs of consecutive rungs


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    import torch

    # The bench runs one repeat per core, so more threads would compete for the cores.
    torch.set_num_threads(1)
    # The Gaussian process uses only decisions that all networks have. TPE makes the remaining decisions.
    return GPSampler(seed=seed, independent_sampler=_tpe(seed), warn_independent_sampling=False)


def _cmaes(seed: int) -> BaseSampler:
    # CMA-ES supports only numeric decisions. TPE makes the choices without an order.
    return CmaEsSampler(seed=seed, with_margin=True, independent_sampler=_tpe(seed), warn_independent_sampling=False)


def _auto(seed: int) -> BaseSampler:
    import optunahub
    import torch

    torch.set_num_threads(1)
    module = optunahub.load_local_module("samplers/auto_sampler", registry_root=sys.argv[2])
    sampler: BaseSampler = module.AutoSampler(seed=seed)
    return sampler


_SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "gp": _gp,
    "cmaes": _cmaes,
    "ctpe": _tpe,
    "asha": _tpe,
    "bohb": _tpe,
    "auto": _auto,
}
# Peers with constraints. In Optuna, CMA-ES and the pruners support only a single objective value.
_CONSTRAINED = ("gp", "ctpe", "auto")


def _pruner(name: str, problem: Problem) -> BasePruner:
    least = min(problem.rungs, default=problem.epochs)
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=least, reduction_factor=_REDUCTION)
    if name == "bohb":
        return HyperbandPruner(min_resource=least, max_resource=problem.epochs, reduction_factor=_REDUCTION)
    return NopPruner()


def _distribution(decision: Decision) -> BaseDistribution:
    if decision.ordered:
        return IntDistribution(0, decision.size - 1)
    return CategoricalDistribution(list(range(decision.size)))


class OptunaPeer:
    """Peer that runs an Optuna study in memory."""

    def __init__(self, name: str, problem: Problem) -> None:
        self.problem = problem
        self.is_constrained = name in _CONSTRAINED
        self.judges_rungs = name in ("asha", "bohb")
        # HyperbandPruner hashes the study name to assign trials to brackets, so the name must be reproducible.
        self.study = optuna.create_study(
            study_name=f"{name}-{problem.seed}",
            sampler=_SAMPLERS[name](problem.seed),
            pruner=_pruner(name, problem),
        )
        # CMA-ES needs the same decisions in each trial, including decisions that the network does not have.
        self.decisions: dict[str, BaseDistribution] = {}
        if name == "cmaes":
            draws = draws_of(problem.space, problem.seed)
            self.decisions = {each.name: _distribution(each) for draw in draws for each in draw.decisions}

    def suggest(self) -> tuple[optuna.Trial, Draw]:
        """Return a new trial and the network that the trial selects."""
        trial = self.study.ask(self.decisions)

        def choose(name: str, options: DecisionOptions) -> int:
            if options.ordered:
                return trial.suggest_int(name, 0, options.size - 1)
            return int(trial.suggest_categorical(name, list(range(options.size))))

        return trial, draw(self.problem.space, choose)

    def adopt(self, proposal: Draw) -> optuna.Trial | None:
        """Add a network as a trial with fixed decisions; None for CMA-ES, which learns only from own proposals."""
        if self.decisions:
            return None
        self.study.enqueue_trial(proposal.indices)
        return self.study.ask({decision.name: _distribution(decision) for decision in proposal.decisions})

    def tell(self, trial: optuna.Trial | None, outcome: Outcome) -> None:
        """Report the size and two constraints, or a single value if the sampler has no constraints."""
        if trial is None:
            return
        if self.is_constrained:
            trial.set_constraint("shortfall", outcome.shortfall)
            trial.set_constraint("excess", outcome.excess)
            self.study.tell(trial, outcome.objective)
        elif outcome.is_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, outcome.cost)

    def stops(self, trial: optuna.Trial, epoch: int, outcome: Outcome) -> bool:
        """Report the value at a rung, and return the decision of the pruner."""
        trial.report(outcome.cost, epoch)
        return trial.should_prune()


def main() -> None:
    """Serve the peer that the first command-line argument names."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    name = sys.argv[1]
    serve(lambda problem: OptunaPeer(name, problem))


if __name__ == "__main__":
    main()
