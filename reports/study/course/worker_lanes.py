"""Every training of a search as a bar in the lane of a worker.

The log does not say which worker trained what. Trainings are dealt out to lanes by their begin and end: one goes to
the lane that became free last, as a worker that has finished is given the next one. On a cluster a result names its
node, and the lanes of a node stand together. Facts only; ``worker_lanes_picture`` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.evidence.events import (
    Confirmed,
    FailedConfirmation,
    Proposal,
    RunEnded,
    SessionBegan,
    SessionEnded,
    Verified,
)
from harness.system import statistics
from harness.training.result import Purpose, Result, Status
from reports.study.networks import Network
from reports.study.study_files import StudyFiles

# Two clocks measure a training and the session; a begin may seem this much before the end of the one before.
_SLACK_SECONDS = 1.0


class Fate(StrEnum):
    """How a training ended."""

    PASSED = "met the threshold"
    MISSED = "missed the threshold"
    STOPPED = "stopped early"
    FAILED = "failed"
    CUT = "unfinished when the search ended"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One training; times are seconds of the study, all sessions together.

    Attributes:
        lane: from 0.
        number: place of the network in the order of the study's networks.
        fresh: on a fresh seed.
    """

    lane: int
    begin: float
    end: float
    fate: Fate
    number: int
    label: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class WorkerLanes:
    """All trainings of a search.

    Attributes:
        lanes: workers, or as many as trained at once.
        verification: from when to when the winner was verified, None where it was not.
        nodes: of a cluster, one for each lane; none where one machine has trained.
    """

    bars: tuple[Bar, ...]
    lanes: int
    verification: tuple[float, float] | None
    nodes: tuple[str, ...] = ()


def worker_lanes(files: StudyFiles, of: Sequence[Network]) -> WorkerLanes:
    """Return the trainings of a study, in order of their begin."""
    numbers = {run.trial: number for number, network in enumerate(of) for run in network.other_runs}
    numbers |= {network.trial: number for number, network in enumerate(of) if network.trial is not None}
    free: list[float] = []
    nodes: list[str] = []
    bars = []
    for begin, end, fate, trial, fresh, node in sorted((*_finished(files), *_open(files)), key=lambda item: item[:2]):
        if trial not in numbers:
            continue
        lane = _lane(free, nodes, begin, node)
        begin = max(begin, free[lane])
        end = max(begin, end)
        free[lane] = math.inf if fate is Fate.RUNNING else end
        number = numbers[trial]
        bars.append(Bar(lane=lane, begin=begin, end=end, fate=fate, number=number, label=of[number].label, fresh=fresh))
    if any(nodes):
        return _by_node(bars, nodes, _verification(files))
    return WorkerLanes(tuple(bars), max(len(free), _workers(files) if bars else 0), _verification(files))


def _by_node(bars: Sequence[Bar], nodes: Sequence[str], verification: tuple[float, float] | None) -> WorkerLanes:
    """Return the lanes in order of their nodes, those of no known node last."""
    order = sorted(range(len(nodes)), key=lambda lane: (not nodes[lane], nodes[lane], lane))
    moved = tuple(replace(bar, lane=order.index(bar.lane)) for bar in bars)
    return WorkerLanes(moved, len(nodes), verification, tuple(nodes[lane] for lane in order))


_Span = tuple[float, float, Fate, int | None, bool, str]


def _finished(files: StudyFiles) -> list[_Span]:
    """Return the trainings that have ended, as (begin, end, fate, trial, on a fresh seed, node)."""
    results = {(run.trial, str(run.purpose), run.seed_index): run for run in files.results}
    found: list[_Span] = []
    for entry in files.entries_of(RunEnded):
        trial, purpose = entry.event.trial, entry.event.purpose
        run = results.get((trial, purpose, entry.event.seed_index))
        if run is None:
            continue
        begin = max(0.0, entry.elapsed - run.train_seconds)
        fate = _fate(run, files.config.threshold_pct)
        found.append((begin, entry.elapsed, fate, trial, purpose == Purpose.CONFIRM, run.node))
    return found


def _open(files: StudyFiles) -> list[_Span]:
    """Return the trainings that have begun and not ended; until now, or until the search ended.

    The log enters no begin. A first run begins when its network is proposed; while the search goes on, a worker
    without one trains a network that has met the threshold on a fresh seed, since that network's last training.
    """
    last = files.last_turn
    if last is None:
        return []
    end = last.elapsed if isinstance(last.event, SessionEnded) else files.elapsed
    sessions = [entry.elapsed for entry in files.entries_of(SessionBegan)]
    began = sessions[-1] if sessions else 0.0
    ended = {entry.event.trial: entry.elapsed for entry in files.entries_of(RunEnded)}
    fate = Fate.RUNNING if files.searching else Fate.CUT
    found: list[_Span] = []
    for entry in files.entries_of(Proposal):
        if entry.event.trial not in ended:
            begin = max(entry.elapsed, began)
            found.append((begin, max(begin, end), fate, entry.event.trial, False, ""))
    if files.searching:
        for trial in _to_confirm(files)[: max(0, _workers(files) - len(found))]:
            found.append((ended[trial], max(ended[trial], end), fate, trial, True, ""))
    return found


def _to_confirm(files: StudyFiles) -> list[int | None]:
    """Return the trials whose first run met the threshold and about which nothing is decided yet."""
    decided = {entry.event.trial for entry in files.entries_of(Confirmed)}
    decided |= {entry.event.trial for entry in files.entries_of(FailedConfirmation)}
    firsts = [run for run in files.results if run.purpose is Purpose.SEARCH and run.trial not in decided]
    ended = {entry.event.trial for entry in files.entries_of(RunEnded)}
    passed = [run for run in firsts if _fate(run, files.config.threshold_pct) is Fate.PASSED and run.trial in ended]
    return [run.trial for run in sorted(passed, key=lambda run: run.parameters)]


def _fate(run: Result, threshold_pct: float) -> Fate:
    if run.status is Status.PRUNED:
        return Fate.STOPPED
    if run.status is not Status.COMPLETE or run.validation_accuracy_pct is None:
        return Fate.FAILED
    return Fate.PASSED if statistics.reaches(run.validation_accuracy_pct, threshold_pct) else Fate.MISSED


def _lane(free: list[float], nodes: list[str], begin: float, node: str) -> int:
    """Return the lane of a node that became free last before a begin, of any where the node is not known.

    Where none is free it is a new one.
    """
    idle = [lane for lane, end in enumerate(free) if end <= begin + _SLACK_SECONDS and node in ("", nodes[lane])]
    if idle:
        return max(idle, key=lambda lane: free[lane])
    free.append(0.0)
    nodes.append(node)
    return len(free) - 1


def _workers(files: StudyFiles) -> int:
    return max((entry.event.workers or 0 for entry in files.entries_of(SessionBegan)), default=0)


def _verification(files: StudyFiles) -> tuple[float, float] | None:
    verified, ended = files.entries_of(Verified), files.entries_of(SessionEnded)
    if not verified or not ended:
        return None
    begin, end = ended[-1].elapsed, verified[-1].elapsed
    return (begin, end) if end > begin else None
