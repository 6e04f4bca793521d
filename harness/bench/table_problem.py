"""A table as an optimisation problem for other libraries: minimise the parameters under a constraint on the accuracy.

A configuration maps the name of each decision of the space to the index of an option. Decisions that a network does not
have are ignored, so flat and conditional configurations are both accepted. docs/evidence/bench.md has examples.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.bench.table import Row, Table
from harness.spaces.counting import MAX_RECORDED
from harness.spaces.network import Architecture
from harness.spaces.notation import parse_space
from harness.spaces.space import DecisionOptions, draw, enumerate_draws
from harness.system import errors
from harness.system.errors import ContentError, UsageError
from harness.system.statistics import reaches
from harness.training.result import Status

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from optuna.distributions import BaseDistribution

# Errors fall with about the third root of the size, so a weight below about 3 would reward networks that miss the
# target.
_PENALTY = 5.0


class TableProblem:
    """Optimisation problem whose evaluations are rows of a table.

    Attributes:
        target_pct: Validation accuracy that a network must reach; a quarter of the networks do.
        configurations: A configuration of each network of the space, by hash; the last of several.
        options: Options of each decision, by name.
        rungs: Fidelities: the numbers of epochs, ascending, after which runs were validated.
        seeds: Seeds that all networks have.
    """

    def __init__(self, table: Table) -> None:
        facts = table.facts
        self._search_space = parse_space(facts.space, facts.space_name, table.data.task)
        is_small = self._search_space.configurations <= MAX_RECORDED
        self._draws = list(enumerate_draws(self._search_space)) if is_small else []
        self.configurations = {each.architecture.hash: each.indices for each in self._draws}
        if not self._draws or self.configurations.keys() - table.runs.keys():
            raise ContentError(
                f"the table {facts.name!r} lacks configurations of its space, or the space has over {MAX_RECORDED:,}",
                hint="use a table of all configurations, none rejected by a condition or shape, such as mnist-bench",
            )
        self.table = table
        self.target_pct = table.target_pct()
        self.options: dict[str, DecisionOptions] = {}
        for config in self.configurations.values():
            self._architecture(config)  # fills ``options``
        self.rungs = facts.rungs
        self.seeds = tuple(sorted(set.intersection(*(set(runs) for runs in table.runs.values()))))
        self._spent_seconds: dict[tuple[str, int], float] = {}

    @property
    def space(self) -> dict[str, BaseDistribution]:
        """Decisions as Optuna's distributions: an integer for ordered options, a choice for all other options."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        return {
            name: IntDistribution(0, each.size - 1) if each.ordered else CategoricalDistribution(range(each.size))
            for name, each in self.options.items()
        }

    def configuration_space(self, seed: int | None = None) -> ConfigurationSpace:
        """Return the decisions and the conditions for ConfigSpace.

        Raises:
            DeviceError: ConfigSpace is not installed.
        """
        errors.require("peers", ("ConfigSpace",), "a configuration space")
        from harness.bench.configuration_space import configuration_space

        return configuration_space(self._draws, seed)

    def evaluate(self, config: Mapping[str, Any], epochs: int | None = None, seed: int = 0) -> Row:
        """Return the recorded run of a network after some epochs.

        Args:
            config: Index of the chosen option, by name of the decision.
            epochs: An element of ``rungs``; None for the last rung.
            seed: Index of a recorded seed of the network.

        Raises:
            UsageError: A decision is missing or unknown in the space, an option does not exist, or the run was not
                recorded.
        """
        if not isinstance(config, Mapping):
            raise UsageError(f"a configuration maps decisions to indices of options, got {type(config).__name__}")
        if unknown := config.keys() - self.options.keys():
            raise UsageError(f"unknown decisions {sorted(unknown, key=str)}; known are {list(self.options)}")
        network_hash = self._architecture(config).hash
        runs = self.table.runs[network_hash]
        if seed not in list(runs):  # also for unhashable values
            raise UsageError(f"network {network_hash} was recorded with the seeds {sorted(runs)}, not with {seed!r}")
        epochs = self.rungs[-1] if epochs is None else epochs
        if epochs not in self.rungs:
            raise UsageError(f"runs were validated after {list(self.rungs)} epochs, not after {epochs!r}")
        row = runs[seed][epochs]
        run = (network_hash, seed)
        self._spent_seconds[run] = max(row.seconds, self._spent_seconds.get(run, 0.0))
        return row

    def _architecture(self, config: Mapping[str, Any]) -> Architecture:
        """Return the network of a configuration, and add the options of the decisions to ``options``."""

        def choose(name: str, options: DecisionOptions) -> int:
            self.options.setdefault(name, options)
            if name not in config:
                raise UsageError(f"the configuration lacks the decision {name!r}, an index below {options.size}")
            try:
                index = operator.index(config[name])
            except TypeError:
                index = -1
            if not 0 <= index < options.size:
                raise UsageError(f"{name!r} is {config[name]!r}, which is no index below {options.size}")
            return index

        return draw(self._search_space, choose).architecture

    @property
    def elapsed_seconds(self) -> float:
        """Simulated time: recorded seconds of all evaluations, in sequence.

        A run that is evaluated at a later rung continues, and a repeated evaluation takes no time.
        """
        return math.fsum(self._spent_seconds.values())

    def cost(self, row: Row) -> float:
        """Return a number to minimise, for libraries without constraints: log(parameters), with a penalty.

        The penalty is five times the logarithm of the errors over the allowed errors, if positive; both are increased
        by 0.01 points. A diverged run is not penalised beyond its last accuracy, but is never ``feasible``.
        """
        shortfall = math.log((100.01 - row.validation_accuracy_pct) / (100.01 - self.target_pct))
        return math.log(row.parameters) + _PENALTY * max(0.0, shortfall)

    def feasible(self, row: Row) -> bool:
        """Return whether a run reaches the target; a diverged run does not."""
        return row.status is Status.COMPLETE and reaches(row.validation_accuracy_pct, self.target_pct)

    @cached_property
    def best_known(self) -> dict[str, int]:
        """Configuration of the smallest network whose mean accuracy over all seeds reaches the target."""
        accuracies = self.table.true_accuracies_pct
        # ``sizes`` is ascending.
        return next(self.configurations[key] for key in self.table.sizes if reaches(accuracies[key], self.target_pct))
