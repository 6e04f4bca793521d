"""The worker processes of a node: they obey orders, and what they say is made ready to travel."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness.system import files
from harness.training.cluster import job_files
from harness.training.cluster.message import Begin, End, Key, Order, Said
from harness.training.result import Result, Status
from harness.training.run import Job
from harness.training.workers import workers
from harness.training.workers.lanes import Fault
from harness.training.workers.workers import Broken, Event, Finished, Limits, Progress, Source, Worker


@dataclass(frozen=True, slots=True)
class Running:
    """A job at work; its paths are the node's."""

    key: Key
    job: Job
    folder: Path


@dataclass(slots=True)
class Work:
    """The places of a node. A process is started with its first job.

    Attributes:
        folder: where jobs keep their files while they run; ``teachers`` where trained teachers stay.
        processes: by number, each with its workers; ``running`` by the number of the place.
    """

    source: Source
    limits: Limits
    side_by_side: int
    folder: Path
    teachers: Path
    processes: dict[int, list[Worker]] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)

    def obey(self, order: Order) -> None:
        """Begin a job or leave one; an order to leave what is not at work any more has no effect."""
        match order:
            case Begin(key, place, job, checkpoint):
                folder = self.folder / f"{key.job}-{key.attempt}"
                local = job_files.on_node(job, folder, self.teachers)
                if local.checkpoint is not None and checkpoint is not None:
                    files.write_bytes(local.checkpoint, checkpoint)
                workers.assign(self._worker(place), local)
                self.running[place] = Running(key, local, folder)
            case End(key, place):
                if place in self.running and self.running[place].key == key:
                    workers.abandon(self._worker(place))
                    self._forget(place)

    def poll(self, timeout: float) -> list[Said]:
        """Return what the workers say, after at most ``timeout`` seconds.

        Raises:
            DataError: a process could not load the data.
        """
        pool = [worker for group in self.processes.values() for worker in group]
        return [self._said(event) for event in workers.poll(pool, self.limits, timeout)]

    def stop(self) -> None:
        """End all processes and remove what they have left."""
        workers.stop([group[0] for group in self.processes.values()])
        self.processes, self.running = {}, {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def _worker(self, place: int) -> Worker:
        number, lane = divmod(place, self.side_by_side)
        if number not in self.processes:
            self.processes[number] = workers.start_process(self.source, self.side_by_side)
        return self.processes[number][lane]

    def _said(self, event: Event) -> Said:
        # A worker reports the very job that it was given.
        place, running = next(item for item in self.running.items() if item[1].job is event.job)
        match event:
            case Progress(_, epoch):
                return Said(running.key, epoch)
            case Finished(job, found):
                content = _wanted(job, found)
                self._forget(place)
                return Said(running.key, found, content)
            case Broken(job, status, message):
                # What it has read of the test set before it broke is a read all the same.
                content = {name: text for name, text in job_files.written(job).items() if name == "test_log"}
                self._forget(place)
                return Said(running.key, Fault(status, message), content)

    def _forget(self, place: int) -> None:
        shutil.rmtree(self.running.pop(place).folder, ignore_errors=True)


def _wanted(job: Job, found: Result) -> dict[str, bytes]:
    """Return the files of a job that has ended; its state is wanted only where it goes on."""
    content = job_files.written(job)
    if found.status is not Status.RUNNING:
        content.pop("checkpoint", None)
    return content
