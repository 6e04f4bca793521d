"""Whether an early reading predicts the end: rank correlations by size, and how often pruning would have been wrong.

One network in ten is exempt from pruning by lot (``harness/search/race.py``). Only these show the fate of what
pruning ends, so only they can tell how often it is wrong; all others that went to the end were let through by their
readings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.evidence.events import Proposal, RungReached
from harness.search.pruning import is_exempt, rungs_of
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.study.study_files import StudyFiles
from search_spaces.count import clopper_pearson

# Below so many networks an interval spans nearly everything, so none is given.
FEWEST = 8
CONFIDENCE = 0.95
# Of a bootstrap: fewer for more networks, whose intervals are narrow, so that a report of thousands takes seconds.
MOST_RESAMPLES, FEWEST_RESAMPLES, RESAMPLED = 2_000, 200, 400_000
# Upper ends of the size bands, in parameters: doublings, so that studies can be compared.
BAND_ENDS = (1_000, 2_000, 4_000, 8_000, 16_000)


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well the errors at a rung rank a group of networks as the errors at the end do.

    Attributes:
        epoch: of the rung.
        group: which networks, for people.
        spearman: rank correlation, with its bootstrap interval from ``low`` to ``high``; None with ``kendall`` where
            fewer than ``FEWEST`` networks, or equal readings, leave nothing to be said.
    """

    epoch: int
    group: str
    networks: int
    spearman: float | None = None
    low: float | None = None
    high: float | None = None
    kendall: float | None = None


@dataclass(frozen=True, slots=True)
class WrongPruning:
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
    """What studies with the same data, recipe, length and rungs say about their early readings.

    Attributes:
        finished: networks that were trained to the end in their first run and read at every rung.
        exempt: how many of these pruning would have passed over whatever they read.
    """

    studies: int
    dataset: str
    recipe_name: str
    epochs: int
    rungs: tuple[int, ...]
    finished: int
    exempt: int
    predictions: tuple[Prediction, ...]
    pruning: tuple[WrongPruning, ...]


# A run to the end of a training, with its errors at each rung and at the end.
_Reading = tuple[Result, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was decided about one run at one rung; ``reached`` is None where it was stopped there."""

    run: tuple[str, int]
    epoch: int
    reached: bool | None


def rungs_by_protocol(studies: Iterable[StudyFiles]) -> list[Rungs]:
    """Return the facts of all studies that prune, those of equal data, recipe, length and rungs together."""
    groups: dict[tuple[str, int, str, tuple[int, ...]], list[StudyFiles]] = defaultdict(list)
    for files in studies:
        for epochs in files.config.all_lengths:
            if at := rungs_of(files.config, epochs):
                recipe, _ = files.config.recipe_of(epochs)
                groups[files.config.dataset, epochs, recipe.hash, at].append(files)
    return [rungs(group, epochs) for (_, epochs, _, _), group in sorted(groups.items(), key=lambda item: item[0])]


def rungs_by_length(files: StudyFiles) -> tuple[Rungs, ...]:
    """Return the facts of one study for each length of its trainings that has any, one at the least."""
    found = tuple(rungs([files], epochs) for epochs in files.config.all_lengths)
    return tuple(item for item in found if item.finished or item.pruning[-1].pruned) or found[-1:]


def rungs(studies: Sequence[StudyFiles], epochs: int | None = None) -> Rungs:
    """Return what studies of one protocol say about their rungs; at least one study is needed.

    Studies of one seed train the same network to the same errors; that is one run, and is counted once.

    Args:
        epochs: of the trainings that are looked at; None for those of the recipe.
    """
    config = studies[0].config
    epochs = config.recipe.epochs if epochs is None else epochs
    at = rungs_of(config, epochs)
    found = [reading for files in studies for reading in _readings(files, epochs)]
    readings = list({(run.hash, run.seed): (run, errors) for run, errors in found}.values())
    decisions = [decision for files in studies for decision in _decisions(files, epochs)]
    return Rungs(
        studies=len(studies),
        dataset=config.dataset,
        recipe_name=config.recipe_of(epochs)[1],
        epochs=epochs,
        rungs=at,
        finished=len(readings),
        exempt=sum(is_exempt(run.hash) for run, _ in readings),
        predictions=tuple(_predictions(at, readings)),
        pruning=tuple(_wrong(decisions, epoch) for epoch in (*at, None)),
    )


def _readings(files: StudyFiles, epochs: int) -> list[_Reading]:
    """Return the networks whose first run went to the end and was looked at where pruning is decided."""
    found = []
    at = rungs_of(files.config, epochs)
    for run in files.results:
        if run.recipe.epochs != epochs:
            continue
        known = {item.epoch: item.validation_errors for item in run.history}
        looks = [*(known.get(rung) for rung in at), run.validation_errors]
        errors = tuple(look for look in looks if look is not None)
        if run.purpose is Purpose.SEARCH and run.status is Status.COMPLETE and len(errors) == len(looks):
            found.append((run, errors))
    return found


def _predictions(at: Sequence[int], readings: Sequence[_Reading]) -> Iterable[Prediction]:
    lots = [reading for reading in readings if is_exempt(reading[0].hash)]
    groups = {"all that went to the end": list(readings), "those exempt by lot": lots, **_bands(readings)}
    for place, epoch in enumerate(at):
        for group, members in groups.items():
            early = [float(errors[place]) for _, errors in members]
            yield _prediction(epoch, group, early, [float(errors[-1]) for _, errors in members])


def _prediction(epoch: int, group: str, early: Sequence[float], final: Sequence[float]) -> Prediction:
    if len(early) < FEWEST or len(set(early)) == 1 or len(set(final)) == 1:
        return Prediction(epoch, group, len(early))
    resamples = max(FEWEST_RESAMPLES, min(MOST_RESAMPLES, RESAMPLED // len(early)))
    low, high = statistics.spearman_interval(early, final, CONFIDENCE, resamples)
    spearman, kendall = statistics.spearman(early, final), statistics.kendall(early, final)
    return Prediction(epoch, group, len(early), spearman, low, high, kendall)


def _bands(readings: Sequence[_Reading]) -> dict[str, list[_Reading]]:
    """Return the readings by size, the smallest band first; bands without any are left out."""
    found: dict[str, list[_Reading]] = {}
    for low, high in zip((0, *BAND_ENDS), (*BAND_ENDS, None), strict=True):
        members = [item for item in readings if low < item[0].parameters <= (high or math.inf)]
        words = f"over {low:,}" if high is None else f"{low + 1:,} to {high:,}"
        if members:
            found[f"{words} parameters"] = members
    return found


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


def _wrong(decisions: Sequence[_Decision], epoch: int | None) -> WrongPruning:
    there = [item for item in decisions if epoch is None or item.epoch == epoch]
    pruned = {item.run for item in there if item.reached is None}
    spared = {item.run: item.reached for item in there if item.reached is not None}
    reached = sum(spared.values())
    interval = clopper_pearson(reached, len(spared), CONFIDENCE) if spared else (None, None)
    return WrongPruning(epoch, len(pruned), len(spared), reached, *interval)
