"""The folder of a study and its configuration, which it never changes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.training.recipe import Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION
from search_spaces.space import OBJECTIVES, Metric, Objective, Weighted

# Older programs kept each run in a file of this folder.
RESULTS_OF_BEFORE = "results"
# Of the first of two metrics, in turns: both, then either alone, then what lies between.
WEIGHTS = (0.5, 1.0, 0.0, 0.75, 0.25)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """What decides the outcome of a search; a study never changes it.

    Attributes:
        threshold_pct: validation accuracy that stands for the target, by the measured validation-test offset.
        space_text: the whole definition, so that a study can be read when the space has changed.
        rungs: epochs after which pruning is decided, in a training of the recipe's own length; in others at the same
            shares.
        lengths: epochs that a network may be trained for, ascending; none where the recipe's own are meant.
        prior: what earlier trainings the model of the errors begins with, ``none``, ``shipped`` or ``own``.
        prior_sha256: of those that come with the package; empty where there are none, or where none are taken.
        minimise: what the answer has as little of as possible.
        most: what an answer may have of it, its ceiling; None for the budget.
        second: what it has as little of as well; then the answers are a Pareto front. ``second_most`` is its ceiling.
        start_from: the study, or the leaderboard, whose networks it begins with in place of draws; empty for none.
        known: their texts when it began.
        sampler_sha256: of the source of a sampler of one's own; a trainer's is in the recipe.
    """

    dataset: str
    data_hash: str
    budget: int
    target_pct: float
    threshold_pct: float
    space: str
    space_text: str
    sampler: str
    recipe: Recipe
    recipe_name: str
    rungs: tuple[int, ...]
    seed: int
    lengths: tuple[int, ...] = ()
    prior: str = "none"
    prior_sha256: str = ""
    protocol_version: int = PROTOCOL_VERSION
    minimise: Metric = Metric.PARAMETERS
    most: int | None = None
    second: Metric | None = None
    second_most: int | None = None
    start_from: str = ""
    known: tuple[str, ...] = ()
    sampler_sha256: str = ""

    @property
    def run_seed(self) -> int:
        """Seed of its trainings: its own; where the model begins with earlier ones a hash of the configuration.

        With the same seed a search would run what the model has learned from once more, and take it for a fresh seed.
        """
        if self.prior == "none":
            return self.seed
        text = json.dumps(config_document(self), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    @property
    def ceiling(self) -> int:
        """The most that an answer may have of what is minimised."""
        return self.budget if self.most is None else self.most

    @property
    def is_front(self) -> bool:
        """Whether two metrics are minimised, so that the answers are a Pareto front."""
        return self.second is not None

    @property
    def minimised(self) -> tuple[Metric, ...]:
        """What is minimised: one metric or two."""
        return (self.minimise,) if self.second is None else (self.minimise, self.second)

    @property
    def ceilings(self) -> tuple[int, ...]:
        """The most that an answer may have of each."""
        return (self.ceiling,) if self.second_most is None else (self.ceiling, self.second_most)

    @property
    def bounds_text(self) -> str:
        """The most that an answer may have, for people."""
        return " and ".join(
            f"{most:,} {OBJECTIVES[each]}" for most, each in zip(self.ceilings, self.minimised, strict=True)
        )

    def objective(self, turn: int) -> tuple[Objective, int]:
        """Return what the network of a turn is to have little of, one metric or both by a weight, and its ceiling."""
        if self.second is None:
            return self.minimise, self.ceiling
        weighted = Weighted((self.minimise, self.second), WEIGHTS[turn % len(WEIGHTS)])
        return weighted, weighted.of(self.ceilings)

    @property
    def all_lengths(self) -> tuple[int, ...]:
        """The epochs that a network may be trained for, the recipe's own where none are named."""
        return self.lengths or (self.recipe.epochs,)

    def rungs_of(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs after which pruning is decided in a training of so many, at the shares of its rungs."""
        return epochs_within((rung * epochs / self.recipe.epochs for rung in self.rungs), epochs)

    def recipe_of(self, epochs: int | None) -> tuple[Recipe, str]:
        """Return the recipe of a training of so many epochs, its own where none are said, and its name."""
        if epochs is None or epochs == self.recipe.epochs:
            return self.recipe, self.recipe_name
        return replace(self.recipe, epochs=epochs), f"{self.recipe_name}-{epochs}ep"


def epochs_within(epochs: Iterable[float], last: int) -> tuple[int, ...]:
    """Return whole epochs after the first and before the last one, ascending, rounded up."""
    return tuple(sorted({whole for whole in map(math.ceil, epochs) if 0 < whole < last}))


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _ConfigFile:
    config: StudyConfig
    origins: dict[str, str]
    schema_version: Literal[1] = 1


def open_study(folder: Path, config: StudyConfig, origins: dict[str, str]) -> bool:
    """Write the configuration of a new study, or check it against the one that is there; return whether it is new."""
    if (folder / RESULTS_OF_BEFORE).is_dir():
        message = f"study {folder.name!r} in {folder} is of an older version, which can be read but not continued"
        raise ContentError(message, hint="give --study another name")
    if (path := folder / "config.json").exists():
        check_config(folder, config)
        return False
    files.write_json(path, {"config": config_document(config), "origins": origins, "schema_version": 1})
    return True


def config_document(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as plain JSON values; studies of the fewest parameters are named as ever."""
    document = asdict(config) | {"recipe": recipe_document(config.recipe)}
    if config.minimise is Metric.PARAMETERS:
        del document["minimise"], document["most"]
    if not config.is_front:
        del document["second"], document["second_most"]
    if not config.start_from:
        del document["start_from"], document["known"]
    if not config.sampler_sha256:
        del document["sampler_sha256"]
    return document


def check_config(folder: Path, config: StudyConfig) -> None:
    """Raise ContentError unless the study in a folder has this configuration."""
    known = read_config(folder).config
    for item in fields(StudyConfig):
        ours, theirs = getattr(config, item.name), getattr(known, item.name)
        if ours != theirs:
            values = "" if item.name in ("space_text", "recipe") else f" ({theirs!r} there, {ours!r} here)"
            raise ContentError(
                f"study {folder.name!r} in {folder} was begun with another {item.name.removesuffix('_pct')}{values}; "
                "a study never changes its configuration",
                hint="give --study another name, or repeat the command that began it",
            )


def read_config(folder: Path) -> _ConfigFile:
    """Return a study's ``config`` and the ``origins`` of its values: an option, the environment or a default."""
    path = folder / "config.json"
    return read_as(_ConfigFile, path, f"the study {path}")


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only process that works in a folder for the block; make the folder, and leave none that is empty."""
    # One that only asks holds the lock for a moment too.
    with files.locked(folder / ".lock", seconds=0.75):
        try:
            yield
        finally:
            if folder.is_dir() and os.listdir(folder) == [".lock"]:
                shutil.rmtree(folder)


def is_owned(folder: Path) -> bool:
    """Return whether a process works in a folder now."""
    try:
        if (folder / ".lock").exists():
            with files.locked(folder / ".lock", seconds=0):
                pass
    except UsageError as error:
        return isinstance(error, files.Held)
    return False
