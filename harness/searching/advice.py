"""Outcome of a search, printed as text or JSON, and the advice: a command to continue with.

``ending.py`` writes the sentences that hold for every study, also later, and advises a lacking verification. This
module advises a further search, which needs the session of the search: options, plan and time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence import ledger
from harness.evidence.bounds import VERIFIED_CONFIDENCE
from harness.evidence.leaderboard_table import Verification
from harness.searching.augmentation import SHORT_CHOICE, recipe_for
from harness.searching.baselines import best_linear, linear_document, linear_lines, trials_beside_baselines
from harness.searching.ending import Ending, ending, verification_advice
from harness.searching.plan import SearchPlan
from harness.searching.resolve import upper_bounds
from harness.searching.search_state import Search
from harness.searching.time_budget import least_seconds
from harness.spaces.notation import parse_conditions
from harness.spaces.space import Condition, Metric, draw, judge, size_text, uniform
from harness.studies.candidate import SEED_SHARE, NearestMiss, confirmed_front, miss_text, nearest_miss
from harness.studies.events import Advised, EndReason, Postponed, Quoted, SessionEnded
from harness.studies.standing import Standing
from harness.studies.study_state import StudyState
from harness.system.document import document_of
from harness.system.errors import as_command
from harness.system.terminal import duration_option, duration_text
from harness.training.native.driver import measured_latency
from harness.training.native.engine import EngineUnavailable

_RESUMES = "resumes the study"
_DRAWS = 1_000  # random draws to decide whether the space has a network above the present limit


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Outcome of a search that was not interrupted.

    Attributes:
        plan: Plan of the search.
        state: Final state of the study.
        verdict: Verdict of the last verification; None if no network was verified.
        stated_options: Options that the command line states, by flag, with the values as text; several values for a
            repeated option.
        nearest: Nearest miss; if the target was met, among the smaller candidates that passed the first run.
        waiting: Candidate that should be verified with more time; ``waiting.seconds`` is the time of all sessions
            including this verification. None if there is no such candidate.
    """

    plan: SearchPlan
    state: StudyState
    verdict: Verification | None
    stated_options: Mapping[str, tuple[str, ...]]
    nearest: NearestMiss | None = None
    waiting: Postponed | None = None

    def document(self, report: Path) -> dict[str, Any]:
        """Return the outcome as plain JSON values; ``report`` is the path of the report page."""
        config = self.plan.config
        study = self.state
        end = self.ending
        advice = self._printed_advice
        front = {"second": config.minimised[1], "front": self._front_documents()} if config.is_front else {}
        return {
            "study": self.plan.folder.name,
            "budget": config.budget,
            "minimise": config.minimised[0],
            "most": config.limits[0],
            **front,
            "target_pct": config.target_pct,
            "threshold_pct": config.threshold_pct,
            "proposed": study.proposal_count,
            "rejected": study.rejected.total(),
            "repeated": study.repeat_count,
            "trained": study.trained_count,
            "seconds": study.seconds,
            "winner": None if self._own_verdict is None else document_of(self._own_verdict.row),
            "reached": self.verdict is not None and self.verdict.passed,
            "missed": [asdict(verdict) for verdict, _ in end.missed],
            "linear": linear_document(best_linear(study.candidates.values())),
            "quote": self._quote(),
            "nearest_miss": None if self.nearest is None else asdict(self.nearest),
            # A published key: the advice.
            "last_words": None if advice is None else asdict(advice) | {"command": advice.command},
            "report": str(report),
            "leaderboard": str(self.plan.workspace.leaderboard),
        }

    @property
    def _own_verdict(self) -> Verification | None:
        """Verdict of the last verification, unless the study has a different, unverified network."""
        result = self.state.result
        if self.verdict is None or (result is not None and result.hash != self.verdict.row.hash):
            return None
        return self.verdict

    @property
    def ending(self) -> Ending:
        """End of the search, with the advice that ``outcome_of`` has logged."""
        return ending(self.state, self._own_verdict)

    @property
    def _printed_advice(self) -> Advised | None:
        """Advice for the terminal; None if no obstacle prevented a (smaller) answer."""
        advice = self.ending.advice
        return advice if advice is not None and advice.why else None

    def text(self) -> str:
        """Return the outcome as text for the terminal, several lines."""
        config = self.plan.config
        end = self.ending
        lines = []
        row = None if self._own_verdict is None else self._own_verdict.row
        if end.standing.network is not None or row is not None:
            lines.append(end.answer)
        if row is not None:
            seeds = ("--seeds", str(row.seeds))
            own = ("verify", "FILE.py:NAME", *row.arguments("verify", *seeds)[2:])
            ranking = ("leaderboard", "--dataset", config.dataset, "--target", f"{config.target_pct:.12g}")
            lines += [
                f"  {row.architecture}",
                *filter(None, [end.caveat]),
                f"export: {end.export}",
                f"verify again: {as_command(*row.arguments('verify', *seeds))}",
                f"compare a PyTorch module of your own: {as_command(*own)}",
                f"ranking: {as_command(*ranking)}",
            ]
        if lines:
            lines.append(f"the search {end.reason}")
        if row is not None and Metric.LATENCY_US in config.minimised:
            with suppress(EngineUnavailable):
                latency = measured_latency(row.architecture, dataset(config.dataset).task)
                lines.append(f"latency on this machine: {latency:.0f} microseconds per image on a single core")
        if config.is_front:
            lines += self._front_lines()
        lines += end.notes
        advice = self._printed_advice
        if advice is not None:
            lines += [*advice.sentences, f"this command {advice.advice}:", f"  {advice.command}"]
        return "\n".join([*lines, *linear_lines(best_linear(self.state.candidates.values()))])

    def _quote(self) -> dict[str, Any] | None:
        """Return the forecast of the search; if the target was met, with whether the intervals contain the outcome.

        The outcome in seconds is the time at the end of the verification.
        """
        quotes = self.state.of_kind(Quoted)
        if not quotes:
            return None
        quote = quotes[-1].event
        coverage: dict[str, bool | None] = {"parameters_held": None, "seconds_held": None}
        if self.verdict is not None and self.verdict.passed:
            coverage["parameters_held"] = holds(quote.parameters, self.verdict.row.parameters)
            coverage["seconds_held"] = holds(quote.seconds, self.state.seconds)
        return {**document_of(quote), **coverage}

    def _front_lines(self) -> list[str]:
        metrics = self.plan.config.minimised
        lines = []
        for document in self._front_documents():
            size = size_text(document["parameters"], [document[metric] for metric in metrics], metrics)
            mean_pct = document["mean_test_accuracy_pct"]
            accuracy = "" if mean_pct is None else f", {mean_pct:.3f} % on the test images"
            lines.append(f"  {document['hash']}  {size}: {document['tier']}{accuracy}")
        return ["front:", *lines] if lines else []

    def _front_documents(self) -> list[dict[str, Any]]:
        """Return the confirmed Pareto front as plain JSON values."""
        documents = []
        for candidate in self.state.front:
            verdict = self.state.verdicts.get(candidate.proposal.trial)
            document: dict[str, Any] = {
                "hash": candidate.proposal.hash,
                "parameters": candidate.proposal.parameters,
                "network": str(candidate.proposal.architecture),
                **dict(zip(self.plan.config.minimised, candidate.costs, strict=True)),
                "tier": Standing.CONFIRMED if verdict is None else verdict.tier,
                "mean_test_accuracy_pct": None if verdict is None else verdict.mean_test_accuracy_pct,
            }
            documents.append(document)
        return documents

    def advice(self) -> Advised | None:
        """Return the advice; None if the target was met, and no smaller candidate waits or has passed the first run.

        Without a verdict, the advice is more time or trials if time or trials ran out, else a larger limit if there is
        no nearest miss or if the nearest miss costs more than half of the limit, else a lower target.
        """
        if self.waiting is not None:
            return self._to_verify(self.waiting)
        if self.verdict is None:
            return self._without_answer()
        if not self.verdict.passed:
            return self._after_a_miss(self.verdict)
        if self.nearest is None:
            return None
        return self._more_effort(self._nearest_sentences(), f"{_RESUMES} and trains the nearest network again")

    def _nearest_sentences(self) -> tuple[str, ...]:
        if self.nearest is None:
            return ()
        return (f"nearest: {miss_text(self.nearest, self.plan.config.minimised[0])}",)

    def _to_verify(self, postponement: Postponed) -> Advised:
        seconds = self.plan.effort.seconds
        elapsed = self.state.seconds
        sentence = f"the network of {postponement.parameters:,} parameters (hash {postponement.hash}) is not verified"
        if seconds is not None:
            need = duration_text(postponement.seconds - elapsed)
            sentence += f": a verification takes up to about {need}, but {duration_text(seconds - elapsed)} were left"
        changes = {"--time": duration_option(60 * math.ceil(postponement.seconds / 60))}
        return self._advised("time", (sentence,), changes, f"{_RESUMES} and verifies the network")

    def _without_answer(self) -> Advised:
        config = self.plan.config
        seconds = self.plan.effort.seconds
        elapsed = self.state.seconds
        nearest = self.nearest
        end = self.ending
        sentences = (end.answer, f"the search {end.reason}", *self._nearest_sentences())
        # In the second half of the time, networks may have been excluded only because the time left was too short.
        event = self.state.of_kind(SessionEnded)[-1].event
        if event.reason != EndReason.EXHAUSTED or (seconds is not None and elapsed > seconds / 2):
            return self._more_effort(sentences, _RESUMES)
        if nearest is None or 2 * nearest.cost > config.limits[0]:
            changes = self._doubled_limit()
            if changes:
                return self._advised("space", sentences, changes, "searches larger networks")
        if nearest is None:
            check = ("spaces", "check", *self.stated_options.get("--space", (config.space,)))
            effect = "lists the reasons why networks of the space are rejected"
            return Advised(why="space", sentences=sentences, arguments=check, advice=effect)
        # The nearest miss, with errors higher by a standard deviation of the seeds, should reach the new target.
        error_share = min(1.0, nearest.errors * (1 + SEED_SHARE) / nearest.size)
        # Rounded down to hundredths of a per cent.
        target = max(1, math.floor(100 * (100 - 100 * self.plan.error_ratio.errors_ratio * error_share)) / 100)
        target = min(target, config.target_pct - 0.01)  # an equal target would resume the same study
        advice = "searches with a target that the nearest network may reach"
        return self._advised("target", sentences, {"--target": f"{target:g}"}, advice)

    def _doubled_limit(self) -> dict[str, str]:
        """Return the options that double the limit of the first metric, as far as the space itself allows.

        Returns:
            Values by flag; empty if no draw of the space lies between the two limits.
        """
        metric = self.plan.config.minimised[0]
        limit = self.plan.config.limits[0]
        space = self.plan.space
        limits = [condition for text in self.stated_options.get("--limit", ()) for condition in parse_conditions(text)]
        old_limits = [each for each in limits if upper_bounds([each], metric)]
        conditions = [each for each in space.conditions if each not in old_limits]
        most = min([2 * limit, *upper_bounds(conditions, metric)])
        bounds = (Condition(metric, ">", limit), Condition(metric, "<=", most))
        larger = replace(space, conditions=(*conditions, *bounds))
        rng = random.Random(0)
        if not any(judge(larger, draw(larger, uniform(rng)).architecture).accepted for _ in range(_DRAWS)):
            return {}
        changes = {"--budget": f"{most}"} if metric is Metric.PARAMETERS else {}
        if metric is not Metric.PARAMETERS or old_limits:
            further_limits = (str(each) for each in limits if each not in old_limits)
            changes["--limit"] = ",".join([*further_limits, f"{metric}<={most}"])
        return changes

    def _after_a_miss(self, verdict: Verification) -> Advised:
        """Return the advice after a verification that did not reach the target, or is open or unfinished."""
        advice = verification_advice(self.state, self.ending.standing, verdict)
        if advice is not None:
            return advice
        sentence = "the verification contradicts the record" if verdict.is_contradicted else self.ending.shortfall
        confidence = ledger.confidence_of_next_look(self.plan.workspace.ledger, verdict.record.key)
        account = (
            f"the next verification on these test images requires a bound with {100 * confidence:g} % confidence; on "
            f"unused test images {100 * VERIFIED_CONFIDENCE:g} % suffices"
        )
        changes = {"--seed": f"{self.plan.config.seed + 1}"}
        return self._advised("verification", (sentence, account), changes, "starts a search with a different seed")

    def _more_effort(self, sentences: tuple[str, ...], advice: str) -> Advised:
        """Return the advice to double the limit of trials, if this limit ended the search, else of time, if limited."""
        effort = self.plan.effort
        if self.state.of_kind(SessionEnded)[-1].event.reason == EndReason.TRIALS:
            trials = max(1, trials_beside_baselines(self.state.candidates.values()))
            if effort.trials is not None:
                trials = max(trials, effort.trials)
            return self._advised("trials", sentences, {"--trials": f"{2 * trials}"}, advice)
        seconds = least_seconds(self.plan.data.train_size)
        if effort.seconds is not None:
            seconds = max(seconds, 2 * effort.seconds)
        while seconds <= self.state.seconds:
            seconds *= 2
        more = {"--time": duration_option(seconds)} if effort.seconds is not None else {}
        return self._advised("time", sentences, more, advice)

    def _advised(self, why: str, sentences: tuple[str, ...], changes: Mapping[str, str], advice: str) -> Advised:
        # --study names the present study, so drop the option unless only the effort changes.
        options = {**self.stated_options, **{flag: (value,) for flag, value in changes.items()}}
        if changes.keys() - {"--time", "--trials"}:
            options.pop("--study", None)
        is_recipe_open = options.keys().isdisjoint(("--recipe", "--trainer"))
        if "--time" in changes and is_recipe_open and recipe_for(self.plan.data, self.plan.workspace, None) is None:
            advice = f"chooses an augmentation and, if the recipe stays {SHORT_CHOICE}, {advice}"
        return Advised(why=why, sentences=sentences, arguments=search_arguments(options), advice=advice)


def holds(interval: tuple[float | None, float | None, float | None], value: float) -> bool:
    """Return whether a value lies in a quoted interval (low, middle, high).

    In a quote (``Quoted.parameters``) None means that no network reaches the target: no ``low`` contains no value, no
    ``high`` is no upper limit.
    """
    low, _, high = interval
    return low is not None and low <= value and (high is None or value <= high)


def search_arguments(stated_options: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the arguments of a search command; an option with several values is repeated."""
    return "search", *(text for flag, values in stated_options.items() for value in values for text in (flag, value))


def outcome_of(
    plan: SearchPlan, search: Search, verdict: Verification | None, stated_options: Mapping[str, tuple[str, ...]]
) -> SearchOutcome:
    """Return the outcome of a search that was not interrupted, and log the advice as an ``Advised`` event.

    Args:
        plan: Plan of the search.
        search: Search that has ended.
        verdict: Verdict of the last verification; None if no network was verified.
        stated_options: As in ``SearchOutcome``.
    """
    nearest = None
    waiting = None
    last = search.state.entries[-1].event
    if verdict is not None and verdict.passed:
        contenders = search.state.contenders.values()
        cost = verdict.row.cost(plan.config.minimised[0], plan.config.recipe.weight_bits)
        better = [each for each in contenders if each.costs[0] < cost]
        if plan.config.is_front:
            better = confirmed_front(contenders)
        candidates = [each for each in better if each.is_confirmed and each.proposal.trial not in search.state.verdicts]
        # After a missed verification, ``loop.choose`` prefers surer networks to smaller ones, whatever the time left.
        if candidates and (plan.config.is_front or not search.state.missed_trials):
            cheapest = min(candidates, key=lambda each: each.order)
            network = cheapest.proposal
            seconds = search.state.seconds + search.verify_seconds(cheapest)
            waiting = Postponed(hash=network.hash, parameters=network.parameters, seconds=seconds)
        else:
            nearest = nearest_miss(each for each in better if each.passed_first)
    elif isinstance(last, Postponed):
        waiting = replace(last, seconds=search.state.seconds + last.seconds)
    elif verdict is None:
        nearest = nearest_miss(search.state.candidates.values())
    outcome = SearchOutcome(
        plan=plan, state=search.state, verdict=verdict, stated_options=stated_options, nearest=nearest, waiting=waiting
    )
    advice = outcome.advice()
    if advice is not None and last != advice:
        # The time for this answer is not working time on the study, and this event must not add it.
        search.add(advice, search.state.seconds)
    return outcome
