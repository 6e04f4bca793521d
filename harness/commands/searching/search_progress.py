"""Progress of a search on stderr: a live panel on a terminal, a line a minute elsewhere, and lines for what matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from harness.commands.searching.search_panel import Running, View, clock_text, panel
from harness.search.nearest_miss import NearestMiss, allowed_errors, miss_text
from harness.search.race import Candidate
from harness.system import statistics
from harness.system.terminal import console, printable
from harness.training.result import Result, Status
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers.progress import PLAIN_SECONDS, test_outcome
from harness.training.workers.workers import Broken, Event, Finished, Progress
from search_spaces.cost import analyse
from search_spaces.network_name import network_name
from search_spaces.task import Task

REFRESHES_A_SECOND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is shown of a search beside its progress.

    Attributes:
        dataset: its title.
        seconds: that it may take, None for no end; ``trials`` likewise.
        threshold_pct: asked for on ``validation_size`` images.
        report: where its page lies.
    """

    study: str
    dataset: str
    task: Task
    seconds: float | None
    trials: int | None
    target_pct: float
    threshold_pct: float
    validation_size: int
    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Where a search is; replaced whole, as another thread draws it.

    Attributes:
        elapsed: seconds of the search at the moment ``ticked`` of the clock.
        began: when each training began, by the clock; ``epochs`` that each training of a verification has had.
    """

    ticked: float
    elapsed: float = 0.0
    standing: Candidate | None = None
    nearest: NearestMiss | None = None
    jobs: tuple[Job | None, ...] = ()
    began: Mapping[Job, float] = field(default_factory=dict)
    epochs: Mapping[Job, int] = field(default_factory=dict)
    is_verifying: bool = False


class SearchReporter:
    """Shows a search while it goes on; use it as a context manager.

    Attributes:
        heartbeat: called whenever there may be something new to show.
        rejected: networks rejected so far; ``trained`` those that were trained.
    """

    def __init__(self, about: About, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """Start at nothing done.

        Args:
            verbose: say how every training ended, not only what changes the answer.
            clock: in seconds.
        """
        self.about, self.verbose, self._clock = about, verbose, clock
        self.heartbeat: Callable[[], None] = lambda: None
        self.rejected = self.trained = 0
        self._said = -PLAIN_SECONDS
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

    def tick(
        self,
        elapsed: float,
        left: float,
        standing: Candidate | None,
        nearest: NearestMiss | None,
        jobs: Sequence[Job | None],
    ) -> None:
        """Take note of where the search is; without a terminal say it once a minute."""
        now, before = self._clock(), self._state
        nearer = nearest if standing is None and nearest is not None and _is_nearer(nearest, before.nearest) else None
        self._state = _State(
            ticked=now,
            elapsed=elapsed,
            standing=standing,
            nearest=nearer or before.nearest,
            jobs=tuple(jobs),
            began={job: before.began.get(job, now) for job in jobs if job is not None},
        )
        if nearer is not None:
            self.say(f"{clock_text(elapsed)}  nearest so far: {miss_text(nearer)}")
        self._say_where()
        self.heartbeat()

    def verifying(self) -> None:
        """Take note that the search is over and its winner is verified."""
        self._state = replace(self._state, jobs=(), began={}, is_verifying=True)

    def ended(self, candidate: Candidate, found: Result, *, is_standing: bool) -> None:
        """Say how a run has ended, if it changes the answer or went wrong."""
        proposal = candidate.proposal
        kind = "first run" if found.purpose is Purpose.SEARCH else f"fresh seed {found.seed_index}"
        self.trained += found.purpose is Purpose.SEARCH
        if self.verbose or found.status not in (Status.COMPLETE, Status.PRUNED):
            accuracy = found.validation_accuracy_pct
            shown = f"{accuracy:.2f} % validation" if accuracy is not None else found.message
            line = f"trial {proposal.trial} ({proposal.parameters:,} parameters, {kind}): {found.status}, {shown}"
            self.say(f"{line}, {found.train_seconds:.0f} s")
        if is_standing:
            mean = statistics.mean(candidate.fresh_pct)
            self.say(
                f"{clock_text(self._state.elapsed)}  trial {proposal.trial} is confirmed with "
                f"{proposal.parameters:,} parameters: mean {mean:.3f} % validation over {len(candidate.fresh)} fresh "
                "seeds; from here on only smaller networks are proposed",
                style="green",
            )

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
        self._state = replace(
            before, elapsed=before.elapsed + now - before.ticked, ticked=now, epochs=epochs, jobs=tuple(epochs)
        )
        self._say_where()
        self.heartbeat()

    def view(self) -> View:
        """Return what the panel shows now."""
        about, now, state = self.about, self._clock(), self._state
        return View(
            study=about.study,
            elapsed=state.elapsed + now - state.ticked,
            seconds=about.seconds,
            phase="verifying" if state.is_verifying else "searching",
            goal=_goal(about),
            best=_best(state),
            is_standing=state.standing is not None,
            counts=self._counts(),
            running=[None if job is None else _running(job, self.about.task, state, now) for job in state.jobs],
            report=about.report,
        )

    def _counts(self) -> str:
        bound = "" if self.about.trials is None else f" of {self.about.trials:,} at most"
        return f"{self.trained:,} trained{bound}, {self.rejected:,} rejected before they were built"

    def _say_where(self) -> None:
        """Print a line, once a minute, where no panel says it."""
        state = self._state
        if self._live is not None or state.elapsed - self._said < PLAIN_SECONDS:
            return
        self._said = state.elapsed
        whole = "" if self.about.seconds is None else f" of {clock_text(self.about.seconds)}"
        best = "nothing confirmed yet" if state.standing is None else f"smallest {_best(state)}"
        if state.standing is None and state.nearest is not None:
            best += f"; nearest {_best(state)}"
        busy = sum(job is not None for job in state.jobs)
        self.say(f"{clock_text(state.elapsed)}{whole} | {best} | {self._counts()} | {busy} running")


def _running(job: Job, task: Task, state: _State, now: float) -> Running:
    """Return a training as the panel shows it; when the seeds of a verification began is not known."""
    return Running(
        what=f"seed {job.seed_index}" if state.is_verifying else f"trial {job.trial}",
        name=network_name(job.architecture, analyse(job.architecture, task).parameters),
        epochs=job.until_epoch or job.recipe.epochs,
        epoch=state.epochs.get(job),
        seconds=now - state.began[job] if job in state.began else None,
    )


def _best(state: _State) -> str:
    if state.standing is not None:
        return f"{state.standing.proposal.parameters:,} parameters"
    return "none yet" if state.nearest is None else miss_text(state.nearest)


def _goal(about: About) -> str:
    allowed = allowed_errors(about.threshold_pct, about.validation_size)
    images = f"{about.validation_size:,} validation images"
    return f"{about.target_pct:g} % on {about.dataset}: at most {allowed:,} errors on {images}"


def _is_nearer(found: NearestMiss, before: NearestMiss | None) -> bool:
    return before is None or (found.pruned_after is None, -found.errors) > (before.pruned_after is None, -before.errors)
