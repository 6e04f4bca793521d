"""The repeats of a comparison in a process of the pool; that processes change no byte is tested with the command."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence

import pytest

from harness.bench import replay as repeats
from harness.bench.comparison import NoiseModel
from harness.bench.methods import MAIN
from harness.bench.scores import Trace
from harness.system.errors import HarnessError
from tests.harness.bench import made_up_table

TABLE = made_up_table.table(made_up_table.TINY)
TASK = made_up_table.task(TABLE, seconds=30.0, target_pct=97.0)
PIECE = (MAIN["random"], (3, 5))


@pytest.fixture(autouse=True)
def signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(repeats, "_WORKER", None)
    yield
    signal.signal(signal.SIGINT, kept)


def test_a_process_that_is_told_to_stop_begins_no_further_repeat(monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context("spawn")
    stopped, ready = context.Event(), context.Semaphore(0)
    repeats._prepare(TASK, TABLE, NoiseModel.POOLED, 0, 10.0, stopped, ready)
    assert ready.acquire(block=False)
    assert [trace.repeat for trace in repeats._do(*PIECE)] == [3, 5]

    def replay_and_stop(
        method: object, task: object, readings: object, seed: int, repeat: int, limits: object
    ) -> Trace:
        stopped.set()
        return Trace(method="random", repeat=repeat, seed=0, answers=(), networks=1, runs=1, rejected=0, ended=1.0)

    monkeypatch.setattr(repeats, "replay", replay_and_stop)
    assert [trace.repeat for trace in repeats._do(*PIECE)] == [3]
    assert repeats._do(*PIECE) == []


def test_a_process_that_is_killed_is_told_in_one_line_and_what_has_ended_is_kept():
    kept: list[Trace] = []

    def keep_and_kill(traces: Sequence[Trace]) -> None:
        kept.extend(traces)
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(HarnessError, match="a process of the comparison was killed") as caught:
        repeats.run_repeats([MAIN["random"]], TASK, TABLE, NoiseModel.POOLED, 200, 0, 10.0, 1, (), keep_and_kill)

    assert type(caught.value) is HarnessError
    assert [trace.repeat for trace in kept][: repeats.CHUNK] == list(range(repeats.CHUNK))
