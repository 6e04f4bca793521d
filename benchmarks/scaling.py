"""Trainings an hour of a search on clusters of several nodes, whose workers sleep instead of training.

    python -m benchmarks.scaling --nodes 1,2,3

Each node has one worker. Ray, the messages, the worker processes and the coordinator are real; the trainings are those
of ``sleeping_node``, and the networks are drawn without the model of the errors, so that this machine's cores are not
what is measured. Results go to benchmarks/results/scaling.json and, as a table, to docs/cluster.md. It needs Ray.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import ray_nodes
from benchmarks.coordinator import default_config
from benchmarks.machine import machine
from benchmarks.main_job import numbers
from benchmarks.marked_block import marks, with_block
from benchmarks.simulated_search import Drawing
from benchmarks.sleeping_node import TRAINING_SECONDS, SleepingActor, slept
from harness.commands.searching.search_progress import SearchReporter
from harness.evidence.study import StudyConfig, open_study
from harness.search.effort import Effort
from harness.search.exploration import explore
from harness.search.opening import open_session
from harness.search.proposals.proposer import Proposer
from harness.search.proposals.switches import Switches
from harness.search.session import Session
from harness.system import errors, files
from harness.system.document import documented, read_as
from harness.system.errors import HarnessError, UsageError
from harness.training.cluster import ray_link
from harness.training.cluster.cluster import joined_by
from harness.training.cluster.roster import Asked
from harness.training.native.engine_choice import TORCH
from harness.training.workers.executor import ExecutorOf
from harness.training.workers.workers import Limits, Source

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cluster.md"
RESULTS = ROOT / "benchmarks" / "results" / "scaling.json"
MARKS = marks("scaling", "benchmarks/scaling.py")
# Whatever the workers load, they sleep; this comes with the program.
DATASET = "mnist-5k"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a cluster has trained.

    Attributes:
        trainings: that ended while it was measured, those that were pruned too.
        slept: seconds that they took, all together.
        seconds: of wall-clock, from the end of the first training to that of the last.
    """

    nodes: int
    trainings: int
    slept: float
    seconds: float
    command: str
    date_utc: str
    machine: dict[str, Any]

    @property
    def busy(self) -> float:
        """Return the workers that trained at once, in the mean."""
        return self.slept / self.seconds

    @property
    def an_hour(self) -> float:
        """Return the whole trainings in an hour."""
        return 3600 * self.busy / TRAINING_SECONDS


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """All that was measured, the latest of each number of nodes."""

    paces: tuple[Pace, ...]


class Clock(SearchReporter):
    """Shows a search as every search is shown, notes when trainings end, and ends the search after so many.

    Attributes:
        ends: of each training, by the executor's clock, and how long it has slept.
    """

    def __init__(self, folder: Path, config: StudyConfig, effort: Effort, count: int) -> None:
        super().__init__(folder, config, effort)
        self.count = count
        self.session: Session
        self.ends: list[tuple[float, float]] = []

    def ended(self, candidate: Any, found: Any, decided: Any) -> None:
        """Note an end."""
        super().ended(candidate, found, decided)
        self.ends.append((self.session.executor.now(), slept(found)))
        self.session.interrupted = len(self.ends) >= self.count


def measured(nodes: int, trainings: int, folder: Path, executor_of: ExecutorOf, command: str) -> Pace:
    """Search in an empty folder with so many workers, and return the pace of all trainings but the first."""
    config = default_config()
    open_study(folder, config, {})
    effort = Effort(seconds=None, trials=None, workers=nodes, device="cpu", limits=Limits(), engine=TORCH)
    clock = Clock(folder, config, effort, trainings + 1)
    session = open_session(folder, config, effort, Source(DATASET, None), clock, executor_of)
    assert isinstance(session.proposer, Proposer), "a study's networks are the sampler's"
    clock.session, session.switches = session, Switches(falling_budget=False)
    session.proposer = Drawing(session.proposer, random.Random(0))
    session.executor.start(nodes)
    try:
        explore(session)
    finally:
        session.executor.stop()
    (began, _), *ends = clock.ends[: trainings + 1]
    return Pace(
        nodes=nodes,
        trainings=len(ends),
        slept=sum(seconds for _, seconds in ends),
        seconds=ends[-1][0] - began,
        command=command,
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
    )


def on_cluster(nodes: int, trainings: int, command: str) -> Pace:
    """Start a cluster of so many nodes on this machine, and measure it."""
    with (
        tempfile.TemporaryDirectory(prefix="scaling-") as place,
        ray_nodes.in_one_network(Path(place), nodes) as made,
        ray_link.connected(made.cluster.address) as link,
    ):
        vars(ray_link)["NodeActor"] = SleepingActor
        executor_of = joined_by(link, Asked(device="cpu", engine=TORCH, processes=1))
        return measured(nodes, trainings, Path(place) / "s", executor_of, command)


def table(paces: Paces) -> str:
    """Return the paces as a table."""
    if not paces.paces:
        return "Nothing has been measured yet.\n"
    rows = sorted(paces.paces, key=lambda each: each.nodes)
    alone = next((each.busy for each in rows if each.nodes == 1), None)
    lines = [
        f"| {each.nodes} | {each.trainings} | {each.an_hour:,.0f} | {each.busy:.2f} "
        f"| {'' if alone is None else f'{each.busy / alone:.2f}'} |\n"
        for each in rows
    ]
    last = rows[-1].machine
    commits = sorted({(each.machine["commit"] or "unknown")[:10] for each in rows})
    commands = sorted({each.command for each in rows})
    return (
        "| nodes | trainings | whole trainings an hour | workers at work | times one node |\n"
        + "| ---: " * 5
        + "|\n"
        + "".join(lines)
        + f"\nOn {last['processor']}, {last['cores']} cores, with commit {', '.join(commits)}:\n\n```console\n"
        + "".join(f"$ {command}\n" for command in commands)
        + "```\n"
    )


def read() -> Paces:
    """Return what was measured; nothing where there is no file."""
    return read_as(Paces, files.read_bytes(RESULTS), f"the results {RESULTS}") if RESULTS.exists() else Paces(paces=())


def main() -> None:
    """Measure each number of nodes that is not measured yet, and keep what comes of it."""
    given = _given()
    command = f"python -m benchmarks.scaling --nodes {','.join(map(str, given.nodes))} --trainings {given.trainings}"
    try:
        if min(given.trainings, *given.nodes) < 1:
            raise UsageError("--nodes and --trainings are at least 1")
        errors.require("cluster", ("ray",), "this benchmark")
        for nodes in [] if given.tables_only else given.nodes:
            found = on_cluster(nodes, given.trainings * nodes, command)
            print(f"{nodes} nodes: {found.an_hour:.0f} trainings an hour", flush=True)
            others = [each for each in read().paces if each.nodes != nodes]
            files.write_json(RESULTS, asdict(Paces(paces=(*others, found))))
        files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, table(read())))
    except HarnessError as error:
        print(f"scaling: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=numbers, default=[1, 2, 3], metavar="N[,N]", help="of each cluster [1,2,3]")
    parser.add_argument("--trainings", type=int, default=12, help="that are measured, for each node [12]")
    parser.add_argument("--tables-only", action="store_true", help="write the table again; run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
