from __future__ import annotations

from dataclasses import fields
from html import unescape

from harness.toy.backprop import Weights
from reports.toy.toy_row import toy_row, toy_table


def test_the_row_is_the_toy_at_its_best_rate():
    row = toy_row()

    assert row.parameters == len(fields(Weights)) == 8
    assert row.learning_rate == 2.0
    assert round(row.first_loss, 9) == 0.242519857
    # By torch in float64, to six digits.
    assert f"{row.last_loss:.6g}" == "0.000243915"


def test_the_table_says_that_it_is_another_task():
    made = unescape(toy_table(toy_row()))

    assert ">8</td>" in made
    assert "0.000243915" in made
    assert "It sees no image, so it has no accuracy and no rank." in made
