from __future__ import annotations

import re
from dataclasses import fields
from html import unescape

from harness.toy.backprop import Weights
from reports.toy.toy_row import toy_table


def test_the_row_is_the_toy_at_its_best_rate():
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", toy_table())

    # By torch in float64, to six digits.
    assert cells == [str(len(fields(Weights))), "2.0", "0.24252", "0.000243915"]
    assert len(fields(Weights)) == 8


def test_the_table_says_that_it_is_another_task():
    assert "It sees no image, so it has no accuracy and no rank." in unescape(toy_table())
