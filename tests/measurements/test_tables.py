"""The committed tables of trainings are complete: networks, seeds and rungs."""

from __future__ import annotations

from collections import Counter
from statistics import mean

import pytest

from harness.bench.table import read_table
from harness.spaces.catalog import space
from harness.spaces.space import enumerate_draws, judge
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("name", "space_name", "runs"), [("mnist-bench", "bench", {2: 384}), ("mnist-forms", "forms", {2: 205, 4: 51})]
)
def test_table_contains_every_network_of_the_space_with_all_seeds_and_rungs(
    name: str, space_name: str, runs: dict[int, int]
):
    table = read_table(REPOSITORY / "measurements" / "tables" / name)
    bench_space = space(space_name)

    networks = {
        draw.architecture.hash
        for draw in enumerate_draws(bench_space)
        if judge(bench_space, draw.architecture).accepted
    }
    assert table.facts.space_hash == bench_space.hash
    assert table.facts.is_exhaustive
    assert set(table.runs) == networks
    assert Counter(len(each) for each in table.runs.values()) == runs
    assert len(table.facts.rungs) == 4


def test_forms_table_has_four_seeds_exactly_for_networks_near_target():
    table = read_table(REPOSITORY / "measurements" / "tables" / "mnist-forms")
    rung = table.facts.rungs[-1]
    means = {key: mean(runs[seed][rung].validation_accuracy_pct for seed in (0, 1)) for key, runs in table.runs.items()}
    target = sorted(means.values(), reverse=True)[(len(means) - 1) // 4]

    near = {key for key, accuracy in means.items() if abs(accuracy - round(target, 2)) <= 0.15}
    assert {key for key, runs in table.runs.items() if len(runs) == 4} == near
