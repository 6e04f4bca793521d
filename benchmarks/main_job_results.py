"""The measured searches of the main job: what each must show, what it has shown, and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cold_search import Outcome
from harness.system import files
from harness.system.document import documented, read_as

# A person who sees nothing for longer takes the search for stuck.
FIRST_STANDING_SECONDS = 240.0
# A search that got less than this of the cores that were its own shows what other programs left, not what it can do.
LEAST_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Searches that differ in nothing but their seed.

    Attributes:
        options: of ``harness search``; all others stay at their defaults.
        most_parameters: the answer may have at most so many, and the first one comes soon; None where any answer does.
        goal_parameters: what is hoped for, which decides nothing.
        busy: other processes beside the search.
        full_speed: the search has all cores, also where the others have one because the machine is fast.
    """

    options: tuple[str, ...]
    seeds: tuple[int, ...]
    most_parameters: int | None = None
    goal_parameters: int | None = None
    busy: int = 0
    full_speed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a search has shown what it must.

    Attributes:
        missed: one phrase for each thing that it has not shown.
        goal_met: None where the case has no goal.
    """

    met: bool
    missed: tuple[str, ...]
    goal_met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSearch:
    """One search and what it was measured with.

    Attributes:
        options: of its case.
        arguments: of ``harness``, all of them.
        machine: its processor and the code, see ``benchmarks.machine``.
        peak_gflops: multiply-adds of fp32 that one core makes, times two, in 10^9 a second.
        half_speed: the search had one core, so that its two workers had half of one each.
        busy: other processes beside it.
        configuration: key of the defaults that it rests on.
    """

    case: str
    seed: int
    options: tuple[str, ...]
    arguments: tuple[str, ...]
    date_utc: str
    machine: dict[str, Any]
    peak_gflops: float
    half_speed: bool
    busy: int
    configuration: str
    outcome: Outcome
    verdict: Verdict

    @property
    def key(self) -> tuple[str, int]:
        """Which search of the main job it is."""
        return self.case, self.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A change of form after which older searches still count: replayed ones were equal, see ``same_search.py``.

    Attributes:
        old: key of the configuration that the searches were measured with; ``new`` that for which they count now.
        old_commit: of the older code; ``new_commit`` of the present, ``dirty`` where it had changes besides.
        files: that differ. A replay does not run all of them: their changes are to be read.
        replayed: searches on recorded trainings, in the old code and in the new.
        equal: how many of them had the same answers at the same times.
    """

    date_utc: str
    old: str
    new: str
    old_commit: str | None
    new_commit: str | None
    dirty: bool | None
    files: tuple[str, ...]
    methods: tuple[str, ...]
    replayed: int
    equal: int


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the file holds.

    Attributes:
        configurations: the defaults that searches rest on, by their key.
        disturbed: searches that other programs have slowed down (``is_disturbed``); they are run again.
    """

    configurations: dict[str, dict[str, Any]]
    searches: tuple[MeasuredSearch, ...]
    carried: tuple[Carried, ...] = ()
    disturbed: tuple[MeasuredSearch, ...] = ()


def is_disturbed(search: MeasuredSearch) -> bool:
    """Return whether other programs than those of its case took a great part of its cores."""
    share = search.outcome.processor_share
    return not search.busy and share is not None and share < LEAST_SHARE


def verdict(case: Case, outcome: Outcome) -> Verdict:
    """Return what an outcome is worth for its case."""
    missed = []
    found = outcome.winner.parameters if outcome.reached and outcome.winner is not None else None
    if found is None:
        missed.append("no answer" if outcome.exit_code in (0, 3) else f"no answer, exit code {outcome.exit_code}")
    elif case.most_parameters is not None and found > case.most_parameters:
        missed.append(f"more than {case.most_parameters:,} parameters")
    if outcome.first_standing_seconds is None:
        missed.append("nothing stood")
    elif case.most_parameters is not None and outcome.first_standing_seconds > FIRST_STANDING_SECONDS:
        missed.append(f"nothing stood within {FIRST_STANDING_SECONDS:.0f} s")
    goal = case.goal_parameters
    return Verdict(
        met=not missed,
        missed=tuple(missed),
        goal_met=None if goal is None else found is not None and found <= goal,
    )


def configuration_key(configuration: dict[str, Any]) -> str:
    """Return 12 hex digits that no other configuration has."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:12]


def planned(cases: Mapping[str, Case]) -> list[tuple[str, int]]:
    """Return the case and seed of each search of the main job, in order."""
    return [(name, seed) for name, case in cases.items() for seed in case.seeds]


def missing(results: Results, cases: Mapping[str, Case], configuration: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the case and seed of each search that has not been measured with this configuration, in order."""
    key = configuration_key(configuration)
    done = {search.key: search for search in results.searches if search.configuration == key}
    return [
        (name, seed)
        for name, seed in planned(cases)
        if (search := done.get((name, seed))) is None or search.options != cases[name].options
    ]


def with_search(results: Results, search: MeasuredSearch, configuration: dict[str, Any]) -> Results:
    """Return the results with this search in the place of an older one of its case and seed.

    A disturbed one takes no place; it is kept beside the others.
    """
    assert search.configuration == configuration_key(configuration), "a search names the defaults that it rests on"
    known = replace(results, configurations=results.configurations | {search.configuration: configuration})
    if is_disturbed(search):
        return replace(known, disturbed=(*results.disturbed, search))
    others = tuple(other for other in results.searches if other.key != search.key)
    return replace(known, searches=(*others, search))


def tidied(results: Results, cases: Mapping[str, Case]) -> Results:
    """Return the results in the order of the cases, judged by what these ask now.

    What is no case any more is gone, and so is what was carried over to code that no search counts for any more.
    """
    order = {(name, seed): place for place, (name, seed) in enumerate(planned(cases))}
    kept = sorted((search for search in results.searches if search.key in order), key=lambda each: order[each.key])
    judged = tuple(replace(each, verdict=verdict(cases[each.case], each.outcome)) for each in kept)
    disturbed = tuple(each for each in results.disturbed if each.key in order)
    used = {each.configuration for each in (*judged, *disturbed)}
    known = {key: value for key, value in results.configurations.items() if key in used}
    led, carried = set(used), list[Carried]()
    for each in reversed(results.carried):
        if each.new in led:
            led.add(each.old)
            carried.insert(0, each)
    return replace(results, configurations=known, searches=judged, carried=tuple(carried), disturbed=disturbed)


def read(path: Path) -> Results:
    """Read the file; where there is none, nothing has been measured.

    Raises:
        ContentError: the file is not one of this program.
    """
    if not path.exists():
        return Results(configurations={}, searches=())
    return read_as(Results, path.read_bytes(), str(path))


def write(path: Path, results: Results) -> None:
    """Write the file.

    Raises:
        UsageError: the folder cannot be written.
    """
    files.write_json(path, asdict(results))
