"""One repeat of one method: a search in memory, by an executor of one's choice, until the time of the task is up.

A table holds two or three seeds a network, but a search may train one six times. ``RECORDED`` takes one of the
network's own runs each time, so every figure was measured, but three runs of two seeds agree too often. ``POOLED``
takes the mean of the network's runs and puts on it how much one run of a similar network lay off that network's mean,
so runs differ as much as they do in truth. In both the mean over all runs of a network is that of the table. Seconds
are always those of one of the network's own runs.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.bench.comparison import Answer, Comparison, NoiseModel, Trace
from harness.bench.methods import Method, Problem, Stops, asking
from harness.bench.table import Row, Table
from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.search.clock import Effort
from harness.search.loop import explore
from harness.search.propose import Proposer, Proposing
from harness.search.race import Candidate
from harness.search.state import Moment, Search, Watcher
from harness.system import statistics
from harness.system.errors import ContentError, HarnessError
from harness.system.machine import die_with, ignoring_sigint
from harness.training.executor import Event, Executor, Finished, Limits, Place
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from search_spaces.notation import parse_space

# Networks nearest in errors that lend the spread between their seeds.
_LENDERS = 20
# Under halving one run in so many goes on: rungs of a table double, so each round costs the same.
_REDUCTION = 2


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


# What a training gives; the same job of the same repeat, which is given by its seed, is always the same run.
Read = Callable[[Job, int], Reading]


class _TableReadings:
    """Runs as a table tells them.

    Attributes:
        means: errors by rung, not rounded, of each network's runs that did not diverge.
        lenders: by how much of its network's mean each such run lay off it, by rung, after that mean; ascending.
    """

    def __init__(self, table: Table, spread: NoiseModel = NoiseModel.POOLED) -> None:
        """Work out means and spreads once."""
        self.table, self.spread = table, spread
        self.size = dataset(table.facts.dataset).validation_size
        self.means: dict[str, dict[int, float]] = {}
        self.lenders: list[tuple[float, dict[int, float]]] = []
        last = table.rungs[-1]
        for key, runs in table.runs.items():
            sound = [run for run in runs.values() if run[last].status is Status.COMPLETE]
            errors = {rung: [self._errors(run[rung]) for run in sound] for rung in table.rungs}
            self.means[key] = means = {rung: statistics.mean(list(map(float, of))) for rung, of in errors.items()}
            if len(sound) > 1:
                # Runs lie nearer to the mean of a few, of which they are a part, than to the true one (Bessel).
                wider = math.sqrt(len(sound) / (len(sound) - 1))
                offs = {
                    rung: [wider * (each / max(1.0, means[rung]) - 1) for each in of] for rung, of in errors.items()
                }
                self.lenders += [(means[last], {rung: offs[rung][run] for rung in offs}) for run in range(len(sound))]
        # Equal means keep the table's order, which is fixed.
        self.lenders.sort(key=lambda pair: pair[0])
        self.lent = min(_LENDERS * max(map(len, table.runs.values())), len(self.lenders))

    def _errors(self, row: Row) -> int:
        return self._whole((1 - row.validation_accuracy_pct / 100) * self.size)

    def _whole(self, errors: float) -> int:
        return min(self.size, max(0, round(errors)))

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run; raise ContentError where the table does not hold the network."""
        network_hash = job.architecture.hash
        if (runs := self.table.runs.get(network_hash)) is None:
            raise ContentError(f"network {network_hash} is not in the table {self.table.facts.name!r}")
        rng = random.Random(f"{repeat}/{network_hash}/{job.purpose}/{job.seed_index}")
        own = rng.choice(tuple(runs.values()))
        first = own[self.table.rungs[0]]
        errors = {rung: self._errors(row) for rung, row in own.items()}
        if self.spread is NoiseModel.POOLED and first.status is Status.COMPLETE and self.lenders:
            means = self.means[network_hash]
            middle = bisect_left(self.lenders, means[self.table.rungs[-1]], key=lambda pair: pair[0])
            low = min(max(0, middle - self.lent // 2), len(self.lenders) - self.lent)
            off = self.lenders[low + rng.randrange(self.lent)][1]
            errors = {rung: self._whole(means[rung] * (1 + off[rung])) for rung in own}
        seconds = {rung: row.seconds for rung, row in own.items()}
        return Reading(network_hash, first.parameters, first.macs, self.size, errors, seconds, first.status)


class SimulatedExecutor(Executor):
    """Places whose jobs take the seconds of their readings, on a clock that stops at ``end``.

    Attributes:
        jobs: at each place a job and when it ends, in seconds of the clock, or None.
    """

    def __init__(self, read: Read, repeat: int, end: float) -> None:
        """Begin at 0; ``repeat`` is the seed of the repeat."""
        self.read, self.repeat, self.end, self.clock = read, repeat, end, 0.0
        self.jobs: list[tuple[Job, float] | None] = []

    def start(self, count: int) -> None:
        """Make so many places."""
        self.jobs = [None] * count

    def places(self) -> list[Place]:
        """Return what each place is doing."""
        return [Place(busy[0]) if busy else Place() for busy in self.jobs]

    def submit(self, job: Job) -> None:
        """Give the first idle place a job, which goes on from the seconds that its earlier part has taken."""
        reading = self.read(job, self.repeat)
        until = self.clock + reading.seconds[job.until_epoch or job.recipe.epochs] - job.spent_seconds
        self.jobs[self.jobs.index(None)] = job, until

    def wait(self, seconds: float) -> list[Event]:
        """Go on to the next end of a job and return it, or to the end of the clock where that comes first.

        Who does not wait hears nothing: the clock stands still.
        """
        if not seconds:
            return []
        self.clock = min([self.end, *(busy[1] for busy in self.jobs if busy)])
        events: list[Event] = []
        # Jobs that end at the same moment end in the order of their places.
        for place, busy in enumerate(self.jobs):
            if busy and busy[1] <= self.clock:
                self.jobs[place] = None
                events.append(Finished(busy[0], _result_of(busy[0], self.read(busy[0], self.repeat))))
        return events

    def stop(self) -> None:
        """Clear all places."""
        self.jobs = []

    def now(self) -> float:
        """Return the clock."""
        return self.clock


def _result_of(job: Job, reading: Reading) -> Result:
    last = job.until_epoch or job.recipe.epochs
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
        status=Status.RUNNING if last < job.recipe.epochs else reading.status,
        message="the loss was not finite" if reading.status is Status.DIVERGED else "",
        history=tuple(history),
        validation_errors=reading.errors[last],
        validation_size=reading.size,
        train_seconds=reading.seconds[last],
        trial=job.trial,
        decisions=job.decisions,
    )


@dataclass(slots=True)
class _Halving:
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
        reaches = statistics.reaches(found.validation_accuracy_pct or 0.0, self.target_pct)
        place = (not reaches, found.parameters if reaches else found.validation_errors or 0)
        ranked = self.seen.setdefault(len(found.history), [])
        insort(ranked, place)
        return place > ranked[max(1, len(ranked) // _REDUCTION) - 1]


@dataclass(slots=True)
class _Watch(Watcher):
    """Notes what the answer is after each event, and ends the search when the time is up."""

    seconds: float
    search: Search | None = None
    answers: list[Answer] = field(default_factory=list)
    runs: int = 0

    def tick(self, at: Moment) -> None:
        proposal = at.standing.proposal if at.standing else None
        key = proposal.hash if proposal else None
        if at.elapsed <= self.seconds and key != (self.answers[-1].hash if self.answers else None):
            found = (proposal.architecture, proposal.parameters) if proposal else (None, None)
            answer = Answer(seconds=round(at.elapsed, 3), hash=key, architecture=found[0], parameters=found[1])
            self.answers.append(answer)
        if at.elapsed >= self.seconds and self.search is not None:
            self.search.interrupted = True

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        self.runs += 1


def _seed_of(seed: int, repeat: int) -> int:
    # The same for all methods; 31 bits suit every generator that a method may use.
    return int.from_bytes(hashlib.sha256(f"bench|{seed}|{repeat}".encode()).digest()[:4], "big") >> 1


def replay(method: Method, asked: Comparison, read: Read, repeat: int) -> Trace:
    """Run one repeat on a simulated clock."""
    return run_repeat(method, asked, repeat, SimulatedExecutor(read, _seed_of(asked.seed, repeat), asked.task.seconds))


def run_repeat(
    method: Method,
    asked: Comparison,
    repeat: int,
    executor: Executor,
    folder: Path = Path("nowhere"),
    effort: Effort | None = None,
) -> Trace:
    """Run one repeat with an executor.

    Args:
        folder: where an executor of processes keeps its checkpoints.
        effort: device, engine and limits of such an executor.
    """
    task, seed = asked.task, _seed_of(asked.seed, repeat)
    config, watch = method.config(task, seed), _Watch(task.seconds)
    space = parse_space(config.space_text, config.space, dataset(config.dataset).task)
    spent = effort or Effort(seconds=None, trials=None, workers=task.workers, device="cpu", limits=Limits())
    problem = Problem(
        space=config.space_text,
        budget=config.budget,
        target_pct=config.target_pct,
        epochs=config.recipe.epochs,
        workers=task.workers,
        seed=seed,
        networks=task.networks,
    )
    theirs = method.command or method.function
    with asking(method, repeat, space, problem, asked.answer_seconds) if theirs else nullcontext() as asker:
        # A method of somebody's is asked; one that comes with the bench proposes as a search does.
        proposer: Proposing = asker or Proposer(space, replace(config, rungs=()), switches=method.switches)
        search = Search(
            folder,
            config,
            replace(spent, seconds=None, trials=None, workers=task.workers),
            executor,
            proposer,
            switches=method.switches,
            is_hopeless=_Halving(config.target_pct).is_hopeless if method.stops is Stops.HALVING else None,
            in_memory=True,
        )
        search.watcher, watch.search = watch, search
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
        seed=seed,
        answers=tuple(watch.answers),
        networks=len(search.candidates),
        runs=watch.runs,
        rejected=search.rejected.total(),
        ended=round(ended, 3),
    )


# What a process of the pool replays; made once in each.
_PREPARED: tuple[Comparison, Read] | None = None


def _prepare(parent: int, asked: Comparison, table: Table) -> None:
    global _PREPARED
    die_with(parent)
    _PREPARED = asked, _TableReadings(table, asked.spread or NoiseModel.POOLED).read


def _replayed(method: Method, repeat: int) -> Trace:
    assert _PREPARED is not None, "a process is prepared before it works"
    return replay(method, _PREPARED[0], _PREPARED[1], repeat)


def run_repeats(
    methods: Sequence[Method],
    asked: Comparison,
    table: Table,
    processes: int,
    there: Sequence[Trace],
    on_trace: Callable[[Trace], None],
) -> list[Trace]:
    """Return the traces of all repeats, by method in the order given, then by repeat.

    Args:
        there: of earlier calls; these are not done again.
        on_trace: told which repeat has just been done.
    """
    done = {(trace.method, trace.repeat): trace for trace in there}
    # Repeat by repeat, so that a comparison that is stopped has about as many of each method.
    left = [(each, repeat) for repeat in range(asked.repeats) for each in methods if (each.name, repeat) not in done]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _prepare, (os.getpid(), asked, table)) as pool:
        try:
            # The processes, which the first ones start, never hear a Ctrl-C: this one decides what it means.
            with ignoring_sigint():
                futures = [pool.submit(_replayed, *each) for each in left]
            for future in as_completed(futures):
                on_trace(trace := future.result())
                done[trace.method, trace.repeat] = trace
        except BaseException as error:
            # Nobody waits for what is left of a comparison that is stopped.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise HarnessError(
                    "a process of the comparison was killed, as happens where memory is short",
                    hint="the same command continues; --processes 1 takes least memory",
                ) from error
            raise
    order = {method.name: place for place, method in enumerate(methods)}
    return sorted(done.values(), key=lambda trace: (order[trace.method], trace.repeat))
