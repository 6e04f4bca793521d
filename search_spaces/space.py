"""A search space with all its names resolved: what can be drawn, and under which conditions.

Nothing here draws (``draw``), counts (``count``) or reads text (``resolve``). Names of decisions are local
labels; a draw joins them to paths such as ``stage.2/unit[3]/pad``, so that one name means the same thing in
every draw: ``.2`` is the second mention in its rule, ``[3]`` the third repetition, ``*`` a number of
repetitions, ``?`` whether an optional part is there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from search_spaces.ops import Op
from search_spaces.task import Task

Scalar = int | float | str | None


@dataclass(frozen=True, slots=True)
class Options:
    """What a decision chooses from.

    Attributes:
        texts: each option, for people.
        ordered: the options are numbers in ascending order.
        weights: configurations that each option leads to.
    """

    texts: tuple[str, ...]
    ordered: bool
    weights: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of options, at least two."""
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is given."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values."""

    label: str
    values: tuple[Scalar, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a rule's parameter, or of a ``let``."""

    name: str
    shared: bool


Value = Constant | Choice | Variable


def value_ways(value: Value) -> int:
    """Return the number of values that can be drawn."""
    return len(value.values) if isinstance(value, Choice) else 1


@dataclass(frozen=True, slots=True)
class Fixed:
    """An op without choices."""

    op: Op


@dataclass(frozen=True, slots=True)
class Template:
    """An op some of whose fields are drawn; ``fields`` are all of them, in the order of its dataclass."""

    op: type[Op]
    fields: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class ResidualNode:
    """A residual sum around a body."""

    body: Body


@dataclass(frozen=True, slots=True)
class Mark:
    """A ``|``."""


@dataclass(frozen=True, slots=True)
class Either:
    """One of several bodies; an optional part is the choice between none and it."""

    label: str
    branches: tuple[Body, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class RepeatNode:
    """A body ``low`` times, and once more for each further option; fixed without ``options``."""

    label: str
    body: Body
    low: int
    options: Options | None

    @property
    def most(self) -> int:
        """The highest number of times."""
        return self.low + (self.options.size - 1 if self.options else 0)


@dataclass(frozen=True, slots=True)
class RuleRef:
    """A rule, with the values of its parameters. An empty label stands for the enclosing path."""

    label: str
    body: Body
    arguments: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class SharedOps:
    """The ops of a ``let``."""

    name: str


Node = Fixed | Template | ResidualNode | Mark | Either | RepeatNode | RuleRef | SharedOps


@dataclass(frozen=True, slots=True)
class Body:
    """Nodes in order of execution.

    Attributes:
        configurations: those of shared parts not included.
        max_nodes: nodes that one draw visits at most.
        height: levels of nesting.
    """

    nodes: tuple[Node, ...]
    configurations: int
    max_nodes: int
    height: int


@dataclass(frozen=True, slots=True)
class SharedPart:
    """A ``let``: drawn once, the same wherever it is named."""

    name: str
    content: Value | Body


class Metric(StrEnum):
    """What a condition can be about, and what a search can minimise (``OBJECTIVES``)."""

    PARAMETERS = "parameters"
    MACS = "macs"
    RECEPTIVE_FIELD = "receptive_field"


# What it is worth to have less of, and what one of it is called.
OBJECTIVES: Mapping[Metric, str] = {Metric.PARAMETERS: "parameters", Metric.MACS: "multiply-adds"}


def size_text(parameters: int, cost: int, minimise: Metric) -> str:
    """Return the parameters of a network for people, after its cost where something else is minimised."""
    size = f"{parameters:,} parameter{'' if parameters == 1 else 's'}"
    return size if minimise is Metric.PARAMETERS else f"{cost:,} {OBJECTIVES[minimise]}, {size}"


_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A limit that every network of the space keeps."""

    metric: Metric
    comparison: str
    bound: int

    def holds(self, value: int) -> bool:
        """Return whether ``value`` keeps the limit."""
        return _COMPARISONS[self.comparison](value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound}"


def contradictory(conditions: Iterable[Condition]) -> list[Condition]:
    """Return the conditions on a metric that no number above zero meets together; none where each metric has one."""
    stated = list(conditions)
    for metric in dict.fromkeys(each.metric for each in stated):
        together = [each for each in stated if each.metric is metric]
        # Between two neighbouring bounds nothing changes.
        numbers = {each.bound + step for each in together for step in (-1, 0, 1)}
        if not any(number > 0 and all(each.holds(number) for each in together) for number in numbers):
            return together
    return []


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Which networks can be drawn.

    Attributes:
        text: as it was written.
        hash: first 12 hex digits of the SHA-256 of its text in normal form.
        shared: the ``let`` parts that ``net`` uses, each after those it uses itself.
        conditions: those of ``where``.
        task: what its networks are for.
        unused: names that are defined and that ``net`` does not use.
    """

    name: str
    text: str
    hash: str
    net: Body
    shared: tuple[SharedPart, ...]
    conditions: tuple[Condition, ...]
    task: Task
    unused: tuple[str, ...] = ()
