"""Progress on stderr: a bar on a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from tqdm import tqdm

from harness.evidence import statistics
from harness.search.nearest_miss import NearestMiss, miss_text
from harness.search.race import Candidate
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import Broken, Event, Finished, Progress

# How often a search without a terminal says where it is.
PLAIN_SECONDS = 60.0


class Reporter:
    """A progress bar over ``total`` things; use it as a context manager.

    Attributes:
        heartbeat: called whenever there may be something new to show.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        """Start at nothing done."""
        self.terminal = sys.stderr.isatty()
        self.heartbeat: Callable[[], None] = lambda: None
        self.bar: tqdm[None] = tqdm(
            total=total, unit=f" {unit}", disable=not self.terminal, file=sys.stderr, dynamic_ncols=True
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self.bar.close()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        if self.terminal:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about a verification."""
        match event:
            case Progress(job, epoch):
                self.bar.set_postfix_str(f"seed {job.seed_index} epoch {epoch.epoch}/{job.recipe.epochs}")
            case Finished(job, result):
                self.bar.update(1)
                self.say(f"seed {job.seed_index}: {_outcome(result)}")
            case Broken(job, status, message):
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")
        self.heartbeat()


def _outcome(result: Result) -> str:
    accuracy = result.test_accuracy_pct
    return f"{result.status}, {accuracy:.2f} % test" if accuracy is not None else str(result.status)


class Watcher(Protocol):
    """Whoever sees a search go on.

    Attributes:
        rejected: networks rejected so far; ``trained`` those that were trained.
    """

    rejected: int
    trained: int

    def tick(
        self,
        elapsed: float,
        left: float,
        standing: Candidate | None,
        nearest: NearestMiss | None,
        jobs: Sequence[Job | None],
    ) -> None:
        """See where the search is, after each event; ``nearest`` is looked for while nothing stands."""
        ...

    def ended(self, candidate: Candidate, found: Result, *, is_standing: bool) -> None:
        """See how a run has ended."""
        ...


class SearchReporter(Reporter):
    """Progress of a search: one line that says where it is, and one for each run that has ended."""

    def __init__(self, seconds: float | None, trials: int | None) -> None:
        """Start at nothing done."""
        super().__init__(None, "")
        self.seconds = seconds
        self.trials = trials
        self.rejected = 0
        self.trained = 0
        self.said = -PLAIN_SECONDS
        if self.terminal:
            self.bar.bar_format = "{desc}"

    def tick(
        self,
        elapsed: float,
        left: float,
        standing: Candidate | None,
        nearest: NearestMiss | None,
        jobs: Sequence[Job | None],
    ) -> None:
        """Show where the search is; on a terminal at every call, elsewhere once a minute."""
        line = self._line(elapsed, left, _best(standing, nearest), jobs)
        if self.terminal:
            self.bar.set_description_str(line)
        elif elapsed - self.said >= PLAIN_SECONDS:
            self.said = elapsed
            self.say(line)
        self.heartbeat()

    def ended(self, candidate: Candidate, found: Result, *, is_standing: bool) -> None:
        """Say how a run has ended."""
        proposal = candidate.proposal
        kind = "first run" if found.purpose is Purpose.SEARCH else f"fresh seed {found.seed_index}"
        self.trained += found.purpose is Purpose.SEARCH
        accuracy = found.validation_accuracy_pct
        shown = f"{accuracy:.2f} % validation" if accuracy is not None else found.message
        line = f"trial {proposal.trial} ({proposal.parameters:,} parameters, {kind}): {found.status}, {shown}"
        self.say(f"{line}, {found.train_seconds:.0f} s")
        if is_standing:
            mean = statistics.mean(candidate.fresh_pct)
            self.say(
                f"trial {proposal.trial} stands with {proposal.parameters:,} parameters: mean {mean:.3f} % validation "
                f"over {len(candidate.fresh)} fresh seeds; from here on only smaller networks are proposed"
            )

    def _line(self, elapsed: float, left: float, best: str, jobs: Sequence[Job | None]) -> str:
        busy = ", ".join(
            f"trial {job.trial} to epoch {job.until_epoch or job.recipe.epochs}" for job in jobs if job is not None
        )
        bound = "no end" if self.trials is None else f"{self.trials} trials at most"
        remaining = bound if self.seconds is None else f"{_clock(left)} left"
        return (
            f"{_clock(elapsed)}, {remaining} | smallest that stands: {best} | "
            f"{self.trained} trained, {self.rejected} rejected | {busy or 'idle'}"
        )


def _best(standing: Candidate | None, nearest: NearestMiss | None) -> str:
    if standing is not None:
        return f"{standing.proposal.parameters:,} parameters"
    return "none yet" if nearest is None else f"none yet; nearest {miss_text(nearest)}"


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
