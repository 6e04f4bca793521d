"""How the arguments of a call fit what an op takes; ``op_specs`` says what that is.

Networks and search spaces share these rules.
"""

from __future__ import annotations

from search_spaces.errors import NotationError, nearest
from search_spaces.language.syntax import Argument, Call, Maybe, Operand, Sequence
from search_spaces.language.value_sets import LARGEST_NUMBER
from search_spaces.op_specs import OP_NAMES, SIGNATURES, Kind, Parameter, Signature, plain


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
        if isinstance(value, int) and parameter.minimum <= value <= LARGEST_NUMBER:
            return
        allowed = f"a whole number from {parameter.minimum} to {LARGEST_NUMBER:,}"
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


def unknown_op(name: str, position: int) -> NotationError:
    """Return the error for a name that is not that of an op."""
    known = ", ".join(OP_NAMES)
    message = f"unknown op '{name}'; known are {known}"
    return NotationError(message, position=position, hint=nearest(name, OP_NAMES))


def _target(call: Call, signature: Signature, argument: Argument, taken: bool) -> Parameter:
    """Return the parameter that an argument is for; ``taken`` says that the op has its number already."""
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
    """Return the name that an argument without keyword consists of, made optional or not."""
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
