"""The committed results were measured with the present code, and docs/evidence/measurements.md contains the results."""

from __future__ import annotations

import json
from pathlib import Path

from measurements import chaos, coordinator, main_job, throughput
from tests.conftest import REPOSITORY
from tests.study_logs import write_event

PAGE = (REPOSITORY / "docs" / "evidence" / "measurements.md").read_text(encoding="utf-8")
MAIN_JOB = json.loads(main_job.RESULTS.read_text(encoding="utf-8"))


def test_main_job_was_measured_with_present_defaults():
    """If this fails, measure again with ``python -m measurements.main_job``."""
    assert MAIN_JOB["configuration"] == main_job.configuration()


def test_main_job_searches_have_clean_commit_and_unique_seeds():
    for search in MAIN_JOB["searches"]:
        case, facts = main_job.CASES[search["case"]], search["machine"]
        assert search["seed"] in case.seeds
        assert search["arguments"][: 1 + len(case.options.split())] == ["search", *case.options.split()]
        assert (len(facts["commit"]), facts["dirty"]) == (40, False)
    keys = [(search["case"], search["seed"]) for search in MAIN_JOB["searches"]]
    assert len(keys) == len(set(keys)) == sum(len(case.seeds) for case in main_job.CASES.values())


def test_main_job_uses_no_seed_of_the_prior():
    lines = map(json.loads, (REPOSITORY / "measurements" / "results" / "trainings.jsonl").read_text().splitlines())
    prior_seeds = {line["study_seed"] for line in lines if line.get("purpose", "reference") != "reference"}
    seeds = [seed for case in main_job.CASES.values() for seed in case.seeds]

    assert prior_seeds
    assert not prior_seeds & set(seeds)
    assert len(set(seeds)) == len(seeds)


def test_outcome_has_costs_of_incumbents(tmp_path: Path):
    write_event(tmp_path / "runs" / "study", "confirmed", 2.0, trial=3, parameters=90)
    write_event(tmp_path / "runs" / "study", "refuted", 3.0, trial=3)
    (tmp_path / "stdout.json").write_text('{"winner": null, "reached": false}')

    assert main_job.outcome(tmp_path)["sizes"] == [(2.0, 90), (3.0, None)]


def test_misses_names_each_missed_requirement():
    row = next(each for each in MAIN_JOB["searches"] if each["case"] == "10m") | {"sizes": [[30.0, 6_000]]}
    unconfirmed: dict[str, object] = {"winner": None, "reached": False, "sizes": []}

    assert main_job.misses(row) == []
    assert main_job.misses(row | {"winner": row["winner"] | {"parameters": 6_001}}) == ["more than 6,000 parameters"]
    assert main_job.misses(row | {"sizes": [[60.1, 6_000]]}) == ["nothing confirmed in time"]
    assert main_job.misses(row | unconfirmed) == ["no answer", "nothing confirmed in time"]


def test_page_contains_committed_results():
    results = REPOSITORY / "measurements" / "results"
    sections = {
        "main job": main_job.current(),
        "faults": chaos.table(json.loads((results / "chaos.json").read_bytes())),
        "coordinator": coordinator.table(json.loads((results / "coordinator.json").read_bytes())["costs"]),
        "roofline": throughput.section(json.loads((results / "roofline.json").read_bytes())),
    }
    assert [name for name, section in sections.items() if section not in PAGE] == []
