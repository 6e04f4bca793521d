"""What one training run gave, as one immutable value and one JSON document; its purpose, seed, code and machine.

Seeds are fixed before anything is run: each is a hash of what it is for, so none is picked for its luck.

The images of a test set are behind a lock (``testset``). A verification opens it anyway, so it leaves in an inspection
what a report wants to show of a seed: the images that were classed wrongly. No decision ever rests on it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import platform
import subprocess
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.system.document import WrittenNetwork, documented, read_as
from harness.system.errors import ContentError
from harness.system.machine import device_name, processor_flags
from harness.training.recipe import Recipe
from search_spaces.space import Decision

if TYPE_CHECKING:
    import torch

# Raised whenever a change makes old and new numbers incomparable: split, seeds, counting rules, evaluation.
PROTOCOL_VERSION = 1
_SOURCE = Path(__file__).resolve().parents[2]

# The files of results hold decisions, too.
documented(Decision)


class Purpose(StrEnum):
    """What a training run is for; seeds of different purposes never meet."""

    SEARCH = "search"
    CONFIRM = "confirm"
    VERIFY = "verify"
    TRAIN = "train"
    REFERENCE = "reference"
    TEACHER = "teacher"
    BENCH = "bench"


def derive_seed(
    network_hash: str, recipe_hash: str, purpose: Purpose, index: int, study_seed: int = 0, beacon: str = ""
) -> int:
    """Return seed ``index`` of a network under a recipe, an integer below 2**48.

    Only runs of a search depend on ``study_seed``; all people verify with the same seeds. Those of a certification
    depend on a ``beacon``, which nobody knew when they were declared.
    """
    parts = [str(PROTOCOL_VERSION), network_hash, recipe_hash, purpose.value, str(index)]
    if purpose in (Purpose.SEARCH, Purpose.CONFIRM):
        parts.append(str(study_seed))
    if beacon:
        parts.append(beacon)
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    # 48 bits are exact in JSON readers that keep numbers as doubles.
    return int.from_bytes(digest[:6], "big")


def start_seed(seed: int, number: int) -> int:
    """Return the seed of one of a run's starts, an integer below 2**48; the first one has the run's own seed."""
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}|start|{number}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


class Status(StrEnum):
    """How a run ended; ``running`` where epochs are left."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


@documented
@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training images."""

    epoch: int  # counted from 1
    learning_rate: float  # of the last step
    train_loss: float | None  # mean over the steps, None when not finite
    train_seconds: float  # since the start of the run, evaluation left out
    validation_errors: int | None = None  # wrong validation images, None where this epoch was not evaluated
    test_errors: int | None = None  # wrong test images; only re-runs of documents look each epoch


@documented
@dataclass(frozen=True, slots=True)
class Environment:
    """The code and the machine that made a result.

    ``engine`` names what trained: ``torch``, or the native engine with its instruction set and its build.
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


def same_bits_due(ours: Environment, theirs: Environment) -> bool:
    """Return whether equal seeds must have given equal bits in both places, whatever the commit."""
    return replace(ours, commit=None, dirty=None) == replace(theirs, commit=None, dirty=None)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of one network with one recipe and one seed."""

    architecture: WrittenNetwork
    hash: str
    parameters: int
    macs: int
    recipe: Recipe
    recipe_name: str
    recipe_hash: str
    dataset: str
    purpose: Purpose
    seed_index: int  # which of the fixed seeds of this purpose
    seed: int
    status: Status
    message: str = ""  # what went wrong, for people; empty where nothing did
    history: tuple[Epoch, ...] = ()
    validation_errors: int | None = None
    validation_size: int | None = None
    test_errors: int | None = None
    test_size: int | None = None
    wrong: tuple[tuple[int, int], ...] = ()  # index of each wrong test image, in order, and the class said
    weights_sha256: str | None = None  # digest of the final weights, for bit-by-bit comparison
    train_seconds: float = 0.0
    teacher_seconds: float = 0.0  # training time of the recipe's teachers, all together, whenever they were trained
    images_per_second: float = 0.0
    peak_memory_mb: float = 0.0  # largest resident size of the process, in MiB
    environment: Environment | None = None
    started_utc: str = ""
    study: str | None = None  # name of the study; ``trial`` its number there, ``decisions`` what the space was asked
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()
    node: str = ""  # of a cluster, that trained it; empty where the coordinator's own machine did
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1

    @property
    def validation_accuracy_pct(self) -> float | None:
        """Per cent of the validation images that are right, None where they were not looked at."""
        return accuracy_pct(self.validation_errors, self.validation_size)

    @property
    def test_accuracy_pct(self) -> float | None:
        """Per cent of the test images that are right, None where they were not looked at."""
        return accuracy_pct(self.test_errors, self.test_size)


def accuracy_pct(errors: int | None, size: int | None) -> float | None:
    """Return the share that is right in per cent, None where nothing was counted."""
    return None if errors is None or not size else 100.0 * (size - errors) / size


def finite(number: float | None) -> float | None:
    """Return the number, or None where it is not finite: JSON has no other way to say so."""
    return number if number is not None and math.isfinite(number) else None


def environment(device: torch.device, data_hash: str, engine: str) -> Environment:
    """Return the facts of this process for a result on ``device``."""
    import torch  # slow to load, and whoever reads results does not need it

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
    """Return the instruction set that decides which kernels torch runs on this processor: ``x86_64 AVX512 bf16``."""
    import torch

    words = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    flags = processor_flags()
    # Without these, bf16 convolutions are emulated and may round differently.
    words += [word for word, flag in (("bf16", "avx512_bf16"), ("amx", "amx_bf16")) if flag in flags]
    return " ".join(words)


@functools.cache
def code_version() -> tuple[str | None, bool | None]:
    """Return the commit of the code and whether the code differs from it; None for both outside a checkout.

    Only the packages count: a new record or leaderboard does not change what the code does.
    """
    answers = []
    for question in ("rev-parse HEAD", "status --porcelain -- search_spaces harness reports"):
        command = ["git", "-C", str(_SOURCE), *question.split()]
        try:
            answers.append(
                subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            )
        except (OSError, subprocess.SubprocessError):
            return None, None
    return answers[0], bool(answers[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One wrong test image: its index, its class, the one that was said, and its ``packed`` pixels."""

    image: int
    label: int
    said: int
    pixels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One seed, looked at; a file may hold more, as those of older programs do."""

    seed_index: int
    weights_sha256: str  # of the weights that were looked at, as in the record
    label_counts: tuple[int, ...]  # test images of each class
    image_shape: tuple[int, int]  # rows and columns
    misses: tuple[Miss, ...]
    schema_version: Literal[1] = 1


def inspection_path(runs: Path, row: str, seed_index: int) -> Path:
    """Return the file of one seed of a row; ``row`` is the name of the record's file without its ending."""
    return runs / ".inspections" / row / f"seed-{seed_index:04d}.json"


def read_inspections(runs: Path, row: str) -> list[Inspection]:
    """Return what is there of a row, in order of the seeds; a row without any has an empty list."""
    inspections = []
    for path in sorted(inspection_path(runs, row, 0).parent.glob("seed-*.json")):
        inspection = read_as(Inspection, path, f"the inspection {path}")
        rows, columns = inspection.image_shape
        if any(len(unpacked(miss.pixels)) != rows * columns for miss in inspection.misses):
            raise ContentError(f"{path} holds an image that is not of {rows} x {columns} pixels; remove the file")
        inspections.append(inspection)
    return inspections


def packed(pixels: bytes) -> str:
    """Return pixels, a byte each, as a short text."""
    return base64.b64encode(zlib.compress(pixels, 9)).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the pixels of such a text; nothing where it is damaged."""
    try:
        return zlib.decompress(base64.b64decode(text, validate=True))
    except (ValueError, zlib.error):
        return b""
