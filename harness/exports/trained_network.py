"""Input and output of the exporters: a trained network and the files to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.training_images import ImageData
from harness.evidence.record import Record, SeedRun
from harness.spaces.chips import Fit
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.network import Architecture
from harness.training.recipe import Recipe
from harness.training.torch_network import TorchNetwork


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained network with the training images: the input of an exporter.

    Attributes:
        architecture: Architecture of the network.
        model: Torch module in evaluation mode, on a CPU.
        about: Metadata for the exported files: hash, recipe, seed and so on as text.
        images: Data with which the network was trained.
        recipe: Recipe of the training.
        record: Record of the network and recipe; None without a record.
        recorded_run: Recorded run with these weights; None if no record has these weights.
        fit: Resources of the network on the target chip of ``--chip``; None without a target chip.
        optimise: Optimisation of the exported C.
        names: Names of tensors in a safetensors file, by names in the state of ``model``; empty for the same names.
    """

    architecture: Architecture
    model: TorchNetwork
    about: Mapping[str, str]
    images: ImageData
    recipe: Recipe
    record: Record | None = None
    recorded_run: SeedRun | None = None
    fit: Fit | None = None
    optimise: Optimisation = Optimisation.SIZE
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Files:
    """Files of an export format, not written yet.

    Attributes:
        contents: Contents of the files, by path.
        facts: Sizes and results of the check of the files, for the printed answer and ``--json``.
        page: Data of the interactive page (``page_document``); None for formats without a page.
    """

    contents: Mapping[Path, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    page: Mapping[str, Any] | None = None
