"""Export formats of trained networks; a new format needs a module with a writer and an entry in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.exports.c_folder import c_files
from harness.exports.onnx import ONNX_LIBRARIES, check_onnx, onnx_files
from harness.exports.pytorch_folder import check_pytorch, pytorch_files
from harness.exports.trained_network import Files, TrainedNetwork
from harness.spaces.network import Architecture, Task, analyse
from harness.training.recipe import Recipe
from harness.training.run import to_safetensors


@dataclass(frozen=True, slots=True)
class Format:
    """An export format.

    Attributes:
        files: Returns the files for a network and a path, which is a file or a folder.
        libraries: Names of the optional libraries that the format needs.
        check: Raises ContentError or SearchSpaceError, before any training, if the format cannot hold a network that is
            trained with a recipe.
    """

    files: Callable[[TrainedNetwork, Path], Files]
    libraries: tuple[str, ...] = ()
    check: Callable[[Architecture, Task, Recipe], None] = lambda architecture, task, recipe: None


# By name of the command-line option, which takes the path: ``--c FOLDER``, ``--onnx FILE`` and so on.
FORMATS = {
    "c": Format(c_files, check=lambda network, task, recipe: analyse(network, task).plan.check()),
    "onnx": Format(onnx_files, ONNX_LIBRARIES, check_onnx),
    "pytorch": Format(pytorch_files, check=check_pytorch),
    "safetensors": Format(
        lambda network, path: Files({path: to_safetensors(network.model, network.about, network.names)})
    ),
}
