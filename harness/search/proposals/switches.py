"""Which parts of the search are at work: all of them, but where the bench asks what one is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The parts that can be left out, each by itself. Rungs are left out by naming none.

    Attributes:
        ladder: begin with networks of evenly spread sizes.
        aim: networks after the ladder are those that a model of the errors thinks most of, or every second of them
            where another sampler takes turns with it.
        falling_budget: propose nothing as large as the smallest network that stands.
        confirmation: a network stands on fresh seeds; without it its first run suffices.
        repeats: a proposal of a known network that missed is a further seed of it; without it nothing follows.
    """

    ladder: bool = True
    aim: bool = True
    falling_budget: bool = True
    confirmation: bool = True
    repeats: bool = True


ALL_ON = Switches()
