"""Processor seconds that the coordinator of a search takes for a training: asking, recording, and all that follows.

    python -m benchmarks.coordinator --plan
    python -m benchmarks.coordinator --workers 2,16,64,256 --drawn 1000 --rounds 2

The coordinator is that of ``harness search`` with its defaults and no end in time, in a folder of its own. Its workers
are simulated: each training takes about a minute of a clock that costs nothing, and its errors are made up from size
and length. So that a long search need not be waited for, its first networks (``--drawn``) are drawn without the model
of the errors. Then as many networks are measured as all workers train in so many ``--rounds``. Results go to
benchmarks/results/coordinator.json and, as a table, to docs/measurements.md.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import sys
import tempfile
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.machine import machine
from benchmarks.main_job import numbers
from benchmarks.marked_block import marks, with_block
from benchmarks.search_defaults import DATASET
from benchmarks.simulated_search import MINUTE, Drawing, MadeUp, Meter, Timed
from harness.bench.simulation.clock import SimulatedExecutor
from harness.data.datasets import DATASETS
from harness.evidence.error_ratio import error_ratio_of
from harness.evidence.study import StudyConfig, open_study
from harness.search.effort import Effort
from harness.search.exploration import explore
from harness.search.opening import open_session
from harness.search.proposals.prior import keep
from harness.search.proposals.proposer import Proposer
from harness.search.proposals.switches import Switches
from harness.search.proposals.trainings import shipped
from harness.search.pruning import rungs
from harness.search.run_plan import LENGTHS
from harness.search.session import FolderLog
from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import HarnessError, UsageError
from harness.training.recipe import named_recipe
from harness.training.workers import Executor, Limits, Source
from search_spaces.catalog import space

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "measurements.md"
RESULTS = ROOT / "benchmarks" / "results" / "coordinator.json"
MARKS = marks("coordinator", "benchmarks/coordinator.py")
WORKERS = [2, 16, 64, 256]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Processor seconds for a training, the mean over those of ``rounds`` networks a worker.

    Attributes:
        drawn: networks that the search had before.
        trainings: that ended meanwhile, on first and on fresh seeds; a fresh seed asks for no network.
        asking: of ``total``, for the choice of the next network.
        recording: for results and the log.
    """

    workers: int
    drawn: int
    rounds: int
    trainings: int
    total: float
    asking: float
    recording: float
    command: str
    date_utc: str
    machine: dict[str, Any]

    @property
    def share(self) -> float:
        """Of a core, where every worker has a result a minute."""
        return self.total * self.workers / MINUTE


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """All that was measured, the latest of each number of workers and of networks before."""

    costs: tuple[Cost, ...]


def measured(workers: int, drawn: int, rounds: int, folder: Path, command: str) -> Cost:
    """Search in an empty folder and return what a training has cost the coordinator."""
    config = default_config()
    keep(folder, shipped(DATASET))
    open_study(folder, config, {})
    effort = Effort(seconds=None, trials=None, workers=workers, device="cpu", limits=Limits(), engine="native")
    with redirect_stderr(io.StringIO()):
        meter = Meter(folder, config, effort, drawn, rounds * workers)
        session = open_session(folder, config, effort, Source(DATASET, None), meter, _simulated)
        assert isinstance(session.proposer, Proposer), "a study's networks are the sampler's"
        meter.session, meter.drawing = session, Drawing(session.proposer, random.Random(0))
        # Below the smallest that stands there is hardly anything to draw.
        session.switches = Switches(falling_budget=False)
        session.proposer = Timed(meter.drawing, meter.asking)
        session.log = cast(FolderLog, Timed(session.log, meter.recording))
        session.executor.start(workers)
        explore(session)
    (runs, *before), (more, *after) = meter.marks
    total, asking, recording = ((late - early) / (more - runs) for early, late in zip(before, after, strict=True))
    return Cost(
        workers=workers,
        drawn=drawn,
        rounds=rounds,
        trainings=more - runs,
        total=total,
        asking=asking,
        recording=recording,
        command=command,
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
    )


def _simulated(source: Source, limits: Limits) -> Executor:
    return SimulatedExecutor(MadeUp(), 0, math.inf)


def default_config() -> StudyConfig:
    """Return the configuration of ``harness search`` with its defaults."""
    recipe, data = named_recipe("small"), DATASETS[DATASET]
    return StudyConfig(
        dataset=DATASET,
        data_hash="0" * 64,
        budget=20_000,
        target_pct=data.target_pct,
        threshold_pct=round(error_ratio_of(DATASET).threshold_pct(data.target_pct), 6),
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


def table(costs: Costs) -> str:
    """Return the costs as a table."""
    if not costs.costs:
        return "Nothing has been measured yet.\n"
    head = "| workers | networks before | trainings | s a training | of it asking | recording | of a core |\n"
    rows = [
        f"| {each.workers} | {each.drawn:,} | {each.trainings:,} | {each.total:.3f} | {each.asking:.3f} "
        f"| {each.recording:.3f} | {each.share:.2f} |\n"
        for each in sorted(costs.costs, key=lambda each: (each.drawn, each.workers))
    ]
    last = costs.costs[-1].machine
    commits = sorted({(each.machine["commit"] or "unknown")[:10] for each in costs.costs})
    measured_on = f"On {last['processor']}, with commit {', '.join(commits)}.\n"
    return f"{head}{'| ---: ' * 7}|\n{''.join(rows)}\n{measured_on}"


def read() -> Costs:
    """Return what was measured; nothing where there is no file."""
    return read_as(Costs, files.read_bytes(RESULTS), f"the results {RESULTS}") if RESULTS.exists() else Costs(costs=())


def with_cost(costs: Costs, new: Cost) -> Costs:
    """Return the costs with this one in the place of an older one of the same case."""
    others = [each for each in costs.costs if (each.workers, each.drawn) != (new.workers, new.drawn)]
    return replace(costs, costs=(*others, new))


def main() -> None:
    """Measure each number of workers, and keep what comes of it."""
    given = _given()
    command = f"python -m benchmarks.coordinator --workers {','.join(map(str, given.workers))}"
    command += f" --drawn {given.drawn} --rounds {given.rounds}"
    try:
        if min(given.rounds, given.drawn, *given.workers) < 1:
            raise UsageError("--workers, --drawn and --rounds are at least 1")
        for workers in [] if given.tables_only else given.workers:
            if given.plan:
                print(
                    f"{workers} workers: {given.drawn:,} networks are drawn, then {given.rounds * workers:,} measured"
                )
                continue
            with tempfile.TemporaryDirectory(prefix="coordinator-") as folder:
                found = measured(workers, given.drawn, given.rounds, Path(folder) / "s", command)
            print(f"{workers} workers: {found.total:.3f} s a training, {found.share:.2f} of a core", flush=True)
            files.write_json(RESULTS, asdict(with_cost(read(), found)))
        if not given.plan:
            page = with_block(PAGE.read_text(encoding="utf-8"), MARKS, table(read()))
            files.write_text(PAGE, page)
    except HarnessError as error:
        print(f"coordinator: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=numbers, default=WORKERS, metavar="N[,N]", help="simulated [2,16,64,256]")
    parser.add_argument("--drawn", type=int, default=1_000, help="networks before those that are measured [1000]")
    parser.add_argument("--rounds", type=int, default=2, help="networks a worker that are measured [2]")
    parser.add_argument("--plan", action="store_true", help="say what would be run; run nothing")
    parser.add_argument("--tables-only", action="store_true", help="write the table again; run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
