"""The table of the main job in docs/measurements.md: a line a case, misses and searches that were not run included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.main_job_results import (
    LEAST_SHARE,
    Case,
    MeasuredSearch,
    Results,
    planned,
)
from harness.evidence.leaderboard_csv import Tier
from harness.system.terminal import counted

# What the requirements were written for, in GFLOP/s a core.
_MEANT_FOR = 130
NONE_YET = "Searches by the present rules have not been run yet; `python -m benchmarks.main_job` runs them.\n"


def summary(results: Results, cases: Mapping[str, Case], known: frozenset[str]) -> str:
    """Return a line a case.

    Args:
        known: hashes of the networks in the bundled prior.
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
    said += f"{_disturbed(results)}{_carried(results)}"
    return "\n".join([*lines, "", said]) + "\n"


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
        f"are always the same, so they rest on {counted(len(tests), 'verification')}. The bundled prior holds "
        f"{len(different & known)} of these networks."
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
        f" The code has changed since, {counted(len(results.carried), 'time')}, without changing a search: of "
        f"{replayed:,} replays on recorded runs (without prior, start and verification) {equal:,} are equal."
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
