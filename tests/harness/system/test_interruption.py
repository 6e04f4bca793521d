"""Signals raise at a line of this program and not inside of libraries; programs end with this process; the clock."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.system import interruption
from harness.system.interruption import asked, deferred
from harness.system.machine import run_program
from tests.conftest import REPOSITORY
from tests.fakes import PATIENCE

LIBRARY = """
def call(function, notes):
    try:
        function()
    except BaseException:
        notes.append("lost")  # as in a compiled library that turns each exception into a text
    notes.append("library returned")
"""
PROGRAM = """
def use(call, function, notes):
    call(function, notes)
    notes.append("next line")
"""


def function_in(path: str, code: str, name: str) -> Any:
    """Return a function of a module with this path."""
    module: dict[str, Any] = {}
    exec(compile(code, path, "exec"), module)
    return module[name]


CALL = function_in("/usr/lib/python3/site-packages/library.py", LIBRARY, "call")
USE = function_in(f"{REPOSITORY}/harness/made_up.py", PROGRAM, "use")


def test_first_signal_raises_after_library_has_returned():
    notes = list[str]()
    handlers = [signal.getsignal(number) for number in interruption.SIGNALS]

    with pytest.raises(KeyboardInterrupt), deferred():
        USE(CALL, lambda: signal.raise_signal(signal.SIGINT), notes)

    assert notes == ["library returned"]
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == handlers
    assert sys.gettrace() is None or "coverage" in sys.modules


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_signal_at_end_of_block_is_raised_at_end(number: int):
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(number)


def test_signal_is_raised_from_another_exception_that_leaves_the_block():
    def fail_after_signal() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("reason")

    with pytest.raises(KeyboardInterrupt) as interrupt, deferred():
        fail_after_signal()

    assert repr(interrupt.value.__cause__) == "ValueError('reason')"
    with pytest.raises(ValueError, match="reason"), deferred():
        raise ValueError("reason")


TRACED = """
def use(tracer, function):
    frame = sys._getframe()
    frame.f_trace = tracer
    try:
        with deferred():
            call(function)
            function = None
    except KeyboardInterrupt:
        return frame.f_trace
"""


@pytest.mark.parametrize("tracer", [None, lambda frame, event, argument: None])
def test_trace_functions_of_frames_are_restored(tracer: Any):
    use = function_in(f"{REPOSITORY}/harness/made_up.py", TRACED, "use")
    use.__globals__.update(sys=sys, deferred=deferred, call=lambda function: function())

    assert use(tracer, lambda: signal.raise_signal(signal.SIGINT)) is tracer


def test_second_signal_raises_at_once_in_python():
    notes = list[str]()

    def interrupt_twice() -> None:
        signal.raise_signal(signal.SIGINT)
        notes.append("still in the library")
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), deferred():
        interrupt_twice()

    assert notes == ["still in the library"]


def test_answer_replaces_exception():
    answers = list[int]()
    with deferred(), asked(lambda: answers.append(1)):
        signal.raise_signal(signal.SIGTERM)
    assert answers == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *arguments: None])
def test_handlers_of_the_caller_stay(number: int, handler: Any):
    before = signal.signal(number, handler)
    try:
        with deferred():
            signal.raise_signal(number)
            assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


# Processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def python() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code]
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        with process:
            process.kill()


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_program_and_its_children_end_with_killed_parent(
    python: Callable[[str], subprocess.Popen[str]], tmp_path: Path
):
    # As the driver of a compiler, the program waits for a child process.
    program = f"sleep 600 & echo $! $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/ids; wait"
    parent = python(f"from harness.system.machine import run_program; run_program(['sh', '-c', {program!r}], 600)")
    until = time.monotonic() + PATIENCE
    while not (tmp_path / "ids").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    numbers = [int(word) for word in (tmp_path / "ids").read_text().split()]

    parent.kill()

    until = time.monotonic() + 5
    while any(map(is_alive, numbers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [number for number in numbers if is_alive(number)] == []


def test_program_has_time_limit_input_and_errors():
    answer = run_program(["sh", "-c", "sleep 0.3; cat; echo fault >&2; exit 3"], 60, content=b"text" * 100_000)
    assert (answer.returncode, answer.stdout, answer.stderr) == (3, b"text" * 100_000, b"fault\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["sleep", "600"], 0.2)
    with pytest.raises(FileNotFoundError):
        run_program(["no-such-program"], 60)


def test_clock_stands_still_while_process_is_stopped(python: Callable[[str], subprocess.Popen[str]]):
    process = python(
        "import time; from harness.system.clock import now; began = now(), time.monotonic(); print(flush=True)\n"
        "while time.monotonic() < began[1] + 4: time.sleep(0.1)\n"
        "print(now() - began[0], time.monotonic() - began[1])"
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(3.5)
    process.send_signal(signal.SIGCONT)

    clock_seconds, seconds = map(float, process.stdout.readline().split())

    assert seconds >= 4
    assert seconds - clock_seconds > 3
