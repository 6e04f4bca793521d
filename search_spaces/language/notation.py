r"""From text to network: the ops that a text names, checked, with the position of whatever is wrong.

The grammar is ``notation.lark``, the table of ops ``op_specs``; search spaces are read by ``resolve``.

    >>> network = parse_network("conv3x3(8) bn relu  # a comment\n | gap | linear(10)")
    >>> print(network)
    conv3x3(8) bn relu | gap | linear(10)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from search_spaces.architecture import Architecture
from search_spaces.cost import analyse_ops
from search_spaces.errors import NotationError, ShapeError
from search_spaces.language.signatures import bind, check_number, residual_body, tie_name, unknown_op
from search_spaces.language.syntax import Argument, Bar, Call, Maybe, Number, Range, Sequence, ValueSet
from search_spaces.language.value_sets import numbers
from search_spaces.op_specs import SIGNATURES, Kind, Parameter
from search_spaces.ops import Op, Residual
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
    from search_spaces.language.grammar import read_network

    try:
        found = _ops(read_network(text))
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
        raise unknown_op(call.name, call.position)
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
