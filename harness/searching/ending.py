"""The end of a search: outcome, network, reason and the next command.

Terminal, JSON document, page, Markdown summary, list of studies and Python show the same ``Ending``. The ending follows
from the log of the study and the record of its network, so the ending is defined while the search runs and after later
verifications, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.data.datasets import dataset
from harness.evidence.bounds import VERIFIED_SEEDS
from harness.evidence.leaderboard_table import Verification, read_verdicts
from harness.evidence.ledger import DEFAULT_SEEDS
from harness.evidence.record import RowKey
from harness.spaces.space import size_text
from harness.studies.config import StudyConfig
from harness.studies.events import Advised, EndReason, Postponed, SessionBegan, SessionEnded, Verified, WinnerChosen
from harness.studies.standing import Outcome, Standing
from harness.studies.study_state import StudyState, StudyVerdict
from harness.system import statistics
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.system.terminal import counted, duration_text
from harness.training.result import Purpose, Status

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of a search, or the state of a running search; sentences have no full stops.

    Attributes:
        standing: Verdict on the study, and its network.
        answer: Sentence that begins with the verdict: on the network, or on the networks trained without an answer.
        shortfall: Sentence on the test errors of a network that is not proved or probable; else empty.
        caveat: Sentence on the limits of the proof, or on the proof that is lacking; may be empty.
        missed: Further networks that missed the target on the test images, each with a sentence.
        reason: Why the search ended, a phrase that continues "the search".
        advice: Next command; None while the search runs, or if the log has no command.
        export: Command that writes the network as code; empty without a record.
    """

    standing: StudyVerdict
    answer: str
    shortfall: str
    caveat: str
    missed: tuple[tuple[Verified, str], ...]
    reason: str
    advice: Advised | None
    export: str = ""

    @property
    def outcome(self) -> Outcome:
        """Verdict on the study."""
        return self.standing.outcome

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on further networks that missed the target; none if the network of the study missed it, too."""
        return () if self.standing.tier is Standing.MISSED else tuple(sentence for _, sentence in self.missed)

    @property
    def verdict(self) -> str:
        """Answer, shortfall and missed networks as sentences with full stops."""
        sentences = filter(None, (self.answer, self.shortfall, *self.notes))
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def key_of(state: StudyState, network: WinnerChosen) -> RowKey:
    """Return the key of the record of a network of a study."""
    return _key_and_recipe(state.config, network.hash, state.proposals[network.trial].epochs)[0]


def _key_and_recipe(config: StudyConfig, network_hash: str, epochs: int | None) -> tuple[RowKey, str]:
    recipe, name = config.recipe_of(epochs)
    return RowKey(network_hash, recipe.hash, config.dataset, config.target_pct, config.protocol_version), name


def verify_arguments(config: StudyConfig, network_hash: str, epochs: int | None) -> tuple[str, ...]:
    """Return the arguments of the command that verifies a network of a study; ``epochs`` as in ``Proposal``."""
    key, recipe_name = _key_and_recipe(config, network_hash, epochs)
    return key.arguments("verify", recipe_name)


def read_endings(states: Sequence[StudyState], workspace: Workspace) -> list[Ending]:
    """Return the ends of studies of a workspace, each with the record of its network."""
    keys = [None if state.result is None else key_of(state, state.result) for state in states]
    verdicts = read_verdicts(workspace, keys)
    return [ending(state, key and verdicts.get(key)) for state, key in zip(states, keys, strict=True)]


def ending(state: StudyState, verdict: Verification | None = None, *, is_at_work: bool = False) -> Ending:
    """Return the end of a search.

    Args:
        state: State of the study.
        verdict: Verdict on the network of the study by its record; None without a record.
        is_at_work: Whether a program works on the study.
    """
    standing = state.standing(None if verdict is None else verdict.event)
    export = ""
    if verdict is not None:
        form = "--c" if verdict.record.recipe.precision == "int8" else "--pytorch"
        export = as_command(*verdict.row.arguments("export", form, "FOLDER"))
    return Ending(
        standing=standing,
        answer=_answer_text(state, standing, verdict),
        shortfall="" if verdict is None or verdict.passed else shortfall_of(verdict),
        caveat="" if verdict is None else verdict.row.tier_words,
        missed=tuple(_missed(state, standing)),
        reason=_reason(state, is_at_work=is_at_work),
        advice=_next_advice(state, standing, verdict, is_at_work=is_at_work),
        export=export,
    )


def _accuracy_text(mean_pct: float | None, seeds: int | None) -> str:
    over = "" if seeds is None else f" over {counted(seeds, 'seed')}"
    return "no test accuracy" if mean_pct is None else f"mean test accuracy {mean_pct:.3f} %{over}"


def _answer_text(state: StudyState, standing: StudyVerdict, verdict: Verification | None) -> str:
    network = standing.network
    config = state.config
    if network is None:
        return f"{standing.outcome}: {_unconfirmed_text(state)}"
    size = size_text(network.parameters, state.candidates[network.trial].costs, config.minimised)
    if verdict is not None:
        row = verdict.row
        deviation_pct = row.std_test_accuracy_pct
        deviation = "" if deviation_pct is None else f" (deviation {deviation_pct:.3f})"
        epochs = "" if row.epochs is None else f", {counted(row.epochs, 'epoch')}"
        return (
            f"{standing.outcome} ({row.tier}): {size}, {_accuracy_text(row.mean_test_accuracy_pct, row.seeds)}"
            f"{deviation}, target {row.target_pct:g} % on {dataset(row.dataset).title}, in "
            f"{duration_text(state.seconds)}; recipe {config.recipe_name}{epochs}, hash {row.hash}"
        )
    text = f"{standing.outcome} ({standing.tier}): {size}"
    if standing.verdict is not None:
        text += f", {_accuracy_text(standing.verdict.mean_test_accuracy_pct, standing.verdict.seeds)}"
        return f"{text} by the log of the study, without a record; hash {network.hash}"
    if network.validation_seeds:
        seeds = counted(network.validation_seeds, "fresh seed")
        text += f", {network.validation_accuracy_pct:.2f} % on validation images over {seeds}"
    lacking = "not verified" if standing.tier is Standing.CONFIRMED else "neither confirmed nor verified"
    return f"{text}; {lacking}, hash {network.hash}"


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


def shortfall_of(verdict: Verification) -> str:
    """Return a sentence on the test errors of a network without a proof, and on the seeds that a verdict requires."""
    row = verdict.row
    if row.test_errors_mean is None:
        return "no seed of the verification has been run"
    allowed_errors = (100 - row.target_pct) / 100 * dataset(row.dataset).test_size
    text = f"the verification gave a mean of {row.test_errors_mean:,.1f} test errors over {counted(row.seeds, 'seed')}"
    if verdict.lacks_declaration:
        return f"{text}; the ledger lacks the declaration of seeds of the row and must be restored, as from a backup"
    if verdict.lacks_seeds:
        return f"{text}; declared seeds have not been run, so the tier of the row is {Standing.MEASURED}"
    excess = row.test_errors_mean - allowed_errors
    if not statistics.reaches(row.mean_test_accuracy_pct or 0.0, row.target_pct):
        text = f"{text}, {excess:,.1f} more than the {allowed_errors:,.1f} allowed"
    elif not verdict.is_open:
        return f"{text}; {allowed_errors:,.1f} are allowed, but the seeds declared first or run again made more errors"
    if row.seeds < VERIFIED_SEEDS:
        return f"{text}; {allowed_errors:,.1f} are allowed, and a verdict requires at least {VERIFIED_SEEDS} seeds"
    return text


def _missed(state: StudyState, standing: StudyVerdict) -> Iterator[tuple[Verified, str]]:
    network_trial = None if standing.network is None else standing.network.trial
    for trial, verdict in state.verdicts.items():
        candidate = state.candidates.get(trial)
        if trial in state.missed_trials and candidate is not None and trial != network_trial:
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
    state: StudyState, standing: StudyVerdict, verdict: Verification | None, *, is_at_work: bool
) -> Advised | None:
    sessions = state.of_kind(SessionBegan)
    # Arguments of the last session; the first word of the command line is the path of the program.
    again = sessions[-1].event.command[1:] if sessions else ()
    if state.is_over:
        logged = _logged_advice(state, verdict)
        if logged is None or (verdict is not None and verdict.lacks_declaration and logged.arguments[0] == "verify"):
            logged = verification_advice(state, standing, verdict)
        if logged is not None or not again:
            return logged
        return Advised(arguments=again, advice="continues the search and states the next step")
    is_running = is_at_work and state.session is not None and isinstance(state.session.event, SessionBegan)
    if is_running or not again:
        return None
    return Advised(arguments=again, advice="continues the interrupted search")


def _logged_advice(state: StudyState, verdict: Verification | None) -> Advised | None:
    """Return the advice at the end of the search, unless a later session or record has superseded the advice."""
    entries = state.of_kind(Advised)
    if not entries or entries[-1].elapsed < state.of_kind(SessionEnded)[-1].elapsed:
        return None
    if verdict is not None and entries[-1].utc < verdict.row.date_utc:
        return None
    return entries[-1].event


def verification_advice(state: StudyState, standing: StudyVerdict, verdict: Verification | None) -> Advised | None:
    """Return the command for the verification or certification that the network of a study lacks; else None.

    No further seed replaces a declaration that the ledger lacks, so then the command names the seeds.
    """
    network = standing.network
    if verdict is None:
        if network is None or standing.tier is Standing.MISSED:
            return None
        arguments = verify_arguments(state.config, network.hash, state.proposals[network.trial].epochs)
        effect = "trains the network on fresh seeds and reads the test set"
        return Advised(why="verification", arguments=arguments, advice=effect)
    row = verdict.row
    if verdict.lacks_declaration:
        arguments = ("leaderboard", "--dataset", row.dataset, "--target", f"{row.target_pct:.12g}")
        effect = "names the ledger and the seeds whose declaration the ledger lacks"
    elif verdict.is_open:
        option = ("--certify",) if verdict.has_open_attempt else ("--seeds", "10")
        arguments = row.arguments("verify", *option)
        effect = "runs the seeds that a verdict requires"
    elif row.reached and row.tier is not Standing.CERTIFIED and row.dataset == "mnist":
        arguments = row.arguments("verify", "--certify", "--declare-only")
        trains = "after a commit of the ledger, the same command without --declare-only trains these seeds"
        return Advised(arguments=arguments, advice=f"declares {DEFAULT_SEEDS} further seeds; {trains}")
    else:
        return None
    return Advised(why="verification", sentences=(shortfall_of(verdict),), arguments=arguments, advice=effect)
