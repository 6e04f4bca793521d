"""Tables of the main job: a line a case, a line a search, nothing hidden."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.main_job_results import Case, Results
from benchmarks.main_job_tables import section, summary
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


def test_every_search_has_a_line_one_that_was_not_run_too():
    lines = section(RESULTS, CASES, {}, NONE).splitlines()

    assert lines[1:] == [
        "",
        "| search | seed | first network confirmed after | its parameters | after 5 min | after 10 min | after 20 min "
        "| after 40 min | parameters of the answer | its test accuracy, % | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| short | 0 | | | | | | | | | not run |",
        "| short | 1 | 250 s | 9,000 | none |  |  |  | none |  | missed: no answer, nothing stood within 240 s |",
        "| long | 0 | 100 s | 7,000 | 7,000 | 4,000 | 4,000 | 1,900 | 1,900 | 99.450 ± 0.040 (6 seeds) "
        "| met, and the goal (verified) |",
        "| crowded | 4 | never | none | none |  |  |  | none |  | missed: no answer, nothing stood |",
    ]
    assert {line.count("|") for line in lines[2:]} == {12}


def test_what_is_asked_and_where_it_was_measured_stands_above():
    head = section(RESULTS, CASES, {}, NONE).splitlines()[0]

    assert head.startswith("1 of 3 searches")
    assert "1 more" in head
    for part in ("240 s", "8,000", "3,000", "2,000", "`--time 20m --workers 1` beside another busy process"):
        assert part in head
    assert "2 cores of a processor (x86) with 131 GFLOP/s" in head
    assert "1 core of another (other) with 266 GFLOP/s of fp32." in head
    assert "both workers of a search shared one core" in head


def test_it_is_said_how_many_networks_the_answers_are_and_which_were_known():
    same = [search("short", seed, outcome(7_000)) for seed in (0, 1)]
    results = Results(configurations={}, searches=(*same, search("long", 0, outcome(1_900))))
    other = replace(winner(1_900), hash="b2")
    results = replace(
        results, searches=(*same, replace(results.searches[2], outcome=replace(outcome(1_900), winner=other)))
    )

    for said in (section(results, CASES, {}, frozenset({"a1"})), summary(results, CASES, frozenset({"a1"}))):
        assert "The 3 answers are 2 different networks, " in said
        assert "2 verifications." in said
        assert " hold 1 of these networks." in said
    assert " answers are " not in section(RESULTS, {"crowded": CASES["crowded"]}, {}, NONE)


def test_it_is_said_that_searches_count_for_later_code():
    head = section(replace(RESULTS, carried=(how(), how())), CASES, {}, NONE).splitlines()[0]

    assert "14 of 14 are equal" in head
    assert "replayed" not in section(RESULTS, CASES, {}, NONE)


def test_disturbed_searches_are_counted_but_have_no_line():
    slow = (search("short", 0, outcome(7_000, ((9.0, 7_000),))), search("short", 0, outcome(None)))
    told = section(replace(RESULTS, disturbed=slow), CASES, {}, NONE)

    assert "2 searches, of which 1 met" in told.splitlines()[0]
    assert told.splitlines()[1:] == section(RESULTS, CASES, {}, NONE).splitlines()[1:]


def test_without_results_there_is_one_sentence():
    made = section(Results(configurations={}, searches=()), CASES, {}, NONE)

    assert made.count("\n") == 1
    assert "python -m benchmarks.main_job" in made


def test_compared_searches_have_a_table_of_answers_by_seed_and_are_not_counted():
    compared = {
        "without": Case(options=("--prior", "none"), seeds=(0, 1)),
        "other": Case(options=("-x",), seeds=(0, 1)),
    }
    missed = search("short", 1, outcome(None))
    found = [
        search("short", 0, outcome(7_000, ((90.0, 7_000),))),
        missed,
        replace(missed, case="without"),
        replace(search("short", 0, outcome(9_100)), case="without"),
        replace(search("short", 0, outcome(5_000)), case="other", configuration="by other defaults"),
        replace(missed, case="other", machine=MACHINE),
    ]

    made = section(Results(configurations={}, searches=tuple(found)), CASES, compared, NONE)

    assert made.startswith("1 of 2 searches")
    assert made.splitlines()[-4:] == [
        "| options | seed 0 | seed 1 |",
        "| --- | --- | --- |",
        "| `--time 10m` | 7,000 | none |",
        "| `--prior none` | 9,100 | none |",
    ]


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


def test_a_network_that_was_verified_and_missed_is_told_from_none():
    missed = replace(search("short", 0, replace(outcome(2_500), reached=False)), case="without")
    results = Results(configurations={}, searches=(search("short", 0, outcome(7_000)), missed))
    compared = {"without": Case(options=("--prior", "none"), seeds=(0,))}

    assert "| `--prior none` | missed (2,500) |" in section(results, CASES, compared, NONE)


def test_an_answer_whose_bound_is_below_the_target_counts_as_met_but_not_as_verified():
    weak = outcome(2_500)
    weak = replace(weak, winner=replace(winner(2_500), tier=Tier.AT_TARGET), first_standing_seconds=90.0, missed=1)
    results = Results(configurations={}, searches=(search("long", 0, weak),))

    assert "| met, not the goal (at the target, after 1 network that missed) |" in section(results, CASES, {}, NONE)
    assert "| 1 of 1 | 1 | 0 | 2,500 (2,500) |" in summary(results, CASES, NONE)


def test_the_summary_names_a_case_that_was_not_run():
    assert "| 0 of 2 | | | |" in summary(RESULTS, {"other": Case(options=("-x",), seeds=(0, 1)), **CASES}, NONE)
