"""How long a search may train its networks, and what earlier trainings it begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.search.prior import keep, shipped
from harness.system.errors import UsageError
from tests.harness.search.test_run_plan import plan


def test_the_lengths_are_those_given_in_order_and_each_once(tmp_path: Path):
    assert plan(tmp_path, epochs=(20, 5, 20)).config.lengths == (5, 20)


def test_whoever_names_a_recipe_names_its_length_too(tmp_path: Path):
    named = plan(tmp_path, recipe="fast")

    assert named.config.lengths == (named.recipe.recipe.epochs,)
    assert plan(tmp_path, recipe="fast", epochs=(5, 8)).config.lengths == (5, 8)


@pytest.mark.parametrize("epochs", [(0,), (5, -1), (10_001,)])
def test_a_length_out_of_range_is_refused(epochs: tuple[int, ...], tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--epochs .*: each is from 1 to 10,000$"):
        plan(tmp_path, epochs=epochs)


def test_a_study_goes_on_with_the_trainings_that_it_keeps(tmp_path: Path):
    new = plan(tmp_path, name="mine", dataset="mnist-5k", prior="shipped")
    kept = replace(shipped("mnist")[0], source="kept")
    keep(new.folder, (kept,))

    assert new.past == ()
    assert plan(tmp_path, name="mine", prior="shipped").past == (kept,)
    assert plan(tmp_path, name="mine", prior="own").past == (kept,)


def test_a_study_that_cannot_be_read_is_left_out_and_named(tmp_path: Path):
    odd = tmp_path / "runs" / "odd" / "config.json"
    odd.parent.mkdir(parents=True)
    odd.write_text("{}")

    made = plan(tmp_path, prior="own")

    assert made.past == ()
    [left_out] = made.left_out
    assert str(odd) in left_out
