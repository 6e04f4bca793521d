"""The verdict on a study in one plain sentence, and how far the study itself has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.leaderboard import VERIFIED_SEEDS, LeaderboardRow, Tier
from reports.networks import Network
from reports.numbers import decimal, duration, pct, plural, short
from reports.study_files import StudyFiles
from reports.winner import Winner


class Outcome(StrEnum):
    """What a study has to say for itself."""

    REACHED = "reached"
    MISSED = "missed"
    UNVERIFIED = "not verified yet"
    SEARCHING = "no verdict yet"
    NOTHING = "nothing finished yet"


@dataclass(frozen=True, slots=True)
class Headline:
    """The first lines of a report.

    Attributes:
        verdict: one sentence.
        progress: one sentence on the study: over and why, or not over.
    """

    outcome: Outcome
    verdict: str
    progress: str


_ENDS = {
    "time": "its time was up",
    "trials": "its trials were used up",
    "exhausted": "its space had nothing new to offer",
    "interrupted": "it was interrupted; the command that began it goes on with it",
}


def headline(files: StudyFiles, of: list[Network], answer: Winner | None) -> Headline:
    """Return the verdict on a study from its networks, best first, and its answer."""
    outcome, verdict = _verdict(files, of, answer)
    return Headline(outcome, verdict, _progress(files))


def is_over(files: StudyFiles) -> bool:
    """Tell whether the last session has entered its end, other than by an interruption."""
    ends = [event for event in files.events if event["event"] in ("session", "ended")]
    return bool(ends) and ends[-1]["event"] == "ended" and ends[-1].get("reason") != "interrupted"


def _verdict(files: StudyFiles, of: list[Network], answer: Winner | None) -> tuple[Outcome, str]:
    target = f"the target of {short(files.config.target_pct)} %"
    if answer is not None and answer.row is not None:
        return _measured(answer.row, target)
    if answer is not None:
        return (
            Outcome.UNVERIFIED,
            f"Not verified yet: network {answer.hash} with {plural(answer.parameters, 'parameter')} reached "
            f"{pct(answer.validation_accuracy_pct)} on validation; whether it reaches {target} on the test set "
            "has not been measured.",
        )
    trained = [network for network in of if network.complete and network.accuracy_pct is not None]
    over = is_over(files)
    if not trained:
        outcome = Outcome.MISSED if over else Outcome.NOTHING
        return outcome, (
            f"Missed: the search ended and no network was trained to the end, so none reached {target}."
            if over
            else "Nothing finished yet: no network has been trained to the end."
        )
    best = max(trained, key=lambda network: network.accuracy_pct or 0.0)
    figures = _validation_figures(best, files.config.threshold_pct)
    if over:
        return Outcome.MISSED, f"Missed: no network stood for {target}. {figures}"
    return Outcome.SEARCHING, f"No verdict yet: no network stands for {target} so far. {figures}"


def _measured(row: LeaderboardRow, target: str) -> tuple[Outcome, str]:
    spread = (
        f" (standard deviation {decimal(row.std_test_accuracy_pct, 3)})"
        if row.std_test_accuracy_pct is not None
        else ""
    )
    figures = (
        f"network {row.hash} with {plural(row.parameters, 'parameter')} has a mean test accuracy of "
        f"{pct(row.mean_test_accuracy_pct, 3)} over {plural(row.seeds, 'training seed')}{spread} on {row.dataset}"
    )
    tier = f"tier {row.tier}."
    gap = (row.mean_test_accuracy_pct or 0.0) - row.target_pct
    if row.reached:
        return Outcome.REACHED, f"Reached: {figures}, {decimal(gap, 3)} points above {target}; {tier}"
    if gap >= 0:
        return Outcome.UNVERIFIED, f"Not verified yet: {figures}, at or above {target}, {_lacking(row)}; {tier}"
    return Outcome.MISSED, f"Missed: {figures}, {decimal(-gap, 3)} points below {target}; {tier}"


def _lacking(row: LeaderboardRow) -> str:
    if row.tier is not Tier.MEASURED:
        return "which proves nothing"
    return (
        "which are too few seeds for a verdict"
        if row.seeds < VERIFIED_SEEDS
        else "but seeds that were declared have not been run"
    )


def _validation_figures(best: Network, threshold_pct: float) -> str:
    accuracy = best.accuracy_pct or 0.0
    gap = accuracy - threshold_pct
    seeds = plural(len(best.validation_accuracies_pct), "seed")
    text = (
        f"The most accurate, {best.hash} with {plural(best.parameters, 'parameter')}, has {pct(accuracy)} on "
        f"validation over {seeds}, {decimal(abs(gap), 2)} points {'below' if gap < 0 else 'above'} the threshold"
    )
    return f"{text}." if gap < 0 else f"{text}, and was not confirmed on fresh seeds."


def _progress(files: StudyFiles) -> str:
    if not files.events:
        return "The study has been set up; its journal is empty."
    last = [event for event in files.events if event["event"] in ("session", "ended")]
    if not last or last[-1]["event"] == "session":
        return (
            f"The search is still running or was cut off: after {duration(files.elapsed)} its journal has no end. "
            f"So far {plural(len(files.results), 'run')} finished."
        )
    reason = str(last[-1].get("reason", "unknown"))
    after = duration(float(last[-1].get("elapsed") or 0.0))
    why = _ENDS.get(reason, f"reason {reason!r}")
    if reason == "exhausted" and last[-1].get("message"):
        why += f" ({last[-1]['message']})"
    return f"The search ended after {after}: {why}."
