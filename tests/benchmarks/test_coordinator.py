"""The cost of a coordinator: what is measured, between which moments, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import coordinator
from benchmarks.coordinator import Cost, Costs, table, with_cost
from benchmarks.marked_block import with_block
from benchmarks.simulated_search import MadeUp, Stopwatch, Timed
from harness.search.proposals import aim
from harness.search.proposals.acquisition import Aim
from harness.search.proposals.look import Look
from harness.search.proposals.surrogate import Observation
from harness.search.pruning import rungs
from tests.benchmarks.made_up import ask
from tests.harness import scripted

COST = Cost(
    workers=256,
    drawn=1_000,
    rounds=2,
    trainings=180,
    total=0.1,
    asking=0.05,
    recording=0.01,
    command="a command",
    date_utc="2026-01-01",
    machine={"processor": "a processor", "commit": "abc"},
)


def test_a_made_up_training_is_always_the_same_and_larger_networks_make_fewer_errors():
    jobs = [scripted.first_job(scripted.proposal(0, f"conv3x3({width}) gap linear(10)")) for width in (4, 40)]
    small, large = (MadeUp().read(job, 0) for job in jobs)

    assert MadeUp().read(jobs[0], 0) == small
    last = jobs[0].recipe.epochs
    assert small.errors[last] > large.errors[last]
    assert 54 <= small.seconds[last] <= 66
    assert [small.errors[rung] > small.errors[last] for rung in rungs(last)] == [True, True]


def test_a_stopwatch_counts_the_time_of_the_calls_and_nothing_else():
    watch = Stopwatch()
    timed = Timed(Worker(), watch)

    busy(0.05)
    assert watch.seconds == 0.0
    assert timed.work(0.05) == "done"
    assert timed.name == "a worker"
    assert 0.05 <= watch.seconds < 0.09


class Worker:
    name = "a worker"

    def work(self, seconds: float) -> str:
        busy(seconds)
        return "done"


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_search_is_measured_while_the_model_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(coordinator, "machine", dict)
    monkeypatch.setattr(aim, "AIM_DRAWS", 3)
    monkeypatch.setattr(aim, "MOST_ROUNDS", 1)
    asked: list[int] = []
    real = aim._aim_of

    def noted(look: Look, past: Sequence[Observation]) -> Aim:
        asked.append(look.number)
        return real(look, past)

    monkeypatch.setattr(aim, "_aim_of", noted)

    found = coordinator.measured(2, 6, 1, tmp_path / "s", "a command")

    assert asked
    assert min(asked) >= 6
    assert found.trainings >= 2
    assert 0 < found.recording < found.total
    assert 0 < found.asking < found.total
    results = len(list((tmp_path / "s" / "results").iterdir()))
    assert results >= 8


def test_the_share_of_a_core_is_that_of_a_result_a_minute_and_worker():
    assert COST.share == pytest.approx(256 * 0.1 / 60)


def test_a_case_that_is_measured_again_replaces_the_older_one():
    other = replace(COST, workers=2)

    costs = with_cost(Costs(costs=(COST, other)), replace(COST, total=0.2))

    assert [(each.workers, each.total) for each in costs.costs] == [(2, 0.1), (256, 0.2)]
    assert "| 256 | 1,000 | 180 | 0.200 | 0.050 | 0.010 | 0.85 |\n" in table(costs)


def test_what_is_measured_is_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "cluster.md"
    page.write_text(f"before\n{''.join(coordinator.MARKS)}after\n")
    monkeypatch.setattr(coordinator, "PAGE", page)
    monkeypatch.setattr(coordinator, "RESULTS", tmp_path / "coordinator.json")

    def measured(workers: int, drawn: int, rounds: int, folder: Path, command: str) -> Cost:
        return replace(COST, workers=workers, drawn=drawn, rounds=rounds, command=command)

    monkeypatch.setattr(coordinator, "measured", measured)

    ask(monkeypatch, coordinator.main, "--workers", "2,64", "--drawn", "10", "--rounds", "5")

    assert [each.workers for each in coordinator.read().costs] == [2, 64]
    assert "with commit" in page.read_text()


def test_a_count_below_one_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, coordinator.main, "--rounds", "0")

    assert ended.value.code == 2
    assert "at least 1" in capsys.readouterr().err


def test_the_page_holds_what_the_committed_results_say():
    page = coordinator.PAGE.read_text(encoding="utf-8")

    assert with_block(page, coordinator.MARKS, table(coordinator.read())) == page
