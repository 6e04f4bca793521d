"""Results of training runs: an immutable value and JSON document with purpose, seed, code and machine.

Each seed is a hash of its use (``derive_seed``), so no seed can be selected for a good result. A verification also
writes an inspection for reports: the misclassified test images of a seed. No decision depends on inspections.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import platform
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.spaces.space import Decision
from harness.system.document import WrittenNetwork, read_as, strict_json
from harness.system.errors import ContentError
from harness.system.machine import device_name, git, processor_flags
from harness.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

# Incremented if a change of split, seeds, counting rules or evaluation makes numbers incomparable.
PROTOCOL_VERSION = 1
_STORED_EPOCHS = 200  # epochs without an evaluation that a stored run keeps (``history_sample``)
_REPOSITORY = Path(__file__).resolve().parents[2]

# Results contain decisions; ``harness.spaces`` imports no other folder.
strict_json(Decision)


class Purpose(StrEnum):
    """Purpose of a training run; different purposes have different seeds."""

    SEARCH = "search"
    CONFIRM = "confirm"
    VERIFY = "verify"
    TRAIN = "train"  # no evidence: by the user, for the choice of a recipe, for ``harness quote``
    REFERENCE = "reference"  # by ``measurements``
    BENCH = "bench"  # for a table of the bench


def derive_seed(
    network_hash: str, recipe_hash: str, purpose: Purpose, index: int, study_seed: int = 0, beacon: str = ""
) -> int:
    """Return seed ``index`` of a network under a recipe, an integer below 2**48.

    Args:
        index: Among the seeds of the purpose, from 0.
        study_seed: Changes the seeds of ``search`` and ``confirm`` only; verification seeds are the same for all users.
        beacon: Commit on which the seeds of a certification depend, unknown at the declaration; else empty.
    """
    parts = [str(PROTOCOL_VERSION), network_hash, recipe_hash, purpose.value, str(index)]
    if purpose in (Purpose.SEARCH, Purpose.CONFIRM):
        parts.append(str(study_seed))
    if beacon:
        parts.append(beacon)
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    # Exact in JSON readers that store numbers as doubles.
    return int.from_bytes(digest[:6], "big")


def start_seed(seed: int, number: int) -> int:
    """Return the seed of start ``number`` of a run, an integer below 2**48; start 0 has the seed of the run.

    See ``Recipe.starts``.
    """
    if number == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}|start|{number}".encode()).digest()[:6], "big")


class Status(StrEnum):
    """Status of a run."""

    RUNNING = "running"  # epochs are left
    COMPLETE = "complete"
    PRUNED = "pruned"  # ended at a rung, because the threshold is out of reach
    SHORTENED = "shortened"  # ended at a rung, because fewer epochs suffice
    DIVERGED = "diverged"  # a loss was not finite
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"

    @property
    def ended_without_failure(self) -> bool:
        """Whether the run ended after the last epoch or at a rung; False for ``RUNNING``."""
        return self in (Status.COMPLETE, Status.PRUNED, Status.SHORTENED)


@strict_json
@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training images."""

    epoch: int  # counted from 1
    learning_rate: float  # of the last step
    train_loss: float | None  # mean over the steps; None if not finite
    train_seconds: float  # since the start of the run, without evaluation
    validation_errors: int | None = None  # None if not evaluated
    test_errors: int | None = None  # only with ``test_each_epoch``
    validation_soft_errors: float | None = None  # ``Evaluation.soft_errors``
    validation_loss: float | None = None  # ``Evaluation.loss``


@strict_json
@dataclass(frozen=True, slots=True)
class Environment:
    """Code and machine that produced a result.

    Attributes:
        commit: Commit of the code; None outside a checkout (``code_version``).
        dirty: Whether the code differs from the commit; None outside a checkout.
        python: Version, as ``torch``.
        device: ``cpu``, or the model of the GPU (``device_name``).
        instructions: See the function `instructions`.
        data_hash: See ``ImageData.data_hash``.
        engine: ``torch``, or the name of the native engine with instruction set and digest of the build, followed by
            the user's trainer and a digest of its source if a recipe has a trainer.
    """

    commit: str | None
    dirty: bool | None
    python: str
    torch: str
    device: str
    instructions: str
    threads: int
    data_hash: str
    engine: str = "torch"

    def gives_bits_of(self, other: Environment) -> bool:
        """Return whether equal seeds must give equal bits in both environments."""
        return replace(self, commit=None, dirty=None) == replace(other, commit=None, dirty=None)


@dataclass(frozen=True, slots=True)
class Errors:
    """Misclassified images of an evaluation.

    Attributes:
        images: Number of evaluated images, at least 1.
    """

    wrong: int
    images: int

    @classmethod
    def of(cls, wrong: int | None, images: int | None) -> Errors | None:
        """Return the errors of an evaluation; None without a count or without images."""
        if wrong is None or not images:
            return None
        return cls(wrong, images)

    @property
    def accuracy_pct(self) -> float:
        """Accuracy in per cent."""
        return 100.0 * (self.images - self.wrong) / self.images


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of the training of a network with a recipe and a seed."""

    architecture: WrittenNetwork  # stored as text
    hash: str
    parameters: int
    macs: int
    recipe: Recipe
    recipe_name: str
    recipe_hash: str
    dataset: str
    purpose: Purpose
    seed_index: int  # among the seeds of the purpose
    seed: int
    status: Status
    message: str = ""  # description of a failure
    history: tuple[Epoch, ...] = ()  # of long runs a sample (``history_sample``)
    validation_errors: int | None = None  # after the latest epoch; None if not evaluated
    validation_soft_errors: float | None = None  # ``Evaluation.soft_errors`` after the latest epoch
    validation_loss: float | None = None  # ``Evaluation.loss`` after the latest epoch
    validation_size: int | None = None  # None without validation images
    test_errors: int | None = None  # None if not evaluated
    test_size: int | None = None
    wrong: tuple[tuple[int, int], ...] = ()  # (image, predicted class) on test images
    weights_sha256: str | None = None  # of the final weights
    train_seconds: float = 0.0  # of all jobs of the run, without evaluation
    teacher_seconds: float = 0.0  # always 0; a key of schema 1
    images_per_second: float = 0.0  # training images, counted once per epoch
    peak_memory_mb: float = 0.0  # largest resident size, MiB
    environment: Environment | None = None
    started_utc: str = ""  # of the last job of the run, ISO 8601
    study: str | None = None
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()  # these derive the network from the search space
    node: str = ""  # cluster node; empty on the machine of the coordinator
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1

    @property
    def trained_epochs(self) -> int:
        """Number of epochs, of which ``history`` may be a sample."""
        return self.history[-1].epoch if self.history else 0

    @property
    def validation(self) -> Errors | None:
        """Errors on the validation images; None if not evaluated."""
        return Errors.of(self.validation_errors, self.validation_size)

    @property
    def required_validation(self) -> Errors:
        """Errors on the validation images; raises AssertionError if not evaluated."""
        validation = self.validation
        assert validation is not None, "the run has not been evaluated; None must not count as 0 errors"
        return validation

    @property
    def validation_accuracy_pct(self) -> float | None:
        """Validation accuracy; None if not evaluated."""
        validation = self.validation
        return None if validation is None else validation.accuracy_pct

    @property
    def test_accuracy_pct(self) -> float | None:
        """Test accuracy; None if not evaluated."""
        test = Errors.of(self.test_errors, self.test_size)
        return None if test is None else test.accuracy_pct


def history_sample(history: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Return the epochs to store: the last, all evaluated, and at most ``_STORED_EPOCHS`` evenly spaced epochs.

    With few images a run has thousands of epochs, whose losses would take most of the log of a study.
    """
    stride = math.ceil(len(history) / _STORED_EPOCHS)
    last = len(history)
    return tuple(
        epoch
        for number, epoch in enumerate(history, 1)
        if number % stride == 0
        or number == last
        or epoch.validation_errors is not None
        or epoch.test_errors is not None
    )


def finite(number: float | None) -> float | None:
    """Return the number, or None if not finite, because JSON cannot represent nan and infinity."""
    return number if number is not None and math.isfinite(number) else None


def environment(device: torch.device, data_hash: str, engine: str) -> Environment:
    """Return the environment of this process for a result on ``device``."""
    import torch  # slow to import, and not needed to read results

    commit, dirty = code_version()
    return Environment(
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        torch=torch.__version__,
        device=device_name(device),
        instructions=instructions(),
        threads=torch.get_num_threads(),
        data_hash=data_hash,
        engine=engine,
    )


@functools.cache
def instructions() -> str:
    """Return the instruction set that selects torch's kernels on this processor, such as ``x86_64 AVX512 bf16``."""
    import torch

    words = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    flags = processor_flags()
    # Without these, bf16 convolutions are emulated and may round differently.
    if "avx512_bf16" in flags:
        words.append("bf16")
    if "amx_bf16" in flags:
        words.append("amx")
    return " ".join(words)


@functools.cache
def code_version() -> tuple[str | None, bool | None]:
    """Return the commit of the code, and whether the code differs from the commit; (None, None) outside a checkout.

    Only changes of the packages count, not of records.
    """
    # An installed package may lie in a virtual environment inside a different repository.
    if git(_REPOSITORY, "ls-files", "--error-unmatch", "harness/py.typed") is None:
        return None, None
    commit = git(_REPOSITORY, "rev-parse", "HEAD")
    changes = git(_REPOSITORY, "status", "--porcelain", "--", "search_spaces", "harness")
    if commit is None or changes is None:
        return None, None
    return commit.strip(), bool(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A misclassified test image.

    Attributes:
        image: Index in the test set.
        prediction: Predicted class; the document key is ``said``.
        pixels: Pixels of the first channel, `pack`.
    """

    image: int
    label: int
    prediction: int = field(metadata={"alias": "said"})
    pixels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Misclassified test images of a seed of a verification, for reports.

    Not ``strict_json``, because files of older versions have further fields.
    """

    seed_index: int
    weights_sha256: str  # as in the record
    label_counts: tuple[int, ...]  # test images of each class
    image_shape: tuple[int, int]  # rows and columns
    misses: tuple[Miss, ...]
    roc_auc: float | None = None  # of two classes; None if undefined
    schema_version: Literal[1] = 1


def inspection_folder(runs: Path, row: str) -> Path:
    """Return the folder of all inspections of a row, named as the record file."""
    return runs / ".inspections" / row


def inspection_path(runs: Path, row: str, seed_index: int) -> Path:
    """Return the inspection file of a seed."""
    return inspection_folder(runs, row) / f"seed-{seed_index:04d}.json"


def read_inspections(runs: Path, row: str) -> list[Inspection]:
    """Return all inspections of a row, ordered by seed. Raises ContentError if a file is damaged."""
    inspections = []
    for path in sorted(inspection_folder(runs, row).glob("seed-*.json")):
        inspection = read_as(Inspection, path, f"the inspection {path}")
        height, width = inspection.image_shape
        if any(len(unpack(miss.pixels)) != height * width for miss in inspection.misses):
            raise ContentError(f"{path} contains an image whose size is not {height} x {width} pixels; remove the file")
        inspections.append(inspection)
    return inspections


def pack(pixels: bytes) -> str:
    """Return pixels, one byte each, as compressed base64 text."""
    return base64.b64encode(zlib.compress(pixels, 9)).decode("ascii")


def unpack(text: str) -> bytes:
    """Return the pixels of a text of ``pack``; empty if the text is damaged."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except (ValueError, zlib.error):
        return b""
