"""A search that was killed at any moment resumes without loss or repetition of finished runs.

The trainings are simulated. Fault points are before, in and after each write, and at each exchange with a worker; the
slow test kills at every point.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from harness.data.datasets import dataset
from harness.searching import finder, optuna_sampler
from harness.searching.search_state import Search
from harness.studies.candidate import confirmed_by_cost
from harness.studies.config import StudyConfig
from harness.studies.events import Event
from harness.studies.log import StudyLog, read_state
from harness.studies.study_state import StudyState
from harness.system.errors import ContentError
from harness.training.executors.base import DataLocation, Limits
from harness.training.executors.processes import Processes
from harness.training.result import Status
from tests import searches
from tests.fakes import Trainer, killed_at

SMALL = {"trials": 9}
# Trial, purpose and index of the seed.
Run = tuple[int | None, str, int]


def results_of(folder: Path) -> dict[str, Any]:
    """Return proposals, winner and results of a search, without times."""
    omitted_keys = {"elapsed", "utc", "message"}
    kinds = ("proposed", "rejected", "repeated")
    return {
        **{kind: [_without(event, omitted_keys) for event in searches.events(folder, kind)] for kind in kinds},
        "winner": [_without(event, omitted_keys) for event in searches.events(folder, "winner")][-1:],
        "results": [
            (result.trial, result.purpose, result.seed_index, result.status, result.validation_errors)
            for result in searches.results(folder)
        ],
    }


def _without(event: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def finished_runs(folder: Path) -> set[Run]:
    return {(result.trial, result.purpose.value, result.seed_index) for result in searches.results(folder)}


def check_consistency(folder: Path) -> None:
    """Check that proposals are numbered, networks are distinct, and the log has each result once."""
    networks = [event["trial"] for event in searches.events(folder, "proposed")]
    assert networks == list(range(len(networks)))
    assert len({event["hash"] for event in searches.events(folder, "proposed")}) == len(networks)
    trained_trials = {result.trial for result in searches.results(folder)}
    assert trained_trials <= set(networks)
    runs = [(event["trial"], event["purpose"], event["seed_index"]) for event in searches.events(folder, "finished")]
    assert len(runs) == len(set(runs))
    assert set(runs) == finished_runs(folder)


def run_whole(folder: Path, trainer: Trainer, config: StudyConfig) -> tuple[dict[str, Any], int]:
    """Run a search to the end; return the results and the number of fault points."""
    trainer.points = 0
    searches.run(folder, config, searches.effort(**SMALL))
    points = trainer.points
    trainer.completed.clear()
    trainer.epochs_done.clear()
    return results_of(folder), points


@pytest.mark.parametrize(
    ("sampler", "stride"), [("random", 5), ("tpe", 29), ("nsga2", 29), ("evolution", 13), ("surrogate", 29)]
)
def test_search_killed_at_any_point_has_results_of_uninterrupted_search(
    sampler: str, stride: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # With a population of 4, some of the nine networks are children.
    monkeypatch.setattr(optuna_sampler, "_POPULATION", 4)
    if sampler == "surrogate":
        # The surrogate then draws and mutates networks instead of a full list, and few of them to save time.
        monkeypatch.setattr(finder, "_MAX_LISTED", 1)
        for name, number in {"_SURROGATE_DRAWS": 60, "_MAX_SURROGATE_ATTEMPTS": 160, "_PARENTS": 3}.items():
            monkeypatch.setattr(finder, name, number)
    config = searches.config(sampler=sampler)
    expected, points = run_whole(tmp_path / "whole", trainer, config)
    assert points > 150

    for point in range(1, points + 1, stride):
        folder = tmp_path / f"{point}" / "whole"
        with killed_at(trainer, point):
            searches.run(folder, config, searches.effort(**SMALL))
        finished_before, job_count = finished_runs(folder), len(trainer.jobs)
        searches.run(folder, config, searches.effort(**SMALL))

        assert results_of(folder) == expected, f"killed at point {point}"
        check_consistency(folder)
        check_trained_once(trainer, finished_before, job_count, expected)


@pytest.mark.slow
def test_search_killed_at_every_point_has_results_of_uninterrupted_search(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    test_search_killed_at_any_point_has_results_of_uninterrupted_search("tpe", 1, trainer, tmp_path, monkeypatch)


def check_trained_once(trainer: Trainer, finished_before: set[Run], job_count: int, expected: dict[str, Any]) -> None:
    """Check that no stored run was trained again, and at most a single run without a stored result."""
    later_runs = {(job.trial, job.purpose.value, job.seed_index) for job in trainer.jobs[job_count:]}
    complete = {entry[:3] for entry in expected["results"] if entry[3] == Status.COMPLETE}
    assert finished_before & later_runs == set()
    assert set(trainer.completed) == complete
    assert sum(trainer.completed.values()) <= len(complete) + 1
    trainer.completed.clear()
    trainer.epochs_done.clear()


@pytest.mark.parametrize("seed", range(3))
def test_search_killed_repeatedly_loses_no_run_and_ends(seed: int, trainer: Trainer, tmp_path: Path):
    config = searches.config(sampler="random", seed=seed)
    expected, _ = run_whole(tmp_path / "whole", trainer, config)
    moments, folder = random.Random(seed), tmp_path / "again" / "whole"
    finished_before: set[Run] = set()
    for _ in range(100):
        with killed_at(trainer, moments.randrange(1, 60)):
            searches.run(folder, config, searches.effort(**SMALL))
        assert finished_before <= finished_runs(folder), "a finished run was lost"
        finished_before = finished_runs(folder)
        if searches.events(folder, "ended"):
            break

    assert results_of(folder) == expected
    check_consistency(folder)


@pytest.mark.parametrize("point", range(5, 200, 15))
def test_killed_search_with_several_workers_loses_and_repeats_no_run(point: int, trainer: Trainer, tmp_path: Path):
    config, effort = searches.config(), searches.effort(trials=9, workers=3)
    with killed_at(trainer, point):
        searches.run(tmp_path, config, effort)
    finished_before, job_count = finished_runs(tmp_path), len(trainer.jobs)

    searches.run(tmp_path, config, effort)

    later_runs = {(job.trial, job.purpose.value, job.seed_index) for job in trainer.jobs[job_count:]}
    assert finished_before & later_runs == set()
    assert finished_before <= finished_runs(tmp_path)
    assert len(searches.events(tmp_path, "proposed")) == 9
    check_consistency(tmp_path)


def test_next_session_deletes_partial_files(trainer: Trainer, tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    # The user's file may have eight letters after a dot, too.
    for name in ("checkpoints/.harness-trial-0.pt.x1234567", ".harness-report.html.x1234567", ".x.template"):
        (tmp_path / name).touch()

    searches.run(tmp_path, searches.config(), searches.effort(trials=1))

    assert {path.name for path in tmp_path.rglob(".*")} == {".x.template"}


FACTS = ("ended_runs", "rejected", "repeat_count", "verdicts", "confirmations")


def state_of(search: Search) -> dict[str, Any]:
    """Return the parts of the state of a search that follow from the log."""
    return {
        "candidates": copy.deepcopy(search.state.candidates),
        "contenders": list(search.state.contenders),
        "incumbent": search.state.incumbent and search.state.incumbent.proposal.trial,
        "nearest": search.state.nearest,
        "timing": copy.deepcopy(search.timing),
        "ratios": copy.deepcopy(search.state.ratios),
        "confirmed": [each.proposal.trial for each in confirmed_by_cost([*search.state.candidates.values()])],
        **{name: copy.deepcopy(getattr(search.state, name)) for name in FACTS},
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_log_cut_after_any_line_gives_state_at_this_line(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected_states: list[dict[str, Any]] = []
    add = Search.add

    def add_and_store(self: Search, event: Event) -> None:
        add(self, event)
        expected_states.append(state_of(self))

    monkeypatch.setattr(Search, "add", add_and_store)
    config, effort = searches.config(seed=2), searches.effort(trials=14, workers=workers)
    searches.run(tmp_path / "whole", config, effort)
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == len(expected_states) > 50
    assert any(expected["incumbent"] is not None for expected in expected_states)
    monkeypatch.undo()

    cut_folder = tmp_path / "cut" / "whole"
    cut_folder.mkdir(parents=True)
    for count, expected in enumerate(expected_states, start=1):
        # The kill leaves half of the next line.
        half_line = lines[count][: len(lines[count]) // 2] if count < len(lines) else ""
        (cut_folder / "log.jsonl").write_text("".join(lines[:count]) + half_line)
        log = StudyLog(cut_folder)
        study_state = log.recover_into(StudyState(cut_folder, config))
        executor = Processes(DataLocation("mnist", None), Limits())
        search = Search(study_state, effort, executor, Mock(spec=[]), data=dataset("mnist"), log=log)
        assert (cut_folder / "log.jsonl").read_text() == "".join(lines[:count])
        assert state_of(search) == expected


@pytest.mark.parametrize("line", ['{"event": "proposed"}', '{"event": "newer"}', "[]", '{"event": "propo'])
def test_search_refuses_log_with_complete_line_that_is_no_event(line: str, trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort(trials=2))
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")

    with pytest.raises(ContentError):
        searches.run(tmp_path, searches.config(), searches.effort(trials=3))
    with pytest.raises(ContentError):
        read_state(tmp_path)
