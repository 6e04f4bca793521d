"""How far a search has come: its time, its counts, what came nearest, and what its workers do now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.events import RungReached
from harness.search.nearest_miss import allowed_errors
from reports.html.page import Column, Html, element, figures, foreign, joined, table, text
from reports.numbers import count, duration, plural, short
from reports.study.course.accounting import Accounting
from reports.study.course.worker_lanes import Bar, Fate, WorkerLanes
from reports.study.networks import Network, State
from reports.study.standings import anchor
from reports.study.study_files import StudyFiles
from search_spaces.space import OBJECTIVES


@dataclass(frozen=True, slots=True)
class Training:
    """A training that goes on.

    Attributes:
        epochs: of its whole length.
        look: the last one at it, None before the first.
    """

    bar: Bar
    network: Network
    epochs: int
    look: RungReached | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Attributes:
        searching: it goes on now.
        elapsed: seconds until the last event; ``limit_seconds`` is all that it may take, None where that is not known.
        counts: of its proposals.
        smallest: the lowest cost of a network that stands, None while none does; ``unit`` is what is counted.
        nearest: the trained network with the fewest validation errors of those that do not stand and would be smaller;
            ``allowed`` is the most errors that meet the threshold.
    """

    searching: bool
    elapsed: float
    limit_seconds: float | None
    counts: Accounting
    smallest: int | None
    unit: str
    nearest: Network | None
    allowed: int
    running: tuple[Training, ...]


def progress(files: StudyFiles, of: Sequence[Network], lanes: WorkerLanes, counts: Accounting) -> Progress:
    """Return where a search stands."""
    sizes = [network.cost for network in of if network.state in (State.CONFIRMED, State.WINNER)]
    smallest = min(sizes, default=None)
    nearest = _nearest([item for item in of if not smallest or item.cost < smallest])
    return Progress(
        searching=files.searching,
        elapsed=files.elapsed,
        limit_seconds=files.time_limit,
        counts=counts,
        smallest=smallest,
        unit=OBJECTIVES[files.config.minimise],
        nearest=nearest,
        allowed=allowed_errors(files.config.threshold_pct, nearest.validation_size or 0) if nearest else 0,
        running=tuple(_running(files, of, lanes)),
    )


def cards(facts: Progress) -> Html:
    """Return the counts and what came nearest."""
    shown = [
        ("proposed", text(count(facts.counts.proposed))),
        ("rejected before training", text(count(facts.counts.rejected))),
        ("trained", text(count(facts.counts.trained))),
        ("running", text(count(len(facts.running)))),
        (f"fewest {facts.unit} confirmed", text(count(facts.smallest) if facts.smallest else "none yet")),
    ]
    if facts.nearest is not None:
        shown.append(
            (f"nearest miss, {facts.nearest.label.split()[0]}", text(_missed(facts, facts.nearest.errors or 0.0)))
        )
    return figures(shown)


def _missed(facts: Progress, errors: float) -> str:
    """Return a miss in images."""
    doubt = ", not confirmed" if errors <= facts.allowed else ""
    return f"{short(round(errors, 1))} errors; {count(facts.allowed)} allowed{doubt}"


def running_table(facts: Progress) -> Html:
    """Return a line for each training that goes on; nothing where there is none."""
    if not facts.running:
        return Html("")
    columns = (
        Column("worker", numeric=True),
        Column("network"),
        Column("parameters", numeric=True),
        Column("training"),
        Column("time", numeric=True),
        Column("last look"),
    )
    rows = [
        [
            text(item.bar.lane + 1),
            element("a", foreign(item.network.label), href=f"#{anchor(item.network.hash)}"),
            text(count(item.network.parameters)),
            text("fresh seed" if item.bar.fresh else "first run"),
            text(duration(item.bar.end - item.bar.begin)),
            text(_look(item)),
        ]
        for item in facts.running
    ]
    return table("Trainings that go on", columns, rows, identifier="running-caption", row_header=1)


def time_bar(facts: Progress) -> Html:
    """Return elapsed of total as words and a bar; the words alone where the total is not known."""
    if facts.limit_seconds is None:
        return element("span", text(f"{duration(facts.elapsed)} so far"), id="live-time")
    words = f"{duration(facts.elapsed)} of {duration(facts.limit_seconds)}"
    share = min(1.0, facts.elapsed / facts.limit_seconds)
    bar = element("progress", value=share, max=1, aria_label="Time of the search that has passed")
    return joined([bar, element("span", text(words), id="live-time")], " ")


def _look(item: Training) -> str:
    if item.look is None:
        return f"before its first look, {plural(item.epochs, 'epoch')} in all"
    words, errors = f"epoch {item.look.epoch} of {item.epochs}", item.look.validation_errors
    return words if errors is None else f"{words}: {plural(errors, 'error')}"


def _nearest(of: Sequence[Network]) -> Network | None:
    missed = [item for item in of if item.state in (State.TRAINED, State.REFUTED) and item.errors is not None]
    return max(missed, key=lambda item: (item.accuracy_pct or 0.0, -item.cost), default=None)


def _running(files: StudyFiles, of: Sequence[Network], lanes: WorkerLanes) -> list[Training]:
    looks = {entry.event.trial: entry.event for entry in files.entries_of(RungReached)}
    found = []
    for bar in sorted(lanes.bars, key=lambda bar: bar.lane):
        if bar.fate is not Fate.RUNNING:
            continue
        network = of[bar.number]
        look = None if bar.fresh or network.trial is None else looks.get(network.trial)
        epochs = files.config.recipe_of(network.epochs)[0].epochs
        found.append(Training(bar, network, epochs, look))
    return found
