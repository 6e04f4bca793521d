r"""From text to network: the ops that a text names, checked, with the position of whatever is wrong.

The grammar is ``notation.lark``, the table of ops ``op_specs``; search spaces are read by ``resolve``.

    >>> network = parse_network("conv3x3(8) bn relu  # a comment\n | gap | linear(10)")
    >>> print(network)
    conv3x3(8) bn relu | gap | linear(10)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from search_spaces.cost import analyse_ops
from search_spaces.errors import NotationError, ShapeError, nearest
from search_spaces.network import Architecture
from search_spaces.op_specs import OP_NAMES, SIGNATURES, Kind, Parameter, Signature, plain
from search_spaces.ops import Op, Residual
from search_spaces.syntax import Argument, Bar, Call, Maybe, Number, Operand, Range, Sequence, Value, ValueSet
from search_spaces.task import MNIST, Task

# An op, or the bar before one, as canonical texts have it; a residual sum within another is read with its whole text.
_WORD = re.compile(r"\||[a-z0-9]+(?:\((?:[^()]|\([^()]*\))*\))?")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an op stands in the text, and the ops inside it."""

    position: int
    inner: tuple[_Place, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ops:
    ops: tuple[Op, ...]
    bars: tuple[int, ...]
    places: tuple[_Place, ...]


def parse_network(text: str, task: Task = MNIST) -> Architecture:
    """Return the network that ``text`` describes, in canonical form.

    Raises:
        NotationError: the text is not in the notation, names something unknown or makes a choice.
        ShapeError: the ops do not fit together; ``position`` is that of the op that caused it.
    """
    found = _read(text)
    try:
        # As written, not in canonical form: the path of an error has to lead back into the text.
        analyse_ops(found.ops, task)
    except ShapeError as error:
        position = _position(found.places, error.path)
        placed = ShapeError(error.message, path=error.path, position=position)
        placed.text = text
        raise placed from None
    return Architecture(found.ops, found.bars)


def parse_notation(text: str) -> Architecture:
    """Return the network that a stored text describes; whether its ops fit together is not looked at.

    Canonical texts are read op by op, and each op once: the same few thousand come up again and again.

    Raises:
        NotationError: the text is not in the notation, names something unknown or makes a choice.
    """
    words = _WORD.findall(text)
    ops: list[Op] = []
    bars: list[int] = []
    try:
        for word in words:
            if word == "|":
                bars.append(len(ops))
            else:
                ops.append(_one_op(word))
    except NotationError:
        ops = []
    if not ops or " ".join(words) != text:
        # Any other text is read whole, and an error tells its position there.
        found = _read(text)
        return Architecture(found.ops, found.bars)
    return Architecture(tuple(ops), tuple(bars))


@lru_cache(maxsize=100_000)
def _one_op(word: str) -> Op:
    (op,) = _read(word).ops
    return op


def _read(text: str) -> _Ops:
    # Reading needs lark, whose import would slow the start of commands that read nothing.
    from search_spaces.grammar import read

    try:
        found = _ops(read(text, "network"))
        if not found.ops:
            example = "conv3x3(8) bn relu | gap | linear(10)"
            raise NotationError(f"the network is empty: write ops, as in '{example}'", position=0)
    except NotationError as error:
        error.text = text
        raise
    return found


def _position(places: tuple[_Place, ...], path: tuple[int, ...]) -> int:
    if not path:
        # The whole network ends wrong: its last op is what to change.
        return places[-1].position
    place = places[path[0]]
    return _position(place.inner, path[1:]) if path[1:] else place.position


def _ops(sequence: Sequence) -> _Ops:
    ops: list[Op] = []
    bars: list[int] = []
    places: list[_Place] = []
    for item in sequence.items:
        if isinstance(item, Bar):
            bars.append(len(ops))
        elif isinstance(item, Call):
            op, place = _op(item)
            ops.append(op)
            places.append(place)
        else:
            what = "an optional part" if isinstance(item, Maybe) else "a group or repetition"
            raise _choice(what, item.position)
    return _Ops(tuple(ops), tuple(bars), tuple(places))


def _op(call: Call) -> tuple[Op, _Place]:
    if call.name == "res":
        inner = _ops(residual_body(call))
        if not Architecture(inner.ops).ops:
            raise NotationError("res(...) holds no op that does anything", position=call.position)
        return Residual(inner.ops, inner.bars), _Place(call.position, inner.places)
    if call.name not in SIGNATURES:
        known = ", ".join(OP_NAMES)
        message = f"unknown op '{call.name}'; known are {known}"
        raise NotationError(message, position=call.position, hint=nearest(call.name, OP_NAMES))
    values = {parameter.field: _literal(call.name, parameter, argument) for parameter, argument in bind(call)}
    return SIGNATURES[call.name].make(**values), _Place(call.position)


def _literal(name: str, parameter: Parameter, argument: Argument) -> int | float | str:
    match argument.operand:
        case ValueSet() | Range():
            raise _choice("a choice of values", argument.operand.position)
        case Sequence(items=(Maybe(position=position),)):
            raise _choice("an optional part", position)
        case Number() as number if parameter.kind in (Kind.COUNT, Kind.RATE, Kind.SLOPE):
            (value,) = numbers(number)
            check_number(name, parameter, value, number.position)
            return value
    if parameter.kind is Kind.FLAG:
        return True
    if parameter.kind is Kind.TIE:
        return tie_name(argument)
    raise NotationError(
        f"{name} takes {parameter.kind.value} as its {parameter.meaning}, not '{argument.operand}'",
        position=argument.position,
    )


def _choice(what: str, position: int) -> NotationError:
    return NotationError(f"{what} belongs to a search space; a network is one network", position=position)


def bind(call: Call) -> list[tuple[Parameter, Argument]]:
    """Return which parameter each argument of an op's call sets; the values are not looked at.

    Raises:
        NotationError: an argument is missing, given twice, one too many or unknown.
    """
    signature = SIGNATURES[call.name]
    bound: dict[str, tuple[Parameter, Argument]] = {}
    for argument in call.arguments:
        taken = signature.number is not None and signature.number.field in bound
        parameter = _target(call, signature, argument, taken)
        if parameter.field in bound:
            raise NotationError(f"{call.name} is given its {parameter.meaning} twice", position=argument.position)
        bound[parameter.field] = (parameter, argument)
    if signature.required and signature.number is not None and signature.number.field not in bound:
        example = "0.1" if signature.number.kind is Kind.RATE else "8"
        raise NotationError(
            f"{call.name} needs its {signature.number.meaning}, as in {call.name}({example})",
            position=call.position,
        )
    return list(bound.values())


def residual_body(call: Call) -> Sequence:
    """Return the ops that a call of ``res`` holds.

    Raises:
        NotationError: it holds none, a number, or more than one sequence.
    """
    if not call.arguments:
        raise NotationError(
            "res() is empty: it needs the ops whose output it adds its input to, as in res(conv3x3(8) bn)",
            position=call.position,
        )
    if len(call.arguments) > 1:
        raise NotationError(
            "res takes one sequence of ops; separate them by spaces, not commas",
            position=call.arguments[1].position,
        )
    argument = call.arguments[0]
    if argument.keyword is not None or not isinstance(argument.operand, Sequence):
        raise NotationError(f"res takes ops, not '{argument}'", position=argument.position)
    return argument.operand


def check_number(name: str, parameter: Parameter, value: int | float, position: int) -> None:
    """Check that the op ``name`` takes ``value`` for ``parameter``.

    Raises:
        NotationError: it is out of range or not whole.
    """
    if parameter.kind in (Kind.RATE, Kind.SLOPE):
        if value < 1 and (value > 0 or parameter.kind is Kind.RATE):
            return
        allowed = parameter.kind.value
    elif parameter.among:
        if value in parameter.among:
            return
        allowed = f"one of {', '.join(map(str, parameter.among))}"
    else:
        if isinstance(value, int) and parameter.minimum <= value <= _LARGEST_NUMBER:
            return
        allowed = f"a whole number from {parameter.minimum} to {_LARGEST_NUMBER:,}"
    raise NotationError(f"{name} takes {allowed} as its {parameter.meaning}, not {plain(value)}", position=position)


def tie_name(argument: Argument) -> str:
    """Return the name in ``tie=NAME`` or ``tie=NAME?``.

    Raises:
        NotationError: it is not a plain name.
    """
    name = _word(argument)
    if name is None:
        raise NotationError(f"tie= takes a plain name, not '{argument.operand}'", position=argument.position)
    return name


def is_optional(argument: Argument) -> bool:
    """Return whether an argument is a single word with a question mark."""
    operand = argument.operand
    return isinstance(operand, Sequence) and len(operand.items) == 1 and isinstance(operand.items[0], Maybe)


def plain_name(operand: Operand) -> str | None:
    """Return the name that an operand consists of, or None when it is something else."""
    match operand:
        case Sequence(items=(Call(name=name, arguments=()),)):
            return name
    return None


def _target(call: Call, signature: Signature, argument: Argument, taken: bool) -> Parameter:
    if argument.keyword is not None:
        option = signature.options.get(argument.keyword)
        if option is None:
            raise _unknown_option(call.name, signature, argument.keyword, argument.position)
        if option.kind is Kind.FLAG:
            raise NotationError(f"{argument.keyword} stands alone, without '='", position=argument.position)
        return option
    word = _word(argument)
    if word is not None and word in signature.options:
        option = signature.options[word]
        if option.kind is not Kind.FLAG:
            raise NotationError(f"{word} needs {option.kind.value}, as in {word}=1", position=argument.position)
        return option
    if signature.number is None or (taken and word is not None):
        raise _surplus(call.name, signature, argument, word)
    return signature.number


def _word(argument: Argument) -> str | None:
    match argument.operand:
        case Sequence(items=(Maybe(body=Call(name=name, arguments=())),)):
            return name
    return plain_name(argument.operand)


def _surplus(name: str, signature: Signature, argument: Argument, word: str | None) -> NotationError:
    if signature.options and word is not None:
        return _unknown_option(name, signature, word, argument.position)
    takes = "options only" if signature.options else "no arguments"
    return NotationError(f"{name} takes {takes}, not '{argument}'", position=argument.position)


def _unknown_option(name: str, signature: Signature, option: str, position: int) -> NotationError:
    if not signature.options:
        return NotationError(f"{name} has no options, so '{option}' means nothing here", position=position)
    spelled = [key if value.kind is Kind.FLAG else f"{key}=" for key, value in signature.options.items()]
    return NotationError(
        f"{name} has no option '{option}'; its options are {', '.join(spelled)}",
        position=position,
        hint=nearest(option, signature.options),
    )


_LARGEST_NUMBER = 10_000
_MOST_VALUES = 1_000


def numbers(value: Value) -> tuple[int | float, ...]:
    """Return the numbers in ascending order, whole ones as int.

    Raises:
        NotationError: a range is empty, a number stands twice, or there are too many.
    """
    if isinstance(value, Number):
        return (_plain(_exact(value)),)
    parts = value.elements if isinstance(value, ValueSet) else (value,)
    found: set[int | float] = set()
    for part in parts:
        for number in map(_plain, _spread(part) if isinstance(part, Range) else [_exact(part)]):
            if number in found:
                raise NotationError(f"{plain(number)} stands twice in this set", position=part.position)
            found.add(number)
            if len(found) > _MOST_VALUES:
                raise NotationError(f"a set holds at most {_MOST_VALUES:,} numbers", position=value.position)
    return tuple(sorted(found))


def whole(number: Number, what: str, largest: int, smallest: int = 0) -> int:
    """Return a number as int.

    Raises:
        NotationError: it is not whole, below ``smallest`` or above ``largest``.
    """
    if not smallest <= number.value <= largest or number.value != int(number.value):
        allowed = f"a whole number from {smallest:,} to {largest:,}"
        shown = f", not {number}" if len(str(number)) <= 20 else ""
        raise NotationError(f"{what} is {allowed}{shown}", position=number.position)
    return int(number.value)


def _spread(spread: Range) -> list[Fraction]:
    low, high = _exact(spread.low), _exact(spread.high)
    step = _exact(spread.step) if spread.step else Fraction(1)
    if step == 0:
        raise NotationError("the step of a range is above 0", position=spread.position)
    if low > high:
        raise NotationError(f"the range {spread} is empty; write the lower end first", position=spread.position)
    count = (high - low) // step + 1
    if count > _MOST_VALUES:
        raise NotationError(f"a set holds at most {_MOST_VALUES:,} numbers", position=spread.position)
    return [low + step * index for index in range(count)]


def _exact(number: Number) -> Fraction:
    if number.value > _LARGEST_NUMBER:
        shown = f", not {number}" if len(str(number)) <= 20 else ""
        raise NotationError(f"numbers go up to {_LARGEST_NUMBER:,}{shown}", position=number.position)
    return Fraction(number.value)


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
