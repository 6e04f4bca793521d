"""The methods of search that the bench compares: those that come with it, by name.

All run in the open part of ``harness search`` (``exploration``): the same code asks, rejects what is over the budget,
confirms what passed on fresh seeds, and so names the answer of the moment. Methods differ in who proposes, in which
parts of the search are at work, and in what happens at the rungs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.search.optuna_sampler import DEFAULT as DEFAULT_SAMPLER
from harness.search.optuna_sampler import SAMPLERS
from harness.search.propose import ALL_ON, Switches


class Stops(StrEnum):
    """What happens at the rungs: nothing, the rule of ``race``, or successive halving."""

    NEVER = "never"
    RACE = "race"
    HALVING = "halving"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIn:
    """A method that comes with the bench.

    Attributes:
        says: what it does, for the report.
    """

    name: str
    says: str
    sampler: str
    switches: Switches
    stops: Stops


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """Somebody's Python function, found by the name of its entry point."""

    name: str
    says: str = "somebody's Python entry point"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Somebody's program, which answers in JSON lines.

    Attributes:
        command: program and arguments.
    """

    name: str
    command: tuple[str, ...]
    says: str = "somebody's program"


Method = BuiltIn | EntryPoint | Program

DEFAULT = "default"
# A sampler by itself: fresh seeds decide what the answer is, as for every method; no other part is at work.
BARE = Switches(ladder=False, aim=False, falling_budget=False, repeats=False)


def _bare(sampler: str, says: str, stops: Stops = Stops.NEVER, name: str = "") -> BuiltIn:
    return BuiltIn(name=name or sampler, says=says, sampler=sampler, switches=BARE, stops=stops)


def _aided(sampler: str) -> BuiltIn:
    return BuiltIn(
        name=f"{sampler}-aided",
        says=f"{sampler}, with the default's rungs and falling budget",
        sampler=sampler,
        switches=replace(BARE, falling_budget=True),
        stops=Stops.RACE,
    )


_WHOLE = BuiltIn(
    name=DEFAULT,
    says="harness search as it is",
    sampler=DEFAULT_SAMPLER,
    switches=ALL_ON,
    stops=Stops.RACE,
)

MAIN: Mapping[str, BuiltIn] = {
    method.name: method
    for method in (
        _bare("random", "uniform draws of the space, each trained to its end"),
        _bare("tpe", "Optuna's TPE (multivariate, grouped), each network trained to its end"),
        _bare("nsga2", "Optuna's NSGA-II (population 20), each network trained to its end"),
        _bare("evolution", "aging evolution (Real et al. 2019), each network trained to its end"),
        _bare("random", "uniform draws under asynchronous successive halving", Stops.HALVING, "halving"),
        *(_aided(sampler) for sampler in ("random", "tpe", "nsga2", "evolution")),
        _WHOLE,
    )
}


def _without(name: str, says: str, **changes: bool) -> BuiltIn:
    switches = replace(ALL_ON, **changes)
    return replace(_WHOLE, name=name, says=f"the default, but {says}", switches=switches)


# One part of the default at a time.
ABLATIONS: Mapping[str, BuiltIn] = {
    method.name: method
    for method in (
        replace(_WHOLE, name="no-rungs", says="the default, but every run goes to its end", stops=Stops.NEVER),
        _without("no-falling-budget", "sizes above what is confirmed are proposed too", falling_budget=False),
        _without("no-confirmation", "a network is confirmed by its first run", confirmation=False),
        _without("no-ladder", "without the ladder of sizes at the beginning", ladder=False),
        _without("no-aim", "networks after the ladder are uniform draws, no model of the errors chooses", aim=False),
        *(
            replace(
                _WHOLE,
                name=f"with-{sampler}",
                says=f"the default, but {sampler} takes turns with the model of the errors",
                sampler=sampler,
            )
            for sampler in SAMPLERS
            if sampler != DEFAULT_SAMPLER
        ),
    )
}

BUILT_IN: Mapping[str, BuiltIn] = {**MAIN, **ABLATIONS}
