"""Progress on stderr: a bar on a terminal, one plain line an event elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

from harness.result import Result
from harness.workers import Broken, Event, Finished, Progress


class Reporter:
    """A progress bar over ``total`` things; use it as a context manager."""

    def __init__(self, total: int | None, unit: str) -> None:
        """Start at nothing done."""
        self.terminal = sys.stderr.isatty()
        self.bar: tqdm[None] = tqdm(
            total=total, unit=f" {unit}", disable=not self.terminal, file=sys.stderr, dynamic_ncols=True
        )

    def __enter__(self) -> Reporter:
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


def _outcome(result: Result) -> str:
    accuracy = result.test_accuracy_pct
    return f"{result.status}, {accuracy:.2f} % test" if accuracy is not None else str(result.status)
