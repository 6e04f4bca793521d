"""Export formats of trained networks; a new format needs a module with a writer and an entry in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.deployment.c_folder import c_files
from harness.deployment.network import Files, TrainedNetwork
from harness.deployment.onnx import ONNX_LIBRARIES, onnx_files
from harness.training.run import to_safetensors


@dataclass(frozen=True, slots=True)
class Format:
    """An export format: ``files`` makes the files for a path, ``libraries`` are the optional libraries needed."""

    files: Callable[[TrainedNetwork, Path], Files]
    libraries: tuple[str, ...] = ()


# By name of the command-line option, which takes the path.
FORMATS = {
    "c": Format(c_files),
    "onnx": Format(onnx_files, ONNX_LIBRARIES),
    "safetensors": Format(lambda network, path: Files({path: to_safetensors(network.model, network.about)})),
}
