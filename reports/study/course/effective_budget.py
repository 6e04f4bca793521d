"""How a search went on: which sizes it tried when, and how the effective budget fell with each network that stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from harness.training.seeds import Purpose
from reports.study.networks import Network
from reports.study.study_files import Event, StudyFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A network that was put to the test of fresh validation seeds.

    Attributes:
        elapsed: seconds of the study, all sessions together.
        stands: it did; False where it was refuted.
        budget: the effective budget from then on.
    """

    elapsed: float
    hash: str
    parameters: int
    stands: bool
    validation_accuracy_pct: float | None
    validation_seeds: int | None
    budget: int


@dataclass(frozen=True, slots=True)
class EffectiveBudget:
    """The budget over time: ``first`` at the beginning, then as the trials say, until ``elapsed`` seconds."""

    first: int
    trials: tuple[Trial, ...]
    elapsed: float

    @property
    def last(self) -> int:
        """The budget at the end."""
        return self.trials[-1].budget if self.trials else self.first


@dataclass(frozen=True, slots=True)
class Tried:
    """A network at the moment when its first run ended; ``number`` is its place in the order of the networks."""

    number: int
    elapsed: float
    parameters: int
    whole: bool


def tried(files: StudyFiles, of: Sequence[Network]) -> tuple[Tried, ...]:
    """Return the networks in the order in which their first runs ended."""
    trials = {run.trial: number for number, network in enumerate(of) for run in network.other_runs}
    trials |= {network.trial: number for number, network in enumerate(of) if network.trial is not None}
    found = []
    for event in files.events_of("finished"):
        trial = event.get("trial")
        number = trials.get(trial) if isinstance(trial, int) else None
        if number is not None and event.get("purpose") == Purpose.SEARCH and of[number].parameters > 0:
            elapsed = float(event.get("elapsed") or 0.0)
            found.append(Tried(number, elapsed, of[number].parameters, of[number].complete))
    return tuple(found)


def effective_budget(files: StudyFiles) -> EffectiveBudget:
    """Return how the effective budget of a study fell."""
    budget = files.config.budget
    smallest: object = None
    trials = []
    events = [event for event in files.events if event["event"] in ("standing", "refuted")]
    for event, following in zip_longest(events, events[1:]):
        if event["event"] == "standing":
            budget, smallest = int(event.get("budget") or budget), event.get("hash")
        elif event.get("hash") == smallest and not _at_once(event, following):
            # The only network that stood has fallen, so the whole budget is open again.
            budget, smallest = files.config.budget, None
        trials.append(_trial(event, budget))
    return EffectiveBudget(files.config.budget, tuple(trials), files.elapsed)


def _at_once(event: Event, following: Event | None) -> bool:
    """Tell whether another network took the place of a refuted one in the same moment."""
    if following is None or following["event"] != "standing":
        return False
    return float(following.get("elapsed") or 0.0) - float(event.get("elapsed") or 0.0) < 1.0


def _trial(event: Event, budget: int) -> Trial:
    return Trial(
        elapsed=float(event.get("elapsed") or 0.0),
        hash=str(event.get("hash", "")),
        parameters=int(event.get("parameters") or 0),
        stands=event["event"] == "standing",
        validation_accuracy_pct=event.get("validation_accuracy_pct"),
        validation_seeds=event.get("validation_seeds"),
        budget=budget,
    )
