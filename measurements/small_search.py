"""Small real search in a subprocess, for tests and benchmarks that inject faults.

The search trains five networks of about a hundred parameters on the 5,000 embedded images and verifies the answer. With
a single worker, results are bitwise repeatable.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | conv1x1({4, 8}) bn relu | gap | linear(10);\n"
RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
OPTIONS = (
    *("--dataset", "mnist-5k", "--study", "s", "--space", "@few.space", "--recipe", "@short.toml", "--prior", "none"),
    *("--target", "15", "--trials", "5", "--time", "100h", "--device", "cpu"),
)
KEPT = {"HARNESS_ENGINE_CACHE"}  # variables passed to the search: the cache of the compiled engine changes no result
PATIENCE_SECONDS = 600.0  # longest wait for an event
GRACE_SECONDS = 30.0  # longest time that processes may outlive their coordinator


class Stuck(Exception):
    """An expected event has not happened within ``PATIENCE_SECONDS``."""


@dataclass(slots=True)
class SmallSearch:
    """Study and the process that runs its search.

    Attributes:
        place: Folder with ``work`` (workspace), ``tmp`` (temporary files) and ``said.txt`` (output).
        more: Options in addition to ``OPTIONS``.
        process: Current or last process.
        work: Workspace.
        study: Folder of the study.
        codes: Exit codes of all processes, oldest first.
        survivors: Command lines of processes that outlived their coordinator by more than ``GRACE_SECONDS``.
    """

    place: Path
    more: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    work: Path = field(init=False)
    study: Path = field(init=False)
    codes: list[int] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the folders and write the space and the recipe."""
        self.work = self.place / "work"
        self.study = self.work / "runs" / "s"
        for folder in (self.work, self.place / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.place / "few.space").write_text(SPACE)
        (self.place / "short.toml").write_text(RECIPE)

    def start(self) -> None:
        """Start the search, or resume the study."""
        self.process = self.process_of(["search", *OPTIONS, *self.more])

    def is_running(self) -> bool:
        """Return whether the process is running."""
        return self.process is not None and self.process.poll() is None

    def wait_for(self, has_happened: Callable[[], bool]) -> bool:
        """Wait until ``has_happened()`` is true; return False if the process ends before that.

        Raises:
            Stuck: Neither has happened within ``PATIENCE_SECONDS``.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not has_happened():
            if not self.is_running():
                return False
            if time.monotonic() > until:
                raise Stuck(f"nothing has happened for {PATIENCE_SECONDS:.0f} s in {self.place}")
            time.sleep(0.01)
        return True

    def wait(self) -> int:
        """Wait for the end of the process and return the exit code, or raise Stuck."""
        assert self.process is not None, "the search has been started"
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Stuck(f"a search has not ended after {PATIENCE_SECONDS:.0f} s in {self.place}") from None
        self.codes.append(code)
        return code

    def kill(self) -> None:
        """Kill the coordinator with SIGKILL."""
        assert self.process is not None, "the search has been started"
        self.process.kill()
        self.wait()

    def processes(self) -> list[int]:
        """Return the ids of all live processes of this search, including the coordinator."""
        return marked(f"HARNESS_WORKSPACE={self.work}")

    def workers(self) -> list[int]:
        """Return the ids of the training processes, without other helpers of ``multiprocessing``."""
        return [number for number in self.processes() if "spawn_main" in command_line(number)]

    def go_on(self) -> None:
        """End the remaining processes of the previous command and start the command again."""
        self._end_survivors()
        self.start()

    def end(self) -> None:
        """Kill the coordinator if it is running, and end all remaining processes."""
        if self.is_running():
            self.kill()
        self._end_survivors()

    def process_of(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a ``harness`` command of this checkout, without the ``HARNESS_`` variables of this process."""
        items = os.environ.items()
        environment = {name: value for name, value in items if not name.startswith("HARNESS_") or name in KEPT}
        environment |= {"HARNESS_WORKSPACE": str(self.work), "TMPDIR": f"{self.place}/tmp", "PYTHONPATH": str(ROOT)}
        with (self.place / "said.txt").open("ab") as messages:
            return subprocess.Popen(
                [sys.executable, "-m", "harness", *arguments],
                cwd=self.place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                start_new_session=True,
            )

    def _end_survivors(self) -> None:
        self.survivors += survivors(self.processes)
        for number in self.processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        survivors(self.processes)


def survivors(look: Callable[[], list[int]]) -> list[str]:
    """Wait until no process is left, at most ``GRACE_SECONDS``; return the command lines of processes still alive.

    ``look`` returns the ids of the live processes.
    """
    until = time.monotonic() + GRACE_SECONDS
    while (numbers := look()) and time.monotonic() < until:
        time.sleep(0.02)
    commands = [[Path(word).name for word in command_line(number).split("\0") if word] for number in numbers]
    return ["process " + " ".join(words) for words in commands]


def marked(mark: str) -> list[int]:
    """Return the ids of the live processes with ``mark``, ``NAME=value``, in the environment."""
    numbers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # proc(5): the state follows the name in parentheses; Z and X are dead processes.
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:1]
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0") and state not in ([b"Z"], [b"X"]):
                numbers.append(int(folder.name))
    return numbers


def command_line(number: int) -> str:
    """Return the command line of a process, separated by NUL; empty if the process has ended."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
