"""The statements of a search space, looked at from outside: what is defined, and the conditions."""

from __future__ import annotations

from search_spaces.errors import NotationError, nearest
from search_spaces.language.signatures import plain_name
from search_spaces.language.syntax import Definitions, Let, Limit, Rule, Sequence, Where
from search_spaces.language.value_sets import whole
from search_spaces.op_specs import OP_NAMES
from search_spaces.spaces.space import Condition, Metric, contradictory

LARGEST_BOUND = 10**12


def symbols(definitions: Definitions) -> dict[str, Let | Rule]:
    """Return the statements that define names, ``net`` among them.

    Raises:
        NotationError: a name is defined twice or is an op's, a parameter is no name, or ``net`` is missing.
    """
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
    if isinstance(net, Let) or not isinstance(net.body, Sequence) or parameters(net):
        raise NotationError("'net' is a plain rule of ops, as in net = ...;", position=net.position)
    return table


def parameters(statement: Let | Rule) -> tuple[str, ...]:
    """Return the names of a rule's parameters; a ``let`` has none."""
    if isinstance(statement, Let):
        return ()
    return tuple(plain_name(argument.operand) or "" for argument in statement.head.arguments)


def conditions(definitions: Definitions) -> tuple[Condition, ...]:
    """Return all conditions of all ``where`` statements.

    Raises:
        NotationError: a metric is unknown, a bound is not a whole number, or no network can meet all conditions.
    """
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
    from search_spaces.language.grammar import read_limits

    try:
        return tuple(map(_condition, read_limits(text).limits))
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
    bound = whole(limit.bound, f"the bound of {limit.metric}", LARGEST_BOUND)
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
