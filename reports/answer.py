"""The verdict on a study, what to know before believing it, and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.evidence.events import Advised, Postponed, SessionEnded, Verified
from harness.evidence.leaderboard import Tier
from harness.evidence.ledger import DEFAULT_SEEDS
from harness.system import statistics
from harness.system.errors import typed
from harness.training.result import Status
from reports.mistakes import CONFIRMED_LABEL_ERRORS
from reports.networks import State
from reports.render import words
from reports.study_facts import StudyFacts

# A search that ends before this share of its time has left the rest to its verification.
_EARLY = 0.98


class Outcome(StrEnum):
    """What a study has to say for itself."""

    REACHED = "reached"
    MISSED = "missed"
    UNVERIFIED = "not verified yet"
    SEARCHING = "no verdict yet"
    NOTHING = "no result yet"


@dataclass(frozen=True, slots=True)
class Headline:
    """The first lines of a report: a sentence of verdict, and one on how far the search has come."""

    outcome: Outcome
    verdict: str
    progress: str


def headline(info: StudyFacts) -> Headline:
    """Return the verdict on a study."""
    answer, row = info.answer, info.row
    trained = [network for network in info.networks if network.complete and network.accuracy_pct is not None]
    over = _is_over(info)
    if row is not None:
        at_target = (row.mean_test_accuracy_pct or 0.0) >= row.target_pct
        outcome = Outcome.REACHED if row.reached else Outcome.UNVERIFIED if at_target else Outcome.MISSED
    elif answer is not None:
        outcome = Outcome.UNVERIFIED
    else:
        outcome = Outcome.MISSED if over else Outcome.SEARCHING if trained else Outcome.NOTHING
    named = (answer.record.hash, answer.record.recipe_hash) if answer and answer.record else None
    by_trial = {network.trial: network for network in info.networks}
    missed = [
        (by_trial[trial], verdict)
        for trial, verdict in info.study.verdicts.items()
        if trial in by_trial and verdict.passed is False and (verdict.hash, verdict.recipe_hash) != named
    ]
    best = max(trained, key=lambda network: network.accuracy_pct or 0.0, default=None)
    confirmed = [network for network in trained if network.state is State.CONFIRMED]
    smallest = min(confirmed, key=lambda network: network.cost, default=None)
    return Headline(outcome, words("verdict", info, outcome, over, best, smallest, missed), _progress(info))


def _is_over(info: StudyFacts) -> bool:
    """Tell whether the last session has entered its end, other than by an interruption."""
    last = info.last_turn
    return last is not None and isinstance(last.event, SessionEnded) and last.event.reason != "interrupted"


def _progress(info: StudyFacts) -> str:
    last = info.last_turn
    if last is None:
        return words("progress", info, 0.0, None, False, None)
    event = last.event
    planned = event.seconds if isinstance(event, SessionEnded) and event.reason == "time" else None
    early = planned is not None and last.elapsed < _EARLY * planned
    ends = (entry.event for entry in reversed(info.study.entries))
    final = next((each for each in ends if isinstance(each, Postponed | Verified | SessionEnded)), None)
    return words("progress", info, last.elapsed, event, early, final if isinstance(final, Postponed) else None)


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and what it does; the words go on from the command."""

    command: str
    words: str


def next_step(info: StudyFacts) -> NextStep | None:
    """Return what brings a study on, None while a search is at work or where the journal names no command."""
    answer, row = info.answer, info.row
    # The first word is the program, however it was called then.
    given = info.sessions[-1].event.command[1:] if info.sessions else ()
    if not _is_over(info):
        if info.searching or not given:
            return None
        return NextStep(typed(*given), "goes on with the search where it stopped")
    advised = info.study.of_kind(Advised)
    is_latest = advised and advised[-1].elapsed >= info.study.of_kind(SessionEnded)[-1].elapsed
    if is_latest and (row is None or advised[-1].utc >= row.date_utc):
        # What the search itself said at its end.
        return NextStep(typed(*advised[-1].event.arguments), advised[-1].event.advice)
    if row is not None and not row.reached and (row.mean_test_accuracy_pct or 0.0) >= row.target_pct:
        return NextStep(typed("verify", row.hash, "--seeds", "10"), "adds the seeds that a verdict needs")
    if row is not None and row.reached and row.tier is not Tier.CERTIFIED and row.dataset == "mnist":
        command = typed("verify", row.hash, "--certify", "--declare-only")
        trains = "commit the ledger, and the same command without --declare-only trains them"
        return NextStep(command, f"declares {DEFAULT_SEEDS} further seeds; {trains}")
    if answer is not None and row is None:
        return NextStep(typed("verify", answer.hash), "trains it on fresh seeds and reads the test set")
    return NextStep(typed(*given), "goes on with the search where it ended") if given else None


def commands(info: StudyFacts) -> list[str]:
    """Return what began the study, and what trains its answer again; those that are known."""
    first = [shlex.join(entry.event.command) for entry in info.sessions[:1]]
    seeds = ["--seeds", str(info.row.seeds)] if info.row else []
    again = [typed("verify", info.answer.hash, *seeds)] if info.answer else []
    return [command for command in (*first, *again) if command]


def caveats(info: StudyFacts) -> dict[str, Any]:
    """Return what a reader must know before believing a study.

    Reads of the test set for its answer, and for anything in the workspace; ``falls`` in points from the first run of a
    network that reached the threshold to the mean of its fresh seeds; runs that diverged; ``label_errors``: mean errors
    of the answer's seeds among images with a confirmed wrong label and among all others, and the accuracy on these.
    """
    answer, threshold = info.answer, info.config.threshold_pct
    runs = answer.record.seeds if answer and answer.record else ()
    suspects = CONFIRMED_LABEL_ERRORS.get(info.config.dataset)
    # A damaged line counts for every data set.
    reads = [purpose for name, purpose in info.standings.test_reads if name in ("", info.config.dataset)]
    label_errors = None
    if runs and suspects:
        outside = statistics.mean([sum(index not in suspects for index, _ in run.wrong) for run in runs])
        label_errors = {
            "images": len(suspects),
            "among": statistics.mean([len(run.wrong) for run in runs]) - outside,
            "outside": outside,
            "outside_pct": 100 * (1 - outside / (runs[0].test_size - len(suspects))),
        }
    return {
        "winner_reads": sum(answer.hash in purpose.split() for purpose in reads) if answer else 0,
        "workspace_reads": len(reads),
        "seeds": runs,
        "label_errors": label_errors,
        "diverged_seeds": sum(seed.status is Status.DIVERGED for seed in runs),
        "diverged_in_search": sum(result.status is Status.DIVERGED for result in info.results),
        "falls": [
            network.first_pct - statistics.mean(network.fresh_pct)
            for network in info.networks
            if network.first_pct is not None and network.fresh_pct and statistics.reaches(network.first_pct, threshold)
        ],
    }
