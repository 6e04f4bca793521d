"""Search spaces with resolved names: drawing, mutating, judging and enumerating networks.

A *choice* in the text of a space has several options, and a *decision* is the option that a draw takes. A draw joins
the labels of choices to paths such as ``stage.2/unit[3]/pad``, the names of decisions, with the same meaning in every
draw: ``.2`` is the second mention in a rule, ``[3]`` the third repetition, ``*`` a number of repetitions and ``?`` the
presence of an optional part. A *configuration* is a complete set of decisions. Two configurations can give the same
network, for example in ``<bn / bn>``.

    >>> from harness.spaces.notation import parse_space
    >>> space = parse_space("net = conv3x3({4, 8}) bn? gap linear(10)")
    >>> print(draw(space, uniform(random.Random(1))).architecture)
    conv3x3(4) gap linear(10)
"""

from __future__ import annotations

import math
import operator
import random
import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from typing import Any, Self, TypeAlias, cast

from harness.spaces.integer_plan import WIDE_BITS
from harness.spaces.network import Analysis, Architecture, Task, analyse
from harness.spaces.ops import Op, Residual
from harness.spaces.space_errors import DrawError, ShapeError, counted

_Scalar = int | float | str | None  # number, flag, name of a tie, or no tie


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """Options of a choice, at least two.

    Attributes:
        weights: Configurations of the parts that follow from each option.
    """

    texts: tuple[str, ...]
    ordered: bool
    weights: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of options."""
        return len(self.texts)


# Index of the chosen option, from the name and the options of a decision; called once per name and draw.
Chooser = Callable[[str, DecisionOptions], int]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of a draw.

    Attributes:
        name: Path of the choice, such as ``stage.2/unit[3]/pad``.
    """

    name: str
    index: int
    size: int
    ordered: bool


_decision = lru_cache(maxsize=50_000)(Decision)  # the draws of a search consist of the same decisions


@dataclass(frozen=True, slots=True)
class Draw:
    """A network and the decisions behind the network, in order."""

    architecture: Architecture
    decisions: tuple[Decision, ...]

    @property
    def indices(self) -> dict[str, int]:
        """Index chosen at each decision, by name; the input of ``replay``."""
        return {decision.name: decision.index for decision in self.decisions}


@dataclass(frozen=True, slots=True)
class ValueChoice:
    """A number, flag or tie name to be drawn.

    Attributes:
        label: Last part of the name of the decision; empty to take the name of the part.
    """

    label: str
    values: tuple[_Scalar, ...]
    options: DecisionOptions


@dataclass(frozen=True, slots=True)
class Variable:
    """Reference to the value of a ``let`` (``is_let``) or of a parameter of a rule."""

    name: str
    is_let: bool


Value = _Scalar | ValueChoice | Variable  # of a field of an op or of an argument of a rule


class _DrawState:
    """State of a draw from a space.

    Attributes:
        let_values: Drawn values of the ``let`` statements by name; for parts, the ops and bars from ``aside``.
        bars: Indices of the ops with a preceding bar.
        path: Path of the current part, empty or with a trailing slash.
    """

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser
        self.decisions: list[Decision] = []
        self.let_values: dict[str, Any] = {}
        self.ops: list[Op] = []
        self.bars: list[int] = []
        self.arguments: Mapping[str, _Scalar] = {}
        self.path = ""

    def value(self, value: Value) -> _Scalar:
        if isinstance(value, ValueChoice):
            return value.values[self.decide(value.label, value.options)]
        if isinstance(value, Variable):
            values = self.let_values if value.is_let else self.arguments
            return cast(_Scalar, values[value.name])
        return value

    def decide(self, label: str, options: DecisionOptions) -> int:
        name = f"{self.path}{label}"
        if not label:
            # A choice without a label is the only content of a part.
            name = self.path[:-1] if self.path else "net"
        index = self.chooser(name, options)
        self.decisions.append(_decision(name, index, options.size, options.ordered))
        return index

    def aside(self, part: SpacePart) -> tuple[tuple[Op, ...], tuple[int, ...]]:
        outer = self.ops, self.bars
        self.ops = []
        self.bars = []
        part.add_to(self)
        inner = tuple(self.ops), tuple(self.bars)
        self.ops, self.bars = outer
        return inner


@dataclass(frozen=True, slots=True)
class SpacePart:
    """A node of a search space: an op, a bar, a choice of parts, or a sequence of parts.

    Attributes:
        add_to: Makes the decisions of the part and adds its ops and bars to a draw.
        configurations: Without the choices of shared parts.
        max_nodes: Most parts that a draw can visit.
    """

    add_to: Callable[[_DrawState], None]
    op_types: frozenset[type[Op]] = frozenset()
    configurations: int = 1
    max_nodes: int = 1
    height: int = 0

    @staticmethod
    def bar() -> SpacePart:
        """Return a bar, a visual separator without effect."""
        return SpacePart(lambda state: state.bars.append(len(state.ops)))

    @staticmethod
    def op(op: type[Op], fields: Sequence[Value]) -> SpacePart:
        """Return an op with values of all fields, in dataclass order; values may be choices or variables."""
        choices = [len(each.values) for each in fields if isinstance(each, ValueChoice)]
        pairs = [(each, isinstance(each, ValueChoice | Variable)) for each in fields]
        op_type = cast(Callable[..., Op], op)

        def add_to(state: _DrawState) -> None:
            # Most fields are constants, which need no call.
            values = [state.value(each) if is_open else each for each, is_open in pairs]
            state.ops.append(_op(op_type, *values))

        return SpacePart(add_to, frozenset([op]), math.prod(choices), max_nodes=1 + len(choices))

    @staticmethod
    def joined(parts: Sequence[SpacePart]) -> SpacePart:
        """Return the sequence of ``parts``, in order of execution."""

        def add_to(state: _DrawState) -> None:
            for part in parts:
                part.add_to(state)

        configurations = math.prod(each.configurations for each in parts)
        max_nodes = sum(each.max_nodes for each in parts)
        height = max((1 + each.height for each in parts), default=0)
        return SpacePart(add_to, _types(parts), configurations, max_nodes, height)

    @staticmethod
    def either(label: str, branches: Sequence[SpacePart], texts: Sequence[str], *, ordered: bool = False) -> SpacePart:
        """Return a choice of ``branches``: alternatives, presence of an optional part, or a number of repetitions."""
        options = DecisionOptions(tuple(texts), ordered, tuple(each.configurations for each in branches))
        return SpacePart(
            add_to=lambda state: branches[state.decide(label, options)].add_to(state),
            op_types=_types(branches), configurations=sum(options.weights),
            max_nodes=1 + max(each.max_nodes for each in branches), height=max(each.height for each in branches),
        )  # fmt: skip

    def residual(self) -> SpacePart:
        """Return a residual sum around this part."""

        def add_to(state: _DrawState) -> None:
            state.ops.append(Residual(*state.aside(self)))

        return replace(self, add_to=add_to, op_types=self.op_types | {Residual}, max_nodes=1 + self.max_nodes)

    def with_label(self, label: str, arguments: Mapping[str, Value] | None = None) -> SpacePart:
        """Return this part with ``label`` added to the path (unless empty).

        For a mention of a rule, ``arguments`` are the values of the parameters.
        """
        own_arguments = arguments or {}

        def add_to(state: _DrawState) -> None:
            outer_path = state.path
            outer_arguments = state.arguments
            state.path = f"{outer_path}{label}/" if label else outer_path
            if own_arguments:
                values = {name: state.value(value) for name, value in own_arguments.items()}
                state.arguments = {**outer_arguments, **values}
            self.add_to(state)
            state.path = outer_path
            state.arguments = outer_arguments

        choices = [len(each.values) for each in own_arguments.values() if isinstance(each, ValueChoice)]
        configurations = math.prod(choices) * self.configurations
        max_nodes = 1 + len(own_arguments) + self.max_nodes
        return replace(self, add_to=add_to, configurations=configurations, max_nodes=max_nodes)

    def let_mention(self, name: str) -> SpacePart:
        """Return a mention of this part, defined by ``let``; the part is drawn once, before ``net``."""

        def add_to(state: _DrawState) -> None:
            ops, bars = state.let_values[name]
            state.bars += [len(state.ops) + bar for bar in bars]
            state.ops += ops

        return replace(self, add_to=add_to, configurations=1, max_nodes=1 + self.max_nodes)

    def fixed_ops(self) -> tuple[tuple[Op, ...], tuple[int, ...]]:
        """Return the ops of a part without decisions, and the indices of the ops after a bar."""
        return _DrawState(lambda name, options: 0).aside(self)


@lru_cache(maxsize=10_000)
def _op(op_type: Callable[..., Op], *fields: _Scalar) -> Op:
    return op_type(*fields)


def _types(parts: Iterable[SpacePart]) -> frozenset[type[Op]]:
    return frozenset().union(*(part.op_types for part in parts))


class Metric(StrEnum):
    """Metric of a network; the value is the attribute of ``Analysis``.

    ``unit`` is empty if a search cannot minimise the metric.
    """

    unit: str

    def __new__(cls, field: str, unit: str = "") -> Self:
        """Return the metric for an attribute of ``Analysis``."""
        metric = str.__new__(cls, field)
        metric._value_ = field
        metric.unit = unit
        return metric

    def counted(self, value: int) -> str:
        """Return a value with the unit.

        >>> [metric.counted(1) for metric in OBJECTIVES][:4]
        ['1 parameter', '1 multiply-add', '1 byte of weights', '1 byte of memory']
        >>> [metric.counted(1) for metric in OBJECTIVES][4:7]
        ['1 microsecond', '1 Cortex-M0 instruction', '1 RV32 instruction']
        >>> Metric.LATENCY_US.counted(1_200)
        '1,200 microseconds'
        """
        return counted(value, re.sub(r"s\b", "", self.unit, count=1), self.unit)

    PARAMETERS = "parameters", "parameters"
    MACS = "macs", "multiply-adds"
    RECEPTIVE_FIELD = "receptive_field"
    WEIGHT_BYTES = "weight_bytes", "bytes of weights"
    RAM_BYTES = "ram_bytes", "bytes of memory"
    LATENCY_US = "latency_us", "microseconds"
    INSTRUCTIONS_M0 = "instructions_m0", "Cortex-M0 instructions"
    INSTRUCTIONS_RV32 = "instructions_rv32", "RV32 instructions"
    INSTRUCTIONS_M4 = "instructions_m4", "Cortex-M4 instructions"
    INSTRUCTIONS_M55 = "instructions_m55", "Cortex-M55 instructions"


# Metrics that a search can minimise, with units.
OBJECTIVES: Mapping[Metric, str] = {metric: metric.unit for metric in Metric if metric.unit}


@dataclass(frozen=True, slots=True)
class Weighted:
    """Scalarisation of two metrics: the weighted geometric mean, a^weight * b^(1 - weight).

    Minimising scalarisations with alternating weights finds a Pareto front (ParEGO: Knowles, IEEE Transactions on
    Evolutionary Computation 10, 2006).
    """

    metrics: tuple[Metric, Metric]
    weight: float

    def __str__(self) -> str:
        powers = [pair for pair in zip(self.metrics, (self.weight, 1 - self.weight), strict=True) if pair[1]]
        return " ".join(str(metric) if power == 1 else f"{metric}^{power:g}" for metric, power in powers)

    def counted(self, value: int) -> str:
        """Return a value with the powers of the metrics, such as ``20 parameters^0.5 macs^0.5``."""
        return f"{value:,} {self}"

    def of(self, costs: Sequence[int]) -> int:
        """Return the weighted geometric mean of two values, rounded; a value below 1 counts as 1."""
        first, second = costs
        return round(math.pow(max(1, first), self.weight) * math.pow(max(1, second), 1 - self.weight))


Objective: TypeAlias = Metric | Weighted


def size_text(parameters: int, costs: Sequence[int], minimised: Sequence[Metric]) -> str:
    """Return the size of a network as text, such as ``20,480 multiply-adds, 178 parameters``.

    ``minimised`` are the metrics of ``costs``.
    """
    texts = [metric.counted(cost) for cost, metric in zip(costs, minimised, strict=True) if metric != Metric.PARAMETERS]
    return ", ".join([*texts, counted(parameters, "parameter")])


_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True, slots=True)
class Condition:
    """A limit for a metric, such as ``parameters <= 5000``."""

    metric: Objective
    comparison: str
    bound: int

    def holds(self, value: int) -> bool:
        """Return whether ``value`` satisfies the condition."""
        return bool(_COMPARISONS[self.comparison](value, self.bound))

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound}"


def contradictory(conditions: Iterable[Condition]) -> list[Condition]:
    """Return the conditions of the first metric that no positive number satisfies together, else an empty list."""
    by_metric: dict[Objective, list[Condition]] = {}
    for condition in conditions:
        by_metric.setdefault(condition.metric, []).append(condition)
    for of_metric in by_metric.values():
        # The conditions do not change between two bounds.
        numbers = {each.bound + step for each in of_metric for step in (-1, 0, 1)}
        if not any(number > 0 and all(each.holds(number) for each in of_metric) for number in numbers):
            return of_metric
    return []


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A search space.

    Attributes:
        hash: First 12 hex digits of the SHA-256 of the text in normal form.
        let_values: Values of the ``let`` statements that ``net`` uses, by name, in order of dependence.
        unused_names: Statements that ``net`` does not use, for a warning.
        weight_bits: Bits of a weight, for the metrics of the integer form (``Recipe.weight_bits``).
    """

    name: str
    text: str
    hash: str
    net: SpacePart
    let_values: Mapping[str, Value | SpacePart]
    conditions: tuple[Condition, ...]
    task: Task
    unused_names: tuple[str, ...] = ()
    weight_bits: int = WIDE_BITS

    @property
    def op_types(self) -> frozenset[type[Op]]:
        """Types of the ops in the networks."""
        return self.net.op_types

    @property
    def configurations(self) -> int:
        """Exact number of configurations, ignoring all conditions."""
        parts = self.let_values.values()
        values = math.prod(len(each.values) for each in parts if isinstance(each, ValueChoice))
        return values * math.prod(each.configurations for each in (*parts, self.net) if isinstance(each, SpacePart))


@dataclass(frozen=True, slots=True)
class Feasibility:
    """Feasibility of a network.

    Attributes:
        analysis: None if the ops do not fit together.
        reason: ``shape``, ``module`` for a PyTorch module, the metric that violates a limit or condition, or ``front``
            if a scalarisation of two metrics exceeds the limit. None for an accepted network.
        message: Reason as a single line, or empty.
        depth: Number of the first violated condition of the space, counted from 1; 0 if the limit is violated or the
            network is accepted; -1 for ``shape`` and ``module``.
    """

    analysis: Analysis | None
    reason: str | None = None
    message: str = ""
    depth: int = 0
    excess: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the network is feasible."""
        return self.reason is None

    @property
    def nearness(self) -> tuple[int, int]:
        """Sort key of rejected networks, larger for a network closer to being accepted."""
        return self.depth, -self.excess


def judge(
    space: SearchSpace, architecture: Architecture, limit: int | None = None, objective: Objective = Metric.PARAMETERS
) -> Feasibility:
    """Return whether the ops fit together and the network satisfies a limit and the conditions of a space."""
    try:
        analysis = analyse(architecture, space.task, weight_bits=space.weight_bits)
    except ShapeError as error:
        return Feasibility(None, "shape", error.message, depth=-1)
    if architecture.user_module is not None:
        return Feasibility(analysis, "module", "no space draws a PyTorch module", depth=-1)
    if limit is not None and (value := measured(analysis, objective)) > limit:
        reason = "front" if isinstance(objective, Weighted) else str(objective)
        message = f"{objective} is {value:,}, but at most {limit:,} are allowed"
        return Feasibility(analysis, reason, message, excess=value - limit)
    for depth, condition in enumerate(space.conditions, 1):
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            message = f"{condition.metric} is {value:,}, but the space requires {condition}"
            return Feasibility(analysis, str(condition.metric), message, depth, abs(value - condition.bound))
    return Feasibility(analysis)


def measured(analysis: Analysis, objective: Objective) -> int:
    """Return the value of a metric or of a scalarisation of two metrics."""
    if isinstance(objective, Weighted):
        return objective.of([measured(analysis, metric) for metric in objective.metrics])
    return cast(int, getattr(analysis, objective))


def uniform(rng: random.Random) -> Chooser:
    """Return a chooser of equally probable options."""
    return lambda name, options: rng.randrange(options.size)


def by_configurations(rng: random.Random) -> Chooser:
    """Return a chooser by ``DecisionOptions.weights``: all configurations are equally likely."""

    def choose(name: str, options: DecisionOptions) -> int:
        # Exact for integers of any size, unlike ``random.choices``.
        return bisect(list(accumulate(options.weights)), rng.randrange(sum(options.weights)))

    return choose


def draw(space: SearchSpace, chooser: Chooser) -> Draw:
    """Return the network chosen by ``chooser``; the ops may not fit together."""
    state = _DrawState(chooser)
    for name, content in space.let_values.items():
        state.path = f"{name}/"
        state.let_values[name] = state.aside(content) if isinstance(content, SpacePart) else state.value(content)
    state.path = ""
    return Draw(Architecture(*state.aside(space.net)), tuple(state.decisions))


def draw_uniform(space: SearchSpace, rng: random.Random, budget: int | None = None, attempts: int = 10_000) -> Draw:
    """Return a feasible network with at most ``budget`` parameters; None is no limit.

    Each decision is uniform; draws are repeated until a network is feasible.

    Raises:
        DrawError: None of ``attempts`` draws was accepted.
    """
    reasons: Counter[str] = Counter()
    for _ in range(attempts):
        proposal = draw(space, uniform(rng))
        feasibility = judge(space, proposal.architecture, budget)
        if feasibility.reason is None:
            return proposal
        reasons[feasibility.reason] += 1
    reason_text = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    raise DrawError(
        f"none of {attempts:,} networks drawn from '{space.name}' was accepted; rejected for {reason_text}",
        hint="raise the budget or relax the conditions of the space",
    )


def replay(space: SearchSpace, indices: Mapping[str, int], fallback: Chooser) -> Draw:
    """Return the network of recorded decisions; ``fallback`` makes decisions that are missing or out of range."""

    def recorded(name: str, options: DecisionOptions) -> int:
        index = indices.get(name, -1)
        return index if 0 <= index < options.size else fallback(name, options)

    return draw(space, recorded)


def enumerate_draws(space: SearchSpace) -> Iterator[Draw]:
    """Yield every configuration once, in lexicographic order of the option indices."""
    first_indices: dict[str, int] = {}  # of the next draw, by name; later decisions take option 0
    while True:
        proposal = replay(space, first_indices, lambda name, options: 0)
        yield proposal
        # As an odometer: increase the last decision that has a further option.
        decisions = list(proposal.decisions)
        while decisions and decisions[-1].index + 1 == decisions[-1].size:
            decisions.pop()
        if not decisions:
            return
        first_indices = {decision.name: decision.index for decision in decisions}
        first_indices[decisions[-1].name] += 1


def mutate(
    space: SearchSpace, parent: Draw, rng: random.Random, attempts: int = 1_000, changes: int = 1
) -> tuple[Draw, Feasibility]:
    """Return an accepted network that differs from ``parent`` by ``changes`` decisions and new decisions below these.

    No limit is applied.

    Raises:
        DrawError: None of ``attempts`` mutations gave a different, accepted network.
    """
    if not parent.decisions:
        raise DrawError(f"space '{space.name}' has no choices, so the network cannot be mutated")
    for _ in range(attempts):
        indices = parent.indices
        for decision in rng.sample(parent.decisions, min(changes, len(parent.decisions))):
            new_index = rng.randrange(decision.size - 1)
            indices[decision.name] = new_index if new_index < decision.index else new_index + 1
        child = replay(space, indices, uniform(rng))
        if child.architecture == parent.architecture:
            continue
        feasibility = judge(space, child.architecture)
        if feasibility.accepted:
            return child, feasibility
    raise DrawError(
        f"none of {attempts:,} mutations of {counted(changes, 'decision')} gave a new accepted network of "
        f"'{space.name}'",
        hint="relax the conditions of the space or start from a different network",
    )
