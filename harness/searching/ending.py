"""The end of a search: outcome, network, reason and the next command.

All outputs show the same ``Ending``, which follows from the log of the study and the record of its network, also while
the search runs and after later verifications.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.evidence import ledger
from harness.evidence.bounds import VERIFIED_CONFIDENCE, VERIFIED_SEEDS, ErrorRatio
from harness.evidence.leaderboard_table import Verification, read_verdicts
from harness.evidence.ledger import DEFAULT_SEEDS
from harness.evidence.record import RowKey
from harness.searching.baselines import trials_beside_baselines
from harness.searching.limited_space import upper_bounds
from harness.searching.time_budget import least_seconds
from harness.spaces.notation import parse_conditions
from harness.spaces.space import Condition, Metric, draw, judge, size_text, uniform
from harness.studies.candidate import (
    SEED_SHARE,
    NearestMiss,
    confirmed_front,
    miss_text,
    nearest_miss,
    study_space,
)
from harness.studies.config import StudyConfig
from harness.studies.events import Advised, EndReason, Postponed, SessionBegan, SessionEnded, Verified, WinnerChosen
from harness.studies.standing import Outcome, Standing
from harness.studies.study_state import StudyState, StudyVerdict
from harness.system import statistics
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.system.terminal import counted, duration_option, duration_text
from harness.training.result import Purpose, Status

if TYPE_CHECKING:
    from harness.searching.search_state import Search

_RESUMES = "resumes the study"
_DRAWS = 1_000  # random draws to decide whether the space has a network above the present limit
_EARLY = 0.98  # of the time limit; a search that ended earlier by ``TIME`` left the rest to the verification
# Final statuses without an accuracy, with a verb for messages.
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
        answer: Sentence with the verdict, on the network or on the networks trained without an answer.
        shortfall: Sentence on the test errors of a network without a proof; else empty.
        caveat: Sentence on the limits or the lack of the proof; may be empty.
        missed: Further networks that missed the target on the test images, each with a sentence.
        reason: Why the search ended, a phrase that continues "the search".
        advice: Next command; None while the search runs, or without a logged command.
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
    """Return the arguments of the command that verifies a network; ``epochs`` as in ``Proposal``."""
    key, recipe_name = _key_and_recipe(config, network_hash, epochs)
    return key.arguments("verify", recipe_name)


def read_endings(states: Sequence[StudyState], workspace: Workspace) -> list[Ending]:
    """Return the ends of studies of a workspace, with the records of the networks."""
    keys = [None if state.result is None else key_of(state, state.result) for state in states]
    verdicts = read_verdicts(workspace, keys)
    return [ending(state, key and verdicts.get(key)) for state, key in zip(states, keys, strict=True)]


def ending(state: StudyState, verdict: Verification | None = None, *, is_at_work: bool = False) -> Ending:
    """Return the end of a search.

    ``verdict`` is on the network of the study by its record; None without a record. ``is_at_work``: a program works on
    the study.
    """
    standing = state.standing(None if verdict is None else verdict.event)
    export = ""
    if verdict is not None:
        flag = "--c" if verdict.record.recipe.precision == "int8" else "--pytorch"
        export = as_command(*verdict.row.arguments("export", flag, "FOLDER"))
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
            f"{deviation}, target {row.target_pct:g} % on {state.data.title}, in "
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
    allowed_errors = (100 - row.target_pct) / 100 * verdict.record.seeds[0].test_size
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


# Advice ----------------------------------------------------------------------------------------------------------


def _next_advice(
    state: StudyState, standing: StudyVerdict, verdict: Verification | None, *, is_at_work: bool
) -> Advised | None:
    """The logged advice or, if the log has none that holds, the command that continues the study."""
    sessions = state.of_kind(SessionBegan)
    # Without the path of the program.
    again = sessions[-1].event.command[1:] if sessions else ()
    if state.is_over:
        advice = _logged_advice(state, verdict)
        if advice is None or (verdict is not None and verdict.lacks_declaration and advice.arguments[0] == "verify"):
            advice = _verification(state, standing, verdict)
        if advice is not None or not again:
            return advice
        return Advised(arguments=again, advice="continues the search and states the next step")
    is_running = is_at_work and state.session is not None and isinstance(state.session.event, SessionBegan)
    if is_running or not again:
        return None
    return Advised(arguments=again, advice="continues the interrupted search")


def _logged_advice(state: StudyState, verdict: Verification | None) -> Advised | None:
    """A later session or record may have superseded the advice."""
    entries = state.of_kind(Advised)
    if not entries or entries[-1].elapsed < state.of_kind(SessionEnded)[-1].elapsed:
        return None
    if verdict is not None and entries[-1].utc < verdict.row.date_utc:
        return None
    return entries[-1].event


def _obstacle_of(search: Search, verdict: Verification | None) -> NearestMiss | Postponed | None:
    """Return the candidate that a longer search could verify or confirm; None without such a candidate.

    ``Postponed``: the candidate waits for its verification; the seconds are the time of all sessions, including this
    verification. ``NearestMiss``: there is no answer, or the candidate is smaller and passed the first run.
    """
    state = search.state
    config = search.config
    last = state.entries[-1].event
    if verdict is None or not verdict.passed:
        if isinstance(last, Postponed):
            return replace(last, seconds=state.seconds + last.seconds)
        return nearest_miss(state.candidates.values()) if verdict is None else None
    contenders = state.contenders.values()
    cost = verdict.row.cost(config.minimised[0], config.recipe.weight_bits)
    better = [each for each in contenders if each.costs[0] < cost]
    if config.is_front:
        better = confirmed_front(contenders)
    candidates = [each for each in better if each.is_confirmed and each.proposal.trial not in state.verdicts]
    # After a missed verification, ``loop.choose`` prefers surer networks to smaller networks.
    if candidates and (config.is_front or not state.missed_trials):
        cheapest = min(candidates, key=lambda each: each.order)
        network = cheapest.proposal
        seconds = state.seconds + search.verify_seconds(cheapest)
        return Postponed(hash=network.hash, parameters=network.parameters, seconds=seconds)
    return nearest_miss(each for each in better if each.passed_first)


def advise(search: Search, verdict: Verification | None, workspace: Workspace) -> NearestMiss | Postponed | None:
    """Log the advice at the end of a search that was not interrupted, and return the obstacle (``_obstacle_of``)."""
    obstacle = _obstacle_of(search, verdict)
    advice = _advice_at_end(search.state, verdict, obstacle, workspace)
    if advice is not None and search.state.entries[-1].event != advice:
        # The time for this advice is not working time on the study.
        search.add(advice, search.state.seconds)
    return obstacle


def _advice_at_end(
    state: StudyState, verdict: Verification | None, obstacle: NearestMiss | Postponed | None, workspace: Workspace
) -> Advised | None:
    """Return the advice at the end of the last session; None if the target was met and there is no obstacle.

    Without a verdict, the advice is more time or trials if time or trials ran out, else a larger limit if there is no
    nearest miss or if the nearest miss costs more than half of the limit, else a lower target.
    """
    if isinstance(obstacle, Postponed):
        return _more_time_to_verify(state, obstacle, workspace)
    if verdict is None:
        return _without_answer(state, obstacle, workspace)
    if not verdict.passed:
        standing = state.standing(verdict.event)
        return _verification(state, standing, verdict) or _next_seed(state, verdict, workspace)
    if obstacle is None:
        return None
    effect = f"{_RESUMES} and trains the nearest network again"
    return _more_effort(state, _nearest_sentences(state, obstacle), effect, workspace)


def _verification(state: StudyState, standing: StudyVerdict, verdict: Verification | None) -> Advised | None:
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


def _next_seed(state: StudyState, verdict: Verification, workspace: Workspace) -> Advised:
    sentence = "the verification contradicts the record" if verdict.is_contradicted else shortfall_of(verdict)
    confidence = ledger.confidence_of_next_look(workspace.ledger, verdict.record.key)
    account = (
        f"the next verification on these test images requires a bound with {100 * confidence:g} % confidence; on "
        f"unused test images {100 * VERIFIED_CONFIDENCE:g} % suffices"
    )
    changes = {"--seed": f"{state.config.seed + 1}"}
    effect = "starts a search with a different seed"
    return _search_again(state, "verification", (sentence, account), changes, effect, workspace)


def _nearest_sentences(state: StudyState, nearest: NearestMiss | None) -> tuple[str, ...]:
    return () if nearest is None else (f"nearest: {miss_text(nearest, state.config.minimised[0])}",)


def _more_time_to_verify(state: StudyState, waiting: Postponed, workspace: Workspace) -> Advised:
    sentence = f"the network of {waiting.parameters:,} parameters (hash {waiting.hash}) is not verified"
    seconds = _end_of(state).seconds
    if seconds is not None:
        need = duration_text(waiting.seconds - state.seconds)
        left = duration_text(seconds - state.seconds)
        sentence += f": a verification takes up to about {need}, but {left} were left"
    changes = {"--time": duration_option(60 * math.ceil(waiting.seconds / 60))}
    return _search_again(state, "time", (sentence,), changes, f"{_RESUMES} and verifies the network", workspace)


def _without_answer(state: StudyState, nearest: NearestMiss | None, workspace: Workspace) -> Advised:
    config = state.config
    end = _end_of(state)
    answer = _answer_text(state, state.standing(), None)
    sentences = (answer, f"the search {_reason(state, is_at_work=False)}", *_nearest_sentences(state, nearest))
    # Later, networks may have been excluded only because the time left was too short.
    if end.reason != EndReason.EXHAUSTED or (end.seconds is not None and state.seconds > end.seconds / 2):
        return _more_effort(state, sentences, _RESUMES, workspace)
    stated_options = _stated_options(state)
    if nearest is None or 2 * nearest.cost > config.limits[0]:
        changes = _doubled_limit(state, stated_options)
        if changes:
            return _search_again(state, "space", sentences, changes, "searches larger networks", workspace)
    if nearest is None:
        check = ("spaces", "check", *stated_options.get("--space", (config.space,)))
        effect = "lists the reasons why networks of the space are rejected"
        return Advised(why="space", sentences=sentences, arguments=check, advice=effect)
    # With errors higher by a standard deviation of the seeds, the nearest miss should reach the new target.
    error_share = min(1.0, nearest.errors * (1 + SEED_SHARE) / nearest.size)
    ratio = ErrorRatio.of(state.data, config.target_pct).errors_ratio
    # Rounded down to hundredths of a per cent.
    target = max(1, math.floor(100 * (100 - 100 * ratio * error_share)) / 100)
    target = min(target, config.target_pct - 0.01)  # an equal target would resume the same study
    effect = "searches with a target that the nearest network may reach"
    return _search_again(state, "target", sentences, {"--target": f"{target:g}"}, effect, workspace)


def _doubled_limit(state: StudyState, stated_options: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the options that double the limit of the first metric, as far as the space itself allows.

    Empty if no draw of the space lies between the two limits.
    """
    metric = state.config.minimised[0]
    limit = state.config.limits[0]
    space = study_space(state.config, state.data.task)
    limits = [condition for text in stated_options.get("--limit", ()) for condition in parse_conditions(text)]
    old_limits = [each for each in limits if upper_bounds([each], metric)]
    conditions = [each for each in space.conditions if each not in old_limits]
    new_limit = min([2 * limit, *upper_bounds(conditions, metric)])
    bounds = (Condition(metric, ">", limit), Condition(metric, "<=", new_limit))
    larger = replace(space, conditions=(*conditions, *bounds))
    rng = random.Random(0)
    if not any(judge(larger, draw(larger, uniform(rng)).architecture).accepted for _ in range(_DRAWS)):
        return {}
    changes = {"--budget": f"{new_limit}"} if metric is Metric.PARAMETERS else {}
    if metric is not Metric.PARAMETERS or old_limits:
        further_limits = (str(each) for each in limits if each not in old_limits)
        changes["--limit"] = ",".join([*further_limits, f"{metric}<={new_limit}"])
    return changes


def _more_effort(state: StudyState, sentences: tuple[str, ...], effect: str, workspace: Workspace) -> Advised:
    end = _end_of(state)
    if end.reason == EndReason.TRIALS:
        trials = max(1, trials_beside_baselines(state.candidates.values()), end.trials or 1)
        return _search_again(state, "trials", sentences, {"--trials": f"{2 * trials}"}, effect, workspace)
    if end.seconds is None:
        return _search_again(state, "time", sentences, {}, effect, workspace)
    seconds = max(least_seconds(state.data.train_size), 2 * end.seconds)
    while seconds <= state.seconds:
        seconds *= 2
    return _search_again(state, "time", sentences, {"--time": duration_option(seconds)}, effect, workspace)


def _search_again(
    state: StudyState, why: str, sentences: tuple[str, ...], changes: Mapping[str, str], effect: str,
    workspace: Workspace,
) -> Advised:  # fmt: skip
    from harness.searching.augmentation import SHORT_CHOICE, recipe_for

    options = {**_stated_options(state), **{flag: (value,) for flag, value in changes.items()}}
    # --study names the present study, which only changes of the effort continue.
    if changes.keys() - {"--time", "--trials"}:
        options.pop("--study", None)
    is_recipe_open = options.keys().isdisjoint(("--recipe", "--trainer"))
    if "--time" in changes and is_recipe_open and recipe_for(state.data, workspace, None) is None:
        effect = f"chooses an augmentation and, if the recipe stays {SHORT_CHOICE}, {effect}"
    return Advised(why=why, sentences=sentences, arguments=search_arguments(options), advice=effect)


def search_arguments(stated_options: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the arguments of a search command, repeated for several values."""
    return "search", *(text for flag, values in stated_options.items() for value in values for text in (flag, value))


def _stated_options(state: StudyState) -> dict[str, tuple[str, ...]]:
    """Words of the command that form no option are left out."""
    words = state.of_kind(SessionBegan)[-1].event.command[2:]
    options: dict[str, tuple[str, ...]] = {}
    for flag, value in pairwise(words):
        if flag.startswith("--") and not value.startswith("--"):
            options[flag] = (*options.get(flag, ()), value)
    return options


def _end_of(state: StudyState) -> SessionEnded:
    return state.of_kind(SessionEnded)[-1].event
