"""The answer of a study: its network, the verdict, what to know before believing it, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.events import (
    Advised,
    Postponed,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
)
from harness.evidence.leaderboard import VERIFIED_CONFIDENCE, VERIFIED_SEEDS, LeaderboardRow, Tier, cost_of
from harness.evidence.ledger import DEFAULT_SEEDS, FEWEST_SEEDS
from harness.evidence.record import Record, SeedRun
from harness.evidence.study import StudyConfig
from harness.search.nearest_miss import allowed_errors
from harness.system import statistics
from harness.system.errors import typed
from harness.training.result import Status
from reports.numbers import count, decimal, duration, pct, plural, short
from reports.study.networks import DIGITS, Network, State
from reports.study.study_files import Measured, StudyFiles
from search_spaces.catalog import network_name
from search_spaces.space import Metric, size_text

# Test images of MNIST whose label most of five raters rejected: Northcutt, Athalye and Mueller 2021 (arXiv 2103.14749),
# data cleanlab/label-errors, mnist_mturk. The corrected labels are not known here, only which labels are wrong.
CONFIRMED_LABEL_ERRORS: dict[str, frozenset[int]] = {
    "mnist": frozenset((947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729))
}


TIERS = {
    Tier.CERTIFIED: f"the number of seeds was declared before the first one ({DEFAULT_SEEDS} unless stated, at least "
    f"{FEWEST_SEEDS}), and the one-sided lower t bound of the mean test accuracy is at or above the target; the bound "
    "is one of 99 % for the first attempt at a target and stricter for each further one",
    Tier.VERIFIED: f"at least {VERIFIED_SEEDS} fresh seeds, all that were declared, and the one-sided "
    f"{100 * VERIFIED_CONFIDENCE:g} % lower t bound of their mean test accuracy is at or above the target",
    Tier.AT_TARGET: f"the mean test accuracy of at least {VERIFIED_SEEDS} fresh seeds reaches the target, but its "
    f"one-sided {100 * VERIFIED_CONFIDENCE:g} % lower bound does not",
    Tier.MEASURED: "the test set was read, but the mean is below the target, or there are fewer than "
    f"{VERIFIED_SEEDS} seeds or fewer than were declared",
    Tier.SEARCHED: "a search measured it on validation images; nobody has tested it",
    Tier.CLAIMED: "others say so, and name a source; nobody has checked it here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The study's answer.

    Attributes:
        record: its test evidence, None before a verification; ``row`` is what that has earned.
        validation_accuracy_pct: mean over fresh seeds; None once it is verified, or where the journal has lost it.
    """

    hash: str
    parameters: int
    validation_accuracy_pct: float | None = None
    record: Record | None = None
    row: LeaderboardRow | None = None


def winner(files: StudyFiles) -> Winner | None:
    """Return the network of the lowest cost that is proven to reach the target, else the one that was chosen last."""
    chosen = [entry.event for entry in files.entries_of(WinnerChosen)]
    tried = {event.hash for event in chosen} | {entry.event.hash for entry in files.entries_of(Verified)}
    evidence = [
        item
        for item in files.measured
        if item.row.hash in tried or (item.record.found and item.record.found.study == files.name)
    ]
    reached = [item for item in evidence if item.row.reached]
    if reached:
        return _of_record(min(reached, key=lambda item: (cost_of(item.row, files.config.minimise), item.row.rank)))
    if not chosen:
        return None
    last = chosen[-1]
    measured = [item for item in evidence if item.row.hash == last.hash]
    if measured:
        return _of_record(min(measured, key=lambda item: item.row.rank))
    return Winner(hash=last.hash, parameters=last.parameters, validation_accuracy_pct=last.validation_accuracy_pct)


def _of_record(item: Measured) -> Winner:
    return Winner(hash=item.row.hash, parameters=item.row.parameters, record=item.record, row=item.row)


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


MNIST = "mnist"
# A search that ends before this share of its time has left the rest to its verification.
_EARLY = 0.98
_ENDS = {
    "time": "its time was up",
    "trials": "its trials were used up",
    "exhausted": "no remaining candidate is likely to reach the threshold",
    "interrupted": "it was interrupted",
}


def headline(files: StudyFiles, of: Sequence[Network], answer: Winner | None) -> Headline:
    """Return the verdict on a study from its networks, best first, and its answer."""
    outcome, verdict = _verdict(files, of, answer)
    return Headline(outcome, verdict + _also_missed(files, of, answer), _progress(files))


def _also_missed(files: StudyFiles, of: Sequence[Network], answer: Winner | None) -> str:
    """Return which other networks were verified and missed the target."""
    record = answer.record if answer else None
    named = record and (record.hash, record.recipe_hash)
    missed = [
        (next((network for network in of if network.trial == trial), None), verdict)
        for trial, verdict in files.study.verdicts.items()
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


def _verdict(files: StudyFiles, of: Sequence[Network], answer: Winner | None) -> tuple[Outcome, str]:
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
        pruned = sum(network.state is State.PRUNED for network in of)
        stopped = f"; {plural(pruned, 'run was', 'runs were')} pruned" if pruned else ""
        return outcome, (
            f"Missed: the search ended and no network was trained to the end, so none reached {target}."
            if over
            else f"No result yet: no network has been trained to the end{stopped}."
        )
    standing = [network for network in trained if network.state is State.CONFIRMED]
    if standing and not over:
        smallest = min(standing, key=lambda network: network.cost)
        accuracy, seeds = pct(smallest.accuracy_pct), plural(len(smallest.validation_accuracies_pct), "fresh seed")
        size = size_text(smallest.parameters, smallest.cost, files.config.minimise)
        return Outcome.SEARCHING, (
            f"No verdict yet. The smallest confirmed network so far is {smallest.label} with {size}: {accuracy} on "
            f"validation over {seeds}."
        )
    best = max(trained, key=lambda network: network.accuracy_pct or 0.0)
    figures = _validation_figures(best, files.config)
    if over:
        return Outcome.MISSED, f"Missed: no network was confirmed for {target}. {figures}"
    return Outcome.SEARCHING, f"No verdict yet: no network is confirmed for {target} so far. {figures}"


def _named(answer: Winner, of: Sequence[Network], minimise: Metric) -> str:
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
        f"{'MNIST' if row.dataset == MNIST else row.dataset}"
    )
    gap = (row.mean_test_accuracy_pct or 0.0) - row.target_pct
    tier = f"Tier {row.tier}."
    if row.reached:
        return Outcome.REACHED, f"Reached: {figures}, {decimal(gap, 3)} points above {target}. {tier}"
    if gap >= 0:
        return Outcome.UNVERIFIED, f"Not verified yet: {figures}. It is at or above {target}, {_lacking(row)}. {tier}"
    return Outcome.MISSED, f"Missed: {figures}, {decimal(-gap, 3)} points below {target}. {tier}"


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
    if last is None:
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
    if reason == "time" and planned is not None and after < _EARLY * planned:
        ends = (entry.event for entry in reversed(files.study.entries))
        postponed = next((each for each in ends if isinstance(each, Postponed | Verified | SessionEnded)), None)
        words = f"The search stopped after {duration(after)} of {duration(planned)}, "
        if isinstance(postponed, Postponed):
            words += f"with too little time left to verify its network: at most {duration(postponed.seconds)}"
        else:
            words += "to leave time for verification"
    else:
        early = f" of {duration(planned)}" if reason == "exhausted" and planned is not None else ""
        words = f"The search ended after {duration(after)}{early}: {_ENDS.get(reason, f'reason {reason!r}')}"
    return f"{words}; {duration(files.elapsed)} in all." if files.elapsed > after + 1 else f"{words}."


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and what it does; the words go on from the command."""

    command: str
    words: str


def next_step(files: StudyFiles, answer: Winner | None) -> NextStep | None:
    """Return what brings a study on, None while a search is at work or where the journal names no command."""
    row = answer.row if answer is not None else None
    if not is_over(files):
        return None if files.searching else _search(files, "goes on with the search where it stopped")
    advised = files.entries_of(Advised)
    is_latest = advised and advised[-1].elapsed >= files.entries_of(SessionEnded)[-1].elapsed
    if is_latest and (row is None or advised[-1].utc >= row.date_utc):
        # What the search itself said at its end.
        return NextStep(typed(*advised[-1].event.arguments), advised[-1].event.advice)
    if row is not None and not row.reached and (row.mean_test_accuracy_pct or 0.0) >= row.target_pct:
        return NextStep(typed("verify", row.hash, "--seeds", "10"), "adds the seeds that a verdict needs")
    if row is not None and row.reached and row.tier is not Tier.CERTIFIED and row.dataset == MNIST:
        words = (
            "declares 30 further seeds; commit the ledger, and the same command without --declare-only trains them and "
            "demands that their lower bound reaches the target"
        )
        return NextStep(typed("verify", row.hash, "--certify", "--declare-only"), words)
    if row is not None and row.reached:
        return _smaller(files, row)
    if answer is not None and row is None:
        return NextStep(typed("verify", answer.hash), "trains it on fresh seeds and reads the test set")
    return _search(files, "goes on with the search where it ended")


def _search(files: StudyFiles, words: str) -> NextStep | None:
    given = _given(files)
    return NextStep(typed(*given), words) if given else None


def _smaller(files: StudyFiles, row: LeaderboardRow) -> NextStep | None:
    """Return the command of a search below its answer: the one that was given, but for what it must stay below."""
    given, minimise = _given(files), files.config.minimise
    if not given:
        return None
    if minimise is Metric.PARAMETERS:
        option, bound = "--budget", str(row.parameters - 1)
    else:
        limits = [word for place, word in enumerate(given[1:]) if given[place] == "--limit"]
        kept = [each for limit in limits for each in limit.split(",") if not each.strip().startswith(minimise)]
        option, bound = "--limit", ",".join([*kept, f"{minimise}<={row.macs - 1}"])
    # With another bound it is another study.
    left_out = (option, "--study")
    pairs = zip(given, ("", *given), strict=False)
    words = [word for word, last in pairs if last not in left_out and word.partition("=")[0] not in left_out]
    return NextStep(typed(*words, option, bound), "looks for a smaller network still")


def _given(files: StudyFiles) -> tuple[str, ...]:
    """Return the arguments of the last session's command; its first word is the program, however it was called then."""
    commands = [entry.event.command for entry in files.entries_of(SessionBegan)]
    return tuple(commands[-1][1:]) if commands else ()


@dataclass(frozen=True, slots=True)
class _LabelErrors:
    """The winner's accuracy when images with a confirmed wrong label are left out.

    Attributes:
        images: how many there are.
        errors_among: mean errors among them, ``errors_outside`` among all others.
    """

    images: int
    errors_among: float
    errors_outside: float
    accuracy_outside_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveats:
    """The facts behind the caveats box.

    Attributes:
        winner_reads: reads of the test set for this study's answer, whoever made them;
            ``workspace_reads`` for anything.
        seeds: the answer's verification seeds.
        diverged_in_search: runs, counted apart from those in ``seeds``.
        fall_points: how far networks that were chosen by a first run fell from there to the mean of their fresh seeds,
            the mean over ``fallen`` networks; None where there are none.
    """

    config: StudyConfig
    winner_reads: int
    workspace_reads: int
    seeds: tuple[SeedRun, ...]
    label_errors: _LabelErrors | None
    diverged_in_search: int
    fall_points: float | None
    fallen: int

    @property
    def diverged_seeds(self) -> int:
        """Verification seeds of the answer that diverged; they count with their errors."""
        return sum(seed.status is Status.DIVERGED for seed in self.seeds)


def caveats(files: StudyFiles, of: Sequence[Network], answer: Winner | None) -> Caveats:
    """Return what a reader must know before believing a study."""
    falls = [
        network.first_pct - statistics.mean(network.fresh_pct)
        for network in of
        if network.first_pct is not None
        and network.fresh_pct
        and statistics.reaches(network.first_pct, files.config.threshold_pct)
    ]
    suspects = CONFIRMED_LABEL_ERRORS.get(files.config.dataset)
    runs = answer.record.seeds if answer and answer.record else ()
    return Caveats(
        config=files.config,
        winner_reads=sum(answer.hash in purpose.split() for purpose in files.test_reads) if answer else 0,
        workspace_reads=len(files.test_reads),
        seeds=runs,
        label_errors=_label_errors(runs, suspects) if runs and suspects else None,
        diverged_in_search=sum(result.status is Status.DIVERGED for result in files.results),
        fall_points=statistics.mean(falls) if falls else None,
        fallen=len(falls),
    )


def binomial_error(accuracy_pct: float, images: int) -> float:
    """Return the standard error, in points, of an accuracy counted on that many images."""
    share = accuracy_pct / 100
    return 100 * math.sqrt(share * (1 - share) / images)


def errors_outside(run: SeedRun, suspects: frozenset[int]) -> int:
    """Return how many images a seed got wrong, other than these suspects."""
    return sum(index not in suspects for index, _ in run.wrong)


def _label_errors(runs: tuple[SeedRun, ...], suspects: frozenset[int]) -> _LabelErrors:
    outside = [errors_outside(run, suspects) for run in runs]
    among = [len(run.wrong) - count for run, count in zip(runs, outside, strict=True)]
    others = runs[0].test_size - len(suspects)
    return _LabelErrors(
        images=len(suspects),
        errors_among=statistics.mean(among),
        errors_outside=statistics.mean(outside),
        accuracy_outside_pct=100 * (1 - statistics.mean(outside) / others),
    )
