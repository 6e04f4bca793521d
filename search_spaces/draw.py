"""Draws networks from a search space: the walk through its parts, and the ways to decide on it.

A draw may not fit together or break a condition; ``judge`` tells. ``draw_uniform`` rejects such draws.

    >>> from search_spaces.notation import parse_space
    >>> space = parse_space("net = conv3x3({4, 8}) bn? gap linear(10)")
    >>> print(draw(space, uniform(random.Random(1))).architecture)
    conv3x3(4) gap linear(10)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from search_spaces.cost import Analysis, analyse
from search_spaces.errors import DrawError, ShapeError
from search_spaces.network import Architecture
from search_spaces.ops import Op, Residual
from search_spaces.space import (
    Body,
    Choice,
    Either,
    Metric,
    Named,
    Options,
    ResidualNode,
    Scalar,
    SearchSpace,
    SharedOps,
    Template,
    Value,
    Variable,
)

# Whoever decides (a random generator, a sampler's trial, a record) returns the index of an option for the name of a
# decision; it is asked once a name and draw.
Chooser = Callable[[str, Options], int]


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
    """Return what a network has of a metric, which is named as the field of an analysis is."""
    return cast(int, getattr(analysis, metric))


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


def uniform(rng: random.Random) -> Chooser:
    """Decide with equal odds for every option."""
    return lambda name, options: rng.randrange(options.size)


def by_configurations(rng: random.Random) -> Chooser:
    """Decide so that every configuration of the space has equal odds: in proportion to those behind each option."""

    def chosen(name: str, options: Options) -> int:
        rest, index = rng.randrange(sum(options.weights)), 0
        while rest >= options.weights[index]:
            rest -= options.weights[index]
            index += 1
        return index

    return chosen


def draw(space: SearchSpace, chooser: Chooser) -> Draw:
    """Return the network that ``chooser`` decides on; it may not fit together."""
    walk = _Walk(chooser)
    for name, content in space.shared.items():
        if isinstance(content, Body):
            walk.shared_ops[name] = walk.laid_out(content, {}, f"{name}/")
        else:
            walk.shared_values[name] = walk.value(content, {}, f"{name}/")
    ops, bars = walk.laid_out(space.net, {}, "")
    return Draw(Architecture(tuple(ops), tuple(bars)), tuple(walk.decisions))


def draw_uniform(space: SearchSpace, rng: random.Random, budget: int | None = None, attempts: int = 10_000) -> Draw:
    """Return a network that keeps the space's conditions and the budget, every decision uniform.

    Raises:
        DrawError: none of ``attempts`` draws was accepted.
    """
    reasons: Counter[str] = Counter()
    for _ in range(attempts):
        found = draw(space, uniform(rng))
        judgement = judge(space, found.architecture, budget)
        if judgement.reason is None:
            return found
        reasons[judgement.reason] += 1
    listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    raise DrawError(
        f"none of {attempts:,} networks drawn from '{space.name}' was accepted; rejected for {listed}",
        hint="raise the budget, or loosen the space's conditions",
    )


def replay(space: SearchSpace, indices: Mapping[str, int], fallback: Chooser) -> Draw:
    """Return the network of recorded decisions; those missing or out of range fall to ``fallback``."""

    def recorded(name: str, options: Options) -> int:
        index = indices.get(name, -1)
        return index if 0 <= index < options.size else fallback(name, options)

    return draw(space, recorded)


def enumerate_draws(space: SearchSpace) -> Iterator[Draw]:
    """Yield every configuration of the space once, first options first."""
    given: list[int] = []
    while True:
        seen: list[tuple[int, int]] = []

        def odometer(name: str, options: Options, given: list[int] = given, seen: list[tuple[int, int]] = seen) -> int:
            index = given[len(seen)] if len(seen) < len(given) else 0
            seen.append((index, options.size))
            return index

        yield draw(space, odometer)
        while seen and seen[-1][0] + 1 == seen[-1][1]:
            seen.pop()
        if not seen:
            return
        given = [index for index, _ in seen]
        given[-1] += 1


_Laid = tuple[list[Op], list[int]]


@dataclass(slots=True)
class _Walk:
    """One pass through a space's parts; paths end in a slash or are empty."""

    chooser: Chooser
    decisions: list[Decision] = field(default_factory=list)
    shared_values: dict[str, Scalar] = field(default_factory=dict)
    shared_ops: dict[str, _Laid] = field(default_factory=dict)

    def laid_out(self, body: Body, values: Mapping[str, Scalar], path: str) -> _Laid:
        """Return the ops of a body by themselves, and where its bars stand."""
        found: _Laid = ([], [])
        self._visit(body, found, values, path)
        return found

    def value(self, value: Value, values: Mapping[str, Scalar], path: str) -> Scalar:
        """Return a value, drawn if it is a choice."""
        if isinstance(value, Choice):
            return value.values[self._decide(path, value.label, value.options)]
        if isinstance(value, Variable):
            return (self.shared_values if value.shared else values)[value.name]
        return value

    def _decide(self, path: str, label: str, options: Options) -> int:
        # A part that is nothing but a choice gives it its own name.
        name = path + label if label else path[:-1] or "net"
        index = self.chooser(name, options)
        self.decisions.append(Decision(name, index, options.size, options.ordered))
        return index

    def _visit(self, body: Body, into: _Laid, values: Mapping[str, Scalar], path: str) -> None:
        ops, bars = into
        for node in body.nodes:
            match node:
                case Op():
                    ops.append(node)
                case Template():
                    given = tuple(self.value(each, values, path) for each in node.fields)
                    ops.append(_made(cast(Callable[..., Op], node.op), given))
                case Named():
                    inside = f"{path}{node.label}/" if node.label else path
                    bound = {name: self.value(value, values, inside) for name, value in node.arguments}
                    self._visit(node.body, into, {**values, **bound} if bound else values, inside)
                case Either():
                    chosen = self._decide(path, node.label, node.options)
                    self._visit(node.branches[chosen], into, values, path)
                case SharedOps():
                    shared = self.shared_ops[node.name]
                    bars.extend(len(ops) + bar for bar in shared[1])
                    ops.extend(shared[0])
                case ResidualNode():
                    inner, marks = self.laid_out(node.body, values, path)
                    ops.append(Residual(tuple(inner), tuple(marks)))
                case "|":
                    bars.append(len(ops))


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
        child = replay(space, {**parent.indices, **{each.name: _other(each, rng) for each in changed}}, uniform(rng))
        if child.architecture == parent.architecture:
            continue
        judgement = judge(space, child.architecture)
        if judgement.accepted:
            return child, judgement
    noun = "one decision" if changes == 1 else f"{changes} decisions"
    raise DrawError(
        f"none of {attempts:,} changes of {noun} gave another accepted network of '{space.name}'",
        hint="raise the budget, or start from another network",
    )


def _other(decision: Decision, rng: random.Random) -> int:
    index = rng.randrange(decision.size - 1)
    return index + (index >= decision.index)
