r"""Parser of the notation: text to networks, search spaces and conditions, with errors that carry a position.

The grammar is in ``notation.lark``. Each op class declares the arguments of the op (``harness.spaces.ops``).

    >>> print(parse_network("conv3x3(8) bn relu  # a comment\n | gap | linear(10)"))
    conv3x3(8) bn relu | gap | linear(10)
    >>> space = parse_space("let c = {4, 8}; net = conv3x3(c) <bn relu / relu bn> gap linear(10)")
    >>> space.net.configurations, space.let_values.keys()
    (2, dict_keys(['c']))
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, cast

from harness.spaces import space as spaces
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.ops.op import SIGNATURES, ArgumentKind, Op, Parameter, Signature, op_names, plain
from harness.spaces.space import Condition, Metric, SearchSpace, SpacePart, Value, ValueChoice, Variable
from harness.spaces.space_errors import NotationError, ShapeError, counted, nearest

if TYPE_CHECKING:
    import lark

# A ``lark.Tree``: ``data`` is the grammar rule, ``children`` are subtrees and tokens, ``str`` with an offset
# ``start_pos``.
_Tree = Any

MAX_TEXT = 100_000  # characters
_MAX_NODES = 1_000  # parts visited by a draw (``SpacePart.max_nodes``)
_DEEPEST_NESTING = 50  # levels of rules, brackets and sequences
_MAX_REPEATS = 100  # repetitions of a part
_MAX_BOUND = 10**12  # of a condition, and of ``ArgumentKind.TOTAL``
_MAX_NUMBER = 10_000  # argument of an op
# Python refuses longer integers from a limit on that an environment can lower to 640 digits
# (``sys.int_info.str_digits_check_threshold``).
_MAX_DIGITS = 600
_MAX_VALUES = 1_000  # numbers of a set or a range
_CLASSES = "classes"  # name of the number of classes in the text of a space
# In canonical text. Texts with a residual sum inside a residual sum are parsed as a whole.
_WORD = re.compile(r"\||[a-z0-9]+(?:\((?:[^()]|\([^()]*\))*\))?")
# In deep-learning libraries, lower case. ``flatten`` is removed, because ``linear`` flattens maps.
_SYNONYMS = {
    "batchnorm": "bn", "batchnorm2d": "bn", "silu": "swish", "dense": "linear", "fc": "linear", "flatten": "",
    "maxpool2d": "maxpool", "avgpool2d": "avgpool", "globalavgpool": "gap", "leakyrelu": "leaky",
}  # fmt: skip
# Texts without a match contain no synonyms.
_SYNONYM_HINTS = re.compile(rf"[A-Z]|\b({'|'.join(_SYNONYMS)})\b|pool(2d)?\([^()]*stride")
_DEPTH_CHANGES = {"(": 1, "<": 1, ")": -1, ">": -1}  # levels by bracket
_SPACE_SYMBOLS = {"<", "/", "?", "{", "..", ";", "=", "let", "where"}  # symbols that networks do not use
# In messages; other terminals are shown unchanged.
_TERMINAL_NAMES = {"NAME": "a name", "NUMBER": "a number", "COMPARISON": "<=, >= or ==", "$END": "the end"}


def parse_network(text: str, task: Task = MNIST) -> Architecture:
    """Return the network that ``text`` describes, in canonical form.

    Raises:
        NotationError: The text breaks the grammar, uses an unknown name or contains a choice.
        ShapeError: The ops do not fit together. ``position`` is the offset of the op that caused the error.
    """
    sequence, ops, bars = _resolved_network(text)
    try:
        # These ops, not the canonical ops, so that the path of an error matches the text.
        analyse(ops, task)
    except ShapeError as error:

        def call(sequence: _Tree, index: int) -> _Tree:
            return [item for item in sequence.children if item.data == "call"][index]  # other items are bars

        # A wrong output shape has an empty path.
        first, *inner_indices = error.path or (-1,)
        cause = call(sequence, first)
        for index in inner_indices:
            argument = cause.children[1]  # of ``res``
            cause = call(argument.children[0], index)
        error_in_text = ShapeError(error.message, path=error.path, position=_at(cause))
        error_in_text.text = text
        raise error_in_text from None
    return Architecture(ops, bars)


def parse_notation(text: str) -> Architecture:
    """Return the network that a stored text describes, without checking that the ops fit together.

    Canonical texts are parsed op by op with a cache, as stored networks share few thousand ops.

    Raises:
        NotationError: The text breaks the grammar, uses an unknown name or contains a choice.
    """
    words = _WORD.findall(text)
    ops: list[Op] = []
    bars: list[int] = []
    with suppress(NotationError):
        for word in words:
            if word == "|":
                bars.append(len(ops))
            else:
                ops.append(_op_of_word(word))
        if ops and " ".join(words) == text:
            return Architecture(tuple(ops), tuple(bars))
    # So that errors have positions in the whole text.
    return Architecture(*_resolved_network(text)[1:])


@lru_cache(maxsize=100_000)
def _op_of_word(word: str) -> Op:
    (op,) = _resolved_network(word)[1]
    return op


def _resolved_network(text: str) -> tuple[_Tree, tuple[Op, ...], tuple[int, ...]]:
    with _errors_with_text(text):
        sequence = _syntax_tree(text, "network")
        ops, bars = _Resolver(None, MNIST).sequence(sequence, _Scope()).fixed_ops()
        if not ops:
            example = "conv3x3(8) bn relu | gap | linear(10)"
            raise NotationError(f"the network is empty: write ops, as in '{example}'", position=0)
    return sequence, ops, bars


@contextmanager
def _errors_with_text(text: str) -> Iterator[None]:
    try:
        yield
    except NotationError as error:
        error.text = text
        raise


def parse_space(text: str, name: str = "space", task: Task = MNIST) -> SearchSpace:
    """Return the search space ``name`` that ``text`` describes; a bare sequence of ops becomes the rule ``net``.

    The name ``classes`` is the number of classes of ``task``, unless the text defines ``classes``.

    Raises:
        NotationError: The text breaks the grammar, uses an unknown name, or has a number out of range.
    """
    with _errors_with_text(text):
        tree = _syntax_tree(text, "space")
        if _is_sequence(tree):
            if all(item.data == "bar" for item in tree.children):
                raise NotationError("the search space is empty: define at least net = ...;", position=0)
            definitions = {"net": _Definition(position=0, parameters=(), body=tree)}
            normal_text = f"net = {_normal(tree)};\n"
        else:
            definitions = _definitions(tree)
            normal_text = _normal(tree)
        resolver = _Resolver(definitions, task)
        resolver.resolve("net", 0)
        values = dict(resolver.let_values)
        unused_names = tuple(name for name in definitions if not resolver.knows(name))
        for unused_name in unused_names:
            # Errors in unused definitions are reported too.
            resolver.resolve(unused_name, definitions[unused_name].position)
        net = resolver.parts["net"]
        shared_nodes = sum(part.max_nodes if isinstance(part, SpacePart) else 1 for part in values.values())
        _check_nodes(net.max_nodes + shared_nodes, 0)
        digest = hashlib.sha256(normal_text.encode()).hexdigest()[:12]
        limits = [limit for statement in tree.children if statement.data == "where" for limit in statement.children]
        conditions = tuple(map(_condition, limits))
        if clash := spaces.contradictory(conditions):
            raise _error(limits[conditions.index(clash[-1])], f"no network can satisfy {' and '.join(map(str, clash))}")
    return SearchSpace(
        name=name, text=text, hash=digest, net=net, let_values=values, conditions=conditions, task=task,
        unused_names=unused_names,
    )  # fmt: skip


def with_conditions(space: SearchSpace, conditions: tuple[Condition, ...]) -> SearchSpace:
    """Return the space with ``conditions`` appended to the stored text.

    Raises:
        NotationError: The bound of a condition is above ``_MAX_BOUND``, or the conditions are contradictory.
    """
    if not conditions:
        return space
    if clash := spaces.contradictory((*space.conditions, *conditions)):
        raise NotationError(f"no network of space '{space.name}' can satisfy {' and '.join(map(str, clash))}")
    # The text may end with a comment, and its last statement may lack the semicolon, which the second attempt adds.
    text = f"net = {space.text}\n;" if _is_sequence(_syntax_tree(space.text, "space")) else space.text
    limits = f"where {', '.join(map(str, conditions))};"
    try:
        limited_space = parse_space(f"{text}\n{limits}", space.name, space.task)
    except NotationError:
        limited_space = parse_space(f"{text}\n;\n{limits}", space.name, space.task)
    return replace(limited_space, weight_bits=space.weight_bits)


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return the conditions in a text such as ``macs<=1000000, receptive_field>=20``.

    Raises:
        NotationError: The text is not a list of conditions, a metric is unknown, or a bound is not a whole number or
            above ``_MAX_BOUND``.
    """
    with _errors_with_text(text):
        return tuple(map(_condition, _syntax_tree(text, "limits").children))


def _condition(limit: _Tree) -> Condition:
    metric, comparison = map(str, limit.children[:2])
    if metric not in list(Metric):
        message = f"unknown metric '{metric}'; known metrics: {', '.join(Metric)}"
        raise _error(limit, message, hint=nearest(metric, [each.value for each in Metric]))
    return Condition(Metric(metric), comparison, _whole(limit.children[2], f"the bound of {metric}", _MAX_BOUND))


@dataclass(frozen=True, slots=True)
class _Definition:
    """A named statement of a space; a ``let`` is drawn once and shared, a rule is drawn at each mention."""

    position: int
    parameters: tuple[str, ...]
    body: _Tree
    is_let: bool = False


def _definitions(tree: _Tree) -> dict[str, _Definition]:
    """``net`` must be defined."""
    definitions: dict[str, _Definition] = {}
    for statement in tree.children:
        if statement.data == "where":
            continue
        head, body = statement.children
        name, *arguments = [head] if statement.data == "let" else head.children
        name = str(name)
        if name in definitions:
            raise _error(statement, f"'{name}' is defined twice")
        if name in op_names():
            raise _error(statement, f"'{name}' is an op and cannot be redefined")
        is_let = statement.data == "let"
        definitions[name] = _Definition(_at(statement), _parameter_names(arguments), body, is_let)
    rules = {name: each for name, each in definitions.items() if not (each.is_let or each.parameters)}
    networks = [name for name, rule in rules.items() if _is_sequence(rule.body)]
    if "net" not in networks:
        message = "a search space must define 'net' as a rule of ops without parameters, as in net = ...;"
        similar_names = [] if "net" in definitions else get_close_matches("net", networks, n=1)
        hint = f"rename {similar_names[0]!r} to 'net'" if similar_names else None
        raise NotationError(message, position=definitions["net"].position if "net" in definitions else 0, hint=hint)
    return definitions


def _parameter_names(arguments: list[_Tree]) -> tuple[str, ...]:
    parameters: list[str] = []
    for argument in arguments:
        parameter = _name(argument.children[-1])
        if len(argument.children) > 1 or parameter is None or parameter in (*op_names(), *parameters):
            rule = "the parameters of a rule must be distinct names and not ops"
            raise _error(argument, f"{rule}, not {_cited(argument)}")
        parameters.append(parameter)
    return tuple(parameters)


# The name of an op, and the parameter that receives the number.
_Use = tuple[str, Parameter]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Possible values of an operand.

    Attributes:
        values: Values in ascending order; empty for a parameter of a rule.
        variable: Reference to a number drawn elsewhere, by a ``let`` or as the argument of a rule; else None.
    """

    values: tuple[int | float, ...]
    variable: Variable | None = None

    def value(self, label: str) -> Value:
        if self.variable or len(self.values) == 1:
            return self.variable or self.values[0]
        texts = tuple(map(plain, self.values))
        return ValueChoice(label, self.values, spaces.DecisionOptions(texts, ordered=True, weights=(1,) * len(texts)))


@dataclass(slots=True)
class _Scope:
    """Local names of a statement.

    ``uses`` has the uses of each parameter of the rule; each argument must suit all uses.
    """

    uses: dict[str, list[_Use]] = field(default_factory=dict)
    label_counts: Counter[str] = field(default_factory=Counter)

    def label(self, name: str) -> str:
        """Return ``name``, followed by ``.2``, ``.3`` ... if the label is already in use."""
        self.label_counts[name] += 1
        count = self.label_counts[name]
        return name if count == 1 else f"{name}.{count}"


class _Resolver:
    """Resolver of statements into parts and numbers.

    Statements are resolved on first use. This detects recursion, and puts each ``let`` behind the ``let`` statements on
    which it depends. Without definitions the text is a network: only names of ops are allowed, and no choices.
    """

    def __init__(self, definitions: dict[str, _Definition] | None, task: Task) -> None:
        self.let_values: dict[str, Value | SpacePart] = {}
        self.parts: dict[str, SpacePart] = {}
        self._is_network = definitions is None
        self._definitions = definitions or {}
        self._task = task
        self._active: list[str] = []  # being resolved, outermost first
        self._depth = -1  # number of sequences around the current sequence
        self._uses: dict[str, list[list[_Use]]] = {}  # of each parameter, in order, by name of the rule
        self._numbers: dict[str, _Numbers] = {}  # of the resolved statements that define numbers, by name

    def knows(self, name: str) -> bool:
        return name in self.parts or name in self._numbers

    def resolve(self, name: str, position: int) -> None:
        """Resolve a statement on its first mention; ``position`` is the offset of the mention."""
        if self.knows(name):
            return
        if name in self._active:
            cycle = " -> ".join([*self._active[self._active.index(name) :], name])
            raise NotationError(f"{name} refers to itself ({cycle}); recursion is not allowed", position=position)
        _check_depth(len(self._active), position)
        self._active.append(name)
        statement = self._definitions[name]
        if self._is_number(name):
            if statement.parameters:
                raise NotationError(f"{name} defines numbers and takes no parameters", position=statement.position)
            numbers = self._drawn(statement.body, _Scope())
            if statement.is_let:
                self.let_values[name] = numbers.value("")
                numbers = _Numbers(numbers.values, Variable(name, is_let=True))
            self._numbers[name] = numbers
        else:
            scope = _Scope({parameter: [] for parameter in statement.parameters}, Counter(statement.parameters))
            if name == "net":
                # These must differ from the names of shared parts.
                scope.label_counts.update(key for key, definition in self._definitions.items() if definition.is_let)
            match statement.body.children:
                case [group] if group.data == "group":
                    # The decision takes the name of the statement.
                    part = self._joined([self._atom(group, scope, "")], _at(group))
                case _:
                    part = self.sequence(statement.body, scope)
            if statement.is_let:
                self.let_values[name] = part
            self.parts[name] = part
            self._uses[name] = list(scope.uses.values())
        self._active.pop()

    def _is_number(self, name: str) -> bool:
        names: set[str] = set()
        while name in self._definitions and name not in names:
            names.add(name)
            operand = self._definitions[name].body
            if not _is_sequence(operand):
                return True
            reference = _name(operand)
            if reference is None:
                return False
            name = reference
        return name == _CLASSES and name not in self._definitions

    def sequence(self, sequence: _Tree, scope: _Scope) -> SpacePart:
        self._depth += 1
        _check_depth(self._depth, _at(sequence))
        parts: list[SpacePart] = []
        for item in sequence.children:
            kind = str(item.data)
            if self._is_network and kind not in ("bar", "call"):
                subject = "an optional part" if kind == "maybe" else "a group or repetition"
                raise _error(item, f"{subject} {_NOT_IN_A_NETWORK}")
            match kind:
                case "bar":
                    parts.append(SpacePart.bar())
                case "call" | "group":
                    parts.append(self._atom(item, scope, None))
                case "maybe":
                    (atom,) = item.children
                    label = scope.label(_label_of(atom))
                    content = self._joined([self._atom(atom, scope, label)], _at(item))
                    parts.append(SpacePart.either(f"{label}?", [SpacePart.joined([]), content], ("no", "yes")))
                case _:
                    parts += self._repetitions(item, scope)
        self._depth -= 1
        return self._joined(parts, _at(sequence))

    def _repetitions(self, repeat: _Tree, scope: _Scope) -> list[SpacePart]:
        atom, *counts = repeat.children
        position = _at(repeat)
        label = scope.label(_label_of(atom))
        part = self._joined([self._atom(atom, scope, "")], position)
        low = _whole(counts[0], "a number of repetitions", _MAX_REPEATS)
        high = _whole(counts[-1], "a number of repetitions", _MAX_REPEATS)  # the same for a single number
        if low > high:
            raise _error(counts[0], f"the repetition {{{low}..{high}}} is empty")
        repetitions = [part.with_label(f"{label}[{number}]") for number in range(1, high + 1)]
        if low == high:
            return repetitions
        numbers = range(low, high + 1)
        branches = [self._joined(repetitions[:number], position) for number in numbers]
        return [SpacePart.either(f"{label}*", branches, list(map(str, numbers)), ordered=True)]

    def _joined(self, parts: list[SpacePart], position: int) -> SpacePart:
        """Raise NotationError if a draw from a space could visit too many parts."""
        part = SpacePart.joined(parts)
        if not self._is_network:
            _check_nodes(part.max_nodes, position)
        return part

    def _atom(self, atom: _Tree, scope: _Scope, label: str | None) -> SpacePart:
        """``label`` is None for a new label, empty if the path has the name."""
        if atom.data == "group":
            alternatives = atom.children[1:]
            branches = [self.sequence(sequence, scope) for sequence in alternatives]
            if len(branches) == 1:
                return branches[0]
            texts = [_normal(sequence) or "nothing" for sequence in alternatives]
            return SpacePart.either(scope.label("group") if label is None else label, branches, texts)
        name = str(atom.children[0])
        if not self._is_network and (name in scope.uses or self._is_number(name)):
            raise _error(atom, f"'{name}' is a number; expected ops")
        if name in self._definitions:
            return self._mention(name, atom, scope, label)
        if name not in op_names():
            raise self._unknown(name, scope, _at(atom))
        return self._residual(atom, scope) if name == "res" else self._op(name, atom, scope)

    def _mention(self, name: str, call: _Tree, scope: _Scope, label: str | None) -> SpacePart:
        """``label`` as in ``_atom``."""
        statement = self._definitions[name]
        arguments = call.children[1:]
        self.resolve(name, _at(call))
        part = self.parts[name]
        _check_depth(self._depth + part.height, _at(call))
        parameters = statement.parameters
        if len(parameters) != len(arguments):
            parameter_text = f" ({', '.join(parameters)})" if parameters else ""
            message = f"{name} takes {counted(len(parameters), 'argument')}{parameter_text}, not {len(arguments)}"
            raise _error(call, message)
        if statement.is_let:
            return part.let_mention(name)
        values: dict[str, Value] = {}
        for parameter, uses, argument in zip(parameters, self._uses[name], arguments, strict=True):
            *keywords, operand = argument.children
            if keywords:
                raise _error(argument, "arguments of a rule must not have a keyword")
            numbers = self._drawn(operand, scope)
            for op, op_parameter in uses:
                _check_numbers(op, op_parameter, numbers, _at(operand), scope)
            values[parameter] = numbers.value(parameter)
        return part.with_label(scope.label(name) if label is None else label, values)

    def _residual(self, call: _Tree, scope: _Scope) -> SpacePart:
        match call.children[1:]:
            case [argument] if len(argument.children) == 1 and _is_sequence(argument.children[0]):
                part = self.sequence(argument.children[0], scope)
            case arguments:
                message = "res takes a single sequence of ops, as in res(conv3x3(8) bn)"
                raise _error(arguments[-1] if arguments else call, message)
        if self._is_network and not Architecture(*part.fixed_ops()).ops:
            raise _error(call, "res(...) contains no op with an effect")
        return part.residual()

    def _op(self, name: str, call: _Tree, scope: _Scope) -> SpacePart:
        arguments = _arguments_by_field(name, call)
        try:
            # Set by ``register_variant``.
            signature = SIGNATURES[name].with_flags(arguments)
        except ValueError as error:
            raise NotationError(f"{name}: {error}", position=_at(call)) from None
        values: dict[str, Value] = {}
        for field_name, (parameter, argument) in arguments.items():
            values[field_name] = self._argument(name, parameter, argument, scope)
        flags = {keyword for keyword in signature.variants if signature.options[keyword].kind is ArgumentKind.FLAG}
        for keyword in flags & values.keys():
            if values.pop(keyword) is not True:
                hint = "write alternatives, as in <bn / bn(bare)>"
                raise _error(call, f"{keyword} of {name} cannot be optional", hint=hint)
        example: Any = signature.make_default()  # has the values of the missing fields
        if not any(isinstance(value, ValueChoice | Variable) for value in values.values()):
            example = signature.make(**values)
        defaults = {each.name: getattr(example, each.name) for each in fields(example)}
        return SpacePart.op(type(example), list((defaults | values).values()))

    def _argument(self, name: str, parameter: Parameter, argument: _Tree, scope: _Scope) -> Value:
        operand = argument.children[-1]
        word, is_optional = _word(operand)
        if self._is_network and (is_optional or operand.data in ("set", "range")):
            subject = "an optional part" if is_optional else "a choice of values"
            raise _error(operand, f"{subject} {_NOT_IN_A_NETWORK}")
        if parameter.kind is ArgumentKind.TEXT:
            if not self._is_network or operand.data != "text":
                raise _error(operand, f"the {parameter.meaning} of {name} is {parameter.kind}, in networks only")
            return str(operand.children[0])[1:-1]
        if parameter.kind is ArgumentKind.TOTAL and operand.data == "number":
            return _whole(operand.children[0], f"the {parameter.meaning} of {name}", _MAX_BOUND)
        if parameter.kind in (ArgumentKind.FLAG, ArgumentKind.TIE):
            value = True if parameter.kind is ArgumentKind.FLAG else word
            if value is None:
                raise _error(argument, f"tie= takes a name, not {_cited(operand)}")
            if not is_optional:
                return value
            default = False if parameter.kind is ArgumentKind.FLAG else None
            options = spaces.DecisionOptions(texts=("no", "yes"), ordered=False, weights=(1, 1))
            return ValueChoice(scope.label(parameter.label), (default, value), options)
        numbers = self._drawn(operand, scope)
        _check_numbers(name, parameter, numbers, _at(operand), scope)
        if numbers.variable or len(numbers.values) == 1:
            return numbers.value("")
        return numbers.value(scope.label(_name(operand) or parameter.label))

    def _drawn(self, operand: _Tree, scope: _Scope) -> _Numbers:
        if not _is_sequence(operand):
            return _Numbers(_sorted_numbers(operand))
        name = _name(operand)
        if name in scope.uses:
            return _Numbers((), Variable(name, is_let=False))
        if name == _CLASSES and name not in self._definitions and not self._is_network:
            return _Numbers((self._task.classes,))
        if name in self._definitions and self._is_number(name):
            self.resolve(name, _at(operand))
            return self._numbers[name]
        if name is None or name in op_names() or name in self._definitions:
            raise _error(operand, f"'{_normal(operand)}' is a sequence of ops; expected a number")
        raise self._unknown(name, scope, _at(operand))

    def _unknown(self, name: str, scope: _Scope, position: int) -> NotationError:
        names = op_names() if self._is_network else (*op_names(), _CLASSES, *self._definitions, *scope.uses)
        explanation = f"known are {', '.join(names)}" if self._is_network else "neither an op nor defined in this space"
        return NotationError(f"unknown name '{name}': {explanation}", position=position, hint=nearest(name, names))


_NOT_IN_A_NETWORK = "is allowed in a search space, but not in a network"


def _check_nodes(nodes: int, position: int) -> None:
    if nodes > _MAX_NODES:
        raise NotationError(f"a draw could have more than {_MAX_NODES:,} parts", position=position)


def _check_depth(depth: int, position: int) -> None:
    if depth > _DEEPEST_NESTING:
        raise NotationError(f"rules and brackets are nested deeper than {_DEEPEST_NESTING} levels", position=position)


def _label_of(atom: _Tree) -> str:
    return "group" if atom.data == "group" else str(atom.children[0])


def _arguments_by_field(name: str, call: _Tree) -> dict[str, tuple[Parameter, _Tree]]:
    signature = SIGNATURES[name]
    number = signature.number
    arguments: dict[str, tuple[Parameter, _Tree]] = {}
    for argument in call.children[1:]:
        parameter = _parameter_of(argument, signature, has_number=number is not None and number.field in arguments)
        if parameter is None:
            meanings = [f"the {number.meaning}"] if number else []
            for keyword, option in signature.options.items():
                meanings.append(keyword if option.kind is ArgumentKind.FLAG else f"{keyword}=")
            takes = ", ".join(meanings) or "no arguments"
            word = _keyword(argument)
            hint = nearest(word, signature.options) if word else None
            raise _error(argument, f"{name} takes {takes}, not {_cited(argument)}", hint=hint)
        if parameter.field in arguments:
            raise _error(argument, f"the {parameter.meaning} of {name} is given twice")
        arguments[parameter.field] = parameter, argument
    if signature.required and number is not None and number.field not in arguments:
        example = 0.1 if number.kind is ArgumentKind.RATE else 8
        raise _error(call, f"{name} requires the {number.meaning}, as in {name}({example})")
    return arguments


def _keyword(argument: _Tree) -> str | None:
    *keywords, operand = argument.children
    return str(keywords[0]) if keywords else _word(operand)[0]


def _parameter_of(argument: _Tree, signature: Signature, *, has_number: bool) -> Parameter | None:
    word = _keyword(argument)
    option = None if word is None else signature.options.get(word)
    is_flag = option is not None and option.kind is ArgumentKind.FLAG
    if len(argument.children) > 1:
        return None if is_flag else option
    if option is not None:
        return option if is_flag else None
    # A second number is reported as a repeated number, a word after the number as an unknown option.
    return None if word and has_number else signature.number


def _check_numbers(op: str, parameter: Parameter, numbers: _Numbers, position: int, scope: _Scope) -> None:
    """A parameter of a rule has no numbers yet; the use is noted, and ``_mention`` checks the arguments of the rule."""
    if numbers.variable and not numbers.variable.is_let:
        scope.uses[numbers.variable.name].append((op, parameter))
    for value in numbers.values:
        if parameter.kind in (ArgumentKind.RATE, ArgumentKind.SLOPE):
            fits = value < 1 and (value > 0 or parameter.kind is ArgumentKind.RATE)
            limits = parameter.kind.value
        elif parameter.among:
            fits = value in parameter.among
            limits = f"one of {', '.join(map(str, parameter.among))}"
        else:
            fits = isinstance(value, int) and parameter.minimum <= value <= _MAX_NUMBER
            limits = f"a whole number from {parameter.minimum} to {_MAX_NUMBER:,}"
        if not fits:
            message = f"the {parameter.meaning} of {op} must be {limits}, not {plain(value)}"
            raise NotationError(message, position=position)


def _is_sequence(tree: _Tree) -> bool:
    return tree.data in ("sequence", "filled")


def _word(operand: _Tree) -> tuple[str | None, bool]:
    """Return the operand if it is a single word, else None; and whether a question mark follows."""
    if not _is_sequence(operand) or len(operand.children) != 1:
        return None, False
    (item,) = operand.children
    call = item.children[0] if item.data == "maybe" else item
    is_word = call.data == "call" and len(call.children) == 1
    return str(call.children[0]) if is_word else None, item.data == "maybe"


def _name(operand: _Tree) -> str | None:
    word, is_optional = _word(operand)
    return None if is_optional else word


def _sorted_numbers(tree: _Tree) -> tuple[int | float, ...]:
    """Return the numbers in ascending order; whole numbers are int."""
    values: set[int | float] = set()
    if tree.data == "text":
        raise _error(tree, f"expected a number, not the text {_normal(tree)}")
    for part in tree.children if tree.data == "set" else (tree,):
        numbers = [_fraction(token) for token in part.children]
        for token, number in zip(part.children, numbers, strict=True):
            if number > _MAX_NUMBER:
                raise _error(token, f"numbers must not exceed {_MAX_NUMBER:,}")
        if part.data == "range":
            low, high, step = (*numbers, Fraction(1))[:3]  # 1 unless the range has a third number
            if step == 0 or low > high:
                fault = "has the step 0" if step == 0 else "is empty; write the lower end first"
                raise _error(part, f"the range {_normal(part)} {fault}")
            if rest := (high - low) % step:
                fault = f"misses the upper end by {plain(float(rest))}; write the last number as the upper end"
                raise _error(part, f"the range {_normal(part)} {fault}")
            # A number too many is refused below.
            numbers = [low + step * index for index in range(min((high - low) // step, _MAX_VALUES) + 1)]
        for number in numbers:
            value = int(number) if number.denominator == 1 else float(number)
            if value in values:
                raise _error(part, f"the set contains {plain(value)} twice")
            values.add(value)
    if len(values) > _MAX_VALUES:
        raise _error(tree, f"a set may contain at most {_MAX_VALUES:,} numbers")
    return tuple(sorted(values))


def _fraction(token: Any) -> Fraction:
    if len(token) > _MAX_DIGITS:
        raise _error(token, f"a number has {len(token):,} digits; the limit is {_MAX_DIGITS}")
    return Fraction(token)


def _whole(token: Any, subject: str, largest: int) -> int:
    number = _fraction(token)
    if number > largest or number.denominator != 1:
        raise _error(token, f"{subject} must be a whole number from 0 to {largest:,}")
    return int(number)


@cache
def _parser() -> lark.Lark:
    import lark

    grammar = resources.files("harness.spaces").joinpath("notation.lark").read_text("utf-8")
    return lark.Lark(grammar, parser="lalr", start=["network", "space", "limits"], maybe_placeholders=False)


def _syntax_tree(text: str, start: Literal["network", "space", "limits"]) -> Any:
    import lark

    _check_size(text)
    try:
        tree = _parser().parse(text, start=start)
        return _without_synonyms(tree) if _SYNONYM_HINTS.search(text) else tree
    except lark.UnexpectedCharacters as error:
        raise _unexpected_character(text, cast(int, error.pos_in_stream)) from None
    except lark.UnexpectedToken as error:
        raise _unexpected_token(text, start, error) from None


def _check_size(text: str) -> None:
    """Raise NotationError if a text is too long or nested too deep, before the parser reads the text."""
    if len(text) > MAX_TEXT:
        message = f"the text has {len(text):,} characters; the limit is {MAX_TEXT:,}"
        raise NotationError(message, position=MAX_TEXT)
    depth = 0
    for match in re.finditer(r"#[^\r\n]*|[(;)>]|<(?!=)", text):
        symbol = match.group()
        depth = 0 if symbol == ";" else depth + _DEPTH_CHANGES.get(symbol, 0)
        if depth > _DEEPEST_NESTING:
            raise NotationError(f"brackets are nested deeper than {_DEEPEST_NESTING} levels", position=match.start())


def _unexpected_character(text: str, position: int) -> NotationError:
    mark = text[position]
    code_point = f"U+{ord(mark):04X} {unicodedata.name(mark, '')}".rstrip()
    spelling = f"'{mark}'" if mark.isascii() and mark.isprintable() else code_point
    marks = "names, decimal numbers and | ( ) , = < / > ? { .. } ;"
    return NotationError(f"unexpected character {spelling}; allowed are {marks}", position=position)


def _unexpected_token(text: str, start: str, error: lark.UnexpectedToken) -> NotationError:
    at_end = error.token.type == "$END"
    spelling = "end of the text" if at_end else f"'{error.token}'"
    # Plain strings are listed as such, regular expressions by the name of the terminal.
    symbols_of = {
        terminal.name: str(terminal.pattern.value).replace("\\", "")
        for terminal in _parser().terminals
        if terminal.pattern.type == "str"
    }
    symbols = {symbols_of.get(name, name) for name in map(str, error.accepts or error.expected)} - {"TEXT"}
    expected_symbols = sorted(symbols, key=lambda symbol: (symbol not in _TERMINAL_NAMES, symbol))
    hint = None
    if start == "network":
        expected_symbols = [symbol for symbol in expected_symbols if symbol not in _SPACE_SYMBOLS]
        if str(error.token) in _SPACE_SYMBOLS:
            hint = "choices and definitions are allowed in search spaces only"
    symbol_text = ", ".join(_TERMINAL_NAMES.get(symbol, f"'{symbol}'") for symbol in expected_symbols)
    position = len(text) if at_end else cast(int, error.token.start_pos)
    return NotationError(f"unexpected {spelling}; expected {symbol_text}", position=position, hint=hint)


def _without_synonyms(tree: _Tree) -> _Tree:
    """Replace synonyms of ops by the names of the notation, but keep names that the space defines.

    The stride of a pool is removed if it equals the window size.
    """
    statements = tree.find_pred(lambda node: node.data in ("let", "rule"))
    defined_names = {str(next(each.scan_values(lambda token: True))) for each in statements}
    # Inner trees first, so that the parent removes a call that is marked as left out.
    for node in tree.iter_subtrees():
        node.children = [child for child in node.children if getattr(child, "data", "") != "left_out"]
        if node.data != "call" or str(name := node.children[0]) in defined_names:
            continue
        word = _SYNONYMS.get(name.lower(), name.lower())
        if word in ("maxpool", "avgpool"):
            size = next((_normal(argument) for argument in node.children[1:] if len(argument.children) == 1), "2")
            node.children = [child for child in node.children if _normal(child) != f"stride={size}"]
        if word == "":
            node.data = "left_out"
        elif word in SIGNATURES or word == "res":
            node.children[0] = name.update(value=word)
    return tree


def _at(node: Any) -> int:
    while not isinstance(node, str):
        if not node.children:
            return 0
        node = node.children[0]
    return int(node.start_pos)  # type: ignore[attr-defined]  # tokens have this attribute


def _error(node: Any, message: str, hint: str | None = None) -> NotationError:
    return NotationError(message, position=_at(node), hint=hint)


# Normal forms of trees with a fixed number of children.
_NORMAL_FORMS = {"let": "let {} = {}", "rule": "{} = {}", "maybe": "{}?"}
# Prefix, separator and suffix, for any number of children.
_NORMAL_LISTS = {"where": ("where ", ", ", ""), "argument": ("", "=", ""), "set": ("{", ", ", "}")}


def _cited(tree: _Tree) -> str:
    text = _normal(tree)
    return text if text.startswith("'") else f"'{text}'"


def _normal(node: Any) -> str:
    """Parsing the normal form gives the same normal form again."""
    if isinstance(node, str):
        if not node[:1].isdigit():
            return str(node)
        number = format(Decimal(node), "f")
        return number.rstrip("0").rstrip(".") if "." in number else number
    parts = [_normal(child) for child in node.children]
    if node.data in _NORMAL_FORMS:
        return _NORMAL_FORMS[node.data].format(*parts)
    if node.data in _NORMAL_LISTS:
        before, between, behind = _NORMAL_LISTS[node.data]
        return before + between.join(parts) + behind
    match node.data:
        case "definitions":
            return "".join(f"{part};\n" for part in parts)
        case "call":
            return parts[0] + (f"({', '.join(parts[1:])})" if parts[1:] else "")
        case "group":
            return f"<{' / '.join(parts[1:])}>"
        case "repeat":
            low = parts[1]
            high = parts[-1]
            count = low if low == high else f"{low}..{high}"
            return f"{parts[0]}{{{count}}}"
        case "range":
            return "..".join(parts[:2]) + (f" step {parts[2]}" if parts[2:] else "")
        case _:
            return " ".join(parts)
