"""Tests of jobs trained side by side, against each of them trained alone by torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.engine.side_by_side import execute_side_by_side
from harness.errors import DeviceError
from harness.evidence import seed_training
from harness.training import run as run_module
from harness.training.recipe import AverageStatistics, Recipe
from harness.training.result import Status
from harness.training.run import Bench, Job, execute
from harness.training.seeds import Purpose
from harness.training.workers import Source
from tests.harness.persistent_host import host_kernel

NETWORK = "conv3x3(4) bn relu | maxpool(4) | conv3x3(6) bn relu | gap | linear(10)"
OTHER = "avgpool conv5x5(5, bias) leaky | maxpool(2) | linear(10)"
RECIPE = Recipe(epochs=3, batch_size=16, average_start=0.3)


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8), torch.arange(count) % 10


@pytest.fixture
def bench() -> Bench:
    """Eighty images to train on and twenty to validate on."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30)
    return Bench.of(ImageData(spec, *images(100, 1), data_hash="abc", source="memory", folder=None))


def job(**changes: Any) -> Job:
    plain = Job(architecture=NETWORK, recipe=RECIPE, recipe_name="toy", purpose=Purpose.SEARCH, seed_index=0)
    return replace(plain, **changes)


def test_jobs_of_different_networks_recipes_and_epochs_end_as_each_does_alone(bench: Bench):
    settled = replace(RECIPE, epochs=2, batch_size=10, average_statistics=AverageStatistics.RECOMPUTED)
    jobs = [job(), job(architecture=OTHER, seed_index=1), job(recipe=settled, seed_index=2)]

    together = execute_side_by_side(jobs, bench, host_kernel(2))

    for ours, theirs in zip(together, (execute(one, bench) for one in jobs), strict=True):
        for name in ("seed", "seed_index", "status", "recipe_hash", "hash", "validation_size", "test_size"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert len(ours.history) == len(theirs.history)
        for one, two in zip(ours.history, theirs.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, rel=1e-2)
        assert ours.environment is not None
        assert ours.environment.engine == "persistent host"


def test_the_test_set_is_read_once_a_seed(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[str] = []

    def read(data: ImageData, *, purpose: str, log: Path) -> tuple[Tensor, Tensor]:
        reads.append(purpose)
        return images(30, 2)

    monkeypatch.setattr(run_module, "read_test_set", read)
    jobs = [job(purpose=Purpose.VERIFY, seed_index=index, test_log=tmp_path / "log") for index in range(2)]

    results = execute_side_by_side(jobs, bench, host_kernel())

    assert [result.test_size for result in results] == [30, 30]
    assert all(result.status is Status.COMPLETE for result in results)
    assert results[0].weights_sha256 != results[1].weights_sha256
    assert len(reads) == 2


def test_seeds_of_a_verification_go_to_the_kernel_where_it_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seed_training, "load", lambda name, folder: bench.data)
    monkeypatch.setattr("harness.engine.side_by_side.load", lambda device: host_kernel())
    waiting = [job(engine="persistent", seed_index=index) for index in range(3)]

    results = list(seed_training.train_together(waiting, Source("toy", None), lambda event: None))

    assert waiting == []
    assert [result.environment.engine for result in results if result.environment] == ["persistent host"] * 3


def test_seeds_for_which_the_memory_is_too_small_end_with_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def greedy(table: Tensor, count: int, fast_bytes: int) -> None:
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(seed_training, "load", lambda name, folder: bench.data)
    monkeypatch.setattr("harness.engine.side_by_side.load", lambda device: replace(host_kernel(), launch=greedy))
    waiting = [job(engine="persistent", seed_index=index) for index in range(3)]

    with pytest.raises(
        DeviceError, match=r"^3 seeds cannot be trained together: .*can't allocate memory[^\n]*$"
    ) as got:
        list(seed_training.train_together(waiting, Source("toy", None), lambda event: None))
    assert got.value.hint == "--engine torch trains them one after the other"
