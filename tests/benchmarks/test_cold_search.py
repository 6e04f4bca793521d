"""One cold search: what a journal says of it, and a process that hears nothing of this one's settings.

A package named ``harness`` of a few lines plays the program.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cold_search
from benchmarks.cold_search import NearestMiss, Setting, command_of, nearest_miss, outcome, run, sizes
from harness.evidence.events import Entry, Event
from harness.system.errors import Interrupted, UsageError
from tests.harness import logged

ALONE = Setting(data=None, half_speed=False, busy=0)
ROW = {
    "hash": "a1",
    "tier": "verified",
    "parameters": 1_500,
    "architecture": "gap | linear(10)",
    "recipe": "small",
    "mean_test_accuracy_pct": 99.45,
    "std_test_accuracy_pct": 0.04,
    "seeds": 6,
    "macs": 7,
}
PROGRAM = """
import json, os, pathlib, signal, sys, time
place = pathlib.Path(os.environ["HARNESS_WORKSPACE"])
leads = os.getsid(0) == os.getpid()
seen = {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "leads": leads}
(place / "seen.json").write_text(json.dumps(seen))
study = place / "runs" / "s"
study.mkdir(parents=True)
(study / "config.json").write_text(json.dumps({"config": {"dataset": "mnist"}}))
standing = {"event": "standing", "elapsed": 61.5, "trial": 0, "hash": "a1", "parameters": 1500}
(study / "log.jsonl").write_text(json.dumps(standing))
CODE
"""


def event(name: str, elapsed: float, **values: Any) -> Entry[Event]:
    return logged.entry(name, elapsed, **values)


def network(trial: int, parameters: int) -> Entry[Event]:
    return event("proposed", trial, trial=trial, hash=f"h{trial}", parameters=parameters)


def ended(trial: int, errors: int | None, status: str = "complete") -> Entry[Event]:
    return event("finished", 10 + trial, trial=trial, status=status, validation_errors=errors)


JOURNAL = [
    network(0, 9_000),
    event("rejected", 1, hash="r"),
    network(1, 7_000),
    event("repeated", 2, trial=0),
    ended(0, 80),
    ended(1, 30, "pruned"),
    ended(1, 70),
    ended(1, None, "crashed"),
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program that does what its last line says."""
    package = tmp_path / "code" / "harness"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(cold_search, "ROOT", package.parent)
    return package / "__main__.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


def test_sizes_fall_and_a_refuted_network_stands_no_longer():
    events = [
        event("standing", 61.5, trial=0, hash="a", parameters=7_000),
        event("refuted", 70, trial=9, hash="z", parameters=9_000),
        event("standing", 90.0, trial=1, hash="b", parameters=5_000),
        event("refuted", 95.5, trial=1, hash="b", parameters=5_000),
        event("standing", 95.5, trial=0, hash="a", parameters=7_000),
        event("refuted", 99.0, trial=0, hash="a", parameters=7_000),
        event("refuted", 99.5, trial=0, hash="a", parameters=7_000),
    ]

    assert sizes(events) == ((61.5, 7_000), (90.0, 5_000), (95.5, None), (95.5, 7_000), (99.0, None))


def test_an_outcome_is_the_journal_and_the_printed_winner():
    events = [*JOURNAL, event("standing", 61.5, trial=1, hash="h1", parameters=7_000)]

    found = outcome(0, 123.44, events, {"reached": True, "winner": ROW}, 10_000)

    assert (found.reached, found.nearest_miss, found.seconds) == (True, None, 123.4)
    assert (found.trained, found.proposed, found.rejected) == (2, 4, 1)
    assert (found.first_standing_seconds, found.sizes) == (61.5, ((61.5, 7_000),))
    assert found.winner is not None
    assert (found.winner.hash, found.winner.parameters, found.winner.recipe, found.winner.seeds) == (
        *("a1", 1_500, "small"),
        6,
    )
    assert (found.winner.mean_test_accuracy_pct, found.winner.std_test_accuracy_pct) == (99.45, 0.04)


def test_a_verification_that_missed_keeps_what_it_verified():
    found = outcome(3, 1.0, JOURNAL, {"reached": False, "winner": ROW}, 10_000)

    assert not found.reached
    assert found.winner is not None
    assert found.nearest_miss is None


def test_without_a_winner_the_best_whole_run_is_the_nearest_miss():
    found = outcome(3, 1.0, JOURNAL, {"reached": False, "winner": None}, 10_000)

    assert found.winner is None
    miss = found.nearest_miss
    assert miss is not None
    assert (miss.kind, miss.hash, miss.parameters) == ("one run", "h1", 7_000)
    assert miss.validation_accuracy_pct == pytest.approx(99.30)
    assert found.first_standing_seconds is None


def test_a_network_that_nobody_had_time_to_verify_is_the_nearest_miss():
    winner = event("winner", 80, hash="h0", parameters=9_000, validation_accuracy_pct=99.41)

    found = nearest_miss([*JOURNAL, winner, event("postponed", 81, hash="h0", parameters=9_000)], 10_000)

    assert found == NearestMiss(kind="not verified", hash="h0", parameters=9_000, validation_accuracy_pct=99.41)


def test_a_search_that_broke_off_at_once_leaves_an_outcome_too():
    found = outcome(-9, 1.0, [], {}, 0)

    assert (found.exit_code, found.reached, found.winner, found.nearest_miss, found.sizes) == (
        -9,
        False,
        None,
        None,
        (),
    )


def test_a_search_that_fails_after_its_answer_has_not_reached():
    assert not outcome(1, 1.0, JOURNAL, {"reached": True, "winner": ROW}, 10_000).reached


def test_a_halved_machine_has_two_workers_unless_the_case_says_otherwise():
    halved = Setting(data=None, half_speed=True, busy=0)

    assert command_of(("--time", "1m"), 3, ALONE) == ["search", "--time", "1m", "--json", "--seed", "3"]
    assert command_of(("--time", "1m"), 3, halved)[-2:] == ["--workers", "2"]
    assert command_of(("--workers", "1"), 3, halved) == ["search", "--workers", "1", "--json", "--seed", "3"]


def test_a_search_hears_nothing_of_this_process_but_where_the_data_are(
    program: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    program.write_text(PROGRAM.replace("CODE", f"print('{json.dumps({'reached': True, 'winner': ROW})}')"))
    for name in ("HARNESS_DATA", "HARNESS_WORKSPACE", "HARNESS_COMMAND", "HARNESS_LATER"):
        monkeypatch.setenv(name, "of this process")
    monkeypatch.setenv("HARNESS_ENGINE_CACHE", "kept")

    found = run(["search", "--seed", "3"], Setting(data=Path("data"), half_speed=False, busy=0), folder)

    seen = json.loads((folder / "seen.json").read_text())
    given = {name: value for name, value in seen["env"].items() if name.startswith("HARNESS_")}
    assert given == {"HARNESS_DATA": "data", "HARNESS_WORKSPACE": str(folder), "HARNESS_ENGINE_CACHE": "kept"}
    assert (seen["argv"], seen["cwd"]) == (["search", "--seed", "3"], str(folder))
    # The terminal's Ctrl-C goes to a session: the search is in one of its own.
    assert seen["leads"]
    assert (found.exit_code, found.reached, found.sizes) == (0, True, ((61.5, 1_500),))


def test_a_fault_of_the_program_is_an_outcome(program: Path, folder: Path):
    program.write_text(PROGRAM.replace("CODE", "print('{\"error\": {}}'); sys.exit(1)"))

    found = run(["search"], ALONE, folder)

    assert (found.exit_code, found.reached, found.winner) == (1, False, None)


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (5, UsageError), (130, Interrupted)])
def test_what_is_no_outcome_of_a_search_is_an_error(
    program: Path, folder: Path, code: int, kind: type[UsageError | Interrupted]
):
    program.write_text(PROGRAM.replace("CODE", f"print('no such thing', file=sys.stderr); sys.exit({code})"))

    with pytest.raises(kind, match="no such thing"):
        run(["search"], ALONE, folder)


def test_ctrl_c_ends_the_search_and_waits_for_it(program: Path, folder: Path):
    ending = "time.sleep(0.1); (place / 'ended').touch(); sys.exit(130)"
    program.write_text(
        PROGRAM.replace(
            "CODE",
            f"try:\n    (place / 'begun').touch(); time.sleep(60)\nexcept KeyboardInterrupt:\n    {ending}",
        )
    )

    def press() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(["search"], ALONE, folder)

    assert (folder / "ended").exists()


def test_a_busy_process_is_beside_a_search_and_ends_with_it(program: Path, folder: Path):
    program.write_text(PROGRAM.replace("CODE", "import time; time.sleep(0.1); print('{}')"))
    begun = []
    real = subprocess.Popen

    def noting(command: list[str], **more: Any) -> Any:
        begun.append(real(command, **more))
        return begun[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", noting)
        run(["search"], Setting(data=None, half_speed=False, busy=1), folder)

    busy, search = begun
    assert (search.returncode, busy.returncode) == (0, -signal.SIGKILL)


def test_the_share_of_its_cores_is_the_processor_time_that_a_search_got(
    program: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cold_search, "core_count", lambda: 1)
    busy = "begun = time.process_time()\nwhile time.process_time() < begun + 0.3: pass"
    program.write_text(PROGRAM.replace("CODE", f"{busy}\ntime.sleep(0.3); print('{{}}')"))

    found = run(["search"], ALONE, folder)

    assert found.processor_share is not None
    assert 0.3 <= found.processor_share * (found.seconds + 0.05) < found.seconds - 0.25


def test_a_search_keeps_no_more_cores_busy_than_it_has_workers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cold_search, "core_count", lambda: 4)
    halved = Setting(data=None, half_speed=True, busy=0)

    assert cold_search.cores_of(["search"], ALONE) == 4
    assert cold_search.cores_of(["search", "--workers", "3"], ALONE) == 3
    assert cold_search.cores_of(["search", "--workers", "2"], halved) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux says which cores a process may use")
def test_at_half_the_speed_a_search_has_one_core(program: Path, folder: Path):
    program.write_text(PROGRAM.replace("CODE", "print(json.dumps({'cores': sorted(os.sched_getaffinity(0))}))"))

    run(["search"], Setting(data=None, half_speed=True, busy=0), folder)

    assert json.loads((folder / "stdout.json").read_text())["cores"] == [min(os.sched_getaffinity(0))]
