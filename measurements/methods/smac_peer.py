"""SMAC3 as a program for the bench: random forests and expected improvement, with the ask-and-tell interface.

The decisions of the search space are translated to ConfigSpace. Decisions that a network does not have are inactive.
"""

from __future__ import annotations

import logging
import random
import tempfile
from pathlib import Path

from ConfigSpace import Configuration
from door import Outcome, Problem, draws_of, serve
from smac import HyperparameterOptimizationFacade, Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory import TrialInfo, TrialValue

from harness.bench.configuration_space import configuration_space
from harness.spaces.space import Draw, replay, uniform

_FIRST = 10  # configurations of the initial design; the samplers of Optuna start with the same number
_TRIALS = 100_000  # SMAC requires a limit of the trials; the number of trials of a repeat is not known in advance


class SmacPeer:
    """Peer that runs SMAC with the default settings for hyperparameter optimisation, without constraints."""

    judges_rungs = False

    def __init__(self, problem: Problem, folder: Path) -> None:
        self.problem = problem
        self.random = random.Random(problem.seed)
        self.configurations = configuration_space(draws_of(problem.space, problem.seed), problem.seed)
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
        """Return the network of the next configuration, or None if all have been suggested."""
        try:
            trial = self.smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None
        indices = {name: int(value) for name, value in dict(trial.config).items()}
        return trial, replay(self.problem.space, indices, uniform(self.random))

    def adopt(self, proposal: Draw) -> TrialInfo:
        """Add a network as a configuration with fixed decisions."""
        return TrialInfo(Configuration(self.configurations, values=proposal.indices), seed=0)

    def tell(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Report the cost of a trial."""
        self.smac.tell(trial, TrialValue(outcome.cost), save=False)

    def stops(self, trial: TrialInfo, epoch: int, outcome: Outcome) -> bool:
        """Return False: SMAC does not prune at rungs."""
        return False


def main() -> None:
    """Serve the peer until the input ends."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        serve(lambda problem: SmacPeer(problem, Path(folder)))


if __name__ == "__main__":
    main()
