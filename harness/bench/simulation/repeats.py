"""Many repeats of many methods on a table, on several processes; the same seeds give the same traces, however many."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event, Semaphore

from harness.bench.methods.method import Method
from harness.bench.methods.task import NoiseModel, SearchTask
from harness.bench.results.trace import Trace
from harness.bench.simulation.readings import TableReadings
from harness.bench.simulation.replay import replay
from harness.bench.tables.table import Table
from harness.system.errors import HarnessError
from harness.system.machine import ignoring_sigint

# Repeats of one method that a process does in one go.
CHUNK = 5

# How a process does a repeat of a method, and the sign to stop; made once in each.
_WORKER: tuple[Callable[[Method, int], Trace], Event] | None = None


def run_repeats(
    methods: Sequence[Method],
    task: SearchTask,
    table: Table,
    spread: NoiseModel,
    repeats: int,
    seed: int,
    answer_seconds: float,
    processes: int,
    there: Sequence[Trace] = (),
    on_traces: Callable[[Sequence[Trace]], None] = lambda traces: None,
) -> list[Trace]:
    """Return the traces of all repeats, by method in the order given, then by repeat.

    Args:
        there: of earlier calls; these are not done again.
        on_traces: told which repeats have just been done.

    Raises:
        NotInTable: a method proposed a network that the table lacks.
        MethodError: a method of somebody else's misbehaved.
        HarnessError: a process was killed.
    """
    done = {(trace.method, trace.repeat): trace for trace in there}
    # Repeat by repeat, so that a comparison that is stopped has about as many of each method.
    pieces = [
        (method, missing)
        for first in range(0, repeats, CHUNK)
        for method in methods
        if (
            missing := tuple(
                repeat for repeat in range(first, min(first + CHUNK, repeats)) if (method.name, repeat) not in done
            )
        )
    ]
    context = multiprocessing.get_context("spawn")
    if pieces:
        stopped, ready = context.Event(), context.Semaphore(0)
        prepared = (task, table, spread, seed, answer_seconds, stopped, ready)
        with ProcessPoolExecutor(processes, context, _prepare, prepared) as pool:
            try:
                # A process that is not yet prepared cannot be told to stop, and would end in a traceback.
                with _interrupts_afterwards():
                    with ignoring_sigint():
                        futures = [pool.submit(_do, *piece) for piece in pieces]
                    _wait_for(ready, min(processes, len(pieces)), futures)
                for future in as_completed(futures):
                    traces = future.result()
                    done |= {(trace.method, trace.repeat): trace for trace in traces}
                    on_traces(traces)
            except BrokenProcessPool as error:
                raise HarnessError(
                    "a process of the comparison was killed, as happens where memory is short",
                    hint="finished repeats are kept; the same command continues; --processes 1 takes least memory",
                ) from error
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    # It was heard. A second one would break off the wait for the processes, and leave them behind.
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                # Each process has pieces that can no longer be taken from it; it ends after the repeat it is at.
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    order = {method.name: place for place, method in enumerate(methods)}
    return sorted(done.values(), key=lambda trace: (order[trace.method], trace.repeat))


@contextmanager
def _interrupts_afterwards() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block."""
    noted: list[int] = []
    kept = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
    if noted and callable(kept):
        kept(signal.SIGINT, None)


def _wait_for(ready: Semaphore, count: int, futures: Sequence[Future[list[Trace]]]) -> None:
    """Wait until so many processes are prepared, or one was killed, which ends all pieces."""
    while count and not any(future.done() and isinstance(future.exception(), BrokenProcessPool) for future in futures):
        if ready.acquire(timeout=0.05):
            count -= 1


def _prepare(
    task: SearchTask,
    table: Table,
    spread: NoiseModel,
    seed: int,
    answer_seconds: float,
    stopped: Event,
    ready: Semaphore,
) -> None:
    global _WORKER
    # Ctrl-C reaches the whole terminal group; the process that was asked decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    readings = TableReadings(table, spread)
    _WORKER = (lambda method, repeat: replay(method, task, readings, seed, repeat, answer_seconds)), stopped
    ready.release()


def _end_with(parent: BaseProcess) -> None:
    """End this process when the one that started it has gone, as by kill -9; it would wait for a piece for ever."""
    parent.join()
    os._exit(1)


def _do(method: Method, repeats: Sequence[int]) -> list[Trace]:
    assert _WORKER is not None, "a process is prepared before it works"
    replayed, stopped = _WORKER
    return [replayed(method, repeat) for repeat in repeats if not stopped.is_set()]
