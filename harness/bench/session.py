"""What recording a table would take: facts, and the text that says them."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.bench.recording import (
    Key,
    Prepared,
    Recording,
    SampledNetworks,
    checkpoint_path,
    finished_runs,
    keys_of,
    open_recording,
    run_path,
    table_of,
)
from harness.bench.table import Table, engine_kind
from harness.data.datasets import dataset
from harness.evidence import study
from harness.search.clock import PACES, Timing, add_timing, slowdown, taught, training_seconds
from harness.search.features import work
from harness.system.errors import HarnessError
from harness.system.terminal import duration_text
from harness.training import result
from harness.training.cluster.cluster import Asked, Kinds, joined_by
from harness.training.cluster.ray_link import Link
from harness.training.progress import Reporter, plain_seconds
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, Executor, ExecutorOf, Finished, Limits, Processes, Progress
from search_spaces.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """What a recording is and what is left of it.

    Attributes:
        considered: distinct networks that were chosen from; all of the space where ``enumerated``.
        seconds_an_epoch: estimated training time of each network on one core, by its text.
        seconds_left: estimated, with the recording's workers side by side.
        measured: the estimate is corrected by runs that have ended here.
    """

    recording: Recording
    enumerated: bool
    considered: int
    parameters: tuple[int, float, int]
    mean_macs: float
    runs: int
    ended: int
    seconds_an_epoch: Mapping[Architecture, float]
    seconds_left: float
    measured: bool


def planned(recording: Recording, chosen: SampledNetworks, ended: Mapping[Key, Result]) -> RecordingPlan:
    """Return the facts of a recording of which these runs have ended."""
    data = dataset(recording.dataset)
    pace = taught(PACES[engine_kind(recording.machine)], recording.recipe, data.task)
    timing = Timing(data.train_size, pace)
    for run in ended.values():
        add_timing(timing, run, work(run.architecture, data.task))
    slow = slowdown(timing)
    each = {
        network.architecture: training_seconds(1, data.train_size, work(network.architecture, data.task), pace)
        * (slow or 1.0)
        for network in chosen.networks
    }
    keys = keys_of(recording, ended)
    left = [network for network, key in keys if key not in ended]
    epochs, workers = recording.recipe.epochs, recording.machine.workers
    sizes = sorted(network.parameters for network in chosen.networks)
    return RecordingPlan(
        recording=recording,
        enumerated=chosen.enumerated,
        considered=chosen.considered,
        parameters=(sizes[0], statistics.median(sizes), sizes[-1]),
        mean_macs=statistics.fmean(network.macs for network in chosen.networks),
        runs=len(keys),
        ended=len(keys) - len(left),
        seconds_an_epoch=each,
        seconds_left=sum(each[network] for network in left) * epochs / workers,
        measured=slow is not None,
    )


def plan_document(plan: RecordingPlan) -> dict[str, Any]:
    """Return the plan as plain JSON values; what a table holds in full is named by its hash."""
    recording = plan.recording
    low, median, high = plan.parameters
    return {
        "name": recording.name,
        "space": recording.space_name,
        "networks": len(recording.networks),
        "considered": plan.considered,
        "enumerated": plan.enumerated,
        "parameters": {"low": low, "median": median, "high": high},
        "mean_macs": plan.mean_macs,
        "seeds": recording.seeds,
        "near": None if recording.near is None else asdict(recording.near),
        "rungs": list(recording.rungs),
        "recipe": recording.recipe_name,
        "recipe_hash": recording.recipe.hash,
        "dataset": recording.dataset,
        "runs": plan.runs,
        "ended": plan.ended,
        "workers": recording.machine.workers,
        "engine": recording.machine.environment.engine,
        "estimated_seconds_left": plan.seconds_left,
        "estimate_is_measured": plan.measured,
    }


def plan_text(plan: RecordingPlan) -> str:
    """Return the plan for people."""
    recording = plan.recording
    low, middle, high = plan.parameters
    count = len(recording.networks)
    if plan.enumerated and count == plan.considered:
        chosen = f"all {count:,} networks of the space"
    else:
        source = "distinct networks" if plan.enumerated else "distinct draws"
        chosen = f"{count:,} of {plan.considered:,} {source} from the space"
    limit = recording.sample.budget
    guess = "measured here" if plan.measured else "a guess until runs have ended here"
    return "\n".join(
        (
            f"table {recording.name}: {chosen} {recording.space_name!r}"
            + ("" if limit is None else f" of at most {limit:,} parameters"),
            f"  {low:,} to {high:,} parameters, median {middle:,.0f}; {plan.mean_macs:,.0f} multiply-adds in the mean",
            f"  {recording.seeds} seeds each{_near_text(recording)}, {recording.dataset}, "
            f"recipe {recording.recipe_name} "
            f"({recording.recipe.epochs} epochs, batch {recording.recipe.batch_size}), validation accuracy after "
            f"epochs {', '.join(map(str, recording.rungs))}; the test set is not read",
            f"  {plan.runs:,} runs, {plan.ended:,} of them ended; {recording.machine.workers} at a time on "
            f"{recording.machine.processor} ({recording.machine.environment.engine})",
            f"  about {duration_text(plan.seconds_left)} left, {guess}",
        )
    )


def _near_text(recording: Recording) -> str:
    near = recording.near
    if near is None:
        return ""
    return f", then {near.seeds} of those within {near.within_pct:g} points of {near.target_pct:g} %"


RETRIES = 2
# What one run may use; the networks of tables are small.
LIMITS = Limits()


@dataclass(slots=True, kw_only=True)
class RecordingSession:
    """A recording in progress.

    Attributes:
        waiting: runs in the order in which they are trained, each up to its next rung.
        total: runs of the recording, ``ended`` of which have ended.
        work: estimated seconds of an epoch of each network.
        left: estimated seconds of all epochs that are to come; ``done`` of those trained in this session.
        began: when its workers were started, and when it last said where it is, on the monotonic clock.
    """

    folder: Path
    recording: Recording
    reporter: Reporter
    waiting: list[Job]
    total: int
    ended: int
    work: Mapping[Architecture, float]
    left: float = 0.0
    done: float = 0.0
    began: float = 0.0
    said: float = 0.0
    broken: Counter[Key] = field(default_factory=Counter)


def jobs_left(
    folder: Path, recording: Recording, finished: Mapping[Key, Result], teachers: Path, device: str
) -> list[Job]:
    """Return the runs that are still to be trained."""
    return [
        Job(
            architecture=network,
            recipe=recording.recipe,
            recipe_name=recording.recipe_name,
            purpose=Purpose.BENCH,
            seed_index=key[1],
            device=device,
            engine=engine_kind(recording.machine),
            until_epoch=recording.rungs[0],
            checkpoint=checkpoint_path(folder, key),
            teachers=teachers,
            study=recording.name,
        )
        for network, key in keys_of(recording, finished)
        if key not in finished
    ]


def record(
    folder: Path,
    ready: Prepared,
    teachers: Path,
    work: Mapping[Architecture, float],
    reporter: Reporter,
    executor_of: ExecutorOf = Processes,
) -> Table:
    """Train what is left of a recording and return its table; each run that ends leaves its result.

    Raises:
        ContentError: the folder holds another recording.
        HarnessError: a run broke its worker three times.
        DataError: the data went away.
    """
    recording = ready.recording
    study.mend(folder)
    open_recording(folder, recording)
    while waiting := jobs_left(
        folder, recording, ended := finished_runs(folder, recording), teachers, str(ready.device)
    ):
        session = RecordingSession(
            folder=folder,
            recording=recording,
            reporter=reporter,
            waiting=waiting,
            total=len(ended) + len(waiting),
            ended=len(ended),
            work=work,
        )
        reporter.show(total=session.total)
        # Once all have their first runs, those near the target are due.
        _train_all(session, executor_of(ready.source, LIMITS))
    return table_of(recording, ended)


def on_cluster(ready: Prepared, link: Link) -> ExecutorOf:
    """Return what trains a recording on a cluster: nodes such as the machine that the table names, each as busy.

    Raises:
        DeviceError: no node has anything to offer.
    """
    machine = ready.recording.machine
    asked = Asked(device=str(ready.device), engine=engine_kind(machine), processes=machine.workers, kinds=Kinds.OURS)
    return joined_by(link, asked)


def _train_all(session: RecordingSession, executor: Executor) -> None:
    session.left = sum(session.work[job.architecture] * job.recipe.epochs for job in session.waiting)
    try:
        executor.start(min(session.recording.machine.workers, len(session.waiting)))
        session.began = session.said = time.monotonic()
        while session.waiting or any(executor.jobs.values()):
            for place, running in executor.jobs.items():
                if running is None and session.waiting:
                    executor.assign(place, session.waiting.pop(0))
            for event in executor.poll(timeout=1.0):
                on_event(session, event)
            _show(session)
    finally:
        executor.stop()


def on_event(session: RecordingSession, event: Event) -> None:
    """Keep what a worker reports; a run goes on from rung to rung."""
    match event:
        case Progress(job, _):
            session.left -= session.work[job.architecture]
            session.done += session.work[job.architecture]
        case Finished(job, found) if found.status is Status.RUNNING:
            rungs = session.recording.rungs
            until = next(rung for rung in rungs if rung > len(found.history))
            session.waiting.insert(0, replace(job, until_epoch=until, spent_seconds=found.train_seconds))
        case Finished(job, found):
            _ended(session, job, found)
        case Broken(job, _, message):
            _again(session, job, message)


def _ended(session: RecordingSession, job: Job, found: Result) -> None:
    result.write(run_path(session.folder, (found.hash, found.seed_index)), found)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    if found.status is Status.DIVERGED:
        session.left -= session.work[job.architecture] * (job.recipe.epochs - len(found.history))
    session.ended += 1
    session.reporter.advance()


def _again(session: RecordingSession, job: Job, message: str) -> None:
    """Train a run again whose worker broke: from its last rung, then from its beginning."""
    assert job.checkpoint is not None, "every run of a recording keeps its state"
    key = (job.architecture.hash, job.seed_index)
    session.broken[key] += 1
    if session.broken[key] > RETRIES:
        raise HarnessError(
            f"seed {job.seed_index} of {job.architecture} failed {session.broken[key]} times: {message}",
            hint="finished trainings are kept; the same command continues",
        )
    if session.broken[key] == RETRIES:
        job.checkpoint.unlink(missing_ok=True)
    session.reporter.say(f"seed {job.seed_index} of {job.architecture}: {message}; it is run again")
    session.waiting.append(replace(job, until_epoch=session.recording.rungs[0], spent_seconds=0.0))


def _show(session: RecordingSession) -> None:
    """Say where the recording is: on a terminal at every call, elsewhere from time to time."""
    now = time.monotonic()
    remaining = ""
    if session.done:
        # A run that went on from a checkpoint, or began again, may leave the estimate a little off.
        remaining = f", {duration_text(max(0.0, session.left) * (now - session.began) / session.done)} left"
    if session.reporter.terminal:
        session.reporter.show(remaining.removeprefix(", "))
    elif now - session.said >= plain_seconds(now - session.began):
        session.said = now
        session.reporter.say(f"{session.ended} of {session.total} runs{remaining}")
