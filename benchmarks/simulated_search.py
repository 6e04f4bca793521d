"""A search whose workers are simulated, and whose coordinator is timed.

The first networks are drawn without the model of the errors, so that a long search need not be waited for.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.bench.simulation.readings import Reading
from harness.commands.searching.search_progress import SearchReporter
from harness.evidence.events import Proposal
from harness.evidence.study import StudyConfig
from harness.search.effort import Effort
from harness.search.proposals.estimate import Room
from harness.search.proposals.proposer import Proposer
from harness.search.proposals.proposing import Found
from harness.search.proposals.switches import ALL_ON
from harness.search.race import Candidate, Outcome
from harness.search.run_plan import LENGTHS
from harness.search.session import Session
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from search_spaces.cost import analyse
from search_spaces.draw import draw_uniform
from search_spaces.task import MNIST

SIZE, MINUTE = 10_000, 60.0


class MadeUp:
    """Trainings of about a minute whose errors follow size and length, as the prior believes, and the seed."""

    def read(self, job: Job, repeat: int) -> Reading:
        """Return the run of a job; the same job is always the same run."""
        analysis, epochs = analyse(job.architecture, MNIST), job.recipe.epochs
        rng = random.Random(f"{job.architecture.hash}/{epochs}/{job.purpose}/{job.seed_index}")
        final = 60 * (analysis.parameters / 1_500) ** -0.5 * (epochs / 20) ** -0.3 * math.exp(rng.gauss(0, 0.08))
        seconds = MINUTE * rng.uniform(0.9, 1.1)
        shares = {number: number / epochs for number in range(1, epochs + 1)}
        return Reading(
            network_hash=job.architecture.hash,
            parameters=analysis.parameters,
            macs=analysis.macs,
            size=SIZE,
            errors={number: round(final * (1 + 4 * (1 - share) ** 2.6)) for number, share in shares.items()},
            seconds={number: seconds * share for number, share in shares.items()},
            status=Status.COMPLETE,
        )


@dataclass(slots=True)
class Stopwatch:
    """Adds up the processor time of calls."""

    seconds: float = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is timed."""

        def call(*given: Any, **named: Any) -> Any:
            before = time.process_time()
            try:
                return function(*given, **named)
            finally:
                self.seconds += time.process_time() - before

        return call


class Timed:
    """Stands before an object and times all calls of its methods."""

    def __init__(self, real: Any, watch: Stopwatch) -> None:
        """Keep both."""
        self._real, self._watch = real, watch

    def __getattr__(self, name: str) -> Any:
        """Return an attribute, a method as one that is timed."""
        found = getattr(self._real, name)
        return self._watch.timed(found) if callable(found) else found


@dataclass(slots=True)
class Drawing:
    """Draws networks, which takes no time, until the real proposer is to be asked.

    Attributes:
        known: hashes of what was drawn.
    """

    real: Proposer
    rng: random.Random
    known: set[str] = field(default_factory=set)
    is_over: bool = False

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], room: Room) -> Found:
        """Return a new network of any size and length."""
        if self.is_over:
            return self.real.propose(ceiling, candidates, room)
        found = draw_uniform(self.real.space, self.rng, ceiling)
        while found.architecture.hash in self.known:
            found = draw_uniform(self.real.space, self.rng, ceiling)
        self.known.add(found.architecture.hash)
        proposal = Proposal(
            trial=len(candidates),
            architecture=found.architecture,
            hash=found.architecture.hash,
            parameters=analyse(found.architecture, MNIST).parameters,
            origin="draw",
            decisions=found.decisions,
            epochs=self.rng.choice(LENGTHS),
        )
        self.real.enter(proposal)
        return Found(proposal, ())

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Pass on what came of a network."""
        self.real.tell(trial, outcome)


class Meter(SearchReporter):
    """Shows a search to nobody, and measures it between two numbers of networks that were trained.

    Attributes:
        marks: (trainings that have ended, processor seconds in all, asking, recording) at these two moments.
    """

    def __init__(self, folder: Path, config: StudyConfig, effort: Effort, drawn: int, count: int) -> None:
        """Measure ``count`` networks after ``drawn`` others; ``session`` and ``drawing`` are to be set."""
        super().__init__(folder, config, effort)
        self.ends = [drawn, drawn + count]
        self.asking, self.recording = Stopwatch(), Stopwatch()
        self.session: Session
        self.drawing: Drawing
        self.runs = 0
        self.marks: list[tuple[int, float, float, float]] = []

    def ended(self, candidate: Candidate, found: Result, decided: Any) -> None:
        """Count a run; let the model choose after the first mark, and end the search at the second."""
        super().ended(candidate, found, decided)
        self.runs += 1
        if found.purpose is not Purpose.SEARCH or self.trained != self.ends[0]:
            return
        self.marks.append((self.runs, time.process_time(), self.asking.seconds, self.recording.seconds))
        self.ends.pop(0)
        if self.ends:
            self.drawing.is_over, self.session.switches = True, ALL_ON
        else:
            self.session.interrupted, self.ends = True, [-1]
