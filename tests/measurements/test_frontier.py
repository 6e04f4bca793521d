"""The frontier picture of the README: the points of the picture, and the labels of the committed files."""

from __future__ import annotations

import re

import pytest

from measurements import frontier
from tests.conftest import REPOSITORY

PICTURES = REPOSITORY / "docs" / "images"


def test_best_rows_are_the_smallest_proven_networks_and_claims_are_included():
    rows = frontier.rows()

    best = [row for row in rows if row["best"]]
    assert len({row["target"] for row in best}) == len(best) > 3
    for row in best:
        rivals = [
            rival for rival in rows if rival["target"] == row["target"] and rival["tier"] in ("certified", "verified")
        ]
        assert row["parameters"] == min(rival["parameters"] for rival in rivals)
    assert {row["parameters"] for row in rows if row["tier"] == "claimed"} >= {697, 1_936, 3_762}
    assert not {"searched"} & {row["tier"] for row in rows}


@pytest.mark.parametrize("name", ["frontier-light.svg", "frontier-dark.svg"])
def test_committed_picture_labels_the_sizes_of_best_networks(name: str):
    words = re.findall(r">([\d,]+)</text>", (PICTURES / name).read_text(encoding="utf-8"))

    sizes = {f"{row['parameters']:,}" for row in frontier.rows() if row["best"]}
    assert sizes <= set(words), "run python -m measurements.frontier"
