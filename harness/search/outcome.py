"""How a search has ended: its answer, or the nearest miss and one command that gets further."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import (
    Entry,
    Event,
    Postponed,
    Repeated,
    SessionBegan,
    SessionEnded,
    of_kind,
    verdicts,
)
from harness.evidence.leaderboard import cost_of, standings_file
from harness.evidence.verify import Verdict
from harness.search.clock import least_seconds
from harness.search.nearest_miss import NearestMiss, allowed_errors, miss_text, nearest_miss
from harness.search.race import SEED_SHARE, candidate_of, final_order, passed_first
from harness.search.run_plan import SearchPlan
from harness.search.session import Session, verify_seconds
from harness.system.document import document_of
from harness.system.errors import typed
from harness.system.terminal import LONGEST, counted, duration_option, duration_text
from harness.training.result import Status
from search_spaces.space import OBJECTIVES, Metric, size_text

Why = Literal["time", "trials", "target", "space", "verification"]

# What may change without another study beginning.
_EFFORT = {"--time", "--trials"}
_SAME = "goes on with the same study"
# What may end a run without an accuracy.
_FAILED = {
    Status.OUT_OF_MEMORY: "ended out of memory",
    Status.TIMED_OUT: "ended at the time limit",
    Status.CRASHED: "crashed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastWords:
    """Why there is no answer, or no smaller one, for people, and a command to paste.

    Attributes:
        why: what stood in the way.
        sentences: without full stops, a line each.
        arguments: of a command that goes on with the same study, or begins one that differs in what stood in the way.
        advice: what the command does; the words go on from it.
    """

    why: Why
    sentences: tuple[str, ...]
    arguments: tuple[str, ...]
    advice: str

    @property
    def command(self) -> str:
        """The command as it is typed here."""
        return typed(*self.arguments)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search has ended that was not interrupted.

    Attributes:
        events: all of its log.
        given: options of the command line and their values, as they are typed.
        ends: networks by how their first run has ended.
        nearest: what came nearest, where nothing is confirmed.
        smaller: a smaller network than the answer that passed its first run only.
        waiting: a network that is confirmed and not verified, the smallest; ``seconds`` are of the whole search with
            its verification.
    """

    plan: SearchPlan
    verdict: Verdict | None
    events: list[Entry[Event]]
    given: Mapping[str, str]
    ends: Counter[Status]
    nearest: NearestMiss | None = None
    smaller: NearestMiss | None = None
    waiting: Postponed | None = None

    @property
    def elapsed(self) -> float:
        """Seconds used by all sessions."""
        return study.elapsed_seconds(self.events)

    @property
    def trained(self) -> int:
        """Networks whose first run has ended with an accuracy."""
        return self.ends.total() - sum(self.ends[how] for how in _FAILED)

    def document(self, report: Path) -> dict[str, Any]:
        """Return it as plain JSON values."""
        config, words = self.plan.config, self.words()
        proposed, repeated = len(study.proposals(self.events)), len(of_kind(self.events, Repeated))
        rejected = study.rejections(self.events).total()
        return {
            "study": self.plan.folder.name,
            "budget": config.budget,
            "minimise": config.minimise,
            "most": config.ceiling,
            "target_pct": config.target_pct,
            "threshold_pct": config.threshold_pct,
            "proposed": proposed + rejected + repeated,
            "rejected": rejected,
            "repeated": repeated,
            "trained": self.trained,
            "seconds": self.elapsed,
            "winner": None if self.verdict is None else document_of(self.verdict.row),
            "reached": self.verdict is not None and self.verdict.passed,
            "missed": [asdict(verdict) for _, verdict in self._missed()],
            "nearest_miss": None if self.nearest is None else asdict(self.nearest),
            "last_words": None if words is None else {**asdict(words), "command": words.command},
            "report": str(report),
            "leaderboard": str(standings_file(self.plan.workspace)),
        }

    def text(self) -> str:
        """Return it for people."""
        lines: list[str] = []
        config = self.plan.config
        if self.verdict is not None:
            row = self.verdict.row
            size = size_text(row.parameters, cost_of(row, config.minimise), config.minimise)
            lines += [
                f"{row.tier}: {size}, mean test accuracy {row.mean_test_accuracy_pct:.3f} % over {row.seeds} seeds "
                f"(deviation {row.std_test_accuracy_pct or 0:.3f}), target {row.target_pct:g} % on "
                f"{dataset(row.dataset).title}, in {duration_text(self.elapsed)}",
                f"  {row.architecture}",
                f"run it again: {typed('verify', row.hash, '--seeds', str(row.seeds))}",
                f"standings: {typed('leaderboard', '--dataset', config.dataset, '--target', f'{config.target_pct:g}')}",
            ]
        lines += [
            f"also verified, and missed: {size}, mean test accuracy {verdict.mean_test_accuracy_pct or 0:.3f} % over "
            f"{verdict.seeds or 0} seeds (hash {verdict.hash})"
            for size, verdict in self._missed()
        ]
        if (words := self.words()) is not None:
            lines += [*words.sentences, f"this command {words.advice}:", f"  {words.command}"]
        return "\n".join(lines)

    def _missed(self) -> list[tuple[str, Any]]:
        config, named = self.plan.config, None if self.verdict is None else self.verdict.record
        networks = {each.trial: each for each in study.proposals(self.events)}
        return [
            (size_text(found.parameters, candidate_of(config, found).cost, config.minimise), verdict)
            for trial, verdict in verdicts(self.events).items()
            if not verdict.passed and (found := networks.get(trial)) is not None
            if named is None or (verdict.hash, verdict.recipe_hash) != (named.hash, named.recipe_hash)
        ]

    def words(self) -> _LastWords | None:
        """Return what is said where there is no answer, or where a smaller network is not confirmed or verified yet.

        One way on is advised: more time or trials where they ran out, else a larger budget where it binds, else a lower
        target.
        """
        config, effort, elapsed = self.plan.config, self.plan.effort, self.elapsed
        if (found := self.waiting) is not None:
            known = f"{found.parameters:,} parameters are confirmed on validation (hash {found.hash}), but not verified"
            if effort.seconds is not None:
                needed, left = (duration_text(each - elapsed) for each in (found.seconds, effort.seconds))
                known += f": that takes at most about {needed}, and {left} were left"
            changes = {"--time": duration_option(60 * math.ceil(found.seconds / 60))}
            return self._advised("time", (known,), changes, f"{_SAME} and verifies the network")
        if self.smaller is not None:
            said = f"smaller, but not confirmed: {miss_text(self.smaller, config.minimise)}"
            return self._advised(*self._more_effort((said,)), f"{_SAME} and trains it again")
        if self.verdict is not None:
            return None if self.verdict.passed else self._after_a_miss(self.verdict)
        said, ending = self._nothing_confirmed(), self._ended()
        if ending.reason == "exhausted":
            said = f"stopped early: {ending.message}; {said}"
        sentences = (said, *([f"nearest: {miss_text(self.nearest, config.minimise)}"] if self.nearest else []))
        # In the second half of the time only what can still be trained, confirmed and verified is proposed.
        if ending.reason != "exhausted" or (effort.seconds is not None and elapsed > effort.seconds / 2):
            return self._advised(*self._more_effort(sentences), _SAME)
        if self.nearest is None or 2 * self.nearest.cost > config.ceiling:
            return self._advised("space", sentences, self._larger(), "looks among larger networks")
        changes = {"--target": f"{self._target_in_reach(self.nearest):g}"}
        return self._advised("target", sentences, changes, "asks for what the nearest network may reach")

    def _ended(self) -> SessionEnded:
        return of_kind(self.events, SessionEnded)[-1].event

    def _nothing_confirmed(self) -> str:
        config, pruned = self.plan.config, self.ends[Status.PRUNED]
        size = f"{config.ceiling:,} {OBJECTIVES[config.minimise]}"
        runs = counted(self.trained, "network") + " trained" + (f" ({pruned:,} pruned)" if pruned else "")
        runs += "".join(f", {counted(self.ends[how], 'run')} {what}" for how, what in _FAILED.items() if self.ends[how])
        return (
            f"no network of at most {size} was confirmed at {config.threshold_pct:.2f} % validation: {runs} in "
            f"{duration_text(self.elapsed)}; the test set was not read"
        )

    def _after_a_miss(self, verdict: Verdict) -> _LastWords:
        row = verdict.row
        errors, allowed = row.test_errors_mean or 0.0, (100 - row.target_pct) / 100 * verdict.record.seeds[0].test_size
        mean = f"its verification gave a mean of {errors:,.1f} test errors over {row.seeds} seeds"
        if errors <= allowed and not verdict.contradicted:
            said = f"{mean}; {allowed:,.1f} are allowed, but so few seeds or so wide a spread prove nothing"
            arguments, advice = ("verify", row.hash, "--seeds", "10"), "adds the seeds that a verdict needs"
            return _LastWords(why="verification", sentences=(said,), arguments=arguments, advice=advice)
        more = f", {errors - allowed:,.1f} more than the {allowed:,.1f} allowed"
        said = f"{mean}{', which contradicts its record' if verdict.contradicted else more}"
        changes = {"--seed": f"{self.plan.config.seed + 1}"}
        return self._advised("verification", (said,), changes, "begins a search with another seed")

    def _advised(self, why: Why, sentences: tuple[str, ...], changes: Mapping[str, str], advice: str) -> _LastWords:
        kept = {**self.given, **changes}
        if changes.keys() - _EFFORT:
            kept.pop("--study", None)
            seconds, least = self.plan.effort.seconds, least_seconds(self.plan.config.dataset)
            if seconds is not None and seconds < least:
                kept["--time"] = duration_option(least)
        arguments = ("search", *(word for option in kept.items() for word in option))
        return _LastWords(why=why, sentences=sentences, arguments=arguments, advice=advice)

    def _more_effort(self, sentences: tuple[str, ...]) -> tuple[Why, tuple[str, ...], dict[str, str]]:
        elapsed, seconds = self.elapsed, self.plan.effort.seconds
        changes: dict[str, str] = {}
        by_trials = self._ended().reason == "trials"
        if by_trials:
            changes["--trials"] = f"{2 * max(self.plan.effort.trials or 1, self.ends.total())}"
        if seconds is not None and (not by_trials or 2 * elapsed > seconds):
            # Of all sessions: each may have had more than this one.
            allowed = [entry.event.seconds or 0.0 for entry in of_kind(self.events, SessionBegan)]
            more = max(2 * max(seconds, *allowed), least_seconds(self.plan.config.dataset))
            while more <= elapsed:
                more *= 2
            changes["--time"] = duration_option(min(more, LONGEST))
        return "trials" if by_trials else "time", sentences, changes

    def _larger(self) -> dict[str, str]:
        minimise, twice = self.plan.config.minimise, 2 * self.plan.config.ceiling
        if minimise is Metric.PARAMETERS:
            return {"--budget": f"{twice}"}
        upper = re.compile(rf"\s*{minimise}\s*(<|<=|==)\s*\d")
        others = [each for each in self.given.get("--limit", "").split(",") if each and not upper.match(each)]
        return {"--limit": ",".join([*others, f"{minimise}<={twice}"])}

    def _target_in_reach(self, nearest: NearestMiss) -> float:
        errors = min(nearest.size, math.ceil(nearest.errors * (1 + SEED_SHARE)))
        for hundredths in range(math.floor(100 * self.plan.config.target_pct), 0, -1):
            if allowed_errors(self.plan.offset.threshold_pct(hundredths / 100), nearest.size) >= errors:
                return hundredths / 100
        return 0.0


def outcome_of(plan: SearchPlan, session: Session, verdict: Verdict | None, given: Mapping[str, str]) -> Outcome:
    """Return how a search has ended that was not interrupted.

    Args:
        given: options of the command line and their values, as they are typed.
    """
    events, config = study.read_events(plan.folder), plan.config
    candidates = session.candidates.values()
    ends = Counter(candidate.first.status for candidate in candidates if candidate.first is not None)
    found = Outcome(plan=plan, verdict=verdict, events=events, given=given, ends=ends)
    last = events[-1].event
    if verdict is not None and verdict.passed:
        cost, tried = cost_of(verdict.row, config.minimise), verdicts(events)
        cheaper = [each for each in session.contenders.values() if each.cost < cost]
        for each in final_order(cheaper, config.threshold_pct):
            if each.proposal.trial not in tried:
                seconds = found.elapsed + verify_seconds(session, each)
                network = each.proposal
                waiting = Postponed(hash=network.hash, parameters=network.parameters, seconds=seconds)
                return replace(found, waiting=waiting)
        passed = [each for each in cheaper if passed_first(each, config.threshold_pct)]
        return replace(found, smaller=nearest_miss(passed, config.threshold_pct))
    if isinstance(last, Postponed):
        return replace(found, waiting=replace(last, seconds=found.elapsed + last.seconds))
    return replace(found, nearest=None if verdict is not None else nearest_miss(candidates, config.threshold_pct))
