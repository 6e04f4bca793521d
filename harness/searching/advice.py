"""Final report of a search: the answer or the nearest miss, and one command to continue with."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.data.datasets import dataset
from harness.evidence import ledger
from harness.evidence.bounds import VERIFIED_CONFIDENCE
from harness.evidence.leaderboard import cost_of, words_of
from harness.evidence.verify import Verdict
from harness.searching.floor import best_linear, linear_document, trials_beside_floor
from harness.searching.plan import SearchPlan
from harness.searching.state import Search
from harness.searching.time_budget import least_seconds
from harness.studies.candidate import SEED_SHARE, NearestMiss, confirmed_front, final_order, miss_text, nearest_miss
from harness.studies.events import Advised, Confirmed, EndReason, Postponed, Quoted, SessionEnded, Verified
from harness.studies.state import StudyState
from harness.system.document import document_of
from harness.system.errors import typed
from harness.system.terminal import counted, duration_option, duration_text
from harness.training.native.driver import measured_latency
from harness.training.native.engine import EngineUnavailable
from harness.training.result import Purpose, Status
from search_spaces.notation import parse_conditions
from search_spaces.space import Condition, Metric, draw, judge, size_text, uniform

_SAME = "resumes the study"
_DRAWS = 1_000  # random draws to decide whether the space has a network above the present ceiling
# Final statuses of a run without an accuracy.
_FAILED = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.TIMED_OUT: "exceeded the time limit",
    Status.CRASHED: "crashed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastWords:
    """Reason for a missing or improvable answer, and a command to paste.

    Attributes:
        why: Obstacle: the limit or the stage that prevented a (smaller) answer.
        sentences: Explanation, one line per item, without full stops.
        arguments: Arguments of a command that resumes the study, or starts another study with the obstacle relaxed.
        advice: Effect of the command, a verb phrase that continues "this command".
        command: Shell command with these arguments.
    """

    why: Literal["time", "trials", "target", "space", "verification"]
    sentences: tuple[str, ...]
    arguments: tuple[str, ...]
    advice: str
    command: str


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Outcome of a search that was not interrupted.

    Attributes:
        plan: Plan of the search.
        state: Final state of the study.
        verdict: Verdict of the last verification; None if no network was verified.
        typed_options: Command-line options and their values, as typed.
        nearest: Nearest miss; with a verified answer, among the smaller candidates that passed their first run.
        waiting: Smallest confirmed candidate without a verification; ``seconds`` is the time of the whole search
            including this verification.
    """

    plan: SearchPlan
    state: StudyState
    verdict: Verdict | None
    typed_options: Mapping[str, str]
    nearest: NearestMiss | None = None
    waiting: Postponed | None = None

    def document(self, report: Path) -> dict[str, Any]:
        """Return the outcome as plain JSON values; ``report`` is the path of the report page."""
        config = self.plan.config
        study = self.state
        words = self.words()
        rejected = study.rejected.total()
        return {
            "study": self.plan.folder.name,
            "budget": config.budget,
            "minimise": config.minimised[0],
            "most": config.ceilings[0],
            **({"second": config.minimised[1], "front": self._front()} if config.is_front else {}),
            "target_pct": config.target_pct,
            "threshold_pct": config.threshold_pct,
            "proposed": len(study.proposals) + rejected + study.repeated,
            "rejected": rejected,
            "repeated": study.repeated,
            "trained": sum(number for status, number in self._ends().items() if status not in _FAILED),
            "seconds": study.seconds,
            "winner": None if self.verdict is None else document_of(self.verdict.row),
            "reached": self.verdict is not None and self.verdict.passed,
            "missed": [asdict(verdict) for _, verdict in self._missed()],
            "linear": self._linear(),
            "quote": self._quote(),
            "nearest_miss": None if self.nearest is None else asdict(self.nearest),
            "last_words": None if words is None else asdict(words),
            "report": str(report),
            "leaderboard": str(self.plan.workspace.leaderboard),
        }

    def text(self) -> str:
        """Return the outcome as text for the terminal."""
        lines, config = list[str](), self.plan.config
        if self.verdict is not None:
            row = self.verdict.row
            size = size_text(row.parameters, [cost_of(row, each) for each in config.minimised], config.minimised)
            lines += [
                f"{row.tier}: {size}, mean test accuracy {row.mean_test_accuracy_pct:.3f} % over {row.seeds} seeds "
                f"(deviation {row.std_test_accuracy_pct or 0:.3f}), target {row.target_pct:g} % on "
                f"{dataset(row.dataset).title}, in {duration_text(self.state.seconds)}",
                f"  {row.architecture}",
                f"verify again: {typed('verify', *words_of(row), '--seeds', str(row.seeds))}",
                f"ranking: {typed('leaderboard', '--dataset', config.dataset, '--target', f'{config.target_pct:g}')}",
                *self._early_end(),
            ]
        if self.verdict is not None and Metric.LATENCY_US in config.minimised:
            network, task = self.verdict.record.architecture, dataset(config.dataset).task
            with suppress(EngineUnavailable):
                latency = measured_latency(network, task)
                lines.append(f"latency on this machine: {latency:.0f} microseconds per image on a single core")
        if config.is_front:
            lines += self._front_lines()
        lines += [
            f"target missed on the test images: {size}, mean test accuracy {verdict.mean_test_accuracy_pct or 0:.3f} % "
            f"over {verdict.seeds or 0} seeds (hash {verdict.hash})"
            for size, verdict in self._missed()
        ]
        if (words := self.words()) is not None:
            lines += [*words.sentences, f"this command {words.advice}:", f"  {words.command}"]
        if (linear := self._linear()) is not None:
            accuracy = f"validation accuracy {linear['validation_accuracy_pct']:.2f} %"
            lines.append(f"linear baseline: {linear['parameters']:,} parameters, {accuracy}")
        return "\n".join(lines)

    def _linear(self) -> dict[str, Any] | None:
        """Return the best linear baseline as plain JSON values; None if no linear model was trained."""
        return linear_document(best_linear(self.state.candidates.values()))

    def _quote(self) -> dict[str, Any] | None:
        """Return the forecast of the search; if the target was met, with the coverage of the 90 % intervals."""
        quotes = self.state.of_kind(Quoted)
        if not quotes:
            return None
        quoted = quotes[-1].event
        held: dict[str, bool | None] = {"parameters_held": None, "seconds_held": None}
        if self.verdict is not None and self.verdict.passed:
            row = self.verdict.row
            held["parameters_held"] = holds(quoted.parameters, row.parameters)
            confirmed = [entry.elapsed for entry in self.state.of_kind(Confirmed) if entry.event.hash == row.hash]
            search_ends = [entry.elapsed for entry in self.state.of_kind(SessionEnded)]
            if confirmed and search_ends:
                verifying = self.state.seconds - search_ends[-1]
                held["seconds_held"] = holds(quoted.seconds, confirmed[0] + verifying)
        return {**document_of(quoted), **held}

    def _front_lines(self) -> list[str]:
        metrics = self.plan.config.minimised
        lines = []
        for network in self._front():
            size = size_text(network["parameters"], [network[metric] for metric in metrics], metrics)
            mean = network["mean_test_accuracy_pct"]
            accuracy = "" if mean is None else f", {mean:.3f} % on the test images"
            lines.append(f"  {network['hash']}  {size}: {network['tier']}{accuracy}")
        return ["front:", *lines] if lines else []

    def _front(self) -> list[dict[str, Any]]:
        """Return the confirmed Pareto front as plain JSON values."""
        study = self.state
        return [
            {
                "hash": each.proposal.hash,
                "parameters": each.proposal.parameters,
                "network": str(each.proposal.architecture),
                **dict(zip(self.plan.config.minimised, each.costs, strict=True)),
                "tier": study.tier_of(each),
                "mean_test_accuracy_pct": verdict.mean_test_accuracy_pct if verdict else None,
            }
            for each, verdict in ((each, study.verdicts.get(each.proposal.trial)) for each in study.front)
        ]

    def _ends(self) -> Counter[Status]:
        return Counter(run.status for run in self.state.results if run.purpose is Purpose.SEARCH)

    def _missed(self) -> list[tuple[str, Verified]]:
        named = None if self.verdict is None else self.verdict.record
        return [
            (size_text(candidate.proposal.parameters, candidate.costs, self.plan.config.minimised), verdict)
            for trial, verdict in self.state.verdicts.items()
            if trial in self.state.missed and (candidate := self.state.candidates.get(trial)) is not None
            if named is None or (verdict.hash, verdict.recipe_hash) != (named.hash, named.recipe_hash)
        ]

    def words(self) -> _LastWords | None:
        """Return the advice; None if the target was met and no smaller candidate is left.

        The advice without a confirmed candidate is more time or trials if they ran out, else a larger budget if the
        ceiling binds, else a lower target.
        """
        if self.waiting is not None:
            return self._to_verify(self.waiting)
        if self.verdict is None:
            return self._without_answer()
        if not self.verdict.passed:
            return self._after_a_miss(self.verdict)
        near = self._near()
        return self._more_effort(near, f"{_SAME} and trains the nearest network again") if near else None

    def _near(self) -> tuple[str, ...]:
        if self.nearest is None:
            return ()
        return (f"nearest: {miss_text(self.nearest, self.plan.config.minimised[0])}",)

    def _to_verify(self, waiting: Postponed) -> _LastWords:
        seconds = self.plan.effort.seconds
        elapsed = self.state.seconds
        sentence = (
            f"the network of {waiting.parameters:,} parameters (hash {waiting.hash}) is confirmed, but not verified"
        )
        if seconds is not None:
            needed = duration_text(waiting.seconds - elapsed)
            sentence += f": a verification takes up to about {needed}, but {duration_text(seconds - elapsed)} were left"
        changes = {"--time": duration_option(60 * math.ceil(waiting.seconds / 60))}
        return self._advised("time", (sentence,), changes, f"{_SAME} and verifies the network")

    def _without_answer(self) -> _LastWords:
        config = self.plan.config
        seconds = self.plan.effort.seconds
        elapsed = self.state.seconds
        nearest = self.nearest
        sentence = (
            f"no network of at most {config.bounds_text} was confirmed at a validation accuracy of "
            f"{config.threshold_pct:.2f} %: {self._runs_text()} in {duration_text(elapsed)}; the test set was not read"
        )
        sentences = ("; ".join((*self._early_end(), sentence)), *self._near())
        # In the second half of the time, networks may have been excluded only because the time left was too short.
        ending = self.state.of_kind(SessionEnded)[-1].event
        if ending.reason != EndReason.EXHAUSTED or (seconds is not None and elapsed > seconds / 2):
            return self._more_effort(sentences, _SAME)
        if nearest is None or 2 * nearest.cost > config.ceilings[0]:
            changes = self._larger()
            if changes:
                return self._advised("space", sentences, changes, "searches larger networks")
        if nearest is None:
            check = ("spaces", "check", self.typed_options.get("--space", config.space))
            return _said("space", sentences, check, "lists the reasons why networks of the space are rejected")
        # The nearest miss with errors one standard deviation of the seeds higher should reach the new target.
        errors = min(1.0, nearest.errors * (1 + SEED_SHARE) / nearest.size)
        target = max(1, math.floor(100 * (100 - 100 * self.plan.offset.errors_ratio * errors)) / 100)
        target = min(target, config.target_pct - 0.01)  # an equal target would resume the same study
        advice = "searches with a target that the nearest network may reach"
        return self._advised("target", sentences, {"--target": f"{target:g}"}, advice)

    def _runs_text(self) -> str:
        ends = self._ends()
        whole = sum(number for status, number in ends.items() if status not in _FAILED)
        text = f"{counted(whole, 'network')} trained"
        text += f" ({ends[Status.PRUNED]:,} pruned)" if ends[Status.PRUNED] else ""
        failures = [f", {counted(ends[status], 'run')} {what}" for status, what in _FAILED.items() if ends[status]]
        return text + "".join(failures)

    def _early_end(self) -> list[str]:
        """Return a line with the reason why the search ended before its time limit; empty if it did not."""
        entry, seconds = self.state.of_kind(SessionEnded)[-1], self.plan.effort.seconds
        if not entry.event.message or (entry.event.reason != EndReason.EXHAUSTED and self.verdict is None):
            return []
        of = "" if seconds is None else f" of {duration_text(seconds)}"
        return [f"stopped after {duration_text(entry.elapsed)}{of}: {entry.event.message}"]

    def _larger(self) -> dict[str, str]:
        """Return the options that double the ceiling; empty if no draw of the space lies between the two ceilings."""
        metric = self.plan.config.minimised[0]
        ceiling = self.plan.config.ceilings[0]
        space = self.plan.space
        limits = parse_conditions(self.typed_options["--limit"]) if "--limit" in self.typed_options else ()

        def is_upper(condition: Condition) -> bool:
            return condition.metric is metric and condition.comparison in ("<=", "<", "==")

        own = [each for each in space.conditions if each not in filter(is_upper, limits)]
        most = min([2 * ceiling, *(each.bound for each in filter(is_upper, own))])
        between = (Condition(metric, ">", ceiling), Condition(metric, "<=", most))
        larger, rng = replace(space, conditions=(*own, *between)), random.Random(0)
        if not any(judge(larger, draw(larger, uniform(rng)).architecture).accepted for _ in range(_DRAWS)):
            return {}
        changes = {"--budget": f"{most}"} if metric is Metric.PARAMETERS else {}
        if metric is not Metric.PARAMETERS or any(map(is_upper, limits)):
            others = (str(each) for each in limits if not is_upper(each))
            changes["--limit"] = ",".join([*others, f"{metric}<={most}"])
        return changes

    def _after_a_miss(self, verdict: Verdict) -> _LastWords:
        row = verdict.row
        errors, allowed = row.test_errors_mean or 0.0, (100 - row.target_pct) / 100 * verdict.record.seeds[0].test_size
        sentence = f"the verification gave a mean of {errors:,.1f} test errors over {row.seeds} seeds"
        if verdict.is_held_back:
            sentence += "; declared seeds of a certification have not been run, so the tier of the row is measured"
            return _said("verification", (sentence,), ("verify", *words_of(row), "--certify"), "runs these seeds")
        if errors <= allowed and not verdict.contradicted:
            sentence += f"; {allowed:,.1f} are allowed, but the seeds are too few or differ too much for a verdict"
            arguments, advice = ("verify", *words_of(row), "--seeds", "10"), "runs the seeds that a verdict requires"
            return _said("verification", (sentence,), arguments, advice)
        more = f", {errors - allowed:,.1f} more than the {allowed:,.1f} allowed"
        sentence += ", which contradicts the record" if verdict.contradicted else more
        if (origin := verdict.record.found) is not None:
            validation = f"{origin.validation_accuracy_pct:.2f} % on validation"
            sentence += f"; the network has {validation} and {row.mean_test_accuracy_pct or 0:.2f} % on the test images"
        confidence = ledger.confidence_of_next_look(self.plan.workspace.ledger, verdict.record.key)
        account = (
            f"the next verification on these test images requires a bound with {100 * confidence:g} % confidence; on "
            f"unused test images {100 * VERIFIED_CONFIDENCE:g} % suffices"
        )
        changes = {"--seed": f"{self.plan.config.seed + 1}"}
        return self._advised("verification", (sentence, account), changes, "starts a search with a different seed")

    def _more_effort(self, sentences: tuple[str, ...], advice: str) -> _LastWords:
        effort = self.plan.effort
        if self.state.of_kind(SessionEnded)[-1].event.reason == EndReason.TRIALS:
            more = {"--trials": f"{2 * max(effort.trials or 1, trials_beside_floor(self.state.candidates.values()))}"}
            return self._advised("trials", sentences, more, advice)
        seconds = max(2 * (effort.seconds or 0.0), least_seconds(self.plan.data.train_size))
        while seconds <= self.state.seconds:
            seconds *= 2
        more = {"--time": duration_option(seconds)} if effort.seconds is not None else {}
        return self._advised("time", sentences, more, advice)

    def _advised(self, why: Any, sentences: tuple[str, ...], changes: Mapping[str, str], advice: str) -> _LastWords:
        # --study names the present study, so drop the option unless only the effort changes.
        options = {**self.typed_options, **changes}
        if changes.keys() - {"--time", "--trials"}:
            options.pop("--study", None)
        return _said(why, sentences, search_words(options), advice)


def holds(interval: tuple[float | None, float | None, float | None], value: float) -> bool:
    """Return whether a value lies in a (low, middle, high) interval; an end that is None is infinite."""
    low, _, high = interval
    return low is not None and low <= value and (high is None or value <= high)


def search_words(typed_options: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments of a search command; an option with two values is repeated."""
    words = ["search"]
    for name, values in typed_options.items():
        for value in values.split(f" {name} "):
            words += [name, value]
    return tuple(words)


def _said(why: Any, sentences: tuple[str, ...], arguments: tuple[str, ...], advice: str) -> _LastWords:
    return _LastWords(why=why, sentences=sentences, arguments=arguments, advice=advice, command=typed(*arguments))


def outcome_of(
    plan: SearchPlan, search: Search, verdict: Verdict | None, typed_options: Mapping[str, str]
) -> SearchOutcome:
    """Return the outcome of a search that was not interrupted, and log the advice as an ``Advised`` event.

    Args:
        plan: Plan of the search.
        search: Search that has ended.
        verdict: Verdict of the last verification; None if no network was verified.
        typed_options: Command-line options and their values, as typed.
    """
    nearest = waiting = None
    last = search.state.entries[-1].event
    if verdict is not None and verdict.passed:
        cost = cost_of(verdict.row, plan.config.minimised[0])
        cheaper = [each for each in search.state.contenders.values() if each.costs[0] < cost]
        if plan.config.is_front:
            cheaper = confirmed_front(search.state.contenders.values())
        untried = (each for each in final_order(cheaper) if each.proposal.trial not in search.state.verdicts)
        # After a missed verification, ``loop.choose`` prefers surer networks to smaller ones, whatever the time left.
        passed_over = search.state.missed and not plan.config.is_front
        if not passed_over and (smallest := next(untried, None)) is not None:
            network, seconds = smallest.proposal, search.state.seconds + search.verify_seconds(smallest)
            waiting = Postponed(hash=network.hash, parameters=network.parameters, seconds=seconds)
        else:
            nearest = nearest_miss(each for each in cheaper if each.passed_first)
    elif isinstance(last, Postponed):
        waiting = replace(last, seconds=search.state.seconds + last.seconds)
    elif verdict is None:
        nearest = nearest_miss(search.state.candidates.values())
    outcome = SearchOutcome(
        plan=plan, state=search.state, verdict=verdict, typed_options=typed_options, nearest=nearest, waiting=waiting
    )
    words = outcome.words()
    if words is not None:
        advised = Advised(arguments=words.arguments, advice=words.advice)
        if last != advised:
            search.add(advised)
    return outcome
