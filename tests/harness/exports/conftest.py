"""A small data set for exports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from harness.data import training_images
from harness.data.training_images import ImageData
from tests.factories import make_data


@pytest.fixture
def small_data(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """A hundred images in place of every data set, and a recipe of a single epoch."""
    import_module("harness.exports.c_folder")  # this module and its imports keep the original ``load``
    images = make_data()
    monkeypatch.setattr(training_images, "load", lambda name, folder: images)
    (workspace / "quick.toml").write_text("batch_size = 16\nepochs = 1\n", encoding="utf-8")
    return images
