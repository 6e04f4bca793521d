"""A training recipe as data: all that training does, without the network, the images and the seed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from harness.system.document import read_as, read_toml
from harness.system.errors import ContentError, UsageError
from harness.system.user_code import source_sha256
from search_spaces.catalog import PRESETS
from search_spaces.deployment import integer_plan
from search_spaces.errors import SearchSpaceError, nearest
from search_spaces.network import Architecture, Task, normalised_values
from search_spaces.notation import parse_network

_Optimizer = Literal["sgd", "adam"]
# After the warm-up ``linear`` falls in a line and ``cosine`` along half a wave (Loshchilov and Hutter, arXiv
# 1608.03983), both to ``final_rate``; ``constant`` stays.
_Schedule = Literal["linear", "constant", "step", "cosine"]
# First weights: torch's own, or normal ones scaled by fan-in (He et al., arXiv 1502.01852). ``dirac`` is ``kaiming``
# but for convolutions with as many outputs as inputs, which begin by handing their input on (Zagoruyko and Komodakis,
# arXiv 1706.00388).
_Initialisation = Literal["torch", "kaiming", "dirac"]
# BN statistics of averaged weights: averaged like the weights, or recomputed for them from training images.
_AverageStatistics = Literal["averaged", "recomputed"]
# Number format of convolutions and linear layers; weights, BN and the loss are always fp32. A run of ``int8`` trains in
# fp32 and ends with integers (``integer.py``), which all errors at its end are of.
Precision = Literal["fp32", "bf16", "int8"]
_Share = Annotated[float, Field(ge=0, le=1)]


@validated(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False, strict=True))
class Recipe:
    """One training recipe."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 15  # passes over the images, each without its incomplete batch
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 64
    optimizer: _Optimizer = "sgd"
    learning_rate: Annotated[float, Field(ge=1e-12, le=1e3)] = 0.1  # the highest of the schedule
    momentum: Annotated[float, Field(ge=0, le=0.9999)] = 0.9  # SGD's momentum, Adam's first beta
    nesterov: bool = True  # Nesterov's form of SGD's momentum
    weight_decay: _Share = 1e-4  # L2 coefficient on kernels and matrices
    schedule: _Schedule = "linear"
    warmup: _Share = 0.2  # of all steps: over these the rate climbs from a tenth
    step_epochs: tuple[int, ...] = ()  # after these a ``step`` schedule multiplies the rate by ``step_factor``
    step_factor: _Share = 0.1
    label_smoothing: _Share = 0.0  # of the target, spread over all classes
    augmented_share: _Share = 0.7  # probability that an image is moved at all
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0  # the largest, as all of the following
    shift_pixels: Annotated[float, Field(ge=0, le=14)] = 2.0  # along each axis
    scale: Annotated[float, Field(ge=0, le=0.9)] = 0.1  # relative change of each axis
    shear: Annotated[float, Field(ge=0, le=2)] = 0.1  # a slope
    average_decay: Annotated[float, Field(ge=0, le=0.99999)] = 0.998  # a step, of weights and BN statistics; 0 is off
    average_start: _Share = 0.1  # of the steps: after these averaging begins
    initialisation: _Initialisation = "kaiming"
    precision: Precision = "fp32"  # of what is multiplied in convolutions and, by torch, in linear layers
    # What came after the first records: at its default it is no part of documents and hashes.
    final_rate: _Share = 0.0  # where ``linear`` and ``cosine`` end, as a share of the highest rate
    teacher: str = ""  # a network's text: its softened answers are learnt beside the labels; empty for none
    teacher_recipe: Recipe | None = None
    teacher_seeds: Annotated[int, Field(ge=1, le=100)] = 1  # so many teachers, whose answers are averaged
    distill_weight: _Share = 0.5  # of the loss, which the teachers' answers have
    distill_temperature: Annotated[float, Field(ge=0.1, le=100)] = 4.0  # divides logits before they are compared
    average_statistics: _AverageStatistics = "averaged"
    zero_head: bool = False  # begin with a last layer of zeros, where it ends the network and its kernel is its own
    augmentation_off_share: _Share = 0.0  # of the epochs, in whole ones: in the last of them no image is moved
    decay_all: bool = False  # decay scales, shifts, biases and slopes too, as torch's optimizers do
    # MODULE:FUNCTION, a person's own code: it trains in place of all the above but the epochs (``run._train_by_user``).
    trainer: Annotated[str, Field(pattern=r"^([\w.]+:\w+)?$")] = ""
    # Of its source (``source_sha256``); empty in recipes that are older than this field, which hold to no code.
    trainer_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    # So many begin, each from weights of its own, and train ``start_epochs``. The half with the least training loss
    # goes on to twice as many epochs, of these the half to twice as many again, until one is left.
    starts: Annotated[int, Field(ge=1, le=1_000)] = 1
    start_epochs: Annotated[int, Field(ge=1, le=100_000)] = 2

    def __post_init__(self) -> None:
        """Refuse what cannot train, and write the teacher so that equal ones hash alike."""
        _check_dependent_fields(self)
        _check_teacher(self)
        if self.teacher:
            try:
                object.__setattr__(self, "teacher", str(Architecture(parse_network(self.teacher).ops)))
            except SearchSpaceError as error:
                raise ValueError(f"the teacher is no network: {error.message}") from error

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of its document as canonical JSON."""
        text = json.dumps(recipe_document(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


# Fields that came after the first records, with their defaults.
_LATER_DEFAULTS = {item.name: item.default for item in fields(Recipe)[21:]}


def _check_dependent_fields(recipe: Recipe) -> None:
    if recipe.augmentation_off_share and recipe.augmented_share == 0:
        raise ValueError("augmentation_off_share ends an augmentation, but augmented_share is 0")
    if recipe.decay_all and recipe.weight_decay == 0:
        raise ValueError("decay_all says what weight_decay holds for, but weight_decay is 0")
    if recipe.average_statistics == "recomputed" and recipe.average_decay == 0:
        raise ValueError("average_statistics are of an average, but average_decay is 0")
    if recipe.nesterov and recipe.optimizer == "sgd" and recipe.momentum == 0:
        raise ValueError("nesterov needs a momentum above 0, but momentum is 0")
    if recipe.starts > 1 and recipe.trainer:
        raise ValueError("a trainer of one's own has one start")
    if recipe.start_epochs != _LATER_DEFAULTS["start_epochs"] and recipe.starts == 1:
        raise ValueError("start_epochs belong to several starts, but starts is 1")
    if recipe.step_epochs and recipe.schedule != "step":
        raise ValueError(f"step_epochs belong to schedule 'step', but schedule is '{recipe.schedule}'")
    if recipe.final_rate and recipe.schedule not in ("linear", "cosine"):
        raise ValueError(f"final_rate belongs to 'linear' and 'cosine', but schedule is '{recipe.schedule}'")


def _check_teacher(recipe: Recipe) -> None:
    if not recipe.teacher:
        for name in ("teacher_recipe", "teacher_seeds", "distill_weight", "distill_temperature"):
            if getattr(recipe, name) != _LATER_DEFAULTS[name]:
                raise ValueError(f"{name} belongs to a teacher, but teacher is empty")
        return
    if recipe.trainer:
        raise ValueError("a trainer of one's own takes no teacher")
    if recipe.teacher_recipe is None:
        raise ValueError("a teacher needs a teacher_recipe, but there is none")
    if recipe.teacher_recipe.starts > 1:
        raise ValueError("the teacher_recipe has several starts, but a teacher has one")
    if recipe.teacher_recipe.teacher:
        raise ValueError("the teacher_recipe names a teacher of its own, but only students have one")


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return the fields as plain JSON values.

    Fields that came after the first records are left out at their defaults, so documents and hashes stay what they were
    when there were no such fields.
    """
    values = {item.name: getattr(recipe, item.name) for item in fields(Recipe)}
    if recipe.teacher_recipe is not None:
        values["teacher_recipe"] = recipe_document(recipe.teacher_recipe)
    return {
        name: value for name, value in values.items() if name not in _LATER_DEFAULTS or value != _LATER_DEFAULTS[name]
    }


@dataclass(frozen=True, slots=True)
class Halving:
    """What happens to the starts of a run that are still there: all train up to an epoch, and some go on."""

    epochs: int
    survivors: int  # so many, those with the least training loss


def halvings(recipe: Recipe, epochs: int) -> list[Halving]:
    """Return how a training of so many epochs comes from its starts to one; at its end one is left in any case."""
    stages: list[Halving] = []
    starts = recipe.starts
    reached = recipe.start_epochs
    while starts > 1:
        starts = starts // 2 if reached < epochs else 1
        stages.append(Halving(min(reached, epochs), starts))
        reached *= 2
    return stages


def start_overhead(recipe: Recipe, epochs: int) -> int:
    """Return how many epochs the starts that do not go on take, all together, in a training of so many epochs."""
    overhead = 0
    starts = recipe.starts
    for halving in halvings(recipe, epochs):
        overhead += (starts - halving.survivors) * halving.epochs
        starts = halving.survivors
    return overhead


def decay_of(recipe: Recipe, *, kernel: bool) -> float:
    """Return the L2 coefficient of kernels and matrices, or that of scales, shifts, biases and slopes."""
    return recipe.weight_decay if kernel or recipe.decay_all else 0.0


def recipe_of_epoch(recipe: Recipe, epoch: int) -> Recipe:
    """Return the recipe as it holds in an epoch, counted from 0: without moves where the augmentation has ended."""
    if epoch < recipe.epochs - math.floor(recipe.augmentation_off_share * recipe.epochs + 0.5):
        return recipe
    return replace(recipe, augmented_share=0.0, augmentation_off_share=0.0)


@dataclass(frozen=True, slots=True)
class Steps:
    """What moves over some steps in a row, an item a step: all that an engine needs to know of it."""

    rates: list[float]  # learning rates
    shares: list[float]  # how much of the new state the average takes; all of it until it begins
    first_averaged: float  # the step of the run, counted from 1, whose state is the first of the average


def epoch_steps(recipe: Recipe, done: int, count: int) -> Steps:
    """Return the ``count`` steps of an epoch, of which ``done`` were taken before."""
    first = math.ceil(recipe.average_start * count * recipe.epochs)
    numbers = range(done + 1, done + count + 1)
    return Steps(
        [_learning_rate(recipe, number - 1, count) for number in numbers],
        # A young average must forget its beginning faster than an old one: with n steps behind it its decay is at
        # most (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage.
        [
            1.0
            if number <= max(1, first)
            else 1 - min(recipe.average_decay, (1 + number - first) / (10 + number - first))
            for number in numbers
        ],
        max(1, first) if recipe.average_decay else math.inf,
    )


def _learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    # Of one step, counted from 0.
    done = step / (steps_per_epoch * recipe.epochs)
    if done < recipe.warmup:
        return recipe.learning_rate * (0.1 + 0.9 * done / recipe.warmup)
    match recipe.schedule:
        case "constant":
            return recipe.learning_rate
        case "step":
            passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.step_epochs)
            return recipe.learning_rate * recipe.step_factor**passed
        case "linear":
            rate = recipe.learning_rate * (1 - done) / (1 - recipe.warmup)
        case "cosine":
            turned = math.pi * (done - recipe.warmup) / (1 - recipe.warmup)
            rate = recipe.learning_rate * (1 + math.cos(turned)) / 2
    # What falls to zero falls to the recipe's last rate; the same number where that is zero.
    return recipe.final_rate * recipe.learning_rate + (1 - recipe.final_rate) * rate


def recipe_from(document: dict[str, Any], where: str = "recipe") -> Recipe:
    """Return the recipe that a JSON or TOML table states; fields left out take their defaults."""
    return read_as(Recipe, json.dumps(document, default=str), where)


@dataclass(frozen=True, slots=True)
class NamedRecipe:
    """A recipe with what people must know about it."""

    name: str
    recipe: Recipe
    assumed: tuple[str, ...] = ()  # fields that the document of the recipe does not state and that are ours
    test_each_epoch: bool = False  # read the test set after every epoch, as the documents did; ours never do


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


# What a document may leave open; it says nothing of fields that nobody had when it was written.
_OPEN = tuple(item.name for item in fields(Recipe) if item.name not in _LATER_DEFAULTS)


def _document(name: str, **stated: Any) -> NamedRecipe:
    assumed = tuple(name for name in _OPEN if name not in stated)
    return NamedRecipe(name, replace(_DOCUMENTS, **stated), assumed, test_each_epoch=True)


# With fewer images than these to train on, lengths are so many times longer, up to 33 times, that networks see as many.
_FEW_IMAGES = 5_000
_MOST_TIMES = 33

# For networks of some thousand parameters, from two factorials (docs/lab).
_SMALL = Recipe(
    epochs=30, batch_size=32, schedule="cosine", warmup=0.1, augmented_share=0.6, average_statistics="recomputed"
)

RECIPES: dict[str, NamedRecipe] = {
    entry.name: entry
    for entry in (
        NamedRecipe("fast", Recipe()),
        NamedRecipe("small", _SMALL),
        NamedRecipe("small-shift", replace(_SMALL, rotation_degrees=0.0, shift_pixels=1.0, scale=0.0, shear=0.0)),
        NamedRecipe("small-still", replace(_SMALL, augmented_share=0.0)),
        NamedRecipe("small-starts", replace(_SMALL, starts=16)),
        NamedRecipe("small-bf16", replace(_SMALL, precision="bf16")),
        NamedRecipe("small-int8", replace(_SMALL, precision="int8")),
        NamedRecipe("small-int8-starts", replace(_SMALL, precision="int8", starts=16)),
        NamedRecipe("smoke", Recipe(epochs=1, batch_size=128)),
        _document("documents"),
        _document(
            "seed1", epochs=19, batch_size=128, learning_rate=0.01, schedule="step", step_epochs=(10,), step_factor=0.1
        ),
        _document("seed2", epochs=20),
        _document("seed4", optimizer="sgd", learning_rate=0.04, batch_size=128, epochs=20),
    )
}


def named_recipe(text: str, *, epochs: int | None = None) -> NamedRecipe:
    """Return a recipe by its name, or from a TOML file when ``text`` begins with ``@``.

    Args:
        epochs: takes the place of the recipe's own, and shows in the name.
    """
    if text.startswith("@"):
        entry = NamedRecipe(Path(text[1:]).stem, _read(Path(text[1:])))
    elif text in RECIPES:
        entry = RECIPES[text]
    elif (own := re.fullmatch(r"(.+?)(?:-batch([1-9]\d{0,5}))?(?:-([1-9]\d{0,5})ep)?", text)) and own[1] in RECIPES:
        # As such a recipe is called everywhere.
        entry = RECIPES[own[1]] if own[2] is None else in_batches(RECIPES[own[1]], int(own[2]))
        epochs = int(own[3]) if epochs is None and own[3] is not None else epochs
    else:
        # Of a text that can be no file's name it is false.
        hint = f"for the file, write @{text}" if os.path.isfile(text) else nearest(text, RECIPES)
        raise UsageError(f"unknown recipe {text!r}; known are {', '.join(RECIPES)}, or @FILE.toml", hint=hint)
    if epochs is None or epochs == entry.recipe.epochs:
        return entry
    changed = recipe_from(recipe_document(entry.recipe) | {"epochs": epochs})
    return replace(entry, name=f"{entry.name}-{epochs}ep", recipe=changed)


def in_batches(entry: NamedRecipe, size: int) -> NamedRecipe:
    """Return a recipe with another size of batch, which shows in its name."""
    recipe = recipe_from(recipe_document(entry.recipe) | {"batch_size": size})
    return replace(entry, name=f"{entry.name}-batch{size}", recipe=recipe)


def for_few(entry: NamedRecipe, images: int) -> NamedRecipe:
    """Return a recipe that takes at least two steps an epoch where its batch is larger than all training images."""
    # A single image has no variance.
    fitting = max(2, 1 << (max(1, images // 2).bit_length() - 1))
    return entry if entry.recipe.batch_size <= images else in_batches(entry, fitting)


def length_factor(images: int) -> int:
    """Return how many times as many epochs a training on so few images takes: of them an epoch has few steps."""
    return min(_MOST_TIMES, max(1, round(_FEW_IMAGES / images)))


def check_batch(recipe: Recipe, images: int) -> None:
    """Raise ContentError unless a batch fits into so many training images."""
    if recipe.batch_size > images:
        raise ContentError(
            f"recipe: batch_size is {recipe.batch_size}, but there are only {images} images to train on",
            hint=f"--recipe @FILE.toml, a file with a line such as batch_size = {max(1, images // 4)}",
        )


def check_network(recipe: Recipe, architecture: Architecture, task: Task) -> None:
    """Raise ContentError where a recipe cannot train a network.

    A BN would be given one value a channel in a step, which has no variance; or an op has no integer form.
    """
    ops = integer_plan(architecture.ops, task.input_shape).missing if recipe.precision == "int8" else ()
    if ops:
        raise ContentError(f"{ops[0]} has no integer form, which precision int8 asks for")
    if recipe.batch_size == 1 and 1 in normalised_values(architecture.ops, task.input_shape):
        raise ContentError(
            "recipe: batch_size is 1, and a bn of the network stands where maps are 1x1, so it is given one value a "
            "channel; it needs at least 2",
            hint="batch_size = 2 or more",
        )


def _read(path: Path) -> Recipe:
    document = read_toml(path, "recipe")
    # What has a name here is written out: a recipe states all that it depends on.
    if isinstance(named := document.get("teacher_recipe"), str):
        document["teacher_recipe"] = recipe_document(named_recipe(named).recipe)
    if isinstance(teacher := document.get("teacher"), str) and teacher in PRESETS:
        document["teacher"] = PRESETS[teacher]
    if isinstance(trainer := document.get("trainer"), str) and trainer:
        document.setdefault("trainer_sha256", source_sha256(trainer, f"{path}, trainer"))
    return recipe_from(document, str(path))


def recipe_by_hash(hash_: str, epochs: int) -> Recipe | None:
    """Return the recipe of the catalog that has this hash with so many epochs; None where none has."""
    recipes = (replace(entry.recipe, epochs=epochs) for entry in RECIPES.values())
    return next((recipe for recipe in recipes if recipe.hash == hash_), None)


def recipe_named_like(recipe: Recipe, name: str) -> NamedRecipe:
    """Return the recipe of a record, with what the catalog knows about it where it is unchanged there."""
    for entry in RECIPES.values():
        candidate = named_recipe(entry.name, epochs=recipe.epochs)
        if (candidate.name, candidate.recipe) == (name, recipe):
            return candidate
    return NamedRecipe(name, recipe)
