"""The one place that imports torchvision.

pip may install a torchvision wheel that was built for CUDA beside a CPU-only torch. The wheel's compiled
part then cannot be loaded, and while torchvision puts up with that, it goes on to describe the shapes of
two operators of that part, ``nms`` and ``qnms``. They do not exist, so ``import torchvision`` ends in
"operator torchvision::nms does not exist". Declaring the two without an implementation lets the import
pass; nothing here calls them, and who does is told that they are not implemented.

This module is not a repair of torchvision: detection models need a wheel that fits.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

# Found by importing torchvision 0.28.0 beside torch 2.13.0+cpu: each of the two stops the import.
MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A torch.library.Library withdraws its operators when it is collected, so it must outlive the import.
_stubs: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision with its ``datasets``, declaring stub operators if its compiled part does not load.

    Raises:
        ImportError: torchvision is not installed.
    """
    if "torchvision" not in sys.modules and not compiled_part_loads():
        _declare_stubs()
    return importlib.import_module("torchvision")


def compiled_part_loads() -> bool:
    """Return whether the compiled part can be loaded, as torchvision will do; loading it twice is harmless."""
    found = importlib.util.find_spec("torchvision")
    folders = found.submodule_search_locations if found else None
    for library in sorted(path for folder in folders or () for path in Path(folder).glob("_C*.so")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False


def _declare_stubs() -> None:
    """Declare the operators once a process."""
    if _stubs:
        return
    stubs = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in MISSING_OPERATORS:
        stubs.define(schema)  # type: ignore[no-untyped-call]
    _stubs.append(stubs)
