"""Disturbing a search: faults strike real processes, and what is planted is counted.

A package named ``harness`` of a few lines plays the program; it trains by sleeping.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accounts, chaos, small_search
from benchmarks.chaos import KINDS, is_equal, wrong_ends
from benchmarks.faults import Kind, Surroundings
from benchmarks.small_search import SmallSearch

pytestmark = pytest.mark.nightly
TRAININGS = 6
PROGRAM = """
import json, os, pathlib, signal, subprocess, sys, time
work = pathlib.Path(os.environ["HARNESS_WORKSPACE"])
study = work / "runs" / "s"
study.mkdir(parents=True, exist_ok=True)
log = study / "log.jsonl"
def events():
    lines = log.read_text().split("\\n") if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
def note(**event):
    if event in events() and event["event"] != "session":
        return
    try:
        content = log.read_bytes() if log.exists() else b""
        with log.open("a", buffering=1) as file:
            file.write("\\n" * (content[-1:] not in (b"", b"\\n")) + json.dumps(event) + "\\n")
    except OSError:
        sys.exit(2)
note(event="session")
for trial in range(TRAININGS):
    run = {"trial": trial, "purpose": "search", "seed_index": 0, "history": "x" * 5000}
    note(event="proposed", trial=trial, hash=f"h{trial}", parameters=trial)
    time.sleep(0.15)
    note(event="finished", run=run | {"status": "complete", "validation_errors": 1, "weights_sha256": "w"})
note(event="winner", hash="h5")
PLANTED
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program that ends with these lines in the place of ``harness``."""
    package = tmp_path / "code" / "harness"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(small_search, "ROOT", package.parent)
    monkeypatch.setattr(small_search, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(small_search, "PATIENCE_SECONDS", 30.0)
    monkeypatch.setattr(chaos, "SPREAD_SECONDS", 0.05)

    def put(planted: str) -> None:
        (package / "__main__.py").write_text(PROGRAM.replace("TRAININGS", str(TRAININGS)).replace("PLANTED", planted))

    put("")
    return put


def result(kind: Kind, place: Path, count: int = 2, seed: int = 0) -> dict[str, Any]:
    return chaos.disturbed(kind, place, random.Random(seed), count, 0.4)


def undisturbed(place: Path) -> object:
    search = SmallSearch(place)
    search.start()
    assert search.wait() == 0
    return accounts.answer(search.work)


@pytest.mark.parametrize("name", ["coordinator", "torn"])
def test_a_search_that_is_killed_goes_on_and_is_counted(name: str, program: object, tmp_path: Path):
    found = result(KINDS[name], tmp_path / "a", count=3)

    assert 1 <= found["faults"] <= 3
    assert found["codes"] == [-9] * found["faults"] + [0]
    assert found["lost"] == found["repeated"] == found["leftovers"] == []
    assert found["answer"] == undisturbed(tmp_path / "b")


def with_plant(kind: Kind, plant: Callable[[SmallSearch], None]) -> Kind:
    """Return a kind that does something else besides."""

    def strike(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
        kind.strike(search, rng, given)
        plant(search)

    return replace(kind, strike=strike)


def remove_results(search: SmallSearch) -> None:
    (search.study / "log.jsonl").write_text("")


def test_a_result_that_vanishes_in_a_fault_is_lost(program: object, tmp_path: Path):
    kind = replace(with_plant(KINDS["coordinator"], remove_results), each_session=False)

    assert any('"finished"' in line for line in result(kind, tmp_path / "a", count=1)["lost"])


def test_a_training_that_ends_twice_is_repeated(program: Callable[[str], None], tmp_path: Path):
    program("log.open('a').write(json.dumps(events()[2]) + '\\n')")

    assert result(KINDS["coordinator"], tmp_path / "a", count=0)["repeated"] == ["trial-00000-search-0 (2 times)"]


def test_a_process_that_outlives_its_coordinator_is_left_over_and_ended(program: Callable[[str], None], tmp_path: Path):
    program("subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)")

    found = result(KINDS["coordinator"], tmp_path / "a", count=0)

    assert len(found["leftovers"]) == 1
    assert "time.sleep(60)" in found["leftovers"][0]
    assert SmallSearch(tmp_path / "a").processes() == []


WORKER = "subprocess.run([sys.executable, '-c', 'import time; time.sleep({}) # spawn_main'])"


def test_a_worker_is_killed_while_its_coordinator_goes_on(program: Callable[[str], None], tmp_path: Path):
    program(WORKER.format(20) + "\n" + WORKER.format(0.3))
    began = time.monotonic()

    found = result(KINDS["worker"], tmp_path / "a", count=1)

    assert (found["faults"], found["codes"], found["leftovers"]) == (1, [0], [])
    assert time.monotonic() - began < 15


def test_a_stopped_worker_is_waited_for_until_its_coordinator_has_ended_it(
    program: Callable[[str], None], tmp_path: Path
):
    program(
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20) # spawn_main'])\n"
        "def state(): return pathlib.Path(f'/proc/{worker.pid}/stat').read_text().rpartition(')')[2].split()[0]\n"
        "while state() != 'T': time.sleep(0.01)\n"
        "time.sleep(0.2); worker.kill(); worker.wait()"
    )

    found = result(KINDS["stopped"], tmp_path / "a", count=1)

    assert (found["faults"], found["codes"], found["leftovers"]) == (1, [0], [])


def test_a_full_disk_ends_the_search_which_goes_on_with_room(program: object, tmp_path: Path):
    kind = KINDS["disk"]
    if why_not := kind.why_not():
        pytest.skip(why_not)

    found = result(kind, tmp_path / "a", count=1)

    assert found["faults"] == 1
    assert found["codes"][-1] == 0
    assert set(found["codes"][:-1]) <= {1, 2}
    assert not os.path.ismount(tmp_path / "a" / "work")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coordinator", "worker"])
def test_a_real_search_that_is_disturbed_has_the_answer_of_an_undisturbed_one(name: str, tmp_path: Path):
    whole = SmallSearch(tmp_path / "whole", more=("--workers", "1"))
    whole.start()
    assert whole.wait() == 0, (tmp_path / "whole" / "said.txt").read_text()

    found = chaos.disturbed(KINDS[name], tmp_path / "a", random.Random(0), 2, 8.0)

    assert found["faults"] >= 1
    assert found["lost"] == found["repeated"] == found["leftovers"] == []
    assert json.dumps(found["answer"]) == json.dumps(accounts.answer(whole.work))


def test_a_repeatable_kind_needs_equal_bits_and_another_the_verdict():
    answer = {"winner": ["h1"], "seeds": {"h1 seed 0": [9, "w"]}, "runs": []}
    other = answer | {"runs": [{"weights": "w2"}]}

    def equal(name: str, given: dict[str, Any], code: int = 0) -> bool:
        return is_equal(KINDS[name], {"codes": [code], "answer": given}, answer)

    assert [equal("worker", answer), equal("worker", other), equal("worker", answer, 3)] == [True, False, False]
    assert [equal("stopped", other), equal("stopped", other, 3)] == [True, False]
    assert not equal("stopped", other | {"winner": []})
    assert not equal("stopped", other | {"seeds": {}})


def test_an_end_that_the_fault_does_not_explain_is_wrong():
    assert wrong_ends(KINDS["coordinator"], [-9, -9, 0], "") == []
    assert wrong_ends(KINDS["disk"], [2, 1, 0], "") == ["exit code 1"]
    assert wrong_ends(KINDS["worker"], [3], "") == ["exit code 3 at the end"]
    said = "Traceback (most recent call last):\n  File\nEOFError: none\nTraceback (most recent call last):\n"
    assert len(wrong_ends(KINDS["worker"], [0], said)) == 2
