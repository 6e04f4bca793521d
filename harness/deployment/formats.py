"""The formats in which a trained network is written: a further one is a module with its writer, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.deployment.network import Files, TrainedNetwork
from harness.deployment.onnx import ONNX_LIBRARIES, onnx_files
from harness.training.run import to_safetensors


def _safetensors_files(network: TrainedNetwork, path: Path) -> Files:
    return Files({path: to_safetensors(network.model, network.about)})


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what makes its files for a path, and the optional libraries that this needs."""

    files: Callable[[TrainedNetwork, Path], Files]
    libraries: tuple[str, ...] = ()


# By the name of the option, which takes the path.
FORMATS = {
    "onnx": Format(onnx_files, ONNX_LIBRARIES),
    "safetensors": Format(_safetensors_files),
}
