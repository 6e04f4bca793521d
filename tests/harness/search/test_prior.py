"""Earlier runs: as text, as they ship, as studies hold them, and what the surrogate learns from them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.study import open_study
from harness.search import prior as trainings
from harness.search.prior import (
    PastTraining,
    Prior,
    comparable,
    keep,
    kept,
    observations,
    past_trainings,
    shipped,
    shipped_sha256,
    text,
)
from harness.search.surrogate import Observation, row_of
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.recipe import RECIPES, Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness import logged
from tests.harness.some_study import CONFIG
from tests.harness.unrun import Seeds

ONE = PastTraining(
    architecture=parse_network("conv3x3(4) bn relu gap linear(10)"),
    epochs=8,
    batch_size=64,
    augmented_share=0.7,
    learning_rate=0.1,
    errors=100 / 3,
    runs=3,
    source="a/table.csv the-study",
)


def test_the_trainings_that_ship_are_of_networks_in_canonical_text():
    content = (Path(trainings.__file__).parent / "trainings-mnist.csv").read_bytes()

    assert len(shipped("mnist")) > 400
    assert text(shipped("mnist")).encode() == content
    assert shipped_sha256("mnist") == hashlib.sha256(content).hexdigest()
    assert (shipped("kmnist"), shipped_sha256("kmnist")) == ((), "")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(), True),
        (RECIPES["small"].recipe, True),
        (RECIPES["smoke"].recipe, True),
        (replace(RECIPES["small"].recipe, epochs=5, batch_size=64, augmented_share=0.1, learning_rate=0.3), True),
        (replace(RECIPES["small"].recipe, weight_decay=0.0), False),
        (RECIPES["small-bf16"].recipe, True),
        (replace(Recipe(), warmup=0.1), False),
        (RECIPES["documents"].recipe, False),
    ],
)
def test_recipes_compare_that_differ_in_what_a_training_states(recipe: Recipe, expected: bool):
    assert comparable(recipe) is expected


TEXT = "conv3x3(4) bn relu gap linear(10)"


def run(trial: int, errors: int | None, **changes: Any) -> Result:
    recipe = changes.pop("recipe", Recipe())
    job = Job(architecture=parse_network(TEXT), recipe=recipe, recipe_name="fast", purpose=Purpose.SEARCH, seed_index=0)
    made = Seeds().answer(job, "mnist")
    plain = replace(made, test_errors=None, test_size=None, wrong=(), trial=trial, study="first")
    return replace(plain, **{"validation_errors": errors, "validation_size": 10_000, **changes})


def keep_study(folder: Path, *runs: Result, **config: Any) -> None:
    open_study(folder, replace(CONFIG, **{"dataset": "mnist-5k", **config}), {})
    logged.ran(folder, *runs)


def test_whole_runs_of_all_studies_on_the_same_images_are_ones_own(tmp_path: Path):
    place = Workspace(tmp_path)
    short = replace(Recipe(), epochs=3)
    again = run(9, 77, seed=1, study="second")
    keep_study(
        place.study("first"),
        run(0, 70, seed=1),
        run(1, 81, seed=2),
        run(2, 300, seed=3, recipe=short, validation_size=20_000),
        run(3, 60, seed=4, status=Status.PRUNED),
        run(4, None, seed=5),
        run(5, 60, seed=6, recipe=replace(short, weight_decay=0.0)),
    )
    keep_study(place.study("second"), replace(again, validation_errors=70), replace(again, seed=7, trial=10))
    keep_study(place.study("elsewhere"), run(0, 60, seed=8), data_hash="cd" * 32)
    keep_study(place.study("other"), run(0, 60, seed=9), dataset="fashion-mnist")

    found, damage = past_trainings(Prior.OWN, place, "mnist-5k", CONFIG.data_hash)

    assert damage == []
    assert past_trainings(Prior.SHIPPED, place, "mnist-5k", CONFIG.data_hash) == ((), [])
    by_epochs = {item.epochs: item for item in found}
    assert len(found) == len(by_epochs) == 2
    assert by_epochs[15] == PastTraining.of(parse_network(TEXT), Recipe(), (70 + 81 + 77) / 3, 3, "first second")
    assert (by_epochs[3].errors, by_epochs[3].runs, by_epochs[3].source) == (150.0, 1, "first")


def test_a_damaged_study_is_left_out_and_named(tmp_path: Path):
    place = Workspace(tmp_path)
    keep_study(place.study("whole"), run(0, 70))
    keep_study(place.study("torn"), run(0, 80))
    (place.study("torn") / "log.jsonl").write_text("{\n")
    place.study("empty").mkdir()

    (found,), (error,) = past_trainings(Prior.OWN, place, "mnist-5k", CONFIG.data_hash)

    assert found.errors == 70.0
    assert "torn" in error.message


MINE = replace(ONE, epochs=5, source="mine")


def test_what_is_kept_reads_back_as_it_was(tmp_path: Path):
    several = (ONE, replace(ONE, errors=0.1 + 0.2, source='"quoted", =\nodd'), replace(ONE, source="=1"))
    keep(tmp_path, several)
    keep(tmp_path / "none", ())

    assert kept(tmp_path) == several
    assert kept(tmp_path / "none") == ()
    assert kept(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "content",
    [
        "architecture,errors\n1,2\n",
        text([ONE]).replace(",8,", ",eight,"),
        text([ONE]).replace("conv3x3", "conv0x0"),
        text([ONE]) + '"',
        "\udcff",
    ],
)
def test_a_damaged_file_is_named_in_one_line(content: str, tmp_path: Path):
    keep(tmp_path, ())
    (path,) = tmp_path.iterdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(ContentError) as caught:
        kept(tmp_path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_the_model_learns_from_trainings_with_the_learning_rate_of_the_recipe_only():
    other = replace(ONE, learning_rate=0.05)

    found = observations((ONE, other, MINE), Recipe(learning_rate=0.1), MNIST)

    network = ONE.architecture
    assert found == (
        Observation(row_of(network, MNIST, 8, 64, 0.7), 100 / 3, 3),
        Observation(row_of(network, MNIST, 5, 64, 0.7), 100 / 3, 3),
    )
    assert observations((ONE, MINE), Recipe(learning_rate=0.05), MNIST) == ()
    # Of another weight decay they say nothing.
    assert observations((ONE, MINE), Recipe(learning_rate=0.1, weight_decay=0.0), MNIST) == ()
