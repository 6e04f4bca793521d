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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any, Self, TypeAlias, cast

from search_spaces.errors import DrawError, ShapeError
from search_spaces.network import Analysis, Architecture, Task, analyse
from search_spaces.ops import Op, Residual

_Scalar = int | float | str | None


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


# Whoever decides (a random generator, a sampler's trial, a record) returns the index of an option for the name of a
# decision; it is asked once a name and draw.
Chooser = Callable[[str, Options], int]


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


@dataclass(frozen=True, slots=True)
class Choice:
    """A number, flag or name that is drawn."""

    label: str
    values: tuple[_Scalar, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a rule's parameter, or of a ``let``."""

    name: str
    shared: bool


# What a field of an op, or an argument of a rule, is given.
Value = _Scalar | Choice | Variable


class _Walk:
    """One draw from a space, and where it stands; ``path`` ends in a slash or is empty."""

    def __init__(self, chooser: Chooser) -> None:
        self.chooser = chooser
        self.decisions: list[Decision] = []
        self.shared: dict[str, Any] = {}
        self.ops: list[Op] = []
        self.bars: list[int] = []
        self.values: Mapping[str, _Scalar] = {}
        self.path = ""

    def value(self, value: Value) -> _Scalar:
        if isinstance(value, Choice):
            return value.values[self.decide(value.label, value.options)]
        if isinstance(value, Variable):
            return cast(_Scalar, (self.shared if value.shared else self.values)[value.name])
        return value

    def decide(self, label: str, options: Options) -> int:
        # A choice without a label, which is all that its part holds, has the name of the part.
        name = self.path + label if label else self.path[:-1] or "net"
        index = self.chooser(name, options)
        self.decisions.append(Decision(name, index, options.size, options.ordered))
        return index

    def aside(self, part: Part) -> tuple[tuple[Op, ...], tuple[int, ...]]:
        """Return the ops of a part by themselves, and the indices of those that bars stand before."""
        outer = self.ops, self.bars
        self.ops = []
        self.bars = []
        part.lay(self)
        inner = tuple(self.ops), tuple(self.bars)
        self.ops, self.bars = outer
        return inner


@dataclass(frozen=True, slots=True)
class Part:
    """What stands at one place of a space: an op, a bar, a choice of parts, or several parts in order.

    Attributes:
        lay: adds its ops and bars to a draw.
        op_types: of which kinds its ops are.
        configurations: ways through its choices, those of shared parts not included.
        max_nodes: parts that one draw visits at most.
        height: levels of nesting.
    """

    lay: Callable[[_Walk], None]
    op_types: frozenset[type[Op]] = frozenset()
    configurations: int = 1
    max_nodes: int = 1
    height: int = 0

    @staticmethod
    def bar() -> Part:
        """Return a mark for the eye."""
        return Part(lambda walk: walk.bars.append(len(walk.ops)))

    @staticmethod
    def op(op: type[Op], fields: Sequence[Value]) -> Part:
        """Return an op with all its fields, in the order of its dataclass; some of them may be drawn."""
        choices = [len(each.values) for each in fields if isinstance(each, Choice)]
        constructor = lru_cache(maxsize=10_000)(cast(Callable[..., Op], op))
        return Part(
            lambda walk: walk.ops.append(constructor(*map(walk.value, fields))),
            frozenset([op]), math.prod(choices), 1 + len(choices),
        )  # fmt: skip

    @staticmethod
    def joined(parts: Sequence[Part]) -> Part:
        """Return parts in order of execution as one."""

        def lay(walk: _Walk) -> None:
            for part in parts:
                part.lay(walk)

        ways = math.prod(each.configurations for each in parts)
        most = sum(each.max_nodes for each in parts)
        return Part(lay, _types(parts), ways, most, max((1 + each.height for each in parts), default=0))

    @staticmethod
    def either(label: str, branches: Sequence[Part], texts: Sequence[str], *, ordered: bool = False) -> Part:
        """Return one of several parts: alternatives, an optional one (none or it), a number of repetitions."""
        options = Options(tuple(texts), ordered, tuple(each.configurations for each in branches))
        most = max(each.max_nodes for each in branches)
        height = max(each.height for each in branches)
        return Part(
            lambda walk: branches[walk.decide(label, options)].lay(walk),
            _types(branches), sum(options.weights), 1 + most, height,
        )  # fmt: skip

    def residual(self) -> Part:
        """Return a residual sum around this part."""
        return Part(
            lambda walk: walk.ops.append(Residual(*walk.aside(self))),
            self.op_types | {Residual}, self.configurations, 1 + self.max_nodes, self.height,
        )  # fmt: skip

    def named(self, label: str, arguments: Mapping[str, Value] | None = None) -> Part:
        """Return this part under a name, or under that around it if it is empty, with a rule's arguments."""
        parameters = arguments or {}

        def lay(walk: _Walk) -> None:
            path = walk.path
            values = walk.values
            walk.path = f"{path}{label}/" if label else path
            walk.values = {**values, **{name: walk.value(value) for name, value in parameters.items()}}
            self.lay(walk)
            walk.path = path
            walk.values = values

        ways = math.prod(len(each.values) for each in parameters.values() if isinstance(each, Choice))
        return Part(lay, self.op_types, ways * self.configurations, 1 + len(parameters) + self.max_nodes, self.height)

    def shared(self, name: str) -> Part:
        """Return this part, that of a ``let``, where it is mentioned; it is drawn once, before all others."""

        def lay(walk: _Walk) -> None:
            ops, bars = walk.shared[name]
            walk.bars += [len(walk.ops) + bar for bar in bars]
            walk.ops += ops

        return Part(lay, self.op_types, 1, 1 + self.max_nodes, self.height)

    def fixed(self) -> tuple[tuple[Op, ...], tuple[int, ...]]:
        """Return the ops of a part that decides nothing, and the indices of those that bars stand before."""
        return _Walk(lambda name, options: 0).aside(self)


def _types(parts: Iterable[Part]) -> frozenset[type[Op]]:
    return frozenset().union(*(part.op_types for part in parts))


class Metric(StrEnum):
    """What a condition can be about: each is called as the field of `Analysis` that it measures.

    Attributes:
        unit: what one of it is called; empty where a search cannot minimise it.
    """

    unit: str

    def __new__(cls, field: str, unit: str = "") -> Self:
        """Return the metric of a field."""
        metric = str.__new__(cls, field)
        metric._value_ = field
        metric.unit = unit
        return metric

    PARAMETERS = "parameters", "parameters"
    MACS = "macs", "multiply-adds"
    RECEPTIVE_FIELD = "receptive_field"
    WEIGHT_BYTES = "weight_bytes", "bytes of weights"
    RAM_BYTES = "ram_bytes", "bytes of memory"
    LATENCY_US = "latency_us", "microseconds"


# What a search can minimise, and what one of it is called.
OBJECTIVES: Mapping[Metric, str] = {metric: metric.unit for metric in Metric if metric.unit}


@dataclass(frozen=True, slots=True)
class Weighted:
    """Two metrics as one number: their geometric mean with a weight of the first, as networks differ by factors.

    One such number after the other, with weights that take turns, finds a Pareto front by the means of a search for one
    metric (ParEGO: Knowles, IEEE Transactions on Evolutionary Computation 10, 2006).
    """

    metrics: tuple[Metric, Metric]
    weight: float

    def __str__(self) -> str:
        powers = zip(self.metrics, (self.weight, 1 - self.weight), strict=True)
        return " ".join(str(metric) if power == 1 else f"{metric}^{power:g}" for metric, power in powers if power)

    @property
    def unit(self) -> str:
        """What one of it is called."""
        return str(self)

    def of(self, costs: Sequence[int]) -> int:
        """Return what two metrics come to."""
        first, second = costs
        return round(math.pow(max(1, first), self.weight) * math.pow(max(1, second), 1 - self.weight))


Objective: TypeAlias = Metric | Weighted


def size_text(parameters: int, costs: Sequence[int], minimised: Sequence[Metric]) -> str:
    """Return the parameters of a network for people, after its costs where something else is minimised."""
    pairs = zip(costs, minimised, strict=True)
    others = [f"{cost:,} {metric.unit}" for cost, metric in pairs if metric is not Metric.PARAMETERS]
    return ", ".join([*others, f"{parameters:,} parameter{'' if parameters == 1 else 's'}"])


_COMPARISONS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True, slots=True)
class Condition:
    """A limit that every network of the space keeps."""

    metric: Objective
    comparison: str
    bound: int

    def holds(self, value: int) -> bool:
        """Return whether ``value`` keeps the limit."""
        return bool(_COMPARISONS[self.comparison](value, self.bound))

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
    net: Part
    shared: Mapping[str, Value | Part]
    conditions: tuple[Condition, ...]
    task: Task
    unused: tuple[str, ...] = ()

    @property
    def op_types(self) -> frozenset[type[Op]]:
        """Of which kinds the ops of its networks are."""
        return self.net.op_types

    @property
    def configurations(self) -> int:
        """The exact number of configurations, before any condition."""
        shared = self.shared.values()
        values = math.prod(len(each.values) for each in shared if isinstance(each, Choice))
        return values * math.prod(each.configurations for each in (*shared, self.net) if isinstance(each, Part))


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a network may be trained, and what it costs.

    Attributes:
        analysis: None when the ops do not fit together.
        reason: ``shape`` or the metric that breaks a limit; ``front`` where two metrics together do; None when the
            network is accepted.
        message: the reason in one line, or empty.
        depth: how many limits were looked at before the one that it breaks, all of them kept; -1 where its ops do not
            fit together.
        excess: by how much it breaks that one.
    """

    analysis: Analysis | None
    reason: str | None = None
    message: str = ""
    depth: int = 0
    excess: int = 0

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against the network."""
        return self.reason is None

    @property
    def nearness(self) -> tuple[int, int]:
        """What is larger for a network that is nearer to being accepted."""
        return self.depth, -self.excess


def judge(
    space: SearchSpace, architecture: Architecture, ceiling: int | None = None, of: Objective = Metric.PARAMETERS
) -> Judgement:
    """Return whether ``architecture`` may be trained: has at most ``ceiling`` of a cost, and is one of the space."""
    try:
        analysis = analyse(architecture, space.task)
    except ShapeError as error:
        return Judgement(None, "shape", error.message, depth=-1)
    if ceiling is not None and (value := measured(analysis, of)) > ceiling:
        reason = "front" if isinstance(of, Weighted) else str(of)
        message = f"{of} is {value:,}, but at most {ceiling:,} are allowed"
        return Judgement(analysis, reason, message, excess=value - ceiling)
    for depth, condition in enumerate(space.conditions, 1):
        value = measured(analysis, condition.metric)
        if not condition.holds(value):
            message = f"{condition.metric} is {value:,}, but the space has {condition}"
            return Judgement(analysis, str(condition.metric), message, depth, abs(value - condition.bound))
    return Judgement(analysis)


def measured(analysis: Analysis, metric: Objective) -> int:
    """Return what a network has of a metric, which is named as the field of an analysis is."""
    if isinstance(metric, Weighted):
        return metric.of([measured(analysis, each) for each in metric.metrics])
    return cast(int, getattr(analysis, metric))


def uniform(rng: random.Random) -> Chooser:
    """Decide with equal odds for every option."""
    return lambda name, options: rng.randrange(options.size)


def by_configurations(rng: random.Random) -> Chooser:
    """Decide so that every configuration of the space has equal odds: in proportion to those behind each option."""

    def chosen(name: str, options: Options) -> int:
        rest = rng.randrange(sum(options.weights))
        index = 0
        while rest >= options.weights[index]:
            rest -= options.weights[index]
            index += 1
        return index

    return chosen


def draw(space: SearchSpace, chooser: Chooser) -> Draw:
    """Return the network that ``chooser`` decides on; it may not fit together."""
    walk = _Walk(chooser)
    for name, content in space.shared.items():
        walk.path = f"{name}/"
        walk.shared[name] = walk.aside(content) if isinstance(content, Part) else walk.value(content)
    walk.path = ""
    return Draw(Architecture(*walk.aside(space.net)), tuple(walk.decisions))


def draw_uniform(space: SearchSpace, rng: random.Random, budget: int | None = None, attempts: int = 10_000) -> Draw:
    """Return a network that keeps the space's conditions and the budget, every decision uniform.

    Raises:
        DrawError: none of ``attempts`` draws was accepted.
    """
    reasons: Counter[str] = Counter()
    for _ in range(attempts):
        proposal = draw(space, uniform(rng))
        judgement = judge(space, proposal.architecture, budget)
        if judgement.reason is None:
            return proposal
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
    prefix: list[int] = []
    while True:
        wheels: list[tuple[int, int]] = []

        def odometer(
            name: str, options: Options, prefix: list[int] = prefix, wheels: list[tuple[int, int]] = wheels
        ) -> int:
            index = prefix[len(wheels)] if len(wheels) < len(prefix) else 0
            wheels.append((index, options.size))
            return index

        yield draw(space, odometer)
        while wheels and wheels[-1][0] + 1 == wheels[-1][1]:
            wheels.pop()
        if not wheels:
            return
        prefix = [index for index, _ in wheels]
        prefix[-1] += 1


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
        indices = parent.indices
        for decision in rng.sample(parent.decisions, min(changes, len(parent.decisions))):
            other = rng.randrange(decision.size - 1)
            indices[decision.name] = other if other < decision.index else other + 1
        child = replay(space, indices, uniform(rng))
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


# So many configurations are all looked at.
MOST_EXACT = 5_000


@dataclass(frozen=True, slots=True)
class _Rejection:
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
    rejected: tuple[_Rejection, ...]


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
    total = space.configurations
    exact = total <= most_exact
    chooser = by_configurations(rng or random.Random(0))
    draws = enumerate_draws(space) if exact else (draw(space, chooser) for _ in range(samples))
    analyses: list[Analysis] = []
    times: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for proposal in draws:
        judgement = judge(space, proposal.architecture, budget)
        if judgement.reason is not None:
            times[judgement.reason] += 1
            first.setdefault(judgement.reason, (str(proposal.architecture), judgement.message))
        elif judgement.analysis is not None:
            analyses.append(judgement.analysis)
    lowest = highest = accepted = len(analyses)
    if exact:
        samples = total
        confidence = 1.0
    else:
        low, high = clopper_pearson(accepted, samples, confidence)
        # A draw that was accepted exists, whatever the interval says, and so does one that was rejected.
        lowest = max(math.floor(Fraction(low) * total), min(accepted, 1))
        highest = min(math.ceil(Fraction(high) * total), total - min(samples - accepted, 1))

    def median(name: str) -> int | None:
        return statistics.median_low(getattr(each, name) for each in analyses) if analyses else None

    medians = median("macs"), median("map_numbers"), median("parameters")
    rejected = tuple(_Rejection(reason, number, *first[reason]) for reason, number in times.most_common())
    return Count(lowest, highest, total, exact, samples, accepted, confidence, *medians, rejected)


def smallest(space: SearchSpace) -> Judgement:
    """Return the accepted network of the fewest parameters, all being looked at; where there is none, the nearest."""
    judgements = [judge(space, each.architecture) for each in enumerate_draws(space)]
    accepted = [each for each in judgements if each.accepted]
    if accepted:
        return min(accepted, key=lambda each: each.analysis.parameters if each.analysis else 0)
    return max(judgements, key=lambda each: each.nearness)


def count_text(number: int, noun: str = "") -> str:
    """Return a count as people read it, with its noun: in full up to 11 digits, else its order of magnitude."""
    digits = str(number)
    text = f"{number:,}" if len(digits) <= 11 else f"{digits[0]}.{digits[1:3]}e{len(digits) - 1}"
    ending = "" if number == 1 else "s"
    return f"{text} {noun}{ending}" if noun else text


def clopper_pearson(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return float(low), float(high)
