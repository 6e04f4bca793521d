"""Earlier trainings of a search: which they are, how a study keeps them, and what the model learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.search import prior
from harness.search.prior import FILE, PastTraining, Prior, keep, kept, observations, past_trainings, shipped
from harness.search.surrogate import Observation, training_row
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

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
MINE = replace(ONE, epochs=5, source="mine")


def test_what_is_kept_reads_back_as_it_was(tmp_path: Path):
    keep(tmp_path, (ONE, MINE))
    keep(tmp_path / "none", ())

    assert kept(tmp_path) == (ONE, MINE)
    assert kept(tmp_path / "none") == ()
    assert kept(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"architecture,errors\n1,2\n", b'"'])
def test_a_damaged_file_is_named_in_one_line(content: bytes, tmp_path: Path):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(ContentError, match=str(tmp_path / FILE)) as caught:
        kept(tmp_path)
    assert "\n" not in caught.value.message


def test_each_word_names_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    damage = ContentError("odd")
    asked = []

    def own(
        place: Workspace, dataset: str, data_hash: str
    ) -> tuple[tuple[PastTraining, ...], tuple[ContentError, ...]]:
        asked.append((dataset, data_hash))
        return (MINE,), (damage,)

    monkeypatch.setattr(prior, "own", own)
    place = Workspace(tmp_path)

    assert past_trainings(Prior.NONE, place, "mnist", "ab") == ((), ())
    assert past_trainings(Prior.SHIPPED, place, "mnist", "ab") == (shipped("mnist"), ())
    assert asked == []
    assert past_trainings(Prior.OWN, place, "mnist", "ab") == ((*shipped("mnist"), MINE), (damage,))
    assert asked == [("mnist", "ab")]
    assert past_trainings(Prior.OWN, place, "mnist-5k", "ab")[0] == (MINE,)


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
