"""What the log of a study says of its trainings, in the terms of Optuna: trials with values, states and attributes.

A trial is the first run of a network; the errors of its fresh seeds are attributes of the study, because Optuna changes
no trial that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence import events
from harness.evidence.events import (
    Confirmed,
    Event,
    FailedConfirmation,
    Proposal,
    RunEnded,
    RungReached,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
)
from harness.evidence.study import StudyConfig
from harness.system.errors import ContentError
from harness.training.result import Purpose, Status, derive_seed
from search_spaces.catalog import network_name
from search_spaces.cost import analyse
from search_spaces.draw import Decision, measured
from search_spaces.space import OBJECTIVES, Metric


def metrics(config: StudyConfig) -> tuple[str, str]:
    """Return the names of the objectives, both minimised."""
    return "validation error (%)", OBJECTIVES[config.minimise]


class State(StrEnum):
    """A trial's state, by Optuna's names; ``waiting`` where no search is working on it now."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


OPEN = (State.RUNNING, State.WAITING)
_ENDS = {Status.COMPLETE: State.COMPLETE, Status.PRUNED: State.PRUNED}


@dataclass(frozen=True, slots=True)
class MirroredTrial:
    """A network and its first run.

    Attributes:
        values: per cent of the validation images that are wrong, and parameters; None unless trained to the end.
        errors_pct: wrong validation images in per cent, by epoch.
        began: when it was proposed, and ``ended`` when its run had ended: ISO 8601, empty where that is not known.
    """

    state: State
    attributes: Mapping[str, Any]
    decisions: tuple[Decision, ...] = field(default=(), compare=False)
    values: tuple[float, ...] | None = None
    errors_pct: Mapping[int, float] = field(default_factory=dict)
    began: str = field(default="", compare=False)
    ended: str = field(default="", compare=False)


# In the place of a trial whose line in the log is damaged, so that all others keep their numbers.
LOST = MirroredTrial(State.FAIL, {"status": "its line in the log is damaged"})


@dataclass(slots=True)
class Story:
    """What a log has told so far.

    Attributes:
        offset: bytes of the log that have been read; ``lines`` likewise.
        trials: by number.
        attributes: of the study.
    """

    folder: Path
    config: StudyConfig
    offset: int = 0
    lines: int = 0
    trials: dict[int, MirroredTrial] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def read_on(story: Story) -> None:
    """Take in the lines that have been added to the log; one without its end is left for the next time.

    Raises:
        ContentError: a network has a number for which the log has too few lines, so the number is damaged.
    """
    path = story.folder / "log.jsonl"
    if not path.exists():
        return
    with path.open("rb") as log:
        log.seek(story.offset)
        lines, end, _ = log.read().rpartition(b"\n")
    story.offset += len(lines + end)
    for text in (lines + end).decode("utf-8", errors="replace").split("\n")[:-1]:
        story.lines += 1
        if (entry := events.read_line(text)) is not None:
            _take_in(story, entry.event, entry.utc)


def all_trials(story: Story, *, is_running: bool) -> list[MirroredTrial]:
    """Return the trials in order of their numbers; open ones are waiting while no search is working on them."""
    now = State.RUNNING if is_running else State.WAITING
    found = (story.trials.get(number, LOST) for number in range(max(story.trials, default=-1) + 1))
    return [replace(trial, state=now) if trial.state in OPEN and trial.state != now else trial for trial in found]


def _take_in(story: Story, event: Event, utc: str) -> None:
    match event:
        case Proposal():
            # A database gets a row for each number up to the largest, and each network before this one has a line.
            if not 0 <= event.trial < story.lines:
                raise ContentError(
                    f"line {story.lines} of {story.folder / 'log.jsonl'} is of trial {event.trial}, but numbers there "
                    f"are from 0 to {story.lines - 1}: the line is damaged"
                )
            story.trials[event.trial] = _proposed(story.config, event, utc)
        case RungReached(purpose=Purpose.SEARCH, validation_errors=int(errors)) if event.trial in story.trials:
            story.trials[event.trial] = _after(story, event.trial, event.epoch, errors)
        case RunEnded(purpose=Purpose.SEARCH, trial=int(trial)) if trial in story.trials:
            story.trials[trial] = _ended(story, trial, event, utc)
        case RunEnded(purpose=Purpose.CONFIRM, trial=int(trial), validation_errors=int(errors)):
            key = f"trial {trial}: errors on fresh seeds (%)"
            fresh = story.attributes.get(key, {})
            story.attributes[key] = fresh | {str(event.seed_index): _pct(story.config, errors)}
        case _:
            story.attributes |= _known_of_search(event, story.attributes)


def _known_of_search(event: Event, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the study that an event changes."""
    match event:
        case Confirmed():
            return {"smallest confirmed trial": event.trial, "smallest confirmed parameters": event.parameters}
        case FailedConfirmation() if event.trial == known.get("smallest confirmed trial"):
            return {"smallest confirmed trial": None, "smallest confirmed parameters": None}
        case WinnerChosen():
            winner = {"winner's trial": event.trial, "winner's parameters": event.parameters}
            is_same = event.trial == known.get("winner's trial")
            return winner if is_same else winner | {"verified": None, "test accuracy (%)": None}
        case Verified():
            return {"verified": event.tier, "test accuracy (%)": event.mean_test_accuracy_pct}
        case SessionBegan():
            return {"search": "running"}
        case SessionEnded():
            return {"search": f"ended: {event.reason}"}
        case _:
            return {}


def _proposed(config: StudyConfig, event: Proposal, utc: str) -> MirroredTrial:
    recipe, recipe_name = config.recipe_of(event.epochs)
    attributes = {
        "name": network_name(event.architecture, event.parameters),
        "network": str(event.architecture),
        "hash": event.hash,
        "parameters": event.parameters,
        **_cost(config, event),
        "epochs": recipe.epochs,
        "recipe": recipe_name,
        "proposed by": event.origin,
        "chance": event.chance,
        "seed": derive_seed(event.hash, recipe.hash, Purpose.SEARCH, 0, config.run_seed),
    }
    known = {name: value for name, value in attributes.items() if value is not None}
    return MirroredTrial(State.RUNNING, known, event.decisions, began=utc)


def _cost(config: StudyConfig, event: Proposal) -> dict[str, int]:
    """Return what is minimised, where it is not the parameters."""
    if config.minimise is Metric.PARAMETERS:
        return {}
    analysis = analyse(event.architecture, dataset(config.dataset).task)
    return {OBJECTIVES[config.minimise]: measured(analysis, config.minimise)}


def _after(story: Story, number: int, epoch: int, errors: int) -> MirroredTrial:
    trial = story.trials[number]
    return replace(trial, errors_pct={**trial.errors_pct, epoch: _pct(story.config, errors)})


def _ended(story: Story, number: int, event: RunEnded, utc: str) -> MirroredTrial:
    trial, errors = story.trials[number], event.validation_errors
    state = State.FAIL if errors is None else _ENDS.get(event.status, State.FAIL)
    values = None
    if state is State.COMPLETE and errors is not None:
        trial = _after(story, number, trial.attributes["epochs"], errors)
        values = (_pct(story.config, errors), float(trial.attributes[OBJECTIVES[story.config.minimise]]))
    return replace(
        trial, state=state, attributes={**trial.attributes, "status": str(event.status)}, values=values, ended=utc
    )


def _pct(config: StudyConfig, errors: int) -> float:
    return 100.0 * errors / dataset(config.dataset).validation_size
