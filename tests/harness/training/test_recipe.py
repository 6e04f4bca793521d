"""Recipes: documents, hashes, later fields, errors, the catalog and recipe files."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system.document import read_as
from harness.system.errors import ContentError, UsageError
from harness.training.recipe import _LATER_DEFAULTS, RECIPES, Recipe, named_recipe, recipe_from, recipe_named_like
from tests.conftest import REPOSITORY


def shares() -> st.SearchStrategy[float]:
    return st.floats(0, 1)


RANDOM_RECIPES = st.builds(
    Recipe, epochs=st.integers(1, 1000), batch_size=st.integers(1, 10_000),
    optimizer=st.sampled_from(("sgd", "adam")), learning_rate=st.floats(1e-6, 10), momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(), weight_decay=shares(), schedule=st.just("step"), warmup=shares(),
    step_epochs=st.lists(st.integers(1, 100), max_size=3).map(tuple), step_factor=shares(), label_smoothing=shares(),
    augmented_share=shares(), rotation_degrees=st.floats(0, 180),
    initialisation=st.sampled_from(("torch", "kaiming", "dirac")), precision=st.sampled_from(("fp32", "bf16")),
)  # fmt: skip
# The fields of the first records in order; records contain hashes of these fields.
FIRST_FIELDS = [
    *("epochs", "batch_size", "optimizer", "learning_rate", "momentum", "nesterov", "weight_decay", "schedule"),
    *("warmup", "step_epochs", "step_factor", "label_smoothing", "augmented_share", "rotation_degrees"),
    *("shift_pixels", "scale", "shear", "average_decay", "average_start", "initialisation", "precision"),
]
LATER_FIELDS = [item.name for item in fields(Recipe) if item.name not in FIRST_FIELDS]


@given(recipe=RANDOM_RECIPES)
def test_recipe_is_restored_from_json(recipe: Recipe):
    restored = recipe_from(json.loads(json.dumps(asdict(recipe))))
    assert restored == recipe
    assert restored.hash == recipe.hash


def test_recipe_from_uses_defaults_for_missing_fields():
    assert recipe_from({}) == Recipe()
    assert recipe_from({"epochs": 3, "schedule": "constant"}) == Recipe(epochs=3, schedule="constant")


def test_recipe_from_converts_integers_to_floats():
    recipe = recipe_from({"learning_rate": 1, "scale": 0})
    assert recipe == Recipe(learning_rate=1.0, scale=0.0)
    assert recipe.hash == Recipe(learning_rate=1.0, scale=0.0).hash


def test_hash_is_digest_of_fields_as_sorted_json_without_spaces():
    values = {name: getattr(Recipe(), name) for name in FIRST_FIELDS}
    parts = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, str):
            text = f'"{value}"'
        else:
            text = "[]" if value == () else repr(value)
        parts.append(f'"{name}":{text}')

    assert Recipe().hash == hashlib.sha256(("{" + ",".join(parts) + "}").encode()).hexdigest()[:12]


LATER_CHANGES: dict[str, Any] = {
    "average_statistics": "recomputed",
    "decay_all": True,
    "trainer": "mine:train",
    "trainer_sha256": "0" * 64,
    "starts": 4,
    "start_epochs": 3,
    "weight_bits": 5,
}


@pytest.mark.parametrize("name", LATER_FIELDS)
def test_hash_and_document_omit_later_fields_with_defaults(name: str):
    prerequisites: dict[str, Any] = {"trainer": "mine:train"} if name == "trainer_sha256" else {}
    prerequisites |= {"starts": 4} if name == "start_epochs" else {}
    prerequisites |= {"precision": "int8"} if name == "weight_bits" else {}
    base, changed = Recipe(**prerequisites), Recipe(**prerequisites | {name: LATER_CHANGES[name]})
    assert list(base.document) == list(dict.fromkeys([*FIRST_FIELDS, *prerequisites]))
    assert set(changed.document) == {*FIRST_FIELDS, *prerequisites, name}
    assert changed.hash != base.hash
    text = json.dumps(changed.document)
    assert recipe_from(json.loads(text)) == changed
    assert read_as(Recipe, text, "a recipe") == changed


def test_recipes_of_committed_records_have_recorded_hashes():
    paths = sorted((REPOSITORY / "records").glob("*-*.json"))
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    assert len(documents) >= 7
    for document in documents:
        assert recipe_from(document["recipe"]).hash == document["recipe_hash"]


@pytest.mark.parametrize(
    ("document", "fact"),
    [
        ({"epoch": 3}, "epoch"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"epochs": 2.5}, "epochs"),
        ({"epochs": "3"}, "epochs"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 10**400}, "more than 64 digits"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"warmup": 1.1}, "warmup"),
        ({"step_epochs": [3, 4.5]}, "step_epochs.1"),
        ({"teacher": "gap linear(10)"}, "teacher"),
        # Values that are valid alone, but not in combination.
        ({"momentum": 0.0}, "nesterov"),
        ({"average_statistics": "recomputed", "average_decay": 0.0}, "average_decay"),
        ({"decay_all": True, "weight_decay": 0.0}, "weight_decay"),
        # Fields of earlier versions.
        ({"augmentation_off_share": 0.1}, "augmentation_off_share"),
        ({"final_rate": 0.1}, "final_rate"),
        ({"zero_head": True}, "zero_head"),
        ({"step_epochs": [3]}, "step_epochs"),
        ({"start_epochs": 3}, "start_epochs"),
        ({"starts": 2, "trainer": "mine:train"}, "start"),
        ({"weight_bits": 5}, "precision"),
        ({"weight_bits": 5, "precision": "int8", "trainer": "mine:train"}, "trainer"),
        ({"weight_bits": 9, "precision": "int8"}, "weight_bits"),
    ],
)
def test_recipe_from_refuses_invalid_document_in_one_line(document: dict[str, Any], fact: str):
    with pytest.raises(ContentError) as error:
        recipe_from(document, "here")
    assert error.value.message.startswith("here: ")
    assert fact in error.value.message
    assert "\n" not in error.value.message
    has_unknown_key = bool({"teacher", "zero_head"} & document.keys())
    assert has_unknown_key == str(error.value.hint).startswith("known keys: epochs, batch_size")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Records contain these hashes: a changed recipe needs a new name.
        ("fast", "d0a55561f5cb"),
        ("small", "f90e28aa4554"),
        ("small-bf16", "ea2882bef520"),
        ("small-int8", "9fe73e92e3a1"),
        ("small-int5", "693730b856c2"),
        ("small-starts", "388d46d30bfb"),
        ("small-int8-starts", "c2998139c354"),
        ("smoke", "4dc26c6ab5a8"),
        ("documents", "96057bbcfd61"),
        ("seed1", "d8b2b7279abf"),
        ("seed2", "96057bbcfd61"),
        ("seed4", "96057bbcfd61"),
    ],
)
def test_named_recipes_have_hashes_of_records(name: str, expected: str):
    assert named_recipe(name).recipe.hash == expected


def test_recipes_of_documents_have_stated_values(seed_documents: dict[str, Any]):
    recipes = {network["name"]: network["recipe"] for network in seed_documents["networks"]}
    claims = {network["name"]: network["claim"] for network in seed_documents["networks"]}

    for name in ("seed1", "seed2", "seed4"):
        recipe = RECIPES[name].recipe
        assert recipe.epochs == claims[name]["epochs"]
        assert recipe.batch_size == recipes[name].get("batch_size", recipe.batch_size)
        assert recipe.learning_rate == recipes[name].get("lr", recipe.learning_rate)
        fields_of_document = {"epochs", *({"batch_size", "learning_rate"} if "lr" in recipes[name] else ())}
        assert fields_of_document.isdisjoint(RECIPES[name].assumed_fields)
    assert RECIPES["seed4"].recipe.optimizer == "sgd"
    # The document states a rate of 0.01 for epochs 1 to 10, and 0.001 from epoch 11 on.
    first = RECIPES["seed1"].recipe
    assert (first.schedule, first.step_epochs, first.step_factor) == ("step", (10,), 0.1)


def test_recipes_of_documents_mark_unstated_fields_as_assumed():
    # No document states fields that were added after the first records.
    names = {item.name for item in fields(Recipe)} - set(_LATER_DEFAULTS)
    assert len(names) == 21
    assert set(RECIPES["documents"].assumed_fields) == names
    assert names - set(RECIPES["seed4"].assumed_fields) == {"epochs", "batch_size", "optimizer", "learning_rate"}
    assert names - set(RECIPES["seed2"].assumed_fields) == {"epochs"}
    assert RECIPES["fast"].assumed_fields == ()


def test_named_recipe_with_other_epochs_has_epochs_in_name():
    entry = named_recipe("seed1", epochs=3)
    assert entry.name == "seed1-3ep"
    assert entry.recipe == replace(RECIPES["seed1"].recipe, epochs=3)
    assert entry.test_each_epoch
    assert entry.assumed_fields == RECIPES["seed1"].assumed_fields


def test_named_recipe_reads_file_and_has_name_of_file(tmp_path: Path):
    path = tmp_path / "gentle.toml"
    path.write_text('learning_rate = 0.02\nschedule = "step"\nstep_epochs = [2, 4]\n', encoding="utf-8-sig")
    entry = named_recipe(f"@{path}")
    assert entry.name == "gentle"
    assert entry.recipe == Recipe(learning_rate=0.02, schedule="step", step_epochs=(2, 4))
    assert not entry.test_each_epoch


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, UsageError),
        (b"\xff\xfe", UsageError),
        (b"epochs = = 3", ContentError),
        (b"epochs = 0", ContentError),
        (b"epochs = " + 5000 * b"1", ContentError),
    ],
)
def test_named_recipe_refuses_invalid_file(content: bytes | None, error: type[Exception], tmp_path: Path):
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(error):
        named_recipe(f"@{tmp_path / 'mine.toml'}")


def test_recipe_named_like_returns_catalog_entry_of_unchanged_recipe():
    assert recipe_named_like(Recipe(), "fast") is RECIPES["fast"]
    # The recipes of three documents are equal, so the name decides.
    assert recipe_named_like(RECIPES["seed4"].recipe, "seed4") is RECIPES["seed4"]
    assert recipe_named_like(RECIPES["seed4"].recipe, "seed2") is RECIPES["seed2"]

    # A recipe of seed4 with 3 epochs equals '--recipe seed4 --epochs 3', which reads the test set after each epoch.
    shorter = recipe_named_like(replace(RECIPES["seed4"].recipe, epochs=3), "seed4-3ep")
    assert shorter == named_recipe("seed4", epochs=3)
    assert shorter.test_each_epoch

    changed = recipe_named_like(replace(Recipe(), epochs=16), "fast")

    assert changed.recipe.epochs == 16
    assert (changed.name, changed.test_each_epoch) == ("fast", False)
