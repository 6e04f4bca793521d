"""Draws networks from a search space: the walk through its parts, and the ways to decide on it.

A draw may not fit together or break a condition; ``judge`` tells. ``draw_uniform`` rejects such draws.

    >>> from search_spaces.resolve import parse_space
    >>> space = parse_space("net = conv3x3({4, 8}) bn? gap linear(10)")
    >>> print(draw(space, Uniform(random.Random(1))).architecture)
    conv3x3(4) gap linear(10)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, assert_never, cast

from search_spaces.cost import Analysis, analyse
from search_spaces.errors import DrawError, ShapeError
from search_spaces.network import Architecture
from search_spaces.ops import Op, Residual
from search_spaces.space import (
    Body,
    Choice,
    Constant,
    Either,
    Fixed,
    Mark,
    Metric,
    Node,
    Options,
    RepeatNode,
    ResidualNode,
    RuleRef,
    Scalar,
    SearchSpace,
    SharedOps,
    Template,
    Value,
    Variable,
)


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


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice that a draw made: option ``index`` of ``size``; ``ordered`` where neighbours are alike."""

    name: str
    index: int
    size: int
    ordered: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """A network and the decisions that led to it, in their order."""

    architecture: Architecture
    decisions: tuple[Decision, ...]

    @property
    def indices(self) -> dict[str, int]:
        """The index chosen at each decision, by name: what ``replay`` takes."""
        return {decision.name: decision.index for decision in self.decisions}


class _Chooser(Protocol):
    """Whoever decides: a random generator, a sampler's trial, a record."""

    def choose(self, name: str, options: Options) -> int:
        """Return the index of an option; called once a name and draw."""
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """Decides with equal odds for every option."""

    rng: random.Random

    def choose(self, name: str, options: Options) -> int:
        """Return any index."""
        return self.rng.randrange(options.size)


@dataclass(frozen=True, slots=True)
class ByConfigurations:
    """Decides so that every configuration of the space has equal odds."""

    rng: random.Random

    def choose(self, name: str, options: Options) -> int:
        """Return an index with odds in proportion to the configurations behind it."""
        rest = self.rng.randrange(sum(options.weights))
        for index, weight in enumerate(options.weights):
            rest -= weight
            if rest < 0:
                return index
        raise AssertionError("the weights sum to more than their sum")


@dataclass(frozen=True, slots=True)
class _Replay:
    """Decides as recorded, and as ``fallback`` does where nothing or nothing possible is recorded."""

    indices: Mapping[str, int]
    fallback: _Chooser

    def choose(self, name: str, options: Options) -> int:
        """Return the recorded index."""
        index = self.indices.get(name, -1)
        return index if 0 <= index < options.size else self.fallback.choose(name, options)


def draw(space: SearchSpace, chooser: _Chooser) -> Draw:
    """Return the network that ``chooser`` decides on; it may not fit together."""
    walk = _Walk(chooser)
    for part in space.shared:
        if isinstance(part.content, Body):
            walk.shared_ops[part.name] = walk.aside(part.content, {}, f"{part.name}/")
        else:
            walk.shared_values[part.name] = walk.value(part.content, {}, f"{part.name}/")
    found = walk.aside(space.net, {}, "")
    return Draw(Architecture(tuple(found.ops), tuple(found.bars)), tuple(walk.decisions))


def draw_uniform(space: SearchSpace, rng: random.Random, budget: int | None = None, attempts: int = 10_000) -> Draw:
    """Return a network that keeps the space's conditions and the budget, every decision uniform.

    Raises:
        DrawError: none of ``attempts`` draws was accepted.
    """
    reasons: Counter[str] = Counter()
    for _ in range(attempts):
        found = draw(space, Uniform(rng))
        judgement = judge(space, found.architecture, budget)
        if judgement.reason is None:
            return found
        reasons[judgement.reason] += 1
    listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    raise DrawError(
        f"none of {attempts:,} networks drawn from '{space.name}' was accepted; rejected for {listed}",
        hint="raise the budget, or loosen the space's conditions",
    )


def replay(space: SearchSpace, indices: Mapping[str, int], fallback: _Chooser) -> Draw:
    """Return the network of recorded decisions; those missing or out of range fall to ``fallback``."""
    return draw(space, _Replay(indices, fallback))


def enumerate_draws(space: SearchSpace) -> Iterator[Draw]:
    """Yield every configuration of the space once, first options first."""
    fixed: list[int] = []
    while True:
        odometer = _Odometer(fixed)
        yield draw(space, odometer)
        fixed = [index for index, _ in odometer.seen]
        while fixed and fixed[-1] + 1 == odometer.seen[len(fixed) - 1][1]:
            fixed.pop()
        if not fixed:
            return
        fixed[-1] += 1


@dataclass(slots=True)
class _Odometer:
    """Takes the first options as given and option 0 after them, and notes (index, size) of all."""

    fixed: list[int]
    seen: list[tuple[int, int]] = field(default_factory=list)

    def choose(self, name: str, options: Options) -> int:
        place = len(self.seen)
        index = self.fixed[place] if place < len(self.fixed) else 0
        self.seen.append((index, options.size))
        return index


@dataclass(slots=True)
class _Ops:
    ops: list[Op] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


_Environment = Mapping[str, Scalar]


@dataclass(slots=True)
class _Walk:
    """One pass through a space's parts; paths end in a slash or are empty."""

    chooser: _Chooser
    decisions: list[Decision] = field(default_factory=list)
    shared_values: dict[str, Scalar] = field(default_factory=dict)
    shared_ops: dict[str, _Ops] = field(default_factory=dict)

    def aside(self, body: Body, values: _Environment, path: str) -> _Ops:
        """Return the ops of a body by themselves."""
        found = _Ops()
        self._body(body, found, values, path)
        return found

    def value(self, value: Value, values: _Environment, path: str) -> Scalar:
        """Return a value, drawn if it is a choice."""
        match value:
            case Constant():
                return value.value
            case Choice():
                return value.values[self._decide(path, value.label, value.options)]
            case Variable():
                return (self.shared_values if value.shared else values)[value.name]
            case _:
                assert_never(value)

    def _decide(self, path: str, label: str, options: Options) -> int:
        # A part that is nothing but a choice gives it its own name.
        name = path + label if label else path[:-1] or "net"
        index = self.chooser.choose(name, options)
        self.decisions.append(Decision(name, index, options.size, options.ordered))
        return index

    def _body(self, body: Body, into: _Ops, values: _Environment, path: str) -> None:
        for node in body.nodes:
            self._visit(node, into, values, path)

    def _visit(self, node: Node, into: _Ops, values: _Environment, path: str) -> None:
        match node:
            case Fixed():
                into.ops.append(node.op)
            case Template():
                # Nearly all fields are constants.
                drawn = tuple(
                    each.value if isinstance(each, Constant) else self.value(each, values, path)
                    for _, each in node.fields
                )
                into.ops.append(_made(cast(Callable[..., Op], node.op), drawn))
            case RuleRef():
                path = f"{path}{node.label}/" if node.label else path
                given = {name: self.value(value, values, path) for name, value in node.arguments}
                self._body(node.body, into, given, path)
            case RepeatNode():
                count = node.low + (self._decide(path, f"{node.label}*", node.options) if node.options else 0)
                for index in range(1, count + 1):
                    self._body(node.body, into, values, f"{path}{node.label}[{index}]/")
            case Either():
                index = self._decide(path, node.label, node.options)
                self._body(node.branches[index], into, values, path)
            case Mark():
                into.bars.append(len(into.ops))
            case SharedOps():
                shared = self.shared_ops[node.name]
                into.bars.extend(len(into.ops) + bar for bar in shared.bars)
                into.ops.extend(shared.ops)
            case ResidualNode():
                inner = self.aside(node.body, values, path)
                into.ops.append(Residual(tuple(inner.ops), tuple(inner.bars)))
            case _:
                assert_never(node)


@lru_cache(maxsize=10_000)
def _made(op: Callable[..., Op], values: tuple[Scalar, ...]) -> Op:
    return op(*values)


def mutate(
    space: SearchSpace, parent: Draw, rng: random.Random, attempts: int = 1_000, changes: int = 1
) -> tuple[Draw, Judgement]:
    """Return an accepted network that differs from its parent by a few decisions and what these open anew.

    Args:
        changes: decisions that are drawn again, all of them where there are no more.

    Returns:
        the network, and its judgement by the space.

    Raises:
        DrawError: none of ``attempts`` changes gave another network that is accepted.
    """
    if not parent.decisions:
        raise DrawError(f"'{space.name}' decides nothing, so its network cannot be changed")
    for _ in range(attempts):
        changed = rng.sample(parent.decisions, min(changes, len(parent.decisions)))
        child = replay(space, {**parent.indices, **{each.name: _other(each, rng) for each in changed}}, Uniform(rng))
        if child.architecture == parent.architecture:
            continue
        judgement = judge(space, child.architecture)
        if judgement.accepted:
            return child, judgement
    raise DrawError(
        f"none of {attempts:,} changes of {'one decision' if changes == 1 else f'{changes} decisions'} gave another "
        f"accepted network of '{space.name}'",
        hint="raise the budget, or start from another network",
    )


def _other(decision: Decision, rng: random.Random) -> int:
    index = rng.randrange(decision.size - 1)
    return index + (index >= decision.index)
