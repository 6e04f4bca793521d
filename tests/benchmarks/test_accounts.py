"""The accounts of a disturbed search: every loss, repeat and leftover that is planted is found."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accounts
from benchmarks.accounts import answer, leftovers, lost, read_again, repeated, snapshot_of

RECORD = "runs/records/h1-r-mnist-5k-15.json"


def run_of(trial: int) -> dict[str, Any]:
    ended = {"trial": trial, "purpose": "search", "seed_index": 0, "status": "complete"}
    return {**ended, "validation_errors": 40 - trial, "weights_sha256": f"w{trial}"}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def append(path: Path, *documents: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(document) + "\n" for document in documents)


def finished(trial: int) -> dict[str, Any]:
    return {"event": "finished", "run": run_of(trial)}


def proposed(trial: int, epochs: int | None = None) -> dict[str, Any]:
    return {"event": "proposed", "trial": trial, "hash": f"h{trial}", "parameters": 9 - trial, "epochs": epochs}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A workspace of a search of two networks whose second one is verified with two seeds."""
    made = tmp_path / "work"
    for trial in range(2):
        append(made / accounts.LOG, proposed(trial), finished(trial))
    append(made / accounts.LOG, {"event": "winner", "hash": "h1"})
    append(made / accounts.READS, {"purpose": "verify h1 short seed 0"}, {"purpose": "verify h1 short seed 1"})
    append(made / accounts.LEDGER, {"kind": "verification"})
    write(made / RECORD, {"seeds": [{"index": i, "test_errors": i, "weights_sha256": f"v{i}"} for i in range(2)]})
    (made / "runs" / "s" / ".lock").touch()
    (tmp_path / "tmp").mkdir()
    return made


def test_a_search_that_was_left_alone_has_lost_repeated_and_left_nothing(work: Path):
    there = snapshot_of(work)

    assert lost(there, snapshot_of(work)) == repeated(there) == read_again(there) == []
    assert leftovers(work, work.parent / "tmp") == []


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


LOSSES: dict[str, Callable[[Path], None]] = {
    "a result that is another": lambda work: change(
        work / accounts.LOG, '"validation_errors": 39', '"validation_errors": 38'
    ),
    "a line of the log": lambda work: change(work / accounts.LOG, json.dumps(finished(0)) + "\n", ""),
    "a line that is torn": lambda work: change(
        work / accounts.LOG, '{"event": "winner", "hash": "h1"}', '{"event": "w'
    ),
    "a line about a reading": lambda work: change(work / accounts.READS, "seed 1", "seed 2"),
    "the ledger": lambda work: (work / accounts.LEDGER).unlink(),
    "a verified seed": lambda work: change(work / RECORD, '"v1"', '"v2"'),
    "the record": lambda work: (work / RECORD).unlink(),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_planted_loss_is_found(what: str, work: Path):
    before = snapshot_of(work)
    LOSSES[what](work)

    assert lost(before, snapshot_of(work))


@pytest.mark.parametrize("again", [finished(1), proposed(1), proposed(7) | {"hash": "h0"}], ids=str)
def test_a_planted_repeat_is_found(again: dict[str, Any], work: Path):
    append(work / accounts.LOG, again)

    assert len(repeated(snapshot_of(work))) >= 1


def test_a_test_set_that_was_read_twice_for_a_seed_is_found(work: Path):
    append(work / accounts.READS, {"purpose": "verify h1 short seed 1"})

    assert read_again(snapshot_of(work)) == ["verify h1 short seed 1 (2 times)"]


@pytest.mark.parametrize(
    "left",
    [
        "tmp/made",
        "work/.leaderboard.csv.a_9",
        "work/runs/.verify-h1/seed-0000.json",
        "work/runs/s/checkpoints/trial-00001-search-0.pt",
    ],
)
def test_a_planted_leftover_is_found(left: str, work: Path):
    path = work.parent / left
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    assert len(leftovers(work, work.parent / "tmp")) == 1


def test_a_lock_that_is_held_is_left_over(work: Path):
    with (work / "runs/s/.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert leftovers(work, work.parent / "tmp") == ["work/runs/s/.lock"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (accounts.LOG, '"w1"', '"w2"'),
        (accounts.LOG, "complete", "timed-out"),
        (accounts.LOG, ": 39", ": 38"),
        (RECORD, '"v1"', '"v2"'),
        (accounts.LOG, '"winner", "hash": "h1"', '"winner", "hash": "h0"'),
        (accounts.LOG, '"parameters": 8', '"parameters": 7'),
    ],
)
def test_an_answer_differs_with_any_bit_of_it(name: str, old: str, new: str, work: Path):
    before = answer(work)
    change(work / name, old, new)

    assert answer(work) != before
