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
    FILE,
    PastTraining,
    comparable,
    digest,
    keep,
    kept,
    observations,
    own,
    shipped,
    text,
)
from harness.search.surrogate import Observation, training_row
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
    form="plain",
    source="a/table.csv the-study",
)
PACKAGED = Path(trainings.__file__).parent


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"batch_size": 0}, {"augmented_share": 1.1}, {"learning_rate": 0.0}, {"runs": 0}]
)
def test_a_training_is_checked_when_it_is_made(changes: dict[str, Any]):
    with pytest.raises(ContentError, match=f"^{next(iter(changes))} is "):
        replace(ONE, **changes)


def test_the_trainings_that_ship_are_of_networks_in_canonical_text():
    found = shipped("mnist")

    assert len(found) > 400
    assert digest(found) == hashlib.sha256((PACKAGED / "trainings-mnist.csv").read_bytes()).hexdigest()


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
    open_study(folder, replace(CONFIG, **config), {})
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

    found, damage = own(place, "mnist", CONFIG.data_hash)

    assert damage == ()
    by_epochs = {item.epochs: item for item in found}
    assert len(found) == len(by_epochs) == 2
    assert by_epochs[15] == PastTraining(
        parse_network(TEXT), 15, 64, 0.7, 0.1, (70 + 81 + 77) / 3, 3, "plain", "first second"
    )
    assert (by_epochs[3].errors, by_epochs[3].runs, by_epochs[3].source) == (150.0, 1, "first")


def test_a_damaged_study_is_left_out_and_named(tmp_path: Path):
    place = Workspace(tmp_path)
    keep_study(place.study("whole"), run(0, 70))
    keep_study(place.study("torn"), run(0, 80))
    logs = {name: place.study(name) / "log.jsonl" for name in ("torn", "strange")}
    logs["torn"].write_text("{\n")
    place.study("empty").mkdir()

    keep_study(place.study("strange"), run(0, 60), run(1, 50, seed=2))
    logs["strange"].write_text(logs["strange"].read_text().replace(TEXT, "conv9x9(4)"))
    keep_study(place.study("many"), run(0, 60, validation_size=10, seed=3))

    found, damage = own(place, "mnist", CONFIG.data_hash)

    assert [item.errors for item in found] == [70.0]
    assert len(damage) == 3
    for name, error in zip(("many", "strange", "torn"), damage, strict=True):
        assert name in error.message
    assert own(Workspace(tmp_path / "nowhere"), "mnist", CONFIG.data_hash) == ((), ())


MINE = replace(ONE, epochs=5, source="mine")


def test_what_is_kept_reads_back_as_it_was(tmp_path: Path):
    several = (ONE, replace(ONE, errors=0.1 + 0.2, source='"quoted", =\nodd', form="tied"), replace(ONE, source="=1"))
    keep(tmp_path, several)
    keep(tmp_path / "none", ())

    assert kept(tmp_path) == several
    assert digest(several) == hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest() != digest(several[:2])
    assert kept(tmp_path / "none") == ()
    assert kept(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "architecture,errors\n1,2\n",
        text([ONE]).replace("plain", "plain,1"),
        text([ONE]).replace(",8,", ",eight,"),
        text([replace(ONE, form="tied")]).replace("tied", "odd"),
        text([ONE]).replace(repr(ONE.errors), "nan"),
        text([ONE]).replace(repr(ONE.errors), "10000.5"),
        text([ONE]).replace("conv3x3", "conv0x0"),
        text([ONE]) + '"',
        "\udcff",
    ],
)
def test_a_damaged_file_is_named_in_one_line(content: str, tmp_path: Path):
    (tmp_path / FILE).write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(ContentError) as caught:
        kept(tmp_path)
    assert str(tmp_path / FILE) in caught.value.message
    assert "\n" not in caught.value.message


def test_the_model_learns_from_trainings_with_the_learning_rate_of_the_recipe_only():
    other = replace(ONE, learning_rate=0.05)

    found = observations((ONE, other, MINE), Recipe(learning_rate=0.1), MNIST)

    network = ONE.architecture
    assert found == (
        Observation(training_row(network, 8, 64, 0.7, MNIST), 100 / 3, 3),
        Observation(training_row(network, 5, 64, 0.7, MNIST), 100 / 3, 3),
    )
    assert observations((ONE, MINE), Recipe(learning_rate=0.05), MNIST) == ()
    # Of another weight decay they say nothing.
    assert observations((ONE, MINE), Recipe(learning_rate=0.1, weight_decay=0.0), MNIST) == ()
