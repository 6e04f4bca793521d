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
from harness.system.errors import ContentError
from harness.training.recipe import (
    AverageStatistics,
    Initialisation,
    Optimizer,
    Precision,
    Recipe,
    Schedule,
    recipe_document,
    recipe_from,
    recipe_of_epoch,
)


def shares() -> st.SearchStrategy[float]:
    return st.floats(0, 1)


RECIPES = st.builds(
    Recipe,
    epochs=st.integers(1, 1000),
    batch_size=st.integers(1, 10_000),
    optimizer=st.sampled_from(Optimizer),
    learning_rate=st.floats(1e-6, 10),
    momentum=st.floats(0.01, 0.99),
    nesterov=st.booleans(),
    weight_decay=shares(),
    schedule=st.just(Schedule.STEP),
    warmup=shares(),
    step_epochs=st.lists(st.integers(1, 100), max_size=3).map(tuple),
    step_factor=shares(),
    label_smoothing=shares(),
    augmented_share=shares(),
    rotation_degrees=st.floats(0, 180),
    initialisation=st.sampled_from(Initialisation),
    precision=st.sampled_from(Precision),
)
# The fields of the first records, in their order: their hashes are on file.
FIRST_FIELDS = [
    *("epochs", "batch_size", "optimizer", "learning_rate", "momentum", "nesterov", "weight_decay", "schedule"),
    *("warmup", "step_epochs", "step_factor", "label_smoothing", "augmented_share", "rotation_degrees"),
    *("shift_pixels", "scale", "shear", "average_decay", "average_start", "initialisation", "precision"),
]
LATER_FIELDS = [item.name for item in fields(Recipe) if item.name not in FIRST_FIELDS]


@given(recipe=RECIPES)
def test_a_recipe_comes_back_from_json(recipe: Recipe):
    again = recipe_from(json.loads(json.dumps(asdict(recipe))))

    assert again == recipe
    assert again.hash == recipe.hash


def test_fields_left_out_take_their_defaults():
    assert recipe_from({}) == Recipe()
    assert recipe_from({"epochs": 3, "schedule": "constant"}) == Recipe(epochs=3, schedule=Schedule.CONSTANT)


def test_whole_numbers_stand_for_fractions():
    recipe = recipe_from({"learning_rate": 1, "scale": 0})

    assert recipe == Recipe(learning_rate=1.0, scale=0.0)
    assert recipe.hash == Recipe(learning_rate=1.0, scale=0.0).hash


def test_the_hash_is_of_the_fields_as_sorted_json_without_spaces():
    values = {name: getattr(Recipe(), name) for name in FIRST_FIELDS}
    parts = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, bool):
            shown = str(value).lower()
        elif isinstance(value, str):
            shown = f'"{value}"'
        else:
            shown = "[]" if value == () else repr(value)
        parts.append(f'"{name}":{shown}')

    assert Recipe().hash == hashlib.sha256(("{" + ",".join(parts) + "}").encode()).hexdigest()[:12]


@pytest.mark.parametrize("name", FIRST_FIELDS)
def test_every_field_of_the_first_records_is_in_the_hash(name: str):
    base = Recipe(schedule=Schedule.STEP)
    others: dict[str, Any] = {
        "optimizer": Optimizer.ADAM,
        "nesterov": False,
        "schedule": Schedule.LINEAR,
        "step_epochs": (4,),
        "initialisation": Initialisation.TORCH,
        "precision": Precision.BF16,
    }
    value = others[name] if name in others else getattr(base, name) / 2 + 0.03
    changed = replace(base, **{name: round(value) + 1 if name in ("epochs", "batch_size") else value})

    assert getattr(changed, name) != getattr(base, name)
    assert changed.hash != base.hash


LATER_CHANGES: dict[str, Any] = {
    "final_rate": 0.1,
    "teacher": "conv3x3(8) gap linear(10)",
    "teacher_recipe": Recipe(epochs=3),
    "teacher_seeds": 2,
    "distill_weight": 0.7,
    "distill_temperature": 2.0,
    "average_statistics": AverageStatistics.RECOMPUTED,
    "augmentation_off_share": 0.25,
    "zero_head": True,
    "decay_all": True,
}
# Fields that need others beside them.
TOGETHER = dict.fromkeys(("teacher", "teacher_recipe", "teacher_seeds", "distill_weight", "distill_temperature"))


@pytest.mark.parametrize("name", LATER_FIELDS)
def test_a_later_field_is_in_hash_and_document_unless_it_has_its_default(name: str):
    least: dict[str, Any] = {"teacher": "gap linear(10)", "teacher_recipe": Recipe()} if name in TOGETHER else {}
    base, changed = Recipe(**least), Recipe(**least | {name: LATER_CHANGES[name]})

    assert list(recipe_document(base)) == FIRST_FIELDS + list(least)
    assert set(recipe_document(changed)) == {*FIRST_FIELDS, *least, name}
    assert changed.hash != base.hash
    text = json.dumps(recipe_document(changed))
    assert recipe_from(json.loads(text)) == changed
    assert read_as(Recipe, text, "a recipe") == changed


@pytest.mark.parametrize(
    ("share", "epochs", "moved"),
    [(0.0, 4, 4), (0.25, 4, 3), (0.1, 15, 13), (0.5, 5, 2), (0.3, 1, 1), (0.5, 1, 0), (1.0, 3, 0)],
)
def test_the_last_share_of_the_epochs_is_without_moves(share: float, epochs: int, moved: int):
    recipe = Recipe(epochs=epochs, augmentation_off_share=share)

    shares = [recipe_of_epoch(recipe, epoch).augmented_share for epoch in range(epochs)]

    assert shares == [0.7] * moved + [0.0] * (epochs - moved)


def test_equal_teachers_hash_alike_however_they_are_written():
    written = "conv3x3(8, pad=1)  bn relu | gap |\n linear(10)  # small"
    recipe = Recipe(teacher=written, teacher_recipe=Recipe())

    assert recipe.teacher == "conv3x3(8) bn relu gap linear(10)"
    assert recipe.hash == Recipe(teacher=recipe.teacher, teacher_recipe=Recipe()).hash


def test_the_hashes_of_committed_records_stay():
    paths = sorted((Path(__file__).resolve().parents[3] / "records").glob("*-*.json"))

    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    assert len(documents) >= 7
    for document in documents:
        assert recipe_from(document["recipe"]).hash == document["recipe_hash"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"epoch": 3}, "here: unknown field 'epoch'; known are epochs, batch_size, optimizer, learning_rate, "),
        ({"optimizer": "lion"}, "here: optimizer is 'lion'; allowed are sgd, adam"),
        ({"schedule": "sine"}, "here: schedule is 'sine'; allowed are linear, constant, step, cosine"),
        ({"initialisation": 1}, "here: initialisation is 1; allowed are torch, kaiming, dirac"),
        ({"precision": "fp16"}, "here: precision is 'fp16'; allowed are fp32, bf16"),
        ({"epochs": 2.5}, "here: epochs is 2.5, but must be of type int"),
        ({"epochs": True}, "here: epochs is True, but must be of type int"),
        ({"epochs": "3"}, "here: epochs is '3', but must be of type int"),
        ({"momentum": "much"}, "here: momentum is 'much', but must be of type float"),
        ({"learning_rate": 1e308}, "recipe: learning_rate is 1e+308, but must be from 1e-12 to 1000"),
        ({"learning_rate": 10**400}, "recipe: learning_rate is 1.7976931348623157e+308, but must be from"),
        ({"learning_rate": -math.inf}, "recipe: learning_rate is -inf, but must be from 1e-12 to 1000"),
        ({"learning_rate": math.nan}, "recipe: learning_rate is nan, but must be from 1e-12 to 1000"),
        ({"momentum": False}, "here: momentum is False, but must be of type float"),
        ({"zero_head": 1}, "here: zero_head is 1, but must be of type bool"),
        ({"nesterov": 1}, "here: nesterov is 1, but must be of type bool"),
        ({"step_epochs": 3}, "here: step_epochs is 3, but must be a list of whole numbers"),
        ({"step_epochs": [3, 4.5]}, "here: step_epochs is [3, 4.5], but must be a list of whole numbers"),
        ({"average_statistics": "new"}, "here: average_statistics is 'new'; allowed are averaged, recomputed"),
        ({"teacher": 3}, "here: teacher is 3, but must be of type str"),
        ({"teacher_recipe": 3}, "here: teacher_recipe is 3, but must be a table of a recipe's fields"),
        ({"teacher_recipe": {"epoch": 3}}, "here, teacher_recipe: unknown field 'epoch'; known are epochs,"),
        ({"step_epochs": [True]}, "here: step_epochs is [True], but must be a list of whole numbers"),
    ],
)
def test_a_document_that_is_no_recipe_is_refused(document: dict[str, Any], message: str):
    with pytest.raises(ContentError) as caught:
        recipe_from(document, "here")

    assert caught.value.message.startswith(message)


def test_an_unknown_field_gets_the_nearest_known_one_as_a_hint():
    with pytest.raises(ContentError) as caught:
        recipe_from({"learning_rat": 0.1})

    assert caught.value.hint == "did you mean 'learning_rate'?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "recipe: epochs is 0, but must be from 1 to 100000"),
        ({"batch_size": 0}, "recipe: batch_size is 0, but must be from 1 to 10000"),
        ({"learning_rate": 0.0}, "recipe: learning_rate is 0.0, but must be from 1e-12 to 1000"),
        ({"learning_rate": math.nan}, "recipe: learning_rate is nan, but must be from 1e-12 to 1000"),
        ({"momentum": 1.0}, "recipe: momentum is 1.0, but must be from 0 to 0.9999"),
        ({"weight_decay": -0.1}, "recipe: weight_decay is -0.1, but must be from 0 to 1"),
        ({"warmup": 1.1}, "recipe: warmup is 1.1, but must be from 0 to 1"),
        ({"label_smoothing": -1.0}, "recipe: label_smoothing is -1.0, but must be from 0 to 1"),
        ({"augmented_share": 2.0}, "recipe: augmented_share is 2.0, but must be from 0 to 1"),
        ({"average_start": 1.5}, "recipe: average_start is 1.5, but must be from 0 to 1"),
        ({"step_factor": 2.0}, "recipe: step_factor is 2.0, but must be from 0 to 1"),
        ({"rotation_degrees": 181.0}, "recipe: rotation_degrees is 181.0, but must be from 0 to 180"),
        ({"shift_pixels": 15.0}, "recipe: shift_pixels is 15.0, but must be from 0 to 14"),
        ({"scale": 1.0}, "recipe: scale is 1.0, but must be from 0 to 0.9"),
        ({"shear": math.inf}, "recipe: shear is inf, but must be from 0 to 2"),
        ({"average_decay": 1.0}, "recipe: average_decay is 1.0, but must be from 0 to 0.99999"),
        ({"momentum": 0.0}, "recipe: nesterov needs a momentum above 0, but momentum is 0"),
        (
            {"teacher": "gap linear(9)", "teacher_recipe": Recipe()},
            "recipe: the teacher is no network: the network ends in 9; it must end in 10 values, one for each class "
            "(for example 'gap linear(10)' or 'conv1x1(10) gap')",
        ),
        ({"teacher": "gap linear(10)"}, "recipe: a teacher needs a teacher_recipe, but there is none"),
        ({"teacher_recipe": Recipe()}, "recipe: teacher_recipe belongs to a teacher, but teacher is empty"),
        ({"teacher_seeds": 2}, "recipe: teacher_seeds belongs to a teacher, but teacher is empty"),
        ({"distill_weight": 0.6}, "recipe: distill_weight belongs to a teacher, but teacher is empty"),
        ({"distill_temperature": 2.0}, "recipe: distill_temperature belongs to a teacher, but teacher is empty"),
        (
            {
                "teacher": "gap linear(10)",
                "teacher_recipe": Recipe(teacher="gap linear(10)", teacher_recipe=Recipe()),
            },
            "recipe: the teacher_recipe names a teacher of its own, but only students have one",
        ),
        (
            {"average_statistics": AverageStatistics.RECOMPUTED, "average_decay": 0.0},
            "recipe: average_statistics are of an average, but average_decay is 0",
        ),
        (
            {"decay_all": True, "weight_decay": 0.0},
            "recipe: decay_all says what weight_decay holds for, but weight_decay is 0",
        ),
        ({"augmentation_off_share": 1.1}, "recipe: augmentation_off_share is 1.1, but must be from 0 to 1"),
        (
            {"augmentation_off_share": 0.1, "augmented_share": 0.0},
            "recipe: augmentation_off_share ends an augmentation, but augmented_share is 0",
        ),
        ({"teacher_seeds": 0}, "recipe: teacher_seeds is 0, but must be from 1 to 100"),
        ({"distill_weight": 1.5}, "recipe: distill_weight is 1.5, but must be from 0 to 1"),
        ({"distill_temperature": 0.0}, "recipe: distill_temperature is 0.0, but must be from 0.1 to 100"),
        ({"final_rate": 1.5}, "recipe: final_rate is 1.5, but must be from 0 to 1"),
        (
            {"final_rate": 0.1, "schedule": Schedule.CONSTANT},
            "recipe: final_rate belongs to schedules 'linear' and 'cosine', but schedule is 'constant'",
        ),
        (
            {"step_epochs": (3,)},
            "recipe: step_epochs belong to schedule 'step', but schedule is 'linear'",
        ),
    ],
)
def test_values_that_cannot_train_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ContentError) as caught:
        Recipe(**changes)

    assert caught.value.message == message


def test_adam_may_have_no_momentum():
    assert Recipe(optimizer=Optimizer.ADAM, momentum=0.0).momentum == 0
