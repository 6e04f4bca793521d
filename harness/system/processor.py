"""What the system says of this machine's processor; its flags and its name only Linux."""

from __future__ import annotations

import os
from pathlib import Path

INFO = Path("/proc/cpuinfo")


def core_count() -> int:
    """Return the cores that this process may use."""
    # Only Linux says which.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_flags() -> set[str]:
    """Return the instruction sets by Linux's names (``flags``, on ARM ``Features``); empty where it does not say."""
    try:
        lines = INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}


def processor_name() -> str:
    """Return the model of the processor as Linux names it, ``unknown`` where it does not say."""
    try:
        lines = INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
