"""The networks of a study with their runs: what stands, what came nearest to standing, and by how many images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.evidence.events import Confirmed, Entry, Event, Proposal, Repeated, RunEnded
from harness.evidence.study import Study, StudyConfig
from harness.search import pruning, race
from harness.search.race import CHANCE_PCT, Candidate
from harness.system import statistics
from harness.training.result import Purpose, Result, Status, accuracy_pct
from search_spaces.space import Metric, size_text


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """A network that is not confirmed.

    Attributes:
        epochs: of its recipe.
        errors: wrong validation images, the mean of its runs; a whole number where it had one.
        runs: on fresh seeds where it had such, else one.
        allowed: most errors that reach the threshold, of ``size`` images.
        pruned_after: epochs after which its only run was stopped, None where it went to its end.
        cost: what it has of the metric that is minimised.
    """

    trial: int
    hash: str
    parameters: int
    epochs: int
    errors: float
    runs: int
    allowed: int
    size: int
    cost: int
    pruned_after: int | None = None


def allowed_errors(threshold_pct: float, size: int) -> int:
    """Return the most wrong images with which an accuracy still reaches a threshold of at most 100 per cent."""
    allowed = min(size, math.floor((100 - threshold_pct) / 100 * size) + 1)
    # What reaches a threshold is said in one place, up to the rounding of floats.
    while allowed > 0 and not statistics.reaches(accuracy_pct(allowed, size) or 0.0, threshold_pct):
        allowed -= 1
    return allowed


def nearest_miss(candidates: Iterable[Candidate]) -> NearestMiss | None:
    """Return the network with the fewest errors of those that are not confirmed, the smallest of equal ones.

    One that was pruned is named only where none went to its end; None where no run has ended with a count of errors.
    """
    usable = [
        (first.status is Status.PRUNED, _errors(candidate, first), *candidate.order, candidate, first)
        for candidate in candidates
        if (first := candidate.first) is not None
        and first.validation_errors is not None
        and first.status in (Status.COMPLETE, Status.PRUNED)
    ]
    # After each event of a search: whether one is confirmed is asked of the nearest only.
    for pruned, errors, _, _, candidate, first in sorted(usable, key=lambda each: each[:4]):
        if not candidate.is_confirmed:
            size = first.validation_size or 0
            return NearestMiss(
                trial=candidate.proposal.trial,
                hash=candidate.proposal.hash,
                parameters=candidate.proposal.parameters,
                epochs=first.recipe.epochs,
                errors=errors,
                runs=max(1, len(candidate.fresh)),
                allowed=allowed_errors(candidate.threshold_pct, size),
                size=size,
                pruned_after=len(first.history) if pruned else None,
                cost=candidate.cost,
            )
    return None


def _errors(candidate: Candidate, first: Result) -> float:
    runs = candidate.fresh or [first]
    # A fresh run that failed counts as chance level, as everywhere.
    failed = round((1 - CHANCE_PCT / 100) * (first.validation_size or 0))
    errors = [failed if run.validation_errors is None else run.validation_errors for run in runs]
    return errors[0] if len(errors) == 1 else sum(errors) / len(errors)


def miss_text(miss: NearestMiss, minimise: Metric) -> str:
    """Return a miss for people, in images, with what the search minimises."""
    size = size_text(miss.parameters, miss.cost, minimise)
    if miss.pruned_after is not None:
        return (
            f"{size}, {miss.errors:,.0f} errors at epoch {miss.pruned_after} of {miss.epochs}, {miss.allowed:,} allowed"
        )
    errors = f"{miss.errors:,.0f} errors" if miss.runs == 1 else f"mean {miss.errors:,.1f} errors of {miss.runs} runs"
    # One that passed by luck, or whose runs differ too much, is near in errors and yet not confirmed.
    unsure = "passed once" if miss.runs == 1 else "too uncertain"
    doubt = f" ({unsure}, not confirmed)" if miss.errors <= miss.allowed else ""
    return f"{size}, {errors}, {miss.allowed:,} allowed{doubt}"


class Trials(Study):
    """What has happened to the networks of a study.

    Attributes:
        confirm_seeds: fresh seeds that a network stands on at the least; ``counts_repeats`` if a proposal of a known
            network counts for it.
        candidates: the proposed networks with their runs, by trial.
        contenders: those that are not settled. Each event asks about these alone: of thousands of networks nearly all
            are settled.
        trained: first runs that have ended with an accuracy.
        ratios: errors at the end per error at a rung, of its runs.
        stood: the trial that was last noted as the confirmed one.
    """

    def __init__(self, folder: Path, config: StudyConfig, *, in_memory: bool = False) -> None:
        super().__init__(folder, config, in_memory=in_memory)
        self.confirm_seeds, self.counts_repeats = race.CONFIRM_SEEDS, True
        self.candidates: dict[int, Candidate] = {}
        self.contenders: dict[int, Candidate] = {}
        self.trained = 0
        self.ratios: pruning.Ratios = {}
        self.stood: int | None = None
        self._standing: Candidate | None = None
        self._nearest: NearestMiss | None = None
        self._is_standing_known = self._is_nearest_known = True

    def apply(self, entry: Entry[Event]) -> None:
        """Change the state by what has happened."""
        super().apply(entry)
        match event := entry.event:
            case Proposal(trial=trial):
                self.candidates[trial] = race.candidate_of(self.config, event, self.confirm_seeds)
                self._keep(self.candidates[trial])
            case Repeated(trial=trial) if trial in self.candidates:
                self.candidates[trial].repeats += self.counts_repeats
                self._keep(self.candidates[trial])
            case RunEnded(run=run) if candidate := self.candidates.get(-1 if run.trial is None else run.trial):
                if run.purpose is Purpose.SEARCH:
                    candidate.first = run
                    self.trained += run.validation_errors is not None
                else:
                    candidate.fresh = sorted([*candidate.fresh, run], key=lambda each: each.seed_index)
                pruning.add_run(self.ratios, run, pruning.rungs_of(self.config, run.recipe.epochs))
                self._keep(candidate)
                self._is_nearest_known = False
            case Confirmed(trial=trial):
                self.stood = trial
            case _:
                pass

    def _keep(self, candidate: Candidate) -> None:
        if candidate.is_settled:
            self.contenders.pop(candidate.proposal.trial, None)
        else:
            self.contenders[candidate.proposal.trial] = candidate
        self._is_standing_known = False

    @property
    def standing(self) -> Candidate | None:
        """The network of the lowest cost that stands; it can change only with the contenders."""
        if not self._is_standing_known:
            self._standing = next(iter(race.final_order(self.contenders.values())), None)
            self._is_standing_known = True
        return self._standing

    @property
    def nearest(self) -> NearestMiss | None:
        """What came nearest to standing, while nothing stands; it can change when a run ends."""
        if not self._is_nearest_known:
            self._nearest = nearest_miss(self.candidates.values())
            self._is_nearest_known = True
        return self._nearest if self.standing is None else None
