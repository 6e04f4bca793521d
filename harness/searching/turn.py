"""The objective of the next proposal: a metric, or a weighted pair of metrics for a Pareto front."""

from __future__ import annotations

from dataclasses import dataclass

from harness.spaces.space import Objective
from harness.studies.candidate import combined_cost, objective_of
from harness.studies.config import StudyConfig

# Weights of the first of two metrics, in cyclic order: both equally, each alone, then two mixtures.
WEIGHTS = (0.5, 1.0, 0.0, 0.75, 0.25)


@dataclass(frozen=True, slots=True)
class Turn:
    """The objective of the next proposal, a metric or two weighted metrics, and the largest allowed value."""

    objective: Objective
    limit: int


def turn_at(config: StudyConfig, trial: int) -> Turn:
    """Return the turn of the proposal with number ``trial``; for a single metric all turns are equal."""
    objective = objective_of(config, WEIGHTS[trial % len(WEIGHTS)])
    return Turn(objective, combined_cost(config.limits, objective))
