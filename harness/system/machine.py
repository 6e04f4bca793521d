"""This machine and its processes: processor, device, and what holds for every process that a command starts.

The flags and the name of the processor are known only on Linux.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.system.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

_INFO = Path("/proc/cpuinfo")
# Microseconds of processor time in each period, and the period: control groups, version 2.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# prctl's option that sends a signal to a process when its parent dies (Linux, prctl(2)).
_PR_SET_PDEATHSIG = 1


def compiler_words(variable: str, usual: Sequence[str]) -> list[str]:
    """Return the words of the compiler that an environment variable names, else the first usual one that is installed.

    They are none where there is no such program.
    """
    command = os.environ.get(variable)
    for name in (command,) if command else usual:
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    return []


def core_count() -> int:
    """Return the cores that this process may use, at least one: no more than a container's quota pays for."""
    # Only Linux says on which cores a process may run.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, max(1, int(cores_by_quota() or count)))


def cores_by_quota() -> float | None:
    """Return how many cores a container's quota amounts to, None without one."""
    try:
        quota, period = _QUOTA.read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processor_flags() -> set[str]:
    """Return the instruction sets by Linux's names (``flags``, on ARM ``Features``); empty where it does not say."""
    return {flag for words in _facts("flags", "Features") for flag in words.split()}


def processor_name() -> str:
    """Return the model of the processor as Linux names it, ``unknown`` where it does not say."""
    return next(iter(_facts("model name")), "unknown")


def _facts(*keys: str) -> list[str]:
    lines = _INFO.read_text(encoding="utf-8").splitlines() if _INFO.exists() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(keys)]


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", name)
    if match is None:
        raise UsageError(f"unknown device {name!r}; allowed are auto, cpu, cuda and cuda:N")
    if name != "cpu":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(match.group(1) or 0) >= count:
            raise DeviceError(f"{name} was asked for, but torch {torch.__version__} finds {count} CUDA devices here")
        # The same seed is to give the same weights: no choice of kernels by timing, none that adds in any order.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # fp32 means fp32: TF32 would round the factors to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the name that results carry: the GPU's, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def worker_count(workers: int | None, device: torch.device) -> int:
    """Return how many processes train: ``workers`` where it is a number, else one a core, or one on a GPU."""
    return workers or (core_count() if device.type == "cpu" else 1)


@contextmanager
def torch_of_caller() -> Iterator[None]:
    """Give torch's threads and random numbers after the block back to whoever called, as they were."""
    import torch

    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    """Handle signals by these functions in the block, and then as before; in the main thread, which alone is told."""
    is_main = threading.current_thread() is threading.main_thread()
    # One that was not set by Python could not be put back.
    before = {number: handler for number in handlers if (handler := signal.getsignal(number)) is not None and is_main}
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_may_start() -> None:
    """Raise UsageError in a process that may start no other ones."""
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "this process is daemonic, as those of multiprocessing.Pool are, so it may not start processes that train",
            hint="threads, joblib's loky and concurrent.futures may",
        )


@contextmanager
def ignoring_sigint() -> Iterator[None]:
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
