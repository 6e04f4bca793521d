"""Runs without training: results whose errors are given, and small images, for tests of measurements."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.same_bits import some_images
from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.training.result import Result
from harness.training.run import Job
from tests.harness.unrun import Seeds


def validated(job: Job, errors: int) -> Result:
    """Return the result of a job with so many wrong of 10,000 validation images."""
    made = Seeds().answer(job, "mnist")
    return replace(made, test_errors=None, test_size=None, wrong=(), validation_errors=errors, validation_size=10_000)


def trained_as(errors: Callable[[Job], int]) -> Callable[[list[Job], Path | None, Path], list[Result]]:
    """Return what stands in for ``benchmarks.runs.trained``."""
    return lambda jobs, folder, path: [validated(job, errors(job)) for job in jobs]


def small_data() -> ImageData:
    """Return 320 images to train on and 80 to validate on, with a bar whose place tells the class."""
    images = some_images(400)
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=320, validation_size=80, test_size=30)
    return ImageData(spec, images.pixels, images.labels, data_hash="abc", source="memory", folder=None)


def ask(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *arguments: str) -> None:
    """Call the main function of a measurement as its command line would."""
    monkeypatch.setattr(sys, "argv", ["a measurement", *arguments])
    main()
