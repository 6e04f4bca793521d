"""A real search that is as small as can be, in a process of its own, for programs that disturb it.

It trains a handful of networks of a hundred parameters on the 5,000 embedded images, and verifies one. With one worker
it is repeatable to the bit.
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
# Where the compiled engine is kept: it changes no result.
KEPT = {"HARNESS_ENGINE_CACHE"}
PATIENCE_SECONDS = 600.0
# So long may processes live on that their coordinator has left.
GRACE_SECONDS = 30.0


class Stuck(Exception):
    """Something that had to happen has not happened in time."""


@dataclass(slots=True)
class SmallSearch:
    """One study, and the process that works on it.

    Attributes:
        place: folder of its own: ``work`` is the workspace, ``tmp`` for temporary files, ``said.txt`` its messages.
        more: options besides those that all have.
        work: its workspace; ``study`` is the folder of its study.
        codes: how its processes have ended, oldest first.
        survivors: processes that have lived on although their coordinator had gone.
    """

    place: Path
    more: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    work: Path = field(init=False)
    study: Path = field(init=False)
    codes: list[int] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the space and the recipe."""
        self.work = self.place / "work"
        self.study = self.work / "runs" / "s"
        for folder in (self.work, self.place / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.place / "few.space").write_text(SPACE)
        (self.place / "short.toml").write_text(RECIPE)

    def start(self) -> None:
        """Begin, or go on where the last process has left the study."""
        self.process = self.begun(["search", *OPTIONS, *self.more])

    def is_running(self) -> bool:
        """Return whether its process has not ended."""
        return self.process is not None and self.process.poll() is None

    def wait_for(self, has_happened: Callable[[], bool]) -> bool:
        """Wait for something; return False where the process has ended before, raise Stuck where neither comes."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not has_happened():
            if not self.is_running():
                return False
            if time.monotonic() > until:
                raise Stuck(f"nothing has happened for {PATIENCE_SECONDS:.0f} s in {self.place}")
            time.sleep(0.01)
        return True

    def wait(self) -> int:
        """Wait for the end of the process; return its exit code, or raise Stuck."""
        assert self.process is not None, "it has been started"
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Stuck(f"a search has not ended after {PATIENCE_SECONDS:.0f} s in {self.place}") from None
        self.codes.append(code)
        return code

    def kill(self) -> None:
        """End the coordinator with SIGKILL."""
        assert self.process is not None, "it has been started"
        self.process.kill()
        self.wait()

    def processes(self) -> list[int]:
        """Return all processes of this search that are not dead, its coordinator included."""
        return marked(f"HARNESS_WORKSPACE={self.work}")

    def workers(self) -> list[int]:
        """Return the processes that train; what else Python starts beside them is left out."""
        return [number for number in self.processes() if "spawn_main" in words_of(number)]

    def go_on(self) -> None:
        """Start the same command again, after all that the last one has left."""
        self._end_survivors()
        self.start()

    def end(self) -> None:
        """End the process if it is still there, and what it has left."""
        if self.is_running():
            self.kill()
        self._end_survivors()

    def begun(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command of this checkout, which hears nothing of this process's settings."""
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
    """Return the processes that a look still finds when they have had a while to end, each by its command."""
    until = time.monotonic() + GRACE_SECONDS
    while (numbers := look()) and time.monotonic() < until:
        time.sleep(0.02)
    commands = [[Path(word).name for word in words_of(number).split("\0") if word] for number in numbers]
    return ["process " + " ".join(words) for words in commands]


def marked(mark: str) -> list[int]:
    """Return the processes that are not dead with ``NAME=value`` in their environment."""
    numbers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:1]
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0") and state not in ([b"Z"], [b"X"]):
                numbers.append(int(folder.name))
    return numbers


def words_of(number: int) -> str:
    """Return the command line of a process, its words divided by NUL; empty where it is gone."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
