"""What Linux says of this machine's processor."""

from __future__ import annotations

from pathlib import Path

INFO = Path("/proc/cpuinfo")


def processor_flags() -> set[str]:
    """Return the instruction sets by Linux's names (``flags``, on ARM ``Features``); empty where it does not say."""
    try:
        lines = INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}
