from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.system.errors import ContentError, UsageError
from harness.training.recipe import LATER_DEFAULTS, Optimizer, Recipe, Schedule
from harness.training.recipes import RECIPES, check_statistics, named_recipe, recipe_named_like
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network
from search_spaces.task import MNIST


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Records name these hashes: a change here is another recipe and needs another name.
        ("fast", "d0a55561f5cb"),
        ("small", "f90e28aa4554"),
        ("small-bf16", "ea2882bef520"),
        ("smoke", "4dc26c6ab5a8"),
        ("documents", "96057bbcfd61"),
        ("seed1", "d8b2b7279abf"),
        ("seed2", "96057bbcfd61"),
        ("seed4", "96057bbcfd61"),
    ],
)
def test_the_recipes_of_records_do_not_change(name: str, expected: str):
    assert named_recipe(name).recipe.hash == expected


def test_every_recipe_is_pinned_here():
    assert list(RECIPES) == ["fast", "small", "small-bf16", "smoke", "documents", "seed1", "seed2", "seed4"]
    assert all(entry.name == name for name, entry in RECIPES.items())


def test_the_test_set_is_read_each_epoch_for_documents_only():
    assert [name for name, entry in RECIPES.items() if entry.test_each_epoch] == [
        "documents",
        "seed1",
        "seed2",
        "seed4",
    ]


def test_recipes_of_documents_state_what_the_documents_state(seed_documents: dict[str, Any]):
    stated = {network["name"]: network["recipe"] for network in seed_documents["networks"]}
    claims = {network["name"]: network["claim"] for network in seed_documents["networks"]}

    for name in ("seed1", "seed2", "seed4"):
        recipe = RECIPES[name].recipe
        assert recipe.epochs == claims[name]["epochs"]
        assert recipe.batch_size == stated[name].get("batch_size", recipe.batch_size)
        assert recipe.learning_rate == stated[name].get("lr", recipe.learning_rate)
        given = {"epochs", *({"batch_size", "learning_rate"} if "lr" in stated[name] else ())}
        assert given.isdisjoint(RECIPES[name].assumed)
    assert RECIPES["seed4"].recipe.optimizer is Optimizer.SGD
    # 0.01 for epochs 1 to 10, 0.001 from epoch 11 on.
    first = RECIPES["seed1"].recipe
    assert (first.schedule, first.step_epochs, first.step_factor) == (Schedule.STEP, (10,), 0.1)


def test_what_a_document_leaves_open_is_marked_as_assumed():
    # Fields that came after the first records are none that a document could have stated.
    names = {item.name for item in fields(Recipe)} - set(LATER_DEFAULTS)
    assert len(names) == 21
    assert set(RECIPES["documents"].assumed) == names
    assert names - set(RECIPES["seed4"].assumed) == {"epochs", "batch_size", "optimizer", "learning_rate"}
    assert names - set(RECIPES["seed2"].assumed) == {"epochs"}
    assert RECIPES["fast"].assumed == ()


def test_other_epochs_change_the_recipe_and_show_in_its_name():
    changed = named_recipe("seed1", epochs=3)
    assert changed.name == "seed1-3ep"
    assert changed.recipe == replace(RECIPES["seed1"].recipe, epochs=3)
    assert changed.test_each_epoch
    assert changed.assumed == RECIPES["seed1"].assumed


def test_the_epochs_that_a_recipe_has_anyway_change_nothing():
    assert named_recipe("fast", epochs=15) is RECIPES["fast"]


def test_an_unknown_recipe_is_refused_with_the_known_and_the_nearest():
    with pytest.raises(UsageError) as caught:
        named_recipe("fest")
    assert caught.value.message == (
        "unknown recipe 'fest'; known are fast, small, small-bf16, smoke, documents, seed1, seed2, seed4, or @FILE.toml"
    )
    assert caught.value.hint == "did you mean 'fast'?"


def test_a_file_without_its_mark_is_recognised(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown recipe") as caught:
        named_recipe(str(path))
    assert caught.value.hint == f"for the file, write @{path}"


def test_a_recipe_is_read_from_a_file_and_named_after_it(tmp_path: Path):
    path = tmp_path / "gentle.toml"
    path.write_text('learning_rate = 0.02\nschedule = "step"\nstep_epochs = [2, 4]\n', encoding="utf-8")
    entry = named_recipe(f"@{path}")
    assert entry.name == "gentle"
    assert entry.recipe == Recipe(learning_rate=0.02, schedule=Schedule.STEP, step_epochs=(2, 4))
    assert not entry.test_each_epoch


def test_a_file_may_name_a_teacher_and_its_recipe_and_the_recipe_states_them(tmp_path: Path):
    path = tmp_path / "taught.toml"
    path.write_text('teacher = "seed4"\nteacher_recipe = "smoke"\ndistill_weight = 0.9\n', encoding="utf-8")

    recipe = named_recipe(f"@{path}").recipe

    assert parse_network(recipe.teacher) == parse_network(PRESETS["seed4"].text)
    assert recipe.teacher_recipe == RECIPES["smoke"].recipe
    assert recipe.distill_weight == 0.9

    path.write_text('teacher = "gap linear(10)"\n[teacher_recipe]\nepochs = 40\n', encoding="utf-8")

    assert named_recipe(f"@{path}").recipe.teacher_recipe == Recipe(epochs=40)


def test_a_batch_of_one_is_refused_where_a_bn_would_be_given_one_value():
    behind, before = parse_network("gap bn linear(10)"), parse_network("bn gap linear(10)")

    check_statistics(Recipe(batch_size=1), before, MNIST)
    check_statistics(Recipe(batch_size=2), behind, MNIST)

    with pytest.raises(ContentError) as caught:
        check_statistics(Recipe(batch_size=1), behind, MNIST)
    assert str(caught.value) == (
        "recipe: batch_size is 1, and a bn of the network stands where maps are 1x1, so it is given one value a "
        "channel; it needs at least 2"
    )


def test_a_file_that_is_not_there_or_not_text_is_a_usage_error(tmp_path: Path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.toml", "binary.toml"):
        with pytest.raises(UsageError, match=rf"^cannot read the recipe .*{name}: "):
            named_recipe(f"@{tmp_path / name}")


def test_a_file_that_is_not_toml_or_no_recipe_is_a_content_error(tmp_path: Path):
    broken, wrong = tmp_path / "broken.toml", tmp_path / "wrong.toml"
    broken.write_text("epochs = = 3", encoding="utf-8")
    wrong.write_text("epochs = 0", encoding="utf-8")
    with pytest.raises(ContentError, match=r"broken\.toml is not TOML: "):
        named_recipe(f"@{broken}")
    with pytest.raises(ContentError, match=r"wrong\.toml: epochs"):
        named_recipe(f"@{wrong}")


def test_the_recipe_of_a_record_keeps_what_the_catalog_knows_while_it_is_unchanged():
    assert recipe_named_like(Recipe(), "fast") is RECIPES["fast"]
    # Three recipes of documents are equal: the name decides.
    assert recipe_named_like(RECIPES["seed4"].recipe, "seed4") is RECIPES["seed4"]
    assert recipe_named_like(RECIPES["seed4"].recipe, "seed2") is RECIPES["seed2"]

    # With other epochs it is what '--recipe seed4 --epochs 3' trains: the test set is read each epoch.
    shorter = recipe_named_like(replace(RECIPES["seed4"].recipe, epochs=3), "seed4-3ep")
    assert shorter == named_recipe("seed4", epochs=3)
    assert shorter.test_each_epoch

    changed = recipe_named_like(replace(Recipe(), epochs=16), "fast")

    assert changed.recipe.epochs == 16
    assert (changed.name, changed.source, changed.test_each_epoch) == ("fast", "a record", False)
