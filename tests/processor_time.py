"""Processor time of a Python program, relative to imports on the same machine: machines differ by a factor of two."""

from __future__ import annotations

import resource
import subprocess
import sys

from tests.conftest import REPOSITORY

_IMPORTS = ("-c", "import asyncio, email.message, http.client, json, unittest")  # 0.08 s on the machine of the limits
_REPEATS = 5


def processor_seconds(*arguments: str) -> float:
    """Return the least processor time of several runs, which hardly depends on further processes and cold caches."""
    seconds = []
    for _ in range(_REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True, cwd=REPOSITORY)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def relative_processor_time(*arguments: str) -> float:
    """Return the processor time of a Python program over the time of some imports of the standard library."""
    return processor_seconds(*arguments) / processor_seconds(*_IMPORTS)
