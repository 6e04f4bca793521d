"""What earlier trainings a search begins with: those that come with the package, a person's own, or none.

They are kept in the study's folder, so that a study goes on with what it began with.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from harness.search.proposals.surrogate import Observation, training_row
from harness.search.proposals.trainings import PastTraining, comparable, own, parse, shipped, text
from harness.system import files
from harness.system.errors import ContentError, reason
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from search_spaces.task import Task

FILE = "prior.csv"


class Prior(StrEnum):
    """Which earlier trainings: of the package; these and those of the workspace's studies on the same data; none."""

    SHIPPED = "shipped"
    OWN = "own"
    NONE = "none"


def past_trainings(
    prior: Prior, place: Workspace, dataset: str, data_hash: str
) -> tuple[tuple[PastTraining, ...], tuple[ContentError, ...]]:
    """Return the trainings, and each study of the workspace that could not be read.

    Raises:
        ContentError: the trainings of the package are damaged.
    """
    match prior:
        case Prior.NONE:
            return (), ()
        case Prior.SHIPPED:
            return shipped(dataset), ()
        case Prior.OWN:
            mine, damaged = own(place, dataset, data_hash)
            return (*shipped(dataset), *mine), damaged


def keep(folder: Path, trainings: Iterable[PastTraining]) -> None:
    """Write what a new study begins with into its folder."""
    files.write_text(folder / FILE, text(trainings))


def kept(folder: Path) -> tuple[PastTraining, ...] | None:
    """Return what a study began with; None where its folder does not say.

    Raises:
        ContentError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        text = files.read_bytes(path).decode("utf-8")
        return parse(text, str(path), "bring the file back, or begin another study: --study NAME")
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"cannot read the study's past trainings {path}: {reason(error)}") from error


def observations(trainings: Iterable[PastTraining], recipe: Recipe, task: Task) -> tuple[Observation, ...]:
    """Return what the model of the errors learns from them: those with the learning rate of the recipe.

    None where the recipe differs from theirs in what they do not state.
    """
    if not comparable(recipe):
        return ()
    return tuple(
        Observation(
            training_row(item.architecture, item.epochs, item.batch_size, item.augmented_share, task),
            item.errors,
            item.runs,
        )
        for item in trainings
        if item.learning_rate == recipe.learning_rate
    )
