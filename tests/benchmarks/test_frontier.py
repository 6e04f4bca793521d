"""The README's picture: which points it shows, and that the committed files are current."""

from __future__ import annotations

import re

import pytest

from benchmarks import frontier
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


def test_the_smallest_proven_network_of_each_target_is_joined_and_others_are_beside():
    rows = frontier.rows()

    best = [row for row in rows if row["best"]]
    assert len({row["target"] for row in best}) == len(best) > 3
    for row in best:
        rivals = [
            other for other in rows if other["target"] == row["target"] and other["tier"] in ("certified", "verified")
        ]
        assert row["parameters"] == min(other["parameters"] for other in rivals)
    assert {row["parameters"] for row in rows if row["tier"] == "claimed"} >= {697, 1_936, 3_762}
    assert not {"searched"} & {row["tier"] for row in rows}


@pytest.mark.parametrize("name", ["frontier-light.svg", "frontier-dark.svg"])
def test_the_committed_picture_names_the_size_of_each_of_them(name: str):
    words = re.findall(r">([\d,]+)</text>", (DOCS / name).read_text(encoding="utf-8"))

    sizes = {f"{row['parameters']:,}" for row in frontier.rows() if row["best"]}
    assert sizes <= set(words), "run python -m benchmarks.frontier"
