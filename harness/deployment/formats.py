"""Export formats of trained networks; a new format needs a module with a writer and an entry in ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.deployment.c_folder import c_files
from harness.deployment.onnx import ONNX_LIBRARIES, check_onnx, onnx_files
from harness.deployment.pytorch_folder import check_pytorch, pytorch_files
from harness.deployment.trained_network import Files, TrainedNetwork
from harness.training.recipe import Recipe
from harness.training.run import to_safetensors
from search_spaces.deployment import check_integer_form
from search_spaces.network import Architecture, Task, analyse


def _accept(architecture: Architecture, task: Task, recipe: Recipe) -> None:
    """Accept every network and recipe."""


@dataclass(frozen=True, slots=True)
class Format:
    """An export format.

    Attributes:
        files: Makes the files for a path.
        libraries: Optional libraries needed.
        check: Raises an exception, before any training, if the format cannot hold a network trained with a recipe.
    """

    files: Callable[[TrainedNetwork, Path], Files]
    libraries: tuple[str, ...] = ()
    check: Callable[[Architecture, Task, Recipe], None] = _accept


# By name of the command-line option, which takes the path.
FORMATS = {
    "c": Format(c_files, check=lambda network, task, recipe: check_integer_form(analyse(network, task).plan)),
    "onnx": Format(onnx_files, ONNX_LIBRARIES, check_onnx),
    "pytorch": Format(pytorch_files, check=check_pytorch),
    "safetensors": Format(lambda network, path: Files({path: to_safetensors(network.model, network.about)})),
}
