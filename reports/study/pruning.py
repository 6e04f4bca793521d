"""Whether pruning was right: how many of the runs that it would have stopped reached the threshold all the same.

One network in ten is exempt from pruning by lot (``harness/search/race.py``). Only these show the fate of what
pruning ends; all others that went to the end were let through by their validations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.events import Proposal, RungReached
from harness.search.pruning import rungs_of
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.study.study_files import StudyFiles
from search_spaces.count import clopper_pearson

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class _WrongPruning:
    """How often pruning at a rung ended what would have reached.

    Attributes:
        epoch: of the rung; None for all rungs together, each network counted once.
        pruned: networks that were stopped there.
        spared: exempt networks that would have been stopped there and have been trained on.
        reached: of these, how many met the threshold at the end, with their first seed.
        low: with ``high`` the interval of the share (Clopper and Pearson); None where none was spared.
    """

    epoch: int | None
    pruned: int
    spared: int
    reached: int
    low: float | None
    high: float | None

    @property
    def share(self) -> float | None:
        """Share of the pruned networks that would have reached, None where none was spared."""
        return self.reached / self.spared if self.spared else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """What a study says about pruning its runs of one length, rung by rung and then at all rungs together."""

    recipe_name: str
    epochs: int
    rungs: tuple[int, ...]
    pruning: tuple[_WrongPruning, ...]


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was decided about one run at one rung; ``reached`` is None where it was stopped there."""

    trial: int
    epoch: int
    reached: bool | None


def rungs_by_length(files: StudyFiles) -> tuple[Rungs, ...]:
    """Return the facts of a study for each length of its runs at which something was pruned or spared."""
    found = []
    for epochs in files.config.all_lengths:
        at, decisions = rungs_of(files.config, epochs), _decisions(files, epochs)
        pruning = tuple(_wrong(decisions, epoch) for epoch in (*at, None))
        if decisions:
            name = files.config.recipe_of(epochs)[1]
            found.append(Rungs(recipe_name=name, epochs=epochs, rungs=at, pruning=pruning))
    return tuple(found)


def _decisions(files: StudyFiles, epochs: int) -> list[_Decision]:
    """Return what was decided against networks at the rungs of their first runs.

    A spared network whose run has not ended, or was broken off by the machine, says nothing yet and is left out.
    """
    firsts = {run.trial: run for run in files.results if run.purpose is Purpose.SEARCH}
    lengths = {entry.event.trial: entry.event.epochs for entry in files.entries_of(Proposal)}
    found: dict[tuple[int, int], _Decision] = {}
    for event in (entry.event for entry in files.entries_of(RungReached)):
        trial, epoch = event.trial, event.epoch
        if event.purpose != Purpose.SEARCH:
            continue
        run = firsts.get(trial)
        if (run.recipe.epochs if run else lengths.get(trial) or files.config.recipe.epochs) != epochs:
            continue
        # A killed search may have decided the same again.
        if event.pruned:
            found[trial, epoch] = _Decision(trial, epoch, None)
        elif event.exempt and (reached := _reached(run, files.config.threshold_pct)) is not None:
            found[trial, epoch] = _Decision(trial, epoch, reached)
    return list(found.values())


def _reached(run: Result | None, threshold_pct: float) -> bool | None:
    """Return whether a run met the threshold at its end; a diverged one did not, others that broke say nothing."""
    if run is None or run.status not in (Status.COMPLETE, Status.DIVERGED):
        return None
    accuracy = run.validation_accuracy_pct
    return run.status is Status.COMPLETE and accuracy is not None and statistics.reaches(accuracy, threshold_pct)


def _wrong(decisions: Sequence[_Decision], epoch: int | None) -> _WrongPruning:
    there = [item for item in decisions if epoch is None or item.epoch == epoch]
    pruned = {item.trial for item in there if item.reached is None}
    spared = {item.trial: item.reached for item in there if item.reached is not None}
    reached = sum(spared.values())
    interval = clopper_pearson(reached, len(spared), _CONFIDENCE) if spared else (None, None)
    return _WrongPruning(epoch, len(pruned), len(spared), reached, *interval)
