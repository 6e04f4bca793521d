"""Whether a network belongs into a search: it fits together, and keeps the space's conditions and a limit.

No tensor is made. The smaller of the limit and the space's own condition on the same metric holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from search_spaces.architecture import Architecture
from search_spaces.cost import Analysis, analyse
from search_spaces.errors import ShapeError
from search_spaces.spaces.space import Metric, SearchSpace


class Reason(StrEnum):
    """Why a network is rejected."""

    SHAPE = "shape"
    PARAMETERS = "parameters"
    MACS = "macs"
    RECEPTIVE_FIELD = "receptive_field"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found.

    Attributes:
        analysis: None when the ops do not fit together.
        reason: None when the network is accepted.
        message: the reason in one line, or empty.
    """

    analysis: Analysis | None
    reason: Reason | None = None
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against the network."""
        return self.reason is None


def judge(
    space: SearchSpace, architecture: Architecture, limit: int | None = None, of: Metric = Metric.PARAMETERS
) -> Judgement:
    """Return whether ``architecture`` may be trained: has at most ``limit`` of a metric, and is one of the space."""
    try:
        analysis = analyse(architecture, space.task)
    except ShapeError as error:
        return Judgement(None, Reason.SHAPE, error.message)
    if limit is not None and (value := measured(analysis, of)) > limit:
        return Judgement(analysis, Reason(of.value), f"{of} is {value:,}, but at most {limit:,} are allowed")
    for condition in space.conditions:
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            message = f"{condition.metric} is {value:,}, but the space has {condition}"
            return Judgement(analysis, Reason(condition.metric.value), message)
    return Judgement(analysis)


def measured(analysis: Analysis, metric: Metric) -> int:
    """Return what a network has of a metric."""
    match metric:
        case Metric.PARAMETERS:
            return analysis.parameters
        case Metric.MACS:
            return analysis.macs
        case Metric.RECEPTIVE_FIELD:
            return analysis.receptive_field
        case _:
            assert_never(metric)
