"""A search may be killed at any moment: the same command goes on, loses no finished run and repeats none.

First with made-up trainings, killed at every single write and every exchange with a worker; then with real processes.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from harness.data.datasets import dataset
from harness.searching import finder, optuna_sampler
from harness.searching.proposer import InquiryAnswer
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
from tests.fakes import Trainer, killed_at, without_processes

SMALL = {"trials": 9}
# Trial, purpose and index of the seed.
Run = tuple[int | None, str, int]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return without_processes(monkeypatch)


def outcome(folder: Path) -> dict[str, Any]:
    """Return all that a search has decided and found, without times."""
    drop = {"elapsed", "utc", "message"}
    kept = ("proposed", "rejected", "repeated")
    return {
        **{kind: [_without(event, drop) for event in searches.events(folder, kind)] for kind in kept},
        "winner": [_without(event, drop) for event in searches.events(folder, "winner")][-1:],
        "results": [
            (result.trial, result.purpose, result.seed_index, result.status, result.validation_errors)
            for result in searches.results(folder)
        ],
    }


def _without(event: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def finished(folder: Path) -> set[Run]:
    return {(result.trial, result.purpose.value, result.seed_index) for result in searches.results(folder)}


def check_accounts(folder: Path) -> None:
    """Every proposal is rejected, a repeat, or a network; every network has a result or is still to be trained."""
    networks = [event["trial"] for event in searches.events(folder, "proposed")]
    assert networks == list(range(len(networks)))
    assert len({event["hash"] for event in searches.events(folder, "proposed")}) == len(networks)
    begun = {result.trial for result in searches.results(folder)}
    assert begun <= set(networks)
    noted = [(event["trial"], event["purpose"], event["seed_index"]) for event in searches.events(folder, "finished")]
    assert len(noted) == len(set(noted))
    assert set(noted) == finished(folder)


def whole(folder: Path, trainer: Trainer, configured: StudyConfig) -> tuple[dict[str, Any], int]:
    """Run a search without a stop; return its outcome and the number of its fault points."""
    trainer.points = 0
    searches.run(folder, configured, searches.effort(**SMALL))
    points = trainer.points
    trainer.completed.clear()
    trainer.epochs_done.clear()
    return outcome(folder), points


@pytest.mark.parametrize(
    ("sampler", "stride"), [("random", 5), ("tpe", 29), ("nsga2", 29), ("evolution", 13), ("surrogate", 29)]
)
def test_a_search_killed_at_any_point_ends_as_if_it_had_not_been(
    sampler: str, stride: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # So that networks have children among the nine.
    monkeypatch.setattr(optuna_sampler, "_POPULATION", 4)
    if sampler == "surrogate":
        # So that it draws, and changes what it has drawn; it looks at a tenth, as it is run again and again.
        monkeypatch.setattr(finder, "_MOST_LISTED", 1)
        for name, number in {"_SURROGATE_DRAWS": 60, "_MOST_SURROGATE_ATTEMPTS": 160, "_PARENTS": 3}.items():
            monkeypatch.setattr(finder, name, number)
    configured = searches.config(sampler=sampler)
    expected, points = whole(tmp_path / "whole", trainer, configured)
    assert points > 150

    for point in range(1, points + 1, stride):
        folder = tmp_path / f"{point}" / "whole"
        with killed_at(trainer, point):
            searches.run(folder, configured, searches.effort(**SMALL))
        before, asked = finished(folder), len(trainer.asked)
        searches.run(folder, configured, searches.effort(**SMALL))

        assert outcome(folder) == expected, f"killed at point {point}"
        check_accounts(folder)
        check_trained_once(trainer, before, asked, expected)


@pytest.mark.slow
def test_a_search_killed_at_every_point_ends_as_if_it_had_not_been(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    test_a_search_killed_at_any_point_ends_as_if_it_had_not_been("tpe", 1, trainer, tmp_path, monkeypatch)


def check_trained_once(trainer: Trainer, before: set[Run], asked: int, expected: dict[str, Any]) -> None:
    """No finished run was asked for again; one whose result had not reached the disk yet may have been."""
    again = {(job.trial, job.purpose.value, job.seed_index) for job in trainer.asked[asked:]}
    complete = {entry[:3] for entry in expected["results"] if entry[3] == Status.COMPLETE}
    assert before & again == set()
    assert set(trainer.completed) == complete
    assert sum(trainer.completed.values()) <= len(complete) + 1
    trainer.completed.clear()
    trainer.epochs_done.clear()


@pytest.mark.parametrize("seed", range(3))
def test_a_search_killed_again_and_again_loses_nothing_and_comes_to_its_end(
    seed: int, trainer: Trainer, tmp_path: Path
):
    configured = searches.config(sampler="random", seed=seed)
    expected, _ = whole(tmp_path / "whole", trainer, configured)
    moments, folder = random.Random(seed), tmp_path / "again" / "whole"
    before: set[Run] = set()
    for _ in range(100):
        with killed_at(trainer, moments.randrange(1, 60)):
            searches.run(folder, configured, searches.effort(**SMALL))
        assert before <= finished(folder), "a finished run was lost"
        before = finished(folder)
        if searches.events(folder, "ended"):
            break

    assert outcome(folder) == expected
    check_accounts(folder)


@pytest.mark.parametrize("point", range(5, 200, 15))
def test_with_several_workers_nothing_is_lost_or_repeated_either(point: int, trainer: Trainer, tmp_path: Path):
    configured, spent = searches.config(), searches.effort(trials=9, workers=3)
    with killed_at(trainer, point):
        searches.run(tmp_path, configured, spent)
    before, asked = finished(tmp_path), len(trainer.asked)

    searches.run(tmp_path, configured, spent)

    again = {(job.trial, job.purpose.value, job.seed_index) for job in trainer.asked[asked:]}
    assert before & again == set()
    assert before <= finished(tmp_path)
    assert len(searches.events(tmp_path, "proposed")) == 9
    check_accounts(tmp_path)


def test_a_kill_leaves_no_half_written_file_for_long(trainer: Trainer, tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".trial-00000-search-0.pt.x1").write_text("")
    (tmp_path / ".report.html.x1").write_text("<")

    searches.run(tmp_path, searches.config(), searches.effort(trials=1))

    assert [path.name for path in (*tmp_path.glob("*/.*"), *tmp_path.glob(".*")) if path.name != ".lock"] == []


FACTS = ("ended", "rejected", "repeated", "verdicts", "confirmations")


def known(search: Search) -> dict[str, Any]:
    """Return the whole state of a search that follows from its log."""
    return {
        "candidates": copy.deepcopy(search.state.candidates),
        "contenders": list(search.state.contenders),
        "standing": search.state.incumbent and search.state.incumbent.proposal.trial,
        "nearest": search.state.nearest,
        "timing": copy.deepcopy(search.timing),
        "ratios": copy.deepcopy(search.state.ratios),
        "confirmed": [each.proposal.trial for each in confirmed_by_cost([*search.state.candidates.values()])],
        **{
            name: copy.deepcopy(getattr(search.state, name))
            for name in ("ended", "rejected", "repeated", "verdicts", "confirmations")
        },
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_a_log_cut_after_any_line_gives_the_state_of_that_moment(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    moments: list[dict[str, Any]] = []
    add = Search.add

    def watched(self: Search, event: Event) -> None:
        add(self, event)
        moments.append(known(self))

    monkeypatch.setattr(Search, "add", watched)
    configured, spent = searches.config(seed=2), searches.effort(trials=14, workers=workers)
    searches.run(tmp_path / "whole", configured, spent)
    lines = (tmp_path / "whole" / "log.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == len(moments) > 50
    assert any(moment["standing"] is not None for moment in moments)
    monkeypatch.undo()

    cut = tmp_path / "cut" / "whole"
    cut.mkdir(parents=True)
    for count, moment in enumerate(moments, start=1):
        # With half of the next line, which the kill has torn.
        torn = lines[count][: len(lines[count]) // 2] if count < len(lines) else ""
        (cut / "log.jsonl").write_text("".join(lines[:count]) + torn)
        log = StudyLog(cut)
        state_there = log.recover_into(StudyState(cut, configured))
        executor = Processes(DataLocation("mnist", None), Limits())
        found = Search(state_there, spent, executor, Nobody(), data=dataset("mnist"), log=log)
        assert (cut / "log.jsonl").read_text() == "".join(lines[:count])
        state = known(found)
        # Entries hold the times of the log, rounded.
        assert {key: entry.event for key, entry in state.pop("ended").items()} == {
            key: entry.event for key, entry in moment.pop("ended").items()
        }
        assert state == moment


class Nobody:
    """Proposes nothing."""

    def propose(self, *given: object) -> InquiryAnswer:
        raise AssertionError

    def tell(self, *given: object) -> None:
        raise AssertionError

    def restore(self, *given: object) -> None:
        raise AssertionError

    def finder(self, *given: object) -> None:
        raise AssertionError


@pytest.mark.parametrize("line", ['{"event": "proposed"}', '{"event": "newer"}', "[]", '{"event": "propo'])
def test_a_whole_line_that_is_no_event_is_refused(line: str, trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort(trials=2))
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")

    with pytest.raises(ContentError):
        searches.run(tmp_path, searches.config(), searches.effort(trials=3))
    with pytest.raises(ContentError):
        read_state(tmp_path)
