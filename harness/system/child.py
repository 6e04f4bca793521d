"""What holds for every process that a command starts: it dies with the command, and Ctrl-C is not its business."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

# prctl's option that sends a signal to a process when its parent dies (Linux, prctl(2)).
_PR_SET_PDEATHSIG = 1


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Block SIGINT for the processes that are started in the block; for this one it only waits until its end.

    Ctrl-C reaches the whole terminal group, but only the coordinator decides what it means.
    """
    # Its first start lifts the block again, so it comes first.
    resource_tracker.ensure_running()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def die_with(parent: int) -> None:
    """Let this process end when its parent does, however that ends; off Linux only where it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call took effect.
    if os.getppid() != parent:
        os._exit(1)
