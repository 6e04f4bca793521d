"""A training recipe as data: all that training does, without the network, the images and the seed."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from harness.system.document import documented
from harness.system.errors import ContentError
from search_spaces.errors import SearchSpaceError, nearest


class Optimizer(StrEnum):
    """Optimizers; ``momentum`` is SGD's momentum and Adam's first beta."""

    SGD = "sgd"
    ADAM = "adam"


class Schedule(StrEnum):
    """How the learning rate moves.

    After the warm-up ``linear`` falls in a line and ``cosine`` along half a wave (Loshchilov and Hutter, arXiv
    1608.03983), both to ``final_rate``; ``constant`` stays, ``step`` is multiplied by ``step_factor`` after each epoch
    named in ``step_epochs``.
    """

    LINEAR = "linear"
    CONSTANT = "constant"
    STEP = "step"
    COSINE = "cosine"


class Initialisation(StrEnum):
    """First weights: torch's own, or normal ones scaled by fan-in (He et al., arXiv 1502.01852).

    ``dirac`` is ``kaiming`` but for convolutions with as many outputs as inputs, which begin by handing their input on
    (Zagoruyko and Komodakis, arXiv 1706.00388).
    """

    TORCH = "torch"
    KAIMING = "kaiming"
    DIRAC = "dirac"


class AverageStatistics(StrEnum):
    """BN statistics of averaged weights: averaged like the weights, or recomputed for them from training images."""

    AVERAGED = "averaged"
    RECOMPUTED = "recomputed"


class Precision(StrEnum):
    """Number format of convolutions and linear layers; weights, BN and the loss are always fp32."""

    FP32 = "fp32"
    BF16 = "bf16"


# Marks a field that came after the first records: at its default it is no part of documents and hashes.
_LATER = {"later": True}


def _number(default: float, low: float, high: float, *, later: bool = False) -> Any:
    """Return a field for a number from ``low`` to ``high``."""
    return field(default=default, metadata={"limits": (low, high), "later": later})


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training recipe.

    Attributes:
        epochs: passes over the training images; the last incomplete batch of a pass is dropped.
        batch_size: images a step.
        optimizer: which optimizer; SGD's momentum is Nesterov's where ``nesterov`` is set.
        learning_rate: the highest rate of the schedule.
        momentum: SGD's momentum, Adam's first beta.
        nesterov: Nesterov's form of SGD's momentum.
        weight_decay: L2 coefficient on kernels and matrices; ``decay_all`` says whether on all else too.
        schedule: form of the learning rate over the steps.
        warmup: share of all steps over which the rate climbs from a tenth, 0 to 1.
        step_epochs: epochs after which a ``step`` schedule multiplies the rate.
        step_factor: that factor.
        label_smoothing: share of the target spread over all classes, 0 to 1.
        augmented_share: probability that an image is moved at all, 0 to 1.
        rotation_degrees: largest rotation.
        shift_pixels: largest shift along each axis.
        scale: largest relative change of each axis.
        shear: largest shear, as a slope.
        average_decay: decay a step of the exponential average of all weights and BN statistics; 0 is off.
        average_start: share of the steps after which averaging begins.
        initialisation: first weights.
        precision: of what is multiplied in convolutions and, by torch, in linear layers; sums are of fp32.
        final_rate: where ``linear`` and ``cosine`` end, as a share of the highest rate, 0 to 1.
        teacher: text of a network whose softened answers are learnt beside the labels; empty for none.
        teacher_recipe: what the teacher is trained by.
        teacher_seeds: number of teachers, each from a seed of its own; their answers are averaged.
        distill_weight: share of the loss that the teachers' answers have, 0 to 1.
        distill_temperature: what logits are divided by before answers are compared.
        average_statistics: BN statistics of the averaged weights.
        zero_head: begin with a last layer of zeros, where that one ends the network and its kernel is its own.
        augmentation_off_share: share of the epochs, the last ones, in which no image is moved, 0 to 1; rounded to whole
            epochs.
        decay_all: ``weight_decay`` holds for scales, shifts, biases and slopes too, as in torch's optimizers.
    """

    epochs: int = _number(15, 1, 100_000)
    batch_size: int = _number(64, 1, 10_000)
    optimizer: Optimizer = Optimizer.SGD
    learning_rate: float = _number(0.1, 1e-12, 1e3)
    momentum: float = _number(0.9, 0, 0.9999)
    nesterov: bool = True
    weight_decay: float = _number(1e-4, 0, 1)
    schedule: Schedule = Schedule.LINEAR
    warmup: float = _number(0.2, 0, 1)
    step_epochs: tuple[int, ...] = ()
    step_factor: float = _number(0.1, 0, 1)
    label_smoothing: float = _number(0.0, 0, 1)
    augmented_share: float = _number(0.7, 0, 1)
    rotation_degrees: float = _number(10.0, 0, 180)
    shift_pixels: float = _number(2.0, 0, 14)
    scale: float = _number(0.1, 0, 0.9)
    shear: float = _number(0.1, 0, 2)
    average_decay: float = _number(0.998, 0, 0.99999)
    average_start: float = _number(0.1, 0, 1)
    initialisation: Initialisation = Initialisation.KAIMING
    precision: Precision = Precision.FP32
    final_rate: float = _number(0.0, 0, 1, later=True)
    teacher: str = field(default="", metadata=_LATER)
    teacher_recipe: Recipe | None = field(default=None, metadata=_LATER)
    teacher_seeds: int = _number(1, 1, 100, later=True)
    distill_weight: float = _number(0.5, 0, 1, later=True)
    distill_temperature: float = _number(4.0, 0.1, 100, later=True)
    average_statistics: AverageStatistics = field(default=AverageStatistics.AVERAGED, metadata=_LATER)
    zero_head: bool = field(default=False, metadata=_LATER)
    augmentation_off_share: float = _number(0.0, 0, 1, later=True)
    decay_all: bool = field(default=False, metadata=_LATER)

    def __post_init__(self) -> None:
        """Make whole numbers floats where floats are meant: equal recipes hash alike. Refuse what cannot train."""
        for item in fields(self):
            if item.type == "float":
                object.__setattr__(self, item.name, float(getattr(self, item.name)))
            if limits := item.metadata.get("limits"):
                _check(item.name, getattr(self, item.name), *limits)
        if self.augmentation_off_share and self.augmented_share == 0:
            raise ContentError("recipe: augmentation_off_share ends an augmentation, but augmented_share is 0")
        if self.decay_all and self.weight_decay == 0:
            raise ContentError("recipe: decay_all says what weight_decay holds for, but weight_decay is 0")
        if self.average_statistics is AverageStatistics.RECOMPUTED and self.average_decay == 0:
            raise ContentError("recipe: average_statistics are of an average, but average_decay is 0")
        _check_teacher(self)
        object.__setattr__(self, "teacher", _canonical(self.teacher))
        if self.nesterov and self.optimizer is Optimizer.SGD and self.momentum == 0:
            raise ContentError("recipe: nesterov needs a momentum above 0, but momentum is 0")
        if self.step_epochs and self.schedule is not Schedule.STEP:
            raise ContentError(f"recipe: step_epochs belong to schedule 'step', but schedule is '{self.schedule}'")
        if self.final_rate and self.schedule not in (Schedule.LINEAR, Schedule.COSINE):
            raise ContentError(
                f"recipe: final_rate belongs to schedules 'linear' and 'cosine', but schedule is '{self.schedule}'"
            )

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of its document as canonical JSON."""
        text = json.dumps(recipe_document(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


# Fields that came after the first records, with their defaults.
LATER_DEFAULTS = {item.name: item.default for item in fields(Recipe) if item.metadata.get("later")}


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """Return the fields as plain JSON values.

    Fields that came after the first records are left out at their defaults, so documents and hashes stay what they were
    when there were no such fields.
    """
    values = {item.name: getattr(recipe, item.name) for item in fields(Recipe)}
    if recipe.teacher_recipe is not None:
        values["teacher_recipe"] = recipe_document(recipe.teacher_recipe)
    # No value of a field equals this, so fields of the first records are always stated.
    early = object()
    return {name: value for name, value in values.items() if value != LATER_DEFAULTS.get(name, early)}


def first_averaged_step(recipe: Recipe, steps_per_epoch: int) -> int:
    """Return the step, counted from 1, after which averaging begins; 0 where it begins at once."""
    return math.ceil(recipe.average_start * steps_per_epoch * recipe.epochs)


def decay_of(recipe: Recipe, *, kernel: bool) -> float:
    """Return the L2 coefficient of kernels and matrices, or that of scales, shifts, biases and slopes."""
    return recipe.weight_decay if kernel or recipe.decay_all else 0.0


def recipe_of_epoch(recipe: Recipe, epoch: int) -> Recipe:
    """Return the recipe as it holds in an epoch, counted from 0: without moves where the augmentation has ended."""
    if epoch < recipe.epochs - math.floor(recipe.augmentation_off_share * recipe.epochs + 0.5):
        return recipe
    return replace(recipe, augmented_share=0.0, augmentation_off_share=0.0)


def recipe_from(document: dict[str, Any], where: str = "recipe") -> Recipe:
    """Return the recipe that a JSON or TOML table states; fields left out take their defaults.

    Raises:
        ContentError: an unknown field or a value of the wrong kind; ``where`` begins the message.
    """
    kinds = {item.name: str(item.type) for item in fields(Recipe)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in kinds:
            hint = nearest(name, kinds)
            raise ContentError(f"{where}: unknown field {name!r}; known are {', '.join(kinds)}", hint=hint)
        values[name] = _converted(where, name, kinds[name], value)
    return Recipe(**values)


_MOST = int(sys.float_info.max)
_WORDS: dict[str, type[StrEnum]] = {
    kind.__name__: kind for kind in (Optimizer, Schedule, Initialisation, Precision, AverageStatistics)
}


def _converted(where: str, name: str, kind: str, value: Any) -> Any:
    if kind in _WORDS:
        if value in list(_WORDS[kind]):
            return _WORDS[kind](value)
        raise ContentError(f"{where}: {name} is {value!r}; allowed are {', '.join(_WORDS[kind])}")
    if kind == "Recipe | None" and (value is None or isinstance(value, dict)):
        return None if value is None else recipe_from(value, f"{where}, {name}")
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        # A whole number may be larger than any float; the range of the field refuses both.
        return value if isinstance(value, float) else float(max(-_MOST, min(value, _MOST)))
    if kind.startswith("tuple") and isinstance(value, list | tuple) and all(type(item) is int for item in value):
        return tuple(value)
    wanted = {"Recipe | None": "a table of a recipe's fields", "tuple[int, ...]": "a list of whole numbers"}
    raise ContentError(f"{where}: {name} is {value!r}, but must be {wanted.get(kind, f'of type {kind}')}")


def _check_teacher(recipe: Recipe) -> None:
    if recipe.teacher and recipe.teacher_recipe is None:
        raise ContentError("recipe: a teacher needs a teacher_recipe, but there is none")
    if recipe.teacher_recipe is not None and recipe.teacher_recipe.teacher:
        raise ContentError("recipe: the teacher_recipe names a teacher of its own, but only students have one")
    for name in ("teacher_recipe", "teacher_seeds", "distill_weight", "distill_temperature"):
        if not recipe.teacher and getattr(recipe, name) != LATER_DEFAULTS[name]:
            raise ContentError(f"recipe: {name} belongs to a teacher, but teacher is empty")


def _canonical(network: str) -> str:
    """Return a network's canonical text without its bars, so that equal teachers hash alike; empty for empty."""
    if not network:
        return ""
    # Imported here: few recipes have a teacher, and reading a network loads the grammar.
    from search_spaces.architecture import Architecture
    from search_spaces.language.notation import parse_network

    try:
        return str(Architecture(parse_network(network).ops))
    except SearchSpaceError as error:
        raise ContentError(f"recipe: the teacher is no network: {error.message}", hint=error.hint) from error


def _check(name: str, value: float, low: float, high: float) -> None:
    # The comparison is false for NaN too.
    if not low <= value <= high:
        raise ContentError(f"recipe: {name} is {value}, but must be from {low:g} to {high:g}")
