"""What a measured search is worth, which ones are missing, and the file that keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.main_job_results import Results, missing, read, tidied, verdict, with_search, write
from harness.system.errors import ContentError
from tests.benchmarks.measured import CASES, CONFIGURATION, how, outcome, search

EMPTY = Results(configurations={}, searches=())
GOOD = outcome(2_500, ((100.0, 7_000), (300.0, 2_500)))


def test_an_answer_that_is_small_enough_and_begins_soon_enough_is_met():
    found = verdict(CASES["long"], GOOD)

    assert (found.met, found.missed, found.goal_met) == (True, (), False)
    assert verdict(CASES["long"], outcome(2_000, ((240.0, 2_000),))).goal_met is True
    assert verdict(CASES["short"], outcome(8_000, ((240.0, 8_000),))).met
    assert verdict(CASES["short"], GOOD).goal_met is None


def test_every_miss_is_named():
    late = verdict(CASES["short"], outcome(8_001, ((240.1, 8_001),)))
    none = verdict(CASES["long"], outcome(None))
    crashed = verdict(CASES["long"], outcome(None, ((1.0, 2_000),), exit_code=1))
    unproven = verdict(CASES["crowded"], replace(GOOD, reached=False, exit_code=3))
    any_answer = verdict(CASES["crowded"], outcome(9_000, ((900.0, 9_000),)))

    assert (late.met, late.missed) == (False, ("more than 8,000 parameters", "nothing stood within 240 s"))
    assert (none.missed, none.goal_met) == (("no answer", "nothing stood"), False)
    assert crashed.missed == ("no answer, exit code 1",)
    assert unproven.missed == ("no answer",)
    assert any_answer.met


def test_what_was_measured_with_these_defaults_and_options_is_not_missing():
    results = with_search(EMPTY, search("short", 1, GOOD), CONFIGURATION)
    results = with_search(results, search("long", 0, GOOD, options=("--time", "57m")), CONFIGURATION)

    assert missing(EMPTY, CASES, CONFIGURATION) == [("short", 0), ("short", 1), ("long", 0), ("crowded", 4)]
    assert missing(results, CASES, CONFIGURATION) == [("short", 0), ("long", 0), ("crowded", 4)]
    assert len(missing(results, CASES, CONFIGURATION | {"threshold_pct": 99.4})) == 4


def test_a_search_that_other_programs_slowed_down_is_kept_and_stays_missing():
    slow, alone = replace(GOOD, processor_share=0.89), replace(GOOD, processor_share=0.9)
    results = with_search(EMPTY, search("short", 0, GOOD), CONFIGURATION)
    results = with_search(results, search("short", 0, slow), CONFIGURATION)
    results = with_search(results, search("short", 1, slow), CONFIGURATION)
    results = with_search(results, search("long", 0, alone), CONFIGURATION)
    results = tidied(with_search(results, search("crowded", 4, slow), CONFIGURATION), CASES)

    assert missing(results, CASES, CONFIGURATION) == [("short", 1)]
    assert [each.key for each in results.disturbed] == [("short", 0), ("short", 1)]
    assert tidied(results, {"long": CASES["long"]}).disturbed == ()


def test_an_older_search_stays_until_the_new_one_is_there():
    measured = search("short", 1, GOOD, configuration="0ld")
    old = Results(configurations={"0ld": {"old": True}}, searches=(measured,))

    one = tidied(with_search(old, search("short", 0, GOOD), CONFIGURATION), CASES)
    both = tidied(with_search(one, search("short", 1, GOOD), CONFIGURATION), CASES)

    assert [each.configuration == "0ld" for each in one.searches] == [False, True]
    assert len(one.configurations) == 2
    assert [each.key for each in both.searches] == [("short", 0), ("short", 1)]
    assert list(both.configurations.values()) == [CONFIGURATION]


def test_what_was_carried_over_goes_with_the_last_search_that_it_is_about():
    first, second, other = how(old="a", new="b"), how(old="b", new="c"), how(old="x", new="y")
    results = replace(
        EMPTY,
        searches=(search("short", 0, GOOD, configuration="c"),),
        configurations={"c": CONFIGURATION},
        carried=(first, other, second),
    )

    assert tidied(results, CASES).carried == (first, second)
    assert tidied(replace(results, searches=()), CASES).carried == ()


def test_results_are_in_the_order_of_the_cases_and_judged_by_them():
    results = EMPTY
    for case, seed in (("crowded", 4), ("long", 0), ("short", 0)):
        results = with_search(results, search(case, seed, GOOD), CONFIGURATION)
    stricter = {"short": CASES["short"], "long": replace(CASES["long"], most_parameters=1_000)}

    found = tidied(results, stricter)

    assert [(each.case, each.verdict.met) for each in found.searches] == [("short", True), ("long", False)]


def test_the_file_reads_back_as_what_was_written(tmp_path: Path):
    path = tmp_path / "results.json"
    results = with_search(EMPTY, search("short", 1, outcome(None, ((1.5, 9_000), (2.5, None)))), CONFIGURATION)
    results = with_search(results, search("long", 0, GOOD), CONFIGURATION)

    assert read(path) == EMPTY
    write(path, results)
    assert read(path) == results
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 1', '"seed": "1"'), encoding="utf-8")
    with pytest.raises(ContentError, match="seed"):
        read(path)
