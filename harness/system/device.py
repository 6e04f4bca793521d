"""Which device trains, and with how many processes: chosen here once, everything else is told."""

from __future__ import annotations

import re

import torch

from harness.system.errors import DeviceError, UsageError
from harness.system.processor import core_count
from search_spaces.errors import nearest


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: another name.
        DeviceError: CUDA is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    known = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", name)
    if known is None:
        raise UsageError(
            f"unknown device {name!r}; allowed are auto, cpu, cuda and cuda:N",
            hint=nearest(name, ("auto", "cpu", "cuda")),
        )
    if name != "cpu":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(known.group(1) or 0) >= count:
            raise DeviceError(f"{name} was asked for, but torch {torch.__version__} finds {count} CUDA devices here")
        # The same seed is to give the same weights: no choice of kernels by timing, none that adds in any order.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # fp32 means fp32: TF32 would round the factors to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the name that results carry: the GPU's, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def worker_count(given: int | None, device: torch.device) -> int:
    """Return how many processes train: as told, one single-threaded one a core, or one on a GPU."""
    if given is not None:
        return given
    if device.type != "cpu":
        return 1
    return core_count()
