"""Whether pruning was right: how many of the runs that it would have stopped reached the threshold all the same.

One network in ten is exempt from pruning by lot (``harness/search/race.py``). Only these show the fate of what
pruning ends; all others that went to the end were let through by their validations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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
    """What studies with the same data, recipe, length and rungs say about pruning."""

    studies: int
    dataset: str
    recipe_name: str
    epochs: int
    rungs: tuple[int, ...]
    pruning: tuple[_WrongPruning, ...]


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was decided about one run at one rung; ``reached`` is None where it was stopped there."""

    run: tuple[str, int]
    epoch: int
    reached: bool | None


def _rungs_by_protocol(studies: Iterable[StudyFiles]) -> list[Rungs]:
    """Return the facts of all studies that prune, those of equal data, recipe, length and rungs together."""
    groups: dict[tuple[str, int, str, tuple[int, ...]], list[StudyFiles]] = defaultdict(list)
    for files in studies:
        for epochs in files.config.all_lengths:
            if at := rungs_of(files.config, epochs):
                recipe, _ = files.config.recipe_of(epochs)
                groups[files.config.dataset, epochs, recipe.hash, at].append(files)
    return [rungs(group, epochs) for (_, epochs, _, _), group in sorted(groups.items(), key=lambda item: item[0])]


def rungs_by_length(files: StudyFiles) -> tuple[Rungs, ...]:
    """Return the facts of one study for each length of its trainings at which something was pruned or spared."""
    found = (rungs([files], epochs) for epochs in files.config.all_lengths)
    return tuple(item for item in found if any(part.pruned or part.spared for part in item.pruning))


def rungs(studies: Sequence[StudyFiles], epochs: int | None = None) -> Rungs:
    """Return what studies of one protocol say about their rungs; at least one study is needed.

    Studies of one seed train the same network to the same errors; that is one run, and is counted once.

    Args:
        epochs: of the trainings that are looked at; None for those of the recipe.
    """
    config = studies[0].config
    epochs = config.recipe.epochs if epochs is None else epochs
    at = rungs_of(config, epochs)
    decisions = [decision for files in studies for decision in _decisions(files, epochs)]
    return Rungs(
        studies=len(studies),
        dataset=config.dataset,
        recipe_name=config.recipe_of(epochs)[1],
        epochs=epochs,
        rungs=at,
        pruning=tuple(_wrong(decisions, epoch) for epoch in (*at, None)),
    )


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
        key = (files.name, trial) if run is None else (run.hash, run.seed)
        # A killed search may have decided the same again.
        if event.pruned:
            found[trial, epoch] = _Decision(key, epoch, None)
        elif event.exempt and (reached := _reached(run, files.config.threshold_pct)) is not None:
            found[trial, epoch] = _Decision(key, epoch, reached)
    return list(found.values())


def _reached(run: Result | None, threshold_pct: float) -> bool | None:
    """Return whether a run met the threshold at its end; a diverged one did not, others that broke say nothing."""
    if run is None or run.status not in (Status.COMPLETE, Status.DIVERGED):
        return None
    accuracy = run.validation_accuracy_pct
    return run.status is Status.COMPLETE and accuracy is not None and statistics.reaches(accuracy, threshold_pct)


def _wrong(decisions: Sequence[_Decision], epoch: int | None) -> _WrongPruning:
    there = [item for item in decisions if epoch is None or item.epoch == epoch]
    pruned = {item.run for item in there if item.reached is None}
    spared = {item.run: item.reached for item in there if item.reached is not None}
    reached = sum(spared.values())
    interval = clopper_pearson(reached, len(spared), _CONFIDENCE) if spared else (None, None)
    return _WrongPruning(epoch, len(pruned), len(spared), reached, *interval)
