"""A recording: its networks, what it never mixes, its rows, and what a kill at any moment of it costs."""

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

from harness.bench.recording import _BANDS, Near, Recording, TableRequest, _choose, _Chosen, _table_of, prepare, record
from harness.bench.table import Table
from harness.data import own
from harness.studies.config import open_study
from harness.studies.events import Entry, RunEnded
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.document import document_of
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.files import Workspace
from harness.training.executors.base import RETRIES, Broken, Event, StretchEnded
from harness.training.progress import Reporter
from harness.training.result import Epoch, Purpose, Result, Status, derive_seed
from harness.training.run import Job
from search_spaces.catalog import space
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import SearchSpace
from search_spaces.space_errors import DrawError
from tests.factories import make_result
from tests.fakes import InstantExecutor
from tests.harness.bench.made_up import ENVIRONMENT, FACTS, HASHES, OWN, TEXTS

NETWORKS = tuple(map(parse_network, TEXTS))
COSTS = {network: analyse(network, MNIST) for network in NETWORKS}
CONFIG = FACTS.config(100, 100.0)


def recording(folder: Path, near: Near | None = None) -> Recording:
    """Return the recording of the three networks, two seeds each, as a folder has it."""
    state = StudyLog(folder).fold_into(StudyState(folder, CONFIG))
    sample = _Chosen(FACTS.samples[0], COSTS, 3, True)
    return Recording(state, FACTS, sample, 2, near, {"seeds": "2"}, cast(Any, None), cast(Any, "cpu"), cast(Any, None))


def with_runs(folder: Path, runs: Iterable[Result], near: Near | None = None) -> Recording:
    recorder = recording(folder, near)
    for run in runs:
        entry: Entry[Any] = Entry(0.0, RunEnded(run=run))
        StudyLog(folder).append(entry)
        recorder.state.apply(entry)
    return recorder


def some_run(network: int = 0, seed: int = 0, errors: tuple[int, ...] = (50, 40, 30, 20), **fields: Any) -> Result:
    plain = make_result(
        TEXTS[network],
        errors[-1],
        recipe=FACTS.recipe,
        recipe_name="fast-4ep",
        purpose=Purpose.BENCH,
        seed_index=seed,
        seed=derive_seed(HASHES[network], FACTS.recipe.hash, Purpose.BENCH, seed),
        history=tuple(Epoch(epoch, 0.1, 0.1, 1.5 * epoch, wrong) for epoch, wrong in enumerate(errors, start=1)),
        validation_size=1000,
        environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False),
        trial=network,
    )
    return replace(plain, **fields)


def test_what_is_near_the_target_is_due_once_all_have_their_first_runs(tmp_path: Path):
    first = [(network, seed) for seed in range(2) for network in range(3)]
    # Means of 98.0, 98.2 and 97.5 % of a thousand images.
    errors = {(0, 0): 20, (0, 1): 20, (1, 0): 16, (1, 1): 20, (2, 0): 25, (2, 1): 25}
    *runs, last = (some_run(network, seed, (9, 9, 9, at)) for (network, seed), at in errors.items())

    recorder = with_runs(tmp_path, runs, Near(target_pct=98.0, within_pct=0.25, seeds=4))
    assert recorder.due == first
    recorder.state.apply(Entry(0.0, RunEnded(run=last)))
    assert recorder.due == first + [(network, seed) for seed in (2, 3) for network in (0, 1)]
    assert replace(recorder, near=None).due == first


def test_rows_have_the_accuracy_the_seconds_and_the_code_of_their_runs(tmp_path: Path):
    """A run that diverged keeps what its last weights gave."""
    other = replace(ENVIRONMENT, commit="e" * 40, dirty=True)
    diverged = some_run(1, errors=(50, 902), status=Status.DIVERGED, environment=other)

    table = _table_of(with_runs(tmp_path, [some_run(), diverged, some_run(2)]))

    rows = [(row.rung, row.validation_accuracy_pct, row.seconds, row.status) for row in table.rows]
    assert rows[:3] == [(1, 95.0, 1.5, "complete"), (2, 96.0, 3.0, "complete"), (4, 98.0, 6.0, "complete")]
    assert rows[3:6] == [(1, 95.0, 1.5, "diverged"), (2, 9.8, 3.0, "diverged"), (4, 9.8, 3.0, "diverged")]
    commits = {row.hash: table.facts.machines[row.machine].environment.commit for row in table.rows}
    assert list(commits.values()) == ["c" * 40, "e" * 40, "c" * 40]
    assert [machine.workers for machine in table.facts.machines] == [2, 2]


def test_the_table_of_ones_own_data_has_what_the_workspace_knows_of_them(place: Workspace):
    files.write_json(place.data(OWN.name) / "data.json", document_of(OWN))
    recorder = with_runs(place.recording("own"), [some_run()])

    assert _table_of(replace(recorder, facts=replace(FACTS, dataset=OWN.name))).own_data == OWN
    assert _table_of(recorder).own_data is None


# Its networks -----------------------------------------------------------------------------------------------

WIDE = parse_space("net = conv3x3(60..1000) gap linear(10)", "wide")


TWICE = parse_space("net = conv3x3({4, 8}) <bn / bn> gap linear(10)", "twice")


@pytest.mark.parametrize(
    ("of", "count", "budget", "considered", "enumerated"),
    [
        (space("bench"), 400, None, 384, True),
        (space("bench"), 1_000, 1_000, None, True),
        (TWICE, 10, None, 2, True),
        (space("card"), 16, 4_000, 320, False),
    ],
    ids=["whole", "below a budget", "spelt twice", "drawn"],
)
def test_networks_are_distinct_and_within_the_budget(
    of: SearchSpace, count: int, budget: int | None, considered: int | None, enumerated: bool
):
    sample = _choose(of, count, seed=1, budget=budget)

    assert sample.considered == (considered or len(sample.networks))
    assert len({network.hash for network in sample.networks}) == min(count, sample.considered)
    assert (sample.enumerated, sample.sample.bands, sample.sample.budget) == (
        enumerated,
        0 if enumerated else _BANDS,
        budget,
    )
    for network, cost in sample.networks.items():
        analysis = analyse(network, MNIST)
        assert (cost.parameters, cost.macs) == (analysis.parameters, analysis.macs)
        assert budget is None or cost.parameters <= budget


def test_every_band_of_sizes_gives_the_same_number():
    sample = _choose(WIDE, 160, seed=3)

    everything = _choose(WIDE, 6400, seed=0).networks.values()
    low, high = (math.log(limit(network.parameters for network in everything)) for limit in (min, max))
    edges = [math.exp(low + (high - low) * band / _BANDS) for band in range(1, _BANDS)]
    counts = [0] * _BANDS
    for network in sample.networks.values():
        counts[sum(network.parameters >= edge for edge in edges)] += 1
    assert len(sample.networks) == 160
    assert counts == [20] * _BANDS


def test_a_band_with_too_few_networks_is_made_up_for_by_the_others():
    lopsided = parse_space("net = conv3x3({1, 41..80}) gap linear(10)", "lopsided")

    sample = _choose(lopsided, 30, seed=0)

    assert len(sample.networks) == 30
    assert min(network.parameters for network in sample.networks.values()) == 9 + 20


def test_the_same_seed_chooses_the_same_networks_and_another_seed_others():
    first, again, other = (_choose(space("card"), 8, seed=seed, budget=4000) for seed in (5, 5, 6))

    assert first == again
    assert set(first.networks) != set(other.networks)


def test_a_budget_below_every_network_is_refused():
    with pytest.raises(DrawError):
        _choose(space("bench"), 10, seed=0, budget=100)


# Its runs ---------------------------------------------------------------------------------------------------

# What the made-up training of a network gives: wrong images after each epoch, by network and seed.
ERRORS = {
    (text, seed): tuple(100 * number + 50 * seed + 40 - 10 * epoch for epoch in range(4))
    for number, text in enumerate(TEXTS)
    for seed in range(4)
}
FIRST = {key: errors for key, errors in ERRORS.items() if key[1] < 2}


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass(slots=True)
class Trainer:
    """Counts an epoch in place of training it; what it has done is in the checkpoints.

    Attributes:
        epochs: trained, by network and seed, those that a kill lost included.
        breaks: how often the worker of a run breaks before it answers.
        kill_at: number of the touch of the disk at which the session dies; ``touches`` counts them.
    """

    epochs: Counter[tuple[str, int]] = field(default_factory=Counter)
    breaks: Counter[tuple[str, int]] = field(default_factory=Counter)
    asked: list[Job] = field(default_factory=list)
    kill_at: int | None = None
    touches: int = 0

    def touch(self) -> None:
        self.touches += 1
        if self.touches == self.kill_at:
            raise Killed

    def answer(self, job: Job) -> Event:
        key = (str(job.architecture), job.seed_index)
        self.asked.append(job)
        if self.breaks[key]:
            self.breaks[key] -= 1
            return Broken(job, Status.CRASHED, "no reason")
        assert job.checkpoint is not None
        done = int(job.checkpoint.read_text()) if job.checkpoint.exists() else 0
        last = max(done, job.until_epoch or 4)
        self.epochs[key] += last - done
        files.write_text(job.checkpoint, str(last))
        status = Status.COMPLETE if last == 4 else Status.RUNNING
        return StretchEnded(job, some_run(TEXTS.index(key[0]), job.seed_index, ERRORS[key][:last], status=status))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Two workers that answer at once, on a disk that can kill."""
    made = Trainer()

    def writing(write: Callable[..., None]) -> Callable[..., None]:
        def touched(*arguments: Any) -> None:
            made.touch()
            write(*arguments)
            made.touch()

        return touched

    for name in ("write_together", "append_line"):
        monkeypatch.setattr(files, name, writing(getattr(files, name)))
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return made


def run_session(trainer: Trainer, folder: Path, near: Near | None = None) -> Table:
    with Reporter(6, "runs") as reporter:
        executor = InstantExecutor(trainer.answer)
        return record(recording(folder, near), reporter, lambda *arguments: executor)


def test_every_network_is_trained_with_every_seed_and_read_at_every_rung(trainer: Trainer, tmp_path: Path):
    table = run_session(trainer, tmp_path)

    read = {(row.hash, row.seed, row.rung): row.validation_accuracy_pct for row in table.rows}
    assert read == {
        (HASHES[TEXTS.index(text)], seed, rung): 100 - errors[rung - 1] / 10
        for (text, seed), errors in FIRST.items()
        for rung in FACTS.rungs
    }
    assert trainer.epochs == dict.fromkeys(FIRST, 4)
    assert not (tmp_path / "checkpoints").exists()


def test_networks_near_the_target_get_their_further_runs_after_the_others(trainer: Trainer, tmp_path: Path):
    # The means of the first two seeds are 96.5, 86.5 and 76.5 % of a thousand images.
    table = run_session(trainer, tmp_path, Near(target_pct=90.0, within_pct=7.0, seeds=4))

    seeds = {HASHES.index(network): sorted(runs) for network, runs in table.runs.items()}
    assert seeds == {0: [0, 1, 2, 3], 1: [0, 1, 2, 3], 2: [0, 1]}
    first = [(TEXTS.index(str(job.architecture)), job.seed_index) for job in trainer.asked if job.until_epoch == 1]
    assert first[6:] == [(0, 2), (1, 2), (0, 3), (1, 3)]


def test_a_recording_killed_at_any_touch_of_the_disk_ends_as_if_it_had_not_been(trainer: Trainer, tmp_path: Path):
    expected = run_session(trainer, tmp_path / "whole")
    touches = trainer.touches
    assert touches > 2 * 6 * (len(FACTS.rungs) + 1)

    for point in range(1, touches + 1):
        folder = tmp_path / str(point)
        trainer.touches, trainer.kill_at = 0, point
        trainer.epochs.clear()
        with pytest.raises(Killed):
            run_session(trainer, folder)
        trainer.kill_at = None
        ended = {(HASHES[number], seed) for number, seed in recording(folder).ended}
        before = trainer.epochs.copy()

        assert run_session(trainer, folder) == expected
        again = {key for key in FIRST if trainer.epochs[key] > before[key]}
        assert not {(HASHES[TEXTS.index(text)], seed) for text, seed in again} & ended
        # What was trained since a rung is all that is lost: at most two epochs on each of two workers.
        assert sum(trainer.epochs.values()) - 6 * 4 <= 2 * 2


def test_a_run_whose_worker_breaks_is_trained_again_from_its_rung(trainer: Trainer, tmp_path: Path):
    trainer.breaks[TEXTS[1], 0] = RETRIES

    run_session(trainer, tmp_path)

    assert trainer.epochs == dict.fromkeys(FIRST, 4)


def test_a_run_that_always_breaks_ends_the_recording_and_keeps_the_others(trainer: Trainer, tmp_path: Path):
    trainer.breaks[TEXTS[1], 1] = RETRIES + 1

    with pytest.raises(HarnessError):
        run_session(trainer, tmp_path)

    assert len(recording(tmp_path).ended) >= 3


REQUEST = TableRequest(
    space="tiny",
    networks=3,
    seeds=1,
    rungs=None,
    recipe="fast",
    epochs=8,
    budget=4_000,
    seed=0,
    workers=1,
    dataset="mnist-5k",
    data=None,
    device="cpu",
    engine="torch",
)


def test_a_recipe_of_several_starts_has_no_table(tmp_path: Path):
    with pytest.raises(UsageError, match="starts"):
        prepare(tmp_path, "mine", replace(REQUEST, recipe="small-starts"))
    assert not list(tmp_path.iterdir())


def test_data_of_folds_of_groups_have_no_table(place: Workspace):
    labels = np.arange(200) % 10
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    data = own.from_arrays("persons", images, labels, groups=np.arange(200) // 20)
    assert data.group_folds

    with pytest.raises(UsageError, match="folds of groups"):
        prepare(place.recording("mine"), "mine", replace(REQUEST, dataset=data.name))
    assert not place.recording("mine").exists()


@pytest.mark.parametrize(
    "changes", [{"seeds": 2}, {"seed": 1}, {"networks": 2}, {"rungs": (1, 8)}, {"epochs": 4}, {"workers": 2}]
)
def test_a_recording_never_mixes(changes: dict[str, Any], tmp_path: Path):
    plan = prepare(tmp_path, "mine", REQUEST)
    assert (plan.facts.rungs, plan.ended, list(tmp_path.iterdir())) == ((1, 2, 4, 8), {}, [])
    open_study(tmp_path, plan.state.config, plan.origins)

    assert prepare(tmp_path, "mine", REQUEST).facts == plan.facts
    with pytest.raises(ContentError):
        prepare(tmp_path, "mine", replace(REQUEST, **changes))
