"""Methods on a made-up table: the same seeds, planted methods that must be no better than chance or better than all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from harness.bench import external
from harness.bench import replay as replay_module
from harness.bench.external import Ask, Problem, Trial
from harness.bench.findings import findings
from harness.bench.methods import ABLATIONS, BUILT_IN, MAIN, EntryPoint, Method
from harness.bench.replay import _TableReadings, replay, true_accuracies_pct
from harness.bench.scores import Judge, Trace, curve, fewest_repeats, pairs, score, steps, times
from harness.bench.setting import table_judged
from harness.search.propose import Switches
from tests.harness.bench import made_up_table

TABLE = made_up_table.table()
READINGS = _TableReadings(TABLE)
# A quarter of the networks reach it.
TARGET_PCT = sorted(true_accuracies_pct(TABLE).values())[3 * len(TABLE.runs) // 4]
TASK = made_up_table.task(TABLE, seconds=300.0, target_pct=TARGET_PCT)
JUDGED = table_judged(TABLE, TASK)
JUDGE = Judge(JUDGED.accuracies_pct, TASK.target_pct, TASK.budget, float(JUDGED.smallest or 0))
REPEATS = 12
# What matters once something stands.
LATE = {"no-falling-budget"}


def run(method: Method, repeats: int = REPEATS, **changes: object) -> list[Trace]:
    return [_replayed(method, repeat, **changes) for repeat in range(repeats)]


def _replayed(method: Method, repeat: int, **changes: object) -> Trace:
    task = made_up_table.task(TABLE, **({"seconds": 300.0, "target_pct": TARGET_PCT} | changes))
    return replay(method, task, READINGS, 0, repeat, 10.0)


_kept = cache(_replayed)


def known(method: Method, repeats: int = REPEATS, **changes: object) -> list[Trace]:
    """Return what `run` returns, for a method of the program's own; each repeat is run once for all tests."""
    return [_kept(method, repeat, **changes) for repeat in range(repeats)]


def scores(traces: Sequence[Trace], seconds: float = TASK.seconds) -> list[float]:
    return [score(steps(trace, JUDGE), JUDGE, seconds) for trace in traces]


def planted(monkeypatch: pytest.MonkeyPatch, begin: external.Begin) -> EntryPoint:
    """Plant a method in this process; that others' run in one of their own is tested with the door."""

    def opened(method: Method, task: Any, seed: int, repeat: int, answer_seconds: float) -> Any:
        if method.name != "planted":
            return nullcontext()
        asker = external._asker_of(method, task, seed, repeat)
        asker.ask = begin(asker.problem)
        return nullcontext(asker)

    monkeypatch.setattr(replay_module, "opened", opened)
    return EntryPoint(name="planted")


def blind(problem: Problem) -> Ask:
    """Ignores what it is told."""
    assert problem.networks is not None
    shuffled = random.Random(f"blind/{problem.seed}").sample(problem.networks, len(problem.networks))
    return lambda tried: shuffled[len(tried)]


def oracle(problem: Problem) -> Ask:
    """Knows which networks reach the target, and begins with the smallest."""
    truth = JUDGED.accuracies_pct
    networks = [(truth[key] < problem.target_pct, runs[0][8]) for key, runs in TABLE.runs.items()]
    ordered = [row.architecture for _, row in sorted(networks, key=lambda pair: (pair[0], pair[1].parameters))]
    return lambda tried: ordered[len(tried)]


# The same seeds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MAIN, "no-rungs", "no-confirmation"])
def test_the_same_seeds_give_the_same_trace_and_others_another(name: str):
    once, again = run(BUILT_IN[name], 2, seconds=100.0), run(BUILT_IN[name], 2, seconds=100.0)

    assert once == again
    assert once[0].answers != once[1].answers or once[0].networks != once[1].networks
    assert all(trace.method == name for trace in once)


def test_no_answer_is_later_than_the_end_and_a_longer_time_only_adds():
    short, long = known(MAIN["random"], 4, seconds=150.0), known(MAIN["random"], 4)

    for early, late in zip(short, long, strict=True):
        assert all(answer.seconds <= 150.0 for answer in early.answers)
        assert late.answers[: len(early.answers)] == early.answers
        assert late.runs > early.runs


def test_twice_the_workers_train_about_twice_as_much():
    two, four = known(MAIN["random"], 4), known(MAIN["random"], 4, workers=4)

    assert sum(trace.runs for trace in four) == pytest.approx(2 * sum(trace.runs for trace in two), rel=0.15)


# Planted methods --------------------------------------------------------------------------------------------


def test_a_planted_method_that_ignores_history_is_as_good_as_random(monkeypatch: pytest.MonkeyPatch):
    theirs, ours = known(MAIN["random"]), run(planted(monkeypatch, blind))

    marks = times(TASK.seconds)
    band = curve([steps(trace, JUDGE) for trace in theirs], marks)
    mine = curve([steps(trace, JUDGE) for trace in ours], marks)
    # The band of one median; the other wavers as much, so that the bands, not the median, must meet.
    apart = [low > high for low, high in zip(mine.low, band.high, strict=True)]
    apart += [low > high for low, high in zip(band.low, mine.high, strict=True)]
    assert sum(apart) <= len(apart) // 20
    (pair,) = pairs({"once": {"planted": scores(ours), "random": scores(theirs)}}, [("planted", "random")])
    assert not pair.differs


def test_a_planted_oracle_beats_all(monkeypatch: pytest.MonkeyPatch):
    # Not for so long that a method has tried the whole table.
    seconds = 0.4 * TASK.seconds
    methods: dict[str, Method] = {**MAIN, "oracle": planted(monkeypatch, oracle)}
    repeats = fewest_repeats(len(MAIN)) + 3
    found = {name: scores(run(method, repeats, seconds=seconds), seconds) for name, method in methods.items()}

    compared = pairs({"once": found}, [("oracle", name) for name in MAIN])
    assert [(pair.second, pair.differs, pair.ratio < 1) for pair in compared] == [(name, True, True) for name in MAIN]


def test_the_test_of_planted_methods_can_fail(monkeypatch: pytest.MonkeyPatch):
    """A method that looks at the least accurate networks first is told apart from random with twice the repeats."""
    truth = {runs[0][8].architecture: JUDGED.accuracies_pct[key] for key, runs in TABLE.runs.items()}

    def worst(problem: Problem) -> Ask:
        ordered = sorted(truth, key=lambda text: truth[text])
        return lambda tried: ordered[len(tried)]

    theirs, ours = scores(known(MAIN["random"], 24)), scores(run(planted(monkeypatch, worst), 24))
    (pair,) = pairs({"once": {"worst": ours, "random": theirs}}, [("worst", "random")])
    assert pair.differs
    assert pair.ratio > 1.1


# Parts ------------------------------------------------------------------------------------------------------


def test_without_confirmation_answers_come_sooner_and_are_more_often_false():
    facts = findings(
        [trace for name in ("default", "no-confirmation") for trace in known(BUILT_IN[name])],
        {"default": "", "no-confirmation": ""},
        frozenset({"no-confirmation"}),
        TASK.seconds,
        JUDGE,
    )

    default, without = facts.methods
    assert without.false > default.false
    assert without.networks > default.networks


def test_without_rungs_fewer_networks_are_tried():
    # With uniform draws, as the model of the errors chooses others where all are trained to the end.
    draws = Switches(aim=False)
    with_rungs = run(replace(BUILT_IN["default"], switches=draws), 4)
    without = run(replace(BUILT_IN["no-rungs"], switches=draws), 4)

    assert sum(trace.networks for trace in without) < 0.8 * sum(trace.networks for trace in with_rungs)


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_every_variant_does_something_else_than_the_default(name: str):
    def shown(method: Method) -> list[object]:
        traces = known(method, 2, seconds=900.0 if name in LATE else 200.0)
        return [(trace.answers, trace.networks, trace.runs, trace.rejected) for trace in traces]

    assert shown(ABLATIONS[name]) != shown(MAIN["default"])


# What others propose ----------------------------------------------------------------------------------------


def test_a_method_is_told_what_came_of_its_networks_and_nothing_more(monkeypatch: pytest.MonkeyPatch):
    history: list[Sequence[Trial]] = []
    briefs: list[Problem] = []

    def begin(problem: Problem) -> Ask:
        briefs.append(problem)
        ask = blind(problem)

        def noting(tried: Sequence[Trial]) -> str:
            history.append(tried)
            return ask(tried)

        return noting

    (trace,) = run(planted(monkeypatch, begin), 1)

    assert history[0] == ()
    assert [len(tried) for tried in history] == list(range(len(history)))
    told = [item for tried in history for item in tried]
    assert {item.state for item in told} == {"running", "complete"}
    assert all((item.validation_accuracy_pct is None) == (item.state == "running") for item in told)
    assert any(item.fresh_pct for item in history[-1])
    assert (briefs[0].budget, briefs[0].target_pct) == (20_000, TARGET_PCT)
    assert (briefs[0].workers, briefs[0].epochs) == (2, 8)
    assert briefs[0].seed == trace.seed
