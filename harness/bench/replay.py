"""One repeat of one method: a search in memory, by an executor of one's choice, until the time of the task is up.

A table holds two or three seeds a network, but a search may train one six times. ``RECORDED`` takes one of the
network's own runs each time, so every figure was measured, but three runs of two seeds agree too often. ``POOLED``
takes the mean of the network's runs and puts on it how much one run of a similar network lay off that network's mean,
so runs differ as much as they do in truth. In both the mean over all runs of a network is that of the table. Seconds
are always those of one of the network's own runs.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event as Sign
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Protocol, assert_never

from harness.bench.comparison import NoiseModel, SearchTask, repeat_seed, study_config
from harness.bench.external import opened
from harness.bench.methods import BARE, BuiltIn, Method, Stops
from harness.bench.scores import Answer, Trace
from harness.bench.table import Row, Table, runs_of
from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search import pruning
from harness.search.clock import Effort
from harness.search.loop import explore
from harness.search.propose import Proposer, Proposing
from harness.search.race import Candidate
from harness.search.state import Moment, Search, Watcher
from harness.system import statistics
from harness.system.errors import HarnessError
from harness.system.machine import ignoring_sigint
from harness.training.executor import Event, Executor, Finished, Limits, Place
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_space

# Networks nearest in errors that lend the spread between their seeds.
_LENDERS = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """One run.

    Attributes:
        errors: wrong validation images, by rung, of ``size``.
        seconds: of training since the start of the run, by rung.
        status: how it ends.
    """

    network_hash: str
    parameters: int
    macs: int
    size: int
    errors: Mapping[int, int]
    seconds: Mapping[int, float]
    status: Status


class _Readings(Protocol):
    """Whoever knows what trainings give."""

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run of a job; the same job of the same repeat, given by its seed, is always the same run."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What a table says of one network; ``means`` and ``offs`` are of the runs that did not diverge.

    Attributes:
        means: errors by rung, not rounded.
        offs: by how much of the mean each run lay off it, by rung, widened as few runs ask for.
    """

    rows: tuple[Mapping[int, Row], ...]
    means: Mapping[int, float]
    offs: tuple[Mapping[int, float], ...]


class _TableReadings:
    """Runs as a table tells them.

    Attributes:
        known: what it says of each network, by hash.
        lenders: how far each run of the table lay off its network's mean, with that mean, ascending; ``lent`` of them
            lend to a network.
    """

    def __init__(self, table: Table, spread: NoiseModel = NoiseModel.POOLED) -> None:
        """Work out means and spreads once."""
        self.table, self.spread = table, spread
        self.size = dataset(self.table.facts.dataset).validation_size
        self.known = {key: _known(tuple(runs.values()), self.size) for key, runs in self.table.runs.items()}
        last = self.table.rungs[-1]
        lent = [(known.means[last], off) for known in self.known.values() for off in known.offs]
        # Equal means keep the table's order, which is fixed.
        self.lenders = sorted(lent, key=lambda pair: pair[0])
        seeds = max(len(known.rows) for known in self.known.values())
        self.lent = min(_LENDERS * seeds, len(self.lenders))

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run."""
        network_hash = job.architecture.hash
        runs_of(self.table, network_hash)
        known = self.known[network_hash]
        rng = random.Random(f"{repeat}/{network_hash}/{job.purpose}/{job.seed_index}")
        own = rng.choice(known.rows)
        first = own[self.table.rungs[0]]
        errors = {rung: _errors(row, self.size) for rung, row in own.items()}
        if self.spread is NoiseModel.POOLED and first.status is Status.COMPLETE and self.lenders:
            off = self._lent(known.means[self.table.rungs[-1]], rng)
            errors = {rung: _whole(known.means[rung] * (1 + off[rung]), self.size) for rung in own}
        seconds = {rung: row.seconds for rung, row in own.items()}
        return Reading(network_hash, first.parameters, first.macs, self.size, errors, seconds, first.status)

    def _lent(self, errors: float, rng: random.Random) -> Mapping[int, float]:
        middle = bisect_left(self.lenders, errors, key=lambda pair: pair[0])
        low = min(max(0, middle - self.lent // 2), len(self.lenders) - self.lent)
        return self.lenders[low + rng.randrange(self.lent)][1]


def true_accuracies_pct(table: Table) -> dict[str, float]:
    """Return each network's mean validation accuracy at the last rung, over its seeds; no method sees it."""
    last = table.rungs[-1]
    return {
        key: statistics.mean([run[last].validation_accuracy_pct for run in runs.values()])
        for key, runs in table.runs.items()
    }


def _known(rows: tuple[Mapping[int, Row], ...], size: int) -> _Known:
    sound = [run for run in rows if all(row.status is Status.COMPLETE for row in run.values())]
    means = {rung: statistics.mean([float(_errors(run[rung], size)) for run in sound]) for rung in rows[0]}
    if len(sound) < 2:
        return _Known(rows, means, ())
    # Runs lie nearer to the mean of a few, of which they are a part, than to the true one (Bessel's correction).
    wider = math.sqrt(len(sound) / (len(sound) - 1))
    offs = [{rung: wider * (_errors(run[rung], size) / max(1.0, means[rung]) - 1) for rung in means} for run in sound]
    return _Known(rows, means, tuple(offs))


def _errors(row: Row, size: int) -> int:
    return _whole((1 - row.validation_accuracy_pct / 100) * size, size)


def _whole(errors: float, size: int) -> int:
    return min(size, max(0, round(errors)))


@dataclass(slots=True)
class _SimulatedWorker:
    """One place of the executor; ``until`` is when its job ends, in seconds of the clock."""

    job: Job | None = None
    until: float = 0.0


@dataclass(slots=True)
class SimulatedExecutor(Executor):
    """Workers and their clock, which stops at ``end``.

    Attributes:
        repeat: seed of the repeat.
    """

    readings: _Readings
    repeat: int
    end: float
    clock: float = 0.0
    workers: list[_SimulatedWorker] = field(default_factory=list)

    def places(self) -> list[Place]:
        """Return what each worker is doing."""
        return [Place(worker.job) for worker in self.workers]

    def start(self, count: int) -> None:
        """Make so many workers."""
        self.workers = [_SimulatedWorker() for _ in range(count)]

    def submit(self, job: Job) -> None:
        """Give the first idle worker a job, which goes on from the seconds that its earlier part has taken."""
        reading = self.readings.read(job, self.repeat)
        last = job.until_epoch or job.recipe.epochs
        place = next(place for place, worker in enumerate(self.workers) if worker.job is None)
        self.workers[place] = _SimulatedWorker(job, self.clock + reading.seconds[last] - job.spent_seconds)

    def wait(self, seconds: float) -> list[Event]:
        """Go on to the next end of a job and return it, or to the end of the clock where that comes first.

        Who does not wait hears nothing: the clock stands still.
        """
        if not seconds:
            return []
        busy = [worker for worker in self.workers if worker.job is not None]
        next_end = min((worker.until for worker in busy), default=self.end)
        self.clock = min(next_end, self.end)
        events: list[Event] = []
        for worker in busy:
            # Jobs that end at the same moment end in the order of their workers.
            if worker.until <= self.clock and worker.job is not None:
                job, worker.job = worker.job, None
                events.append(Finished(job, _result_of(job, self.readings.read(job, self.repeat))))
        return events

    def stop(self) -> None:
        """Clear all workers."""
        self.workers = []

    def now(self) -> float:
        """Return the clock."""
        return self.clock


def _result_of(job: Job, reading: Reading) -> Result:
    """Return the result that the job's training would have given."""
    last = job.until_epoch or job.recipe.epochs
    status = Status.RUNNING if last < job.recipe.epochs else reading.status
    history, seconds = list[Epoch](), 0.0
    for number in range(1, last + 1):
        # Only epochs that are rungs were looked at and timed.
        seconds = reading.seconds.get(number, seconds)
        history.append(Epoch(number, 0.0, None, seconds, reading.errors.get(number)))
    return Result(
        architecture=job.architecture,
        hash=reading.network_hash,
        parameters=reading.parameters,
        macs=reading.macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash="",
        dataset="",
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=0,
        status=status,
        message="the loss was not finite" if status is Status.DIVERGED else "",
        history=tuple(history),
        validation_errors=reading.errors[last],
        validation_size=reading.size,
        train_seconds=reading.seconds[last],
        trial=job.trial,
        decisions=job.decisions,
    )


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
class _Watch(Watcher):
    """Notes what the answer is after each event, and ends the search when the time is up."""

    seconds: float
    search: Search | None = None
    answers: list[Answer] = field(default_factory=list)
    runs: int = 0

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
        if at.elapsed >= self.seconds and self.search is not None:
            self.search.interrupted = True

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        self.runs += 1


def replay(
    method: Method, task: SearchTask, readings: _Readings, seed: int, repeat: int, answer_seconds: float
) -> Trace:
    """Run one repeat on a simulated clock."""
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
        search = Search(
            folder,
            config,
            replace(spent, seconds=None, trials=None, workers=task.workers),
            executor,
            proposer,
            switches=switches,
            is_hopeless=Halving(task.target_pct).is_hopeless if stops is Stops.HALVING else None,
            in_memory=True,
        )
        search.watcher = watch
        watch.search = search
        executor.start(task.workers)
        try:
            search.began = executor.now()
            explore(search)
            ended = min(search.elapsed, task.seconds)
        finally:
            executor.stop()
    return Trace(
        method=method.name,
        repeat=repeat,
        seed=own_seed,
        answers=tuple(watch.answers),
        networks=len(search.candidates),
        runs=watch.runs,
        rejected=search.rejected.total(),
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
_CHUNK = 5

# How a process does a repeat of a method, and the sign to stop; made once in each.
_WORKER: tuple[Callable[[Method, int], Trace], Sign] | None = None


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
    """
    done = {(trace.method, trace.repeat): trace for trace in there}
    # Repeat by repeat, so that a comparison that is stopped has about as many of each method.
    pieces = [
        (method, missing)
        for first in range(0, repeats, _CHUNK)
        for method in methods
        if (
            missing := tuple(
                repeat for repeat in range(first, min(first + _CHUNK, repeats)) if (method.name, repeat) not in done
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
    stopped: Sign,
    ready: Semaphore,
) -> None:
    global _WORKER
    # Ctrl-C reaches the whole terminal group; the process that was asked decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    readings = _TableReadings(table, spread)
    _WORKER = (lambda method, repeat: replay(method, task, readings, seed, repeat, answer_seconds)), stopped
    ready.release()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _do(method: Method, repeats: Sequence[int]) -> list[Trace]:
    assert _WORKER is not None, "a process is prepared before it works"
    replayed, stopped = _WORKER
    return [replayed(method, repeat) for repeat in repeats if not stopped.is_set()]
