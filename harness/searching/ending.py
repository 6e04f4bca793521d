"""The end of a search: outcome, answer, reason and advice.

Terminal, JSON document, page and Markdown summary print the same ``Ending``. The ending follows from the log of the
study and the leaderboard row of the answer, so the ending is defined while the search runs and after later
verifications, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.data.datasets import DATASETS, dataset
from harness.evidence.bounds import VERIFIED_SEEDS
from harness.evidence.leaderboard_table import LeaderboardRow, Tier, cost_of, words_of
from harness.evidence.ledger import DEFAULT_SEEDS
from harness.studies.events import Advised, EndReason, Postponed, SessionBegan, SessionEnded, Verified, WinnerChosen
from harness.studies.study_state import StudyState
from harness.system import statistics
from harness.system.errors import as_command
from harness.system.terminal import counted, duration_option, duration_text
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Status
from search_spaces.space import size_text

_EARLY = 0.98  # share of the time limit; a search that ended earlier by ``TIME`` left the rest to the verification
# Final statuses of a run without an accuracy, each with a verb for messages.
_FAILURES = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.TIMED_OUT: "exceeded the time limit",
    Status.CRASHED: "crashed",
}
_REASONS = {
    EndReason.TIME.value: "the time limit was reached",
    EndReason.TRIALS.value: "the limit of trials was reached",
    EndReason.EXHAUSTED.value: "no remaining candidate is likely to reach the threshold",
    EndReason.INTERRUPTED.value: "the session was interrupted",
}


class Outcome(StrEnum):
    """Outcome of a study."""

    REACHED = "reached"  # the answer reached the target on the test images
    MISSED = "missed"  # the search or the verification ended without reaching the target
    UNVERIFIED = "not verified yet"  # the verification of the answer is missing or incomplete
    NO_VERDICT = "no verdict yet"  # the search has not ended, and no network is confirmed
    NO_RESULT = "no result yet"  # the search has not ended, and no training is complete


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a search, or the state of a running search; sentences have no full stops.

    Attributes:
        outcome: Outcome of the study.
        answer: Sentence on the answer, or on the networks trained without an answer.
        shortfall: Sentence on the test errors of a row that did not reach the target; else empty.
        missed: Further networks that missed the target on the test images, each with a sentence.
        reason: Why the search ended, a phrase that continues "the search".
        advice: Next command; None while the search runs, or if the log has no command.
        export: Command that writes the answer as code; empty without a recorded answer.
    """

    outcome: Outcome
    answer: str
    shortfall: str
    missed: tuple[tuple[Verified, str], ...]
    reason: str
    advice: Advised | None
    export: str = ""

    @property
    def verdict(self) -> str:
        """Outcome, answer, shortfall and missed networks as sentences with full stops."""
        misses = (sentence for _, sentence in self.missed)
        sentences = filter(None, (self.outcome, self.answer, self.shortfall, *misses))
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def ending(
    state: StudyState, row: LeaderboardRow | None = None, *, is_at_work: bool = False, lacks_declaration: bool = False
) -> Ending:
    """Return the end of a search.

    Args:
        state: State of the study.
        row: Leaderboard row of the answer, or of the winner whose verification missed; None without a record.
        is_at_work: Whether a program works on the study.
        lacks_declaration: Whether the ledger lacks the declaration of a seed of the row.
    """
    # Answer without a row: not verified yet. A missed verification without a record leaves no answer.
    answer = state.result if row is None else None
    if answer is not None and answer.trial in state.missed_trials:
        answer = None
    advice = _next_advice(state, row, answer, is_at_work=is_at_work)
    if row is not None and lacks_declaration and (advice is None or advice.arguments[0] == "verify"):
        advice = ledger_advice(row)
    shortfall = ""
    if row is not None and not row.reached:
        shortfall = _shortfall(row, lacks_declaration=lacks_declaration)
    return Ending(
        outcome=_outcome(state, row, answer),
        answer=_answer_text(state, row, answer),
        shortfall=shortfall,
        missed=tuple(_missed(state, row)),
        reason=_reason(state, is_at_work=is_at_work),
        advice=advice,
        export="" if row is None else _export_command(row, state.config.recipe),
    )


def _export_command(row: LeaderboardRow, recipe: Recipe) -> str:
    own_data = () if row.dataset in DATASETS else ("--dataset", row.dataset)
    form = "--c" if recipe.precision == "int8" else "--pytorch"
    return as_command("export", row.hash, *own_data, form, "FOLDER")


def _is_open(row: LeaderboardRow) -> bool:
    """Return whether further seeds decide the verification of a row: the mean reaches the target or is missing."""
    mean_pct = row.mean_test_accuracy_pct
    return not row.reached and (mean_pct is None or statistics.reaches(mean_pct, row.target_pct))


def _outcome(state: StudyState, row: LeaderboardRow | None, answer: WinnerChosen | None) -> Outcome:
    if row is not None and row.reached:
        return Outcome.REACHED
    if answer is not None or (row is not None and _is_open(row)):
        return Outcome.UNVERIFIED
    if row is not None or state.is_over:
        return Outcome.MISSED
    firsts = (candidate.first_run for candidate in state.candidates.values())
    is_trained = any(first is not None and first.status is Status.COMPLETE for first in firsts)
    return Outcome.NO_VERDICT if is_trained else Outcome.NO_RESULT


def _accuracy_text(mean_pct: float | None, seeds: int | None) -> str:
    over = "" if seeds is None else f" over {counted(seeds, 'seed')}"
    return "no test accuracy" if mean_pct is None else f"mean test accuracy {mean_pct:.3f} %{over}"


def _answer_text(state: StudyState, row: LeaderboardRow | None, answer: WinnerChosen | None) -> str:
    metrics = state.config.minimised
    if row is not None:
        costs = [cost_of(row, each, state.config.recipe.weight_bits) for each in metrics]
        size = size_text(row.parameters, costs, metrics)
        deviation_pct = row.std_test_accuracy_pct
        deviation = "" if deviation_pct is None else f" (deviation {deviation_pct:.3f})"
        epochs = "" if row.epochs is None else f", {counted(row.epochs, 'epoch')}"
        recipe = f"recipe {state.config.recipe_name}{epochs}, hash {row.hash}"
        answer_text = (
            f"{row.tier}: {size}, {_accuracy_text(row.mean_test_accuracy_pct, row.seeds)}{deviation}, target "
            f"{row.target_pct:g} % on {dataset(row.dataset).title}, in {duration_text(state.seconds)}"
        )
        return "; ".join(filter(None, (answer_text, recipe, row.tier_words)))
    if answer is None:
        return _unconfirmed_text(state)
    candidate = state.candidates.get(answer.trial)
    size = counted(answer.parameters, "parameter")
    if candidate is not None:
        size = size_text(answer.parameters, candidate.costs, metrics)
    text = f"not verified: {size} (hash {answer.hash})"
    if answer.validation_seeds:
        seeds = counted(answer.validation_seeds, "fresh seed")
        text += f", {answer.validation_accuracy_pct:.2f} % on validation images over {seeds}"
    return text


def _unconfirmed_text(state: StudyState) -> str:
    config = state.config
    ends = Counter(run.status for run in state.results if run.purpose is Purpose.SEARCH)
    text = f"no network of at most {config.bounds_text} was confirmed at a validation accuracy of "
    text += f"{config.threshold_text}: {counted(state.trained_count, 'network')} trained"
    rung_texts = [f"{ends[each]:,} {each}" for each in (Status.PRUNED, Status.SHORTENED) if ends[each]]
    if rung_texts:
        text += f" ({', '.join(rung_texts)})"
    for status, verb in _FAILURES.items():
        if ends[status]:
            text += f", {counted(ends[status], 'run')} {verb}"
    text += f" in {duration_text(state.seconds)}"
    return text if state.verdicts else f"{text}; the test set was not read"


def _shortfall(row: LeaderboardRow, *, lacks_declaration: bool) -> str:
    if row.test_errors_mean is None:
        return "no seed of the verification has been run"
    allowed_errors = (100 - row.target_pct) / 100 * dataset(row.dataset).test_size
    text = f"the verification gave a mean of {row.test_errors_mean:,.1f} test errors over {counted(row.seeds, 'seed')}"
    if lacks_declaration:
        return f"{text}; the ledger lacks the declaration of seeds of the row and must be restored, as from a backup"
    if not _is_open(row):
        return f"{text}, {row.test_errors_mean - allowed_errors:,.1f} more than the {allowed_errors:,.1f} allowed"
    if row.seeds < VERIFIED_SEEDS:
        return f"{text}; {allowed_errors:,.1f} are allowed, but the seeds are too few for a verdict"
    return f"{text}; declared seeds have not been run, so the tier of the row is {Tier.MEASURED}"


def _missed(state: StudyState, row: LeaderboardRow | None) -> Iterator[tuple[Verified, str]]:
    """Yield the verdicts that missed the target, except the verdict of the row, each with a sentence."""
    row_key = None if row is None else (row.hash, row.recipe_hash)
    for trial, verdict in state.verdicts.items():
        candidate = state.candidates.get(trial)
        if trial in state.missed_trials and candidate is not None and (verdict.hash, verdict.recipe_hash) != row_key:
            size = size_text(candidate.proposal.parameters, candidate.costs, state.config.minimised)
            accuracy = _accuracy_text(verdict.mean_test_accuracy_pct, verdict.seeds)
            yield verdict, f"target missed on the test images: {size}, {accuracy} (hash {verdict.hash})"


def _reason(state: StudyState, *, is_at_work: bool) -> str:
    duration = duration_text(state.seconds)
    runs = counted(len(state.ended_runs), "finished run")
    if state.session is None:
        return "has not begun, or the log is lost"
    event = state.session.event
    if isinstance(event, SessionBegan):
        if is_at_work:
            return f"is running: {runs} in {duration}"
        return f"stopped unexpectedly after {duration}, with {runs}: the log has no end of the last session"
    elapsed = state.session.elapsed
    limit = "" if event.seconds is None else f" of {duration_text(event.seconds)}"
    return f"stopped after {duration_text(elapsed)}{limit}: {_why_ended(state, event, elapsed)}"


def _why_ended(state: StudyState, event: SessionEnded, elapsed: float) -> str:
    if event.message:
        return event.message
    if event.reason == EndReason.TIME and event.seconds is not None and elapsed < _EARLY * event.seconds:
        postponements = [entry.event for entry in state.of_kind(Postponed) if entry.elapsed >= elapsed]
        if postponements:
            return f"too little time was left for a verification of at most {duration_text(postponements[-1].seconds)}"
        return "the remaining time was left to the verification"
    return _REASONS.get(event.reason, event.reason)


def _next_advice(
    state: StudyState, row: LeaderboardRow | None, answer: WinnerChosen | None, *, is_at_work: bool
) -> Advised | None:
    sessions = state.of_kind(SessionBegan)
    # Arguments of the last session; the first word of the command line is the path of the program.
    again = sessions[-1].event.command[1:] if sessions else ()
    if state.is_over:
        advice = _logged_advice(state, row) or _verification_advice(row, answer)
        if advice is None and again:
            advice = _more_effort(again, state.of_kind(SessionEnded)[-1].event)
        return advice
    is_running = is_at_work and state.session is not None and isinstance(state.session.event, SessionBegan)
    if is_running or not again:
        return None
    return Advised(arguments=again, advice="continues the interrupted search")


def _more_effort(again: Sequence[str], end: SessionEnded) -> Advised | None:
    """Return the command of a session with twice the limit; None if the space is exhausted without a limit.

    Args:
        again: Arguments of the session.
        end: End of the session.
    """
    if end.reason == EndReason.TRIALS and end.trials is not None:
        option = ("--trials", f"{2 * end.trials}")
    elif end.seconds is not None:
        option = ("--time", duration_option(2 * end.seconds))
    elif end.reason == EndReason.EXHAUSTED:
        return None
    else:  # logs of older versions do not state the limit
        return Advised(arguments=tuple(again), advice="continues the search")
    arguments = [*again]
    flag, _ = option
    if flag in arguments:
        position = arguments.index(flag)
        del arguments[position : position + 2]
    return Advised(arguments=(*arguments, *option), advice="continues the search with twice the limit")


def _logged_advice(state: StudyState, row: LeaderboardRow | None) -> Advised | None:
    """Return the advice at the end of the search, unless a later session or record has superseded the advice."""
    entries = state.of_kind(Advised)
    if not entries or entries[-1].elapsed < state.of_kind(SessionEnded)[-1].elapsed:
        return None
    if row is not None and entries[-1].utc < row.date_utc:
        return None
    return entries[-1].event


def ledger_advice(row: LeaderboardRow) -> Advised:
    """Return the command that names the seeds without a declaration; no further seed replaces a declaration."""
    arguments = ("leaderboard", "--dataset", row.dataset, "--target", f"{row.target_pct:.12g}")
    effect = "names the ledger and the seeds whose declaration the ledger lacks"
    sentence = _shortfall(row, lacks_declaration=True)
    return Advised(why="verification", sentences=(sentence,), arguments=arguments, advice=effect)


def _verification_advice(row: LeaderboardRow | None, answer: WinnerChosen | None) -> Advised | None:
    """Return the command for a verification or certification that the answer lacks; None if the answer has both."""
    if answer is not None:
        effect = "trains the network on fresh seeds and reads the test set"
        return Advised(arguments=("verify", answer.hash), advice=effect)
    if row is None:
        return None
    if _is_open(row):
        arguments = ("verify", *words_of(row), "--seeds", "10")
        return Advised(arguments=arguments, advice="adds the seeds required for a verdict")
    if row.reached and row.tier is not Tier.CERTIFIED and row.dataset == "mnist":
        arguments = ("verify", *words_of(row), "--certify", "--declare-only")
        trains = "after a commit of the ledger, the same command without --declare-only trains these seeds"
        return Advised(arguments=arguments, advice=f"declares {DEFAULT_SEEDS} further seeds; {trains}")
    return None
