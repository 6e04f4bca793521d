"""Runs compilers side by side, so that nothing of them is left when they end, or when this process ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from subprocess import DEVNULL, PIPE, Popen


def run_side_by_side(commands: Iterable[list[str]], at_once: int, seconds: float, folder: str) -> None:
    """Run commands, at most ``at_once`` at the same time and ``seconds`` in all; when one fails, end the others.

    Args:
        folder: where they keep their temporary files, so that those of a killed one go with it.

    Raises:
        CalledProcessError: the first that has failed, or was killed.
        TimeoutExpired: they took too long.
        OSError: one cannot be started.
    """
    end, waiting, environment = time.monotonic() + seconds, iter(commands), os.environ | {"TMPDIR": folder}
    running: set[Future[None]] = set()
    # The group ends before the pool, whose threads wait for its processes.
    with ThreadPoolExecutor(at_once) as pool, _group() as group:
        while True:
            for command in islice(waiting, at_once - len(running)):
                process = Popen(
                    command,
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    stderr=PIPE,
                    text=True,
                    env=environment,
                    process_group=group,
                )
                running.add(pool.submit(_end_of, process, command))
            if not running:
                return
            ended, running = wait(running, end - time.monotonic(), FIRST_COMPLETED)
            if not ended:
                raise subprocess.TimeoutExpired(command, seconds)
            for one in ended:
                one.result()


def _end_of(process: Popen[str], command: list[str]) -> None:
    with process:
        _, errors = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)


@contextmanager
def _group() -> Iterator[int]:
    """Give a group of processes that is killed when the block fails, or when this process ends, however it does.

    A compiler starts other programs, which know nothing of this process. So a shell, the first of the group, waits for
    the end of a pipe: the system closes it when this process is killed.
    """
    guard = ["/bin/sh", "-c", "read -r done || kill -KILL 0"]
    with Popen(guard, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0) as running:
        yield running.pid
        running.communicate(b"done\n")
