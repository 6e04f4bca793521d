"""How a search went on: which costs it tried when, and how the effective budget fell with each network that stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from harness.evidence.events import Confirmed, Entry, Event, FailedConfirmation, RunEnded
from harness.training.result import Purpose
from reports.study.networks import Network
from reports.study.study_files import StudyFiles
from search_spaces.space import OBJECTIVES, Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A network that was put to the test of fresh validation seeds.

    Attributes:
        elapsed: seconds of the study, all sessions together.
        cost: what it has of what is minimised.
        stands: it did; False where it was refuted.
        budget: the effective budget from then on.
    """

    elapsed: float
    hash: str
    cost: int
    stands: bool
    validation_accuracy_pct: float | None
    validation_seeds: int | None
    budget: int


@dataclass(frozen=True, slots=True)
class EffectiveBudget:
    """The budget over time: ``first`` at the beginning, then as the trials say, until ``elapsed`` seconds.

    Attributes:
        unit: what is counted.
    """

    first: int
    trials: tuple[Trial, ...]
    elapsed: float
    unit: str = OBJECTIVES[Metric.PARAMETERS]

    @property
    def last(self) -> int:
        """The budget at the end."""
        return self.trials[-1].budget if self.trials else self.first


@dataclass(frozen=True, slots=True)
class Tried:
    """A network at the moment when its first run ended; ``number`` is its place in the order of the networks."""

    number: int
    elapsed: float
    cost: int
    whole: bool


def tried(files: StudyFiles, of: Sequence[Network]) -> tuple[Tried, ...]:
    """Return the networks in the order in which their first runs ended."""
    trials = {run.trial: number for number, network in enumerate(of) for run in network.other_runs}
    trials |= {network.trial: number for number, network in enumerate(of) if network.trial is not None}
    found = []
    for entry in files.entries_of(RunEnded):
        number = trials.get(entry.event.trial)
        if number is not None and entry.event.purpose == Purpose.SEARCH and of[number].parameters > 0:
            found.append(Tried(number, entry.elapsed, of[number].cost, of[number].complete))
    return tuple(found)


def effective_budget(files: StudyFiles, of: Sequence[Network]) -> EffectiveBudget:
    """Return how the effective budget of a study fell."""
    config = files.config
    budget, costs = config.ceiling, {network.hash: network.cost for network in of}
    smallest: str | None = None
    trials = []
    decided = [entry for entry in files.events if isinstance(entry.event, Confirmed | FailedConfirmation)]
    for entry, following in zip_longest(decided, decided[1:]):
        match entry.event:
            case Confirmed(hash=smallest, budget=left):
                budget = left or budget
            case FailedConfirmation(hash=network) if network == smallest and not _at_once(entry, following):
                # The only confirmed network has fallen, so the whole budget is open again.
                budget, smallest = config.ceiling, None
        trials.append(_trial(entry.elapsed, entry.event, costs, budget))
    return EffectiveBudget(config.ceiling, tuple(trials), files.elapsed, OBJECTIVES[config.minimise])


def _at_once(entry: Entry[Event], following: Entry[Event] | None) -> bool:
    """Tell whether another network took the place of one that failed in the same moment."""
    if following is None or not isinstance(following.event, Confirmed):
        return False
    return following.elapsed - entry.elapsed < 1.0


def _trial(elapsed: float, event: Event, costs: Mapping[str, int], budget: int) -> Trial:
    assert isinstance(event, Confirmed | FailedConfirmation)
    return Trial(
        elapsed=elapsed,
        hash=event.hash,
        cost=costs.get(event.hash, event.parameters),
        stands=isinstance(event, Confirmed),
        validation_accuracy_pct=event.validation_accuracy_pct,
        validation_seeds=event.validation_seeds,
        budget=budget,
    )
