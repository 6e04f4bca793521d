"""What comes of the faults of worker processes, and of the signals they meet."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from harness.system.errors import DataError, StorageError
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import workers
from harness.training.workers.workers import Limits, Source, Worker
from search_spaces.language.notation import parse_network

JOB = Job(
    architecture=parse_network("gap linear(10)"),
    recipe=Recipe(epochs=1),
    recipe_name="toy",
    purpose=Purpose.SEARCH,
    seed_index=0,
)


def poll_to_the_end(made: list[Worker]) -> None:
    while made[0].job is not None:
        workers.poll(made, Limits(seconds=600), timeout=120.0)


def test_data_that_are_gone_end_more_than_a_job(tmp_path: Path):
    made = workers.start(Source("mnist", tmp_path / "gone"), 1)
    try:
        workers.assign(made[0], JOB)
        with pytest.raises(DataError, match="gone") as caught:
            workers.poll(made, Limits(seconds=600), timeout=120.0)
        assert made[0].job is None
    finally:
        workers.stop(made)

    # The hint has travelled with the message.
    assert caught.value.hint is not None


def test_a_file_that_cannot_be_written_ends_more_than_a_job(tmp_path: Path):
    (tmp_path / "file").touch()
    made = workers.start(Source("mnist-5k", None), 1)
    try:
        workers.assign(made[0], replace(JOB, checkpoint=tmp_path / "file" / "state.pt"))
        with pytest.raises(StorageError, match=r"^cannot write .*state\.pt: "):
            poll_to_the_end(made)
        assert made[0].job is None
    finally:
        workers.stop(made)


def test_a_worker_is_deaf_to_ctrl_c_from_its_first_moment():
    """Signals come at any time; one that reached a starting interpreter would end it with a trace on the terminal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    made = workers.start(Source("mnist-5k", None), 1)
    try:
        assert made[0].process.pid is not None
        blocked = int(Path(f"/proc/{made[0].process.pid}/status").read_text().split("SigBlk:")[1].split()[0], 16)
        assert blocked >> (signal.SIGINT - 1) & 1
        assert not blocked >> (signal.SIGTERM - 1) & 1
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    finally:
        workers.stop(made)
