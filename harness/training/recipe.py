"""Training recipes: every setting of a training except the network, the images and the seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from harness.spaces.integer_plan import WIDE_BITS, integer_plan
from harness.spaces.network import Architecture, Task, walk
from harness.spaces.ops import Op, Shape
from harness.spaces.space_errors import nearest
from harness.system.document import read_as, read_toml
from harness.system.errors import ContentError, UsageError
from harness.system.user_code import source_sha256

# Number format of the factors in products: with ``bf16`` torch rounds the factors of convolutions and linear layers,
# the native engine those of its wider 3x3 convolutions; weights, BN and the loss are always fp32. ``int8`` trains in
# fp32 and converts the final network to integers (``integer.py``).
Precision = Literal["fp32", "bf16", "int8"]
_ZeroToOne = Annotated[float, Field(ge=0, le=1)]


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False, strict=True))
class Recipe:
    """Settings of a training."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 15  # passes over the images; an incomplete last batch is dropped
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 64  # images per step
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(ge=1e-12, le=1e3)] = 0.1  # maximum of the schedule
    momentum: Annotated[float, Field(ge=0, le=0.9999)] = 0.9  # momentum of SGD, beta1 of Adam
    nesterov: bool = True  # Nesterov momentum; SGD only
    weight_decay: _ZeroToOne = 1e-4  # L2 coefficient of kernels and matrices
    # After the warm-up: ``linear`` and ``cosine`` (Loshchilov and Hutter, arXiv 1608.03983) decrease to 0, ``step``
    # multiplies by ``step_factor``.
    schedule: Literal["linear", "constant", "step", "cosine"] = "linear"
    warmup: _ZeroToOne = 0.2  # share of all steps in which the rate rises linearly from a tenth
    step_epochs: tuple[int, ...] = ()  # epochs after which schedule ``step`` drops the rate
    step_factor: _ZeroToOne = 0.1  # factor on the rate at each drop
    label_smoothing: _ZeroToOne = 0.0  # share of the target probability, spread over all classes
    augmented_share: _ZeroToOne = 0.7  # probability that an image is augmented at all
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # largest angle, in both directions
    shift_pixels: Annotated[float, Field(ge=0, le=14)] = 2.0  # largest shift along each axis, in pixels
    scale: Annotated[float, Field(ge=0, le=0.9)] = 0.1  # largest relative change of each axis
    shear: Annotated[float, Field(ge=0, le=2)] = 0.1  # largest shear of the horizontal axis, a slope
    average_decay: Annotated[float, Field(ge=0, le=0.99999)] = 0.998  # per step, of weights and BN statistics; 0: off
    average_start: _ZeroToOne = 0.1  # share of all steps before averaging begins
    # The defaults of ``torch``, or normal weights scaled by fan-in (``kaiming``; He et al., arXiv 1502.01852).
    # ``dirac`` is ``kaiming``, except that convolutions with equal numbers of inputs and outputs begin as identity maps
    # (Zagoruyko and Komodakis, arXiv 1706.00388).
    initialisation: Literal["torch", "kaiming", "dirac"] = "kaiming"
    precision: Precision = "fp32"
    # Fields added after the first records, these and all below (``_LATER_DEFAULTS``).
    average_statistics: Literal["averaged", "recomputed"] = "averaged"
    decay_all: bool = False  # of scales, shifts, biases and slopes too, as in torch
    # MODULE:FUNCTION of user code, which replaces all settings above except ``epochs``, ``precision`` and
    # ``initialisation`` (``run._train_by_user``).
    trainer: Annotated[str, Field(pattern=r"^([\w.]+:\w+)?$")] = ""
    # ``source_sha256`` of ``trainer``; empty in older recipes, which accept any source.
    trainer_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    # Trainings with different first weights. After ``start_epochs`` epochs, and again after each doubling of the
    # epochs, the half with the smallest training loss continues, until 1 is left, at the latest after the last epoch
    # (``start_stages``).
    starts: Annotated[int, Field(ge=1, le=1_000)] = 1
    start_epochs: Annotated[int, Field(ge=1, le=100_000)] = 2  # epochs before the first halving
    # Bits of a weight of an integer network. Below 8, each step rounds the weights for the forward and backward pass,
    # and updates the unrounded weights (straight-through estimator; Bengio et al., arXiv 1308.3432).
    weight_bits: Annotated[int, Field(ge=2, le=WIDE_BITS)] = WIDE_BITS

    def __post_init__(self) -> None:
        if self.decay_all and self.weight_decay == 0:
            raise ValueError("decay_all requires weight_decay above 0, but weight_decay is 0")
        if self.average_statistics == "recomputed" and self.average_decay == 0:
            raise ValueError("average_statistics 'recomputed' requires average_decay above 0, but average_decay is 0")
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("nesterov requires momentum above 0, but momentum is 0")
        if self.starts > 1 and self.trainer:
            raise ValueError(f"a user trainer requires starts = 1, but starts is {self.starts}")
        if self.start_epochs != _LATER_DEFAULTS["start_epochs"] and self.starts == 1:
            raise ValueError("start_epochs requires starts above 1, but starts is 1")
        if self.weight_bits < WIDE_BITS and (self.precision != "int8" or self.trainer):
            raise ValueError("weight_bits below 8 requires precision 'int8', without a user trainer")
        if self.step_epochs and self.schedule != "step":
            raise ValueError(f"step_epochs requires schedule 'step', but schedule is '{self.schedule}'")

    @property
    def document(self) -> dict[str, Any]:
        """Fields by name, as plain JSON values, without ``_LATER_DEFAULTS`` at the defaults."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, default in _LATER_DEFAULTS.items():
            if document[name] == default:
                del document[name]
        return document

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of ``document`` as canonical JSON."""
        text = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def start_stages(self, epochs: int) -> list[StartStage]:
        """Return the stages of a training with several starts; empty for a single start."""
        stages: list[StartStage] = []
        starts = self.starts
        stage_epochs = self.start_epochs
        while starts > 1:
            starts = starts // 2 if stage_epochs < epochs else 1
            stages.append(StartStage(min(stage_epochs, epochs), starts))
            stage_epochs *= 2
        return stages

    def start_overhead(self, epochs: int) -> int:
        """Return the total number of epochs of all dropped starts in a training of ``epochs`` epochs."""
        overhead = 0
        starts = self.starts
        for stage in self.start_stages(epochs):
            overhead += (starts - stage.survivors) * stage.epochs
            starts = stage.survivors
        return overhead

    def decay(self, *, kernel: bool) -> float:
        """Return the L2 coefficient of kernels and matrices, else of scales, shifts and biases."""
        return self.weight_decay if kernel or self.decay_all else 0.0

    def epoch_steps(self, steps_before: int, steps_per_epoch: int) -> StepSettings:
        """Return the settings of the steps of an epoch, after ``steps_before`` steps in earlier epochs."""
        average_step = self._average_step(steps_per_epoch)
        rates = []
        shares = []
        for number in range(steps_before + 1, steps_before + steps_per_epoch + 1):
            rates.append(self._learning_rate(number - 1, steps_per_epoch))
            share = 1.0
            if number > max(1, average_step):
                # At most (1 + n) / (10 + n) after n steps, so that a young average forgets the beginning faster
                # (TensorFlow's ExponentialMovingAverage).
                age = number - average_step
                share -= min(self.average_decay, (1 + age) / (10 + age))
            shares.append(share)
        return StepSettings(rates, shares, self.first_averaged_step(steps_per_epoch))

    def _average_step(self, steps_per_epoch: int) -> int:
        return math.ceil(self.average_start * steps_per_epoch * self.epochs)

    def first_averaged_step(self, steps_per_epoch: int) -> float:
        """Return the step of a run, counted from 1, at which averaging begins; infinity without averaging."""
        return max(1, self._average_step(steps_per_epoch)) if self.average_decay else math.inf

    def _learning_rate(self, step: int, steps_per_epoch: int) -> float:
        progress = step / (steps_per_epoch * self.epochs)  # share of the steps that are done
        if progress < self.warmup:
            return self.learning_rate * (0.1 + 0.9 * progress / self.warmup)
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "step":
                drops = sum(step >= epoch * steps_per_epoch for epoch in self.step_epochs)
                return self.learning_rate * self.step_factor**drops
            case "linear":
                return self.learning_rate * (1 - progress) / (1 - self.warmup)
            case "cosine":
                angle = math.pi * (progress - self.warmup) / (1 - self.warmup)
                return self.learning_rate * (1 + math.cos(angle)) / 2

    def check_batch(self, images: int) -> None:
        """Raise ContentError if a batch is larger than the number of training images."""
        if self.batch_size > images:
            message = f"recipe: batch_size is {self.batch_size}, but only {images} training images are available"
            hint = f"use a recipe @FILE.toml with a line such as batch_size = {max(1, images // 4)} in the file"
            raise ContentError(message, hint=hint)


# Fields after ``precision``, added after the first records; documents and hashes omit these fields at the defaults.
_LATER_DEFAULTS = {
    item.name: item.default
    for item in itertools.dropwhile(lambda item: item.name != "average_statistics", fields(Recipe))
}


@dataclass(frozen=True, slots=True)
class StartStage:
    """A stage of successive halving: the remaining starts train up to an epoch, and some continue."""

    epochs: int  # at the end of the stage
    survivors: int  # by smallest training loss


@dataclass(frozen=True, slots=True)
class StepSettings:
    """Settings of consecutive steps, as lists with an item per step."""

    rates: list[float]
    shares: list[float]  # of the new state in the average; 1 until averaging begins
    first_averaged_step: float  # counted from 1, at which averaging begins; inf: never


def recipe_from(document: dict[str, Any], where: str = "recipe") -> Recipe:
    """Return the recipe of a JSON or TOML table; missing fields take the defaults.

    ``where`` names the source of the table in messages.

    Raises:
        ContentError: A field is unknown or has a value that is not allowed, or fields are contradictory.
    """
    return read_as(Recipe, json.dumps(document, default=str), where)


@dataclass(frozen=True, slots=True)
class NamedRecipe:
    """A recipe with a name and the relation to a source document."""

    name: str
    recipe: Recipe
    assumed_fields: tuple[str, ...] = ()  # not stated by the source document
    test_each_epoch: bool = False  # recipes of source documents only

    def at(self, epochs: int | None) -> NamedRecipe:
        """Return the recipe with a number of epochs, which is appended to the name; unchanged for None.

        Raises:
            ContentError: The number is not allowed.
        """
        if epochs is None or epochs == self.recipe.epochs:
            return self
        return self._changed(f"{epochs}ep", epochs=epochs)

    def with_batch(self, size: int) -> NamedRecipe:
        """Return the recipe with a batch size, which is appended to the name; raise ContentError if not allowed."""
        return self._changed(f"batch{size}", batch_size=size)

    def with_feasible_batch(self, images: int) -> NamedRecipe:
        """Return the recipe, with a batch that allows two steps per epoch."""
        if self.recipe.batch_size <= images:
            return self
        # The largest power of two up to half of the images; at least two images, because BN needs a variance.
        return self.with_batch(max(2, 1 << (max(1, images // 2).bit_length() - 1)))

    def _changed(self, suffix: str, **changes: int) -> NamedRecipe:
        recipe = recipe_from(self.recipe.document | changes)
        return replace(self, name=f"{self.name}-{suffix}", recipe=recipe)


# Settings of the source documents, which describe the networks ``seed0`` to ``seed4``. A document states only a few
# settings of a training (``_of_document``); the remaining values are our assumptions.
_DOCUMENTS = Recipe(
    epochs=20,
    batch_size=128,
    learning_rate=0.04,
    momentum=0.9,
    nesterov=False,
    weight_decay=0.0,
    schedule="constant",
    warmup=0.0,
    augmented_share=0.0,
    rotation_degrees=0.0,
    shift_pixels=0.0,
    scale=0.0,
    shear=0.0,
    average_decay=0.0,
    average_start=0.0,
    initialisation="torch",
    precision="bf16",
)


def _of_document(name: str, **document_fields: Any) -> NamedRecipe:
    # Without the later fields, which are off in ``_DOCUMENTS`` and listed in no record.
    assumed_fields = tuple(item.name for item in fields(Recipe) if item.name not in document_fields | _LATER_DEFAULTS)
    return NamedRecipe(name, replace(_DOCUMENTS, **document_fields), assumed_fields, test_each_epoch=True)


_REFERENCE_IMAGES = 5_000  # training images; with fewer, trainings have more epochs (``length_factor``)
_MAX_FACTOR = 33  # largest ``length_factor``

# Recipe for networks of some thousand parameters, from two factorials (diary 26 and 27).
_SMALL = Recipe(
    epochs=30, batch_size=32, schedule="cosine", warmup=0.1, augmented_share=0.6, average_statistics="recomputed"
)

# docs/use/recipes.md says when to use which recipe.
_CATALOG = (
    NamedRecipe("fast", Recipe()),
    NamedRecipe("small", _SMALL),
    NamedRecipe("small-shift", replace(_SMALL, rotation_degrees=0.0, shift_pixels=1.0, scale=0.0, shear=0.0)),
    NamedRecipe("small-still", replace(_SMALL, augmented_share=0.0)),
    NamedRecipe("small-starts", replace(_SMALL, starts=16)),
    NamedRecipe("small-bf16", replace(_SMALL, precision="bf16")),
    NamedRecipe("small-int8", replace(_SMALL, precision="int8")),
    NamedRecipe("small-int8-starts", replace(_SMALL, precision="int8", starts=16)),
    NamedRecipe("small-int5", replace(_SMALL, precision="int8", weight_bits=5)),
    NamedRecipe("smoke", Recipe(epochs=1, batch_size=128)),
    _of_document("documents"),
    _of_document(
        "seed1", epochs=19, batch_size=128, learning_rate=0.01, schedule="step", step_epochs=(10,), step_factor=0.1
    ),
    _of_document("seed2", epochs=20),
    _of_document("seed4", optimizer="sgd", learning_rate=0.04, batch_size=128, epochs=20),
)
RECIPES: dict[str, NamedRecipe] = {entry.name: entry for entry in _CATALOG}


def named_recipe(text: str, *, epochs: int | None = None) -> NamedRecipe:
    """Return a recipe of the catalog by name, or a recipe from a TOML file if ``text`` begins with ``@``.

    The name may have the suffixes ``-batch<size>`` and ``-<epochs>ep``; ``epochs`` replaces the number of epochs.

    Raises:
        UsageError: The name is unknown, or the file does not exist.
        ContentError: A field in the file, or the number of epochs, is not allowed.
    """
    # ``NamedRecipe`` writes the suffixes.
    match = re.fullmatch(r"(?P<name>.+?)(-batch(?P<batch>[1-9]\d{0,5}))?(-(?P<epochs>[1-9]\d{0,5})ep)?", text)
    if text.startswith("@"):
        path = Path(text[1:])
        document = read_toml(path, "recipe")
        trainer = document.get("trainer")
        if isinstance(trainer, str) and trainer:
            document.setdefault("trainer_sha256", source_sha256(trainer, f"{path}, trainer"))
        entry = NamedRecipe(path.stem, recipe_from(document, str(path)))
    elif text in RECIPES:
        entry = RECIPES[text]
    elif match is not None and match["name"] in RECIPES:
        entry = RECIPES[match["name"]]
        if match["batch"] is not None:
            entry = entry.with_batch(int(match["batch"]))
        if epochs is None and match["epochs"] is not None:
            epochs = int(match["epochs"])
    else:
        hint = nearest(text, RECIPES)
        # ``isfile`` returns False, without an error, for text that cannot be a file name.
        if os.path.isfile(text):
            hint = f"write @{text} to read the recipe from the file"
        raise UsageError(f"unknown recipe {text!r}; available: {', '.join(RECIPES)}, or @FILE.toml", hint=hint)
    return entry.at(epochs)


def length_factor(images: int) -> int:
    """Return the factor on the number of epochs for a training on ``images`` images, because few images give few steps.

    The factor keeps epochs times images constant below ``_REFERENCE_IMAGES`` images, up to ``_MAX_FACTOR``.
    """
    return min(_MAX_FACTOR, max(1, round(_REFERENCE_IMAGES / images)))


def check_network(recipe: Recipe, architecture: Architecture, task: Task) -> None:
    """Raise an error if a recipe cannot train a network.

    Raises:
        ContentError: The precision is ``int8``, but an op has no integer form; or the batch size is 1, but a BN
            normalises 1x1 maps, so that there is a single value per channel, without a variance.
        OtherCode, UsageError: A user's module has changed or is missing (``execution.built``).
    """
    if architecture.user_module is not None:
        from harness.training.user_modules.execution import built

        built(architecture.user_module, task.input_shape)
    if recipe.precision == "int8":
        ops = integer_plan(architecture.ops, task.input_shape).missing
        if ops:
            raise ContentError(f"{ops[0].title} has no integer form, which precision int8 requires")
    if recipe.batch_size == 1 and 1 in _normalised_values(architecture.ops, task.input_shape):
        message = "batch_size is 1, but a bn of the network has 1x1 maps and requires at least 2 values per channel"
        raise ContentError(f"recipe: {message}", hint="use batch_size = 2 or more")


def _normalised_values(ops: tuple[Op, ...], shape: Shape) -> Iterator[int]:
    """Yield, for each op with running statistics, the number of values per image from which a mean is computed."""
    for op, before in walk(ops, shape):
        statistics = op.statistics(before)  # a mean and a variance for each group of channels
        if statistics:
            yield math.prod(before) // (statistics // 2)


def catalog_hash(name: str) -> str | None:
    """Return the hash of a recipe of the catalog, or None."""
    try:
        return None if name.startswith("@") else named_recipe(name).recipe.hash
    except (UsageError, ContentError):
        return None


def recipe_by_hash(hash_: str, epochs: int) -> Recipe | None:
    """Return the recipe of the catalog with this hash at ``epochs`` epochs, or None."""
    recipes = (replace(entry.recipe, epochs=epochs) for entry in RECIPES.values())
    return next((recipe for recipe in recipes if recipe.hash == hash_), None)


def recipe_named_like(recipe: Recipe, name: str) -> NamedRecipe:
    """Return the entry of the catalog with this name and recipe, or else a plain ``NamedRecipe``."""
    for entry in RECIPES.values():
        candidate = entry.at(recipe.epochs)
        if (candidate.name, candidate.recipe) == (name, recipe):
            return candidate
    return NamedRecipe(name, recipe)
