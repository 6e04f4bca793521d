from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.bench.table import Sample, Table, merged
from harness.system.errors import ContentError
from harness.training.recipe import Recipe
from tests.harness.bench.some_table import ENVIRONMENT, HASHES, MACHINE, run_rows, some_table

THERE = replace(MACHINE, processor="another processor", environment=replace(ENVIRONMENT, instructions="x86_64 AVX512"))


def test_runs_of_several_machines_are_pooled_and_keep_their_machine():
    here = some_table(run_rows(0), run_rows(1))
    there = some_table(run_rows(1, seed=1), run_rows(2), machines=(THERE,), name="there")

    found = merged([here, there], "both")

    assert found.facts.name == "both"
    assert found.facts.machines == (MACHINE, THERE)
    assert {(row.hash, row.seed): row.machine for row in found.rows} == {
        (HASHES[0], 0): 0,
        (HASHES[1], 0): 0,
        (HASHES[1], 1): 1,
        (HASHES[2], 0): 1,
    }


def test_merging_does_not_depend_on_how_it_is_grouped():
    parts = [some_table(run_rows(network), name=str(network)) for network in range(3)]

    by_twos = merged([merged(parts[:2], "x"), parts[2]], "all")

    assert by_twos == merged(parts, "all")


def test_equal_runs_of_machines_with_equal_bits_agree_and_count_once():
    later = replace(MACHINE, environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False))

    found = merged([some_table(run_rows(0)), some_table(run_rows(0), run_rows(1), machines=(later,))], "both")

    assert len(found.rows) == 6


def test_equal_runs_that_disagree_on_equal_bits_are_refused():
    other = some_table(run_rows(0, accuracies=(90.0, 95.5, 98.0)), name="other")

    with pytest.raises(ContentError):
        merged([some_table(run_rows(0)), other], "both")


def test_where_bits_may_differ_the_first_table_is_kept_and_the_difference_said():
    other = some_table(run_rows(0, accuracies=(90.0, 95.5, 97.75)), machines=(THERE,))

    found = merged([some_table(run_rows(0)), other], "both")

    assert found.rows == some_table(run_rows(0)).rows
    assert found.facts.machines == (MACHINE,)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "net = gap linear(10);"},
        {"recipe": Recipe(epochs=4, batch_size=32)},
        {"split_sha256": "6" * 64},
        {"dataset": "kmnist"},
        {"machines": (replace(MACHINE, environment=replace(ENVIRONMENT, engine="torch")),)},
    ],
)
def test_tables_that_do_not_compare_are_refused(changes: dict[str, Any]):
    with pytest.raises(ContentError):
        merged([some_table(run_rows(0)), some_table(run_rows(1), name="there", **changes)], "both")


def test_a_merged_table_says_how_each_part_was_chosen():
    here, there = Sample(seed=0, networks=3, bands=8), Sample(seed=1, networks=3, bands=8)

    def part(sample: Sample, network: int) -> Table:
        return some_table(run_rows(network), samples=(sample,))

    table = merged([part(here, 0), part(there, 1), part(here, 2)], "both")

    assert table.facts.samples == (here, there)
