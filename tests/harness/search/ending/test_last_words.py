"""What a search says that ends without an answer: what stood in the way, and a command that gets further."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from harness.evidence.bounds import ErrorRatio
from harness.evidence.events import Entry, Event
from harness.evidence.leaderboard import row_of_record
from harness.evidence.record import Record
from harness.evidence.study import StudyConfig
from harness.evidence.verify import Verdict
from harness.search.clock import Effort
from harness.search.ending.end import Answered, End, Exhausted, Missed, Postponed, RanOut, end_of
from harness.search.ending.last_words import LastWords, Searched, last_words
from harness.search.nearest_miss import NearestMiss
from harness.system.terminal import DURATION
from harness.training.result import Status
from harness.training.workers import Limits
from search_spaces.space import Metric
from tests.harness import logged, scripted
from tests.wording import lacking

OFFSET = ErrorRatio(dataset="mnist", errors_ratio=0.8, relative_error=None, protocol="made up")
GIVEN = {"--budget": "4000", "--space": "tiny", "--study": "mine"}
SEARCHED = Searched(
    config=scripted.config(budget=4000, target_pct=99.4, threshold_pct=OFFSET.threshold_pct(99.4), space="tiny"),
    effort=scripted.effort(seconds=600.0, trials=None, limits=Limits(seconds=90.0, memory_mb=64.0)),
    offset=OFFSET,
    elapsed=250.0,
    trained=38,
    failed={},
    pruned=0,
    allowed=600.0,
    given=GIVEN,
)
# 99.4 % on the test images are 75 errors on validation.
NEAREST = NearestMiss(
    trial=3, hash="0" * 12, parameters=2140, epochs=30, errors=77, runs=1, allowed=75, size=10_000, cost=2140
)


def said(end: End, nearest: NearestMiss | None = NEAREST, **changes: Any) -> LastWords:
    """Return what is said where the search, its configuration or its effort differs from ``SEARCHED`` by this."""
    config = {each.name: changes.pop(each.name) for each in fields(StudyConfig) if each.name in changes}
    effort = {each.name: changes.pop(each.name) for each in fields(Effort) if each.name in changes}
    changes.setdefault("allowed", effort.get("seconds", SEARCHED.effort.seconds))
    searched = replace(SEARCHED, config=replace(SEARCHED.config, **config), effort=replace(SEARCHED.effort, **effort))
    return last_words(end, replace(searched, **changes), nearest)


def options(words: LastWords) -> dict[str, str]:
    """Return the options of a command and their values."""
    program, command, *rest = shlex.split(words.command)
    assert (program, command) == ("harness", "search")
    return dict(zip(rest[::2], rest[1::2], strict=True))


# Time and trials --------------------------------------------------------------------------------------------


def test_more_time_goes_on_with_the_same_study():
    words = said(RanOut("time"), elapsed=603.0)

    assert words.why == "time"
    assert options(words) == GIVEN | {"--time": "20m"}


def test_after_an_answer_a_smaller_network_that_passed_once_is_named():
    passed = replace(NEAREST, errors=60)

    words = said(Answered(passed, "time"), None, elapsed=603.0)
    few = said(Answered(passed, "trials"), None, trials=40, seconds=None)

    assert words.why == "time"
    assert options(words) == GIVEN | {"--time": "20m"}
    assert "2,140 parameters, 60 errors, 75 allowed" in " ".join(words.sentences)
    assert (few.why, options(few)) == ("trials", GIVEN | {"--trials": "80"})


def test_the_nearest_and_the_number_of_trained_networks_are_told():
    told = " ".join(said(RanOut("time")).sentences)
    assert "38 networks" in told
    assert "2,140 parameters, 77 errors, 75 allowed" in told
    assert "99.25 %" in told

    first = said(RanOut("time"), None, trained=1)
    assert "1 network was" in " ".join(first.sentences)
    assert "nearest" not in " ".join(first.sentences)


def test_a_time_that_was_given_is_replaced_in_its_place():
    words = said(RanOut("time"), given={"--time": "10m", "--seed": "4"}, seed=4)

    assert list(options(words).items()) == [("--time", "20m"), ("--seed", "4")]


def test_the_time_named_is_more_than_an_earlier_session_has_used():
    found = options(said(RanOut("time"), seconds=60.0, elapsed=650.0))

    assert DURATION.convert(found["--time"], None, None) == 1200.0


def test_more_trials_bring_more_time_where_that_would_not_last():
    words = said(RanOut("trials"), trials=38)
    assert words.why == "trials"
    assert options(words) == GIVEN | {"--trials": "76"}

    assert options(said(RanOut("trials"), trials=38, elapsed=301.0)) == GIVEN | {"--trials": "76", "--time": "20m"}
    assert options(said(RanOut("trials"), trials=38, seconds=None)) == GIVEN | {"--trials": "76"}


@pytest.mark.parametrize("of", ["time", "trials"])
def test_after_a_search_that_stayed_far_from_the_target_larger_networks_are_searched_not_more_small_ones(of: Any):
    far = replace(NEAREST, errors=340)

    words = said(RanOut(of), far, trials=38)

    assert words.why == "space"
    assert options(words) == {"--budget": "8000", "--space": "tiny"}
    # What was stopped early would have ended with fewer errors.
    assert said(RanOut(of), replace(far, pruned_after=4), trials=38).why == of
    # Where the nearest has less than half of the budget, larger networks were allowed anyway.
    assert said(RanOut(of), replace(far, cost=900), trials=38).why == of


def test_a_postponed_verification_is_given_the_minutes_that_it_needs():
    words = said(Postponed("abc", 1234, 661.0), None)

    assert words.why == "time"
    assert options(words) == GIVEN | {"--time": "12m"}
    assert lacking(words.sentences[0], "1,234 parameters", "6 min 51 s", "5 min 50 s were left") == []


# The space --------------------------------------------------------------------------------------------------


def test_where_the_budget_binds_a_larger_one_is_searched_as_a_study_of_another_name():
    words = said(Exhausted("none of 20,000 draws"))

    assert words.why == "space"
    assert options(words) == {"--budget": "8000", "--space": "tiny"}
    assert "none of 20,000 draws" in words.sentences[0]


def test_where_the_budget_does_not_bind_the_widest_space_is_searched():
    small = replace(NEAREST, parameters=1900, cost=1900)

    assert options(said(Exhausted(""), small)) == {"--budget": "4000", "--space": "all"}
    # What has every form already is searched among larger networks.
    assert options(said(Exhausted(""), small, space="all", given={})) == {"--budget": "8000"}


def test_where_multiply_adds_are_minimised_their_limit_is_doubled():
    given = {"--minimise": "macs", "--limit": "receptive_field >= 20,macs <= 300000"}
    words = said(Exhausted(""), None, minimise=Metric.MACS, most=300_000, given=given)

    assert options(words) == {"--minimise": "macs", "--limit": "receptive_field >= 20,macs<=600000"}
    assert "at most 300,000 multiply-adds" in " ".join(words.sentences)


def test_without_any_near_miss_a_larger_budget_is_searched():
    assert options(said(Exhausted(""), None))["--budget"] == "8000"


def test_in_the_second_half_of_the_time_it_was_the_time_that_kept_networks_away():
    words = said(Exhausted(""), replace(NEAREST, errors=500), elapsed=301.0)

    assert words.why == "time"
    assert options(words) == GIVEN | {"--time": "20m"}
    assert said(Exhausted(""), seconds=None, elapsed=1e6).why == "space"


def test_time_that_is_left_but_too_short_is_not_called_used_up():
    early, late = (said(RanOut("time"), elapsed=elapsed).sentences[0] for elapsed in (540.0, 600.4))

    assert "1 min" in early
    assert ("used up" in early, "used up" in late) == (False, True)


def test_trainings_that_were_stopped_early_are_told_apart():
    assert "2 networks were trained (1 of them stopped early" in said(RanOut("time"), trained=2, pruned=1).sentences[0]
    assert "1 network was trained (stopped early" in said(RanOut("time"), trained=1, pruned=1).sentences[0]


def test_after_another_session_of_more_time_the_same_time_is_named():
    assert options(said(RanOut("time"), seconds=60.0, elapsed=650.0, allowed=700.0))["--time"] == "23m20s"


def test_a_search_whose_first_training_did_not_end_says_so():
    assert "no training came to its end" in said(RanOut("time"), None, trained=0, elapsed=600.0).sentences[0]


# Limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "limit", "words"),
    [
        (Status.OUT_OF_MEMORY, {"--trial-memory": "128"}, "2 trainings ended out of memory"),
        (Status.TIMED_OUT, {"--trial-time": "3m"}, "2 trainings ended at the time limit"),
    ],
)
def test_where_a_limit_has_ended_every_training_it_is_raised_in_a_new_study(
    status: Status, limit: dict[str, str], words: str
):
    found = said(RanOut("trials"), None, trained=0, failed={status: 2})

    assert found.why == "limit"
    assert options(found) == {"--budget": "4000", "--space": "tiny", "--seed": "1"} | limit
    assert f"no training came to its end in 4 min 10 s, {words}" in found.sentences[0]
    # Where something could be trained, the limit is but mentioned.
    some = said(RanOut("trials"), trials=40, trained=38, failed={status: 2})
    assert words in some.sentences[0]
    assert options(some) == GIVEN | {"--trials": "80"}


def test_a_larger_limit_does_not_help_against_crashes():
    found = said(RanOut("time"), None, trained=0, failed={Status.CRASHED: 1})

    assert "1 training crashed" in found.sentences[0]
    assert options(found) == GIVEN | {"--time": "20m"}


# The target -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "least"), [("mnist-5k", "3m"), ("mnist", "10m")])
def test_a_time_too_short_for_an_answer_is_not_advised(dataset: str, least: str):
    given = {"--time": "20s"}
    larger = said(Exhausted("no further network"), None, dataset=dataset, seconds=20.0, elapsed=3.0, given=given)
    longer = said(RanOut("time"), None, dataset=dataset, seconds=20.0, elapsed=20.0, given=given)

    assert options(larger) == {"--time": least, "--budget": "8000"}
    assert "time enough" in larger.advice
    assert options(longer) == {"--time": least}


def test_a_target_that_is_missed_by_far_gives_way_to_one_in_reach():
    # Of 75 errors, 112 are less than half more.
    assert said(Exhausted(""), replace(NEAREST, errors=112)).why == "space"
    words = said(Exhausted(""), replace(NEAREST, errors=200))

    assert words.why == "target"
    # 200 errors and 8 % are 216 on validation, 0.8 times as many on the test images: 98.272 %.
    assert options(words) == {"--budget": "4000", "--space": "tiny", "--target": "98.27"}


def test_where_every_image_is_wrong_the_target_is_what_asks_for_nothing():
    # 80 errors on the test images for each hundred on validation: 20 % asks for 0 % there.
    assert options(said(Exhausted(""), replace(NEAREST, errors=10_000)))["--target"] == "20"


@pytest.mark.parametrize("errors", [120, 1000, 9000])
def test_the_target_in_reach_allows_the_nearest_its_errors(errors: int):
    found = options(said(Exhausted(""), replace(NEAREST, errors=errors)))
    target = float(found["--target"])

    assert 0 <= target < 99.4
    assert OFFSET.threshold_pct(target) <= 100 - errors / 100 + 1e-9


# Verification -----------------------------------------------------------------------------------------------


def test_a_winner_that_missed_its_verification_says_by_how_many_errors_and_another_seed():
    words = said(Missed("ab", 63.4, 60.0, 6, False), None, seed=2)

    assert words.why == "verification"
    assert options(words) == {"--budget": "4000", "--space": "tiny", "--seed": "3"}
    assert "63.4 test errors over 6 seeds" in words.sentences[0]
    assert ", 3.4 more" in words.sentences[0]


def test_a_mean_at_the_target_that_proves_too_little_gets_more_seeds():
    words = said(Missed("ab12", 59.0, 60.0, 6, False), None)

    assert words.why == "verification"
    assert words.arguments == ("verify", "ab12", "--seeds", "10")
    assert "more than" not in words.sentences[0]


def test_seeds_that_contradict_their_record_missed_by_no_number():
    (first, *_) = said(Missed("ab", 58.0, 60.0, 6, True), None).sentences

    assert "more than" not in first
    assert "record" in first


# How it ended -----------------------------------------------------------------------------------------------


def test_the_journal_says_how_a_search_ended():
    def ended(reason: str, message: str = "") -> list[Entry[Event]]:
        return [logged.entry("session"), logged.entry("ended", 90.0, message=message, reason=reason)]

    assert end_of(ended("time"), None) == RanOut("time")
    assert end_of(ended("trials"), None) == RanOut("trials")
    assert end_of(ended("exhausted", "no more"), None) == Exhausted("no more")
    postponed = logged.entry("postponed", 91.0, hash="abc", parameters=1234, seconds=9.0)
    assert end_of([*ended("time"), postponed], None) == Postponed("abc", 1234, 100.0)


def test_after_a_miss_the_network_that_waits_for_its_verification_is_the_way_on(new_record: Callable[..., Record]):
    record = new_record([62, 64, 66, 60, 63])
    postponed = logged.entry("postponed", 91.0, hash="abc", parameters=1234, seconds=9.0)
    missed = Verdict(record, row_of_record(record), record.seeds, (), False)

    found = end_of([logged.entry("session"), logged.entry("ended", 90.0, reason="time"), postponed], missed)

    assert found == Postponed("abc", 1234, 100.0)


def test_a_verdict_says_whether_there_is_an_answer(new_record: Callable[..., Record]):
    def verdict(*errors: int) -> Verdict:
        record = new_record(list(errors))
        return Verdict(record, row_of_record(record), record.seeds, (), False)

    assert end_of([], verdict(50, 52, 54, 50, 51)) is None
    missed = end_of([], verdict(62, 64, 66, 60, 63))
    assert isinstance(missed, Missed)
    assert (missed.errors, missed.seeds) == (63.0, 5)
    assert missed.allowed == pytest.approx(60.0)
