"""The persistent kernel on a CUDA device: its sources compiled for it, loaded, and launched with a block a network."""

from __future__ import annotations

import functools
import hashlib

import torch
from torch import Tensor

from harness.engine import cuda_kernel
from harness.engine.persistent_training import SOURCES, Kernel

# With the 128 registers that kernel.cu allows each they fill a multiprocessor; half of them leave room for a second
# block.
THREADS = 512


def sources() -> dict[str, str]:
    """Return the sources by name: ``kernel.cu`` and what it includes."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(SOURCES.iterdir())
        if path.suffix in (".cu", ".h")
    }


def machine_code(architecture: str, *options: str) -> tuple[bytes, str]:
    """Return the kernel for an architecture such as ``sm_90``, and the compiler's log.

    Raises:
        DeviceError: there is no NVRTC, or it does not know the architecture.
    """
    return cuda_kernel.compiled("kernel.cu", sources(), [f"--gpu-architecture={architecture}", "--std=c++17", *options])


def load(device: torch.device) -> Kernel:
    """Return the kernel for a CUDA device, the current one where it has no number; compiled at its first use there.

    Raises:
        DeviceError: NVRTC or the driver is missing, or refuses it.
    """
    return _loaded(torch.cuda.current_device() if device.index is None else device.index)


# By number: what is loaded into one device's context cannot be launched on another.
@functools.cache
def _loaded(device: int) -> Kernel:
    properties = torch.cuda.get_device_properties(device)
    architecture = f"sm_{properties.major}{properties.minor}"
    code, _ = machine_code(architecture)
    with torch.cuda.device(device):
        function = cuda_kernel.loaded(code, "persistent_train")

    def launch(table: Tensor, count: int, fast_bytes: int) -> None:
        threads = THREADS if count <= properties.multi_processor_count else THREADS // 2
        with torch.cuda.device(device):
            cuda_kernel.launch(function, count, threads, fast_bytes, table.data_ptr())

    digest = hashlib.sha256(code).hexdigest()[:8]
    name = f"persistent {architecture} {digest}"
    shared: int = properties.shared_memory_per_block_optin  # type: ignore[attr-defined]  # unknown to torch's stubs
    return Kernel(name, torch.float32, shared, launch)
