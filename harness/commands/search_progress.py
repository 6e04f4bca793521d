"""Progress of a search on stderr: a live panel on a terminal, a line an event, and one from time to time elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from harness.data.datasets import dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.evidence.study import StudyConfig
from harness.search.clock import Effort
from harness.search.race import Candidate, is_confirmed
from harness.search.state import Moment, Watcher
from harness.search.trials import NearestMiss, allowed_errors, miss_text
from harness.system import statistics
from harness.system.terminal import console, counted, printable
from harness.training.executor import Broken, Event, Finished
from harness.training.progress import plain_seconds, test_outcome
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.catalog import network_name
from search_spaces.cost import analyse
from search_spaces.space import size_text

# A GPU may train dozens side by side.
MOST_LINES = 8


class SearchReporter(Watcher):
    """Shows a search while it goes on; use it as a context manager.

    Attributes:
        heartbeat: called whenever there may be something new to show.
    """

    def __init__(
        self,
        folder: Path,
        config: StudyConfig,
        effort: Effort,
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at nothing done.

        Args:
            folder: that of the study.
            verbose: say how every training ended, not only what changes the answer.
            clock: in seconds.
        """
        self.folder, self.config, self.effort, self.verbose, self._clock = folder, config, effort, verbose, clock
        self.heartbeat: Callable[[], None] = lambda: None
        # What another thread draws is replaced, never changed: where the search was when this clock ticked, and when
        # each training began.
        self._at, self._ticked = Moment(0.0, None, None, ()), clock()
        self._began: Mapping[object, float] = {}
        self._is_verifying = False
        self._said, self._told_at = -math.inf, ""
        self._told: NearestMiss | None = None
        # Networks that have failed while another seed of theirs, which may confirm them, is still training.
        self._open: set[int] = set()
        self._where = console(stderr=True)
        self._live: Any = None
        if self._where.is_terminal and not self._where.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=self._where, get_renderable=self.panel, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        """Show the panel, where there is a terminal."""
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the panel away."""
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed(self) -> float:
        """Seconds of all sessions until now."""
        return self._at.elapsed + self._clock() - self._ticked

    # Lines ----------------------------------------------------------------------------------------------------

    def say(self, words: str, style: str = "") -> None:
        """Print one line with the time of the search, above the panel where there is one."""
        line = printable(f"{_clock(self.elapsed)}  {words}")
        if self._where.is_terminal:
            self._where.print(line, style=style)
        else:
            click.echo(line, file=self._where.file)

    def tick(self, at: Moment) -> None:
        """Take note of where the search is; without a terminal say it from time to time."""
        now = self._clock()
        self._began = {(key := _key(job)): self._began.get(key, now) for job in at.jobs if job is not None}
        self._at, self._ticked = at, now
        self._say_where()
        # Of several in one second the first is said, then what is left.
        clock, nearest = _clock(at.elapsed), at.nearest
        if at.standing is None and nearest is not None and clock != self._told_at and self._is_news(nearest):
            self._told_at = clock
            self.say(f"nearest: {miss_text(nearest, self.config.minimise)}")
        self.heartbeat()

    def verifying(self) -> None:
        """Take note that the search is over and its winner is verified."""
        self._at, self._ticked = replace(self._at, elapsed=self.elapsed, jobs=(), nodes=()), self._clock()
        self._began, self._is_verifying = {}, True

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """Say how a run has ended, if it decides about its network or went wrong."""
        trial = candidate.proposal.trial
        size = size_text(candidate.proposal.parameters, candidate.cost, self.config.minimise)
        if self.verbose or found.status not in (Status.COMPLETE, Status.PRUNED):
            kind = "first run" if found.purpose is Purpose.SEARCH else f"fresh seed {found.seed_index}"
            accuracy = found.validation_accuracy_pct
            reached = "" if accuracy is None else f"{accuracy:.2f} % validation"
            shown = ", ".join(filter(None, (reached, found.message)))
            self.say(f"trial {trial} ({size}, {kind}): {found.status}, {shown}, {found.train_seconds:.0f} s")
        if decided is None and trial not in self._open:
            return
        # The jobs are those of before this run's end, so it is still among them.
        begun = {job.seed_index for job in self._at.jobs if job is not None and job.trial == trial}
        seeds = f"{statistics.mean(candidate.fresh_pct):.2f} % ({counted(len(candidate.fresh), 'seed')})"
        if isinstance(decided, Confirmed):
            self._open.discard(trial)
            self.say(f"confirmed: {size}, {seeds}; budget now {decided.budget:,}", "green")
        elif begun - {run.seed_index for run in candidate.fresh}:
            self._open.add(trial)
        else:
            self._open.discard(trial)
            if not is_confirmed(candidate, self.config.threshold_pct):
                fallen = "no longer" if candidate is self._at.standing else "not"
                self.say(f"{fallen} confirmed: {size}, {seeds}; unlikely to hold {self.config.threshold_pct:.2f} %")

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about the verification of the winner."""
        match event:
            case Finished(job, result):
                self.say(f"seed {job.seed_index}: {test_outcome(result)}")
            case Broken(job, status, message):
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")
        self.heartbeat()

    def _say_where(self) -> None:
        """Print a line from time to time, where no panel says it."""
        at = self._at
        if self._live is not None or at.elapsed - self._said < plain_seconds(at.elapsed):
            return
        self._said = at.elapsed
        if at.standing is None and at.nearest is not None:
            self._is_news(at.nearest)
        label, best = self._best()
        running = sum(job is not None for job in at.jobs)
        self.say(f"{label} {best}; {self._counts()}; {running} running")

    def _is_news(self, nearest: NearestMiss) -> bool:
        """Return whether it is nearer than all that was told, and take it as told."""

        def order(miss: NearestMiss) -> tuple[bool, float]:
            return (miss.pruned_after is None, -miss.errors)

        if self._told is not None and order(nearest) <= order(self._told):
            return False
        self._told = nearest
        return True

    def _best(self) -> tuple[str, str]:
        at, minimise = self._at, self.config.minimise
        if at.standing is not None:
            return "confirmed", size_text(at.standing.proposal.parameters, at.standing.cost, minimise)
        return "nearest", "none yet" if at.nearest is None else miss_text(at.nearest, minimise)

    def _counts(self) -> str:
        most = "" if self.effort.trials is None else f" of {self.effort.trials:,}"
        return f"{self._at.trained:,}{most} trained, {self._at.rejected:,} rejected"

    # The panel ------------------------------------------------------------------------------------------------

    def panel(self) -> Any:
        """Return where the search is now as something that rich shows."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        at, config, seconds, elapsed = self._at, self.config, self.effort.seconds, self.elapsed
        data = dataset(config.dataset)
        clock = Table.grid(padding=(0, 1), expand=True)
        clock.add_column(no_wrap=True)
        clock.add_column(ratio=1)
        of = "" if seconds is None else f" of {_clock(seconds)}"
        bar = "" if seconds is None else ProgressBar(total=seconds, completed=min(elapsed, seconds))
        clock.add_row(f"{'verifying' if self._is_verifying else 'searching'} {_clock(elapsed)}{of}", bar)
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        facts.add_row("study", Text(printable(self.folder.name)))
        allowed = allowed_errors(config.threshold_pct, data.validation_size)
        images = f"{data.validation_size:,} validation images"
        facts.add_row("target", f"{config.target_pct:g} % on {data.title}: at most {allowed:,} errors on {images}")
        label, best = self._best()
        facts.add_row(label, Text(best, style="" if at.standing is None else "green"))
        facts.add_row("networks", self._counts())
        nodes = at.nodes or [""] * len(at.jobs)
        for number, (job, node) in enumerate(zip(at.jobs[:MOST_LINES], nodes, strict=False), start=1):
            on = f" on {node}" if node else ""
            run = Text("idle", style="dim") if job is None else Text(self._run_text(job))
            facts.add_row(printable(f"worker {number}{on}"), run)
        if len(at.jobs) > MOST_LINES:
            facts.add_row("", f"and {len(at.jobs) - MOST_LINES} more")
        facts.add_row("report", Text(printable(str(self.folder / "report.html"))))
        return Group(clock, facts)

    def _run_text(self, job: Job) -> str:
        parameters = analyse(job.architecture, dataset(self.config.dataset).task).parameters
        name, last = network_name(job.architecture, parameters), job.until_epoch or job.recipe.epochs
        began = self._began.get(_key(job))
        lasts = "" if began is None else f", for {_clock(self._clock() - began)}"
        return f"trial {job.trial}: {name}, to epoch {last}{lasts}"


def _key(job: Job) -> object:
    """Return what tells a job of a search from all others: to hash hundreds of whole jobs at each event takes long."""
    return (job.trial, job.purpose, job.seed_index, job.until_epoch)


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
