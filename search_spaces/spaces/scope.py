"""What the body of one statement of a search space sees, and what its operands can be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from search_spaces.op_specs import Parameter
from search_spaces.spaces.space import Variable

# An op, and that parameter of it which a number is for.
Need = tuple[str, Parameter]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What an operand can be: any of ``values``; ``variable`` stands for one that is drawn elsewhere."""

    values: tuple[int | float, ...]
    variable: Variable | None = None


@dataclass(slots=True)
class Scope:
    """What the body of one statement sees.

    Attributes:
        needs: the parameters of the rule, each with what the numbers given for it have to suit.
        taken: how often each label has been given out.
    """

    needs: dict[str, list[Need]] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)

    def label(self, wanted: str) -> str:
        """Return ``wanted``, numbered when it has been given out before."""
        self.taken[wanted] += 1
        count = self.taken[wanted]
        return wanted if count == 1 else f"{wanted}.{count}"
