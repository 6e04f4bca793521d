"""The persistent kernel built for a processor: threads of the host stand for those of a block."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from harness.engine import native
from harness.engine.persistent_training import SOURCES, Kernel

# As the native engine of tests; the compiler is what makes them differ from a GPU's kernel, the sources are the same.
OPTIONS = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
SHARED_BYTES = 48 * 1024


@functools.cache
def library(*, double: bool = False, extra: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Compile the sources and load them; an equal build of an earlier session is taken again."""
    command = [*native.compiler(), *OPTIONS, f"-DREAL={'double' if double else 'float'}", *extra]
    digest = hashlib.sha256("\0".join([*command, native.compiler_version()]).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    folder = Path(os.environ["HARNESS_ENGINE_CACHE"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"persistent-{digest.hexdigest()[:16]}.so"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".so", delete=False) as made:
            subprocess.run([*command, "-o", made.name, str(SOURCES / "host.cpp")], check=True)
        Path(made.name).replace(path)
    found = ctypes.CDLL(str(path))
    found.persistent_train.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
    return found


def host_kernel(threads: int = 1, *, double: bool = False, fast_bytes: int = SHARED_BYTES) -> Kernel:
    """The kernel on this processor, so many threads a network."""

    def launch(table: Tensor, count: int, wanted: int) -> None:
        assert wanted <= fast_bytes
        assert library(double=double).persistent_train(table.data_ptr(), count, threads, wanted) == 0

    return Kernel("persistent host", torch.float64 if double else torch.float32, fast_bytes, launch)
