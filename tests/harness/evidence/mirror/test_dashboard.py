"""optuna-dashboard, the program for which a search is kept in a database, opens it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import study
from harness.evidence.mirror.optuna_storage import catch_up, close_storage, open_mirror
from harness.evidence.mirror.trials import Story
from tests.browser import lack
from tests.harness import scripted

PATIENCE_SECONDS = 120.0


@contextmanager
def dashboard(url: str) -> Iterator[str]:
    """Run the dashboard on a database for the block, and give its address."""
    program = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
    if program is None:
        lack("no optuna-dashboard beside this Python")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--host", "127.0.0.1", "--port", str(port), url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asked(address: str) -> Any:
    """Return what the dashboard's page would be told; it takes a moment to start."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.2)


def test_the_dashboard_shows_the_networks_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scripted.without_processes(monkeypatch)
    folder, config, url = tmp_path / "study", scripted.config(), f"sqlite:///{tmp_path}/of.db"
    scripted.run(folder, config, scripted.effort(trials=12))
    mirror = open_mirror(url, Story(folder, config))
    assert catch_up(mirror, is_running=False)
    close_storage(mirror.storage)

    with dashboard(url) as address:
        (listed,) = asked(f"{address}/api/studies")["study_summaries"]
        shown = asked(f"{address}/api/studies/{listed['study_id']}")

    first = [result for result in study.finished_results(folder) if result.purpose == "search"]
    assert listed["study_name"] == "study"
    assert shown["directions"] == ["minimize", "minimize"]
    assert shown["objective_names"] == ["validation error (%)", "parameters"]
    assert shown["has_intermediate_values"]
    assert [trial["state"] for trial in shown["trials"]] == [result.status.capitalize() for result in first]
    smallest = min((result for result in first if result.status == "complete"), key=lambda result: result.parameters)
    assert smallest.trial in [trial["number"] for trial in shown["best_trials"]]
    assert {item["key"]: item["value"] for item in shown["user_attrs"]}["budget"] == "20000"
