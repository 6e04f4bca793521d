"""From text to search space: every name looked up, every number checked, every error at its place.

>>> space = parse_space("let c = {4, 8}; net = conv3x3(c) <bn relu / relu bn> gap linear(10)")
>>> space.net.configurations, [part.name for part in space.shared]
(2, ['c'])
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import assert_never

from search_spaces.errors import NotationError, nearest
from search_spaces.notation import bind, check_number, is_optional, numbers, plain_name, residual_body, tie_name, whole
from search_spaces.op_specs import OP_NAMES, SIGNATURES, Kind, Parameter, plain
from search_spaces.space import (
    Body,
    Choice,
    Condition,
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
    SharedPart,
    Template,
    Value,
    Variable,
    contradictory,
    value_ways,
)
from search_spaces.syntax import (
    Argument,
    Bar,
    Call,
    Definitions,
    Group,
    Item,
    Let,
    Limit,
    Maybe,
    Operand,
    Repeat,
    Rule,
    Sequence,
    Where,
)
from search_spaces.task import MNIST, Task

# The number of classes of the task, in the text of a space.
_CLASSES = "classes"
_MOST_NODES = 1_000
_DEEPEST_NESTING = 50
_MOST_REPEATS = 100
_LARGEST_BOUND = 10**12
_EMPTY = Body((), 1, 0, 0)
# An op, and that parameter of it which a number is for.
_Need = tuple[str, Parameter]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What an operand can be: any of ``values``; ``variable`` stands for one that is drawn elsewhere."""

    values: tuple[int | float, ...]
    variable: Variable | None = None


@dataclass(slots=True)
class _Scope:
    """What the body of one statement sees.

    Attributes:
        needs: the parameters of the rule, each with what the numbers given for it have to suit.
        taken: how often each label has been given out.
    """

    needs: dict[str, list[_Need]] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)

    def label(self, wanted: str) -> str:
        """Return ``wanted``, numbered when it has been given out before."""
        self.taken[wanted] += 1
        count = self.taken[wanted]
        return wanted if count == 1 else f"{wanted}.{count}"


def parse_space(text: str, name: str = "space", task: Task = MNIST) -> SearchSpace:
    """Return the search space that ``text`` describes; a bare network is a space of size one.

    The name ``classes`` stands for the classes of the task, unless the text defines it.

    Raises:
        NotationError: the text is not in the notation, or names or numbers in it do not fit.
    """
    try:
        return _space(text, name, task)
    except NotationError as error:
        error.text = text
        raise


def with_conditions(space: SearchSpace, conditions: tuple[Condition, ...]) -> SearchSpace:
    """Return the space with further conditions in its text, so that whoever reads the text keeps them too.

    Raises:
        NotationError: the bound of a condition is larger than any that a space may have, or no network can meet all
            conditions.
    """
    if not conditions:
        return space
    if clash := contradictory((*space.conditions, *conditions)):
        raise NotationError(f"no network of space '{space.name}' can have {' and '.join(map(str, clash))}")
    from search_spaces.grammar import read

    is_network = isinstance(read(space.text, "space"), Sequence)
    # On a line of their own, as a comment may end the text. Its last statement may lack its semicolon.
    text = f"net = {space.text}\n;" if is_network else space.text
    limits = f"where {', '.join(map(str, conditions))};"
    try:
        return parse_space(f"{text}\n{limits}", space.name, space.task)
    except NotationError:
        return parse_space(f"{text}\n;\n{limits}", space.name, space.task)


def _space(text: str, name: str, task: Task) -> SearchSpace:
    # Reading needs lark, whose import would slow the start of commands that read nothing.
    from search_spaces.grammar import read

    tree: Definitions | Sequence = read(text, "space")
    if isinstance(tree, Sequence):
        if all(isinstance(item, Bar) for item in tree.items):
            raise NotationError("the search space is empty: define at least net = ...;", position=0)
        tree = Definitions((Rule(Call("net", (), tree.position), tree, tree.position),))
    table = _symbols(tree)
    resolver = _Resolver(table, task)
    resolver.resolve("net", 0, 0)
    shared = tuple(resolver.shared)
    unused = tuple(other for other in table if not resolver.knows(other))
    for other, statement in table.items():
        # What ``net`` does not use is checked all the same.
        resolver.resolve(other, statement.position, 0)
    net = resolver.body("net")
    aside = sum(part.content.max_nodes if isinstance(part.content, Body) else 1 for part in shared)
    _check_nodes(net.max_nodes + aside, 0)
    digest = hashlib.sha256(str(tree).encode()).hexdigest()[:12]
    return SearchSpace(name, text, digest, net, shared, _conditions(tree), task, unused)


class _Resolver:
    """Resolves statements on first use, which is how recursion shows and how shared parts get their order."""

    def __init__(self, table: dict[str, Let | Rule], task: Task) -> None:
        self.shared: list[SharedPart] = []
        self._table = table
        self._task = task
        self._active: list[str] = []
        self._ops: dict[str, Body] = {}
        self._needs: dict[str, list[list[_Need]]] = {}
        self._numbers: dict[str, _Numbers] = {}

    def resolve(self, name: str, position: int, depth: int) -> None:
        """Resolve a statement, unless that has been done."""
        if not self.knows(name):
            _check_depth(depth, position)
            if name in self._active:
                circle = " -> ".join([*self._active[self._active.index(name) :], name])
                raise NotationError(f"{name} refers to itself ({circle}); nothing may", position=position)
            self._active.append(name)
            if self._is_number(name):
                self._resolve_number(name, depth)
            else:
                self._resolve_ops(name, depth)
            self._active.pop()
        if name in self._ops:
            _check_depth(depth + self._ops[name].height, position)

    def knows(self, name: str) -> bool:
        """Return whether a statement is resolved."""
        return name in self._ops or name in self._numbers

    def body(self, name: str) -> Body:
        """Return the body of a resolved statement."""
        return self._ops[name]

    def _is_number(self, name: str) -> bool:
        visited: set[str] = set()
        while name in self._table and name not in visited:
            visited.add(name)
            operand = self._table[name].body
            if not isinstance(operand, Sequence):
                return True
            name = plain_name(operand) or ""
        return name == _CLASSES and name not in self._table

    def _resolve_number(self, name: str, depth: int) -> None:
        statement = self._table[name]
        if _parameters(statement):
            raise NotationError(f"{name} stands for numbers and takes no parameters", position=statement.position)
        found = self._drawn(statement.body, _Scope(), depth)
        if isinstance(statement, Let):
            self.shared.append(SharedPart(name, found.variable or _choice_of("", found.values)))
            found = _Numbers(found.values, Variable(name, shared=True))
        self._numbers[name] = found

    def _resolve_ops(self, name: str, depth: int) -> None:
        statement = self._table[name]
        assert isinstance(statement.body, Sequence)
        scope = _Scope({parameter: [] for parameter in _parameters(statement)})
        scope.taken.update(scope.needs)
        if name == "net":
            # Its labels are whole paths, as the names of shared parts are.
            scope.taken.update(other for other, found in self._table.items() if isinstance(found, Let))
        match statement.body.items:
            case (Group() as group,):
                nodes = self._atom(group, scope, depth, "")
                body = _joined(nodes, self._ops, group.position)
            case _:
                body = self._body(statement.body, scope, depth)
        if isinstance(statement, Let):
            self.shared.append(SharedPart(name, body))
        self._ops[name] = body
        self._needs[name] = list(scope.needs.values())

    def _body(self, sequence: Sequence, scope: _Scope, depth: int) -> Body:
        _check_depth(depth, sequence.position)
        nodes = tuple(node for item in sequence.items for node in self._item(item, scope, depth))
        return _joined(nodes, self._ops, sequence.position)

    def _item(self, item: Item, scope: _Scope, depth: int) -> tuple[Node, ...]:
        match item:
            case Bar():
                return (Mark(),)
            case Call() | Group():
                return self._atom(item, scope, depth, None)
            case Maybe(body=atom):
                label = scope.label(_label(atom))
                body = _joined(self._atom(atom, scope, depth + 1, label), self._ops, item.position)
                return (_either(f"{label}?", (_EMPTY, body), ("no", "yes")),)
            case Repeat(body=atom):
                label = scope.label(_label(atom))
                body = _joined(self._atom(atom, scope, depth + 1, ""), self._ops, item.position)
                return (_times(label, body, item),)
            case _:
                assert_never(item)

    def _atom(self, atom: Call | Group, scope: _Scope, depth: int, label: str | None) -> tuple[Node, ...]:
        if isinstance(atom, Group):
            branches = tuple(self._body(sequence, scope, depth + 1) for sequence in atom.alternatives)
            if len(branches) == 1:
                return branches[0].nodes
            texts = tuple(str(sequence) or "nothing" for sequence in atom.alternatives)
            return (_either(scope.label(_label(atom)) if label is None else label, branches, texts),)
        name = atom.name
        if name in scope.needs or self._is_number(name):
            raise NotationError(f"'{name}' stands for a number; ops are needed here", position=atom.position)
        if name in self._table:
            return (self._mention(atom, scope, depth, label),)
        if name in OP_NAMES:
            return (self._op(atom, scope, depth),)
        raise self._unknown(name, scope, atom.position)

    def _mention(self, call: Call, scope: _Scope, depth: int, label: str | None) -> Node:
        name, statement = call.name, self._table[call.name]
        self.resolve(name, call.position, depth + 1)
        names = _parameters(statement)
        if len(names) != len(call.arguments):
            noun = "argument" if len(names) == 1 else "arguments"
            takes = f"{name} takes {len(names)} {noun}" + (f" ({', '.join(names)})" if names else "")
            raise NotationError(f"{takes}, not {len(call.arguments)}", position=call.position)
        if isinstance(statement, Let):
            return SharedOps(name)
        arguments = []
        for parameter, needs, argument in zip(names, self._needs[name], call.arguments, strict=True):
            if argument.keyword is not None:
                raise NotationError("arguments of a rule have no keyword", position=argument.position)
            found = self._drawn(argument.operand, scope, depth)
            for op, need in needs:
                self._require(op, need, found, argument.position, scope)
            arguments.append((parameter, found.variable or _choice_of(parameter, found.values)))
        return RuleRef(scope.label(name) if label is None else label, self._ops[name], tuple(arguments))

    def _op(self, call: Call, scope: _Scope, depth: int) -> Node:
        if call.name == "res":
            return ResidualNode(self._body(residual_body(call), scope, depth + 1))
        signature = SIGNATURES[call.name]
        given = {
            parameter.field: self._argument(call.name, parameter, argument, scope, depth)
            for parameter, argument in bind(call)
        }
        # Any number does: what it fills in is not asked for.
        example = signature.make(**({signature.number.field: 1} if signature.number else {}))
        filled = tuple(
            (each.name, given.get(each.name, Constant(getattr(example, each.name)))) for each in fields(example)
        )
        constants = {name: value.value for name, value in filled if isinstance(value, Constant)}
        if len(constants) == len(filled) and constants.get("tie") is None:
            return Fixed(signature.make(**{name: constants[name] for name in given}))
        return Template(type(example), filled)

    def _argument(self, name: str, parameter: Parameter, argument: Argument, scope: _Scope, depth: int) -> Value:
        if parameter.kind in (Kind.FLAG, Kind.TIE):
            given: Scalar = True if parameter.kind is Kind.FLAG else tie_name(argument)
            if not is_optional(argument):
                return Constant(given)
            missing = False if parameter.kind is Kind.FLAG else None
            return Choice(scope.label(parameter.label), (missing, given), Options(("no", "yes"), False, (1, 1)))
        found = self._drawn(argument.operand, scope, depth)
        self._require(name, parameter, found, argument.position, scope)
        if found.variable or len(found.values) == 1:
            return found.variable or Constant(found.values[0])
        return _choice_of(scope.label(plain_name(argument.operand) or parameter.label), found.values)

    def _drawn(self, operand: Operand, scope: _Scope, depth: int) -> _Numbers:
        if not isinstance(operand, Sequence):
            return _Numbers(numbers(operand))
        name = plain_name(operand)
        if name is None or (name in OP_NAMES or (name in self._table and not self._is_number(name))):
            raise NotationError(f"'{operand}' stands for ops; a number is needed here", position=operand.position)
        if name in scope.needs:
            return _Numbers((), Variable(name, shared=False))
        if name not in self._table:
            if name == _CLASSES:
                return _Numbers((self._task.classes,))
            raise self._unknown(name, scope, operand.position)
        self.resolve(name, operand.position, depth + 1)
        return self._numbers[name]

    def _require(self, op: str, need: Parameter, found: _Numbers, position: int, scope: _Scope) -> None:
        if found.variable and not found.variable.shared:
            scope.needs[found.variable.name].append((op, need))
        for value in found.values:
            check_number(op, need, value, position)

    def _unknown(self, name: str, scope: _Scope, position: int) -> NotationError:
        known = (*OP_NAMES, _CLASSES, *self._table, *scope.needs)
        message = f"unknown name '{name}': it is neither an op nor defined in this space"
        return NotationError(message, position=position, hint=nearest(name, known))


def _label(atom: Call | Group) -> str:
    return atom.name if isinstance(atom, Call) else "group"


def _joined(nodes: tuple[Node, ...], shared: dict[str, Body], position: int) -> Body:
    extents = [_extent(node, shared) for node in nodes]
    most = sum(nodes for _, nodes, _ in extents)
    _check_nodes(most, position)
    height = max((height for _, _, height in extents), default=0)
    return Body(nodes, math.prod(ways for ways, _, _ in extents), most, height)


def _extent(node: Node, shared: dict[str, Body]) -> tuple[int, int, int]:
    match node:
        case Fixed() | Mark():
            return 1, 1, 1
        case Template():
            choices = [value for _, value in node.fields if isinstance(value, Choice)]
            return math.prod(map(value_ways, choices)), 1 + len(choices), 1
        case ResidualNode(body):
            return body.configurations, 1 + body.max_nodes, 1 + body.height
        case Either(_, branches, options):
            most, height = (max(getattr(each, name) for each in branches) for name in ("max_nodes", "height"))
            return sum(options.weights), 1 + most, 1 + height
        case RepeatNode(_, body, low, options):
            ways = sum(options.weights) if options else body.configurations**low
            return ways, 1 + node.most * (1 + body.max_nodes), 1 + body.height
        case RuleRef(_, body, arguments):
            ways = math.prod(value_ways(value) for _, value in arguments) * body.configurations
            return ways, 1 + len(arguments) + body.max_nodes, 1 + body.height
        case SharedOps(name):
            return 1, 1 + shared[name].max_nodes, 1 + shared[name].height
        case _:
            assert_never(node)


def _choice_of(label: str, values: tuple[int | float, ...]) -> Value:
    if len(values) == 1:
        return Constant(values[0])
    return Choice(label, values, Options(tuple(map(plain, values)), True, (1,) * len(values)))


def _either(label: str, branches: tuple[Body, ...], texts: tuple[str, ...]) -> Either:
    return Either(label, branches, Options(texts, False, tuple(branch.configurations for branch in branches)))


def _times(label: str, body: Body, repeat: Repeat) -> RepeatNode:
    low = whole(repeat.low, "a number of repetitions", _MOST_REPEATS)
    high = whole(repeat.high, "a number of repetitions", _MOST_REPEATS)
    if low > high:
        raise NotationError(f"the repetition {{{low}..{high}}} is empty", position=repeat.low.position)
    if low == high:
        return RepeatNode(label, body, low, None)
    counts = range(low, high + 1)
    weights = tuple(body.configurations**count for count in counts)
    return RepeatNode(label, body, low, Options(tuple(map(str, counts)), True, weights))


def _check_nodes(nodes: int, position: int) -> None:
    if nodes > _MOST_NODES:
        raise NotationError(f"a draw of this could have more than {_MOST_NODES:,} parts", position=position)


def _check_depth(depth: int, position: int) -> None:
    if depth > _DEEPEST_NESTING:
        raise NotationError(f"rules and brackets are nested more than {_DEEPEST_NESTING} deep", position=position)


def _symbols(definitions: Definitions) -> dict[str, Let | Rule]:
    table: dict[str, Let | Rule] = {}
    for statement in definitions.statements:
        if isinstance(statement, Where):
            continue
        name = statement.head.name if isinstance(statement, Rule) else statement.name
        if name in OP_NAMES:
            raise NotationError(f"'{name}' is an op and cannot be defined anew", position=statement.position)
        if name in table:
            raise NotationError(f"'{name}' is defined twice", position=statement.position)
        if isinstance(statement, Rule):
            _check_parameters(statement)
        table[name] = statement
    net = table.get("net")
    if net is None:
        raise NotationError(
            "no rule 'net' is defined; a space needs net = ...;", position=0, hint=nearest("net", table)
        )
    if isinstance(net, Let) or not isinstance(net.body, Sequence) or _parameters(net):
        raise NotationError("'net' is a plain rule of ops, as in net = ...;", position=net.position)
    return table


def _parameters(statement: Let | Rule) -> tuple[str, ...]:
    arguments = () if isinstance(statement, Let) else statement.head.arguments
    return tuple(plain_name(argument.operand) or "" for argument in arguments)


def _conditions(definitions: Definitions) -> tuple[Condition, ...]:
    stated = [statement for statement in definitions.statements if isinstance(statement, Where)]
    limits = [limit for statement in stated for limit in statement.limits]
    found = tuple(map(_condition, limits))
    if clash := contradictory(found):
        text = " and ".join(map(str, clash))
        raise NotationError(f"no network can have {text}", position=limits[found.index(clash[-1])].position)
    return found


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return conditions that are given by themselves, such as ``macs<=1000000, receptive_field>=20``.

    Raises:
        NotationError: the text holds something else, a metric is unknown or a bound is not a whole number.
    """
    # Reading needs lark, whose import would slow the start of commands that read nothing.
    from search_spaces.grammar import read

    try:
        return tuple(map(_condition, read(text, "limits").limits))
    except NotationError as error:
        error.text = text
        raise


def _condition(limit: Limit) -> Condition:
    if limit.metric not in list(Metric):
        raise NotationError(
            f"unknown metric '{limit.metric}'; known are {', '.join(Metric)}",
            position=limit.position,
            hint=nearest(limit.metric, [metric.value for metric in Metric]),
        )
    bound = whole(limit.bound, f"the bound of {limit.metric}", _LARGEST_BOUND)
    return Condition(Metric(limit.metric), limit.comparison, bound)


def _check_parameters(rule: Rule) -> None:
    seen: set[str] = set()
    for argument in rule.head.arguments:
        name = plain_name(argument.operand)
        if argument.keyword is not None or name is None:
            raise NotationError(f"the parameters of a rule are names, not '{argument}'", position=argument.position)
        if name in OP_NAMES or name in seen:
            problem = "is given twice" if name in seen else "is an op"
            raise NotationError(f"the parameter '{name}' {problem}", position=argument.position)
        seen.add(name)
