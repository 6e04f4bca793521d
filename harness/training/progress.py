"""Progress reports on stderr: a bar on a terminal or in a notebook, otherwise a plain line from time to time."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich import progress

from harness.system.terminal import console, duration_text, is_silent, printable, write
from harness.training.executors.base import JobEnded, JobFailed, WorkerEvent


def status_interval_seconds(elapsed_seconds: float) -> float:
    """Return the seconds between two status lines without a bar: a tenth of the elapsed seconds, but 10 to 60."""
    return min(60.0, max(10.0, elapsed_seconds / 10))


class Reporter:
    """A progress bar on stderr, to be used as a context manager.

    Args:
        unit: For the unit ``s`` (seconds) the bar shows no count.

    Attributes:
        is_drawn: Whether a bar is drawn; without a bar, ``tick`` and ``advance`` print a line from time to time.
    """

    def __init__(self, total: float | None, unit: str) -> None:
        self._unit = unit
        self._began = time.monotonic()
        self._last_line_time = self._began
        stderr_console = console(stderr=True)
        self._notebook_bar = None
        if "ipykernel" in sys.modules and not is_silent():
            from tqdm.auto import tqdm

            self._notebook_bar = tqdm(total=total, unit=unit)
        on_terminal = stderr_console.is_terminal and not stderr_console.is_dumb_terminal
        self.is_drawn = on_terminal or self._notebook_bar is not None
        count_columns = () if unit == "s" else (progress.MofNCompleteColumn(), progress.TextColumn(unit))
        # So that a long epoch does not look like a crash.
        self._bar = progress.Progress(
            progress.BarColumn(15),
            *count_columns,
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.description}", markup=False),
            console=stderr_console,
            disable=self._notebook_bar is not None or not on_terminal,
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._notebook_bar is not None:
            self._notebook_bar.close()

    def show(self, text: str | None = None, *, done: float | None = None, total: int | None = None) -> None:
        """Change the text behind the bar, the units or seconds done, or the total; None leaves a value unchanged."""
        description = None if text is None else printable(text)
        self._bar.update(self._task, description=description, completed=done, total=total)
        if self._notebook_bar is not None:
            task = self._bar.tasks[0]
            self._notebook_bar.n = task.completed
            self._notebook_bar.total = task.total
            self._notebook_bar.set_postfix_str(task.description)

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more units as done."""
        self._bar.advance(self._task, count)
        if self._notebook_bar is not None:
            self._notebook_bar.update(count)
        self.tick()

    def tick(self) -> None:
        """Print a line if there is no bar and the last line is old; may be called often."""
        now = time.monotonic()
        elapsed = now - self._began
        if self.is_drawn or now - self._last_line_time < status_interval_seconds(elapsed):
            return
        task = self._bar.tasks[0]
        total_text = "" if task.total is None else f" of {task.total:,.0f}"
        text = f"; {task.description}" if task.description else ""
        self.say(f"{task.completed:,.0f}{total_text} {self._unit} after {duration_text(elapsed)}{text}")

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the bar, on a terminal in a style of rich such as ``red``."""
        self._last_line_time = time.monotonic()
        if self._notebook_bar is not None:
            self._notebook_bar.write(printable(line))
        elif self._bar.console.is_terminal:
            self._bar.console.print(printable(line), style=style)
        else:
            write(printable(line), err=True)

    def on_worker_event(self, event: WorkerEvent) -> None:
        """Show the result of a seed of a verification, and advance the bar; print a failed job."""
        if isinstance(event, JobFailed):
            self.say(seed_line(event))
        else:
            self.show(seed_line(event))
            self.advance()


def seed_line(event: WorkerEvent) -> str:
    """Return a line with the status of a verification run, and with the test accuracy if known."""
    match event:
        case JobEnded(job, result):
            accuracy_pct = result.test_accuracy_pct
            accuracy = "" if accuracy_pct is None else f", {accuracy_pct:.2f} % test"
            return f"seed {job.seed_index}: {result.status}{accuracy}"
        case JobFailed(job, status, message):
            return f"seed {job.seed_index}: {status}, {message}; the run is repeated"
