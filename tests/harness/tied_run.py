"""A small training with tied kernels and averaged weights, for tests of what becomes of trained networks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result
from harness.training.run import Job, TrainingData, execute_and_keep
from harness.training.train import Training
from search_spaces.notation import parse_network

TIED = "conv3x3(4) bn relu maxpool(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap | linear(10)"


def some_images(count: int) -> tuple[Tensor, Tensor]:
    """Return noise, uint8 (count, 1, 28, 28), and labels, int64 (count,)."""
    source = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return pixels, torch.arange(count) % 10


def tied_run() -> tuple[Result, Training]:
    """Train the tied network for two epochs on a hundred images."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    bench = TrainingData.of(ImageData(spec, *some_images(100), data_hash="abc", source="memory", folder=None))
    recipe = Recipe(epochs=2, batch_size=16, average_start=0.3)
    job = Job(architecture=parse_network(TIED), recipe=recipe, recipe_name="toy", purpose=Purpose.VERIFY, seed_index=1)
    return execute_and_keep(job, bench)
