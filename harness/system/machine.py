"""Machine and processes: processor, device, signals and rules for worker processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
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

_INFO = Path("/proc/cpuinfo")  # lines "key : value" about each core; exists on Linux only
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time per period, and the period (cgroup v2)
_PR_SET_PDEATHSIG = 1  # option of prctl(2): signal to send to a process when the parent process dies


def compiler_words(variable: str, default_names: Sequence[str]) -> list[str]:
    """Return the command of a compiler, split at spaces; an empty list if no compiler is installed.

    Args:
        variable: Environment variable that names the compiler.
        default_names: Compilers to try in turn if the variable is not set.
    """
    command = os.environ.get(variable)
    for name in [command] if command else default_names:
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    return []


def git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in a folder, with replacement objects ignored; None if the command fails."""
    command = ["git", "--no-replace-objects", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", errors="replace")


def core_count() -> int:
    """Return the number of cores that this process may use, within the quota of the container, at least 1."""
    count = os.cpu_count() or 1  # None if unknown
    # sched_getaffinity is available only on Linux.
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    quota = cores_by_quota()
    if quota is not None:
        count = min(count, max(1, int(quota)))
    return count


def cores_by_quota() -> float | None:
    """Return the quota of the container as a number of cores, None without a quota."""
    try:
        quota, period = _QUOTA.read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processor_flags() -> set[str]:
    """Return the instruction sets by Linux names (``flags``, on ARM ``Features``); empty if unknown."""
    return set(" ".join(_facts("flags", "Features")).split())


def processor_name() -> str:
    """Return the model name of the processor on Linux, else ``unknown``."""
    return next(iter(_facts("model name")), "unknown")


def _facts(*keys: str) -> list[str]:
    """Return the values of the lines of ``_INFO`` that begin with one of ``keys``."""
    if not _INFO.exists():
        return []
    lines = _INFO.read_text(encoding="utf-8").splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.startswith(keys)]


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: ``name`` is no such device.
        DeviceError: torch does not find this GPU.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::([0-9]{1,3}))?", name)
    if match is None:
        raise UsageError(f"unknown device {name!r}; allowed: auto, cpu, cuda and cuda:N")
    if name != "cpu":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(match.group(1) or "0")  # cuda is cuda:0
        if number >= count:
            raise DeviceError(f"device {name} was requested, but torch {torch.__version__} finds {count} CUDA devices")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return the device name to store in results: the model of the GPU, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def worker_count(workers: int | None, device: torch.device) -> int:
    """Return the number of worker processes: ``workers``, or if None, the number of cores on a CPU and 1 on a GPU."""
    if workers is not None:
        return workers
    return core_count() if device.type == "cpu" else 1


@contextmanager
def handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    """Install signal handlers, by signal, for the block, then restore the previous handlers.

    No effect outside the main thread, in which alone Python allows to set handlers.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in handlers:
            handler = signal.getsignal(number)
            # Handlers not set from Python (None) cannot be restored, so these signals are left alone.
            if handler is not None:
                before[number] = handler
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_may_start() -> None:
    """Raise UsageError in a daemonic process, which may not start processes."""
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "a daemonic process, such as a worker of multiprocessing.Pool, cannot start training processes",
            hint="use threads, joblib's loky or concurrent.futures instead",
        )


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT within the ``with`` block, so that processes started there begin with SIGINT blocked.

    Ctrl-C sends SIGINT to the whole process group of the terminal, but only the coordinator must react. The coordinator
    receives a SIGINT of that time at the end of the ``with`` block.
    """
    # The first start of the resource tracker unblocks SIGINT, so the tracker must run before SIGINT is blocked.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with(parent: int) -> None:
    """Kill this process when the parent process ends; outside Linux only if the parent has ended before this call.

    ``parent`` is the id of the parent process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # prctl has no effect if the parent has ended already.
    if os.getppid() != parent:
        os._exit(1)
