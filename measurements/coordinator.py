"""Measure the processor seconds of a search's coordinator per training: proposing, recording and the rest.

    python -m measurements.coordinator --workers 2,16,64,256 --drawn 1000 --rounds 2

The coordinator is that of ``harness search`` with the default options and without a time limit, in a temporary folder.
Its workers are simulated: a training takes about a minute of a simulated clock, and its errors are computed from
parameters and epochs. To save time, the first ``--drawn`` networks are drawn at random, without the surrogate model.
Then the networks are measured that all workers train in ``--rounds`` rounds. Results go to
measurements/results/coordinator.json and replace earlier results of the same numbers. The table for
docs/evidence/measurements.md is printed.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench.replay import Replayed, SimulatedExecutor
from harness.data.datasets import DATASETS
from harness.evidence.bounds import ErrorRatio
from harness.interface.session import SearchProgress
from harness.searching.finder import Finder, Inquiry, InquiryAnswer
from harness.searching.loop import explore, open_search
from harness.searching.plan import LENGTHS
from harness.searching.proposer import ALL_ON, Proposer, Switches
from harness.searching.scheduler import rungs
from harness.searching.search_state import Search
from harness.searching.surrogate.prior import prior_of_package, write_prior
from harness.searching.time_budget import Effort
from harness.spaces.catalog import space
from harness.spaces.network import MNIST, analyse
from harness.spaces.space import draw_uniform
from harness.studies.candidate import Candidate
from harness.studies.config import StudyConfig, open_study
from harness.studies.events import Entry, Event, Proposal, RunEnded
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system import files
from harness.training.executors.base import DataLocation, Limits
from harness.training.recipe import named_recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job
from measurements.machine_facts import machine

RESULTS = Path(__file__).resolve().parent / "results" / "coordinator.json"
SIZE = 10_000  # validation images
MINUTE = 60.0  # seconds, mean duration of a simulated training


def made_up(job: Job, repeat: int) -> Replayed:
    """Return a simulated training of about a minute; errors depend on parameters, epochs (as in the prior) and seed."""
    analysis = analyse(job.architecture, MNIST)
    epochs = job.recipe.epochs
    rng = random.Random(f"{job.architecture.hash}/{epochs}/{job.purpose}/{job.seed_index}")
    final = 60 * (analysis.parameters / 1_500) ** -0.5 * (epochs / 20) ** -0.3 * math.exp(rng.gauss(0, 0.08))
    seconds = MINUTE * rng.uniform(0.9, 1.1)
    shares = {number: number / epochs for number in range(1, epochs + 1)}
    errors = {number: round(final * (1 + 4 * (1 - share) ** 2.6)) for number, share in shares.items()}
    spent = {number: seconds * share for number, share in shares.items()}
    return Replayed(job.architecture.hash, analysis.parameters, analysis.macs, SIZE, errors, spent, Status.COMPLETE)


class Meter(SearchProgress):
    """Wrapper around the proposer and the log of a search that sums the processor seconds of both.

    The first networks are drawn at random, which takes almost no time; afterwards the real proposer is used. ``marks``
    has an item at the beginning and at the end of the measurement: the number of finished trainings, and the processor
    seconds in total, of proposing (``asking``) and of recording.
    """

    def __init__(self, config: StudyConfig, effort: Effort, drawn: int, count: int) -> None:
        """Measure ``count`` networks after ``drawn`` drawn networks."""
        super().__init__(config, effort)
        self.ends = [drawn, drawn + count]  # numbers of networks at which marks are set
        self.rng = random.Random(0)
        self.known: set[str] = set()
        self.runs = 0
        self.asking = 0.0
        self.recording = 0.0
        self.marks: list[dict[str, float]] = []
        self.search: Search

    def stand_between(self, search: Search) -> None:
        """Replace the proposer and the ``add`` method of a search."""
        assert isinstance(search.proposer, Proposer), "the sampler is not a user-defined method"
        self.search = search
        self.real = search.proposer
        self.add = search.add
        search.proposer = self
        search.add = self.record  # type: ignore[method-assign]
        # With a falling budget there would be hardly any networks left to draw.
        search.switches = Switches(falling_budget=False)

    def record(self, event: Event, elapsed: float | None = None) -> None:
        """Record an event and add the processor seconds."""
        began = time.process_time()
        self.add(event, elapsed)
        self.recording += time.process_time() - began

    def restore(self, events: Iterable[Event], candidates: Mapping[int, Candidate]) -> None:
        """Restore the real proposer."""
        self.real.restore(events, candidates)

    def finder(self, inquiry: Inquiry) -> Finder:
        """Return the candidate generator of the real proposer."""
        return self.real.finder(inquiry)

    def propose(self, inquiry: Inquiry) -> InquiryAnswer:
        """Return the answer of the real proposer, or a drawn network before the measurement."""
        began = time.process_time()
        answer = self.real.propose(inquiry) if self.marks else self._drawn(inquiry)
        self.asking += time.process_time() - began
        return answer

    def _drawn(self, inquiry: Inquiry) -> InquiryAnswer:
        draw = draw_uniform(self.real.space, self.rng, inquiry.max_cost)
        while draw.architecture.hash in self.known:
            draw = draw_uniform(self.real.space, self.rng, inquiry.max_cost)
        self.known.add(draw.architecture.hash)
        proposal = Proposal(
            trial=len(inquiry.candidates),
            architecture=draw.architecture,
            hash=draw.architecture.hash,
            parameters=analyse(draw.architecture, MNIST).parameters,
            origin="draw",
            decisions=draw.decisions,
            epochs=self.rng.choice(LENGTHS),
        )
        self.real.restore([proposal], {})
        return InquiryAnswer(proposal, ())

    def tell(self, candidate: Candidate) -> None:
        """Pass the result of a candidate to the real proposer."""
        began = time.process_time()
        self.real.tell(candidate)
        self.asking += time.process_time() - began

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        """Count a run; enable the real proposer at the first mark, and end the search at the second mark."""
        began = time.process_time()
        super().on_entry(state, entry)
        # Displaying the event happens within ``record``, but is not recording.
        self.recording -= time.process_time() - began
        if not isinstance(entry.event, RunEnded):
            return
        self.runs += 1
        result = entry.event.run
        if result.purpose is Purpose.SEARCH and self.ends and self.search.state.trained_count == self.ends[0]:
            seconds = {"total": time.process_time(), "asking": self.asking, "recording": self.recording}
            self.marks.append({"runs": self.runs, **seconds})
            self.ends.pop(0)
            self.search.switches = ALL_ON
            self.search.interrupted = not self.ends


def measured(workers: int, drawn: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Run a search in an empty folder and return the processor seconds of the coordinator per training."""
    config = default_config()
    write_prior(folder, prior_of_package("mnist"))
    open_study(folder, config, {})
    effort = Effort(seconds=None, trials=None, workers=workers, device="cpu", limits=Limits(), engine="native")
    with redirect_stderr(io.StringIO()):
        meter = Meter(config, effort, drawn, rounds * workers)
        state = StudyLog(folder).recover_into(StudyState(folder, config))
        simulated = SimulatedExecutor(made_up, 0, math.inf)
        search = open_search(state, effort, DataLocation("mnist", None), lambda *_: simulated, observers=(meter,))
        meter.stand_between(search)
        search.executor.start(workers)
        explore(search)
    before, after = meter.marks
    trainings = round(after["runs"] - before["runs"])
    seconds = {name: (after[name] - before[name]) / trainings for name in ("total", "asking", "recording")}
    return {
        "workers": workers,
        "drawn": drawn,
        "rounds": rounds,
        "trainings": trainings,
        **seconds,
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
    }


def default_config() -> StudyConfig:
    """Return the configuration of ``harness search`` with the default options."""
    recipe = named_recipe("small")
    data = DATASETS["mnist"]
    return StudyConfig(
        dataset="mnist",
        data_hash="0" * 64,
        budget=20_000,
        target_pct=data.target_pct,
        threshold_pct=round(ErrorRatio.of(data, data.target_pct).threshold_pct(data.target_pct), 6),
        space="all",
        space_text=space("all").text,
        sampler="surrogate",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=rungs(recipe.recipe.epochs),
        seed=0,
        lengths=LENGTHS,
        prior="shipped",
    )


def table(costs: list[dict[str, Any]]) -> str:
    """Return the costs as a Markdown table; "of a core" is the load if each worker returns a result per minute."""
    head = "| workers | networks before | trainings | s a training | of it asking | recording | of a core |\n"
    rows = [
        f"| {each['workers']} | {each['drawn']:,} | {each['trainings']:,} | {each['total']:.3f} | {each['asking']:.3f} "
        f"| {each['recording']:.3f} | {each['total'] * each['workers'] / MINUTE:.2f} |\n"
        for each in sorted(costs, key=lambda each: (each["drawn"], each["workers"]))
    ]
    commits = sorted({each["machine"]["commit"][:10] for each in costs})
    measured_on = f"On {costs[-1]['machine']['processor']}, with commit {', '.join(commits)}.\n"
    return f"{head}{'| ---: ' * 7}|\n{''.join(rows)}\n{measured_on}"


def main() -> None:
    """Measure each number of workers, write the results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="2,16,64,256", metavar="N[,N]", help="simulated [2,16,64,256]")
    parser.add_argument("--drawn", type=int, default=1_000, help="networks before those that are measured [1000]")
    parser.add_argument("--rounds", type=int, default=2, help="networks a worker that are measured [2]")
    arguments = parser.parse_args()
    costs = json.loads(RESULTS.read_text(encoding="utf-8"))["costs"]
    for workers in map(int, arguments.workers.split(",")):
        with tempfile.TemporaryDirectory(prefix="coordinator-") as folder:
            cost = measured(workers, arguments.drawn, arguments.rounds, Path(folder) / "s")
        costs = [each for each in costs if (each["workers"], each["drawn"]) != (workers, arguments.drawn)] + [cost]
        files.write_json(RESULTS, {"costs": costs})
    print(table(costs))


if __name__ == "__main__":
    main()
