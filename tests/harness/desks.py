"""An executor whose places answer at once, each job with what a function says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from harness.training.executors.base import Event, Executor, Place
from harness.training.executors.processes import Processes
from harness.training.run import Job


@dataclass(slots=True)
class Desks(Executor):
    """Who does not wait hears nothing; ``watch`` is called before a job is taken, and before it is answered."""

    answer: Callable[[Job], Event]
    watch: Callable[[], None] = lambda: None
    desks: list[Job | None] = field(default_factory=list)
    stopped: int = 0

    def start(self, count: int) -> None:
        self.desks = [None] * count

    def places(self) -> list[Place]:
        return [Place(job) for job in self.desks]

    def submit(self, job: Job) -> None:
        self.watch()
        self.desks[self.desks.index(None)] = job

    def wait(self, seconds: float) -> list[Event]:
        events = []
        for number, job in enumerate(self.desks) if seconds else ():
            if job is not None:
                self.watch()
                self.desks[number] = None
                events.append(self.answer(job))
        return events

    def stop(self) -> None:
        self.stopped += 1
        self.desks = []


def in_place_of_processes(desks: Desks, monkeypatch: pytest.MonkeyPatch) -> Desks:
    """Let all processes that are made be these desks."""
    for name in ("start", "places", "submit", "wait", "stop"):
        ours = getattr(desks, name)
        monkeypatch.setattr(Processes, name, lambda self, *given, ours=ours: ours(*given))
    return desks
