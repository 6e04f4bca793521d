"""The verdict on a study in one plain sentence, and how far the study itself has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.events import Postponed, SessionBegan, SessionEnded, Verified, verdicts
from harness.evidence.leaderboard import VERIFIED_SEEDS, LeaderboardRow, Tier, cost_of
from harness.evidence.study import StudyConfig
from harness.search.nearest_miss import allowed_errors
from reports.html.dataset_tag import shown_name
from reports.numbers import count, decimal, duration, pct, plural, short
from reports.study.networks import DIGITS, Network, State
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner
from search_spaces.catalog import network_name
from search_spaces.space import Metric, size_text


class Outcome(StrEnum):
    """What a study has to say for itself."""

    REACHED = "reached"
    MISSED = "missed"
    UNVERIFIED = "not verified yet"
    SEARCHING = "no verdict yet"
    NOTHING = "no result yet"


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


# A search that ends before this share of its time has left the rest to its verification.
EARLY = 0.98
_ENDS = {
    "time": "its time was up",
    "trials": "its trials were used up",
    "exhausted": "its space had nothing new to offer",
    "interrupted": "it was interrupted",
}


def headline(files: StudyFiles, of: list[Network], answer: Winner | None) -> Headline:
    """Return the verdict on a study from its networks, best first, and its answer."""
    outcome, verdict = _verdict(files, of, answer)
    return Headline(outcome, verdict + _also_missed(files, of, answer), _progress(files))


def _also_missed(files: StudyFiles, of: list[Network], answer: Winner | None) -> str:
    """Return which other networks were verified and missed the target."""
    record = answer.record if answer else None
    named = record and (record.hash, record.recipe_hash)
    missed = [
        (next((network for network in of if network.trial == trial), None), verdict)
        for trial, verdict in verdicts(files.events).items()
        if verdict.passed is False and (verdict.hash, verdict.recipe_hash) != named
    ]
    return "".join(
        f" Also verified, and missed: network {network.label} with "
        f"{size_text(network.parameters, network.cost, files.config.minimise)}: "
        f"{pct(verdict.mean_test_accuracy_pct, 3)} over {plural(verdict.seeds or 0, 'seed')}."
        for network, verdict in missed
        if network is not None
    )


def is_over(files: StudyFiles) -> bool:
    """Tell whether the last session has entered its end, other than by an interruption."""
    last = files.last_turn
    return last is not None and isinstance(last.event, SessionEnded) and last.event.reason != "interrupted"


def _verdict(files: StudyFiles, of: list[Network], answer: Winner | None) -> tuple[Outcome, str]:
    target = f"the target of {short(files.config.target_pct)} %"
    if answer is not None and answer.row is not None:
        return _measured(answer.row, target, files.config.minimise)
    if answer is not None:
        return (
            Outcome.UNVERIFIED,
            f"Not verified yet: network {_named(answer, of, files.config.minimise)} reached "
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
            else f"No result yet: no network has been trained to the end{_stopped(of)}."
        )
    standing = [network for network in trained if network.state is State.CONFIRMED]
    if standing and not over:
        smallest = min(standing, key=lambda network: network.cost)
        return Outcome.SEARCHING, f"No verdict yet. {_standing(smallest, files.config)}"
    best = max(trained, key=lambda network: network.accuracy_pct or 0.0)
    figures = _validation_figures(best, files.config)
    if over:
        return Outcome.MISSED, f"Missed: no network was confirmed for {target}. {figures}"
    return Outcome.SEARCHING, f"No verdict yet: no network is confirmed for {target} so far. {figures}"


def _stopped(of: list[Network]) -> str:
    """Return how many trainings were stopped early, where some were."""
    pruned = sum(network.state is State.PRUNED for network in of)
    return f"; {plural(pruned, 'training was', 'trainings were')} stopped early" if pruned else ""


def _named(answer: Winner, of: list[Network], minimise: Metric) -> str:
    """Return the label and the size of an answer; its parameters alone where the log has lost the network."""
    network = next((network for network in of if network.hash == answer.hash), None)
    if network is None:
        return f"{answer.hash[:DIGITS]} with {plural(answer.parameters, 'parameter')}"
    return f"{network.label} with {size_text(network.parameters, network.cost, minimise)}"


def _measured(row: LeaderboardRow, target: str, minimise: Metric) -> tuple[Outcome, str]:
    name = f"{network_name(row.architecture, row.parameters)} {row.hash[:DIGITS]}".strip()
    wrong = "" if row.test_errors_mean is None else f" ({short(round(row.test_errors_mean, 1))} wrong images)"
    size = size_text(row.parameters, cost_of(row, minimise), minimise)
    figures = (
        f"network {name} with {size} has a mean test accuracy of "
        f"{pct(row.mean_test_accuracy_pct, 3)}{wrong} over {plural(row.seeds, 'training seed')} on "
        f"{shown_name(row.dataset)}"
    )
    gap = (row.mean_test_accuracy_pct or 0.0) - row.target_pct
    tier = f"Tier {row.tier}."
    if row.reached:
        return Outcome.REACHED, f"Reached: {figures}, {decimal(gap, 3)} points above {target}. {tier}"
    if gap >= 0:
        return Outcome.UNVERIFIED, f"Not verified yet: {figures}. It is at or above {target}, {_lacking(row)}. {tier}"
    return Outcome.MISSED, f"Missed: {figures}, {decimal(-gap, 3)} points below {target}. {tier}"


def _standing(network: Network, config: StudyConfig) -> str:
    accuracy, seeds = pct(network.accuracy_pct), plural(len(network.validation_accuracies_pct), "fresh seed")
    return (
        f"The confirmed network of the lowest cost so far is {network.label} with "
        f"{size_text(network.parameters, network.cost, config.minimise)}: {accuracy} on validation over {seeds}."
    )


def _lacking(row: LeaderboardRow) -> str:
    if row.tier is not Tier.MEASURED:
        return "but that proves nothing"
    return (
        f"but {plural(row.seeds, 'seed')} are too few for a verdict"
        if row.seeds < VERIFIED_SEEDS
        else "but seeds that were declared have not been run"
    )


def _validation_figures(best: Network, config: StudyConfig) -> str:
    accuracy = best.accuracy_pct or 0.0
    seeds = plural(len(best.validation_accuracies_pct), "seed")
    images = ""
    if best.errors is not None and best.validation_size is not None:
        allowed = allowed_errors(config.threshold_pct, best.validation_size)
        images = f": {short(round(best.errors, 1))} errors; {count(allowed)} allowed"
    text = (
        f"The most accurate, {best.label} with {size_text(best.parameters, best.cost, config.minimise)}, has "
        f"{pct(accuracy)} on validation over {seeds}{images}"
    )
    return f"{text}." if accuracy < config.threshold_pct else f"{text}. It is not confirmed on fresh seeds."


def _progress(files: StudyFiles) -> str:
    last = files.last_turn
    if not files.events or last is None:
        return "The study has no events: it has only been set up, or its log is lost."
    runs = plural(len(files.results), "finished run")
    if files.searching:
        return f"The search is running: {runs} in {duration(files.elapsed)}."
    if isinstance(last.event, SessionBegan):
        return f"The search was cut off after {duration(files.elapsed)}, with {runs}: its log has no end."
    return _end(files, last.elapsed, last.event)


def _end(files: StudyFiles, after: float, last: SessionEnded) -> str:
    """Return when and why a session ended, and how long all took where a verification followed."""
    reason, planned = last.reason, last.seconds
    if reason == "time" and planned is not None and after < EARLY * planned:
        why = f": {last.message}" if last.message else ""
        ends = (entry.event for entry in reversed(files.events))
        postponed = next((each for each in ends if isinstance(each, Postponed | Verified | SessionEnded)), None)
        words = f"The search stopped after {duration(after)} of {duration(planned)}, "
        if isinstance(postponed, Postponed):
            words += f"with too little time left to verify its network: at most {duration(postponed.seconds)}"
        else:
            words += f"to leave time for verification{why}"
    else:
        why = _ENDS.get(reason, f"reason {reason!r}")
        if reason == "exhausted" and last.message:
            why += f" ({last.message})"
        words = f"The search ended after {duration(after)}: {why}"
    return f"{words}; {duration(files.elapsed)} in all." if files.elapsed > after + 1 else f"{words}."
