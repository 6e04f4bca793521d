"""The committed results were measured with the present code, and docs/measurements.md contains the results."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks import chaos, coordinator, main_job, throughput
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "measurements.md").read_text(encoding="utf-8")
MAIN_JOB = json.loads(main_job.RESULTS.read_text(encoding="utf-8"))


def test_main_job_was_measured_with_present_defaults():
    """If this fails, measure again with ``python -m benchmarks.main_job``."""
    assert MAIN_JOB["configuration"] == main_job.configuration()


def test_main_job_searches_have_clean_commit_and_unique_seeds():
    cases = main_job.CASES
    for search in MAIN_JOB["searches"]:
        case, facts = cases[search["case"]], search["machine"]
        assert search["seed"] in case.seeds
        assert search["arguments"][: 1 + len(case.options.split())] == ["search", *case.options.split()]
        assert len(facts["commit"]) == 40
        assert not facts["dirty"]
    keys = [(search["case"], search["seed"]) for search in MAIN_JOB["searches"]]
    assert len(keys) == len(set(keys)) == sum(len(case.seeds) for case in cases.values())


def test_main_job_uses_no_seed_of_the_prior():
    lines = map(json.loads, (REPOSITORY / "benchmarks" / "results" / "trainings.jsonl").read_text().splitlines())
    prior_seeds = {line["study_seed"] for line in lines if line.get("purpose", "reference") != "reference"}
    seeds = [seed for case in main_job.CASES.values() for seed in case.seeds]

    assert prior_seeds
    assert not prior_seeds & set(seeds)
    assert len(set(seeds)) == len(seeds)


def test_misses_names_each_missed_requirement():
    row = next(each for each in MAIN_JOB["searches"] if each["case"] == "10m") | {"sizes": [[30.0, 6_000]]}
    larger, late = dict(row["winner"], parameters=6_001), [[60.1, 6_000]]

    assert main_job.misses(row) == []
    assert main_job.misses(row | {"winner": larger}) == ["more than 6,000 parameters"]
    assert main_job.misses(row | {"sizes": late}) == ["nothing confirmed in time"]
    assert main_job.misses(row | {"winner": None, "reached": False, "sizes": []}) == [
        "no answer",
        "nothing confirmed in time",
    ]


@pytest.mark.parametrize("section", ["main job", "faults", "coordinator", "roofline"])
def test_page_contains_committed_results(section: str):
    results = REPOSITORY / "benchmarks" / "results"
    sections: dict[str, Callable[[], str]] = {
        "main job": main_job.current,
        "faults": lambda: chaos.table(json.loads((results / "chaos.json").read_bytes())),
        "coordinator": lambda: coordinator.table(json.loads((results / "coordinator.json").read_bytes())["costs"]),
        "roofline": lambda: throughput.section(json.loads((results / "roofline.json").read_bytes())),
    }
    assert sections[section]() in PAGE
