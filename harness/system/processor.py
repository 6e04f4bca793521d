"""What the system says of this machine's processor; its flags and its name only Linux."""

from __future__ import annotations

import os
from pathlib import Path

INFO = Path("/proc/cpuinfo")
# Microseconds of processor time in each period, and the period: control groups, version 2.
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def core_count() -> int:
    """Return the cores that this process may use, at least one: no more than a container's quota pays for."""
    shown = cores_shown()
    return min(shown, max(1, int(cores_by_quota() or shown)))


def cores_shown() -> int:
    """Return the cores that the system runs this process on."""
    # Only Linux says which.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_by_quota() -> float | None:
    """Return how many cores a container's quota amounts to, None without one."""
    try:
        quota, period = QUOTA.read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processor_flags() -> set[str]:
    """Return the instruction sets by Linux's names (``flags``, on ARM ``Features``); empty where it does not say."""
    return {
        flag for line in _info() if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()
    }


def processor_name() -> str:
    """Return the model of the processor as Linux names it, ``unknown`` where it does not say."""
    return next((line.partition(":")[2].strip() for line in _info() if line.startswith("model name")), "unknown")


def _info() -> list[str]:
    try:
        return INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
