"""Tables of the main job, as Markdown: one line a case for the README, one line a search for docs/search.md.

Misses and searches that have not been run are in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.main_job_results import (
    FIRST_STANDING_SECONDS,
    LEAST_SHARE,
    Case,
    MeasuredSearch,
    Results,
    planned,
)
from harness.evidence.leaderboard_csv import Tier
from harness.system.terminal import counted

MINUTES = (5, 10, 20, 40)
# What the requirements were written for, in GFLOP/s a core.
_MEANT_FOR = 130
_HALVED = (
    f" The requirements are meant for cores of some {_MEANT_FOR} GFLOP/s, so where cores are much faster, both workers "
    "of a search shared one core."
)
NONE_YET = "Searches by the present rules have not been run yet; `python -m benchmarks.main_job` runs them.\n"
COLUMNS = (
    "search",
    "seed",
    "first network confirmed after",
    "its parameters",
    *(f"after {minutes} min" for minutes in MINUTES),
    "parameters of the answer",
    "its test accuracy, %",
    "verdict",
)


def summary(results: Results, cases: Mapping[str, Case], known: frozenset[str]) -> str:
    """Return a line a case.

    Args:
        known: hashes of the networks among the earlier trainings.
    """
    if not results.searches:
        return NONE_YET
    done = {search.key: search for search in results.searches}
    lines = [
        "| options | searches run | met | of these *verified* | parameters of the answer: median (largest) "
        "| asked for | seconds to the first answer: median (longest) |",
        f"|{' --- |' * 7}",
    ]
    for name, case in cases.items():
        found = [done[name, seed] for seed in case.seeds if (name, seed) in done]
        asked = "an answer" if case.most_parameters is None else f"at most {case.most_parameters:,}"
        options = f"`{' '.join(case.options)}`{beside(case)}"
        if not found:
            lines.append(f"| {options} | 0 of {len(case.seeds)} | | | | {asked} | |")
            continue
        sizes = [each.outcome.winner.parameters for each in found if each.outcome.reached and each.outcome.winner]
        waits = [each.outcome.first_standing_seconds for each in found]
        stood = [seconds for seconds in waits if seconds is not None]
        cells = [
            options,
            f"{len(found)} of {len(case.seeds)}",
            str(sum(each.verdict.met for each in found)),
            str(sum(each.verdict.met and _tier(each) == Tier.VERIFIED for each in found)),
            "none" if len(sizes) < len(found) else f"{median(sizes):,.0f} ({max(sizes):,})",
            asked,
            "never" if len(stood) < len(found) else f"{median(stood):.0f} ({max(stood):.0f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    said = f"{_count(done, cases)}{_goals(done, cases)}{_pace(_among(done, cases))}{_answers(results, cases, known)}"
    return "\n".join([*lines, "", said]) + "\n"


def section(results: Results, cases: Mapping[str, Case], compared: Mapping[str, Case], known: frozenset[str]) -> str:
    """Return a line a search, and what parts of the search are worth.

    Args:
        cases: the first is what the compared ones are compared with.
        known: hashes of the networks among the earlier trainings.
    """
    done = {search.key: search for search in results.searches}
    if not any(key in done for key in planned(cases)):
        return NONE_YET
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
        *(_line(name, seed, done.get((name, seed))) for name, seed in planned(cases)),
    ]
    said = f"{_machines(_among(done, cases))}{_answers(results, cases, known)}{_disturbed(results)}{_carried(results)}"
    head = f"{_count(done, cases)} {_asked(cases)} {said}"
    return "\n".join([head, "", *lines, *_comparison(done, cases, compared)]) + "\n"


def beside(case: Case) -> str:
    """Return what is special about where the searches of a case run, for people; nothing where nothing is."""
    return (" beside another busy process" if case.busy else "") + (" on all cores" if case.full_speed else "")


def _answers(results: Results, cases: Mapping[str, Case], known: frozenset[str]) -> str:
    """Return how many networks the answers are: a search may find what others have found before."""
    asked = set(planned(cases))
    winners = [each.outcome.winner for each in results.searches if each.key in asked and each.outcome.reached]
    answers = [winner for winner in winners if winner is not None]
    if not answers:
        return ""
    different, tests = ({each.hash for each in answers}, {(each.hash, each.recipe) for each in answers})
    are = f"{counted(len(answers), 'answer')} {'is' if len(answers) == 1 else 'are'}"
    return (
        f" The {are} {counted(len(different), 'different network')}, and the seeds that verify a network with a recipe "
        f"are always the same, so they rest on {counted(len(tests), 'verification')}. The earlier trainings that come "
        f"with the program hold {len(different & known)} of these networks."
    )


def _tier(search: MeasuredSearch) -> Tier | None:
    return None if search.outcome.winner is None else search.outcome.winner.tier


def _disturbed(results: Results) -> str:
    """Return how many searches were not counted."""
    if not results.disturbed:
        return ""
    count, met = len(results.disturbed), sum(each.verdict.met for each in results.disturbed)
    return (
        f" Not counted, as other programs took more than {1 - LEAST_SHARE:.0%} of their cores: "
        f"{count} {'search' if count == 1 else 'searches'}, of which {met} met what is asked."
    )


def _carried(results: Results) -> str:
    """Return what was compared where the code has changed since."""
    replayed, equal = (sum(how.replayed for how in results.carried), sum(how.equal for how in results.carried))
    if not replayed:
        return ""
    return (
        f" The code has changed since, {counted(len(results.carried), 'time')}, in ways that change no search: old and "
        f"new code replayed the same searches on recorded trainings, without prior, start and verification, and "
        f"{equal} of {replayed} are equal."
    )


def _among(done: Mapping[tuple[str, int], MeasuredSearch], cases: Mapping[str, Case]) -> list[MeasuredSearch]:
    """Return the searches of these cases that have been run."""
    return [done[key] for key in planned(cases) if key in done]


def _count(done: Mapping[tuple[str, int], MeasuredSearch], cases: Mapping[str, Case]) -> str:
    run = _among(done, cases)
    met = sum(search.verdict.met for search in run)
    waiting = len(planned(cases)) - len(run)
    rest = f" {waiting} more {'has' if waiting == 1 else 'have'} not been run." if waiting else ""
    return f"{met} of {len(run)} searches met what is asked of them.{rest}"


def _comparison(
    done: Mapping[tuple[str, int], MeasuredSearch], cases: Mapping[str, Case], compared: Mapping[str, Case]
) -> list[str]:
    """Return a table of the answers' sizes, a column a seed; nothing where no compared search has been run."""
    first = next(iter(cases))
    alike = {
        (name, seed): search
        for (name, seed), search in done.items()
        # A search by other defaults, or on another kind of machine, says nothing of the options.
        if (plain := done.get((first, seed))) is not None
        and search.configuration == plain.configuration
        and all(search.machine[fact] == plain.machine[fact] for fact in ("processor", "instructions"))
    }
    rows = {name: case for name, case in compared.items() if any((name, seed) in alike for seed in case.seeds)}
    if not rows:
        return []
    seeds = sorted({seed for case in rows.values() for seed in case.seeds})
    each = {first: cases[first]} | rows
    return [
        "",
        f"Parameters of the answer with other options and the same seeds. {_machines(_among(alike, compared))}",
        "",
        f"| options | {' | '.join(f'seed {seed}' for seed in seeds)} |",
        f"|{' --- |' * (1 + len(seeds))}",
        *(
            f"| `{' '.join(case.options)}`{beside(case)} "
            f"| {' | '.join(_answer(alike.get((name, seed))) for seed in seeds)} |"
            for name, case in each.items()
        ),
    ]


def _answer(search: MeasuredSearch | None) -> str:
    if search is None:
        return ""
    outcome = search.outcome
    if outcome.winner is not None and not outcome.reached:
        return f"missed ({outcome.winner.parameters:,})"
    return _size(outcome.winner.parameters if outcome.reached and outcome.winner is not None else None)


def _asked(cases: Mapping[str, Case]) -> str:
    asked = [
        f"at most {case.most_parameters:,} parameters from `{' '.join(case.options)}`"
        + (f" (goal: {case.goal_parameters:,})" if case.goal_parameters is not None else "")
        for case in cases.values()
        if case.most_parameters is not None
    ]
    others = [f"`{' '.join(case.options)}`{beside(case)}" for case in cases.values() if case.most_parameters is None]
    sized = f"Asked: a first answer within {FIRST_STANDING_SECONDS:.0f} s and at the end {', '.join(asked)}."
    return sized + (f" Any answer, however late, from {', '.join(others)}." if others else "")


def _machines(searches: Sequence[MeasuredSearch]) -> str:
    """Return a sentence for each machine, with the least and the most that was measured of its cores."""
    peaks: dict[tuple[str, str, int, bool], list[float]] = {}
    for search in searches:
        facts = search.machine
        # At half speed both workers had one core, however many there are.
        cores = 1 if search.half_speed else facts["cores"]
        key = (facts["processor"], facts["instructions"], cores, search.half_speed)
        peaks.setdefault(key, []).append(search.peak_gflops)
    told = " ".join(
        f"{len(found)} {'search' if len(found) == 1 else 'searches'} on {counted(cores, 'core')} of {processor} "
        f"({instructions}) with {_range(found)} GFLOP/s of fp32{' each' if cores > 1 else ''}."
        for (processor, instructions, cores, _), found in peaks.items()
    )
    return told + (_HALVED if any(half for *_, half in peaks) else "")


def _goals(done: Mapping[tuple[str, int], MeasuredSearch], cases: Mapping[str, Case]) -> str:
    """Return how many answers are as small as was hoped for, beyond what is asked."""
    told = ""
    for name, case in cases.items():
        found = [done[name, seed].outcome for seed in case.seeds if (name, seed) in done]
        if case.goal_parameters is None or not found:
            continue
        sizes = [each.winner.parameters for each in found if each.reached and each.winner is not None]
        small = sum(size <= case.goal_parameters for size in sizes)
        told += (
            f" The goal beyond that, {case.goal_parameters:,} parameters with `{' '.join(case.options)}`, was reached "
            f"by {small} of {len(found)}."
        )
    return told


def _pace(searches: Sequence[MeasuredSearch]) -> str:
    """Return how fast the cores were on which two workers shared one; nothing where all had their own."""
    halved = [search.peak_gflops for search in searches if search.half_speed]
    if not halved:
        return ""
    which = "In each search" if len(halved) == len(searches) else f"In {len(halved)} of the searches"
    return (
        f" {which}, all workers had one core together ({_range(halved)} GFLOP/s of fp32); what is asked for is "
        f"meant for two cores of {_MEANT_FOR} each."
    )


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def _line(name: str, seed: int, search: MeasuredSearch | None) -> str:
    if search is None:
        return f"| {name} | {seed} |{' |' * (len(COLUMNS) - 3)} not run |"
    outcome = search.outcome
    first = [size for _, size in outcome.sizes[:1]]
    cells = [
        name,
        str(seed),
        "never" if outcome.first_standing_seconds is None else f"{outcome.first_standing_seconds:.0f} s",
        *map(_size, first or [None]),
        *(_after(search, 60 * minutes) for minutes in MINUTES),
        _answer(search),
        _accuracy(search),
        _verdict(search),
    ]
    return f"| {' | '.join(cells)} |"


def _size(parameters: int | None) -> str:
    return "none" if parameters is None else f"{parameters:,}"


def _after(search: MeasuredSearch, seconds: int) -> str:
    """Return the size that stood then; nothing where the search had ended."""
    if search.outcome.seconds < seconds:
        return ""
    standing = [parameters for elapsed, parameters in search.outcome.sizes if elapsed <= seconds]
    return _size(standing[-1] if standing else None)


def _accuracy(search: MeasuredSearch) -> str:
    winner = search.outcome.winner
    if winner is None or winner.mean_test_accuracy_pct is None:
        return ""
    deviation = "" if winner.std_test_accuracy_pct is None else f" ± {winner.std_test_accuracy_pct:.3f}"
    return f"{winner.mean_test_accuracy_pct:.3f}{deviation} ({winner.seeds} seeds)"


def _verdict(search: MeasuredSearch) -> str:
    if not search.verdict.met:
        return f"missed: {', '.join(search.verdict.missed)}"
    goal = {True: ", and the goal", False: ", not the goal", None: ""}[search.verdict.goal_met]
    before = f", after {counted(search.outcome.missed, 'network')} that missed" if search.outcome.missed else ""
    return f"met{goal} ({_tier(search)}{before})"
