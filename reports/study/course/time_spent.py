"""Where the time of a study went: training by what it was for, and the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.evidence.events import SessionBegan
from harness.training.result import Purpose, Result, Status
from reports.html.page import Html, joined, paragraph
from reports.html.shares import Share, shares_table
from reports.numbers import duration, plural
from reports.study.networks import Network
from reports.study.study_files import StudyFiles

# What the training was for, as people read it; the keys name the rows of the table.
KINDS = {
    "whole": "first runs that went to the end",
    "pruned": "first runs that were pruned",
    "early": "first runs that ended early otherwise",
    "fresh": "fresh seeds, to confirm",
    "test": "verification on the test set",
}
REST = "evaluation, starting, waiting and all else"


@dataclass(frozen=True, slots=True)
class Spent:
    """The training seconds of one kind, and of which network of the study, by its place in their order."""

    kind: str
    seconds: float
    by_network: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where the time went.

    Attributes:
        worker_seconds: wall-clock times workers over all sessions, None where the journal lacks them.
        spared_seconds: what the pruned runs would have trained on for, at their own pace.
        spared_runs: their number.
    """

    spent: tuple[Spent, ...]
    worker_seconds: float | None
    spared_seconds: float
    spared_runs: int

    @property
    def rest_seconds(self) -> float:
        """What the workers spent otherwise; 0 where that is not known."""
        trained = sum(item.seconds for item in self.spent)
        return max(0.0, (self.worker_seconds or 0.0) - trained)


def time_spent(files: StudyFiles, of: Sequence[Network]) -> TimeSpent:
    """Return where the time of a study went."""
    seconds: dict[str, dict[int, float]] = defaultdict(dict)
    for number, network in enumerate(of):
        spent: Counter[str] = Counter()
        for run in network.all_runs:
            spent[_kind(run)] += run.train_seconds  # type: ignore[assignment]  # a Counter adds floats too
        for item in files.measured:
            if item.record.hash == network.hash and item.record.found and item.record.found.study == files.name:
                spent["test"] += sum(run.train_seconds for run in item.record.seeds)  # type: ignore[assignment]
        for kind, value in spent.items():
            seconds[kind][number] = value
    pruned = [run for network in of for run in network.all_runs if run.status is Status.PRUNED and run.history]
    return TimeSpent(
        spent=tuple(Spent(kind, sum(seconds[kind].values()), seconds[kind]) for kind in KINDS if seconds[kind]),
        worker_seconds=_worker_seconds(files),
        spared_seconds=sum(_spared(run) for run in pruned),
        spared_runs=len(pruned),
    )


def draw(facts: TimeSpent) -> Html:
    """Return the table with what there is to say about it; nothing where no training has ended."""
    if not facts.spent:
        return Html("")
    shares = [Share(KINDS[item.kind], item.seconds, duration(item.seconds)) for item in facts.spent]
    identifiers = [f"spent-{item.kind}" for item in facts.spent]
    if facts.rest_seconds:
        shares.append(Share(REST, facts.rest_seconds, duration(facts.rest_seconds)))
        identifiers.append("spent-rest")
    parts = [shares_table("Time of all workers together", "for", "time", shares, "spent-caption", identifiers)]
    if facts.spared_runs:
        parts.append(
            paragraph(
                f"Pruning stopped {plural(facts.spared_runs, 'run')} early and spared about "
                f"{duration(facts.spared_seconds)} of training, at the pace of those runs."
            )
        )
    return joined(parts)


def _kind(run: Result) -> str:
    if run.purpose is not Purpose.SEARCH:
        return "fresh"
    return {Status.COMPLETE: "whole", Status.PRUNED: "pruned"}.get(run.status, "early")


def _spared(run: Result) -> float:
    return run.train_seconds / len(run.history) * max(0, run.recipe.epochs - len(run.history))


def _worker_seconds(files: StudyFiles) -> float | None:
    """Return wall-clock times workers: each session lasts until the next one begins."""
    sessions = files.entries_of(SessionBegan)
    starts = [entry.elapsed for entry in sessions]
    workers = [entry.event.workers for entry in sessions]
    if not sessions or None in workers:
        return None
    ends = [*starts[1:], files.elapsed]
    return sum(max(0.0, end - start) * (number or 0) for start, end, number in zip(starts, ends, workers, strict=True))
