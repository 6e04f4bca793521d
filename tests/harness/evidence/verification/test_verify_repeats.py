"""Weights of recorded seeds that are trained again: kept where they are the record's, or make its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.evidence import audit, record, weight_file
from harness.system import files
from harness.system.document import BRING_BACK
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.build import build
from harness.training.result import Purpose, derive_seed
from harness.training.run import Job
from harness.training.weights import to_safetensors
from search_spaces.task import MNIST
from tests.harness import unrun
from tests.harness.unrun import NETWORK, Seeds

RECORDED = ("ab" * 32, "cd" * 32)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def seeds(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> Seeds:
    """Two seeds on record, none of whose weights were kept, and workers that leave weights from now on."""
    made = unrun.without_training(monkeypatch)
    made.weights = lambda index: RECORDED[index]
    unrun.run(place, unrun.plan(range(2)))
    made.watch = lambda job: files.write_bytes(job.weights or place.root / "nowhere", learned(job))
    return made


def learned(job: Job) -> bytes:
    """Return what a worker leaves of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed_index)
        network = build(NETWORK, MNIST)
    recipe = job.recipe.hash
    about = {
        "architecture": str(NETWORK),
        "hash": NETWORK.hash,
        "recipe_hash": recipe,
        "dataset": "mnist",
        "seed_index": str(job.seed_index),
        "seed": str(derive_seed(NETWORK.hash, recipe, Purpose.VERIFY, job.seed_index)),
    }
    return to_safetensors(network, about)


def digest(index: int, folder: Path) -> str:
    path = folder / "learned.safetensors"
    path.write_bytes(learned(unrun_job(index)))
    return weight_file.read(path).sha256


def unrun_job(index: int) -> Job:
    plan = unrun.plan()
    return Job(
        architecture=NETWORK,
        recipe=plan.recipe.recipe,
        recipe_name=plan.recipe.name,
        purpose=Purpose.VERIFY,
        seed_index=index,
    )


def test_other_bits_that_make_the_recorded_errors_are_kept_and_a_line_says_so(
    place: Workspace, seeds: Seeds, tmp_path: Path
):
    seeds.weights = lambda index: digest(index, tmp_path)

    unrun.run(place, unrun.plan(range(2)))

    [evidence] = record.read_all(place.records)
    assert [run.weights_sha256 for run in evidence.seeds] == [*RECORDED]
    lines = weight_file.repeats(place.records)
    assert [(line.seed_index, line.recorded_sha256) for line in lines] == [(0, RECORDED[0]), (1, RECORDED[1])]
    for index in range(2):
        found = weight_file.read_recorded(place.records, evidence, index)
        assert found.sha256 == lines[index].weights_sha256 == digest(index, tmp_path)


def test_other_errors_are_not_kept(place: Workspace, seeds: Seeds, tmp_path: Path):
    seeds.weights = lambda index: digest(index, tmp_path)
    seeds.errors = lambda index: 55 + index

    unrun.run(place, unrun.plan(range(2)))

    [evidence] = record.read_all(place.records)
    assert weight_file.kept_indices(place.records, evidence) == [0]
    assert [line.seed_index for line in weight_file.repeats(place.records)] == [0]


def test_without_its_line_a_repeat_is_a_file_of_other_weights(place: Workspace, seeds: Seeds, tmp_path: Path):
    seeds.weights = lambda index: digest(index, tmp_path)
    unrun.run(place, unrun.plan(range(1)))
    [evidence] = record.read_all(place.records)
    weight_file.repeats_file(place.records).unlink()

    with pytest.raises(ContentError, match="holds the weights"):
        weight_file.read_recorded(place.records, evidence, 0)


def test_a_torn_line_of_the_repeats_is_told_once_and_the_same_command_mends_what_is_left(
    place: Workspace, seeds: Seeds, tmp_path: Path
):
    seeds.weights = lambda index: digest(index, tmp_path)
    unrun.run(place, unrun.plan(range(2)))
    log = weight_file.repeats_file(place.records)
    whole = log.read_bytes()
    log.write_bytes(whole[:-60])

    [fault] = [line for line in audit.audit(place) if str(log) in line]

    assert fault.startswith(f"{log}, line 2: ")
    assert fault.endswith(f"({BRING_BACK})")
    # A kill tears the line before the weights are there.
    log.write_bytes(whole.splitlines(keepends=True)[0])
    [evidence] = record.read_all(place.records)
    weight_file.path_of(place.records, evidence, 1).unlink()
    unrun.run(place, unrun.plan(range(2)))
    assert [line.seed_index for line in weight_file.repeats(place.records)] == [0, 1]


def test_a_repeat_never_takes_the_place_of_what_is_kept(place: Workspace, seeds: Seeds, tmp_path: Path):
    seeds.weights = lambda index: digest(index, tmp_path)
    unrun.run(place, unrun.plan(range(1)))
    [evidence] = record.read_all(place.records)
    path = weight_file.path_of(place.records, evidence, 0)
    before = path.read_bytes()
    seeds.watch = lambda job: files.write_bytes(job.weights or tmp_path / "nowhere", b"another")
    seeds.weights = lambda index: "cd" * 32

    unrun.run(place, unrun.plan(range(1)))

    assert path.read_bytes() == before
    assert len(weight_file.repeats(place.records)) == 1
