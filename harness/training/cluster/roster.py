"""Which nodes of a cluster train: they are asked to join, checked, listened to, and given up where they do not answer.

What the nodes do is not known here; ``cluster`` hands out the jobs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.data.data_files import stored_files
from harness.data.datasets import dataset
from harness.training.cluster.node import Facts, Order, Said, Terms
from harness.training.cluster.ray_link import Link, NodeFault, NodeInfo, NodeLost
from harness.training.result import same_bits_due

# A node that is lost so often is not asked again.
_MOST_LOSSES = 3
_LEAVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
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
class Member:
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


@dataclass(frozen=True, slots=True)
class Joined:
    """A node may be given jobs."""

    member: Member


@dataclass(frozen=True, slots=True)
class Gone:
    """A node will not do its jobs."""

    member: Member


@dataclass(frozen=True, slots=True)
class Word:
    """A node, perhaps one that was given up, has said something of a job."""

    member: Member
    said: Said


@dataclass(slots=True, kw_only=True)
class Roster:
    """The nodes that train.

    Attributes:
        members: nodes that have been asked, by their ids; ``refused`` says why others may not join.
        losses: when a node was lost.
        late: calls to nodes that were lost, which may still be answered.
        kind: what nodes have to be like to join; None for any.
        data: the files of the data set as nodes get them; None until one has asked for them.
    """

    link: Link
    asked: Asked
    terms: Terms
    ours: Facts
    patience: Patience
    say: Callable[[str], None] = lambda line: print(f"harness: {line}", file=sys.stderr, flush=True)
    members: dict[str, Member] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    late: dict[Any, Member] = field(default_factory=dict)
    kind: Facts | None = None
    data: Any = None
    looked: float = float("-inf")

    @property
    def joined(self) -> list[Member]:
        """The nodes that may be given jobs."""
        return [member for member in self.members.values() if member.facts is not None]

    def hear(self, timeout: float) -> list[Joined | Gone | Word]:
        """Return what the nodes answer in so many seconds, and which are gone; ask those to join that have come.

        Raises:
            DeviceError: the cluster itself does not answer any more.
        """
        self._send()
        heard = self._answers(timeout)
        heard += [gone for member in list(self.members.values()) for gone in self._check(member)]
        if time.monotonic() - self.looked > self.patience.look:
            self._look()
        self._send()
        return heard

    def keep_one_kind(self) -> list[Gone]:
        """Part from all nodes but those of the kind that has most places; no other may join from here on."""

        def like(kind: Member) -> list[Member]:
            assert kind.facts is not None
            return [each for each in self.joined if each.facts is not None and _same_kind(kind.facts, each.facts)]

        kept = max(map(like, self.joined), key=lambda found: sum(self.asked.places_of(each.node) for each in found))
        self.kind = kept[0].facts
        others = [(each, each.facts) for each in self.joined if each.facts is not None and each not in kept]
        return [gone for each, facts in others for gone in self._refused(each, _other_kind(facts))]

    def end(self) -> None:
        """End all nodes; those at work are let clear away what they have left."""
        leaving = [self.link.call(member.handle, "leave") for member in self.joined]
        until = time.monotonic() + _LEAVE_SECONDS
        while leaving and time.monotonic() < until:
            ended = self.link.wait(leaving, until - time.monotonic())
            leaving = [call for call in leaving if call not in ended]
        for member in self.members.values():
            self.link.end(member.handle)

    def _look(self) -> None:
        self.looked = time.monotonic()
        for node in self.link.nodes():
            lost = self.losses.get(node.id, [])
            rests = len(lost) >= _MOST_LOSSES or (lost and time.monotonic() - lost[-1] < self.patience.again)
            if node.id in self.members or node.id in self.refused or rests:
                continue
            if processes := self.asked.places_of(node):
                handle = self.link.start(node, self.terms, processes)
                self.members[node.id] = Member(node, handle, self.link.call(handle, "join"), time.monotonic())

    def _send(self) -> None:
        """Send the orders that wait; one call at a time, as two might overtake each other."""
        for member in self.members.values():
            if member.orders and member.taking is None:
                member.taking, member.told = self.link.call(member.handle, "take", member.orders), time.monotonic()
                member.orders = []

    def _answers(self, timeout: float) -> list[Joined | Gone | Word]:
        whose = {member.call: member for member in self.members.values()}
        whose |= {member.taking: member for member in self.members.values() if member.taking is not None}
        heard: list[Joined | Gone | Word] = []
        for call in self.link.wait([*whose, *self.late], timeout):
            if (late := self.late.pop(call, None)) is not None:
                heard += self._last_words(late, call)
            elif (member := whose[call]) is self.members.get(member.node.id):
                heard += self._answer(member, call)
        return heard

    def _answer(self, member: Member, call: Any) -> list[Joined | Gone | Word]:
        try:
            answer = self.link.result(call)
        except NodeFault as error:
            # What cannot join now cannot in a minute: its libraries or its device are not there.
            return [*self._refused(member, str(error))] if member.facts is None else self._lost(member, str(error))
        except NodeLost as error:
            return self._lost(member, str(error))
        if call == member.taking:
            member.taking = None
            return []
        if isinstance(answer, Facts):
            return self._introduced(member, answer)
        self._ask(member, "events", self.patience.events)
        return [Word(member, said) for said in answer]

    def _last_words(self, member: Member, call: Any) -> list[Joined | Gone | Word]:
        try:
            answer = self.link.result(call)
        except NodeLost:
            return []
        return [Word(member, said) for said in answer] if isinstance(answer, list) else []

    def _introduced(self, member: Member, facts: Facts) -> list[Joined | Gone | Word]:
        why = _refusal(self.ours, facts)
        if why is None and not facts.environment.data_hash and member.is_supplied:
            why = "the data that it was sent are not whole there"
        if why is None and not facts.environment.data_hash:
            member.is_supplied = True
            if self.data is None:
                self.data = self.link.share(stored_files(dataset(self.terms.source.dataset), self.terms.source.folder))
            self._ask(member, "receive", self.data)
            return []
        member.facts = facts
        if why is None and self.kind is not None and not _same_kind(self.kind, facts):
            why = _other_kind(facts)
        if why is not None:
            return [*self._refused(member, why)]
        self.say(f"node {member.node.name} has joined: {self.asked.places_of(member.node)} places; {_kind_text(facts)}")
        self._ask(member, "events", self.patience.events)
        return [Joined(member)]

    def _ask(self, member: Member, method: str, argument: Any) -> None:
        member.call, member.called = self.link.call(member.handle, method, argument), time.monotonic()

    def _check(self, member: Member) -> list[Gone]:
        allowed = self.patience.answer if member.facts else self.patience.join
        since = member.called if member.taking is None else min(member.called, member.told)
        if time.monotonic() - since <= allowed:
            return []
        return self._lost(member, f"it has not answered for {allowed:.0f} s")

    def _lost(self, member: Member, why: str) -> list[Any]:
        self.losses.setdefault(member.node.id, []).append(time.monotonic())
        self.late[member.call] = member
        return self._parted(member, f"node {member.node.name} is lost: {why}")

    def _refused(self, member: Member, why: str) -> list[Gone]:
        self.refused[member.node.id] = f"node {member.node.name} is refused: {why}"
        return self._parted(member, self.refused[member.node.id])

    def _parted(self, member: Member, why: str) -> list[Gone]:
        self.members.pop(member.node.id)
        self.link.end(member.handle)
        self.say(why)
        return [Gone(member)]


def _other_kind(facts: Facts) -> str:
    return f"it is another kind of machine ({_kind_text(facts)}), and these trainings stay on one"


def _refusal(ours: Facts, theirs: Facts) -> str | None:
    """Return why a node may not join, None where it may.

    Another processor is no reason: its results say so. Another code or torch is one: nobody could say any more what a
    search has run.
    """
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
    """Return whether equal seeds give equal bits on both machines, in about equal time."""
    return one.processor == other.processor and same_bits_due(one.environment, other.environment)


def _kind_text(facts: Facts) -> str:
    """Return what decides the bits of a training there, for people."""
    where = facts.environment
    place = facts.processor if where.device == "cpu" else where.device
    return f"{place}, {where.instructions}, {where.engine}, torch {where.torch}, Python {where.python}"


def _short(commit: str | None) -> str:
    return "unknown (no git checkout)" if commit is None else commit[:10]
