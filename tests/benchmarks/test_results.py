"""The committed results rest on what is measured, and docs/measurements.md shows them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks import chaos, coordinator, main_job, throughput
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "measurements.md").read_text(encoding="utf-8")
MAIN_JOB = json.loads(main_job.RESULTS.read_text(encoding="utf-8"))


def test_the_main_job_was_measured_with_the_defaults_of_this_code():
    """Where it was not, ``python -m benchmarks.main_job`` measures it again."""
    assert MAIN_JOB["configuration"] == main_job.configuration()


def test_every_search_of_the_main_job_names_its_code_and_counts_once():
    cases = main_job.CASES
    for each in MAIN_JOB["searches"]:
        case, facts = cases[each["case"]], each["machine"]
        assert each["seed"] in case.seeds
        assert each["arguments"][: 1 + len(case.options.split())] == ["search", *case.options.split()]
        assert len(facts["commit"]) == 40
        assert not facts["dirty"]
    counted = [(each["case"], each["seed"]) for each in MAIN_JOB["searches"]]
    assert len(counted) == len(set(counted)) == sum(len(case.seeds) for case in cases.values())


def test_no_seed_of_the_main_job_is_one_whose_trainings_the_prior_has_learned_from():
    lines = map(json.loads, (REPOSITORY / "benchmarks" / "results" / "trainings.jsonl").read_text().splitlines())
    learned = {line["study_seed"] for line in lines if line.get("purpose", "reference") != "reference"}
    seeds = [seed for case in main_job.CASES.values() for seed in case.seeds]

    assert learned
    assert not learned & set(seeds)
    assert len(set(seeds)) == len(seeds)


def test_what_a_search_misses_is_named():
    row = next(each for each in MAIN_JOB["searches"] if each["case"] == "10m") | {"sizes": [[30.0, 6_000]]}
    larger, late = dict(row["winner"], parameters=6_001), [[60.1, 6_000]]

    assert main_job.misses(row) == []
    assert main_job.misses(row | {"winner": larger}) == ["more than 6,000 parameters"]
    assert main_job.misses(row | {"sizes": late}) == ["nothing confirmed in time"]
    assert main_job.misses(row | {"winner": None, "reached": False, "sizes": []}) == [
        "no answer",
        "nothing confirmed in time",
    ]


@pytest.mark.parametrize("shown", ["main job", "faults", "coordinator", "roofline"])
def test_the_page_shows_the_committed_results(shown: str):
    results = REPOSITORY / "benchmarks" / "results"
    made: dict[str, Callable[[], str]] = {
        "main job": main_job.current,
        "faults": lambda: chaos.table(json.loads((results / "chaos.json").read_bytes())),
        "coordinator": lambda: coordinator.table(json.loads((results / "coordinator.json").read_bytes())["costs"]),
        "roofline": lambda: throughput.section(json.loads((results / "roofline.json").read_bytes())),
    }
    assert made[shown]() in PAGE
