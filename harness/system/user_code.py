"""Code of a person: found by its name, called with a limit of time, its failures told in one line."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from harness.system.errors import ContentError, UsageError

# A call that takes longer has hung: a proposal takes seconds.
_SECONDS = 60
_STOP = object()


def function_of(name: str, purpose: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names; the module may lie in the current folder.

    Raises:
        UsageError: it is no such name, or the module cannot be imported.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except Exception as error:  # whatever its module raises
        raise UsageError(f"{purpose} {name}: {type(error).__name__}: {error}") from error
    return found


@contextmanager
def called(name: str, seconds: int = _SECONDS) -> Iterator[None]:
    """Tell in one line what a person's code raises in the block, or that it has not come back; 0 is no limit.

    Raises:
        ContentError: it failed.
    """
    # Only the main thread can be called back; elsewhere nothing limits it.
    limited = seconds > 0 and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, _has_hung) if limited else None
    try:
        if limited:
            signal.alarm(seconds)
        yield
    except Exception as error:
        raise ContentError(f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        if limited:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)


def _has_hung(number: int, frame: object) -> None:
    raise TimeoutError(f"it has not come back after {_SECONDS} seconds")


class Listener:
    """Calls a person's function with each event, on a thread: what it raises or how long it takes stops nobody."""

    def __init__(self, function: Callable[[Any], object], say: Callable[[str], None]) -> None:
        self._name = getattr(function, "__name__", type(function).__name__)
        self._function, self._say = function, say
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while (event := self._events.get()) is not _STOP:
            try:
                self._function(event)
            except Exception as error:
                what = " ".join(str(error).split())
                self._say(f"on_event {self._name} failed and is not called again: {type(error).__name__}: {what}")
                return

    def tell(self, event: Any) -> None:
        """Have the function called with an event; returns at once."""
        self._events.put(event)

    def close(self, seconds: float = 5.0) -> None:
        """Wait until all events are told, but not for a function that has hung."""
        self._events.put(_STOP)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say(f"on_event {self._name} is left behind: it has not come back after {seconds:g} seconds")
