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
SEARCH_SHARE, WATCH_SHARE = 0.02, 0.05
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
        """Begin to count.

        Args:
            folder: of the study.
            place: its workspace.
            say: tells the person something.
            clock: in seconds.
        """
        self._folder, self._place, self._say, self._clock = folder, place, say, clock
        self._began = self._due = clock()
        self._spent = 0.0
        self._told = self._broken = False

    def refresh(self) -> None:
        """Write the report if it is time to; what goes wrong is said once and does not end the search."""
        if self._broken or self._clock() < self._due:
            return
        from reports.study.study_page import write_report

        before = self._clock()
        try:
            path = write_report(self._folder, self._place, live=True)
        except Exception as error:
            # A page is not worth a search: whatever is wrong with it will be met again, and raised, at the end.
            self._broken = True
            what = error.told if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self._say(f"the report cannot be written while the search goes on: {what}")
            return
        cost = self._clock() - before
        if self._told:
            self._spent += cost
            # While people watch; then so that all together stay below their share.
            self._due = self._clock() + _SOONEST_SECONDS
            if self._clock() - self._began > _WATCHED_SECONDS:
                self._due = max(self._due, self._began + (self._spent + _GROWTH * cost) / SEARCH_SHARE)
        else:
            # The first page loads what pages are made of; its cost says nothing about the next.
            self._told = True
            self._due = self._clock() + _SOONEST_SECONDS
            self._say(f"live report: {path}")


def watch(
    folder: Path,
    place: Workspace,
    on_written: Callable[[Path], None],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Keep the report of a study current until no search works on it; return whether one did.

    Args:
        folder: of the study.
        place: its workspace.
        on_written: told the page's path after each time that it is written.
        sleep: waits so many seconds.

    Raises:
        ContentError: a file of the study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    from reports.study.study_page import write_report

    shown, ran = None, False
    while study.is_owned(folder):
        ran = True
        found, before = _changes(folder, place), time.perf_counter()
        if found != shown:
            shown = found
            on_written(write_report(folder, place, live=True))
        # On a small machine the search and its watcher share the cores.
        sleep(max(2.0, (time.perf_counter() - before) / WATCH_SHARE))
    on_written(write_report(folder, place))
    return ran


def _changes(folder: Path, place: Workspace) -> dict[Path, tuple[int, int]]:
    """Return what tells whether there is something new to show."""
    found = {}
    for path in (folder / "log.jsonl", folder / "results", place.records, place.test_log):
        with suppress(OSError):
            state = path.stat()
            found[path] = (state.st_size, state.st_mtime_ns)
    return found
