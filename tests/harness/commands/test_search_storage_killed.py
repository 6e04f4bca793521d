"""A real search whose PostgreSQL server is killed while it trains, and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.evidence import study
from tests.harness import postgres, scripted
from tests.harness.loaded_study import loaded

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 1_800.0
SEARCH = (
    "search --dataset mnist-5k --device cpu --workers 2 --space tiny --epochs 1,2 --trials 7 --time 1h --study mine"
)


@pytest.mark.slow
def test_a_search_outlives_its_database_which_ends_with_all_that_the_files_hold(workspace: Path):
    folder = workspace / "runs" / "mine"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_WORKSPACE": str(workspace)}
    with postgres.server() as server, (workspace / "said").open("w") as said:
        command = [sys.executable, "-m", "harness", *SEARCH.split(), "--storage", server.url()]
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=workspace)
        try:
            wait_for(lambda: len(scripted.events(folder, "finished")) >= 2, process)
            server.kill()
            wait_for(lambda: len(scripted.events(folder, "finished")) >= 4, process)
            server.start()
            assert process.wait(PATIENCE_SECONDS) in (0, 3), (workspace / "said").read_text()
        finally:
            process.kill()

        with loaded(server.url(), "mine") as found:
            trials = found.trials
    first = [result for result in study.finished_results(folder) if result.purpose == "search"]
    assert [trial.number for trial in trials] == list(range(7))
    assert [trial.user_attrs["hash"] for trial in trials] == [result.hash for result in first]
    assert [trial.state.name for trial in trials] == [result.status.name for result in first]
    assert {trial.number: trial.values[0] for trial in trials if trial.values} == {
        result.trial: 100 * (result.validation_errors or 0) / (result.validation_size or 1)
        for result in first
        if result.status == "complete"
    }
    for path in (workspace / "said", *folder.glob("*.*")):
        assert postgres.PASSWORD.encode() not in path.read_bytes()
        assert b"s3cret%2Fword" not in path.read_bytes()


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.1)
