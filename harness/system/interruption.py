"""Ctrl-C, SIGTERM and SIGHUP: no handler raises inside a foreign library, which might lose the exception.

The first signal raises KeyboardInterrupt at the next line of this program, after all calls of libraries and of user
code have returned, or calls the function of ``asked``, such as the orderly end of a search. A second signal ends the
program, or in Python raises KeyboardInterrupt at once.
"""

from __future__ import annotations

import atexit
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

INTERRUPTED = 130  # exit code that a shell reports for a program ended by SIGINT
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 10.0  # for libraries to return after the first signal
_END_SECONDS = 2.0  # for the functions of ``atexit`` after a second signal
_ROOT = Path(__file__).resolve().parents[1]
_OURS = f"{_ROOT}{os.sep}"
# These pass on all exceptions of functions that they call.
_PYTHON = (f"{os.path.dirname(os.__file__)}{os.sep}", "<frozen ")
_CLICK = f"{os.sep}click{os.sep}"


@contextmanager
def handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    """Install signal handlers, by signal, for the block; without effect outside the main thread."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in handlers:
            handler = signal.getsignal(number)
            # Handlers not set from Python (None) cannot be restored.
            if handler is not None:
                before[number] = handler
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Interruption:
    signals = 0  # so far
    answer: Callable[[], None] | None = None  # of ``asked``
    is_active = False  # whether a block of ``deferred`` is active
    is_due = False  # KeyboardInterrupt is still to be raised
    traced: ClassVar[list[tuple[FrameType, Any]]] = []  # frames with our ``f_trace``, and the one before


def _raise_at_next_line(frame: FrameType | None, base: FrameType) -> None:
    """Raise KeyboardInterrupt at the next line of this program that ``base`` calls through no library."""
    stack = []
    while frame is not None and frame is not base.f_back:
        stack.append(frame)
        frame = frame.f_back

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and _Interruption.is_due:
            _Interruption.is_due = False
            raise KeyboardInterrupt
        return trace

    _Interruption.is_due = True
    for caller in reversed(stack):
        name = caller.f_code.co_filename
        if name.startswith(_OURS):
            _Interruption.traced.append((caller, caller.f_trace))
            caller.f_trace = trace
        elif (
            caller is not base and _CLICK not in name and (f"-packages{os.sep}" in name or not name.startswith(_PYTHON))
        ):
            break
    sys.settrace(lambda *arguments: None)  # traces the frames with ``f_trace``, and no new calls


@contextmanager
def deferred(at_second: Callable[[], None] | None = None) -> Iterator[None]:
    """Handle the signals in the block as this module describes; inner blocks change nothing.

    Without effect outside the main thread. The caller's own handlers of SIGTERM and SIGHUP stay, also of ``nohup``.

    Args:
        at_second: Ends the program after a second signal, or if the first has no effect within ten seconds; by default
            raises KeyboardInterrupt.

    Raises:
        KeyboardInterrupt: A signal has arrived.
    """
    base = sys._getframe(2)

    def on_signal(number: int, frame: FrameType | None) -> None:
        _Interruption.signals += 1
        if number == signal.SIGHUP:
            _detach()
        if _Interruption.signals > 1:
            if at_second is None:
                raise KeyboardInterrupt
            at_second()
        elif _Interruption.answer is not None:
            _Interruption.answer()
        else:
            _raise_at_next_line(frame, base)
            if at_second is not None:
                patience = threading.Timer(_PATIENCE_SECONDS, lambda: _Interruption.is_due and at_second())
                patience.daemon = True
                patience.start()

    if _Interruption.is_active or threading.current_thread() is not threading.main_thread():
        yield
        return
    _Interruption.is_active = True
    tracer = sys.gettrace()
    numbers = [each for each in SIGNALS if each == signal.SIGINT or signal.getsignal(each) == signal.SIG_DFL]
    try:
        with handled(dict.fromkeys(numbers, on_signal)):
            yield
        if _Interruption.is_due:
            raise KeyboardInterrupt
    except Exception as error:
        if _Interruption.is_due:
            raise KeyboardInterrupt from error
        raise
    finally:
        if _Interruption.signals:
            sys.settrace(tracer)
        while _Interruption.traced:
            frame, function = _Interruption.traced.pop()
            frame.f_trace = function
        _Interruption.is_active = _Interruption.is_due = False
        _Interruption.signals = 0


@contextmanager
def asked(answer: Callable[[], None]) -> Iterator[None]:
    """Call ``answer`` at the first signal in the block instead of raising KeyboardInterrupt."""
    with deferred():
        _Interruption.answer = answer
        try:
            yield
        finally:
            _Interruption.answer = None


def _detach() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        if stat.S_ISCHR(os.fstat(handle).st_mode):
            os.dup2(null, handle)


def end_now() -> None:
    """End the program with exit code 130: kill worker processes, remove temporary folders, wait for nothing else."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    limit = threading.Timer(_END_SECONDS, os._exit, [INTERRUPTED])
    limit.daemon = True
    limit.start()
    # The progress bar hides the cursor.
    cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
    os.write(2, cursor + b"error: interrupted\n")
    for child in sys.modules["multiprocessing"].active_children() if "multiprocessing" in sys.modules else ():
        child.kill()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # threads fail as libraries end
    atexit._run_exitfuncs()
    os._exit(INTERRUPTED)
