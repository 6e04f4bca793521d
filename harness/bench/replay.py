"""Repeats of search methods: each repeat is a search in memory that runs until the time limit of the task.

On a table, the clock is simulated. Live, runs are trained in real time and the answers are judged on fresh seeds.

A table has two or three seeds per network, but a search may train a network six times. ``spread`` selects how runs are
drawn; both kinds keep the mean over the runs of a network, and the seconds are those of a recorded run:

- ``recorded``: a random recorded run of the network. All values were measured, but repeated runs agree too often.
- ``pooled``: the mean of the network's runs plus the relative deviation of a run of a similar network from that
  network's mean. The standard deviation between runs is realistic.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import random
import shutil
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.bench.comparison import BenchAnswer, Comparison, Judged, SearchTask, Trace, append_trace
from harness.bench.methods import Method, Pruning, asking
from harness.bench.table import Machine, Row, Table
from harness.data.training_images import ImageData, load
from harness.searching import scheduler
from harness.searching.external_method import Problem
from harness.searching.loop import explore
from harness.searching.proposer import Proposer, Proposing
from harness.searching.request import SearchRequest
from harness.searching.search_state import Moment, Search
from harness.searching.surrogate.prior import knowledge, prior_of_other_sets
from harness.searching.time_budget import Effort
from harness.spaces.catalog import space as space_of
from harness.spaces.space import SearchSpace
from harness.studies.candidate import confirm_seeds_of, study_space
from harness.studies.config import StudyConfig
from harness.studies.events import Entry, Event, RunEnded
from harness.studies.study_state import StudyState
from harness.system import statistics
from harness.system.errors import ContentError, HarnessError
from harness.system.machine import WorkerContext, choose_device, sigint_blocked
from harness.system.terminal import duration_text
from harness.training.executors.base import Executor, JobEnded, Limits, Slot, WorkerEvent, run_all
from harness.training.native.engine import choose_engine
from harness.training.recipe import named_recipe
from harness.training.result import Epoch, Purpose, Result, Status
from harness.training.run import Job

_NEIGHBOURS = 20  # networks with the nearest errors, whose deviations are used under ``pooled``
# Reduction factor of successive halving: the rungs of a table double, so that each costs the same in total.
_REDUCTION = 2
_WAIT_SECONDS = 0.5  # longest wait without a look at signals
# Share of the networks that the default time suffices to train, so that no method can try all.
_TRAINED_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Replayed:
    """Outcome of a run.

    Attributes:
        errors: Wrong validation images, by rung.
        seconds: Training seconds since the start of the run, by rung.
        softs: Soft errors on the validation images, by rung; empty or None if not recorded.
    """

    network_hash: str
    parameters: int
    macs: int
    size: int
    errors: Mapping[int, int]
    seconds: Mapping[int, float]
    status: Status
    softs: Mapping[int, float | None] = field(default_factory=dict)


class _Deviation(NamedTuple):
    """Relative deviations of a run from the mean of the network, by rung: of the count, and of the soft errors.

    ``of_softs`` lacks the rungs at which a complete run of the network has no soft errors.
    """

    of_errors: Mapping[int, float]
    of_softs: Mapping[int, float]


_Read = Callable[[Job, int], Replayed]  # (job, seed of the repeat) -> outcome


class _TableRuns:
    """Outcomes of runs drawn from a table.

    Attributes:
        means: Mean errors of the runs that did not diverge, by hash and rung; not rounded.
        soft_means: Mean soft errors, by hash and rung; empty without soft errors.
        deviations_by_mean: For each of these runs, the mean errors of the network at the last rung and the deviations
            from the mean; ascending by mean errors. Networks with a single such run are left out.
        neighbour_count: Neighbours in ``deviations_by_mean`` from which a deviation is drawn.
    """

    def __init__(self, table: Table, spread: str = "pooled") -> None:
        self.table = table
        self.spread = spread
        # Folds may differ in size by an image; the size of the first fold is used.
        self.size = table.data.validation_size
        self.means: dict[str, dict[int, float]] = {}
        self.soft_means: dict[str, dict[int, float]] = {}
        self.deviations_by_mean: list[tuple[float, _Deviation]] = []
        rungs = table.facts.rungs
        for key, runs in table.runs.items():
            complete = [run for run in runs.values() if run[rungs[-1]].status is Status.COMPLETE]
            errors = {rung: [float(self._errors(run[rung])) for run in complete] for rung in rungs}
            means = {rung: statistics.mean(counts) for rung, counts in errors.items()}
            self.means[key] = means
            rungs_with_softs = [
                rung for rung in rungs if all(run[rung].validation_soft_errors is not None for run in complete)
            ]
            softs = {rung: [run[rung].validation_soft_errors or 0.0 for run in complete] for rung in rungs_with_softs}
            soft_means = {rung: statistics.mean(values) for rung, values in softs.items()}
            self.soft_means[key] = soft_means
            if len(complete) > 1:
                # Bessel's correction: runs are closer to their sample mean than to the true mean.
                correction = math.sqrt(len(complete) / (len(complete) - 1))
                for index in range(len(complete)):
                    ratios = {rung: counts[index] / max(1.0, means[rung]) for rung, counts in errors.items()}
                    soft_ratios = {rung: values[index] / max(1e-6, soft_means[rung]) for rung, values in softs.items()}
                    deviation = _Deviation(
                        {rung: correction * (ratio - 1) for rung, ratio in ratios.items()},
                        {rung: correction * (ratio - 1) for rung, ratio in soft_ratios.items()},
                    )
                    self.deviations_by_mean.append((means[rungs[-1]], deviation))
        # The sort is stable: equal means keep the order of the table.
        self.deviations_by_mean.sort(key=lambda pair: pair[0])
        self.neighbour_count = min(_NEIGHBOURS * max(map(len, table.runs.values())), len(self.deviations_by_mean))

    def _errors(self, row: Row) -> int:
        return self._whole((1 - row.validation_accuracy_pct / 100) * self.size)

    def _whole(self, errors: float) -> int:
        return min(self.size, max(0, round(errors)))

    def read(self, job: Job, repeat: int) -> Replayed:
        network_hash = job.architecture.hash
        if network_hash not in self.table.runs:
            raise ContentError(f"network {network_hash} is not in the table {self.table.facts.name!r}")
        rng = random.Random(f"{repeat}/{network_hash}/{job.purpose}/{job.seed_index}")
        row_by_rung = rng.choice(tuple(self.table.runs[network_hash].values()))
        rungs = self.table.facts.rungs
        row = row_by_rung[rungs[0]]
        errors = {rung: self._errors(each) for rung, each in row_by_rung.items()}
        softs = {rung: each.validation_soft_errors for rung, each in row_by_rung.items()}
        if self.spread == "pooled" and row.status is Status.COMPLETE and self.deviations_by_mean:
            means = self.means[network_hash]
            middle = bisect_left(self.deviations_by_mean, means[rungs[-1]], key=lambda pair: pair[0])
            low = min(max(0, middle - self.neighbour_count // 2), len(self.deviations_by_mean) - self.neighbour_count)
            _, deviation = self.deviations_by_mean[low + rng.randrange(self.neighbour_count)]
            errors = {rung: self._whole(means[rung] * (1 + deviation.of_errors[rung])) for rung in row_by_rung}
            # Old runs of a merged table have no soft errors.
            soft_means = self.soft_means[network_hash]
            both = soft_means.keys() & deviation.of_softs.keys()
            softs = {rung: soft_means[rung] * max(0.01, 1 + deviation.of_softs[rung]) for rung in both}
        seconds = {rung: each.seconds for rung, each in row_by_rung.items()}
        return Replayed(network_hash, row.parameters, row.macs, self.size, errors, seconds, row.status, softs)


class _RunningJob(NamedTuple):
    job: Job
    until: float


class SimulatedExecutor(Executor):
    """Executor on a simulated clock: a job takes the seconds of its ``Replayed``.

    Attributes:
        repeat: Seed of the repeat.
        end: Second at which the clock stops; jobs that end later have no result.
        jobs: Job of each slot; None for an idle slot.
    """

    def __init__(self, read: _Read, repeat: int, end: float) -> None:
        self.read = read
        self.repeat = repeat
        self.end = end
        self.clock = 0.0
        self.jobs: list[_RunningJob | None] = []

    def start(self, count: int) -> None:
        """Create ``count`` slots."""
        self.jobs = [None] * count

    def slots(self) -> list[Slot]:
        """Return all slots with their jobs."""
        return [Slot(work.job if work else None) for work in self.jobs]

    def submit(self, job: Job) -> None:
        """Give a job to the first idle slot; ``job.spent_seconds`` are subtracted."""
        outcome = self.read(job, self.repeat)
        until = self.clock + outcome.seconds[job.until_epoch or job.recipe.epochs] - job.spent_seconds
        self.jobs[self.jobs.index(None)] = _RunningJob(job, until)

    def wait(self, seconds: float) -> list[WorkerEvent]:
        """Advance the clock to the next end of a job, or to ``end``, and return the results of the jobs that ended.

        With ``seconds`` 0 the clock does not advance and the result is empty.
        """
        if not seconds:
            return []
        self.clock = min([self.end, *(slot.until for slot in self.jobs if slot)])
        events: list[WorkerEvent] = []
        # Jobs that end at the same time are returned in the order of the slots.
        for index, slot in enumerate(self.jobs):
            if slot and slot.until <= self.clock:
                self.jobs[index] = None
                events.append(JobEnded(slot.job, _result_of(slot.job, self.read(slot.job, self.repeat))))
        return events

    def stop(self) -> None:
        """Remove all slots and jobs."""
        self.jobs = []

    def now(self) -> float:
        """Return the seconds of the simulated clock."""
        return self.clock


def _result_of(job: Job, outcome: Replayed) -> Result:
    last_epoch = job.until_epoch or job.recipe.epochs
    history: list[Epoch] = []
    seconds = 0.0
    for number in range(1, last_epoch + 1):
        # Errors and seconds are recorded at rungs only, the learning rate (0.0) and the loss (None) not at all.
        seconds = outcome.seconds.get(number, seconds)
        errors = outcome.errors.get(number)
        softs = outcome.softs.get(number)
        history.append(Epoch(number, 0.0, None, seconds, validation_errors=errors, validation_soft_errors=softs))
    return Result(
        architecture=job.architecture,
        hash=outcome.network_hash,
        parameters=outcome.parameters,
        macs=outcome.macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash="",
        dataset="",
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=0,
        status=Status.RUNNING if last_epoch < job.recipe.epochs else outcome.status,
        message="the loss was not finite" if outcome.status is Status.DIVERGED else "",
        history=tuple(history),
        validation_errors=outcome.errors[last_epoch],
        validation_soft_errors=outcome.softs.get(last_epoch),
        validation_size=outcome.size,
        train_seconds=outcome.seconds[last_epoch],
        trial=job.trial,
        decisions=job.decisions,
    )


# Requests ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Options of ``harness bench run``; None for the default of the table or of a search."""

    tables: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    ablations: bool = False
    repeats: int
    seed: int
    target: float | None
    budget: int | None
    seconds: float | None
    workers: int
    spread: Literal["pooled", "recorded"] = "pooled"
    answer_seconds: float
    processes: int | None = None
    live: bool
    space: str | None
    recipe: str
    judge_seeds: int
    dataset: str
    data: Path | None
    device: str
    engine: str
    cluster: str | None = None
    out: Path | None = None


class Contest(NamedTuple):
    """Methods that are compared on a table, or in live runs on the device of an effort."""

    methods: Sequence[Method]
    comparison: Comparison
    source: Table | Effort

    def in_order(self, traces: Mapping[tuple[str, int], Trace]) -> list[Trace]:
        """Return traces, which have the key (method, repeat), by method, then by repeat."""
        keys = product((method.name for method in self.methods), range(self.comparison.repeats))
        return [traces[key] for key in keys]

    def due_repeats(self, traces: Mapping[tuple[str, int], Trace]) -> list[tuple[Method, int]]:
        """Return the repeats without a trace, by repeat: after an interruption all methods have about equally many."""
        repeats = product(range(self.comparison.repeats), self.methods)
        return [(method, repeat) for repeat, method in repeats if (method.name, repeat) not in traces]


def prepare_replay(request: RunRequest, methods: Sequence[Method], table: Table) -> Contest:
    """Return the comparison of ``methods`` on a table.

    Raises:
        ContentError: The table lacks networks of the space within the budget, or its runs have no recorded time.
    """
    task = _table_task(table, request)
    # A method may propose any network, so the table must have all networks within the budget.
    limits = [sample.budget for sample in table.facts.samples if sample.bands == 0]
    if not limits:
        raise ContentError(f"the table {table.facts.name!r} is a sample of the space, for live runs only")
    largest_budget = max(math.inf if limit is None else limit for limit in limits)
    if task.study.budget > largest_budget:
        raise ContentError(f"the table {table.facts.name!r} has only networks of at most {largest_budget:,} parameters")
    table_sha256 = hashlib.sha256(table.content).hexdigest()
    facts = {"table": table.facts.name, "table_sha256": table_sha256, "spread": request.spread}
    return Contest(methods, _comparison(request, methods, task, **facts), table)


def prepare_live(request: RunRequest, methods: Sequence[Method], table: Table | None) -> Contest:
    """Return the comparison of ``methods`` in live runs; ``table`` only defines the task.

    Raises:
        ContentError: The data differ from the data of the table.
        DataError: The data are missing or damaged.
        DeviceError: The device cannot be used.
    """
    if table is None:
        data = load(request.dataset, request.data)
        task = _live_task(request, data)
    else:
        data = load(table.facts.dataset, request.data)
        if data.data_hash != table.facts.data_hash:
            raise ContentError(f"the data in {data.source} differ from the data of the table {table.facts.name!r}")
        task = _table_task(table, request)
    recipe = task.study.recipe
    recipe.check_batch(data.dataset.train_size)
    device = choose_device(request.device)
    engine = choose_engine(request.engine, recipe, device, study_space(task.study, task.data.task).op_types)
    effort = _effort(task.workers, str(device), engine.kind)
    trainer = engine.engine.name if engine.engine else engine.kind
    machine = Machine.here(device, data.data_hash, trainer, task.workers)
    comparison = _comparison(request, methods, task, judge_seeds=request.judge_seeds, machine=machine)
    return Contest(methods, comparison, effort)


def _effort(workers: int, device: str = "cpu", engine: str = "recorded") -> Effort:
    """``_Watch`` ends the search, and the methods must not know the time limit, so the effort has no limits."""
    return Effort(seconds=None, trials=None, workers=workers, device=device, limits=Limits(), engine=engine)


def _comparison(request: RunRequest, methods: Sequence[Method], task: SearchTask, **facts: Any) -> Comparison:
    return Comparison(
        task=task,
        methods=tuple(method.entry(task) for method in methods),
        repeats=request.repeats,
        seed=request.seed,
        answer_seconds=request.answer_seconds,
        code_sha256=_code_sha256(),
        **facts,
    )


def _code_sha256() -> str:
    root = Path(__file__).resolve().parents[2]
    code = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "scipy")).encode())
    for path in sorted([*root.glob("harness/**/*"), *root.glob("harness/spaces/declared/*")]):
        if path.suffix in (".py", ".lark", ".toml", ".cpp", ".h", ".json", ".csv"):
            code.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return code.hexdigest()


def _table_task(table: Table, request: RunRequest) -> SearchTask:
    facts = table.facts
    budget = request.budget or max(table.sizes.values())
    target_pct = table.target_pct(budget)
    if request.target is not None:
        target_pct = request.target
    run_seconds = [row.seconds for row in table.rows if row.rung == facts.rungs[-1]]
    default_seconds = statistics.mean(run_seconds) * len(table.runs) * _TRAINED_SHARE / request.workers
    # Keep the unrounded value if rounding gives 0.
    seconds = request.seconds or round(default_seconds, 1) or default_seconds
    if not seconds:
        raise ContentError(f"the runs of the table {facts.name!r} have no recorded time; set the time")
    texts = None
    # A sample is not replayed and does not limit live runs.
    if facts.is_exhaustive:
        texts = tuple(dict.fromkeys(row.architecture for row in table.rows if row.parameters <= budget))
    study = facts.config(budget, target_pct)
    return SearchTask(study=study, seconds=seconds, workers=request.workers, networks=texts, own_data=table.user_data)


def _live_task(request: RunRequest, data: ImageData) -> SearchTask:
    """The command has checked that space, target and time are set."""
    assert request.space is not None
    assert request.target is not None
    assert request.seconds is not None
    recipe = named_recipe(request.recipe)
    space = space_of(request.space, data.dataset.task)
    epochs = recipe.recipe.epochs
    # Successive halving needs rungs at powers of two, as in a table.
    powers_of_two = [2**power for power in range(epochs.bit_length()) if 2**power < epochs]
    study = StudyConfig(
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        budget=request.budget or SearchRequest.budget,
        target_pct=request.target,
        threshold_pct=request.target,
        space=space.name,
        space_text=space.text,
        sampler="random",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=tuple(sorted({*powers_of_two, *scheduler.rungs(epochs), epochs})),
        seed=0,
        image_folds=data.dataset.image_folds,
    )
    user_data = data.dataset if data.dataset.is_user_data else None
    return SearchTask(study=study, seconds=request.seconds, workers=request.workers, own_data=user_data)


# Repeat -----------------------------------------------------------------------------------------------------


class _HalvingRule:
    """Asynchronous successive halving: a run continues if its rank is in the better half of the runs at the rung.

    The decision is immediate, as in Optuna's SuccessiveHalvingPruner (Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", arXiv 1810.05934, uses promotion instead). Runs are ranked by feasibility first (Deb, "An
    efficient constraint handling method for genetic algorithms", 2000): a run that reaches the target beats a run that
    does not; feasible runs rank by parameters, infeasible runs by errors.
    """

    def __init__(self, target_pct: float) -> None:
        self.target_pct = target_pct
        self.ranks = defaultdict[int, list[tuple[bool, float]]](list)

    def is_hopeless(self, result: Result) -> bool:
        validation = result.required_validation
        rank = (True, validation.wrong / validation.images)
        if statistics.reaches(validation.accuracy_pct, self.target_pct):
            rank = (False, result.parameters)
        ranks = self.ranks[result.trained_epochs]
        insort(ranks, rank)
        return rank > ranks[max(1, len(ranks) // _REDUCTION) - 1]


@dataclass(slots=True)
class _Watch:
    seconds: float
    search: Search | None = None
    answers: list[BenchAnswer] = field(default_factory=list)
    runs: int = 0

    def on_tick(self, moment: Moment) -> None:
        answer = BenchAnswer(seconds=round(moment.elapsed, 3), hash=None, architecture=None, parameters=None)
        if moment.incumbent is not None:
            network = moment.incumbent.proposal
            answer = replace(
                answer, hash=network.hash, architecture=network.architecture, parameters=network.parameters
            )
        last_hash = self.answers[-1].hash if self.answers else None
        if moment.elapsed <= self.seconds and answer.hash != last_hash:
            self.answers.append(answer)
        if moment.elapsed >= self.seconds and self.search is not None:
            self.search.interrupted = True

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        if isinstance(entry.event, RunEnded):
            self.runs += 1


def _problem_of(task: SearchTask, config: StudyConfig, space: SearchSpace) -> Problem:
    return Problem(
        space=config.space_text,
        input_shape=space.task.input_shape,
        classes=space.task.classes,
        budget=config.budget,
        target_pct=config.target_pct,
        epochs=config.recipe.epochs,
        workers=task.workers,
        seed=config.seed,
        rungs=task.study.rungs[:-1],
        networks=task.networks,
    )


def _run_repeat(
    method: Method,
    comparison: Comparison,
    repeat: int,
    make_executor: Callable[[int], Executor],
    effort: Effort,
    folder: Path = Path("unused"),
) -> Trace:
    """Run a repeat of a method.

    Args:
        make_executor: Function from the seed of the repeat to an executor.
        folder: Folder for checkpoints; not used on a table.
    """
    task = comparison.task
    switches = method.switches
    # The same for all methods; 31 bits are valid for all random number generators.
    seed_digest = hashlib.sha256(f"bench|{comparison.seed}|{repeat}".encode()).digest()
    seed = int.from_bytes(seed_digest[:4], "big") >> 1
    config = replace(task.study, sampler=method.sampler, rungs=method.rungs(task.study.rungs), seed=seed)
    space = study_space(config, task.data.task)
    problem = _problem_of(task, config, space)
    executor = make_executor(seed)
    watch = _Watch(task.seconds)
    start = executor.now()
    with asking(method, repeat, space, problem, comparison.answer_seconds) as asker:
        first_answer_seconds = executor.now() - start
        is_hopeless = None if asker is None else asker.is_hopeless
        if asker is None and method.pruning is Pruning.HALVING:
            is_hopeless = _HalvingRule(config.target_pct).is_hopeless
        if is_hopeless is not None:
            config = replace(config, rungs=problem.rungs)
        # Prior runs on the data set of the table would reveal the answer.
        trainings = prior_of_other_sets(config.dataset) if method.uses_transfer else ()
        prior = knowledge(trainings, config.recipe, task.data)
        # Built-in methods use the proposer of a search.
        proposer: Proposing = asker or Proposer(space, replace(config, rungs=()), switches, prior)
        confirm_seeds = confirm_seeds_of(config) if switches.confirmation else 0
        state = StudyState(folder, config, confirm_seeds=confirm_seeds, counts_repeats=switches.repeats)
        executor.start(task.workers)
        try:
            search = Search(
                state,
                effort,
                executor,
                proposer,
                data=task.data,
                log=None,
                observers=(watch,),
                switches=switches,
                is_hopeless=is_hopeless,
                planning_seconds=first_answer_seconds,
            )
            watch.search = search
            explore(search)
            end_seconds = min(search.elapsed, task.seconds)
        finally:
            executor.stop()
    return Trace(
        method=method.name,
        repeat=repeat,
        seed=seed,
        answers=tuple(watch.answers),
        networks=len(search.state.candidates),
        runs=watch.runs,
        rejected=search.state.rejected.total(),
        ended=round(end_seconds, 3),
    )


def replay(method: Method, comparison: Comparison, read: _Read, repeat: int) -> Trace:
    """Run a repeat on a simulated clock."""
    task = comparison.task
    return _run_repeat(
        method, comparison, repeat, lambda seed: SimulatedExecutor(read, seed, task.seconds), _effort(task.workers)
    )


# All repeats ------------------------------------------------------------------------------------------------

_PREPARED: tuple[Comparison, _Read] | None = None  # set once in each process of the pool


def _prepare(comparison: Comparison, table: Table) -> None:
    global _PREPARED
    _PREPARED = comparison, _TableRuns(table, comparison.spread or "pooled").read


def _replayed(method: Method, repeat: int) -> Trace:
    assert _PREPARED is not None, "a process is prepared before the first repeat"
    return replay(method, *_PREPARED, repeat)


def run_repeats(
    contest: Contest,
    table: Table,
    processes: int,
    earlier_traces: Sequence[Trace],
    on_trace: Callable[[Trace], None],
) -> list[Trace]:
    """Return the traces of all repeats on a table, by method, then by repeat.

    Args:
        processes: Number of repeats at the same time.
        earlier_traces: Traces of finished repeats, which are not run again.
        on_trace: Called with each new trace.

    Raises:
        HarnessError: A process was killed.
    """
    traces = {(trace.method, trace.repeat): trace for trace in earlier_traces}
    with ProcessPoolExecutor(processes, WorkerContext(), _prepare, (contest.comparison, table)) as pool:
        try:
            # The processes inherit the blocked SIGINT, and the parent handles Ctrl-C.
            with sigint_blocked():
                futures = {pool.submit(_replayed, method, repeat) for method, repeat in contest.due_repeats(traces)}
            while futures:
                ended, futures = wait(futures, _WAIT_SECONDS, FIRST_COMPLETED)
                for trace in [future.result() for future in ended]:
                    on_trace(trace)
                    traces[trace.method, trace.repeat] = trace
        except BaseException as error:
            # Leaving the pool would wait for the running repeats.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise HarnessError(
                    "a process of the comparison was killed, probably for lack of memory",
                    hint="run the same command again; a single process needs the least memory",
                ) from error
            raise
    return contest.in_order(traces)


def run_live(
    contest: Contest,
    effort: Effort,
    make_executor: Callable[[], Executor],
    folder: Path,
    earlier_traces: Sequence[Trace],
    say: Callable[[str], None],
) -> tuple[list[Trace], Judged]:
    """Train the missing repeats below ``folder``, and judge all answers on fresh seeds.

    Each new trace is appended to the traces in ``folder``.

    Returns:
        The traces by method, then by repeat, and the true accuracies of all answers.
    """
    comparison = contest.comparison
    traces = {(trace.method, trace.repeat): trace for trace in earlier_traces}
    for method, repeat in contest.due_repeats(traces):
        say(f"{method.name}, repeat {repeat + 1} of {comparison.repeats}: {duration_text(comparison.task.seconds)}")
        repeat_folder = folder / f".work-{method.name}-{repeat}"
        trace = _run_repeat(method, comparison, repeat, lambda seed: make_executor(), effort, repeat_folder)
        shutil.rmtree(repeat_folder, ignore_errors=True)
        append_trace(folder, trace)
        traces[method.name, repeat] = trace
    ordered_traces = contest.in_order(traces)
    say("judging the answers on fresh seeds")
    return ordered_traces, _judged(ordered_traces, comparison, effort, make_executor())


def _judged(traces: Sequence[Trace], comparison: Comparison, effort: Effort, executor: Executor) -> Judged:
    assert comparison.judge_seeds is not None, "live runs have seeds that judge"
    study = comparison.task.study
    answers = dict.fromkeys(answer.architecture for trace in traces for answer in trace.answers)
    jobs = [
        Job(
            architecture=network,
            recipe=study.recipe,
            recipe_name=study.recipe_name,
            purpose=Purpose.BENCH,
            seed_index=index,
            device=effort.device,
            engine=effort.engine,
        )
        for network in answers
        if network is not None
        for index in range(comparison.judge_seeds)
    ]
    accuracies: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for event in run_all(jobs, executor, comparison.task.workers):
        run = event.result
        # A diverged run has the accuracy of its last weights.
        accuracies.setdefault(run.hash, []).append(run.required_validation.accuracy_pct)
        sizes[run.hash] = run.parameters
    means = {key: statistics.mean(values) for key, values in accuracies.items()}
    return Judged.of(means, sizes, study.target_pct)
