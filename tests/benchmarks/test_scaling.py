"""Trainings an hour on several nodes: what a node that sleeps does, what is measured, and what is kept of it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scaling, sleeping_node
from benchmarks.marked_block import with_block
from benchmarks.scaling import Pace, Paces, table
from benchmarks.simulated_search import MINUTE, MadeUp
from harness.bench.simulation.clock import SimulatedExecutor, result_of
from harness.training.result import Status
from tests.benchmarks.made_up import ask
from tests.harness import scripted

PACE = Pace(
    nodes=1,
    trainings=12,
    slept=120.0,
    seconds=125.0,
    command="a command",
    date_utc="2026-01-01",
    machine={"processor": "a processor", "cores": 2, "commit": "abc"},
)


def test_a_training_that_goes_on_from_a_rung_sleeps_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sleeping_node, "TRAINING_SECONDS", 0.2)
    whole = scripted.first_job(scripted.proposal(0, "conv3x3(4) gap linear(10)"))
    part = replace(whole, until_epoch=1, checkpoint=tmp_path / "state")
    began = time.monotonic()

    found = sleeping_node.sleep(part, None)
    rest = sleeping_node.sleep(replace(whole, spent_seconds=found.train_seconds), None)

    assert found.status is Status.RUNNING
    assert (tmp_path / "state").stat().st_size == sleeping_node.STATE_BYTES
    assert rest == result_of(whole, MadeUp().read(whole, 0))
    assert sleeping_node.slept(rest) == pytest.approx(0.2, rel=0.11)
    assert time.monotonic() - began >= sleeping_node.slept(rest)


@pytest.mark.parametrize("nodes", [1, 3])
def test_workers_that_never_wait_are_all_at_work(nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # As long as on the simulated clock, on which nothing but training takes time.
    for module in (sleeping_node, scaling):
        monkeypatch.setattr(module, "TRAINING_SECONDS", MINUTE)
    monkeypatch.setattr(scaling, "machine", dict)

    found = scaling.measured(nodes, 10 * nodes, tmp_path / "s", simulated, "a command")

    assert (found.nodes, found.trainings) == (nodes, 10 * nodes)
    assert found.busy == pytest.approx(nodes, rel=0.1)
    assert found.an_hour == pytest.approx(60 * found.busy)


def simulated(source: object, limits: object) -> SimulatedExecutor:
    return SimulatedExecutor(MadeUp(), 0, math.inf)


def test_the_table_states_how_many_times_one_node_several_are():
    three = replace(PACE, nodes=3, trainings=36, slept=366.0)

    assert table(Paces(paces=(three, PACE))).splitlines()[2:4] == [
        "| 1 | 12 | 346 | 0.96 | 1.00 |",
        "| 3 | 36 | 1,054 | 2.93 | 3.05 |",
    ]


def test_what_is_measured_is_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "cluster.md"
    page.write_text(f"before\n{''.join(scaling.MARKS)}after\n")
    monkeypatch.setattr(scaling, "PAGE", page)
    monkeypatch.setattr(scaling, "RESULTS", tmp_path / "scaling.json")
    asked: list[Any] = []

    def on_cluster(nodes: int, trainings: int, command: str) -> Pace:
        asked.append((nodes, trainings))
        return replace(PACE, nodes=nodes, trainings=trainings, command=command)

    monkeypatch.setattr(scaling, "on_cluster", on_cluster)

    ask(monkeypatch, scaling.main, "--nodes", "1,2", "--trainings", "5")

    assert asked == [(1, 5), (2, 10)]
    assert [each.nodes for each in scaling.read().paces] == [1, 2]
    assert "$ python -m benchmarks.scaling --nodes 1,2 --trainings 5\n" in page.read_text()


def test_a_count_below_one_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, scaling.main, "--trainings", "0")

    assert ended.value.code == 2
    assert "at least 1" in capsys.readouterr().err


def test_the_page_holds_what_the_committed_results_say():
    page = scaling.PAGE.read_text(encoding="utf-8")

    assert with_block(page, scaling.MARKS, table(scaling.read())) == page
