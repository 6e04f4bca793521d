"""One repeat of one method: a search in memory, by an executor of one's choice, until the time of the task is up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from typing import assert_never

from harness.bench.comparison import NoiseModel, SearchTask, repeat_seed, study_config
from harness.bench.external import opened
from harness.bench.methods import BARE, BuiltIn, Method, Stops
from harness.bench.scores import Answer, Trace
from harness.bench.simulation import Readings, SimulatedExecutor, TableReadings
from harness.bench.table import Table
from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search import pruning
from harness.search.clock import Effort
from harness.search.loop import explore
from harness.search.propose import Proposer, Proposing
from harness.search.race import Candidate
from harness.search.session import MemoryLog, Moment, Session
from harness.system import statistics
from harness.system.errors import HarnessError
from harness.system.machine import ignoring_sigint
from harness.training.result import Result
from harness.training.workers import Executor, Limits
from search_spaces.resolve import parse_space

# One run in so many goes on: rungs of a table double, so each round costs the same.
_REDUCTION = 2


@dataclass(slots=True)
class Halving:
    """Asynchronous successive halving: of the runs that have come to a rung, the better half goes on.

    The form that decides at once, as Optuna's SuccessiveHalvingPruner does (Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", arXiv 1810.05934, with promotion instead). "Better" is meant as everywhere in a constrained
    search (Deb, "An efficient constraint handling method for genetic algorithms", 2000): one that already reaches the
    target beats one that does not, two that reach it go by size, two that do not by their errors.

    Attributes:
        seen: the runs that have come to each rung, best first.
    """

    target_pct: float
    seen: dict[int, list[tuple[bool, int]]] = field(default_factory=dict)

    def is_hopeless(self, found: Result) -> bool:
        """Enter a run at its rung and return whether it ends there."""
        accuracy = found.validation_accuracy_pct or 0.0
        reaches = statistics.reaches(accuracy, self.target_pct)
        place = (not reaches, found.parameters if reaches else found.validation_errors or 0)
        ranked = self.seen.setdefault(len(found.history), [])
        ranked.append(place)
        ranked.sort()
        return place > ranked[max(1, len(ranked) // _REDUCTION) - 1]


@dataclass(slots=True)
class _Watch:
    """Notes what the answer is after each event, and ends the search when the time is up."""

    seconds: float
    session: Session | None = None
    answers: list[Answer] = field(default_factory=list)
    runs: int = 0
    rejected: int = 0
    trained: int = 0

    def tick(self, at: Moment) -> None:
        if at.elapsed <= self.seconds:
            proposal = at.standing.proposal if at.standing else None
            last = self.answers[-1].hash if self.answers else None
            if (proposal.hash if proposal else None) != last:
                self.answers.append(
                    Answer(
                        seconds=round(at.elapsed, 3),
                        hash=proposal.hash if proposal else None,
                        architecture=proposal.architecture if proposal else None,
                        parameters=proposal.parameters if proposal else None,
                    )
                )
        if at.elapsed >= self.seconds and self.session is not None:
            self.session.interrupted = True

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        self.runs += 1


def replay(
    method: Method, task: SearchTask, readings: Readings, seed: int, repeat: int, answer_seconds: float
) -> Trace:
    """Run one repeat on a simulated clock.

    Raises:
        NotInTable: the method proposed a network that the table lacks.
        MethodError: a method of somebody else's misbehaved.
    """
    executor = SimulatedExecutor(readings, repeat_seed(seed, repeat), task.seconds)
    return run_repeat(method, task, executor, seed, repeat, answer_seconds)


def run_repeat(
    method: Method,
    task: SearchTask,
    executor: Executor,
    seed: int,
    repeat: int,
    answer_seconds: float,
    folder: Path = Path("nowhere"),
    effort: Effort | None = None,
) -> Trace:
    """Run one repeat with an executor.

    Args:
        folder: where an executor of processes keeps its checkpoints.
        effort: device, engine and limits of such an executor.
    """
    own_seed = repeat_seed(seed, repeat)
    built_in = method if isinstance(method, BuiltIn) else None
    stops = built_in.stops if built_in else Stops.NEVER
    config = study_config(task, built_in.sampler if built_in else "random", rungs_of(stops, task), own_seed)
    watch = _Watch(task.seconds)
    spent = effort or Effort(seconds=None, trials=None, workers=task.workers, device="cpu", limits=Limits())
    with opened(method, task, own_seed, repeat, answer_seconds) as asker:
        switches = built_in.switches if built_in else BARE
        # A method of somebody's is asked; one that comes with the bench proposes as a search does.
        proposer: Proposing | None = asker
        if proposer is None:
            space = parse_space(task.space, task.space_name, dataset(task.dataset).task)
            proposer = Proposer.new(space, replace(config, rungs=()), switches=switches)
        session = Session(
            folder=folder,
            config=config,
            effort=replace(spent, seconds=None, trials=None, workers=task.workers),
            executor=executor,
            log=MemoryLog(),
            proposer=proposer,
            candidates={},
            reporter=watch,
            began=0.0,
            before=0.0,
            switches=switches,
            is_hopeless=Halving(task.target_pct).is_hopeless if stops is Stops.HALVING else None,
        )
        watch.session = session
        executor.start(task.workers)
        try:
            session.began = executor.now()
            explore(session)
            ended = min(session.elapsed, task.seconds)
        finally:
            executor.stop()
    return Trace(
        method=method.name,
        repeat=repeat,
        seed=own_seed,
        answers=tuple(watch.answers),
        networks=len(session.candidates),
        runs=watch.runs,
        rejected=watch.rejected,
        ended=round(ended, 3),
    )


def rungs_of(stops: Stops, task: SearchTask) -> tuple[int, ...]:
    """Return the epochs at which a method's runs stop to be judged."""
    match stops:
        case Stops.NEVER:
            return ()
        case Stops.RACE:
            return pruning.rungs(task.recipe.epochs)
        case Stops.HALVING:
            return task.rungs[:-1]
        case _:
            assert_never(stops)


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
    noted: list[int] = []
    kept = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, kept)
    if noted and callable(kept):
        kept(signal.SIGINT, None)


def _wait_for(ready: Semaphore, count: int, futures: Sequence[Future[list[Trace]]]) -> None:
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
    parent.join()
    os._exit(1)


def _do(method: Method, repeats: Sequence[int]) -> list[Trace]:
    assert _WORKER is not None, "a process is prepared before it works"
    replayed, stopped = _WORKER
    return [replayed(method, repeat) for repeat in repeats if not stopped.is_set()]
