"""The end of a search: its winner is verified once, where there is one and the time for it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence import record
from harness.evidence.events import Verified
from harness.search import finish, loop
from harness.search.finish import conclude, outcome_of
from harness.search.state import Search
from harness.training.result import Purpose
from harness.training.run import Job
from tests.harness import scripted, unrun
from tests.harness.concluded import LARGER, WINNER, misses, searched
from tests.harness.scripted import Trainer
from tests.harness.unrun import Seeds


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """All runs of the search reach 99.5 % on validation."""
    made = scripted.without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 99.5
    return made


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)


def test_without_a_winner_nothing_is_verified(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 98.0
    plan, search = searched(tmp_path)

    assert conclude(plan, search) is None

    assert seeds.asked == []
    assert not plan.workspace.test_log.exists()
    assert record.read_all(plan.workspace.records) == []
    assert scripted.events(plan.folder, "postponed", "verified") == []
    assert plan.workspace.leaderboard.exists()


@pytest.mark.parametrize(("workers", "count"), [(1, 5), (2, 6), (4, 8)])
def test_the_winner_is_verified_on_seeds_that_keep_all_workers_busy(
    workers: int, count: int, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = searched(tmp_path, workers=workers)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.indices == list(range(count))
    assert {job.architecture for job in seeds.asked} == {WINNER}
    [event] = scripted.events(plan.folder, "verified")
    assert (event["hash"], event["tier"], event["seeds"], event["passed"]) == (WINNER.hash, "verified", count, True)
    assert event["mean_test_accuracy_pct"] == pytest.approx(99.45)
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_the_record_says_how_the_network_was_found(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = searched(tmp_path)

    conclude(plan, search)

    [there] = record.read_all(plan.workspace.records)
    assert there.found is not None
    assert (there.found.study, there.found.space, there.found.sampler) == ("a-study", "widths", "tpe")
    assert there.found.validation_accuracy_pct == pytest.approx(99.5)
    assert (there.found.validation_seeds, there.found.trained, there.found.workers) == (2, 2, 1)


def test_the_winner_is_verified_with_the_length_it_was_found_with(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = searched(tmp_path, lengths=(20,))
    [winner] = [item.proposal for item in search.candidates.values() if item.proposal.hash == WINNER.hash]
    assert winner.epochs == 20

    verdict = conclude(plan, search)

    longer = replace(scripted.RECIPE, epochs=20)
    assert {job.recipe for job in seeds.asked} == {longer}
    assert verdict is not None
    assert (verdict.record.recipe, verdict.record.recipe_name) == (longer, "short-20ep")
    assert verdict.record.recipe_hash == longer.hash
    # Asked again, it is known by that recipe.
    seeds.asked.clear()
    assert conclude(plan, search) is not None
    assert seeds.asked == []


def test_a_verified_winner_is_not_verified_again(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = searched(tmp_path)
    first = conclude(plan, search)
    seeds.asked.clear()

    again = conclude(plan, search)

    assert first is not None
    assert again is not None
    assert seeds.asked == []
    assert (again.runs, again.row) == (first.runs, first.row)
    assert len(scripted.events(plan.folder, "verified")) == 1


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("half_way", [False, True])
def test_a_search_that_is_killed_after_its_verification_repeats_no_seed(
    half_way: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan, search = searched(tmp_path)
    with monkeypatch.context() as patch:

        def rmtree(folder: Path, ignore_errors: bool = False) -> None:
            for path in sorted(folder.glob("*.json"))[: 2 if half_way else None]:
                path.unlink()
            raise Killed

        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            conclude(plan, search)
    seeds.asked.clear()

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.asked == []
    assert len(scripted.events(plan.folder, "verified")) == 1
    assert list(plan.workspace.runs.glob(".verify-*")) == []
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_a_winner_whose_record_is_gone_is_verified_again(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = searched(tmp_path)
    conclude(plan, search)
    seeds.asked.clear()
    for path in plan.workspace.records.glob("*.json"):
        path.unlink()

    conclude(plan, search)

    assert seeds.indices == [0, 1, 2, 3, 4]


# Five runs of 8 s, each a fifth longer than in the search, take 48 s.
@pytest.mark.parametrize(("seconds", "postponed"), [(40.0, True), (60.0, False)])
def test_what_there_is_no_time_for_is_postponed(
    seconds: float, postponed: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = searched(tmp_path)
    search.effort = replace(search.effort, seconds=search.elapsed + seconds)

    verdict = conclude(plan, search)

    assert (verdict is None) is postponed
    last = scripted.events(plan.folder)[-1]
    assert last["event"] == ("postponed" if postponed else "verified")
    assert last["hash"] == WINNER.hash
    assert (seeds.asked == []) is postponed
    if postponed:
        assert last["seconds"] == pytest.approx(1.1 * 48 + 12)
        assert not plan.workspace.test_log.exists()


# A second verification --------------------------------------------------------------------------------------


def test_where_the_winner_misses_the_next_network_that_stands_is_verified(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, search = searched(tmp_path)
    said: list[str] = []

    verdict = conclude(plan, search, say=said.append)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
    events = scripted.events(plan.folder, "verified")
    assert [(event["hash"], event["passed"]) for event in events] == [(WINNER.hash, False), (LARGER.hash, True)]
    assert [words.partition(" parameters")[0] for words in said] == ["verifying: 86", "missed: 86", "verifying: 162"]
    kept = {there.hash: there for there in record.read_all(plan.workspace.records)}
    assert kept.keys() == {WINNER.hash, LARGER.hash}
    assert [found.attempt for key in (WINNER, LARGER) if (found := kept[key.hash].found) is not None] == [1, 2]
    document = json.loads(json.dumps(outcome_of(plan, search, verdict, {}).document(tmp_path / "report.html")))
    assert (document["reached"], document["winner"]["hash"], document["last_words"]) == (True, LARGER.hash, None)
    assert [(each["hash"], each["passed"]) for each in document["missed"]] == [(WINNER.hash, False)]
    # The same command finds all done.
    seeds.asked.clear()
    again = conclude(plan, search)
    assert again is not None
    assert (again.row, seeds.asked) == (verdict.row, [])


def test_where_all_that_stand_miss_each_is_verified_once(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER, LARGER)
    plan, search = searched(tmp_path)

    for _ in range(2):
        verdict = conclude(plan, search)

        assert verdict is not None
        assert (verdict.record.architecture, verdict.passed) == (LARGER, False)
        assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
        assert len(scripted.events(plan.folder, "winner", "verified")) == 4


def test_a_further_network_for_which_there_is_no_time_is_postponed(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    missing = seeds.watch
    plan, search = searched(tmp_path)

    def spending(job: Job) -> None:
        missing(job)
        search.before += 12.0

    seeds.watch = spending
    search.effort = replace(search.effort, seconds=search.elapsed + 70.0)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (WINNER, False)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5
    last = scripted.events(plan.folder)[-1]
    assert (last["event"], last["hash"]) == ("postponed", LARGER.hash)
    # With more time it goes on there.
    search.effort = replace(search.effort, seconds=None)
    seeds.watch = missing
    verdict = conclude(plan, search)
    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


@pytest.mark.parametrize("noted", [False, True])
def test_a_search_that_is_killed_between_two_verifications_goes_on_with_the_second(
    noted: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    misses(seeds, WINNER)
    plan, search = searched(tmp_path)

    def killed(search: Search) -> None:
        if noted:
            loop.choose(search)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finish, "choose", killed)
        with pytest.raises(Killed):
            conclude(plan, search)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5

    verdict = conclude(plan, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


# What is said -----------------------------------------------------------------------------------------------


def test_a_smaller_network_that_was_confirmed_and_had_no_time_is_named_after_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = searched(tmp_path)
    small = next(each for each in search.candidates.values() if each.proposal.hash == WINNER.hash)
    slow = [replace(run, train_seconds=1_000.0) for run in small.fresh]
    small.first, small.fresh = replace(slow[0], purpose=Purpose.SEARCH), slow
    search.effort = replace(search.effort, seconds=search.elapsed + 300.0)
    # Now that less time is left.
    assert loop.choose(search) is not None

    end = outcome_of(plan, search, conclude(plan, search), {})

    assert end.verdict is not None
    assert (end.verdict.record.hash, end.verdict.passed) == (LARGER.hash, True)
    assert end.waiting is not None
    assert end.waiting.hash == WINNER.hash


def test_a_smaller_network_that_misses_after_an_answer_leaves_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, search = searched(tmp_path)
    trial = next(each.proposal.trial for each in search.candidates.values() if each.proposal.hash == LARGER.hash)
    search.verdicts[trial] = Verified(hash=LARGER.hash, recipe_hash=scripted.RECIPE_HASH, passed=True)

    conclude(plan, search)

    there = {each.hash: each for each in record.read_all(plan.workspace.records)}
    found = there[WINNER.hash].found
    assert found is not None
    assert found.attempt == 2
    assert scripted.events(plan.folder, "winner")[-1]["hash"] == LARGER.hash
