"""A method as a program: it reads JSON lines on stdin and writes JSON lines to stdout.

First it reads ``{"begin": {...}}``, the fields of ``Problem``; nothing is answered. Then each question is a line
``{"tried": [...]}``, the fields of ``Trial`` for every network so far, and the answer a line ``{"network": "..."}``.
At the end of a repeat stdin is closed. Each repeat has a process of its own, so nothing is carried over. stderr is for
people.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any

from harness.bench.methods import entry_point_host
from harness.bench.methods.external_method import Asker, MethodError, Problem, Trial
from harness.bench.methods.method import BuiltIn, Method, Program
from harness.bench.methods.task import SearchTask
from harness.data.datasets import dataset
from harness.system.errors import reason
from search_spaces.resolve import parse_space

# In bytes. No network and no reason to say more is as long.
LONGEST_ANSWER = 1 << 20
MOST_STDERR = 1 << 22
# Characters of what a program says that an error repeats.
_SHOWN = 120


@dataclass(slots=True)
class _Talk:
    """A running program, with what it has said and not yet been read, and what it has not yet been sent."""

    process: subprocess.Popen[bytes]
    asker: Asker
    answer_seconds: float
    unsent: bytes
    said: bytearray = field(default_factory=bytearray)
    complaints: bytearray = field(default_factory=bytearray)
    complained: int = 0


@contextmanager
def opened(method: Method, task: SearchTask, seed: int, repeat: int, answer_seconds: float) -> Iterator[Asker | None]:
    """Be ready to ask a method for the block; None for one that comes with the bench.

    Raises:
        MethodError: it cannot be started.
    """
    if isinstance(method, BuiltIn):
        yield None
        return
    asker = asker_of(method, task, seed, repeat)
    command = method.command if isinstance(method, Program) else entry_point_host.command(method.name)
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except (OSError, ValueError) as error:
        raise asker.fault(f"cannot start {command[0]!r}: {reason(error)}") from error
    try:
        for stream in _streams(process):
            os.set_blocking(stream.fileno(), False)
        asker.ask = partial(_ask, _Talk(process, asker, answer_seconds, _line({"begin": asdict(asker.problem)})))
        yield asker
    finally:
        _end(process)


def asker_of(method: Method, task: SearchTask, seed: int, repeat: int) -> Asker:
    """Return the method's side of a search, without its voice."""
    problem = Problem(
        space=task.space,
        budget=task.budget,
        target_pct=task.target_pct,
        epochs=task.recipe.epochs,
        workers=task.workers,
        seed=seed,
        networks=task.networks,
    )
    space = parse_space(task.space, task.space_name, dataset(task.dataset).task)
    return Asker(method.name, repeat, space, problem)


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _streams(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr


def _exchange(talk: _Talk, question: bytes) -> bytes:
    """Send a question and return the line that answers it, while stderr is read too, so that nobody waits for ever."""
    stdin, stdout, stderr = _streams(talk.process)
    if talk.said:
        raise talk.asker.fault(f"said more than was asked: {_shown(talk.said)}")
    deadline = time.monotonic() + talk.answer_seconds
    talk.unsent += question
    with selectors.DefaultSelector() as waiting:
        waiting.register(stdin, selectors.EVENT_WRITE)
        waiting.register(stdout, selectors.EVENT_READ)
        waiting.register(stderr, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise talk.asker.fault(f"gave no answer in {talk.answer_seconds:g} s{_complaint(talk)}")
            ready = {key.fileobj for key, _ in waiting.select(left)}
            if stdin in ready and not _sent(talk, stdin):
                waiting.unregister(stdin)
            if stderr in ready and not _heard(talk, stderr):
                waiting.unregister(stderr)
            if stdout in ready and not _read(talk, stdout):
                raise _died(talk)
            if (end := talk.said.find(b"\n")) >= 0:
                answer = bytes(talk.said[:end])
                del talk.said[: end + 1]
                return answer


def _sent(talk: _Talk, stdin: IO[bytes]) -> bool:
    """Send what a pipe takes; return whether something is left."""
    try:
        talk.unsent = talk.unsent[os.write(stdin.fileno(), talk.unsent) :]
    except BrokenPipeError:
        raise _died(talk) from None
    return bool(talk.unsent)


def _read(talk: _Talk, stdout: IO[bytes]) -> bool:
    """Read what there is of an answer; return False at the end of the stream."""
    piece = os.read(stdout.fileno(), 1 << 16)
    talk.said += piece
    if len(talk.said) > LONGEST_ANSWER:
        raise talk.asker.fault(f"answered more than {LONGEST_ANSWER:,} bytes: {_shown(talk.said)}")
    return bool(piece)


def _heard(talk: _Talk, stderr: IO[bytes]) -> bool:
    """Read what a program says to people, and keep the end of it; return False at the end of the stream."""
    piece = os.read(stderr.fileno(), 1 << 16)
    talk.complained += len(piece)
    if talk.complained > MOST_STDERR:
        raise talk.asker.fault(f"wrote more than {MOST_STDERR:,} bytes to stderr")
    talk.complaints = (talk.complaints + piece)[-4096:]
    return bool(piece)


def _died(talk: _Talk) -> MethodError:
    """Return the error for a program that ended, with its last words."""
    with suppress(subprocess.TimeoutExpired):
        talk.process.wait(1.0)
    with suppress(OSError, MethodError):
        while _heard(talk, _streams(talk.process)[2]):
            pass
    code = talk.process.poll()
    how = (
        "closed its output" if code is None else f"ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
    )
    return talk.asker.fault(f"{how} before it answered{_complaint(talk)}")


def _complaint(talk: _Talk) -> str:
    """Return the last line that a program wrote to stderr."""
    lines = talk.complaints.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; its last words: {last[:_SHOWN]}" if last else ""


def _ask(talk: _Talk, tried: Sequence[Trial]) -> str:
    answer = _exchange(talk, _line({"tried": [asdict(item) for item in tried]}))
    try:
        document = json.loads(answer)
    except ValueError:
        raise talk.asker.fault(f"answered {_shown(answer)}, which is no JSON") from None
    network = document.get("network") if isinstance(document, dict) else None
    if not isinstance(network, str):
        raise talk.asker.fault(f'answered {_shown(answer)}, but {{"network": "..."}} is wanted')
    return network


def _shown(said: bytes | bytearray) -> str:
    words = bytes(said[: _SHOWN + 1]).decode("utf-8", "replace")
    return repr(words if len(words) <= _SHOWN else f"{words[:_SHOWN]}...")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it has started; a moment after its input was closed it should have ended itself."""
    stdin, stdout, stderr = _streams(process)
    with suppress(OSError):
        stdin.close()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stdout.close()
    stderr.close()
