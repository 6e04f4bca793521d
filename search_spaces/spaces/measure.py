"""Puts the parts of a search space together: in how many ways each can be drawn, and how large a draw gets.

A part is refused while it is put together, before its numbers grow beyond use.
"""

from __future__ import annotations

import math
from typing import assert_never

from search_spaces.errors import NotationError
from search_spaces.language.syntax import Repeat
from search_spaces.language.value_sets import whole
from search_spaces.op_specs import plain
from search_spaces.spaces.space import (
    Body,
    Choice,
    Constant,
    Either,
    Fixed,
    Mark,
    Node,
    Options,
    RepeatNode,
    ResidualNode,
    RuleRef,
    SharedOps,
    SharedPart,
    Template,
    Value,
)

MOST_NODES = 1_000
DEEPEST_NESTING = 50
MOST_REPEATS = 100
EMPTY = Body((), 1, 0, 0)


def body(nodes: tuple[Node, ...], shared: dict[str, Body], position: int) -> Body:
    """Return nodes as a body.

    Args:
        shared: the bodies of the shared parts that may be named.
        position: that of the text the nodes come from, for the error.

    Raises:
        NotationError: a draw could visit too many nodes, or nest them too deep.
    """
    most = sum(_nodes(node, shared) for node in nodes)
    check_nodes(most, position)
    height = max((_height(node, shared) for node in nodes), default=0)
    return Body(nodes, math.prod(map(_ways, nodes)), most, height)


def choice(label: str, values: tuple[int | float, ...]) -> Value:
    """Return the choice of a number, or the number when there is only one."""
    if len(values) == 1:
        return Constant(values[0])
    return Choice(label, values, Options(tuple(map(plain, values)), True, (1,) * len(values)))


def either(label: str, branches: tuple[Body, ...], texts: tuple[str, ...]) -> Either:
    """Return the choice of a body."""
    return Either(label, branches, Options(texts, False, tuple(branch.derivations for branch in branches)))


def times(label: str, body: Body, repeat: Repeat) -> RepeatNode:
    """Return the repetition of a body.

    Raises:
        NotationError: the numbers of repetitions are not whole, too large or in the wrong order.
    """
    low = whole(repeat.low, "a number of repetitions", MOST_REPEATS)
    high = whole(repeat.high, "a number of repetitions", MOST_REPEATS)
    if low > high:
        raise NotationError(f"the repetition {{{low}..{high}}} is empty", position=repeat.low.position)
    if low == high:
        return RepeatNode(label, body, low, None)
    counts = range(low, high + 1)
    weights = tuple(body.derivations**count for count in counts)
    return RepeatNode(label, body, low, Options(tuple(map(str, counts)), True, weights))


def shared_nodes(part: SharedPart) -> int:
    """Return how many nodes the draw of a shared part visits at most."""
    return part.content.max_nodes if isinstance(part.content, Body) else 1


def check_nodes(nodes: int, position: int) -> None:
    """Raise NotationError when a draw could get too large."""
    if nodes > MOST_NODES:
        raise NotationError(f"a draw of this could have more than {MOST_NODES:,} parts", position=position)


def check_depth(depth: int, position: int) -> None:
    """Raise NotationError when rules and brackets are nested deeper than a draw can follow."""
    if depth > DEEPEST_NESTING:
        raise NotationError(f"rules and brackets are nested more than {DEEPEST_NESTING} deep", position=position)


def value_ways(value: Value) -> int:
    """Return the number of values that can be drawn."""
    return len(value.values) if isinstance(value, Choice) else 1


def _ways(node: Node) -> int:
    match node:
        case Fixed() | Mark() | SharedOps():
            return 1
        case Template():
            return math.prod(value_ways(value) for _, value in node.fields)
        case ResidualNode():
            return node.body.derivations
        case Either():
            return sum(node.options.weights)
        case RepeatNode():
            return sum(node.options.weights) if node.options else node.body.derivations**node.low
        case RuleRef():
            return math.prod(value_ways(value) for _, value in node.arguments) * node.body.derivations
        case _:
            assert_never(node)


def _nodes(node: Node, shared: dict[str, Body]) -> int:
    match node:
        case Fixed() | Mark():
            return 1
        case Template():
            return 1 + sum(isinstance(value, Choice) for _, value in node.fields)
        case ResidualNode():
            return 1 + node.body.max_nodes
        case Either():
            return 1 + max(branch.max_nodes for branch in node.branches)
        case RepeatNode():
            return 1 + node.most * (1 + node.body.max_nodes)
        case RuleRef():
            return 1 + len(node.arguments) + node.body.max_nodes
        case SharedOps():
            return 1 + shared[node.name].max_nodes
        case _:
            assert_never(node)


def _height(node: Node, shared: dict[str, Body]) -> int:
    match node:
        case ResidualNode() | RepeatNode() | RuleRef():
            return 1 + node.body.height
        case Either():
            return 1 + max(branch.height for branch in node.branches)
        case SharedOps():
            return 1 + shared[node.name].height
        case _:
            return 1
