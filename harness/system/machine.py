"""Machine and processes: processor, device, signals and rules for worker processes."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.system import clock
from harness.system.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

_INFO = Path("/proc/cpuinfo")  # lines "key : value" about each core, on Linux only
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time per period, and the period (cgroup v2)
_GIT_SECONDS = 30.0  # time limit of a git command
_PROGRAM_WAIT_SECONDS = 0.1  # longest wait without a look at signals


def compiler_words(variable: str, default_names: Sequence[str]) -> list[str]:
    """Return the command of a compiler, from an environment variable or the first installed; may be empty."""
    command = os.environ.get(variable)
    for name in [command] if command else default_names:
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    return []


@contextmanager
def process_group() -> Iterator[int]:
    """Yield the id of a process group whose processes are killed at the end of the block, and if this process dies.

    A shell in the group waits until a pipe of this process closes.
    """
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", "read line; kill -9 0"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    )
    try:
        yield watcher.pid
    finally:
        with suppress(ProcessLookupError, PermissionError):  # killed already
            os.killpg(watcher.pid, signal.SIGKILL)
        watcher.communicate()


def run_program(
    command: Sequence[str | Path],
    seconds: float,
    *,
    content: bytes = b"",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program with its child processes in a group that ends with this process (`process_group`).

    Args:
        folder: Working folder; None for the present folder.

    Raises:
        OSError: The program cannot be started.
        subprocess.TimeoutExpired: The time limit is exceeded.
    """
    began = clock.now()
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as source, process_group() as group:
        # After a time-out, ``communicate`` sends no further input to a pipe.
        source.write(content)
        source.seek(0)
        with subprocess.Popen(
            command, stdin=source, stdout=pipe, stderr=pipe, cwd=folder, env=environment, process_group=group
        ) as process:
            try:
                while clock.now() - began < seconds:
                    with suppress(subprocess.TimeoutExpired):
                        # Ctrl-C raises an exception only between two lines of this program.
                        output, errors = process.communicate(timeout=_PROGRAM_WAIT_SECONDS)
                        return subprocess.CompletedProcess(command, process.returncode, output, errors)
                raise subprocess.TimeoutExpired(command, seconds)
            finally:
                process.kill()


def git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command without replacement objects, or None."""
    command = ["git", "--no-replace-objects", "-C", str(folder), *arguments]
    try:
        answer = run_program(command, _GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return None if answer.returncode else answer.stdout.decode("utf-8", errors="replace")


def core_count() -> int:
    """Return the cores that this process may use, within the quota of the container, at least 1."""
    count = os.cpu_count() or 1  # None if unknown
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
    """Return the instruction sets by Linux names; empty if unknown."""
    return set(" ".join(_facts("flags", "Features")).split())


def processor_name() -> str:
    """Return the model name of the processor on Linux, else ``unknown``."""
    return next(iter(_facts("model name")), "unknown")


def _facts(*keys: str) -> list[str]:
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
    """Return the model of the GPU, or ``cpu``."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def worker_count(workers: int | None, device: torch.device) -> int:
    """Return the number of worker processes; by default the cores, and 1 on a GPU."""
    if workers is not None:
        return workers
    return core_count() if device.type == "cpu" else 1


def check_may_start() -> None:
    """Raise UsageError in a daemonic process, which may not start processes."""
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "a daemonic process, such as a worker of multiprocessing.Pool, cannot start training processes",
            hint="use threads, joblib's loky or concurrent.futures instead",
        )


_STARTING = threading.Lock()  # held while ``spawn.get_preparation_data`` is replaced


class _Process(SpawnProcess):
    """A spawned process that ends with its parent and knows neither main module nor start method of the caller.

    Otherwise a script without a ``__main__`` guard would begin the search again in every process, and the start method
    ``loky`` of joblib's workers would be unknown.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        thread = threading.get_ident()

        def preparation_without_main(name: str) -> dict[str, Any]:
            preparation = original(name)
            if threading.get_ident() != thread:  # a different thread starts a separate process
                return preparation
            facts = {key: value for key, value in preparation.items() if not key.startswith("init_main")}
            main = {"init_main_from_name": "harness.system.worker_start", "name": f"{name} {os.getpid()}"}
            return facts | main | {"start_method": "spawn"}

        with _STARTING:
            original = spawn.get_preparation_data
            vars(spawn)["get_preparation_data"] = preparation_without_main
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                vars(spawn)["get_preparation_data"] = original


class WorkerContext(SpawnContext):
    """Context of worker processes, which end with this process and do not import its main module."""

    Process = _Process


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in the block, so that processes started there begin with SIGINT blocked.

    Ctrl-C sends SIGINT to the whole process group of the terminal, but only the coordinator must react, at the end of
    the block.
    """
    # The first start of the resource tracker unblocks SIGINT; the tracker would warn of the semaphores of a killed
    # program.
    sys.warnoptions.append("ignore:resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
