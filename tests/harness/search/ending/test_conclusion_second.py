"""A winner that misses the target: a second network is verified, and both are told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands.searching.search_outcome import Outcome, outcome, outcome_document, outcome_text
from harness.evidence import record
from harness.evidence.events import Verified
from harness.search import loop as search
from harness.search.ending import conclusion
from harness.search.ending.conclusion import conclude
from harness.search.run_plan import SearchPlan
from harness.search.session import Session
from harness.training.result import Purpose
from harness.training.run import Job
from tests.harness import scripted
from tests.harness.concluded import LARGER, WINNER, misses, searched
from tests.harness.scripted import Trainer
from tests.harness.unrun import Seeds
from tests.wording import lacking


def told(plan: SearchPlan, session: Session) -> tuple[Outcome, str]:
    """Conclude a search, and return how it has ended and what is said of it."""
    end = outcome(plan, session, conclude(plan, session), {})
    return end, outcome_text(end)


def test_where_the_winner_misses_the_next_network_that_stands_is_verified(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, session = searched(tmp_path)
    said: list[str] = []

    verdict = conclude(plan, session, say=said.append)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
    events = scripted.events(plan.folder, "verified")
    assert [(event["hash"], event["passed"]) for event in events] == [(WINNER.hash, False), (LARGER.hash, True)]
    first, missed, second = said
    assert lacking(first, "verification of 86 parameters: 5 fresh seeds", "60,000 images", "10,000") == []
    assert missed == "86 parameters miss the target; next: 162 parameters"
    assert "verification of 162 parameters: 5 fresh seeds" in second
    kept = {there.hash: there for there in record.read_all(plan.workspace.records)}
    assert kept.keys() == {WINNER.hash, LARGER.hash}
    assert [found.attempt for key in (WINNER, LARGER) if (found := kept[key.hash].found) is not None] == [1, 2]
    # The same command finds all done.
    seeds.asked.clear()
    again = conclude(plan, session)
    assert again is not None
    assert (again.row, seeds.asked) == (verdict.row, [])


def test_where_all_that_stand_miss_each_is_verified_once(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER, LARGER)
    plan, session = searched(tmp_path)

    for _ in range(2):
        verdict = conclude(plan, session)

        assert verdict is not None
        assert (verdict.record.architecture, verdict.passed) == (LARGER, False)
        assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
        assert len(scripted.events(plan.folder, "winner", "verified")) == 4


def test_a_further_network_for_which_there_is_no_time_is_postponed(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    missing = seeds.watch
    plan, session = searched(tmp_path)

    def spending(job: Job) -> None:
        missing(job)
        session.before += 12.0

    seeds.watch = spending
    session.effort = replace(session.effort, seconds=session.elapsed + 70.0)

    verdict = conclude(plan, session)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (WINNER, False)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5
    last = scripted.events(plan.folder)[-1]
    assert (last["event"], last["hash"]) == ("postponed", LARGER.hash)
    # With more time it goes on there.
    session.effort = replace(session.effort, seconds=None)
    seeds.watch = missing
    verdict = conclude(plan, session)
    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("noted", [False, True])
def test_a_search_that_is_killed_between_two_verifications_goes_on_with_the_second(
    noted: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    misses(seeds, WINNER)
    plan, session = searched(tmp_path)

    def killed(session: Session) -> None:
        if noted:
            search.choose(session)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(conclusion, "choose", killed)
        with pytest.raises(Killed):
            conclude(plan, session)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5

    verdict = conclude(plan, session)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


# What is said -----------------------------------------------------------------------------------------------


def test_the_answer_is_said_with_the_network_that_missed(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    plan, session = searched(tmp_path)

    end, text = told(plan, session)

    answer, *_ = text.splitlines()
    assert "162 parameters" in answer
    assert lacking(text, "also verified, and missed", "86 parameters", "98.990 %", "5 seeds", WINNER.hash) == []
    document = json.loads(json.dumps(outcome_document(end, tmp_path / "report.html")))
    assert (document["reached"], document["winner"]["hash"]) == (True, LARGER.hash)
    assert [(each["hash"], each["passed"]) for each in document["missed"]] == [(WINNER.hash, False)]
    assert end.words is None


def test_a_network_that_waits_is_said_with_the_one_that_missed_also_the_second_time(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, session = searched(tmp_path)
    in_time(session, seeds)
    for _ in range(2):
        end, text = told(plan, session)

        assert end.words is not None
        assert end.words.why == "time"
        assert lacking(text, "98.990 %", "162 parameters are confirmed", "--time") == []
        assert "86 parameters" in text


def in_time(session: Session, seeds: Seeds) -> None:
    """Leave time for one verification, of which each seed takes twelve seconds."""
    missing: Callable[[Job], None] = seeds.watch

    def spending(job: Job) -> None:
        missing(job)
        session.before += 12.0

    seeds.watch = spending
    session.effort = replace(session.effort, seconds=session.elapsed + 70.0)


def test_a_smaller_network_that_was_confirmed_and_had_no_time_is_named_after_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, session = searched(tmp_path)
    small = next(each for each in session.candidates.values() if each.proposal.hash == WINNER.hash)
    slow = [replace(run, train_seconds=1_000.0) for run in small.fresh]
    small.first, small.fresh = replace(slow[0], purpose=Purpose.SEARCH), slow
    session.effort = replace(session.effort, seconds=session.elapsed + 300.0)
    scripted_choice(session)

    end, text = told(plan, session)

    assert end.verdict is not None
    assert (end.verdict.record.hash, end.verdict.passed) == (LARGER.hash, True)
    assert end.words is not None
    assert lacking(text, "162 parameters", "86 parameters are confirmed", "not verified", "--time") == []


def scripted_choice(session: Session) -> None:
    """Choose again, now that less time is left."""
    chosen = search.choose(session)
    assert chosen is not None
    assert chosen.hash == LARGER.hash


def test_a_smaller_network_that_misses_after_an_answer_leaves_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, session = searched(tmp_path)
    trial = next(each.proposal.trial for each in session.candidates.values() if each.proposal.hash == LARGER.hash)
    session.verdicts[trial] = Verified(hash=LARGER.hash, recipe_hash=scripted.RECIPE_HASH, passed=True)

    conclude(plan, session)

    there = {each.hash: each for each in record.read_all(plan.workspace.records)}
    found = there[WINNER.hash].found
    assert found is not None
    assert found.attempt == 2
    assert scripted.events(plan.folder, "winner")[-1]["hash"] == LARGER.hash
