"""The report of a search that goes on: rewritten by the search itself, and by ``harness report --watch``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence import study
from harness.system.errors import HarnessError

if TYPE_CHECKING:
    from harness.system.files import Workspace

# Of the search's time after the first page, and of a watcher's.
SEARCH_SHARE, _WATCH_SHARE = 0.02, 0.05
_SOONEST_SECONDS = 10.0
# So long the page is written as soon as that, whatever its share.
_WATCHED_SECONDS = 600.0
# The next report may take longer than the last one: there is more to say.
_GROWTH = 1.5


class LiveReport:
    """Writes the report of a search at once, every ten seconds at first, later in a fiftieth of the search's time."""

    def __init__(
        self,
        folder: Path,
        place: Workspace,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count; ``say`` tells the person something."""
        self._folder, self._place, self._say, self._clock = folder, place, say, clock
        self._began = self._due = clock()
        # Seconds of all reports but the first, which loads what pages are made of; None before it.
        self._spent: float | None = None

    def refresh(self) -> None:
        """Write the report if it is time to; what goes wrong is said once and does not end the search."""
        if (before := self._clock()) < self._due:
            return
        from reports.study_page import write_report

        try:
            path = write_report(self._folder, self._place, live=True)
        except Exception as error:
            # A page is not worth a search: whatever is wrong with it will be met again, and raised, at the end.
            self._due = float("inf")
            what = error.told if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self._say(f"the report cannot be written while the search goes on: {what}")
            return
        after = self._clock()
        self._due = after + _SOONEST_SECONDS
        if self._spent is None:
            self._spent = 0.0
            self._say(f"live report: {path}")
            return
        self._spent += after - before
        # While people watch; then so that all together stay below their share.
        if after - self._began > _WATCHED_SECONDS:
            self._due = max(self._due, self._began + (self._spent + _GROWTH * (after - before)) / SEARCH_SHARE)


def watch(folder: Path, place: Workspace, sleep: Callable[[float], None] = time.sleep) -> None:
    """Keep the report of a study current until no search works on it, or Ctrl-C ends the watching.

    Raises:
        ContentError: a file of the study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    from reports.study_page import write_report

    def state() -> list[tuple[int, int]]:
        files = [path for path in (folder / "log.jsonl", place.records, place.test_log) if path.exists()]
        return [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]

    shown: list[tuple[int, int]] = []
    with suppress(KeyboardInterrupt):
        while study.is_owned(folder):
            before = time.perf_counter()
            if (found := state()) != shown:
                shown = found
                write_report(folder, place, live=True)
            # On a small machine the search and its watcher share the cores.
            sleep(max(2.0, (time.perf_counter() - before) / _WATCH_SHARE))
        write_report(folder, place)
