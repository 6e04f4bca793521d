"""The facts of a machine that a measurement depends on."""

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
    """Return processor, cores, versions and commit; no name of the machine."""
    commit, dirty = code_version()
    # A benchmark may have been changed where the packages have not.
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
