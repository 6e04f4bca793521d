"""Folder and configuration of a study; the configuration never changes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from harness.data.groups import GroupCounts
from harness.spaces.space import Metric
from harness.system import files
from harness.system.document import read_as, strict_json
from harness.system.errors import ContentError, StorageError
from harness.training.recipe import NamedRecipe, Recipe
from harness.training.result import PROTOCOL_VERSION

# Keys that a document omits if the first of the group has the default, so that older studies keep their names.
_OMITTED_KEYS = (
    ("minimise", "most"),
    ("second", "second_most"),
    ("start_from", "known"),
    ("sampler_sha256",),
    ("image_folds",),
    ("group_folds",),
    ("validation_groups", "test_groups"),
)
_OLD_RESULTS = "results"  # folder with a file per run, in versions before 25 November 2026


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """Settings that decide the outcome of a search and never change.

    Attributes:
        threshold_pct: Validation accuracy that corresponds to the target (``bounds.ErrorRatio``).
        space_text: Definition of the search space, which may change later.
        sampler: Name in ``optuna_sampler.SAMPLERS``, or ``MODULE:FUNCTION``.
        rungs: Epochs at which pruning is decided in a training of ``recipe.epochs`` epochs; ``rungs_of`` scales these.
        lengths: Epochs that a network may be trained for, ascending; empty for ``recipe.epochs``.
        prior: ``none``, ``shipped``, or ``own`` (shipped and the user's studies).
        prior_sha256: Digest of the shipped prior observations; empty if ``prior`` is ``none``.
        protocol_version: See ``result.PROTOCOL_VERSION``.
        most: Largest allowed value of ``minimise``; None only for parameters, whose limit is the budget.
        second: Second metric to minimise, for a Pareto front; None for a single metric.
        start_from: Study or leaderboard whose networks replace the initial draws; empty for none.
        known: Texts of these start networks, in the notation; a continued study keeps the first list.
        sampler_sha256: Digest of the source of a user's sampler.
        image_folds: Folds of images, on each of which a confirmation validates at least once; 0 also in studies of
            earlier versions.
        group_folds: Folds of whole groups, on each of which a confirmation validates once; else 0.
        validation_groups: Effective number of groups of all folds; ``test_groups`` of the test part. 0 without folds of
            groups and groups of copies, and in studies of earlier versions.
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
    image_folds: int = 0
    group_folds: int = 0
    validation_groups: float = 0.0
    test_groups: float = 0.0

    @property
    def run_seed(self) -> int:
        """Seed of all trainings: ``seed``, or a hash of the configuration if there are prior observations.

        With an equal seed, a search would count runs that the surrogate model has learned from as fresh seeds.
        """
        if self.prior == "none":
            return self.seed
        text = json.dumps(config_document(self), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    @property
    def groups(self) -> GroupCounts | None:
        """Numbers of groups; None without folds of groups, and in studies of earlier versions."""
        if not (self.group_folds and self.validation_groups):
            return None
        return GroupCounts(self.group_folds, self.validation_groups, self.test_groups)

    @property
    def cases_of_a_run(self) -> float:
        """Effective number of validation images of a run; infinite if the images of a run decide."""
        if self.group_folds or not self.validation_groups:
            return math.inf
        return self.validation_groups / max(1, self.image_folds)

    @property
    def is_front(self) -> bool:
        """Whether two metrics are minimised, so that the answers are a Pareto front."""
        return self.second is not None

    @property
    def minimised(self) -> tuple[Metric, ...]:
        """Minimised metrics, at most two."""
        return (self.minimise,) if self.second is None else (self.minimise, self.second)

    @property
    def limits(self) -> tuple[int, ...]:
        """Largest allowed value of each minimised metric."""
        limits = (self.most, self.second_most)[: len(self.minimised)]
        return tuple(self.budget if limit is None else limit for limit in limits)

    @property
    def threshold_text(self) -> str:
        """The validation threshold as in all messages and pages, such as ``99.29 %``."""
        return f"{self.threshold_pct:.2f} %"

    @property
    def bounds_text(self) -> str:
        """The limits as text, such as ``20,000 parameters and 100,000 multiply-adds``."""
        return " and ".join(map(Metric.counted, self.minimised, self.limits))

    @property
    def epoch_choices(self) -> tuple[int, ...]:
        """By default the epochs of the recipe."""
        return self.lengths or (self.recipe.epochs,)

    def rungs_of(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs of pruning in a training of ``epochs`` epochs."""
        return epochs_within((rung * epochs / self.recipe.epochs for rung in self.rungs), epochs)

    def recipe_of(self, epochs: int | None) -> tuple[Recipe, str]:
        """Return recipe and name for ``epochs`` epochs; None for the epochs of the recipe."""
        entry = NamedRecipe(self.recipe_name, self.recipe).at(epochs)
        return entry.recipe, entry.name


def epochs_within(epochs: Iterable[float], last: int) -> tuple[int, ...]:
    """Return the distinct epochs between 0 and ``last`` (both exclusive), rounded up, ascending."""
    return tuple(sorted({whole for whole in map(math.ceil, epochs) if 0 < whole < last}))


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class _ConfigFile:
    config: StudyConfig
    origins: dict[str, str]
    schema_version: Literal[1] = 1


def open_study(folder: Path, config: StudyConfig, origins: dict[str, str]) -> bool:
    """Write the configuration of a new study with the source of each value, or check the existing configuration.

    Returns:
        Whether the study is new.

    Raises:
        ContentError: The existing study has a different configuration.
    """
    if study_exists(folder):
        check_config(folder, config)
        return False
    document = {"config": config_document(config), "origins": origins, "schema_version": 1}
    files.write_json(folder / "config.json", document)
    return True


def config_document(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as JSON values, without keys that are not used (``_OMITTED_KEYS``)."""
    document = asdict(config) | {"recipe": config.recipe.document}
    defaults = {item.name: item.default for item in fields(StudyConfig)}
    for names in _OMITTED_KEYS:
        if document[names[0]] == defaults[names[0]]:
            for name in names:
                del document[name]
    return document


def study_exists(folder: Path) -> bool:
    """Return whether a folder has a study; ``open_study`` writes the configuration last."""
    return (folder / "config.json").exists()


def check_config(folder: Path, config: StudyConfig) -> None:
    """Raise ContentError unless the study in a folder has this configuration."""
    stored_settings = asdict(read_config(folder).config)
    for name, value in asdict(config).items():
        if value != stored_settings[name]:
            values = f" ({stored_settings[name]!r} in the study, {value!r} requested)"
            if name in ("space_text", "recipe"):
                values = ""
            raise ContentError(
                f"study {folder.name!r} in {folder} has a different {name.removesuffix('_pct')}{values}; "
                "the configuration of a study cannot change",
                hint="choose a new name for the study, or repeat the command with the version that created the study",
            )


def read_config(folder: Path) -> _ConfigFile:
    """Return an object with the ``config`` of a study and the ``origins`` of the values (``open_study``).

    Raises:
        ContentError: The file is missing or damaged, or the study has a log of the first form.
    """
    if (folder / _OLD_RESULTS).is_dir():
        message = f"study {folder.name!r} in {folder} has a log of a version before 25 November 2026, which is not read"
        raise ContentError(message, hint="choose a new name for new studies; the files of this study remain")
    path = folder / "config.json"
    return read_as(_ConfigFile, path, f"the study {path}")


@contextmanager
def locked_folder(folder: Path, removable: Sequence[str] = ()) -> Iterator[None]:
    """Hold the lock of a folder during the block; create the folder, and remove the folder if nothing was written.

    A folder that had files before is kept; ``removable`` files and folders do not count as written.

    Raises:
        Held: A different process holds the lock.
    """
    # ``is_locked_by_a_process`` in a different process holds the lock for a moment, too.
    with files.locked(folder / ".lock", seconds=0.75):
        had_files = os.listdir(folder) != [".lock"]
        try:
            yield
        finally:
            if not had_files and folder.is_dir() and {*os.listdir(folder)} <= {".lock", *removable}:
                # Such as a mount point.
                with suppress(StorageError):
                    files.remove_folder(folder)


def is_locked_by_a_process(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder."""
    try:
        # ``files.locked`` would create a folder that another process is removing.
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False
