"""A search space with all its names resolved: what can be drawn, and under which conditions.

Nothing here draws (``draw``), counts (``count``) or reads text (``notation``). Names of decisions are local
labels; a draw joins them to paths such as ``stage.2/unit[3]/pad``, so that one name means the same thing in
every draw: ``.2`` is the second mention in its rule, ``[3]`` the third repetition, ``*`` a number of
repetitions, ``?`` whether an optional part is there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from search_spaces.ops import Op, Residual, op_types
from search_spaces.task import Task

Scalar = int | float | str | None
_Mark = Literal["|"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a decision chooses from, at least two.

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
        """Number of options."""
        return len(self.texts)


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


Value = Scalar | Choice | Variable


@dataclass(frozen=True, slots=True)
class Template:
    """An op some of whose fields are drawn; ``fields`` are all of them, in the order of its dataclass."""

    op: type[Op]
    fields: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class ResidualNode:
    """A residual sum around a body."""

    body: Body


@dataclass(frozen=True, slots=True)
class Either:
    """One of several bodies: alternatives, an optional part (none or it), a number of repetitions."""

    label: str
    branches: tuple[Body, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Named:
    """A body under a name of its own, and the parameters of its rule. An empty label stands for the enclosing path."""

    label: str
    body: Body
    arguments: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class SharedOps:
    """The ops of a ``let``."""

    name: str


# An op stands for itself.
Part = Op | _Mark | Template | ResidualNode | Either | Named | SharedOps


@dataclass(frozen=True, slots=True)
class Body:
    """Parts in order of execution.

    Attributes:
        configurations: those of shared parts not included.
        max_nodes: parts that one draw visits at most.
        height: levels of nesting.
    """

    nodes: tuple[Part, ...]
    configurations: int = 1
    max_nodes: int = 0
    height: int = 0


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
        shared: the ``let`` parts that ``net`` uses by name, each after those it uses itself: each is drawn once.
        conditions: those of ``where``.
        task: what its networks are for.
        unused: names that are defined and that ``net`` does not use.
    """

    name: str
    text: str
    hash: str
    net: Body
    shared: Mapping[str, Value | Body]
    conditions: tuple[Condition, ...]
    task: Task
    unused: tuple[str, ...] = ()

    @property
    def op_types(self) -> set[type[Op]]:
        """Of which kinds the ops of its networks are."""
        found: set[type[Op]] = set()
        waiting = [self.net, *(content for content in self.shared.values() if isinstance(content, Body))]
        while waiting:
            for part in waiting.pop().nodes:
                if isinstance(part, Op):
                    found |= op_types([part])
                elif isinstance(part, Template):
                    found.add(part.op)
                elif isinstance(part, Either):
                    waiting += part.branches
                elif isinstance(part, ResidualNode | Named):
                    found |= {Residual} if isinstance(part, ResidualNode) else set()
                    waiting.append(part.body)
        return found
