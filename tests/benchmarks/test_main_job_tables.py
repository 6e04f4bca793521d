"""The table of the main job: a line a case, nothing hidden."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.main_job_results import Case, Results
from benchmarks.main_job_tables import summary
from harness.evidence.leaderboard_csv import Tier
from tests.benchmarks.measured import CASES, how, outcome, search, winner

NONE: frozenset[str] = frozenset()
MACHINE = {"processor": "another", "instructions": "other", "cores": 4}
RESULTS = Results(
    configurations={},
    searches=(
        search("short", 1, outcome(None, ((250.0, 9_000), (280.0, None)))),
        search("long", 0, outcome(1_900, ((100.4, 7_000), (600.0, 4_000), (2_399.0, 1_900)), seconds=2_400.0)),
        search("crowded", 4, outcome(None), peak_gflops=266.0, half_speed=True, machine=MACHINE),
    ),
)


def test_it_is_said_how_many_networks_the_answers_are_and_which_were_known():
    same = [search("short", seed, outcome(7_000)) for seed in (0, 1)]
    results = Results(configurations={}, searches=(*same, search("long", 0, outcome(1_900))))
    other = replace(winner(1_900), hash="b2")
    results = replace(
        results, searches=(*same, replace(results.searches[2], outcome=replace(outcome(1_900), winner=other)))
    )

    said = summary(results, CASES, frozenset({"a1"}))
    assert "The 3 answers are 2 different networks, " in said
    assert "2 verifications." in said
    assert " holds 1 of these networks." in said
    assert " answers are " not in summary(RESULTS, {"crowded": CASES["crowded"]}, NONE)


def test_it_is_said_that_searches_count_for_later_code():
    said = summary(replace(RESULTS, carried=(how(), how())), CASES, NONE)
    assert "of 14 replays" in said
    assert "14 are equal" in said
    assert "replays" not in summary(RESULTS, CASES, NONE)


def test_disturbed_searches_are_counted_but_have_no_line():
    slow = (search("short", 0, outcome(7_000, ((9.0, 7_000),))), search("short", 0, outcome(None)))
    told = summary(replace(RESULTS, disturbed=slow), CASES, NONE)
    assert "2 searches, of which 1 met" in told
    assert told.splitlines()[:-1] == summary(RESULTS, CASES, NONE).splitlines()[:-1]


def test_without_results_there_is_one_sentence():
    made = summary(Results(configurations={}, searches=()), CASES, NONE)

    assert made.count("\n") == 1
    assert "python -m benchmarks.main_job" in made


def test_the_summary_has_a_line_a_case_and_hides_no_miss():
    lines = summary(RESULTS, CASES, NONE).splitlines()

    assert [line.split(" | ")[1:5] for line in lines[2:5]] == [
        ["1 of 2", "0", "0", "none"],
        ["1 of 1", "1", "1", "1,900 (1,900)"],
        ["1 of 1", "0", "0", "none"],
    ]
    assert "266 GFLOP/s" in lines[-1]


def test_the_summary_says_how_many_answers_reach_a_goal():
    missed = replace(RESULTS, searches=(search("long", 0, outcome(2_001)),))

    assert "2,000 parameters with `--time 1h`, was reached by 1 of 1" in summary(RESULTS, CASES, NONE)
    assert "2,000 parameters with `--time 1h`, was reached by 0 of 1" in summary(missed, CASES, NONE)


def test_an_answer_whose_bound_is_below_the_target_counts_as_met_but_not_as_verified():
    weak = outcome(2_500)
    weak = replace(weak, winner=replace(winner(2_500), tier=Tier.AT_TARGET), first_standing_seconds=90.0, missed=1)
    results = Results(configurations={}, searches=(search("long", 0, weak),))

    assert "| 1 of 1 | 1 | 0 | 2,500 (2,500) |" in summary(results, CASES, NONE)


def test_the_summary_names_a_case_that_was_not_run():
    assert "| 0 of 2 | | | |" in summary(RESULTS, {"other": Case(options=("-x",), seeds=(0, 1)), **CASES}, NONE)
