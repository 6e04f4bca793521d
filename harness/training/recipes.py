"""The recipes that come with the program, and those in files of people's own."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.system.errors import ContentError, UsageError, reason
from harness.training.recipe import (
    LATER_DEFAULTS,
    AverageStatistics,
    Initialisation,
    Optimizer,
    Precision,
    Recipe,
    Schedule,
    recipe_document,
    recipe_from,
)
from search_spaces.catalog import PRESETS
from search_spaces.cost import normalised_values
from search_spaces.errors import nearest
from search_spaces.network import Architecture
from search_spaces.task import Task


@dataclass(frozen=True, slots=True)
class NamedRecipe:
    """A recipe with what people must know about it.

    Attributes:
        assumed: fields that the source does not state and that are ours.
        source: where the stated fields come from.
        test_each_epoch: read the test set after every epoch, as the documents did; never set for recipes
            of our own.
    """

    name: str
    recipe: Recipe
    source: str = "ours"
    assumed: tuple[str, ...] = ()
    test_each_epoch: bool = False


_DOCUMENTS = Recipe(
    epochs=20,
    batch_size=128,
    learning_rate=0.04,
    momentum=0.9,
    nesterov=False,
    weight_decay=0.0,
    schedule=Schedule.CONSTANT,
    warmup=0.0,
    augmented_share=0.0,
    rotation_degrees=0.0,
    shift_pixels=0.0,
    scale=0.0,
    shear=0.0,
    average_decay=0.0,
    average_start=0.0,
    initialisation=Initialisation.TORCH,
    precision=Precision.BF16,
)


# What a document may leave open; it says nothing of fields that nobody had when it was written.
_OPEN = tuple(item.name for item in fields(Recipe) if item.name not in LATER_DEFAULTS)


def _document(name: str, stated: dict[str, Any]) -> NamedRecipe:
    assumed = tuple(name for name in _OPEN if name not in stated)
    recipe = replace(_DOCUMENTS, **stated)
    return NamedRecipe(name, recipe, f"source document of {name}", assumed, test_each_epoch=True)


# For networks of some thousand parameters, from two factorials (docs/lab).
_SMALL = Recipe(
    epochs=30,
    batch_size=32,
    schedule=Schedule.COSINE,
    warmup=0.1,
    augmented_share=0.6,
    average_statistics=AverageStatistics.RECOMPUTED,
)

RECIPES: dict[str, NamedRecipe] = {
    entry.name: entry
    for entry in (
        NamedRecipe("fast", Recipe()),
        NamedRecipe("small", _SMALL),
        NamedRecipe("small-bf16", replace(_SMALL, precision=Precision.BF16)),
        NamedRecipe("smoke", Recipe(epochs=1, batch_size=128)),
        NamedRecipe(
            "documents",
            _DOCUMENTS,
            "what the source documents have in common",
            _OPEN,
            test_each_epoch=True,
        ),
        _document(
            "seed1",
            {
                "epochs": 19,
                "batch_size": 128,
                "learning_rate": 0.01,
                "schedule": Schedule.STEP,
                "step_epochs": (10,),
                "step_factor": 0.1,
            },
        ),
        _document("seed2", {"epochs": 20}),
        _document("seed4", {"optimizer": Optimizer.SGD, "learning_rate": 0.04, "batch_size": 128, "epochs": 20}),
    )
}


def named_recipe(text: str, *, epochs: int | None = None) -> NamedRecipe:
    """Return a recipe by its name, or from a TOML file when ``text`` begins with ``@``.

    Args:
        epochs: takes the place of the recipe's own, and shows in the name.

    Raises:
        UsageError: no such name or file.
        ContentError: the file is not a recipe, or a value is out of range.
    """
    if text.startswith("@"):
        entry = NamedRecipe(Path(text[1:]).stem, _read(Path(text[1:])), text[1:])
    elif text in RECIPES:
        entry = RECIPES[text]
    else:
        known = ", ".join(RECIPES)
        # Of a text that can be no file's name it is false.
        hint = f"for the file, write @{text}" if os.path.isfile(text) else nearest(text, RECIPES)
        raise UsageError(f"unknown recipe {text!r}; known are {known}, or @FILE.toml", hint=hint)
    if epochs is None or epochs == entry.recipe.epochs:
        return entry
    changed = recipe_from(recipe_document(entry.recipe) | {"epochs": epochs})
    return NamedRecipe(f"{entry.name}-{epochs}ep", changed, entry.source, entry.assumed, entry.test_each_epoch)


def check_batch(recipe: Recipe, images: int) -> None:
    """Raise ContentError unless a batch fits into so many training images."""
    if recipe.batch_size > images:
        raise ContentError(f"recipe: batch_size is {recipe.batch_size}, but there are only {images} images to train on")


def check_statistics(recipe: Recipe, architecture: Architecture, task: Task) -> None:
    """Raise ContentError where a BN would be given one value a channel in a step, which has no variance."""
    if recipe.batch_size == 1 and 1 in normalised_values(architecture.ops, task.input_shape):
        raise ContentError(
            "recipe: batch_size is 1, and a bn of the network stands where maps are 1x1, so it is given one value a "
            "channel; it needs at least 2",
            hint="batch_size = 2 or more",
        )


def _read(path: Path) -> Recipe:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {reason(error)}") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ContentError(f"{path} is not TOML: {error}") from error
    # What has a name here is written out: a recipe states all that it depends on.
    if isinstance(named := document.get("teacher_recipe"), str):
        document["teacher_recipe"] = recipe_document(named_recipe(named).recipe)
    if isinstance(teacher := document.get("teacher"), str) and teacher in PRESETS:
        document["teacher"] = PRESETS[teacher].text
    return recipe_from(document, str(path))


def recipe_by_hash(hash_: str, epochs: int) -> Recipe | None:
    """Return the recipe of the catalog that has this hash with so many epochs; None where none has."""
    known = (replace(entry.recipe, epochs=epochs) for entry in RECIPES.values())
    return next((recipe for recipe in known if recipe.hash == hash_), None)


def recipe_named_like(recipe: Recipe, name: str) -> NamedRecipe:
    """Return the recipe of a record, with what the catalog knows about it where it is unchanged there."""
    for entry in RECIPES.values():
        known = named_recipe(entry.name, epochs=recipe.epochs)
        if known.recipe == recipe and known.name == name:
            return known
    return NamedRecipe(name, recipe, "a record")
