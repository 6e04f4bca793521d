"""The facts of a machine that a measurement depends on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from harness import native
from harness.environment import code_version, instructions


def machine() -> dict[str, Any]:
    """Return processor, cores, versions and commit; no name of the machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    commit, dirty = code_version()
    return {
        "processor": model,
        "instructions": instructions(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiler": native.compiler_version().splitlines()[0],
        "commit": commit,
        "dirty": dirty,
    }
