"""Facts of the machine and the software that a measurement depends on."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from harness.system.machine import core_count, processor_name
from harness.training.native.engine import compiler_version
from harness.training.result import code_version, instructions


def machine() -> dict[str, Any]:
    """Return processor, cores, versions and commit, without the host name."""
    commit, dirty = code_version()
    # ``code_version`` covers the packages only; the benchmarks may have uncommitted changes as well.
    command = ["git", "-C", str(Path(__file__).parent), "status", "--porcelain", "--untracked-files=no", "--", "*.py"]
    changes = subprocess.run(command, capture_output=True, check=False).stdout
    return {
        "processor": processor_name(),
        "instructions": instructions(),
        "cores": core_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiler": compiler_version().splitlines()[0],
        "commit": commit,
        "dirty": None if dirty is None else dirty or bool(changes),
    }
