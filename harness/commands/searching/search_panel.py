"""The live panel of a search on a terminal: where it is, what it has, and a line a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.system.terminal import printable

# A GPU may train dozens side by side.
MOST_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A training that goes on.

    Attributes:
        what: ``trial 7``, or ``seed 3`` of a verification.
        name: of its network.
        epochs: the last epoch of this training; ``epoch`` that is done, None where nobody says.
        seconds: since it began, None where nobody says.
    """

    what: str
    name: str
    epochs: int
    epoch: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A search as it is now.

    Attributes:
        elapsed: seconds of all sessions; ``seconds`` that it may take, None for no end.
        phase: ``searching`` or ``verifying``.
        goal: target and threshold, in words.
        best: the smallest network that stands, or what came nearest.
        is_standing: whether one stands.
        counts: what has been trained and rejected, in words.
        running: a place a worker; None where it is idle. ``nodes``: the name of each one's node; none on this machine.
        report: where the page lies.
    """

    study: str
    elapsed: float
    seconds: float | None
    phase: str
    goal: str
    best: str
    is_standing: bool
    counts: str
    running: Sequence[Running | None]
    report: str
    nodes: Sequence[str] = ()


def panel(view: View) -> Any:
    """Return the view as something that rich shows."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    clock = Table.grid(padding=(0, 1), expand=True)
    clock.add_column(no_wrap=True)
    clock.add_column(ratio=1)
    whole = "" if view.seconds is None else f" of {clock_text(view.seconds)}"
    bar = (
        Text("") if view.seconds is None else ProgressBar(total=view.seconds, completed=min(view.elapsed, view.seconds))
    )
    clock.add_row(f"{view.phase} {clock_text(view.elapsed)}{whole}", bar)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("target", view.goal)
    facts.add_row(
        "smallest" if view.is_standing else "nearest", Text(view.best, style="green" if view.is_standing else "")
    )
    facts.add_row("networks", view.counts)
    nodes = view.nodes or [""] * len(view.running)
    for number, (run, node) in enumerate(zip(view.running[:MOST_LINES], nodes, strict=False), start=1):
        place = f"worker {number}" if view.phase == "searching" else "training"
        on = f" on {node}" if node else ""
        facts.add_row(printable(place + on), Text("idle", style="dim") if run is None else running_text(run))
    if len(view.running) > MOST_LINES:
        facts.add_row("", f"and {len(view.running) - MOST_LINES} more")
    facts.add_row("report", Text(printable(view.report)))
    return Panel(
        Group(clock, facts),
        title=Text(printable(f"harness search: {view.study}")),
        title_align="left",
        border_style="dim",
    )


def running_text(run: Running) -> str:
    """Return a training in one line."""
    done = f"epoch {run.epoch} of {run.epochs}" if run.epoch is not None else f"to epoch {run.epochs}"
    return f"{run.what}: {run.name}, {done}" + ("" if run.seconds is None else f", for {clock_text(run.seconds)}")


def clock_text(seconds: float) -> str:
    """Return minutes and seconds, as on a clock."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
