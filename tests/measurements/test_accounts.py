"""Comparison of snapshots of a search: lost results, repeated work and leftover files are detected."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from measurements import accounts
from measurements.accounts import answer, leftovers, lost, read_again, repeated, snapshot_of

RECORD = "runs/records/h1-r-mnist-5k-15.json"


def run_of(trial: int) -> dict[str, Any]:
    identity = {"trial": trial, "purpose": "search", "seed_index": 0, "status": "complete"}
    return {**identity, "validation_errors": 40 - trial, "weights_sha256": f"w{trial}"}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def append(path: Path, *documents: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(document) + "\n" for document in documents)


def finished_event(trial: int) -> dict[str, Any]:
    return {"event": "finished", "run": run_of(trial)}


def proposed_event(trial: int, epochs: int | None = None) -> dict[str, Any]:
    return {"event": "proposed", "trial": trial, "hash": f"h{trial}", "parameters": 9 - trial, "epochs": epochs}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Workspace of a search of two networks; the second network is verified with two seeds."""
    workspace = tmp_path / "work"
    for trial in range(2):
        append(workspace / accounts.LOG, proposed_event(trial), finished_event(trial))
    append(workspace / accounts.LOG, {"event": "winner", "hash": "h1"})
    append(workspace / accounts.READS, {"purpose": "verify h1 short seed 0"}, {"purpose": "verify h1 short seed 1"})
    append(workspace / accounts.LEDGER, {"kind": "verification"})
    write(workspace / RECORD, {"seeds": [{"index": i, "test_errors": i, "weights_sha256": f"v{i}"} for i in range(2)]})
    (workspace / "runs" / "s" / ".lock").touch()
    (tmp_path / "tmp").mkdir()
    return workspace


def test_undisturbed_search_has_no_losses_repeats_or_leftovers(work: Path):
    snapshot = snapshot_of(work)

    assert lost(snapshot, snapshot_of(work)) == repeated(snapshot) == read_again(snapshot) == []
    assert leftovers(work, work.parent / "tmp") == []


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


LOSSES: dict[str, Callable[[Path], None]] = {
    "a result that is another": lambda work: change(
        work / accounts.LOG, '"validation_errors": 39', '"validation_errors": 38'
    ),
    "a line of the log": lambda work: change(work / accounts.LOG, json.dumps(finished_event(0)) + "\n", ""),
    "a line that is torn": lambda work: change(
        work / accounts.LOG, '{"event": "winner", "hash": "h1"}', '{"event": "w'
    ),
    "a line about a reading": lambda work: change(work / accounts.READS, "seed 1", "seed 2"),
    "the ledger": lambda work: (work / accounts.LEDGER).unlink(),
    "a verified seed": lambda work: change(work / RECORD, '"v1"', '"v2"'),
    "the record": lambda work: (work / RECORD).unlink(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_lost_detects_changed_or_missing_evidence(loss: str, work: Path):
    before = snapshot_of(work)
    LOSSES[loss](work)

    assert lost(before, snapshot_of(work))


@pytest.mark.parametrize("event", [finished_event(1), proposed_event(1), proposed_event(7) | {"hash": "h0"}], ids=str)
def test_repeated_detects_second_run_or_proposal(event: dict[str, Any], work: Path):
    append(work / accounts.LOG, event)

    assert len(repeated(snapshot_of(work))) >= 1


def test_read_again_detects_second_read_of_test_set_for_a_seed(work: Path):
    append(work / accounts.READS, {"purpose": "verify h1 short seed 1"})

    assert read_again(snapshot_of(work)) == ["verify h1 short seed 1 (2 times)"]


@pytest.mark.parametrize(
    "name",
    [
        "tmp/made",
        "work/.leaderboard.csv.a_9",
        "work/runs/.verify-h1/seed-0000.json",
        "work/runs/s/checkpoints/trial-00001-search-0.pt",
    ],
)
def test_leftovers_detects_orphaned_file(name: str, work: Path):
    path = work.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    assert len(leftovers(work, work.parent / "tmp")) == 1


def test_leftovers_detects_held_lock(work: Path):
    with (work / "runs/s/.lock").open() as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)

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
def test_answer_changes_with_weights_status_errors_winner_and_parameters(name: str, old: str, new: str, work: Path):
    before = answer(work)
    change(work / name, old, new)

    assert answer(work) != before
