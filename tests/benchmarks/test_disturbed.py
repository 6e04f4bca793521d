"""Disturbing a search: faults strike real processes, and what is planted is counted.

A package named ``harness`` of a few lines plays the program; it trains by sleeping.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import accounts, disturbed, small_search
from benchmarks.disturbed import Disturbed
from benchmarks.fault_kind import Kind, Surroundings
from benchmarks.faults import KINDS
from benchmarks.small_search import SmallSearch, Stuck

TRAININGS = 6
PROGRAM = """
import json, os, pathlib, signal, subprocess, sys, time
work = pathlib.Path(os.environ["HARNESS_WORKSPACE"])
study = work / "runs" / "s"
(study / "results").mkdir(parents=True, exist_ok=True)
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
    run = {"trial": trial, "purpose": "search", "seed_index": 0}
    path = study / "results" / f"trial-{trial:05d}-search-0.json"
    note(event="proposed", trial=trial, hash=f"h{trial}", parameters=trial)
    if not path.exists():
        time.sleep(0.15)
        part = path.with_name("part")
        part.write_text(json.dumps(run | {"status": "complete", "validation_errors": 1, "weights_sha256": "w"}))
        part.rename(path)
    note(event="finished", **run)
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
    monkeypatch.setattr(disturbed, "SPREAD_SECONDS", 0.05)

    def put(planted: str) -> None:
        (package / "__main__.py").write_text(PROGRAM.replace("TRAININGS", str(TRAININGS)).replace("PLANTED", planted))

    put("")
    return put


def result(kind: Kind, place: Path, count: int = 2, seed: int = 0) -> Disturbed:
    return disturbed.disturbed(kind, place, random.Random(seed), count, 0.4)


def undisturbed(place: Path) -> object:
    search = SmallSearch(place)
    search.start()
    assert search.wait() == 0
    return accounts.answer(search.work)


@pytest.mark.parametrize("name", ["coordinator", "torn"])
def test_a_search_that_is_killed_goes_on_and_is_counted(name: str, program: object, tmp_path: Path):
    found = result(KINDS[name], tmp_path / "a", count=3)

    assert 1 <= found.faults <= 3
    assert found.codes == [-9] * found.faults + [0]
    assert found.lost == found.repeated == found.leftovers == []
    assert found.answer == undisturbed(tmp_path / "b")


def with_plant(kind: Kind, plant: Callable[[SmallSearch], None]) -> Kind:
    """Return a kind that does something else besides."""

    def strike(search: SmallSearch, rng: random.Random, given: Surroundings) -> None:
        kind.strike(search, rng, given)
        plant(search)

    return replace(kind, strike=strike)


def remove_results(search: SmallSearch) -> None:
    for path in search.study.glob("results/*"):
        path.unlink()


def test_a_result_that_vanishes_in_a_fault_is_lost(program: object, tmp_path: Path):
    kind = replace(with_plant(KINDS["coordinator"], remove_results), each_session=False)

    assert "trial-00000-search-0.json" in result(kind, tmp_path / "a", count=1).lost


def test_what_is_missing_around_the_search_is_lost_too(program: object, tmp_path: Path):
    given = Surroundings(lacks=lambda search: ["a trial of the database"])
    kind = replace(KINDS["coordinator"], around=lambda place: nullcontext(given))

    assert result(kind, tmp_path / "a", count=0).lost == ["a trial of the database"]


def test_what_is_left_around_the_search_is_left_over_too(program: object, tmp_path: Path):
    given = Surroundings(left=lambda: ["process of a node"])
    kind = replace(KINDS["coordinator"], around=lambda place: nullcontext(given))

    assert result(kind, tmp_path / "a", count=0).leftovers == ["process of a node"]


def test_a_search_is_started_within_what_it_is_given(program: object, tmp_path: Path):
    within = ("env", f"TMPDIR={tmp_path}", "sh", "-c", 'touch "$TMPDIR/within"; exec "$@"', "sh")
    kind = replace(KINDS["coordinator"], around=lambda place: nullcontext(Surroundings(within=within)))

    assert result(kind, tmp_path / "a", count=0).codes == [0]
    assert (tmp_path / "within").exists()


def test_a_training_that_ends_twice_is_repeated(program: Callable[[str], None], tmp_path: Path):
    program("log.open('a').write(json.dumps(events()[2]) + '\\n')")

    assert result(KINDS["coordinator"], tmp_path / "a", count=0).repeated == ["trial-00000-search-0.json (2 times)"]


def test_a_process_that_outlives_its_coordinator_is_left_over_and_ended(program: Callable[[str], None], tmp_path: Path):
    program("subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)")

    found = result(KINDS["coordinator"], tmp_path / "a", count=0)

    assert len(found.leftovers) == 1
    assert "time.sleep(60)" in found.leftovers[0]
    assert SmallSearch(tmp_path / "a").processes() == []


def test_a_temporary_file_is_left_over(program: Callable[[str], None], tmp_path: Path):
    program("(pathlib.Path(os.environ['TMPDIR']) / 'made').touch()")

    assert result(KINDS["coordinator"], tmp_path / "a", count=0).leftovers == ["tmp/made"]


def test_the_exit_code_of_each_session_is_kept(program: Callable[[str], None], tmp_path: Path):
    program("sys.exit(3)")

    assert result(KINDS["coordinator"], tmp_path / "a", count=0).codes == [3]


WORKER = "subprocess.run([sys.executable, '-c', 'import time; time.sleep({}) # spawn_main'])"


def test_a_worker_is_killed_while_its_coordinator_goes_on(program: Callable[[str], None], tmp_path: Path):
    program(WORKER.format(20) + "\n" + WORKER.format(0.3))
    began = time.monotonic()

    found = result(KINDS["worker"], tmp_path / "a", count=1)

    assert (found.faults, found.codes, found.leftovers) == (1, [0], [])
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

    assert (found.faults, found.codes, found.leftovers) == (1, [0], [])


def test_a_full_disk_ends_the_search_which_goes_on_with_room(program: object, tmp_path: Path):
    kind = KINDS["disk"]
    if why_not := kind.why_not():
        pytest.skip(why_not)

    found = result(kind, tmp_path / "a", count=1)

    assert found.faults == 1
    assert found.codes[-1] == 0
    assert set(found.codes[:-1]) <= {1, 2}
    assert not os.path.ismount(tmp_path / "a" / "work")


def test_an_end_in_order_on_a_full_disk_is_a_loss_where_something_was_left_to_do(
    program: Callable[[str], None], tmp_path: Path
):
    kind = KINDS["disk"]
    if why_not := kind.why_not():
        pytest.skip(why_not)
    package = tmp_path / "code" / "harness" / "__main__.py"
    # As if a full disk were none of the program's business.
    package.write_text(
        "import os, sys\nsys.excepthook = lambda *told: os._exit(0)\n"
        + package.read_text().replace("sys.exit(2)", "sys.exit(0)")
    )

    found = [result(kind, tmp_path / str(seed), count=1, seed=seed) for seed in range(4)]

    assert any("exit code 0 before the last line" in each for one in found for each in one.lost)


def test_a_search_that_has_ended_is_struck_no_more(program: object, tmp_path: Path):
    found = result(KINDS["coordinator"], tmp_path / "a", count=100)

    assert found.faults < 100
    assert found.codes[-1] == 0


def test_a_search_that_does_not_go_on_is_named(
    program: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program("time.sleep(60)")
    monkeypatch.setattr(small_search, "PATIENCE_SECONDS", 1.5)

    with pytest.raises(Stuck, match="has not ended"):
        result(KINDS["coordinator"], tmp_path / "a", count=0)

    assert SmallSearch(tmp_path / "a").processes() == []


def test_equal_seeds_choose_equal_moments(program: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []
    real = random.Random.uniform

    def noted(rng: random.Random, low: float, high: float) -> float:
        seen.append(real(rng, low, high))
        return seen[-1]

    monkeypatch.setattr(random.Random, "uniform", noted)
    result(KINDS["coordinator"], tmp_path / "a", count=1, seed=5)
    result(KINDS["coordinator"], tmp_path / "b", count=1, seed=5)

    assert seen[0] == seen[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coordinator", "worker"])
def test_a_real_search_that_is_disturbed_has_the_answer_of_an_undisturbed_one(name: str, tmp_path: Path):
    whole = SmallSearch(tmp_path / "whole", more=("--workers", "1"))
    whole.start()
    assert whole.wait() == 0, (tmp_path / "whole" / "said.txt").read_text()

    found = disturbed.disturbed(KINDS[name], tmp_path / "a", random.Random(0), 2, 8.0)

    assert found.faults >= 1
    assert found.lost == found.repeated == found.leftovers == []
    assert json.dumps(found.answer) == json.dumps(accounts.answer(whole.work))
