"""The open part of a search, with made-up trainings: what is proposed, repeated, confirmed, and when it ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from torch import nn

from harness.search import loop as exploration
from harness.search import race, session
from harness.search import session as time_left
from harness.search.loop import poll
from harness.training import build
from harness.training.result import Purpose, Status, derive_seed
from search_spaces.draw import judge
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space
from search_spaces.task import MNIST
from tests.harness import logged, scripted
from tests.harness.scripted import Made, Trainer

FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"
# 20,000 and 20,001 parameters.
ALLOWED = "conv3x3(31) conv3x3(57) conv1x1(56, bias) gap linear(10)"
FORBIDDEN = "conv3x3(38) conv3x3(49) conv1x1(49) gap linear(10)"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def always(accuracy_pct: float):
    return lambda parameters, seed: accuracy_pct


# Rejection --------------------------------------------------------------------------------------------------


def test_networks_over_the_budget_are_counted_with_their_reason_and_never_trained(trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(budget=1_500, sampler="random"), scripted.effort())

    rejected = scripted.events(tmp_path, "rejected")
    assert len(rejected) > 8
    assert {event["reason"] for event in rejected} == {"parameters"}
    assert all(event["parameters"] > event["budget"] for event in rejected)
    assert rejected[0]["budget"] == 1_500
    assert found.reporter.rejected == len(rejected)
    trained = {job.architecture.hash for job in trainer.asked}
    assert not trained & {event["hash"] for event in rejected}
    assert len(scripted.events(tmp_path, "proposed")) == 20
    assert found.reason == "trials"


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "evolution", "random"])
def test_20000_parameters_are_trained_and_20001_are_not(sampler: str, trainer: Trainer, tmp_path: Path):
    configured = scripted.config(space_text=f"net = <{ALLOWED} / {FORBIDDEN}>;", sampler=sampler)
    trainer.accuracy_pct = always(98.0)

    found = scripted.run(tmp_path, configured, scripted.effort(trials=5))

    assert {str(job.architecture) for job in trainer.asked} == {ALLOWED}
    rejected = scripted.events(tmp_path, "rejected")
    # Evolution keeps to the budget by itself.
    expected = set() if sampler == "evolution" else {(20_001, "parameters")}
    assert {(event["parameters"], event["reason"]) for event in rejected} == expected
    assert found.reason == "exhausted"
    verdicts = [
        judge(parse_space("net = gap linear(10);"), parse_network(text), 20_000) for text in (ALLOWED, FORBIDDEN)
    ]
    assert [verdict.accepted for verdict in verdicts] == [True, False]


def test_no_module_is_built_by_the_coordinator(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    initialise = nn.Module.__init__

    def spy(module: nn.Module, *arguments: object, **named: object) -> None:
        made.append(type(module).__name__)
        initialise(module, *arguments, **named)

    monkeypatch.setattr(nn.Module, "__init__", spy)
    build.build(parse_network(ALLOWED), MNIST)
    assert made, "the spy sees nothing"
    made.clear()

    scripted.run(tmp_path, scripted.config(budget=1_500, sampler="random"), scripted.effort())

    assert scripted.events(tmp_path, "rejected")
    assert made == []


def test_no_run_of_a_search_may_read_the_test_set(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort())

    assert scripted.events(tmp_path, "winner")
    assert {(job.test_log, job.test_each_epoch) for job in trainer.asked} == {(None, False)}
    assert {job.purpose for job in trainer.asked} == {Purpose.SEARCH, Purpose.CONFIRM}


def test_where_nothing_is_within_the_budget_the_search_ends_and_says_why(trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(space_text=FEW, budget=85), scripted.effort())

    assert trainer.asked == []
    (ended,) = scripted.events(tmp_path, "ended")
    assert ended["reason"] == found.reason == "exhausted"
    assert ended["message"] == "the space has no further network with at most 85 parameters"
    assert len(scripted.events(tmp_path, "rejected")) == 40


# Budget and repeats -----------------------------------------------------------------------------------------


def test_the_ceiling_falls_only_when_two_fresh_seeds_stand(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(seed=2), scripted.effort(trials=30))

    budget = 20_000
    fresh: dict[int, list[float]] = {}
    for event in scripted.events(tmp_path):
        match event["event"]:
            case "proposed":
                assert event["parameters"] <= budget
            case "finished" if event["purpose"] == "confirm":
                fresh.setdefault(event["trial"], []).append(100 - event["validation_errors"] / 100)
            case "standing":
                assert len(fresh[event["trial"]]) >= 2
                assert event["validation_seeds"] == len(fresh[event["trial"]])
                assert event["budget"] == event["parameters"] - 1 < budget
                budget = event["budget"]
    assert budget < 20_000


def test_one_lucky_run_lowers_no_budget(trainer: Trainer, tmp_path: Path):
    seeds_of_search = {}

    def lucky_once(parameters: int, seed: int) -> float:
        return 99.9 if seed in seeds_of_search else 98.9

    for width in (4, 8, 12):
        network = parse_network(f"conv3x3({width}) gap linear(10)")
        seeds_of_search[derive_seed(network.hash, scripted.RECIPE_HASH, Purpose.SEARCH, 0, 0)] = width
    trainer.accuracy_pct = lucky_once
    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())

    assert all(race.passed_first(candidate, 99.0) for candidate in found.candidates.values())
    assert scripted.events(tmp_path, "standing", "winner") == []
    assert {event["trial"] for event in scripted.events(tmp_path, "refuted")} == {0, 1, 2}
    # Two fresh seeds that agree are enough to give a network up.
    assert [len(candidate.fresh) for candidate in found.candidates.values()] == [2, 2, 2]


def test_a_network_that_stood_and_falls_gives_the_budget_back(trainer: Trainer, tmp_path: Path):
    """Three seeds of it were begun when two had not ended; the third is bad."""
    opened = scripted.opened(tmp_path, [Made(20, fresh=(99.2, 99.2)), Made(12, fresh=(99.2, 99.2))], workers=2)
    assert exploration._ceiling(opened) == 10 + 19 * 12 - 1
    opened.executor.assign(0, session.job_for(opened, opened.candidates[1], Purpose.CONFIRM, 2))
    trainer.accuracy_pct = always(90.0)

    poll(opened)

    assert [event["trial"] for event in scripted.events(tmp_path, "refuted")] == [1]
    [standing] = scripted.events(tmp_path, "standing")
    assert (standing["trial"], standing["budget"]) == (0, 10 + 19 * 20 - 1)
    assert exploration._ceiling(opened) == 10 + 19 * 20 - 1


def test_a_repeated_proposal_becomes_a_further_seed_of_a_network_that_missed(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(98.93)

    found = scripted.run(tmp_path, scripted.config(space_text=FEW, sampler="random"), scripted.effort(workers=3))

    repeats = {trial: 0 for trial in found.candidates}
    for event in scripted.events(tmp_path, "repeated"):
        repeats[event["trial"]] += 1
    assert sum(repeats.values()) > 0
    assert {trial: candidate.repeats for trial, candidate in found.candidates.items()} == repeats
    for trial, candidate in found.candidates.items():
        # One seed refutes it; two more may have been in flight.
        assert min(repeats[trial], 1) <= len(candidate.fresh) <= min(repeats[trial], 3)
    seeds = [(job.trial, job.purpose, job.seed_index) for job in trainer.asked if job.until_epoch is None]
    assert len(seeds) == len(set(seeds))


# The end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_networks_are_begun_than_allowed(workers: int, trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=4, workers=workers))

    assert len(scripted.events(tmp_path, "proposed")) == len(found.candidates) == 4
    assert all(candidate.first for candidate in found.candidates.values())
    assert found.reason == "trials"


def test_a_small_space_is_used_up(trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())

    assert found.reason == "exhausted"
    assert sorted(candidate.proposal.parameters for candidate in found.candidates.values()) == [86, 162, 238]


@pytest.mark.parametrize("sampler", ["tpe", "surrogate"])
def test_a_small_space_that_is_used_up_in_time_lacks_none(sampler: str, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(98.5)

    found = scripted.run(
        tmp_path, scripted.config(space_text=FEW, sampler=sampler), scripted.effort(seconds=3_600.0, trials=None)
    )

    assert len(found.candidates) == 3
    assert scripted.events(tmp_path, "ended")[-1]["reason"] == "exhausted"


def test_networks_that_there_is_no_time_for_end_a_search_for_lack_of_time(trainer: Trainer, tmp_path: Path):
    # A training is thought to take 74 s, until one was measured.
    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(seconds=100.0, trials=None))

    assert found.candidates == {}
    assert scripted.events(tmp_path, "ended")[-1]["reason"] == "time"


def test_the_search_ends_when_the_time_of_the_verification_has_come(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(30, fresh=(99.4, 99.4))], seconds=1_000.0)
    assert exploration._stop_reason(opened) == ""

    opened.before = 1_000.0 - time_left.closing_seconds(opened)

    assert exploration._stop_reason(opened) == "time"
    exploration.explore(opened)
    assert opened.reason == "time"
    assert trainer.asked == []


def test_time_that_is_used_up_ends_the_search(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer.accuracy_pct = always(98.0)
    found = scripted.run(tmp_path, scripted.config(), scripted.effort(seconds=1e-9, trials=None))

    assert found.reason == "time"
    assert found.candidates == {}


def test_time_counts_over_all_sessions(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = always(98.0)
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=2))
    logged.note(tmp_path, "rung", 100.0)

    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=5, seconds=100.5))

    assert found.before == 100.0
    assert found.left < 0.5


def test_a_finished_search_is_left_as_it_is(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=5))
    journal, asked = (tmp_path / "log.jsonl").read_bytes(), len(trainer.asked)

    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=5))

    assert found.finished
    assert (tmp_path / "log.jsonl").read_bytes() == journal
    assert len(trainer.asked) == asked


def test_more_trials_go_on_with_a_finished_search(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=5))
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=8))

    scripted.run(tmp_path / "at-once", scripted.config(), scripted.effort(trials=8))

    assert len(scripted.events(tmp_path, "proposed")) == 8
    assert len(scripted.events(tmp_path, "ended")) == 2


def test_a_watcher_goes_on_counting_after_a_restart(trainer: Trainer, tmp_path: Path):
    configured = scripted.config(budget=1_500, sampler="random")
    scripted.run(tmp_path, configured, scripted.effort(trials=3))

    found = scripted.run(tmp_path, configured, scripted.effort(trials=5))

    assert found.reporter.trained == 5
    assert found.reporter.rejected == len(scripted.events(tmp_path, "rejected"))


def test_a_session_with_many_results_opens_quickly(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(sampler="tpe", budget=3_000), scripted.effort(trials=60))
    began = time.process_time()

    scripted.run(tmp_path, scripted.config(sampler="tpe", budget=3_000), scripted.effort(trials=60))

    assert time.process_time() - began < 5.0


# Status of a run --------------------------------------------------------------------------------------------


def test_runs_are_pruned_by_the_journal_and_complete_by_the_results(trainer: Trainer, tmp_path: Path):
    found = scripted.run(tmp_path, scripted.config(), scripted.effort(trials=12))

    pruned = {event["trial"] for event in scripted.events(tmp_path, "rung") if event["pruned"]}
    assert pruned
    for trial, candidate in found.candidates.items():
        assert candidate.first is not None
        assert (candidate.first.status is Status.PRUNED) == (trial in pruned)
