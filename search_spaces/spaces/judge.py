"""Whether a network belongs into a search: it fits together, and keeps the space's conditions and a ceiling.

No tensor is made. The smaller of the ceiling and the space's own condition on the same metric holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.architecture import Architecture
from search_spaces.cost import Analysis, analyse
from search_spaces.errors import ShapeError
from search_spaces.spaces.space import Metric, SearchSpace


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found.

    Attributes:
        analysis: None when the ops do not fit together.
        reason: ``shape`` or the metric that breaks a limit; None when the network is accepted.
        message: the reason in one line, or empty.
    """

    analysis: Analysis | None
    reason: str | None = None
    message: str = ""

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against the network."""
        return self.reason is None


def judge(
    space: SearchSpace, architecture: Architecture, ceiling: int | None = None, of: Metric = Metric.PARAMETERS
) -> Judgement:
    """Return whether ``architecture`` may be trained: has at most ``ceiling`` of a metric, and is one of the space."""
    try:
        analysis = analyse(architecture, space.task)
    except ShapeError as error:
        return Judgement(None, "shape", error.message)
    if ceiling is not None and (value := measured(analysis, of)) > ceiling:
        return Judgement(analysis, of.value, f"{of} is {value:,}, but at most {ceiling:,} are allowed")
    for condition in space.conditions:
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            message = f"{condition.metric} is {value:,}, but the space has {condition}"
            return Judgement(analysis, condition.metric.value, message)
    return Judgement(analysis)


def measured(analysis: Analysis, metric: Metric) -> int:
    """Return what a network has of a metric."""
    # A metric is named as the field of an analysis is.
    value: int = getattr(analysis, metric)
    return value
