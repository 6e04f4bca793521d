r"""From text to networks and search spaces: every name looked up, every number checked, every error at its place.

The grammar is ``notation.lark``; what an op takes, it says itself (``ops``).

    >>> print(parse_network("conv3x3(8) bn relu  # a comment\n | gap | linear(10)"))
    conv3x3(8) bn relu | gap | linear(10)
    >>> space = parse_space("let c = {4, 8}; net = conv3x3(c) <bn relu / relu bn> gap linear(10)")
    >>> space.net.configurations, space.shared.keys()
    (2, dict_keys(['c']))
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any, assert_never, cast

from search_spaces.cost import analyse_ops
from search_spaces.errors import NotationError, ShapeError, nearest
from search_spaces.grammar import (
    Argument,
    Bar,
    Call,
    Definition,
    Group,
    Limit,
    Maybe,
    Number,
    Operand,
    Range,
    Repeat,
    Sequence,
    Statements,
    ValueSet,
    Where,
    read,
)
from search_spaces.network import Architecture
from search_spaces.ops import SIGNATURES, Kind, Op, Parameter, Residual, op_names, plain
from search_spaces.space import (
    Body,
    Choice,
    Condition,
    Either,
    Metric,
    Named,
    Options,
    Part,
    ResidualNode,
    SearchSpace,
    SharedOps,
    Template,
    Value,
    Variable,
    contradictory,
)
from search_spaces.task import MNIST, Task

# An op, or the bar before one, as canonical texts have it; a residual sum within another is read with its whole text.
_WORD = re.compile(r"\||[a-z0-9]+(?:\((?:[^()]|\([^()]*\))*\))?")
# The number of classes of the task, in the text of a space.
_CLASSES = "classes"
_MOST_NODES = 1_000
_DEEPEST_NESTING = 50
_MOST_REPEATS = 100
_LARGEST_BOUND = 10**12
_LARGEST_NUMBER = 10_000
_MOST_VALUES = 1_000


def parse_network(text: str, task: Task = MNIST) -> Architecture:
    """Return the network that ``text`` describes, in canonical form.

    Raises:
        NotationError: the text is not in the notation, names something unknown or makes a choice.
        ShapeError: the ops do not fit together; ``position`` is that of the op that caused it.
    """
    sequence, ops, bars = _network(text)
    try:
        # As written, not in canonical form: the path of an error has to lead back into the text.
        analyse_ops(ops, task)
    except ShapeError as error:
        # A network that ends wrong has no path: its last op is what to change.
        first, *path = error.path or (-1,)
        call = _calls(sequence)[first]
        for index in path:
            call = _calls(cast(Sequence, call.arguments[0].operand))[index]
        placed = ShapeError(error.message, path=error.path, position=call.position)
        placed.text = text
        raise placed from None
    return Architecture(ops, bars)


def _calls(sequence: Sequence) -> list[Call]:
    return [item for item in sequence.items if isinstance(item, Call)]


def parse_notation(text: str) -> Architecture:
    """Return the network that a stored text describes; whether its ops fit together is not looked at.

    Canonical texts are read op by op, and each op once: the same few thousand come up again and again.

    Raises:
        NotationError: the text is not in the notation, names something unknown or makes a choice.
    """
    words = _WORD.findall(text)
    parts: list[Part] = []
    with suppress(NotationError):
        parts = [word if word == "|" else _one_op(word) for word in words]
    if not any(isinstance(part, Op) for part in parts) or " ".join(words) != text:
        # Any other text is read whole, and an error tells its position there.
        return Architecture(*_network(text)[1:])
    return Architecture(*_laid_out(parts))


@lru_cache(maxsize=100_000)
def _one_op(word: str) -> Op:
    (op,) = _network(word)[1]
    return op


def _network(text: str) -> tuple[Sequence, tuple[Op, ...], tuple[int, ...]]:
    with _reading(text):
        sequence: Sequence = read(text, "network")
        ops, bars = _laid_out(_Resolver(None, MNIST).body(sequence, _Scope()).nodes)
        if not ops:
            example = "conv3x3(8) bn relu | gap | linear(10)"
            raise NotationError(f"the network is empty: write ops, as in '{example}'", position=0)
    return sequence, ops, bars


def _laid_out(parts: Iterable[Part]) -> tuple[tuple[Op, ...], tuple[int, ...]]:
    # Ops, and the indices of those that a bar stands before.
    ops: list[Op] = []
    bars: list[int] = []
    for part in parts:
        if isinstance(part, Op):
            ops.append(part)
        else:
            bars.append(len(ops))
    return tuple(ops), tuple(bars)


@contextmanager
def _reading(text: str) -> Iterator[None]:
    try:
        yield
    except NotationError as error:
        error.text = text
        raise


def parse_space(text: str, name: str = "space", task: Task = MNIST) -> SearchSpace:
    """Return the search space that ``text`` describes; a bare network is a space of size one.

    The name ``classes`` stands for the classes of the task, unless the text defines it.

    Raises:
        NotationError: the text is not in the notation, or names or numbers in it do not fit.
    """
    with _reading(text):
        statements: Statements | Sequence = read(text, "space")
        if isinstance(statements, Sequence):
            if all(isinstance(item, Bar) for item in statements.items):
                raise NotationError("the search space is empty: define at least net = ...;", position=0)
            head = Call("net", (), position=statements.position)
            statements = (Definition(head, statements, position=statements.position),)
        table = _table(statements)
        resolver = _Resolver(table, task)
        resolver.resolve("net", 0)
        shared = dict(resolver.shared)
        unused = tuple(other for other in table if not resolver.knows(other))
        for other in unused:
            # What ``net`` does not use is checked all the same.
            resolver.resolve(other, table[other].position)
        net = resolver.ops["net"]
        aside = sum(part.max_nodes if isinstance(part, Body) else 1 for part in shared.values())
        _check_nodes(net.max_nodes + aside, 0)
        normal = "".join(f"{statement};\n" for statement in statements)
        digest = hashlib.sha256(normal.encode()).hexdigest()[:12]
        limits = [limit for each in statements if isinstance(each, Where) for limit in each.limits]
        conditions = tuple(map(_condition, limits))
        if clash := contradictory(conditions):
            told = f"no network can have {' and '.join(map(str, clash))}"
            raise NotationError(told, position=limits[conditions.index(clash[-1])].position)
    return SearchSpace(name, text, digest, net, shared, conditions, task, unused)


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
    # On a line of their own, as a comment may end the text. Its last statement may lack its semicolon.
    text = f"net = {space.text}\n;" if isinstance(read(space.text, "space"), Sequence) else space.text
    limits = f"where {', '.join(map(str, conditions))};"
    try:
        return parse_space(f"{text}\n{limits}", space.name, space.task)
    except NotationError:
        return parse_space(f"{text}\n;\n{limits}", space.name, space.task)


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return conditions that are given by themselves, such as ``macs<=1000000, receptive_field>=20``.

    Raises:
        NotationError: the text holds something else, a metric is unknown or a bound is not a whole number.
    """
    with _reading(text):
        return tuple(map(_condition, read(text, "limits").limits))


def _condition(limit: Limit) -> Condition:
    if limit.metric not in list(Metric):
        told = f"unknown metric '{limit.metric}'; known are {', '.join(Metric)}"
        raise NotationError(told, position=limit.position, hint=nearest(limit.metric, [each.value for each in Metric]))
    bound = _whole(limit.bound, f"the bound of {limit.metric}", _LARGEST_BOUND)
    return Condition(Metric(limit.metric), limit.comparison, bound)


def _table(statements: Statements) -> dict[str, Definition]:
    table: dict[str, Definition] = {}
    for statement in statements:
        if isinstance(statement, Where):
            continue
        name = statement.head.name
        if name in op_names() or name in table:
            problem = "is defined twice" if name in table else "is an op and cannot be defined anew"
            raise NotationError(f"'{name}' {problem}", position=statement.position)
        seen: set[str | None] = set()
        for argument in statement.head.arguments:
            parameter = _name(argument.operand)
            if argument.keyword is not None or parameter is None or parameter in {*op_names(), *seen}:
                told = f"the parameters of a rule are names, each given once, and no ops; '{argument}' is not"
                raise NotationError(told, position=argument.position)
            seen.add(parameter)
        table[name] = statement
    net = table.get("net")
    if net is None or net.let or net.head.arguments or not isinstance(net.body, Sequence):
        told = "a space needs a plain rule of ops 'net', as in net = ...;"
        raise NotationError(told, position=net.position if net else 0, hint=None if net else nearest("net", table))
    return table


def _parameters(statement: Definition) -> list[str]:
    return [_name(argument.operand) or "" for argument in statement.head.arguments]


# An op, and that parameter of it which a number is for.
_Need = tuple[str, Parameter]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What an operand can be: any of ``values``; ``variable`` stands for one that is drawn elsewhere."""

    values: tuple[int | float, ...]
    variable: Variable | None = None

    def value(self, label: str) -> Value:
        if self.variable or len(self.values) == 1:
            return self.variable or self.values[0]
        texts = tuple(map(plain, self.values))
        return Choice(label, self.values, Options(texts, True, (1,) * len(texts)))


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


class _Resolver:
    """Resolves statements on first use, which is how recursion shows and how shared parts get their order.

    Without a table the text is one network: it makes no choices and names nothing but ops.
    """

    def __init__(self, table: dict[str, Definition] | None, task: Task) -> None:
        self.shared: dict[str, Value | Body] = {}
        self.ops: dict[str, Body] = {}
        self._is_network = table is None
        self._table = table or {}
        self._task = task
        self._active: list[str] = []
        self._depth = -1
        self._needs: dict[str, list[list[_Need]]] = {}
        self._numbers: dict[str, _Numbers] = {}

    def resolve(self, name: str, position: int) -> None:
        """Resolve a statement, unless that has been done."""
        if self.knows(name):
            return
        if name in self._active:
            circle = " -> ".join([*self._active[self._active.index(name) :], name])
            raise NotationError(f"{name} refers to itself ({circle}); nothing may", position=position)
        _check_depth(len(self._active), position)
        self._active.append(name)
        statement, parameters = self._table[name], _parameters(self._table[name])
        if self._is_number(name):
            if parameters:
                raise NotationError(f"{name} stands for numbers and takes no parameters", position=statement.position)
            found = self._drawn(statement.body, _Scope())
            if statement.let:
                self.shared[name] = found.value("")
                found = _Numbers(found.values, Variable(name, shared=True))
            self._numbers[name] = found
        else:
            scope = _Scope({parameter: [] for parameter in parameters}, Counter(parameters))
            if name == "net":
                # Its labels are whole paths, as the names of shared parts are.
                scope.taken.update(other for other, found in self._table.items() if found.let)
            assert isinstance(statement.body, Sequence)
            match statement.body.items:
                case (Group() as group,):
                    body = self._joined(self._atom(group, scope, ""), group.position)
                case _:
                    body = self.body(statement.body, scope)
            if statement.let:
                self.shared[name] = body
            self.ops[name] = body
            self._needs[name] = list(scope.needs.values())
        self._active.pop()

    def knows(self, name: str) -> bool:
        """Return whether a statement is resolved."""
        return name in self.ops or name in self._numbers

    def _is_number(self, name: str) -> bool:
        visited: set[str] = set()
        while name in self._table and name not in visited:
            visited.add(name)
            operand = self._table[name].body
            if not isinstance(operand, Sequence):
                return True
            name = _name(operand) or ""
        return name == _CLASSES and name not in self._table

    def body(self, sequence: Sequence, scope: _Scope) -> Body:
        """Return what a sequence draws."""
        self._depth += 1
        _check_depth(self._depth, sequence.position)
        parts: list[Part] = []
        for item in sequence.items:
            match item:
                case Bar():
                    parts.append("|")
                case Call():
                    parts += self._atom(item, scope, None)
                case _ if self._is_network:
                    raise _choice("an optional part" if isinstance(item, Maybe) else "a group or repetition", item)
                case Group():
                    parts += self._atom(item, scope, None)
                case Maybe(body=atom):
                    label = scope.label(atom.name)
                    body = self._joined(self._atom(atom, scope, label), item.position)
                    parts.append(_either(f"{label}?", [Body(()), body], ("no", "yes")))
                case Repeat(body=atom, low=low, high=high):
                    label = scope.label(atom.name)
                    body = self._joined(self._atom(atom, scope, ""), item.position)
                    least, most = (_whole(end, "a number of repetitions", _MOST_REPEATS) for end in (low, high))
                    if least > most:
                        raise NotationError(f"the repetition {{{low}..{high}}} is empty", position=low.position)
                    each: list[Part] = [Named(f"{label}[{number}]", body) for number in range(1, most + 1)]
                    if least == most:
                        parts += each
                        continue
                    counts = range(least, most + 1)
                    branches = [self._joined(each[:count], item.position) for count in counts]
                    parts.append(_either(f"{label}*", branches, tuple(map(str, counts)), ordered=True))
                case _:
                    assert_never(item)
        self._depth -= 1
        return self._joined(parts, sequence.position)

    def _joined(self, parts: list[Part], position: int) -> Body:
        ways, most, height = 1, 0, 0
        for part in parts:
            # Configurations, parts that a draw visits and levels of nesting, of this part.
            here: tuple[int, int, int] = (1, 1, 0)
            match part:
                case Template(fields=given):
                    choices = [len(value.values) for value in given if isinstance(value, Choice)]
                    here = math.prod(choices), 1 + len(choices), 0
                case ResidualNode(body):
                    here = body.configurations, 1 + body.max_nodes, body.height
                case Either(branches=branches, options=options):
                    parted = max(each.max_nodes for each in branches), max(each.height for each in branches)
                    here = sum(options.weights), 1 + parted[0], parted[1]
                case Named(body=body, arguments=arguments):
                    choices = [len(value.values) for _, value in arguments if isinstance(value, Choice)]
                    here = math.prod(choices) * body.configurations, 1 + len(arguments) + body.max_nodes, body.height
                case SharedOps(name):
                    here = 1, 1 + self.ops[name].max_nodes, self.ops[name].height
            ways, most, height = ways * here[0], most + here[1], max(height, 1 + here[2])
        if not self._is_network:
            _check_nodes(most, position)
        return Body(tuple(parts), ways, most, height)

    def _atom(self, atom: Call | Group, scope: _Scope, label: str | None) -> list[Part]:
        if isinstance(atom, Group):
            branches = [self.body(sequence, scope) for sequence in atom.alternatives]
            if len(branches) == 1:
                return list(branches[0].nodes)
            texts = tuple(str(sequence) or "nothing" for sequence in atom.alternatives)
            return [_either(scope.label("group") if label is None else label, branches, texts)]
        name = atom.name
        if not self._is_network and (name in scope.needs or self._is_number(name)):
            raise NotationError(f"'{name}' stands for a number; ops are needed here", position=atom.position)
        if name in self._table:
            return [self._mention(atom, scope, label)]
        if name not in op_names():
            raise self._unknown(name, scope, atom.position)
        return [self._residual(atom, scope) if name == "res" else self._op(atom, scope)]

    def _mention(self, call: Call, scope: _Scope, label: str | None) -> Part:
        name, statement = call.name, self._table[call.name]
        self.resolve(name, call.position)
        _check_depth(self._depth + self.ops[name].height, call.position)
        names = _parameters(statement)
        if len(names) != len(call.arguments):
            takes = f"{name} takes {len(names)} arguments" + (f" ({', '.join(names)})" if names else "")
            raise NotationError(f"{takes}, not {len(call.arguments)}", position=call.position)
        if statement.let:
            return SharedOps(name)
        arguments: list[tuple[str, Value]] = []
        for parameter, needs, argument in zip(names, self._needs[name], call.arguments, strict=True):
            if argument.keyword is not None:
                raise NotationError("arguments of a rule have no keyword", position=argument.position)
            found = self._drawn(argument.operand, scope)
            for op, need in needs:
                _require(op, need, found, argument.operand.position, scope)
            arguments.append((parameter, found.value(parameter)))
        return Named(scope.label(name) if label is None else label, self.ops[name], tuple(arguments))

    def _residual(self, call: Call, scope: _Scope) -> Part:
        operand = call.arguments[0].operand if len(call.arguments) == 1 else None
        if not isinstance(operand, Sequence) or call.arguments[0].keyword is not None:
            told = "res takes one sequence of ops to add its input to, as in res(conv3x3(8) bn)"
            raise NotationError(told, position=(call.arguments or (call,))[-1].position)
        body = self.body(operand, scope)
        if not all(isinstance(part, str | Op) for part in body.nodes):
            return ResidualNode(body)
        ops, bars = _laid_out(body.nodes)
        if self._is_network and not Architecture(ops).ops:
            raise NotationError("res(...) holds no op that does anything", position=call.position)
        return Residual(ops, bars)

    def _op(self, call: Call, scope: _Scope) -> Part:
        signature = SIGNATURES[call.name]
        given = {name: self._argument(call.name, *bound, scope) for name, bound in _bound(call).items()}
        # Any number does: what it fills in is not asked for.
        example: Any = signature.make(**({signature.number.field: 1} if signature.number else {}))
        filled = {each.name: given.get(each.name, getattr(example, each.name)) for each in fields(example)}
        if any(isinstance(value, Choice | Variable) for value in filled.values()):
            return Template(type(example), tuple(filled.values()))
        return signature.make(**given)

    def _argument(self, name: str, parameter: Parameter, argument: Argument, scope: _Scope) -> Value:
        operand, is_optional = argument.operand, False
        match operand:
            case Sequence(items=(Maybe(),)):
                is_optional = True
        if self._is_network and (is_optional or isinstance(operand, ValueSet | Range)):
            raise _choice("an optional part" if is_optional else "a choice of values", operand)
        if parameter.kind in (Kind.FLAG, Kind.TIE):
            given = True if parameter.kind is Kind.FLAG else _word(argument)
            if given is None:
                raise NotationError(f"tie= takes a plain name, not '{operand}'", position=argument.position)
            if not is_optional:
                return given
            missing = False if parameter.kind is Kind.FLAG else None
            return Choice(scope.label(parameter.label), (missing, given), Options(("no", "yes"), False, (1, 1)))
        found = self._drawn(operand, scope)
        _require(name, parameter, found, operand.position, scope)
        if found.variable or len(found.values) == 1:
            return found.value("")
        return found.value(scope.label(_name(operand) or parameter.label))

    def _drawn(self, operand: Operand, scope: _Scope) -> _Numbers:
        if not isinstance(operand, Sequence):
            return _Numbers(_numbers(operand))
        name = _name(operand)
        if name in scope.needs:
            return _Numbers((), Variable(name, shared=False))
        if name == _CLASSES and name not in self._table and not self._is_network:
            return _Numbers((self._task.classes,))
        if name in self._table and self._is_number(name):
            self.resolve(name, operand.position)
            return self._numbers[name]
        if name is None or name in op_names() or name in self._table:
            raise NotationError(f"'{operand}' stands for ops; a number is needed here", position=operand.position)
        raise self._unknown(name, scope, operand.position)

    def _unknown(self, name: str, scope: _Scope, position: int) -> NotationError:
        known = (*op_names(), *(() if self._is_network else (_CLASSES, *self._table, *scope.needs)))
        listed = f"known are {', '.join(known)}" if self._is_network else "neither an op nor defined in this space"
        return NotationError(f"unknown name '{name}': {listed}", position=position, hint=nearest(name, known))


def _either(label: str, branches: list[Body], texts: tuple[str, ...], *, ordered: bool = False) -> Either:
    return Either(label, tuple(branches), Options(texts, ordered, tuple(each.configurations for each in branches)))


def _check_nodes(nodes: int, position: int) -> None:
    if nodes > _MOST_NODES:
        raise NotationError(f"a draw of this could have more than {_MOST_NODES:,} parts", position=position)


def _check_depth(depth: int, position: int) -> None:
    if depth > _DEEPEST_NESTING:
        raise NotationError(f"rules and brackets are nested more than {_DEEPEST_NESTING} deep", position=position)


def _choice(what: str, node: Any) -> NotationError:
    return NotationError(f"{what} belongs to a search space; a network is one network", position=node.position)


def _bound(call: Call) -> dict[str, tuple[Parameter, Argument]]:
    # Which parameter each argument of an op's call sets, by its field; the values are not looked at.
    signature = SIGNATURES[call.name]
    number, options = signature.number, signature.options
    bound: dict[str, tuple[Parameter, Argument]] = {}
    for argument in call.arguments:
        word = argument.keyword or _word(argument)
        parameter = options.get(word or "")
        if parameter is None and argument.keyword is None and not (word and number and number.field in bound):
            parameter = number
        elif parameter is not None and (parameter.kind is Kind.FLAG) == (argument.keyword is not None):
            parameter = None
        if parameter is None:
            spelled = [key if value.kind is Kind.FLAG else f"{key}=" for key, value in options.items()]
            takes = ", ".join([*([f"its {number.meaning}"] if number else []), *spelled]) or "no arguments"
            hint = nearest(word, options) if word else None
            raise NotationError(f"{call.name} takes {takes}, not '{argument}'", position=argument.position, hint=hint)
        if parameter.field in bound:
            raise NotationError(f"{call.name} is given its {parameter.meaning} twice", position=argument.position)
        bound[parameter.field] = parameter, argument
    if signature.required and number is not None and number.field not in bound:
        example = f"{call.name}({'0.1' if number.kind is Kind.RATE else '8'})"
        raise NotationError(f"{call.name} needs its {number.meaning}, as in {example}", position=call.position)
    return bound


def _require(op: str, need: Parameter, found: _Numbers, position: int, scope: _Scope) -> None:
    if found.variable and not found.variable.shared:
        scope.needs[found.variable.name].append((op, need))
    for value in found.values:
        if need.kind in (Kind.RATE, Kind.SLOPE):
            fits = value < 1 and (value > 0 or need.kind is Kind.RATE)
            allowed = need.kind.value
        elif need.among:
            fits = value in need.among
            allowed = f"one of {', '.join(map(str, need.among))}"
        else:
            fits = isinstance(value, int) and need.minimum <= value <= _LARGEST_NUMBER
            allowed = f"a whole number from {need.minimum} to {_LARGEST_NUMBER:,}"
        if not fits:
            raise NotationError(f"{op} takes {allowed} as its {need.meaning}, not {plain(value)}", position=position)


def _word(argument: Argument) -> str | None:
    # A word by itself, with a question mark or not.
    match argument.operand:
        case Sequence(items=(Maybe(body=Call(name=name, arguments=())),)):
            return name
    return _name(argument.operand)


def _name(operand: Operand) -> str | None:
    match operand:
        case Sequence(items=(Call(name=name, arguments=()),)):
            return name
    return None


def _numbers(value: Number | Range | ValueSet) -> tuple[int | float, ...]:
    # In ascending order, whole ones as int.
    found: set[int | float] = set()
    for part in value.elements if isinstance(value, ValueSet) else (value,):
        if isinstance(part, Number):
            numbers = [_exact(part)]
        else:
            low, high, step = _exact(part.low), _exact(part.high), _exact(part.step) if part.step else Fraction(1)
            if step == 0 or low > high:
                told = "has no step" if step == 0 else "is empty; write the lower end first"
                raise NotationError(f"the range {part} {told}", position=part.position)
            count = min((high - low) // step, _MOST_VALUES) + 1
            numbers = [low + step * index for index in range(count)]
        for number in numbers:
            plainly = int(number) if number.denominator == 1 else float(number)
            if plainly in found:
                raise NotationError(f"{plain(plainly)} stands twice in this set", position=part.position)
            found.add(plainly)
    if len(found) > _MOST_VALUES:
        raise NotationError(f"a set holds at most {_MOST_VALUES:,} numbers", position=value.position)
    return tuple(sorted(found))


def _exact(number: Number) -> Fraction:
    if number.value > _LARGEST_NUMBER:
        raise NotationError(f"numbers go up to {_LARGEST_NUMBER:,}", position=number.position)
    return Fraction(number.value)


def _whole(number: Number, what: str, largest: int) -> int:
    if number.value > largest or number.value != int(number.value):
        raise NotationError(f"{what} is a whole number from 0 to {largest:,}", position=number.position)
    return int(number.value)
