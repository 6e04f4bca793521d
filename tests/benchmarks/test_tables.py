"""The committed tables: whole, and large enough for what is said of them."""

from __future__ import annotations

from collections import Counter
from statistics import mean

import pytest

from harness.bench.table import read_table
from search_spaces.catalog import space
from search_spaces.space import enumerate_draws, judge
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("name", "space_name", "runs"), [("mnist-bench", "bench", {2: 384}), ("mnist-forms", "forms", {2: 205, 4: 51})]
)
def test_a_table_has_every_network_of_its_space_with_its_seeds_and_four_rungs(
    name: str, space_name: str, runs: dict[int, int]
):
    table = read_table(REPOSITORY / "benchmarks" / "tables" / name)
    searched = space(space_name)

    networks = {
        found.architecture.hash for found in enumerate_draws(searched) if judge(searched, found.architecture).accepted
    }
    assert table.facts.space == searched.text
    assert table.facts.is_exhaustive
    assert set(table.runs) == networks
    assert Counter(len(each) for each in table.runs.values()) == runs
    assert len(table.facts.rungs) == 4


def test_of_the_second_table_those_near_the_target_that_two_seeds_give_have_four():
    table = read_table(REPOSITORY / "benchmarks" / "tables" / "mnist-forms")
    end = table.facts.rungs[-1]
    two = {key: mean(runs[seed][end].validation_accuracy_pct for seed in (0, 1)) for key, runs in table.runs.items()}
    target = sorted(two.values(), reverse=True)[(len(two) - 1) // 4]

    near = {key for key, accuracy in two.items() if abs(accuracy - round(target, 2)) <= 0.15}
    assert {key for key, runs in table.runs.items() if len(runs) == 4} == near
