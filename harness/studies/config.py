"""The folder of a study and its configuration, which it never changes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.training.recipe import Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION
from search_spaces.space import OBJECTIVES, Metric

# Older programs kept each run in a file of this folder.
RESULTS_OF_BEFORE = "results"


@dataclass(frozen=True, slots=True)
class StudyObjective:
    """A metric that an answer has as little of as possible, and the most that it may have; None for the budget."""

    metric: Metric
    ceiling: int | None = None


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
        objectives: one, or two of which the answers are a Pareto front. Documents have them as four keys.
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
    objectives: tuple[StudyObjective, ...] = (StudyObjective(Metric.PARAMETERS),)
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
    def is_front(self) -> bool:
        """Whether two metrics are minimised, so that the answers are a Pareto front."""
        return len(self.objectives) > 1

    @property
    def minimised(self) -> tuple[Metric, ...]:
        """What is minimised: one metric or two."""
        return tuple(objective.metric for objective in self.objectives)

    @property
    def ceilings(self) -> tuple[int, ...]:
        """The most that an answer may have of each."""
        limits = [objective.ceiling for objective in self.objectives]
        return tuple(self.budget if limit is None else limit for limit in limits)

    @property
    def bounds_text(self) -> str:
        """The most that an answer may have, for people."""
        bounds = zip(self.ceilings, self.minimised, strict=True)
        return " and ".join(f"{ceiling:,} {OBJECTIVES[metric]}" for ceiling, metric in bounds)

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
@dataclass(frozen=True, kw_only=True)
class _ConfigDocument(StudyConfig):
    # What older programs wrote, so the names and hashes of their studies hold.
    objectives: tuple[StudyObjective, ...] = field(default=(), init=False)
    minimise: Metric = Metric.PARAMETERS
    most: int | None = None
    second: Metric | None = None
    second_most: int | None = None

    def config(self) -> StudyConfig:
        objectives = [StudyObjective(self.minimise, self.most)]
        if self.second is not None:
            objectives.append(StudyObjective(self.second, self.second_most))
        values = {item.name: getattr(self, item.name) for item in fields(StudyConfig)}
        return StudyConfig(**values | {"objectives": tuple(objectives)})


class _Document:
    """Says to pydantic that a document holds a configuration with four keys for its objectives."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        document = handler.generate_schema(_ConfigDocument)
        return core_schema.no_info_after_validator_function(_ConfigDocument.config, document)


# A configuration that another document holds.
WrittenConfig = Annotated[StudyConfig, _Document()]


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _ConfigFile:
    config: WrittenConfig
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


def settings_of(config: StudyConfig) -> dict[str, Any]:
    """Return the values of a configuration by the keys of its document, in their order; the recipe by its fields."""
    values: dict[str, Any] = {}
    for name, value in asdict(config).items():
        if name != "objectives":
            values[name] = value
            continue
        first, *others = config.objectives
        values |= {"minimise": first.metric, "most": first.ceiling, "second": None, "second_most": None}
        for second in others:
            values |= {"second": second.metric, "second_most": second.ceiling}
    return values


def config_document(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as plain JSON values; studies of the fewest parameters are named as ever."""
    document = settings_of(config) | {"recipe": recipe_document(config.recipe)}
    if config.minimised[0] is Metric.PARAMETERS:
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
    settings_there = settings_of(read_config(folder).config)
    for name, value in settings_of(config).items():
        if value != settings_there[name]:
            values = "" if name in ("space_text", "recipe") else f" ({settings_there[name]!r} there, {value!r} here)"
            raise ContentError(
                f"study {folder.name!r} in {folder} was begun with another {name.removesuffix('_pct')}{values}; "
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
