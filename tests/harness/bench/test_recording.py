"""Recordings of tables: choice of networks, rows, rejected changes of the request, and resumption after a kill."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from harness.bench.recording import (
    _BANDS,
    Near,
    TableRecording,
    TableRequest,
    _choose,
    _Subset,
    _table_of,
    prepare,
    record,
)
from harness.bench.table import Table
from harness.data import user
from harness.spaces.catalog import space
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import SearchSpace
from harness.spaces.space_errors import DrawError
from harness.studies.config import open_study
from harness.studies.events import Entry, RunEnded
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.document import document_of
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.files import Workspace
from harness.training.executors.base import RETRIES, JobEnded, JobFailed, WorkerEvent
from harness.training.progress import Reporter
from harness.training.result import Epoch, Purpose, Result, Status, derive_seed
from harness.training.run import Job
from tests.factories import make_result
from tests.fakes import InstantExecutor
from tests.harness.bench.made_up import ENVIRONMENT, FACTS, HASHES, TEXTS, USER_DATA

NETWORKS = tuple(map(parse_network, TEXTS))
COSTS = {network: analyse(network, MNIST) for network in NETWORKS}
CONFIG = FACTS.config(100, 100.0)


def recording(folder: Path, near: Near | None = None) -> TableRecording:
    """Return the recording of the three networks, two seeds each, in the state stored in a folder."""
    state = StudyLog(folder).fold_into(StudyState(folder, CONFIG))
    sample = _Subset(FACTS.samples[0], COSTS, 3, True)
    return TableRecording(
        state, FACTS, sample, 2, near, {"seeds": "2"}, cast(Any, None), cast(Any, "cpu"), cast(Any, None)
    )


def recording_with_runs(folder: Path, runs: Iterable[Result], near: Near | None = None) -> TableRecording:
    recorder = recording(folder, near)
    for run in runs:
        entry: Entry[Any] = Entry(0.0, RunEnded(run=run))
        StudyLog(folder).write_entry(entry)
        recorder.state.apply(entry)
    return recorder


def run_result(network: int = 0, seed: int = 0, errors: tuple[int, ...] = (50, 40, 30, 20), **fields: Any) -> Result:
    result = make_result(
        TEXTS[network],
        errors[-1],
        recipe=FACTS.recipe,
        recipe_name="fast-4ep",
        purpose=Purpose.BENCH,
        seed_index=seed,
        seed=derive_seed(HASHES[network], FACTS.recipe.hash, Purpose.BENCH, seed),
        history=tuple(Epoch(epoch, 0.1, 0.1, 1.5 * epoch, count) for epoch, count in enumerate(errors, start=1)),
        validation_size=1000,
        environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False),
        trial=network,
    )
    return replace(result, **fields)


def test_networks_near_target_are_due_after_first_runs_of_all_networks(tmp_path: Path):
    first_runs = [(network, seed) for seed in range(2) for network in range(3)]
    # Mean accuracies of 98.0, 98.2 and 97.5 % on a thousand images.
    errors = {(0, 0): 20, (0, 1): 20, (1, 0): 16, (1, 1): 20, (2, 0): 25, (2, 1): 25}
    *runs, last_run = (run_result(network, seed, (9, 9, 9, count)) for (network, seed), count in errors.items())

    recorder = recording_with_runs(tmp_path, runs, Near(target_pct=98.0, within_pct=0.25, seeds=4))
    assert recorder.due_runs == first_runs
    recorder.state.apply(Entry(0.0, RunEnded(run=last_run)))
    assert recorder.due_runs == first_runs + [(network, seed) for seed in (2, 3) for network in (0, 1)]
    assert replace(recorder, near=None).due_runs == first_runs


def test_rows_have_accuracy_seconds_status_and_commit_of_runs(tmp_path: Path):
    """A diverged run keeps the accuracy of its last weights at all later rungs."""
    other_environment = replace(ENVIRONMENT, commit="e" * 40, dirty=True)
    diverged = run_result(1, errors=(50, 902), status=Status.DIVERGED, environment=other_environment)

    table = _table_of(recording_with_runs(tmp_path, [run_result(), diverged, run_result(2)]))

    rows = [(row.rung, row.validation_accuracy_pct, row.seconds, row.status) for row in table.rows]
    assert rows[:3] == [(1, 95.0, 1.5, "complete"), (2, 96.0, 3.0, "complete"), (4, 98.0, 6.0, "complete")]
    assert rows[3:6] == [(1, 95.0, 1.5, "diverged"), (2, 9.8, 3.0, "diverged"), (4, 9.8, 3.0, "diverged")]
    commits = {row.hash: table.facts.machines[row.machine].environment.commit for row in table.rows}
    assert list(commits.values()) == ["c" * 40, "e" * 40, "c" * 40]
    assert [machine.workers for machine in table.facts.machines] == [2, 2]


def test_table_of_user_data_has_data_set_of_workspace(home: Workspace):
    files.write_json(home.data(USER_DATA.name) / "data.json", document_of(USER_DATA))
    recorder = recording_with_runs(home.recording("own"), [run_result()])

    assert _table_of(replace(recorder, facts=replace(FACTS, dataset=USER_DATA.name))).user_data == USER_DATA
    assert _table_of(recorder).user_data is None


# Choice of networks -----------------------------------------------------------------------------------------

WIDE = parse_space("net = conv3x3(60..1000) gap linear(10)", "wide")


TWICE = parse_space("net = conv3x3({4, 8}) <bn / bn> gap linear(10)", "twice")


@pytest.mark.parametrize(
    ("search_space", "count", "budget", "considered", "enumerated"),
    [
        (space("bench"), 400, None, 384, True),
        (space("bench"), 1_000, 1_000, None, True),
        (TWICE, 10, None, 2, True),
        (space("card"), 16, 4_000, 320, False),
    ],
    ids=["whole", "below a budget", "spelt twice", "drawn"],
)
def test_chosen_networks_are_distinct_and_within_budget(
    search_space: SearchSpace, count: int, budget: int | None, considered: int | None, enumerated: bool
):
    sample = _choose(search_space, count, seed=1, budget=budget)

    assert sample.candidate_count == (considered or len(sample.networks))
    assert len({network.hash for network in sample.networks}) == min(count, sample.candidate_count)
    assert (sample.is_enumerated, sample.sample.bands, sample.sample.budget) == (
        enumerated,
        0 if enumerated else _BANDS,
        budget,
    )
    for network, cost in sample.networks.items():
        analysis = analyse(network, MNIST)
        assert (cost.parameters, cost.macs) == (analysis.parameters, analysis.macs)
        assert budget is None or cost.parameters <= budget


def test_every_size_band_gives_equal_number_of_networks():
    sample = _choose(WIDE, 160, seed=3)

    population = _choose(WIDE, 6400, seed=0).networks.values()
    low, high = (math.log(limit(network.parameters for network in population)) for limit in (min, max))
    edges = [math.exp(low + (high - low) * band / _BANDS) for band in range(1, _BANDS)]
    counts = [0] * _BANDS
    for network in sample.networks.values():
        counts[sum(network.parameters >= edge for edge in edges)] += 1
    assert len(sample.networks) == 160
    assert counts == [20] * _BANDS


def test_sparse_size_band_is_compensated_by_other_bands():
    lopsided = parse_space("net = conv3x3({1, 41..80}) gap linear(10)", "lopsided")

    sample = _choose(lopsided, 30, seed=0)

    assert len(sample.networks) == 30
    assert min(network.parameters for network in sample.networks.values()) == 9 + 20


def test_choice_of_networks_is_determined_by_seed():
    first, repeat, other_seed = (_choose(space("card"), 8, seed=seed, budget=4000) for seed in (5, 5, 6))

    assert first == repeat
    assert set(first.networks) != set(other_seed.networks)


def test_budget_below_all_networks_is_rejected():
    with pytest.raises(DrawError):
        _choose(space("bench"), 10, seed=0, budget=100)


# Training ---------------------------------------------------------------------------------------------------

# Wrong images of the simulated training after each epoch, by network and seed.
ERRORS = {
    (text, seed): tuple(100 * number + 50 * seed + 40 - 10 * epoch for epoch in range(4))
    for number, text in enumerate(TEXTS)
    for seed in range(4)
}
FIRST_RUNS = {key: errors for key, errors in ERRORS.items() if key[1] < 2}


class Killed(BaseException):
    """Simulated SIGKILL."""


@dataclass(slots=True)
class Trainer:
    """Trainer that counts epochs instead of training; checkpoints contain the number of completed epochs.

    Attributes:
        epochs: Number of trained epochs by network and seed, including epochs lost in a kill.
        breaks: Remaining failures of the worker of a run, by network and seed.
        jobs: Submitted jobs in order.
        kill_at: Number of the disk access at which the session dies.
        disk_accesses: Number of disk accesses, counted before and after each write.
    """

    epochs: Counter[tuple[str, int]] = field(default_factory=Counter)
    breaks: Counter[tuple[str, int]] = field(default_factory=Counter)
    jobs: list[Job] = field(default_factory=list)
    kill_at: int | None = None
    disk_accesses: int = 0

    def access_disk(self) -> None:
        self.disk_accesses += 1
        if self.disk_accesses == self.kill_at:
            raise Killed

    def answer(self, job: Job) -> WorkerEvent:
        key = (str(job.architecture), job.seed_index)
        self.jobs.append(job)
        if self.breaks[key]:
            self.breaks[key] -= 1
            return JobFailed(job, Status.CRASHED, "no reason")
        assert job.checkpoint is not None
        start = int(job.checkpoint.read_text()) if job.checkpoint.exists() else 0
        stop = max(start, job.until_epoch or 4)
        self.epochs[key] += stop - start
        files.write_text(job.checkpoint, str(stop))
        status = Status.COMPLETE if stop == 4 else Status.RUNNING
        return JobEnded(job, run_result(TEXTS.index(key[0]), job.seed_index, ERRORS[key][:stop], status=status))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Return a trainer that every write to disk notifies before and after the write."""
    fake = Trainer()

    def notifying(write: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*arguments: Any) -> None:
            fake.access_disk()
            write(*arguments)
            fake.access_disk()

        return wrapper

    for name in ("write_together", "append_line"):
        monkeypatch.setattr(files, name, notifying(getattr(files, name)))
    # Data in the page cache suffice for a test; fsync would be many times slower.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return fake


def run_session(trainer: Trainer, folder: Path, near: Near | None = None) -> Table:
    with Reporter(6, "runs") as reporter:
        executor = InstantExecutor(trainer.answer)
        return record(recording(folder, near), reporter, lambda *arguments: executor)


def test_recording_trains_all_seeds_and_reads_all_rungs(trainer: Trainer, tmp_path: Path):
    table = run_session(trainer, tmp_path)

    accuracies = {(row.hash, row.seed, row.rung): row.validation_accuracy_pct for row in table.rows}
    assert accuracies == {
        (HASHES[TEXTS.index(text)], seed, rung): 100 - errors[rung - 1] / 10
        for (text, seed), errors in FIRST_RUNS.items()
        for rung in FACTS.rungs
    }
    assert trainer.epochs == dict.fromkeys(FIRST_RUNS, 4)
    assert not (tmp_path / "checkpoints").exists()


def test_networks_near_target_get_further_seeds_after_first_runs(trainer: Trainer, tmp_path: Path):
    # Mean accuracies of the first two seeds: 96.5, 86.5 and 76.5 % on a thousand images.
    table = run_session(trainer, tmp_path, Near(target_pct=90.0, within_pct=7.0, seeds=4))

    seeds = {HASHES.index(network): sorted(runs) for network, runs in table.runs.items()}
    assert seeds == {0: [0, 1, 2, 3], 1: [0, 1, 2, 3], 2: [0, 1]}
    starts = [(TEXTS.index(str(job.architecture)), job.seed_index) for job in trainer.jobs if job.until_epoch == 1]
    assert starts[6:] == [(0, 2), (1, 2), (0, 3), (1, 3)]


def test_recording_killed_at_any_disk_access_resumes_to_equal_table(trainer: Trainer, tmp_path: Path):
    expected = run_session(trainer, tmp_path / "whole")
    disk_accesses = trainer.disk_accesses
    assert disk_accesses > 2 * 6 * (len(FACTS.rungs) + 1)

    for access in range(1, disk_accesses + 1):
        folder = tmp_path / str(access)
        trainer.disk_accesses, trainer.kill_at = 0, access
        trainer.epochs.clear()
        with pytest.raises(Killed):
            run_session(trainer, folder)
        trainer.kill_at = None
        ended_runs = {(HASHES[number], seed) for number, seed in recording(folder).finished_runs}
        epochs_before = trainer.epochs.copy()

        assert run_session(trainer, folder) == expected
        repeated_runs = {key for key in FIRST_RUNS if trainer.epochs[key] > epochs_before[key]}
        assert not {(HASHES[TEXTS.index(text)], seed) for text, seed in repeated_runs} & ended_runs
        # Only epochs since the last rung are lost: at most two epochs on each of two workers.
        assert sum(trainer.epochs.values()) - 6 * 4 <= 2 * 2


def test_run_of_broken_worker_resumes_from_last_rung(trainer: Trainer, tmp_path: Path):
    trainer.breaks[TEXTS[1], 0] = RETRIES

    run_session(trainer, tmp_path)

    assert trainer.epochs == dict.fromkeys(FIRST_RUNS, 4)


def test_run_that_always_breaks_ends_recording_and_keeps_other_runs(trainer: Trainer, tmp_path: Path):
    trainer.breaks[TEXTS[1], 1] = RETRIES + 1

    with pytest.raises(HarnessError):
        run_session(trainer, tmp_path)

    assert len(recording(tmp_path).finished_runs) >= 3


REQUEST = TableRequest(
    space="tiny", networks=3, seeds=1, rungs=None, recipe="fast", epochs=8, budget=4_000, seed=0, workers=1,
    dataset="mnist-5k", data=None, device="cpu", engine="torch",
)  # fmt: skip


def test_recipe_with_several_starts_is_rejected(tmp_path: Path):
    with pytest.raises(UsageError, match="starts"):
        prepare(tmp_path, "mine", replace(REQUEST, recipe="small-starts"))
    assert not list(tmp_path.iterdir())


def test_data_with_group_folds_are_rejected(home: Workspace):
    labels = np.arange(200) % 10
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    data = user.Data.from_arrays("persons", images, labels, groups=np.arange(200) // 20)
    assert data.group_folds

    with pytest.raises(UsageError, match="folds of groups"):
        prepare(home.recording("mine"), "mine", replace(REQUEST, dataset=data.name))
    assert not home.recording("mine").exists()


@pytest.mark.parametrize(
    "changes", [{"seeds": 2}, {"seed": 1}, {"networks": 2}, {"rungs": (1, 8)}, {"epochs": 4}, {"workers": 2}]
)
def test_changed_request_is_rejected_for_existing_recording(changes: dict[str, Any], tmp_path: Path):
    plan = prepare(tmp_path, "mine", REQUEST)
    assert (plan.facts.rungs, plan.finished_runs, list(tmp_path.iterdir())) == ((1, 2, 4, 8), {}, [])
    open_study(tmp_path, plan.state.config, plan.origins)

    assert prepare(tmp_path, "mine", REQUEST).facts == plan.facts
    with pytest.raises(ContentError):
        prepare(tmp_path, "mine", replace(REQUEST, **changes))
