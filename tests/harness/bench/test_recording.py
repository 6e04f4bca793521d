from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.recording import (
    Near,
    check_rungs,
    default_rungs,
    finished_runs,
    keys_of,
    open_recording,
    rows_of,
    run_path,
    split_digest,
    table_of,
)
from harness.bench.table import Sample
from harness.search import pruning
from harness.system.errors import ContentError
from harness.training import result
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status, derive_seed
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.bench.some_table import ENVIRONMENT, HASHES, MACHINE, RECIPE, TEXTS, some_recording


def some_run(network: int = 0, seed: int = 0, errors: tuple[int, ...] = (50, 40, 30, 20), **changes: Any) -> Result:
    analysis = analyse(parse_network(TEXTS[network]), MNIST)
    history = tuple(Epoch(epoch, 0.1, 0.1, 1.5 * epoch, wrong) for epoch, wrong in enumerate(errors, start=1))
    whole = Result(
        architecture=parse_network(TEXTS[network]),
        hash=HASHES[network],
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=RECIPE,
        recipe_name="fast-4ep",
        recipe_hash=RECIPE.hash,
        dataset="mnist",
        purpose=Purpose.BENCH,
        seed_index=seed,
        seed=derive_seed(HASHES[network], RECIPE.hash, Purpose.BENCH, seed),
        status=Status.COMPLETE,
        history=history,
        validation_errors=errors[-1],
        validation_size=1000,
        environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False),
    )
    return replace(whole, **changes)


def test_what_is_near_the_target_is_due_once_all_have_their_first_runs():
    recording = some_recording(near=Near(target_pct=98.0, within_pct=0.25, seeds=4))
    first = [(HASHES[network], seed) for seed in range(2) for network in range(3)]
    # Means of 98.0, 98.2 and 97.5 % of a thousand images.
    errors = {(0, 0): 20, (0, 1): 20, (1, 0): 16, (1, 1): 20, (2, 0): 25, (2, 1): 25}
    runs = {
        (HASHES[network], seed): some_run(network, seed, (50, 40, 30, count))
        for (network, seed), count in errors.items()
    }
    one_short = {key: run for key, run in runs.items() if key != (HASHES[2], 1)}

    assert [key for _, key in keys_of(recording, one_short)] == first
    more = [(HASHES[network], seed) for seed in (2, 3) for network in (0, 1)]
    assert [key for _, key in keys_of(recording, runs)] == first + more
    assert [key for _, key in keys_of(replace(recording, near=None), runs)] == first


@pytest.mark.parametrize(
    ("epochs", "rungs"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (15, (1, 4, 8, 15)), (30, (3, 8, 15, 30))]
)
def test_rungs_that_nobody_names_are_a_few_up_to_the_end(epochs: int, rungs: tuple[int, ...]):
    assert default_rungs(epochs) == rungs


@pytest.mark.parametrize("epochs", range(1, 70))
def test_rungs_that_nobody_names_hold_those_at_which_a_search_stops(epochs: int):
    check_rungs(default_rungs(epochs), epochs)
    assert set(pruning.rungs(epochs)) <= set(default_rungs(epochs))


def test_the_digest_of_a_split_is_that_of_its_indices():
    # printf '3,5,8' | sha256sum
    assert split_digest([3, 5, 8]) == "d8c85d93367f9ebb51148c0a399b58ca7386e2de1a4ffcc5e925048f6d4e2250"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": Recipe(epochs=4, batch_size=32)},
        {"split_sha256": "6" * 64},
        {"rungs": (1, 4)},
        {"networks": tuple(map(parse_network, TEXTS[:2]))},
        {"machine": replace(MACHINE, workers=1)},
        {"machine": replace(MACHINE, environment=replace(ENVIRONMENT, engine="torch"))},
    ],
    ids=["recipe", "split", "rungs", "networks", "workers", "engine"],
)
def test_a_recording_never_mixes(changes: dict[str, Any], tmp_path: Path):
    open_recording(tmp_path, some_recording())
    open_recording(tmp_path, some_recording())

    with pytest.raises(ContentError):
        open_recording(tmp_path, some_recording(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": Recipe(epochs=4, batch_size=32)},
        {"dataset": "kmnist"},
        {"purpose": Purpose.SEARCH},
        {"environment": replace(ENVIRONMENT, engine="torch")},
        {"environment": None},
    ],
    ids=["recipe", "data set", "purpose", "engine", "unknown machine"],
)
def test_a_run_that_is_not_of_the_recording_is_refused(changes: dict[str, Any], tmp_path: Path):
    result.write(run_path(tmp_path, (HASHES[0], 0)), some_run(**changes))

    with pytest.raises(ContentError):
        finished_runs(tmp_path, some_recording())


def test_rows_have_the_accuracy_and_the_seconds_of_their_rungs():
    rows = rows_of(some_run(1, seed=1), (1, 2, 4), machine=0)

    assert [(row.rung, row.validation_accuracy_pct, row.seconds) for row in rows] == [
        (1, 95.0, 1.5),
        (2, 96.0, 3.0),
        (4, 98.0, 6.0),
    ]
    assert {(row.hash, row.seed, row.status) for row in rows} == {(HASHES[1], 1, Status.COMPLETE)}


def test_a_run_that_diverged_keeps_what_its_last_weights_gave():
    diverged = some_run(errors=(50, 902), status=Status.DIVERGED)

    rows = rows_of(diverged, (1, 2, 4), machine=0)

    assert [row.validation_accuracy_pct for row in rows] == [95.0, 9.8, 9.8]
    assert [row.seconds for row in rows] == [1.5, 3.0, 3.0]
    assert {row.status for row in rows} == {Status.DIVERGED}


def test_a_table_names_the_code_of_each_run():
    runs = [some_run(), some_run(1, environment=replace(ENVIRONMENT, commit="e" * 40, dirty=True)), some_run(2)]

    table = table_of(some_recording(), {(run.hash, run.seed_index): run for run in runs})

    assert {machine.environment.commit for machine in table.facts.machines} == {"c" * 40, "e" * 40}
    assert {table.facts.machines[row.machine].environment.commit for row in table.rows if row.hash == HASHES[1]} == {
        "e" * 40
    }
    assert {machine.workers for machine in table.facts.machines} == {2}
    assert table.facts.samples == (Sample(seed=0, networks=3, bands=0),)
    assert len(table.rows) == 9
