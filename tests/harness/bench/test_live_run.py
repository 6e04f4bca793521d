"""Comparisons on real trainings: whose question they answer, and what a stop leaves to be done. Nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench import comparison, live
from harness.bench.comparison import Judged
from harness.bench.scores import Trace
from harness.bench.setting import table_task
from harness.bench.table import Table
from harness.data.training_images import load
from harness.system.errors import ContentError
from tests.harness.bench import made_up_table

GIVEN: dict[str, Any] = {
    "names": ("random", "halving"),
    "programs": (),
    "ablations": False,
    "repeats": 2,
    "seed": 0,
    "target": None,
    "budget": None,
    "seconds": None,
    "workers": 2,
    "answer_seconds": 10.0,
    "dataset": "mnist-5k",
    "folder": None,
    "device": "cpu",
    "engine": "torch",
    "judge_seeds": 3,
    "space": "tiny",
    "recipe": "fast",
}


def digits() -> Table:
    """The made-up table as if it were of the embedded digits."""
    made = made_up_table.table()
    facts = replace(made.facts, dataset="mnist-5k", data_hash=load("mnist-5k").data_hash)
    return Table(facts, made.rows)


def test_with_a_table_the_question_is_the_tables_and_the_judge_is_not():
    made, running = live.prepared(GIVEN, digits())

    assert made.comparison.task == table_task(digits(), GIVEN)
    assert made.comparison.table is None
    assert made.comparison.judge_seeds == 3
    assert running.source.dataset == "mnist-5k"


def test_repeats_of_another_machine_are_another_comparison(tmp_path: Path):
    made, _ = live.prepared(GIVEN, digits())
    machine = made.comparison.machine
    assert machine is not None
    assert (machine.environment.engine, machine.environment.commit, machine.workers) == ("torch", None, 2)
    comparison.begin(tmp_path, made.comparison)
    assert comparison.begin(tmp_path, made.comparison) == []
    elsewhere = replace(machine, environment=replace(machine.environment, engine="native none 01234567"))

    with pytest.raises(ContentError, match="another machine"):
        comparison.begin(tmp_path, replace(made.comparison, machine=elsewhere))


def test_without_one_the_options_ask():
    made, _ = live.prepared(GIVEN | {"target": 99.2, "seconds": 60.0}, None)

    task = made.comparison.task
    assert (task.space_name, task.recipe_name, task.target_pct, task.seconds) == ("tiny", "fast", 99.2, 60.0)
    assert task.rungs == (1, 2, 4, 8, 15)
    assert task.networks is None


def test_what_a_stop_left_is_done_repeat_by_repeat_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, running = live.prepared(GIVEN, digits())
    done: list[tuple[str, int]] = []

    def live_repeat(method: Any, asked: Any, repeat: int, *rest: Any) -> Trace:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((method.name, repeat))
        return Trace(method=method.name, repeat=repeat, seed=0, answers=(), networks=1, runs=1, rejected=0, ended=1.0)

    monkeypatch.setattr(live, "live_repeat", live_repeat)
    monkeypatch.setattr(live, "judged", lambda *rest, **how: Judged(accuracies_pct={}, smallest=None))
    there = comparison.begin(tmp_path, made.comparison)
    with pytest.raises(KeyboardInterrupt):
        live.carried_out(made, running, tmp_path, there, lambda line: None)
    assert done == [("random", 0), ("halving", 0)]

    done.clear()
    there = comparison.begin(tmp_path, made.comparison)
    traces, _ = live.carried_out(made, running, tmp_path, there, lambda line: None)

    assert done == [("random", 1), ("halving", 1)]
    assert [(trace.method, trace.repeat) for trace in traces] == [
        *(("random", 0), ("random", 1)),
        *(("halving", 0), ("halving", 1)),
    ]
