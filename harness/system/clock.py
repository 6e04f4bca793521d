"""A monotonic clock that stands still while this process is stopped (Ctrl-Z, SIGSTOP), for the limits of trainings."""

import os
import threading
import time
from functools import cache

_LOOK_SECONDS = 0.25  # between two looks at the clock by a thread
# Without a look for longer, the process was stopped, unless it computed for most of the time: a library may keep all
# Python threads from running.
_STOPPED_SECONDS = 2.0


class _Clock:
    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may read the clock in ``now``
        self._look = time.monotonic(), time.process_time()
        self._stopped_seconds = 0.0
        threading.Thread(target=self._watch, daemon=True, name="clock").start()

    def now(self) -> float:
        with self._lock:
            before, computed_before = self._look
            self._look = time.monotonic(), time.process_time()
            seconds = self._look[0] - before
            if seconds > _STOPPED_SECONDS and self._look[1] - computed_before < seconds / 2:
                self._stopped_seconds += seconds
            return self._look[0] - self._stopped_seconds

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self.now()


_clock = cache(_Clock)
# A forked process lacks the thread.
os.register_at_fork(after_in_child=_clock.cache_clear)


def now() -> float:
    """Return the seconds of the clock; the first call starts a thread."""
    return _clock().now()
