"""The known data sets: files, hashes, sizes, normalisation and default targets.

The facts of a user data set (``harness.data.user``) are stored in ``data.json``, beside the images in the workspace.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.groups import independent_cases
from harness.spaces.network import Task
from harness.spaces.space_errors import counted, nearest
from harness.system.document import document_of, parse_json, read_as
from harness.system.errors import ContentError, MissingSubject, UsageError
from harness.system.files import workspace

AUTO = "auto"  # ``mnist`` if MNIST is stored or can be fetched, else ``mnist-5k``
MAX_CHANNELS = 16  # of an image; a longer axis of an array is not taken for the channel axis


@dataclass(frozen=True, slots=True)
class DataFile:
    """An IDX file, or an ``.npz`` file of a user data set.

    Attributes:
        sha256: Of the uncompressed bytes; None if not known (KMNIST).
        gzip_md5: Of the published ``.gz`` file, checked if ``sha256`` is None.
    """

    name: str
    sha256: str | None
    gzip_md5: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A known data set or a user data set; the fields from ``sha256`` on apply to user data sets only.

    A group is a set of images that are not independent (``--group-by``), such as copies of a picture.

    Attributes:
        target_pct: Default target; zero without a usual target.
        mean: Mean of each channel over all training and validation images, on a scale from 0 to 1; ``std`` is the
            standard deviation.
        image_shape: (channels, rows, columns).
        train_size: Training images of the search split, in the first fold; so is ``validation_size``.
        folder: Folder below a data folder, as in torchvision; begins with the name of the torchvision class. Empty for
            ``mnist-5k`` and user data sets.
        all_files: Training images, training labels, test images and test labels, in the order of the combined hash.
            Empty for ``mnist-5k``; for a user data set one file per part.
        class_names: Empty if classes are numbers.
        sha256: ``training_images.content_digest``; empty for known data sets.
        folds: Number of folds that take turns in validating (``run.validation_fold``).
        balanced: Whether every class has equally many validation images and equally many test images; an epoch repeats
            training images of small classes.
        overlap: Images or groups that belong to two parts; empty without overlap.
        low: Number per channel that is mapped to the pixel value 0; ``high`` is mapped to 255. Empty for known data
            sets, whose numbers are the pixel values.
        validation_group_sizes: Images of each validation group, of all folds together; empty without groups.
        test_groups: Index into ``test_group_sizes`` for each test image; empty without groups, or if stored by an
            earlier version.
        test_pictures: Effective number of test images if copies count as a single image.
        duplicates: Names of images that occur more than once.
        input: Option with which the source was read; empty if not given. So are ``group_by``, ``channels`` and
            ``allow_overlap``.
        facts_sha256: SHA-256 of all further fields (`sealed`); empty if stored by an earlier version.
    """

    name: str
    target_pct: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    classes: int = 10
    image_shape: tuple[int, int, int] = (1, 28, 28)
    train_size: int = 50_000
    validation_size: int = 10_000
    test_size: int = 10_000
    folder: str = ""
    all_files: tuple[DataFile, ...] = ()
    class_names: tuple[str, ...] = ()
    sha256: str = ""
    folds: int = 1
    balanced: bool = False
    overlap: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    # Not compared: equal data read from several sources must compare equal.
    validation_group_sizes: tuple[int, ...] = field(default=(), compare=False)
    test_group_sizes: tuple[int, ...] = field(default=(), compare=False)
    test_groups: tuple[int, ...] = field(default=(), compare=False)
    test_pictures: float = field(default=0.0, compare=False)
    duplicates: tuple[str, ...] = field(default=(), compare=False)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    input: str = field(default="", compare=False)
    group_by: str = field(default="", compare=False)
    channels: str = field(default="", compare=False)
    allow_overlap: bool = field(default=False, compare=False)
    facts_sha256: str = field(default="", compare=False)

    @property
    def class_labels(self) -> tuple[str, ...]:
        """Names of the classes, or the numbers as text."""
        return self.class_names or tuple(map(str, range(self.classes)))

    @property
    def number_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Raw numbers of each channel that become the pixels 0 and 255."""
        channels = self.image_shape[0]
        return self.low or (0.0,) * channels, self.high or (255.0,) * channels

    @property
    def noun(self) -> str:
        """Plural noun for an example: series are stored as images of a single row."""
        return "series" if self.image_shape[1] == 1 else "images"

    @property
    def image_folds(self) -> int:
        """Number of folds of images; 0 without such folds."""
        return self.folds if self.folds > 1 and not self.group_folds else 0

    @property
    def group_folds(self) -> int:
        """Number of folds of groups (``group_by``); 0 without such folds."""
        return self.folds if self.folds > 1 and self.validation_group_sizes and self.group_by else 0

    @property
    def test_cases(self) -> float:
        """Effective number of independent test images."""
        return independent_cases(self.test_group_sizes or (1,) * self.test_size)

    @property
    def validation_cases(self) -> float:
        """Effective number of independent validation images, all folds together."""
        return independent_cases(self.validation_group_sizes or (1,) * (self.validation_size * self.folds))

    @property
    def title(self) -> str:
        """Display name, with a remark if the images could be mistaken for MNIST, are balanced or overlap."""
        if not self.is_user_data:
            return "MNIST" if self.name == "mnist" else f"{self.name} (not MNIST)"
        marks = {" (balanced)": self.balanced, " (parts overlap)": self.overlap}
        return self.name + "".join(mark for mark, applies in marks.items() if applies)

    @property
    def is_user_data(self) -> bool:
        """Whether the data set was read from files or arrays of the user."""
        return bool(self.sha256)

    @property
    def parts_text(self) -> str:
        """Description of the parts: sizes, folds, balance, groups and overlap."""
        folds_text = ""
        if self.folds > 1:
            # The sizes are those of the first fold.
            folds_text = f" (in the first of {self.folds} folds)" if self.group_folds else f" ({self.folds} folds)"
        sizes = f"{self.train_size:,} training, {self.validation_size:,} validation{folds_text}"
        balance = ", equally many of each class" if self.balanced else ""
        overlap = f"; THE PARTS OVERLAP: {self.overlap}" if self.overlap else ""
        parts = {"validation group": self.validation_group_sizes, "test group": self.test_group_sizes}
        counts = [counted(len(group_sizes), name) for name, group_sizes in parts.items() if group_sizes]
        groups = f"; {' and '.join(counts)}" if counts else ""
        return f"{sizes} and {self.test_size:,} test {self.noun}{balance}{groups}{overlap}"

    @property
    def data_hash(self) -> str:
        """SHA-256 of images and labels; empty if a file has no known hash."""
        sums = [file.sha256 or "" for file in self.all_files]
        return self.sha256 or (hashlib.sha256("\n".join(sums).encode()).hexdigest() if all(sums) and sums else "")

    @property
    def task(self) -> Task:
        """Input shape and number of classes of a network for these images."""
        return Task(self.image_shape, self.classes)

    @property
    def pixel_properties(self) -> dict[str, str]:
        """Mean and standard deviation of the pixels per channel, as properties of a weights file."""
        return {"pixel_mean": " ".join(map(repr, self.mean)), "pixel_deviation": " ".join(map(repr, self.std))}

    @property
    def number_properties(self) -> dict[str, str]:
        """Class names and preprocessing of raw numbers, as properties of a weights file or an export."""
        low, high = self.number_range
        return {
            "class_names": json.dumps(self.class_labels, ensure_ascii=False),
            "number_low": " ".join(map(repr, low)),
            "number_high": " ".join(map(repr, high)),
            "number_axes": "images, channels (of coloured pictures red, green, blue), rows, columns",
            "network_input": "(clip(rint(255 * (number - low) / (high - low)), 0, 255) / 255 - mean) / deviation",
        }

    def target(self, stated_pct: float | None) -> float:
        """Return the stated or default target accuracy, per cent; raise UsageError without both."""
        target_pct = self.target_pct if stated_pct is None else stated_pct
        if not target_pct:
            raise UsageError(f"data set {self.name} has no default target; set a target in per cent, such as 95")
        return target_pct

    def sealed(self) -> Dataset:
        """Return the facts with the hash ``facts_sha256`` of the present values."""
        return replace(self, facts_sha256=_facts_digest(document_of(self)))


class _DamagedFacts(ContentError):
    exit_code, kind = 5, "data"


def plain_name(text: str) -> str:
    """Return a name as in ``NAME-HASH``: at most 40 lower-case letters, digits and hyphens; empty if none is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def dataset(name: str, folder: Path | None = None) -> Dataset:
    """Return the data set ``name``: a known data set, or a user data set in the workspace or in ``folder`` of a node.

    Raises:
        UsageError: The data set is unknown.
        ContentError: The facts of a user data set are damaged.
    """
    if name in DATASETS:
        return DATASETS[name]
    for location in (workspace().data(name), folder):
        if location is not None and os.path.isfile(path := location / "data.json"):
            spec = read_as(Dataset, path, str(path))
            computed_hash = _facts_digest(parse_json(path.read_bytes()))
            if spec.facts_sha256 not in ("", computed_hash):
                message = f"{path}: facts_sha256: {spec.facts_sha256[:12]} stated, {computed_hash[:12]} computed"
                raise _DamagedFacts(message, hint="remove the folder and read the source again")
            if contradictions := [name for name, holds in _rules(spec).items() if not holds]:
                raise ContentError(f"{path}: {contradictions[0]} contradicts the other facts")
            return spec
    names = [*DATASETS, *(path.name for path in workspace().data_sets())]
    raise UsageError(f"unknown data set {name!r}; available: {', '.join(names)}", hint=nearest(name, names))


def _facts_digest(document: Mapping[str, Any]) -> str:
    facts = {name: value for name, value in document.items() if name != "facts_sha256"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _rules(spec: Dataset) -> dict[str, bool]:
    channels = spec.image_shape[0]
    numbers = (*spec.image_shape, spec.train_size, spec.validation_size, spec.test_size, spec.folds, spec.classes - 1)
    is_indexed = {*spec.test_groups} <= {*range(len(spec.test_group_sizes))}
    return {
        "a number": min(numbers) > 0,
        "sha256": bool(spec.sha256) and not spec.folder,
        "all_files": len(spec.all_files) == 2,
        "mean": len(spec.mean) == channels,
        "std": len(spec.std) == channels and min(spec.std) > 0,
        "low": len(spec.low) in (0, channels),
        "high": len(spec.high) == len(spec.low) and all(map(operator.lt, spec.low, spec.high)),
        "class_names": len(spec.class_names) in (0, spec.classes),
        "test_pictures": 0 <= spec.test_pictures <= spec.test_size,
        "test_groups": len(spec.test_groups) in (0, spec.test_size) and is_indexed,
    }


def dataset_of(name: str, subject: object, folder: Path | None = None) -> Dataset:
    """Same as `dataset`, but raise MissingSubject for ``subject``, which names the data set."""
    try:
        return dataset(name, folder)
    except (UsageError, ContentError) as error:
        raise MissingSubject(f"{subject}: cannot read the data set {name} ({error.message})") from error


def dataset_of_option(name: str, folder: Path | None = None) -> Dataset:
    """Return the data set that an option names; MNIST for ``auto``, whose data sets have the same task."""
    return dataset("mnist" if name == AUTO else name, folder)


def task_or_mnist(name: str) -> Task:
    """Return the task of a data set; the task of MNIST if the data set was removed or is damaged."""
    try:
        return dataset_of_option(name).task
    except (UsageError, ContentError):
        return DATASETS["mnist"].task


def _known_datasets() -> dict[str, Dataset]:
    datasets = {}
    for name, table in tomllib.loads(Path(__file__).with_name("datasets.toml").read_text(encoding="utf-8")).items():
        files = [DataFile(file["name"], file.get("sha256"), file["gzip_md5"]) for file in table.pop("all_files", ())]
        facts: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in table.items()}
        datasets[name] = Dataset(name=name, all_files=tuple(files), **facts)
    return datasets


DATASETS = _known_datasets()
