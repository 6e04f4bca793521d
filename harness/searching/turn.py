"""What the next network of a search is to have little of: one metric, or two by weights that take turns."""

from __future__ import annotations

from dataclasses import dataclass

from harness.studies.candidate import combined_cost, objective_of
from harness.studies.config import StudyConfig
from search_spaces.space import Objective

# Of the first of two metrics, in turns: both, then either alone, then what lies between.
WEIGHTS = (0.5, 1.0, 0.0, 0.75, 0.25)


@dataclass(frozen=True, slots=True)
class Turn:
    """What the next network is to have little of, and the most that it may have of it."""

    objective: Objective
    ceiling: int


def turn_of(config: StudyConfig, number: int) -> Turn:
    """Return the turn of a number; those of a search for one metric are all the same."""
    objective = objective_of(config, WEIGHTS[number % len(WEIGHTS)])
    return Turn(objective, combined_cost(config.ceilings, objective))
