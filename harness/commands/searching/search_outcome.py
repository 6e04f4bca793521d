"""What ``harness search`` says at its end: its answer, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import (
    Entry,
    Event,
    Proposal,
    Repeated,
    SessionBegan,
    SessionEnded,
    Verified,
    of_kind,
    verdicts,
)
from harness.evidence.leaderboard import cost_of, standings_file
from harness.evidence.verify import Verdict
from harness.search.ending.end import Answered, End, Postponed, end_of
from harness.search.ending.last_words import FAILED, LastWords, Searched, last_words
from harness.search.nearest_miss import NearestMiss, nearest_miss
from harness.search.race import Candidate, candidate_of, final_order, is_confirmed, passed_first
from harness.search.run_plan import SearchPlan
from harness.search.session import Session, verify_seconds
from harness.system.document import document_of
from harness.system.errors import typed
from harness.system.terminal import duration_text
from harness.training.result import Status
from search_spaces.space import size_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search has ended.

    Attributes:
        events: all of its log.
        trained: networks whose training has ended with an accuracy.
        nearest: what came nearest, where nothing is confirmed.
        words: what is said where there is no answer, or where a smaller network has passed its first training only.
    """

    plan: SearchPlan
    verdict: Verdict | None
    events: list[Entry[Event]]
    trained: int
    nearest: NearestMiss | None = None
    words: LastWords | None = None


def outcome(plan: SearchPlan, session: Session, verdict: Verdict | None, given: dict[str, str]) -> Outcome:
    """Return how a search has ended that was not interrupted.

    Args:
        given: options of the command line and their values, as they are typed.
    """
    events, config = study.read_events(plan.folder), plan.config
    candidates = session.candidates.values()
    ends = Counter(candidate.first.status for candidate in candidates if candidate.first is not None)
    failed = {status: number for status, number in ends.items() if status in FAILED}
    trained = ends.total() - sum(failed.values())
    end = end_of(events, verdict)
    if end is None:
        assert verdict is not None, "a search without an answer has an end"
        end = _beyond(session, config.threshold_pct, events, cost_of(verdict.row, config.minimise))
        if end is None:
            return Outcome(plan, verdict, events, trained)
    stands = verdict is not None or isinstance(end, Postponed)
    nearest = None if stands else nearest_miss(candidates, config.threshold_pct)
    searched = Searched(
        config=config,
        effort=plan.effort,
        offset=plan.offset,
        elapsed=study.elapsed_seconds(events),
        trained=trained,
        failed=failed,
        pruned=ends[Status.PRUNED],
        allowed=_allowed(plan.effort.seconds, events),
        given=given,
    )
    return Outcome(plan, verdict, events, trained, nearest, last_words(end, searched, nearest))


def _allowed(seconds: float | None, events: list[Entry[Event]]) -> float | None:
    """Return the longest time of the sessions that had an end; None where this one, of ``seconds``, has none."""
    allowed = [entry.event.seconds for entry in of_kind(events, SessionBegan) if entry.event.seconds is not None]
    return None if seconds is None else max([seconds, *allowed])


def _beyond(session: Session, threshold_pct: float, events: list[Entry[Event]], cost: int) -> End | None:
    """Return the smaller network that a longer search would verify, or train again; None where there is none."""
    tried = verdicts(events)
    confirmed = [
        each
        for each in final_order(list(session.contenders.values()), threshold_pct)
        if each.cost < cost and each.proposal.trial not in tried
    ]
    if confirmed:
        seconds = study.elapsed_seconds(events) + verify_seconds(session, confirmed[0])
        return Postponed(confirmed[0].proposal.hash, confirmed[0].proposal.parameters, seconds)
    smaller = nearest_miss(smaller_that_passed(session.contenders.values(), threshold_pct, cost), threshold_pct)
    if smaller is None:
        return None
    of = of_kind(events, SessionEnded)[-1].event.reason
    return Answered(smaller, "trials" if of == "trials" else "time")


def smaller_that_passed(contenders: Iterable[Candidate], threshold_pct: float, cost: int) -> list[Candidate]:
    """Return the contenders of a lower cost that passed their first training, neither confirmed nor given up."""
    return [
        each
        for each in contenders
        if each.cost < cost and passed_first(each, threshold_pct) and not is_confirmed(each, threshold_pct)
    ]


def outcome_document(end: Outcome, report: Path) -> dict[str, Any]:
    """Return it as plain JSON values."""
    config, verdict = end.plan.config, end.verdict
    proposed, repeated = len(study.proposals(end.events)), len(of_kind(end.events, Repeated))
    rejected = study.rejections(end.events).total()
    return {
        "study": end.plan.folder.name,
        "budget": config.budget,
        "minimise": config.minimise,
        "most": config.ceiling,
        "target_pct": config.target_pct,
        "threshold_pct": config.threshold_pct,
        "proposed": proposed + rejected + repeated,
        "rejected": rejected,
        "repeated": repeated,
        "trained": end.trained,
        "seconds": study.elapsed_seconds(end.events),
        "winner": None if verdict is None else document_of(verdict.row),
        "reached": verdict is not None and verdict.passed,
        "missed": [asdict(verdict) for _, verdict in _missed(end)],
        "nearest_miss": None if end.nearest is None else asdict(end.nearest),
        "last_words": None if end.words is None else {**asdict(end.words), "command": end.words.command},
        "report": str(report),
        "leaderboard": str(standings_file(end.plan.workspace)),
    }


def _missed(end: Outcome) -> list[tuple[Proposal, Verified]]:
    """Return the networks that were verified and missed the target, but for the one that is named."""
    record = None if end.verdict is None else end.verdict.record
    named = record and (record.hash, record.recipe_hash)
    networks = {each.trial: each for each in study.proposals(end.events)}
    return [
        (networks[trial], verdict)
        for trial, verdict in verdicts(end.events).items()
        if not verdict.passed and trial in networks and (verdict.hash, verdict.recipe_hash) != named
    ]


def _missed_line(end: Outcome, network: Proposal, verdict: Verified) -> str:
    size = size_text(network.parameters, candidate_of(end.plan.config, network).cost, end.plan.config.minimise)
    return (
        f"also verified, and missed: {size}, mean test accuracy "
        f"{verdict.mean_test_accuracy_pct or 0:.3f} % over {verdict.seeds or 0} seeds (hash {network.hash})"
    )


def outcome_text(end: Outcome) -> str:
    """Return it for people."""
    lines: list[str] = []
    config = end.plan.config
    if end.verdict is not None:
        row, spent = end.verdict.row, duration_text(study.elapsed_seconds(end.events))
        cost = cost_of(row, config.minimise)
        accuracy = f"mean test accuracy {row.mean_test_accuracy_pct:.3f} % over {row.seeds} seeds"
        lines += [
            f"{row.tier}: {size_text(row.parameters, cost, config.minimise)}, {accuracy} (deviation "
            f"{row.std_test_accuracy_pct or 0:.3f}), target {row.target_pct:g} % on {dataset(row.dataset).title}, in "
            f"{spent}",
            f"  {row.architecture}",
            f"run it again: {typed('verify', row.hash, '--seeds', str(row.seeds))}",
            f"standings: {typed('leaderboard', '--dataset', config.dataset, '--target', f'{config.target_pct:g}')}",
        ]
    lines += [_missed_line(end, *each) for each in _missed(end)]
    if end.words is not None:
        lines += [*end.words.sentences, f"this command {end.words.advice}:", f"  {end.words.command}"]
    return "\n".join(lines)
