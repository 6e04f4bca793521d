"""How far a search has come: its time, its counts, what came nearest, and what its workers do now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.evidence.events import Proposal, Repeated, RunEnded, RungReached
from harness.evidence.study import recipe_of, rejections
from harness.search.nearest_miss import allowed_errors
from harness.training.seeds import Purpose
from reports.html.numbers import DASH, count, duration, plural, short
from reports.html.page import Column, Html, element, figures, foreign, joined, table, text
from reports.study.course.worker_lanes import Fate, WorkerLanes
from reports.study.networks import Network, State
from reports.study.standings import anchor
from reports.study.study_files import StudyFiles
from search_spaces.spaces.space import OBJECTIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The trained network with the fewest validation errors of those that do not stand and would be smaller.

    Attributes:
        errors: wrong validation images, the mean of its seeds; ``allowed`` is the most that meet the threshold.
    """

    label: str
    hash: str
    parameters: int
    errors: float
    allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that goes on.

    Attributes:
        lane: of the worker, from 0.
        epoch: after which it was last looked at, None before the first look; ``errors`` are those of that look.
    """

    lane: int
    label: str
    hash: str
    parameters: int
    fresh: bool
    seconds: float
    epochs: int | None
    epoch: int | None
    errors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a search stands.

    Attributes:
        searching: it goes on now.
        elapsed: seconds until the last event; ``limit_seconds`` is all that it may take, None where that is not known.
        trained: networks whose first run has ended with an accuracy.
        smallest: the lowest cost of a network that stands, None while none does; ``unit`` is what is counted.
    """

    searching: bool
    elapsed: float
    limit_seconds: float | None
    proposed: int
    rejected: int
    trained: int
    smallest: int | None
    unit: str
    nearest: Nearest | None
    running: tuple[Training, ...]


def progress(files: StudyFiles, of: Sequence[Network], lanes: WorkerLanes) -> Progress:
    """Return where a search stands."""
    rejected = rejections(files.events).total()
    ends = [entry.event for entry in files.entries_of(RunEnded)]
    trained = [event for event in ends if event.purpose == Purpose.SEARCH and event.validation_errors is not None]
    sizes = [network.cost for network in of if network.state in (State.CONFIRMED, State.WINNER)]
    smallest = min(sizes, default=None)
    return Progress(
        searching=files.searching,
        elapsed=files.elapsed,
        limit_seconds=files.time_limit,
        proposed=rejected + len(files.entries_of(Proposal)) + len(files.entries_of(Repeated)),
        rejected=rejected,
        trained=len(trained),
        smallest=smallest,
        unit=OBJECTIVES[files.config.minimise],
        nearest=_nearest([item for item in of if not smallest or item.cost < smallest], files.config.threshold_pct),
        running=tuple(_running(files, of, lanes)),
    )


def cards(facts: Progress) -> Html:
    """Return the counts and what came nearest."""
    nearest = facts.nearest
    shown = [
        ("proposed", text(count(facts.proposed))),
        ("rejected before training", text(count(facts.rejected))),
        ("trained", text(count(facts.trained))),
        ("running", text(count(len(facts.running)))),
        (f"fewest {facts.unit} confirmed", text(count(facts.smallest) if facts.smallest else "none yet")),
    ]
    if nearest is not None:
        shown.append((f"nearest miss, {nearest.label.split()[0]}", text(missed(nearest))))
    return figures(shown)


def missed(nearest: Nearest) -> str:
    """Return a miss in images."""
    doubt = ", not confirmed" if nearest.errors <= nearest.allowed else ""
    return f"{short(round(nearest.errors, 1))} errors; {count(nearest.allowed)} allowed{doubt}"


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
            text(item.lane + 1),
            element("a", foreign(item.label), href=f"#{anchor(item.hash)}"),
            text(count(item.parameters)),
            text("fresh seed" if item.fresh else "first run"),
            text(duration(item.seconds)),
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
    if item.epoch is None:
        return f"before its first look, {plural(item.epochs, 'epoch')} in all" if item.epochs else DASH
    epochs = f"epoch {item.epoch} of {item.epochs}" if item.epochs else f"epoch {item.epoch}"
    return f"{epochs}: {plural(item.errors, 'error')}" if item.errors is not None else epochs


def _nearest(of: Sequence[Network], threshold_pct: float) -> Nearest | None:
    found = []
    for network in of:
        size = next((run.validation_size for run in network.runs if run.validation_size), None)
        if network.state in (State.TRAINED, State.REFUTED) and network.accuracy_pct is not None and size:
            found.append((network.accuracy_pct, -network.cost, network, size))
    if not found:
        return None
    accuracy, _, network, size = max(found, key=lambda item: item[:2])
    return Nearest(
        label=network.label,
        hash=network.hash,
        parameters=network.parameters,
        errors=(100 - accuracy) / 100 * size,
        allowed=allowed_errors(threshold_pct, size),
    )


def _running(files: StudyFiles, of: Sequence[Network], lanes: WorkerLanes) -> list[Training]:
    looks = {entry.event.trial: entry.event for entry in files.entries_of(RungReached)}
    found = []
    for bar in sorted(lanes.bars, key=lambda bar: bar.lane):
        if bar.fate is not Fate.RUNNING:
            continue
        network = of[bar.number]
        look = None if bar.fresh or network.trial is None else looks.get(network.trial)
        found.append(
            Training(
                lane=bar.lane,
                label=network.label,
                hash=network.hash,
                parameters=network.parameters,
                fresh=bar.fresh,
                seconds=bar.end - bar.begin,
                epochs=recipe_of(files.config, network.epochs)[0].epochs,
                epoch=look.epoch if look else None,
                errors=look.validation_errors if look else None,
            )
        )
    return found
