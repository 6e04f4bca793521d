"""The nodes of a cluster as one executor: hands out jobs, and keeps each until it has a result.

Whoever uses it sees places, as with the processes of one machine. A job whose node is gone waits at its place until
another node has room, and goes on from its last rung. Each attempt at a job has a number; the first result counts,
whoever sends it, and a later one is dropped. Nothing is written but the files of jobs. Nodes are asked to join,
checked, listened to, and given up where they do not answer.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

from harness.data.datasets import dataset
from harness.data.training_images import load, stored_files
from harness.system.errors import DeviceError
from harness.training.cluster.node import Facts, Key, Order, Said, Terms, facts_here, put_files
from harness.training.cluster.ray_link import Link, NodeFault, NodeInfo, NodeLost
from harness.training.executor import Broken, Event, Executor, ExecutorOf, Finished, Limits, Place, Source
from harness.training.processes import Fault
from harness.training.result import Status, same_bits_due
from harness.training.run import Job

# A node that is lost so often is not asked again.
_MOST_LOSSES = 3
_LEAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patience:
    """Seconds.

    Attributes:
        join: that a node may take to start, to get the data and to compile the engine.
        start: that a beginning waits for further nodes once there is one.
        answer: in which a node must answer; it is asked for ``events`` seconds at a time.
        look: between looks for new nodes; ``again`` before one that was lost is asked again.
        alone: that jobs wait while there is no node at all.
    """

    join: float = 600.0
    start: float = 15.0
    answer: float = 60.0
    events: float = 5.0
    look: float = 5.0
    again: float = 30.0
    alone: float = 1800.0


class Kinds(StrEnum):
    """Which nodes may join: any; those of one kind, which give the same bits; or those that are as this machine."""

    ANY = "any"
    ONE = "one"
    OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of the nodes.

    Attributes:
        processes: on each node at most; None for one a core, or one a GPU.
        places: of all nodes together at most; None for all that there are.
    """

    device: str
    engine: str
    processes: int | None = None
    places: int | None = None
    kinds: Kinds = Kinds.ANY

    def places_of(self, node: NodeInfo) -> int:
        """Return how many processes train on a node; none where it has no core or GPU to offer."""
        offered = node.gpus if self.device.startswith("cuda") else node.cores
        return offered if self.processes is None else min(self.processes, offered)


@dataclass(slots=True, eq=False)
class _Member:
    """A node that has been asked to join.

    Attributes:
        call: what it has to answer next: to join, to take the data, or to say what has happened; ``called`` is when.
        taking: the call that gives it orders, None where there is none; ``told`` is when.
        orders: those for the next such call.
        facts: None until it has joined.
        is_supplied: it was sent the data.
    """

    node: NodeInfo
    handle: Any
    call: Any
    called: float
    taking: Any = None
    told: float = 0.0
    orders: list[Order] = field(default_factory=list)
    facts: Facts | None = None
    is_supplied: bool = False


# A job that loses its node so often has crashed: it may be what takes the nodes down.
_MOST_ATTEMPTS = 5


@dataclass(slots=True, eq=False)
class _Task:
    """A job with its number, and the number of its present attempt; 0 before the first."""

    number: int
    job: Job
    attempt: int = 0


@dataclass(slots=True, eq=False)
class _Room:
    """Room for one job on a node, which knows it by ``number``; ``member`` is None where the node is gone."""

    member: _Member | None
    number: int = 0
    task: _Task | None = None


@dataclass(slots=True)
class Cluster(Executor):
    """An ``Executor`` whose places are on the nodes of a cluster.

    Attributes:
        terms: what nodes are asked to do, and ``ours`` what this machine is; from the start on.
        members: nodes that have been asked, by their ids; ``refused`` says why others may not join.
        losses: when a node was lost.
        late: calls to nodes that were lost, which may still be answered.
        kind: what nodes have to be like to join; None for any.
        data: the files of the data set as nodes get them; None until one has asked for them.
        ended: jobs that had several attempts, of which one may still report late, by number.
        served: when there was a node last.
    """

    source: Source
    limits: Limits
    link: Link
    asked: Asked
    patience: _Patience = field(default_factory=_Patience)
    terms: Terms = field(init=False)
    ours: Facts = field(init=False)
    members: dict[str, _Member] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    late: dict[Any, _Member] = field(default_factory=dict)
    kind: Facts | None = None
    data: Any = None
    looked: float = float("-inf")
    rooms: dict[int, _Room] = field(default_factory=dict)
    ended: dict[int, Job] = field(default_factory=dict)
    served: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def places(self) -> list[Place]:
        """Return what each place is doing."""
        return [
            Place(None if room.task is None else room.task.job, "" if room.member is None else room.member.node.name)
            for room in self.rooms.values()
        ]

    @property
    def joined(self) -> list[_Member]:
        """The nodes that may be given jobs."""
        return [member for member in self.members.values() if member.facts is not None]

    def start(self, count: int) -> None:
        """Ask all nodes to join, and wait for those that are there.

        Raises:
            DataError: the data are missing or damaged here.
            DeviceError: no node may join, or none answers.
        """
        data_hash = load(self.source.dataset, self.source.folder, allow_download=False).data_hash
        device, engine = self.asked.device, self.asked.engine
        self.terms = Terms(source=self.source, data_hash=data_hash, device=device, engine=engine, limits=self.limits)
        self.ours = facts_here(device, engine, data_hash)
        self.kind = self.ours if self.asked.kinds is Kinds.OURS else None
        began = self.served = self.now()
        while len(self.joined) < len(self.members) or not (self.joined or self.refused):
            is_awaited = self.members and not self.rooms
            if self.now() - began > (self.patience.join if is_awaited else self.patience.start):
                break
            self.wait(0.5)
        if self.asked.kinds is Kinds.ONE and self.joined:
            self._keep_one_kind()
        if not self.rooms:
            why = "; ".join(dict.fromkeys(self.refused.values())) or "none has joined in time"
            raise DeviceError(f"no node of the cluster can train: {why}")
        self.served = self.now()

    def submit(self, job: Job) -> None:
        """Give a job to the first idle place."""
        self.assign(next(number for number, room in self.rooms.items() if room.task is None), job)

    def assign(self, place: int, job: Job) -> None:
        """Give an idle place a job; where its node has gone meanwhile, the job waits for another."""
        there = self.rooms.setdefault(place, _Room(None))
        assert there.task is None, "a place has one job at a time"
        there.task = _Task(next(self._numbers), job)
        if there.member is not None:
            _begin(there.member, there.number, there.task)

    def wait(self, seconds: float) -> list[Event]:
        """Return what has happened, after at most ``seconds``; nodes that come are used.

        Raises:
            DeviceError: the cluster does not answer any more, or has had no node for long.
        """
        self._send()
        events = self._answers(seconds)
        for member in list(self.members.values()):
            allowed = self.patience.answer if member.facts else self.patience.join
            since = member.called if member.taking is None else min(member.called, member.told)
            if time.monotonic() - since > allowed:
                self._lost(member, f"it has not answered for {allowed:.0f} s")
        if time.monotonic() - self.looked > self.patience.look:
            self._look()
        events += self._move()
        self._send()
        if self.joined:
            self.served = self.now()
        elif self.now() - self.served > self.patience.alone:
            raise DeviceError(
                f"the cluster has had no node that can train for {self.patience.alone:.0f} s",
                hint="finished runs are kept; the same command continues",
            )
        return events

    def stop(self) -> None:
        """End all nodes; those at work are let clear away what they have left."""
        leaving = [self.link.call(member.handle, "leave") for member in self.joined]
        until = time.monotonic() + _LEAVE_SECONDS
        while leaving and time.monotonic() < until:
            ended = self.link.wait(leaving, until - time.monotonic())
            leaving = [call for call in leaving if call not in ended]
        for member in self.members.values():
            self.link.end(member.handle)
        self.members, self.rooms = {}, {}

    def now(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def _look(self) -> None:
        self.looked = time.monotonic()
        for node in self.link.nodes():
            lost = self.losses.get(node.id, [])
            rests = len(lost) >= _MOST_LOSSES or (lost and time.monotonic() - lost[-1] < self.patience.again)
            if node.id in self.members or node.id in self.refused or rests:
                continue
            if processes := self.asked.places_of(node):
                handle = self.link.start(node, self.terms, processes)
                self.members[node.id] = _Member(node, handle, self.link.call(handle, "join"), time.monotonic())

    def _send(self) -> None:
        # One call at a time, as two might overtake each other.
        for member in self.members.values():
            if member.orders and member.taking is None:
                member.taking, member.told = self.link.call(member.handle, "take", member.orders), time.monotonic()
                member.orders = []

    def _ask(self, member: _Member, method: str, argument: Any) -> None:
        member.call, member.called = self.link.call(member.handle, method, argument), time.monotonic()

    def _answers(self, timeout: float) -> list[Event]:
        whose = {member.call: member for member in self.members.values()}
        whose |= {member.taking: member for member in self.members.values() if member.taking is not None}
        events: list[Event] = []
        for call in self.link.wait([*whose, *self.late], timeout):
            if (late := self.late.pop(call, None)) is not None:
                with suppress(NodeLost):
                    answer = self.link.result(call)
                    events += self._words(late, answer if isinstance(answer, list) else [])
            elif (member := whose[call]) is self.members.get(member.node.id):
                events += self._answer(member, call)
        return events

    def _answer(self, member: _Member, call: Any) -> list[Event]:
        try:
            answer = self.link.result(call)
        except NodeLost as error:
            # What cannot join now cannot in a minute: its libraries or its device are not there.
            if isinstance(error, NodeFault) and member.facts is None:
                self._refuse(member, str(error))
            else:
                self._lost(member, str(error))
            return []
        if call == member.taking:
            member.taking = None
            return []
        if isinstance(answer, Facts):
            self._introduce(member, answer)
            return []
        self._ask(member, "events", self.patience.events)
        return self._words(member, answer)

    def _introduce(self, member: _Member, facts: Facts) -> None:
        why = _refusal(self.ours, facts)
        if why is None and not facts.environment.data_hash:
            if not member.is_supplied:
                member.is_supplied = True
                if self.data is None:
                    self.data = self.link.share(stored_files(dataset(self.source.dataset), self.source.folder))
                self._ask(member, "receive", self.data)
                return
            why = "the data that it was sent are not whole there"
        if why is None and self.kind is not None and not _same_kind(self.kind, facts):
            why = _other_kind(facts)
        if why is not None:
            self._refuse(member, why)
            return
        member.facts = facts
        count = self.asked.places_of(member.node)
        _say(f"node {member.node.name} has joined: {count} places; {_kind_text(facts)}")
        self._ask(member, "events", self.patience.events)
        if self.asked.places is not None:
            count = min(count, max(0, self.asked.places - len(self.rooms)))
        first = max(self.rooms, default=-1) + 1
        self.rooms |= {first + number: _Room(member, number) for number in range(count)}

    def _keep_one_kind(self) -> None:
        """Part from all nodes but those of the kind that has most places; no other may join from here on."""
        kinds = [
            [other for other in self.joined if other.facts and _same_kind(one.facts, other.facts)]
            for one in self.joined
            if one.facts
        ]
        kept = max(kinds, key=lambda found: sum(self.asked.places_of(each.node) for each in found))
        self.kind = kept[0].facts
        for each in self.joined:
            if each.facts and each not in kept:
                self._refuse(each, _other_kind(each.facts))

    def _lost(self, member: _Member, why: str) -> None:
        self.losses.setdefault(member.node.id, []).append(time.monotonic())
        self.late[member.call] = member
        self._part(member, f"node {member.node.name} is lost: {why}")

    def _refuse(self, member: _Member, why: str) -> None:
        self.refused[member.node.id] = f"node {member.node.name} is refused: {why}"
        self._part(member, self.refused[member.node.id])

    def _part(self, member: _Member, why: str) -> None:
        self.members.pop(member.node.id)
        self.link.end(member.handle)
        _say(why)
        # Places with a job wait with it.
        for number, place in list(self.rooms.items()):
            if place.member is member:
                place.member = None
                self._drop(number)

    def _drop(self, number: int) -> None:
        # The last place stays: who finds none believes that nothing is left to do. What it is given waits for a node.
        place = self.rooms[number]
        if place.member is None and place.task is None and len(self.rooms) > 1:
            del self.rooms[number]

    def _close(self, number: int, *, is_at_work: bool) -> None:
        place = self.rooms[number]
        if is_at_work and place.member is not None and place.task is not None:
            place.member.orders.append(Order(Key(place.task.number, place.task.attempt), place.number))
        place.task = None
        self._drop(number)

    def _move(self) -> list[Event]:
        """Give idle places the jobs whose nodes are gone; return those that have lost too many."""
        events: list[Event] = []
        idle = [place for place in self.rooms.values() if place.member is not None and place.task is None]
        for number, place in list(self.rooms.items()):
            if place.member is not None:
                continue
            if (task := place.task) is not None and task.attempt >= _MOST_ATTEMPTS:
                events.append(Broken(task.job, Status.CRASHED, f"its node was lost {task.attempt} times"))
                place.task = None
            elif task is not None and idle:
                other = idle.pop(0)
                other.task, place.task = task, None
                assert other.member is not None
                _begin(other.member, other.number, task)
            self._drop(number)
        return events

    def _words(self, member: _Member, words: list[Said]) -> list[Event]:
        return [event for said in words if (event := self._event(member, said)) is not None]

    def _event(self, member: _Member, said: Said) -> Event | None:
        # The first result of a job counts, whichever attempt it is of.
        what, places = said.what, self.rooms.items()
        of_job = ((number, each.task) for number, each in places if each.task and each.task.number == said.key.job)
        number, task = next(of_job, (0, None))
        if task is None:
            # A late result is dropped, but what it has read of the test set is a read all the same.
            if (job := self.ended.get(said.key.job)) is not None:
                put_files(job, {key: text for key, text in said.files.items() if key == "test_log"})
            return None
        is_present = said.key.attempt == task.attempt
        if isinstance(what, Fault) and not is_present:
            return None
        put_files(task.job, said.files)
        self._close(number, is_at_work=not is_present)
        if isinstance(what, Fault):
            return Broken(task.job, what.status, what.message)
        if task.attempt > 1:
            self.ended[task.number] = task.job
        return Finished(task.job, replace(what, node=member.node.name))


def _begin(member: _Member, place: int, task: _Task) -> None:
    task.attempt += 1
    path = task.job.checkpoint
    state = path.read_bytes() if path is not None and path.exists() else None
    member.orders.append(Order(Key(task.number, task.attempt), place, task.job, state))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _other_kind(facts: Facts) -> str:
    return f"it is another kind of machine ({_kind_text(facts)}), and these runs stay on one"


def _refusal(ours: Facts, theirs: Facts) -> str | None:
    # Another processor is no reason: its results say so. Another code or torch is one: nobody could say any more what
    # a search has run.
    here, there = ours.environment, theirs.environment
    if here.commit != there.commit:
        return f"its code is commit {_short(there.commit)}, not {_short(here.commit)}"
    if ours.code != theirs.code:
        return f"its code is of commit {_short(there.commit)} too, but has other changes"
    if here.torch != there.torch:
        return f"its torch is {there.torch}, not {here.torch}"
    if theirs.fault:
        return f"it has no native engine: {theirs.fault}"
    return None


def _same_kind(one: Facts, other: Facts) -> bool:
    # Equal seeds give equal bits there, in about equal time.
    return one.processor == other.processor and same_bits_due(one.environment, other.environment)


def _kind_text(facts: Facts) -> str:
    where = facts.environment
    place = facts.processor if where.device == "cpu" else where.device
    return f"{place}, {where.instructions}, {where.engine}, torch {where.torch}, Python {where.python}"


def _short(commit: str | None) -> str:
    return "unknown (no git checkout)" if commit is None else commit[:10]


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
