"""The nodes of a cluster as one executor: hands out jobs, and keeps each until it has a result.

Whoever uses it sees places, as with the processes of one machine. A job whose node is gone waits at its place until
another node has room, and goes on from its last rung. Each attempt at a job has a number; the first result counts,
whoever sends it, and a later one is dropped. Nothing is written but the files of jobs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import assert_never

from harness.data.training_images import load
from harness.system.errors import DeviceError
from harness.training.cluster.node import Begin, End, Key, Said, Terms, facts_here, put_files
from harness.training.cluster.ray_link import Link, NodeInfo
from harness.training.cluster.roster import Asked, Gone, Joined, Kinds, Member, Patience, Roster, Word
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, ExecutorOf, Fault, Finished, Limits, Progress, Source

# A job that loses its node so often has crashed: it may be what takes the nodes down.
_MOST_ATTEMPTS = 5


@dataclass(slots=True, eq=False)
class _Task:
    """A job with its number, and the number of its present attempt; 0 before the first."""

    number: int
    job: Job
    attempt: int = 0

    @property
    def key(self) -> Key:
        """The present attempt."""
        return Key(self.number, self.attempt)


@dataclass(slots=True, eq=False)
class _Place:
    """Room for one job on a node, which knows it by ``number``; ``member`` is None where the node is gone."""

    member: Member | None
    number: int = 0
    task: _Task | None = None


@dataclass(slots=True)
class Cluster:
    """An ``Executor`` whose places are on the nodes of a cluster.

    Attributes:
        tasks: jobs without a result, by number.
        ended: jobs that had several attempts, of which one may still report late.
        served: when there was a node last.
    """

    source: Source
    limits: Limits
    link: Link
    asked: Asked
    patience: Patience = field(default_factory=Patience)
    roster: Roster | None = None
    places: dict[int, _Place] = field(default_factory=dict)
    tasks: dict[int, _Task] = field(default_factory=dict)
    ended: dict[int, Job] = field(default_factory=dict)
    served: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def jobs(self) -> dict[int, Job | None]:
        """What each place is doing."""
        return {number: None if place.task is None else place.task.job for number, place in self.places.items()}

    def node(self, place: int) -> str:
        """Return the name of a place's node; empty while it has none."""
        member = self.places[place].member
        return "" if member is None else member.node.name

    def start(self, count: int) -> None:
        """Ask all nodes to join, and wait for those that are there.

        Raises:
            DataError: the data are missing or damaged here.
            DeviceError: no node may join, or none answers.
        """
        data = load(self.source.dataset, self.source.folder, allow_download=False)
        terms = Terms(
            source=self.source,
            data_hash=data.data_hash,
            device=self.asked.device,
            engine=self.asked.engine,
            limits=self.limits,
        )
        ours = facts_here(self.asked.device, self.asked.engine, data.data_hash)
        roster = Roster(link=self.link, asked=self.asked, terms=terms, ours=ours, patience=self.patience)
        roster.kind = ours if self.asked.kinds is Kinds.OURS else None
        self.roster, began = roster, self.now()
        while not self._has_begun(roster, self.now() - began):
            self._meet(roster.hear(0.5))
        if self.asked.kinds is Kinds.ONE and roster.joined:
            self._meet(roster.keep_one_kind())
        if not self.places:
            why = "; ".join(dict.fromkeys(roster.refused.values())) or "none has joined in time"
            raise DeviceError(f"no node of the cluster can train: {why}")
        self.served = self.now()

    def assign(self, place: int, job: Job) -> None:
        """Give an idle place a job; where its node has gone meanwhile, the job waits for another."""
        task = _Task(next(self._numbers), job)
        there = self.places.setdefault(place, _Place(None))
        assert there.task is None, "a place has one job at a time"
        there.task = self.tasks[task.number] = task
        if there.member is not None:
            self._begin(there)

    def poll(self, timeout: float) -> list[Event]:
        """Return what has happened, after at most ``timeout`` seconds; nodes that come are used.

        Raises:
            DeviceError: the cluster does not answer any more, or has had no node for long.
        """
        assert self.roster is not None, "who has not started has nothing to hear"
        events = self._meet(self.roster.hear(timeout))
        events += self._move()
        if self.roster.joined:
            self.served = self.now()
        elif self.now() - self.served > self.patience.alone:
            raise DeviceError(
                f"the cluster has had no node that can train for {self.patience.alone:.0f} s",
                hint="finished trainings are kept; the same command continues",
            )
        return events

    def abandon(self, place: int) -> None:
        """End the job of a place now."""
        there = self.places[place]
        if there.task is not None:
            self._close(there)
            self._drop(place)

    def stop(self) -> None:
        """End everything now."""
        if self.roster is not None:
            self.roster.end()
        self.roster, self.places, self.tasks = None, {}, {}

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def _has_begun(self, roster: Roster, waited: float) -> bool:
        is_met = len(roster.joined) == len(roster.members) and (roster.joined or roster.refused)
        is_awaited = roster.members and not self.places
        return bool(is_met) or waited > (self.patience.join if is_awaited else self.patience.start)

    def _meet(self, heard: list[Joined | Gone | Word] | list[Gone]) -> list[Event]:
        events: list[Event] = []
        for each in heard:
            match each:
                case Joined(member):
                    count = self.asked.places_of(member.node)
                    if self.asked.places is not None:
                        count = min(count, max(0, self.asked.places - len(self.places)))
                    first = max(self.places, default=-1) + 1
                    self.places |= {first + number: _Place(member, number) for number in range(count)}
                case Gone(member):
                    # Places with a job wait with it.
                    for number, place in list(self.places.items()):
                        if place.member is member:
                            place.member = None
                            self._drop(number)
                case Word(member, said):
                    events += self._said(member, said)
                case _:
                    assert_never(each)
        return events

    def _drop(self, number: int) -> None:
        """Remove a place that has neither a node nor a job.

        The last one stays: who finds no place believes that nothing is left to do. What it is given waits for a node.
        """
        place = self.places[number]
        if place.member is None and place.task is None and len(self.places) > 1:
            del self.places[number]

    def _move(self) -> list[Event]:
        """Give idle places the jobs whose nodes are gone; return those that have lost too many."""
        events: list[Event] = []
        idle = [place for place in self.places.values() if place.member is not None and place.task is None]
        for number, place in list(self.places.items()):
            if place.member is not None:
                continue
            if place.task is not None and place.task.attempt >= _MOST_ATTEMPTS:
                message = f"its node was lost {place.task.attempt} times"
                events.append(Broken(place.task.job, Status.CRASHED, message))
                self._close(place)
            elif place.task is not None and idle:
                other = idle.pop(0)
                other.task, place.task = place.task, None
                self._begin(other)
            self._drop(number)
        return events

    def _begin(self, place: _Place) -> None:
        task, member = place.task, place.member
        assert task is not None, "a place without a job has nothing to begin"
        assert member is not None, "a place without a node cannot begin"
        task.attempt += 1
        path = task.job.checkpoint
        state = path.read_bytes() if path is not None and path.exists() else None
        member.orders.append(Begin(task.key, place.number, task.job, state))

    def _close(self, place: _Place, *, has_ended: bool = False) -> None:
        task, place.task = place.task, None
        assert task is not None
        self.tasks.pop(task.number)
        if place.member is not None and not has_ended:
            place.member.orders.append(End(task.key, place.number))

    def _said(self, member: Member, said: Said) -> list[Event]:
        """Return what a node's word means; the first result of a job counts, whichever attempt it is of."""
        task, what = self.tasks.get(said.key.job), said.what
        if task is None:
            # A late result is dropped, but what it has read of the test set is a read all the same.
            if said.key.job in self.ended:
                put_files(
                    self.ended[said.key.job], {key: text for key, text in said.files.items() if key == "test_log"}
                )
            return []
        is_present = said.key == task.key
        if isinstance(what, Epoch) or not (is_present or isinstance(what, Result)):
            return [Progress(task.job, what)] if is_present and isinstance(what, Epoch) else []
        put_files(task.job, said.files)
        number, place = next((number, place) for number, place in self.places.items() if place.task is task)
        self._close(place, has_ended=is_present)
        self._drop(number)
        match what:
            case Fault(status, message):
                return [Broken(task.job, status, message)]
            case Result():
                found = replace(what, node=member.node.name)
                if task.attempt > 1:
                    self.ended[task.number] = task.job
                return [Finished(task.job, found)]
            case _:
                assert_never(what)


def joined_by(link: Link, asked: Asked) -> ExecutorOf:
    """Return what makes an executor of a cluster's nodes.

    Raises:
        DeviceError: none of them has anything to offer.
    """
    nodes_that_train(link, asked)
    return partial(Cluster, link=link, asked=asked)


def nodes_that_train(link: Link, asked: Asked) -> tuple[NodeInfo, ...]:
    """Return the nodes that have something to offer; what they are is known when they join.

    Raises:
        DeviceError: there are none.
    """
    nodes = tuple(node for node in link.nodes() if asked.places_of(node))
    if not nodes:
        wanted = "a GPU" if asked.device.startswith("cuda") else "a core"
        raise DeviceError(f"no node of the cluster offers {wanted}", hint="ray status shows what they offer")
    return nodes
