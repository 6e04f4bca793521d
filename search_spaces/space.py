"""A search space with all its names resolved: what can be drawn from it, which draws are accepted, and how many.

Names of decisions are local labels; a draw joins them to paths such as ``stage.2/unit[3]/pad``, so that one name
means the same thing in every draw: ``.2`` is the second mention in its rule, ``[3]`` the third repetition, ``*`` a
number of repetitions, ``?`` whether an optional part is there. A configuration is one way through the choices of a
space: two may spell the same network, as ``<bn / bn>`` does.

    >>> from search_spaces.notation import parse_space
    >>> space = parse_space("net = conv3x3({4, 8}) bn? gap linear(10)")
    >>> print(draw(space, uniform(random.Random(1))).architecture)
    conv3x3(4) gap linear(10)
"""

from __future__ import annotations

import math
import operator
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Literal, cast

from search_spaces.errors import DrawError, ShapeError
from search_spaces.network import Analysis, Architecture, Task, analyse, map_numbers
from search_spaces.ops import Op, Residual, op_types

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
    WEIGHT_BYTES = "weight_bytes"
    RAM_BYTES = "ram_bytes"


# What it is worth to have less of, and what one of it is called.
OBJECTIVES: Mapping[Metric, str] = {
    Metric.PARAMETERS: "parameters",
    Metric.MACS: "multiply-adds",
    Metric.WEIGHT_BYTES: "bytes of weights",
    Metric.RAM_BYTES: "bytes of memory",
}


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


# So many configurations are all looked at.
MOST_EXACT = 5_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """Configurations that are rejected for the same reason.

    Attributes:
        reason: ``shape`` or the metric that breaks a limit.
        times: how many of those that were looked at.
        network: the first of them, and what is wrong with it in ``message``.
    """

    reason: str
    times: int
    network: str
    message: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many configurations are accepted: from ``low`` to ``high``, both included.

    Attributes:
        derivations: configurations, accepted or not; a key of JSON documents has this name.
        exact: every configuration was looked at, so ``low`` equals ``high``.
        looked_at: configurations looked at; when not exact, drawn with equal odds.
        accepted: those of them that were accepted.
        confidence: probability with which the interval holds the number; 1 when exact.
        median_macs: median multiply-adds of those that were accepted; None where none was.
        median_numbers: median of the numbers in all maps of one image, likewise.
        median_parameters: median of the parameters, likewise.
        rejected: why the others that were looked at are rejected, the most frequent reason first.
    """

    low: int
    high: int
    derivations: int
    exact: bool
    looked_at: int
    accepted: int
    confidence: float
    median_macs: int | None
    median_numbers: int | None
    median_parameters: int | None
    rejected: tuple[Rejection, ...]


def configurations(space: SearchSpace) -> int:
    """Return the exact number of configurations, before any condition."""
    total = space.net.configurations
    for content in space.shared.values():
        if isinstance(content, Body):
            total *= content.configurations
        elif isinstance(content, Choice):
            total *= len(content.values)
    return total


def feasible(
    space: SearchSpace,
    budget: int | None = None,
    *,
    rng: random.Random | None = None,
    samples: int = 2_000,
    most_exact: int = MOST_EXACT,
    confidence: float = 0.95,
) -> Count:
    """Return how many configurations keep the space's conditions and the budget.

    Up to ``most_exact`` configurations are all looked at. Of more, ``samples`` are drawn with equal odds, and
    the interval is that of Clopper and Pearson (Biometrika 26, 1934, page 404), which holds the true number
    with at least the stated confidence.
    """
    total = configurations(space)
    exact = total <= most_exact
    chooser = by_configurations(rng or random.Random(0))
    draws = enumerate_draws(space) if exact else (draw(space, chooser) for _ in range(samples))
    found, rejected = _judged(space, draws, budget)
    lowest = highest = accepted = len(found)
    if exact:
        samples, confidence = total, 1.0
    else:
        low, high = clopper_pearson(accepted, samples, confidence)
        # What was seen is there, whatever the interval says.
        lowest = max(math.floor(Fraction(low) * total), min(accepted, 1))
        highest = min(math.ceil(Fraction(high) * total), total - (accepted < samples))

    def median(figure: Callable[[Analysis], int]) -> int | None:
        return statistics.median_low(map(figure, found)) if found else None

    medians = median(lambda each: each.macs), median(map_numbers), median(lambda each: each.parameters)
    return Count(lowest, highest, total, exact, samples, accepted, confidence, *medians, rejected)


def smallest(space: SearchSpace) -> int | None:
    """Return the fewest parameters of any accepted network, all being looked at; None where none is accepted."""
    accepted, _ = _judged(space, enumerate_draws(space), None)
    return min((analysis.parameters for analysis in accepted), default=None)


def _judged(
    space: SearchSpace, draws: Iterable[Draw], budget: int | None
) -> tuple[list[Analysis], tuple[Rejection, ...]]:
    accepted: list[Analysis] = []
    times: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for found in draws:
        judgement = judge(space, found.architecture, budget)
        if judgement.reason is not None:
            times[judgement.reason] += 1
            first.setdefault(judgement.reason, (str(found.architecture), judgement.message))
        elif judgement.analysis is not None:
            accepted.append(judgement.analysis)
    return accepted, tuple(Rejection(reason, number, *first[reason]) for reason, number in times.most_common())


def count_text(number: int) -> str:
    """Return a count as people read it: in full up to 15 digits, else its order of magnitude."""
    digits = str(number)
    return f"{number:,}" if len(digits) <= 15 else f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def configurations_text(number: int) -> str:
    """Return a count of configurations with its noun."""
    return f"{count_text(number)} configuration{'' if number == 1 else 's'}"


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)
