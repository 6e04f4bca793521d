"""Progress of long work on stderr: a bar on a terminal and in a notebook; elsewhere a plain line from time to time."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich import progress

from harness.system.terminal import console
from harness.training.executor import Broken, Event, Finished
from harness.training.result import Result


def plain_seconds(elapsed: float) -> float:
    """Return for how long work without a terminal says nothing: a tenth of its time, and ten seconds to a minute."""
    return min(60.0, max(10.0, elapsed / 10))


def notebook_bar(total: float | None, unit: str) -> Any:
    """Return tqdm's bar where a notebook shows the output, None elsewhere."""
    if "ipykernel" not in sys.modules:
        return None
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=unit)


class Reporter:
    """A progress bar over ``total`` things; use it as a context manager."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.terminal = sys.stderr.isatty()
        self._unit, self._total, self._done = unit, total, 0
        self._began = self._said = time.monotonic()
        # Its clock goes on by itself: an epoch may take longer than a person waits for a sign of life.
        self._bar = progress.Progress(
            progress.BarColumn(15),
            progress.MofNCompleteColumn(),
            progress.TextColumn(unit),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.description}"),
            console=console(stderr=True),
            disable=not self.terminal,
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("", total=total)
        self._notebook = notebook_bar(total, unit)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._notebook is not None:
            self._notebook.close()

    def show(self, words: str | None = None, total: int | None = None) -> None:
        """Show these words behind the bar, or another number of things."""
        self._total = total or self._total
        self._bar.update(self._task, description=words, total=total)

    def advance(self, count: int = 1) -> None:
        """Count so many things as done."""
        self._bar.advance(self._task, count)
        self._done += count
        if self._notebook is not None:
            self._notebook.update(count)
            return
        # Called at every step of a training, so the line is made only when it is due.
        now = time.monotonic()
        if not self.terminal and now - self._said >= plain_seconds(now - self._began):
            of = "" if self._total is None else f" of {self._total:,}"
            self.say(f"{self._done:,}{of} {self._unit}")

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._said = time.monotonic()
        if self._notebook is not None:
            self._notebook.write(line)
        elif self.terminal:
            self._bar.console.print(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about a verification."""
        match event:
            case Finished(job, result):
                self.say(f"seed {job.seed_index}: {test_outcome(result)}")
                self.advance()
            case Broken(job, status, message):
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")


def test_outcome(result: Result) -> str:
    """Return how a run has ended, with its test accuracy where it has one."""
    accuracy = result.test_accuracy_pct
    return f"{result.status}, {accuracy:.2f} % test" if accuracy is not None else str(result.status)
