"""Progress of a search on stderr: a live panel on a terminal, plain lines elsewhere, and lines for what matters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.commands.searching.search_panel import Running, View, clock_text, panel
from harness.data.datasets import Dataset, dataset
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.evidence.study import StudyConfig
from harness.search.clock import Effort
from harness.search.nearest_miss import NearestMiss, allowed_errors, miss_text
from harness.search.race import Candidate, why_refuted
from harness.search.session import Moment
from harness.system import statistics
from harness.system.terminal import console, counted, printable
from harness.training.progress import plain_seconds, test_outcome
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from harness.training.workers import Broken, Event, Finished, Progress
from search_spaces.catalog import network_name
from search_spaces.cost import analyse
from search_spaces.space import OBJECTIVES, Metric, size_text
from search_spaces.task import Task

REFRESHES_A_SECOND = 2
_Key = tuple[int | None, str, int, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Where a search is; replaced whole, as another thread draws it.

    Attributes:
        ticked: when ``at`` was, by the clock.
        began: when each training began, by the clock and ``_key``; ``epochs`` that each training of a verification has
            had.
    """

    ticked: float
    at: Moment = field(default_factory=lambda: Moment(0.0, None, None, ()))
    began: Mapping[_Key, float] = field(default_factory=dict)
    epochs: Mapping[Job, int] = field(default_factory=dict)
    is_verifying: bool = False


class SearchReporter:
    """Shows a search while it goes on; use it as a context manager.

    Attributes:
        heartbeat: called whenever there may be something new to show.
        rejected: networks rejected so far; ``trained`` those whose first run has ended with an accuracy.
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
        self._dataset = dataset(config.dataset)
        self.heartbeat: Callable[[], None] = lambda: None
        self.rejected = self.trained = 0
        self._said = -math.inf
        self._told: NearestMiss | None = None
        self._told_at = ""
        self._state = _State(ticked=clock())
        self._where = console(stderr=True)
        self._live: Any = None
        if self._where.is_terminal and not self._where.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(
                console=self._where,
                get_renderable=lambda: panel(self.view()),
                refresh_per_second=REFRESHES_A_SECOND,
                transient=True,
            )

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

    def say(self, line: str, style: str = "") -> None:
        """Print one line, above the panel where there is one."""
        self._where.print(printable(line), style=style, soft_wrap=True)

    def tick(self, at: Moment) -> None:
        """Take note of where the search is; without a terminal say it from time to time."""
        now, before = self._clock(), self._state.began
        began = {(key := _key(job)): before.get(key, now) for job in at.jobs if job is not None}
        self._state = _State(ticked=now, at=at, began=began)
        self._say_where()
        self._say_nearest()
        self.heartbeat()

    def verifying(self) -> None:
        """Take note that the search is over and its winner is verified."""
        self._state = replace(self._state, at=replace(self._state.at, jobs=(), nodes=()), began={}, is_verifying=True)

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """Say how a run has ended, if it decides about its network or went wrong."""
        proposal = candidate.proposal
        kind = "first run" if found.purpose is Purpose.SEARCH else f"fresh seed {found.seed_index}"
        self.trained += found.purpose is Purpose.SEARCH and found.validation_errors is not None
        if self.verbose or found.status not in (Status.COMPLETE, Status.PRUNED):
            accuracy = found.validation_accuracy_pct
            reached = "" if accuracy is None else f"{accuracy:.2f} % validation"
            shown = ", ".join(filter(None, (reached, found.message)))
            line = f"trial {proposal.trial} ({_size(candidate, self.config.minimise)}, {kind}): {found.status}, {shown}"
            self.say(f"{line}, {found.train_seconds:.0f} s")
        if decided is not None:
            self._say_decided(candidate, decided)

    def _say_decided(self, candidate: Candidate, decided: Confirmed | FailedConfirmation) -> None:
        """Say that a network is confirmed, or why it is not."""
        at, seeds = self._state.at, len(candidate.fresh)
        if isinstance(decided, Confirmed):
            verdict, style = "is confirmed", "green"
            more = f"from here on only networks of fewer {OBJECTIVES[self.config.minimise]} are proposed"
        else:
            verdict, style = "failed its confirmation", ""
            why = why_refuted(seeds, stood=candidate is at.standing)
            more = f"the threshold is {self.config.threshold_pct:.3f} %, and {why}"
            # The jobs are those of before this run's end, so it is still among them.
            seeds_begun = {job.seed_index for job in at.jobs if job is not None and job.trial == decided.trial}
            if seeds_begun - {run.seed_index for run in candidate.fresh}:
                more += "; another seed of it is still training and may change this"
        mean = f"mean {statistics.mean(candidate.fresh_pct):.3f} % validation over {counted(seeds, 'fresh seed')}"
        line = f"trial {decided.trial} {verdict} with {_size(candidate, self.config.minimise)}: {mean}; {more}"
        self.say(f"{clock_text(at.elapsed)}  {line}", style=style)

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about the verification of the winner."""
        now, before, job = self._clock(), self._state, event.job
        epochs = dict(before.epochs)
        match event:
            case Progress(_, epoch):
                epochs[job] = epoch.epoch
            case Finished(_, result):
                epochs.pop(job, None)
                self.say(f"seed {job.seed_index}: {test_outcome(result)}")
            case Broken(_, status, message):
                epochs.pop(job, None)
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")
        at = replace(before.at, elapsed=before.at.elapsed + now - before.ticked, jobs=tuple(epochs))
        self._state = replace(before, ticked=now, at=at, epochs=epochs)
        self._say_where()
        self.heartbeat()

    def view(self) -> View:
        """Return what the panel shows now."""
        now, state = self._clock(), self._state
        return View(
            study=self.folder.name,
            elapsed=state.at.elapsed + now - state.ticked,
            seconds=self.effort.seconds,
            phase="verifying" if state.is_verifying else "searching",
            goal=_goal(self.config, self._dataset),
            best=_best(state.at, self.config.minimise),
            is_standing=state.at.standing is not None,
            counts=self._counts(),
            running=[None if job is None else _running(job, self._dataset.task, state, now) for job in state.at.jobs],
            report=str(self.folder / "report.html"),
            nodes=state.at.nodes,
        )

    def _counts(self) -> str:
        bound = "" if self.effort.trials is None else f" of {self.effort.trials:,} at most"
        return f"{self.trained:,} trained{bound}, {self.rejected:,} rejected before building"

    def _say_nearest(self) -> None:
        """Print what has come nearer than all that was told; of several in one second the first, then what is left."""
        at, clock = self._state.at, clock_text(self._state.at.elapsed)
        if at.standing is not None or at.nearest is None or clock == self._told_at:
            return
        if _is_nearer(at.nearest, self._told):
            self._told, self._told_at = at.nearest, clock
            passed = at.nearest.pruned_after is None and at.nearest.errors <= at.nearest.allowed
            label = "reached the threshold" if passed else "nearest so far"
            self.say(f"{clock}  {label}: {miss_text(at.nearest, self.config.minimise)}")

    def _say_where(self) -> None:
        """Print a line from time to time, where no panel says it."""
        at = self._state.at
        if self._live is not None or at.elapsed - self._said < plain_seconds(at.elapsed):
            return
        self._said = at.elapsed
        whole = "" if self.effort.seconds is None else f" of {clock_text(self.effort.seconds)}"
        minimise = self.config.minimise
        best = "nothing confirmed yet" if at.standing is None else f"smallest {_best(at, minimise)}"
        if at.standing is None and at.nearest is not None:
            best += f"; nearest {_best(at, minimise)}"
            self._told = at.nearest if _is_nearer(at.nearest, self._told) else self._told
        busy = sum(job is not None for job in at.jobs)
        self.say(f"{clock_text(at.elapsed)}{whole} | {best} | {self._counts()} | {busy} running")


def _key(job: Job) -> _Key:
    """Return what tells a job of a search from all others: to hash hundreds of whole jobs at each event takes long."""
    return (job.trial, job.purpose, job.seed_index, job.until_epoch)


def _running(job: Job, task: Task, state: _State, now: float) -> Running:
    """Return a training as the panel shows it; when the seeds of a verification began is not known."""
    began = state.began.get(_key(job))
    return Running(
        what=f"seed {job.seed_index}" if state.is_verifying else f"trial {job.trial}",
        name=network_name(job.architecture, analyse(job.architecture, task).parameters),
        epochs=job.until_epoch or job.recipe.epochs,
        epoch=state.epochs.get(job),
        seconds=None if began is None else now - began,
    )


def _size(candidate: Candidate, minimise: Metric) -> str:
    return size_text(candidate.proposal.parameters, candidate.cost, minimise)


def _best(at: Moment, minimise: Metric) -> str:
    if at.standing is not None:
        return _size(at.standing, minimise)
    return "none yet" if at.nearest is None else miss_text(at.nearest, minimise)


def _goal(config: StudyConfig, data: Dataset) -> str:
    allowed = allowed_errors(config.threshold_pct, data.validation_size)
    images = f"{data.validation_size:,} validation images"
    return f"{config.target_pct:g} % on {data.title}: at most {allowed:,} errors on {images}"


def _is_nearer(found: NearestMiss, before: NearestMiss | None) -> bool:
    return before is None or (found.pruned_after is None, -found.errors) > (before.pruned_after is None, -before.errors)
