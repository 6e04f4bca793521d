"""Verifications without training: seeds that are answered at once, with errors made up from their index."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from harness.data.datasets import dataset
from harness.evidence import verify
from harness.evidence.ledger import Attempt
from harness.evidence.verify import Plan, Verdict
from harness.system.files import Workspace
from harness.training.executors.base import Event, Finished, Limits, Source
from harness.training.executors.processes import Processes
from harness.training.recipe import RECIPES
from harness.training.result import Environment, Result, Status
from harness.training.run import Job, begun
from search_spaces.notation import parse_network

NETWORK = parse_network("conv3x3(4) bn relu | maxpool | gap | linear(10)")
ENVIRONMENT = Environment("0" * 40, False, "3.11.7", "2.13.0", "some CPU", "x86_64 AVX2", 1, "ab" * 32)


@dataclass(slots=True)
class Seeds:
    """Answers the seeds of a verification, and keeps what it was asked.

    Attributes:
        errors: wrong test images of a seed index.
        weights: digest of the weights of a seed index.
        teacher_seconds: of every result.
        in_flight: how many train at once, so how many are launched already when one ends.
        watch: called with each job before it is answered.
    """

    errors: Callable[[int], int] = lambda index: 55
    weights: Callable[[int], str] = lambda index: f"{index:064x}"
    environment: Environment = ENVIRONMENT
    status: Callable[[int], Status] = lambda index: Status.COMPLETE
    watch: Callable[[Job], None] = lambda job: None
    teacher_seconds: float = 0.0
    in_flight: int = 1
    asked: list[Job] = field(default_factory=list)

    @property
    def indices(self) -> list[int]:
        """The seed indices that were asked for, in order."""
        return [job.seed_index for job in self.asked]

    def answer(self, job: Job, dataset_name: str) -> Result:
        """Return the result of a job."""
        self.asked.append(job)
        self.watch(job)
        count, number = self.errors(job.seed_index), len(self.asked)
        return replace(
            begun(job, dataset(dataset_name)),
            status=self.status(job.seed_index),
            test_errors=count,
            test_size=dataset(dataset_name).test_size,
            wrong=tuple((image, 3) for image in range(count)),
            weights_sha256=self.weights(job.seed_index),
            train_seconds=50.0,
            teacher_seconds=self.teacher_seconds,
            environment=self.environment,
            # No two runs begin at once.
            started_utc=f"2026-11-20T08:{number // 60:02d}:{number % 60:02d}+00:00",
        )

    def trained(
        self,
        waiting: list[Job],
        executor: Processes,
        workers: int,
        on_event: Callable[[Event], None],
    ) -> Iterator[Finished]:
        """Stand in for ``run_all``."""
        launched: list[Job] = []
        while waiting or launched:
            while waiting and len(launched) < self.in_flight:
                launched.append(waiting.pop(0))
            yield Finished(job := launched.pop(0), self.answer(job, executor.source.dataset))


def without_training(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    """Put made-up seeds in the place of training."""
    made = Seeds()
    monkeypatch.setattr(verify, "run_all", made.trained)
    # The kernel's cache is enough for a test, and many times as fast.
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return made


def plan(indices: range | list[int] = range(5), **changes: Any) -> Plan:
    """Return the verification of a small network on MNIST against 99.4 %."""
    plain = Plan(architecture=NETWORK, recipe=RECIPES["fast"], dataset="mnist", target_pct=99.4, indices=tuple(indices))
    return replace(plain, **changes)


def declared(place: Workspace, planned: Plan, seeds: int) -> Attempt:
    """Declare a certification and commit the ledger with it."""
    attempt = verify.declare(planned, place, seeds)
    commit(place)
    return attempt


def commit(place: Workspace, date: str = "2026-11-20T07:30:00+00:00") -> None:
    """Commit all evidence of a workspace, which becomes a repository where it is none."""
    if not (place.root / ".git").exists():
        git(place, "init", "--quiet")
    git(place, "add", "--all", "runs/records")
    git(place, "commit", "--quiet", "--allow-empty", "--message", "evidence", date=date)


def git(place: Workspace, *arguments: str, date: str = "") -> None:
    """Run git in a workspace, whatever its user has configured."""
    mine = {f"GIT_{who}_{what}": "someone" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    mine |= {f"GIT_{who}_DATE": date for who in ("AUTHOR", "COMMITTER") if date}
    mine |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-C", str(place.root), *arguments], env={**os.environ, **mine}, check=True)


def run(place: Workspace, planned: Plan) -> Verdict:
    """Run a verification."""
    return verify.run_seeds(planned, place, Source(planned.dataset, None), Limits(), lambda event: None)
