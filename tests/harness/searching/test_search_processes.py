"""The command ``search`` in separate processes on the 5,000 embedded images: kills, interrupts, two coordinators.

The trainings are as short as possible; with a single worker, a repeated search has equal bits.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.studies.log import read_state
from harness.training.result import Purpose, Result
from tests.conftest import REPOSITORY
from tests.study_logs import read_lines

pytestmark = pytest.mark.nightly
SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | conv1x1({4, 8}) bn relu | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"
TIMEOUT_SECONDS = 240.0


class Search:
    """A study with the processes that work on the study."""

    def __init__(self, root: Path, *, trials: int = 3, target: str = "15") -> None:
        """Write the space and the recipe."""
        self.root = root
        root.mkdir(exist_ok=True)
        (root / "few.space").write_text(SPACE)
        (root / "short.toml").write_text(RECIPE)
        self.folder = root / "work" / "runs" / "s"
        self.arguments = [
            *("search", "--dataset", "mnist-5k", "--study", "s", "--target", target),
            *("--space", f"@{root / 'few.space'}", "--recipe", f"@{root / 'short.toml'}"),
            *("--trials", str(trials), "--time", "100h", "--workers", "1"),
        ]
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start the command in a new process group."""
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *self.arguments, *more],
            cwd=REPOSITORY,
            env=os.environ | {"HARNESS_WORKSPACE": str(self.root / "work"), "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *more: str) -> tuple[int, str, str]:
        """Run the command to the end; return exit code, stdout and stderr."""
        process = self.start(*more)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        return process.returncode, out, err

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; an earlier end of the process is a failure."""
        until = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert self.started[-1].poll() is None, self.started[-1].communicate()
            assert time.monotonic() < until, "nothing happened"
            time.sleep(0.02)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in read_lines(self.folder) if event["event"] in kinds]

    def results(self) -> dict[tuple[int | None, str, int], Result]:
        ended_runs = read_state(self.folder).results if (self.folder / "config.json").exists() else []
        return {(result.trial, result.purpose.value, result.seed_index): result for result in ended_runs}

    def verified(self) -> set[int]:
        files = list((self.root / "work" / "runs" / "records").glob("*-*.json"))
        return {run["index"] for file in files for run in json.loads(file.read_text())["seeds"]}

    def test_reads(self) -> int:
        log = self.root / "work" / "runs" / "records" / "test_reads.jsonl"
        return len(log.read_text().splitlines()) if log.exists() else 0


def living_processes(group: int) -> list[str]:
    """Return the processes of a group that are not dead."""
    rows = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, process_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(process_group) == group and state not in "ZX":
            rows.append(folder.name)
    return rows


def ends_within(group: int, seconds: float = 30.0) -> bool:
    """Return whether all processes of a group end within a number of seconds."""
    until = time.monotonic() + seconds
    while living_processes(group) and time.monotonic() < until:
        time.sleep(0.05)
    return not living_processes(group)


def weights(results: dict[Any, Result]) -> dict[Any, tuple[str | None, str]]:
    return {key: (result.weights_sha256, result.status.value) for key, result in results.items()}


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Callable[..., Search]]:
    """Make studies, and leave no process behind after a test."""
    searches: list[Search] = []

    def make(name: str = "a", **options: Any) -> Search:
        searches.append(Search(tmp_path / name, **options))
        return searches[-1]

    yield make
    for process in (process for search_ in searches for process in search_.started):
        if living_processes(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
def test_killed_search_resumes_from_rung_and_repeats_no_run(search: Callable[..., Search]):
    killed = search(trials=2)
    killed.start()
    # The checkpoint contains the first run at a rung.
    killed.wait_for(lambda: len(killed.events("rung")) >= 1)
    killed.started[-1].kill()
    assert ends_within(killed.started[-1].pid), "a worker has outlived its coordinator"
    results_before = killed.results()
    epochs_on_disk = killed.events("rung")[-1]["epoch"]

    code, out, err = killed.run()

    assert code == 0, err
    assert "resuming study s in " in err
    assert out.splitlines()[-1].startswith("report: ")
    results_after = killed.results()
    assert results_before.items() <= results_after.items()
    assert epochs_on_disk >= 1
    assert len(killed.events("finished")) == len(results_after)
    assert killed.verified() == {0, 1, 2, 3, 4}
    assert killed.test_reads() == 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_search_killed_four_times_equals_uninterrupted_search_bit_for_bit(seed: int, search: Callable[..., Search]):
    reference, killed = search("whole"), search("killed")
    code, _, err = reference.run()
    assert code == 0, err
    moments = random.Random(seed)
    results: dict[Any, Result] = {}
    for _ in range(4):
        killed.start()
        event_count = len(killed.events("rung", "finished")) if killed.folder.exists() else 0
        killed.wait_for(lambda event_count=event_count: len(killed.events("rung", "finished")) > event_count)  # type: ignore[misc]
        time.sleep(moments.random() / 5)  # whole runs take a second
        # The coordinator alone, or the whole group: the workers must end with the coordinator in both cases.
        group = killed.started[-1].pid
        os.kill(group, signal.SIGKILL) if moments.random() < 0.5 else os.killpg(group, signal.SIGKILL)
        assert ends_within(group), "a worker has outlived its coordinator"
        assert results.items() <= killed.results().items(), "a finished result was lost or changed"
        results = killed.results()

    code, _, err = killed.run()

    assert code == 0, err
    assert weights(killed.results()) == weights(reference.results())
    keys = ("trial", "hash", "parameters", "origin")
    rows = [[{name: event[name] for name in keys} for event in item.events("proposed")] for item in (reference, killed)]
    assert rows[0] == rows[1]
    assert killed.verified() == reference.verified()
    assert {key for key in killed.results() if key[1] == Purpose.SEARCH} == {
        key for key in reference.results() if key[1] == Purpose.SEARCH
    }


def test_second_coordinator_is_refused_and_interrupt_ends_first_coordinator(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stopped = search(trials=600, target="99.8")  # ends by the interrupt only
    process = stopped.start("--json")
    stopped.wait_for(lambda: len(stopped.events("proposed")) >= 1)
    config_bytes = (stopped.folder / "config.json").read_bytes()

    monkeypatch.setenv("HARNESS_WORKSPACE", str(stopped.root / "work"))
    assert run([*stopped.arguments, "--json"]) == 2

    output = capsys.readouterr()
    message = f"{stopped.folder} is locked by a running process; wait for the process or stop the process"
    error = {"code": 2, "kind": "usage", "message": message, "position": None, "hint": None}
    assert json.loads(output.out)["error"] == error
    assert "Traceback" not in output.err
    assert (stopped.folder / "config.json").read_bytes() == config_bytes
    assert len(stopped.events("session")) == 1
    assert process.poll() is None

    # A terminal sends the signal to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert ends_within(process.pid)
    document = json.loads(out)
    assert document["error"]["code"] == 130
    assert document["error"]["kind"] == "interrupted"
    assert document["error"]["hint"] == "resume with the same command"
    assert document["error"]["message"].startswith("interrupted; study ")
    assert stopped.events("ended")[-1]["reason"] == "interrupted"
    assert (stopped.folder / "report.html").exists()
    assert stopped.test_reads() == 0


def test_sigterm_interrupts_search_and_second_signal_ends_search_at_once(search: Callable[..., Search]):
    stopped = search(trials=6, target="99.8")
    process = stopped.start()
    stopped.wait_for(lambda: len(stopped.events("proposed")) >= 1)

    process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == ["error: interrupted"]
    assert ends_within(process.pid)
