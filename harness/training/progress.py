"""Progress of long work on stderr: a bar on a terminal, elsewhere a plain line an event, and one from time to time."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from harness.system.terminal import duration_text
from harness.training.result import Result
from harness.training.workers import Broken, Event, Finished, Progress

# Least and most seconds between two lines of long work without a terminal.
PLAIN_SECONDS = (10.0, 60.0)
REFRESH_SECONDS = 1.0


def plain_seconds(elapsed: float) -> float:
    """Return for how long work without a terminal says nothing: a tenth of its time, and ten seconds to a minute."""
    least, most = PLAIN_SECONDS
    return min(most, max(least, elapsed / 10))


class Reporter:
    """A progress bar over ``total`` things; use it as a context manager."""

    def __init__(self, total: int | None, unit: str) -> None:
        self.terminal = sys.stderr.isatty()
        self._unit, self._done = unit, 0
        self._began = self._said = time.monotonic()
        self.bar: tqdm[None] = tqdm(
            total=total, unit=f" {unit}", disable=not self.terminal, file=sys.stderr, dynamic_ncols=True
        )
        # An epoch may take longer than a person waits for a sign of life: the bar's clock goes on by itself.
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        if self.terminal:
            self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self.terminal:
            self._clock.join()
        self.bar.close()

    def _go_on(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            self.bar.refresh()

    def advance(self, count: int = 1) -> None:
        """Count so many things as done."""
        self.bar.update(count)
        self._done += count
        # Called at every step of a training, so the line is made only when it is due.
        if self._is_due():
            of = "" if self.bar.total is None else f" of {self.bar.total:,}"
            self.say(f"{self._done:,}{of} {self._unit}")

    def _is_due(self) -> bool:
        now = time.monotonic()
        return not self.terminal and now - self._said >= plain_seconds(now - self._began)

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._said = time.monotonic()
        if self.terminal:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about a verification."""
        match event:
            case Progress(job, epoch):
                left = duration_text(epoch.train_seconds / epoch.epoch * (job.recipe.epochs - epoch.epoch))
                where = f"seed {job.seed_index}: epoch {epoch.epoch} of {job.recipe.epochs}, about {left} left"
                self.bar.set_postfix_str(where)
                if self._is_due():
                    self.say(where)
            case Finished(job, result):
                self.say(f"seed {job.seed_index}: {test_outcome(result)}")
                self.advance()
            case Broken(job, status, message):
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")


def test_outcome(result: Result) -> str:
    """Return how a run has ended, with its test accuracy where it has one."""
    accuracy = result.test_accuracy_pct
    return f"{result.status}, {accuracy:.2f} % test" if accuracy is not None else str(result.status)
