"""SMAC3 as a program of the bench: random forests and expected improvement, by asking and telling.

The decisions of the space become a space of ConfigSpace, in which a decision that a network does not have is inactive.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace, InCondition
from ConfigSpace import UniformIntegerHyperparameter as Integer
from door import Outcome, Problem, draws_of, serve
from smac import HyperparameterOptimizationFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory import TrialInfo, TrialValue

from search_spaces.space import Decision, Draw, SearchSpace, replay, uniform

# As many as the samplers of Optuna begin with.
_FIRST = 10
# SMAC divides its trials by a number that it wants to be told; no method knows how many there will be.
_TRIALS = 100_000


def _condition(decision: Decision, decisions: Sequence[Decision], draws: Sequence[Draw]) -> tuple[str, set[int]] | None:
    """Return the latest decision, and its options, with which alone a decision occurs; None where it always does."""
    indices = [draw.indices for draw in draws]
    for parent in reversed(decisions):
        occurrences = [each for each in indices if parent.name in each]
        with_it = {each[parent.name] for each in occurrences if decision.name in each}
        without = {each[parent.name] for each in occurrences if decision.name not in each}
        occurs_elsewhere = any(decision.name in each for each in indices if parent.name not in each)
        if with_it and without and not with_it & without and not occurs_elsewhere:
            return parent.name, with_it
    return None


def configuration_space(space: SearchSpace, seed: int) -> ConfigurationSpace:
    """Return the decisions of a space, each under the condition that its draws show."""
    draws = draws_of(space, seed)
    result = ConfigurationSpace(seed=seed)
    parameters = {}
    decisions: list[Decision] = []
    for decision in {each.name: each for draw in draws for each in draw.decisions}.values():
        if decision.ordered:
            parameter = Integer(decision.name, 0, decision.size - 1)
        else:
            parameter = CategoricalHyperparameter(decision.name, list(range(decision.size)))
        parameters[decision.name] = parameter
        result.add(parameter)
        if condition := _condition(decision, decisions, draws):
            parent, options = condition
            result.add(InCondition(parameter, parameters[parent], sorted(options)))
        decisions.append(decision)
    return result


class SmacPeer:
    """SMAC with its defaults for hyperparameters; it knows no constraints."""

    judges_rungs = False

    def __init__(self, problem: Problem, folder: Path) -> None:
        self.problem = problem
        self.random = random.Random(problem.seed)
        self.configurations = configuration_space(problem.space, problem.seed)
        scenario = Scenario(
            self.configurations,
            deterministic=True,
            n_trials=_TRIALS,
            seed=problem.seed,
            output_directory=folder,
        )
        design = HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=_FIRST)
        self.smac = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, initial_design=design, logging_level=False, overwrite=True
        )

    def suggest(self) -> tuple[TrialInfo, Draw] | None:
        """Return the network of the next configuration; none where all have been suggested."""
        try:
            trial = self.smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        indices = {name: int(value) for name, value in dict(trial.config).items()}
        return trial, replay(self.problem.space, indices, uniform(self.random))

    def adopt(self, proposal: Draw) -> TrialInfo:
        """Enter a network by its decisions."""
        return TrialInfo(Configuration(self.configurations, values=proposal.indices), seed=0)

    def tell(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Tell a trial's cost."""
        self.smac.tell(trial, TrialValue(outcome.cost), save=False)

    def stops(self, trial: TrialInfo, epoch: int, outcome: Outcome) -> bool:
        """Judge no rung."""
        return False


def main() -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        serve(lambda problem: SmacPeer(problem, Path(folder)))


if __name__ == "__main__":
    main()
