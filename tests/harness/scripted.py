"""A search without training: workers that answer at once, with accuracies made up from the sizes of the networks.

``run`` runs one session. ``Killed``, raised at the n-th touch of the disk or of a worker, stands for SIGKILL.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.searching import loop, proposer, race
from harness.searching.clock import Effort
from harness.searching.proposer import Proposer
from harness.searching.state import Observer, Search
from harness.studies import config as study
from harness.studies.config import StudyConfig
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog, read_state
from harness.studies.state import StudyState
from harness.system import files
from harness.training.executor import Event as WorkerEvent
from harness.training.executor import Finished, Limits, Source
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status, derive_seed
from harness.training.run import Job
from search_spaces.network import MNIST, Architecture, analyse
from search_spaces.notation import parse_network
from tests.harness import logged
from tests.harness.desks import Desks, in_place_of_processes

# Sizes from 330 to some 40,000; one network a pair of widths.
SPACE = "width = {4, 6, 8, 10, 12, 16, 20, 24, 32, 40}; net = conv3x3(width) relu conv3x3(width) relu gap linear(10);"
ONE_CONVOLUTION = "width = 1..40; net = conv3x3(width) gap linear(10);"  # 10 + 19 a channel
SIZE = 10_000
TARGET_PCT = 99.0
RECIPE = Recipe(epochs=8)
RECIPE_HASH = RECIPE.hash


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass(slots=True)
class Trainer:
    """Answers jobs, and keeps what it was asked.

    Attributes:
        accuracy_pct: at the end, of a network of that size with that seed.
        special: what to answer instead, by trial; None is the usual answer.
        asked: all jobs in order; ``completed`` counts the ends of runs by trial, purpose and seed.
        kill_at: number of the fault point at which the session dies; ``points`` counts them.
        tears: dying in a write leaves half of a line behind; else nothing.
    """

    accuracy_pct: Callable[[int, int], float]
    special: Callable[[Job], WorkerEvent | None] = lambda job: None
    asked: list[Job] = field(default_factory=list)
    completed: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    epochs_done: dict[Path, int] = field(default_factory=dict)
    points: int = 0
    kill_at: int | None = None
    tears: bool = True

    def point(self) -> None:
        """Die here, if it is the point to die at."""
        self.points += 1
        if self.points == self.kill_at:
            raise Killed

    def answer(self, job: Job) -> WorkerEvent:
        """Return what a worker would report, at once."""
        self.asked.append(job)
        if (event := self.special(job)) is not None:
            return event
        return Finished(job, self._trained(job))

    def _trained(self, job: Job) -> Result:
        assert job.checkpoint is not None
        assert job.trial is not None
        until = job.until_epoch or job.recipe.epochs
        # A checkpoint that is further on is not gone back from.
        done = max(self.epochs_done.get(job.checkpoint, 0), until)
        self.epochs_done[job.checkpoint] = done
        job.checkpoint.parent.mkdir(exist_ok=True)
        job.checkpoint.touch()
        result = made_result(job, self.accuracy_pct, done)
        if result.status is Status.COMPLETE:
            self.completed[job.trial, job.purpose, job.seed_index] += 1
        return result


def made_result(job: Job, accuracy_pct: Callable[[int, int], float], epoch: int) -> Result:
    """Return the result of a run that has come to an epoch, with errors that fall as in real runs.

    At a quarter of the epochs there are 2.9 times the errors of the end, at half of them 1.66 times.
    """
    network_hash, parameters, macs = facts(job.architecture)
    recipe_hash = hash_of(job.recipe)
    seed = derive_seed(network_hash, recipe_hash, job.purpose, job.seed_index, job.study_seed)
    final = round(SIZE * (1 - accuracy_pct(parameters, seed) / 100))
    history = tuple(
        Epoch(number, 0.1, 0.1, float(number), round(final * (1 + 4 * (1 - number / job.recipe.epochs) ** 2.6)))
        for number in range(1, epoch + 1)
    )
    return Result(
        architecture=job.architecture,
        hash=network_hash,
        parameters=parameters,
        macs=macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash=recipe_hash,
        dataset="mnist",
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=seed,
        status=Status.COMPLETE if epoch == job.recipe.epochs else Status.RUNNING,
        history=history,
        validation_errors=history[-1].validation_errors,
        validation_size=SIZE,
        train_seconds=float(epoch),
        study=job.study,
        trial=job.trial,
        decisions=job.decisions,
    )


@cache
def hash_of(recipe: Recipe) -> str:
    """Return a recipe's hash; kill tests ask for it thousands of times."""
    return recipe.hash


@cache
def facts(architecture: Architecture) -> tuple[str, int, int]:
    """Return hash, parameters and multiply-adds."""
    analysis = analyse(architecture, MNIST)
    return architecture.hash, analysis.parameters, analysis.macs


def proposal(trial: int, architecture: str, origin: str = "tpe") -> Proposal:
    """Return a network that has been proposed."""
    network = parse_network(architecture)
    network_hash, parameters, _ = facts(network)
    return Proposal(
        trial=trial,
        architecture=network,
        hash=network_hash,
        parameters=parameters,
        origin=origin,
        decisions=(),
    )


def first_job(proposal: Proposal) -> Job:
    """Return the first run of a network, whole."""
    return Job(
        architecture=proposal.architecture,
        recipe=RECIPE,
        recipe_name="short",
        purpose=Purpose.SEARCH,
        seed_index=0,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )


def by_size(parameters: int, seed: int, *, reached_at: int = 3_000, noise: float = 0.03) -> float:
    """Return an accuracy that is 99 % at ``reached_at`` parameters, rises with size, and wavers with the seed."""
    rise = 1.0 - reached_at / (parameters + reached_at) - 0.5
    return TARGET_PCT + rise + random.Random(seed).gauss(0, noise)


def without_processes(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Put a trainer in the place of worker processes."""
    made = Trainer(by_size)
    in_place_of_processes(Desks(made.answer, made.point), monkeypatch)
    monkeypatch.setattr(loop, "write_database", lambda search, path: None)
    monkeypatch.setattr(proposer, "_LADDER_DRAWS", 40)
    # Made-up runs fall to 0.35 and 0.6 times the errors of their rungs, whatever the real ones are measured to do.
    monkeypatch.setattr(race, "_PRIOR_RATIO", {0.25: 0.30, 0.5: 0.55})
    _count_writes(made, monkeypatch)
    return made


def _count_writes(made: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a fault point before and after each write, and one in which half a line of a log is written."""
    append, write = files.append_line, files.write_bytes

    def torn_append(path: Path, line: str) -> None:
        made.point()
        try:
            made.point()
        except Killed:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line[: len(line) // 2] if made.tears else "")
            raise
        append(path, line)
        made.point()

    def torn_write(path: Path, content: bytes) -> None:
        made.point()
        try:
            made.point()
        except Killed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.part").write_bytes(content[: len(content) // 2])
            raise
        write(path, content)
        made.point()

    monkeypatch.setattr(files, "append_line", torn_append)
    monkeypatch.setattr(files, "write_bytes", torn_write)
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def config(**changes: object) -> StudyConfig:
    """Return the configuration of a small study."""
    plain = StudyConfig(
        dataset="mnist",
        data_hash="0" * 64,
        budget=20_000,
        target_pct=TARGET_PCT,
        threshold_pct=TARGET_PCT,
        space="widths",
        space_text=SPACE,
        sampler="tpe",
        recipe=RECIPE,
        recipe_name="short",
        rungs=(2, 4),
        seed=0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def effort(**changes: object) -> Effort:
    """Return the effort of a small study: 20 networks, one worker, no end in time."""
    plain = Effort(seconds=None, trials=20, workers=1, device="cpu", limits=Limits())
    return replace(plain, **changes)  # type: ignore[arg-type]


def taken_up(folder: Path, configured: StudyConfig, spent: Effort, *observers: Observer) -> Search:
    """Return a search that goes on with the study in a folder, which may be new."""
    state = StudyLog(folder).take_up(StudyState(folder, configured))
    return loop.opened(state, spent, Source("mnist", None), observers=observers)


def run(folder: Path, configured: StudyConfig, spent: Effort, *observers: Observer) -> Search:
    """Run one session of a search."""
    study.open_study(folder, configured, {})
    search = taken_up(folder, configured, spent, *observers)
    loop.run_search(search, ["harness"])
    return search


@dataclass(frozen=True, slots=True)
class Made:
    """A network of one convolution so wide: the accuracies of its first run and on fresh seeds.

    Attributes:
        first: None where it has not ended.
    """

    width: int
    first: float | None = 99.5
    fresh: tuple[float, ...] = ()


def opened(folder: Path, networks: Sequence[Made], *, sampler: str = "tpe", **spent: object) -> Search:
    """Return a search in progress, its workers idle and these networks its trials from 0 on, of which no log tells."""
    configured = config(space_text=ONE_CONVOLUTION, sampler=sampler)
    search = taken_up(folder, configured, effort(**spent))
    search.executor.start(search.effort.workers)
    for trial, made in enumerate(networks):
        apply(search, proposal(trial, f"conv3x3({made.width}) gap linear(10)"))
        if made.first is not None:
            file(search, trial, Purpose.SEARCH, 0, made.first)
        for index, accuracy_pct in enumerate(made.fresh):
            file(search, trial, Purpose.CONFIRM, index, accuracy_pct)
    return search


def apply(search: Search, event: Event) -> None:
    """Let something have happened of which no log tells."""
    search.take(Entry(0.0, event))


def file(search: Search, trial: int, purpose: Purpose, index: int, accuracy_pct: float) -> None:
    """Let a run have ended."""
    job = search.job(search.state.candidates[trial], purpose, index)
    apply(search, RunEnded(run=made_result(job, lambda parameters, seed: accuracy_pct, RECIPE.epochs)))


def proposer_of(found: Search) -> Proposer:
    """Return who proposed the networks of a session of a study."""
    assert isinstance(found.proposer, Proposer)
    return found.proposer


def results(folder: Path) -> list[Result]:
    """Return the runs that have ended."""
    return read_state(folder).results if (folder / "config.json").exists() else []


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Return the lines of a log, those of some kinds or all; of a run that has ended its main facts."""
    found = [event for event in logged.documents(folder) if not kinds or event["event"] in kinds]
    facts = ("trial", "purpose", "seed_index", "status", "validation_errors")
    for event in found:
        if (run := event.pop("run", None)) is not None:
            event |= {name: run[name] for name in facts}
    return found


@contextmanager
def killed_at(trainer: Trainer, point: int) -> Iterator[None]:
    """Let the session in the block die at a fault point, counted from here."""
    trainer.points, trainer.kill_at = 0, point
    try:
        with suppress(Killed):
            yield
    finally:
        trainer.kill_at = None
