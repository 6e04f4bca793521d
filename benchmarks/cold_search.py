"""One search from a cold start: the command in a process of its own and a workspace of its own, and what came of it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.datasets import DATASETS
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Postponed,
    Repeated,
    RunEnded,
    WinnerChosen,
    of_kind,
)
from harness.evidence.leaderboard_csv import Tier
from harness.evidence.study import proposals, read_events, rejections
from harness.system.errors import Interrupted, UsageError
from harness.system.machine import core_count
from harness.training.result import Status

ROOT = Path(__file__).resolve().parent.parent
# These decide neither a default nor a result: where the compiled engine is kept.
KEPT_VARIABLES = {"HARNESS_ENGINE_CACHE"}
# The command line or the data are wrong, or a person has ended the search: nothing that a search can be judged by.
NO_OUTCOME = {2: "its command line is refused", 5: "its data are missing or damaged", 130: "it was interrupted"}
# Keeps a core busy until the process that began it has gone.
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a search is given besides its own options.

    Attributes:
        data: folder of the data; None looks where the program looks.
        half_speed: the search has one core, so that its two workers have half of one each.
        busy: other processes beside it, each of which takes all it gets.
    """

    data: Path | None
    half_speed: bool
    busy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """What a search has verified last; ``tier`` says how sure its mean is."""

    hash: str
    tier: Tier
    parameters: int
    architecture: str
    recipe: str
    mean_test_accuracy_pct: float | None
    std_test_accuracy_pct: float | None
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """How far a search came that has verified nothing.

    Attributes:
        kind: ``not verified`` for a network that stands, but there was no time to verify it; ``one run`` for the run
            with the fewest errors.
        validation_accuracy_pct: None where the journal does not say it.
    """

    kind: str
    hash: str
    parameters: int
    validation_accuracy_pct: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a search.

    Attributes:
        exit_code: below zero where a signal has ended the process.
        seconds: of the whole process, by the clock on the wall.
        first_standing_seconds: of the search, until a network stood for the first time.
        sizes: (seconds of the search, parameters of the smallest network that stands from then on); None for the
            parameters where none does.
        trained: networks with at least one run that has ended.
        proposed: networks that were chosen, rejected or known already.
        missed: verified networks that missed the target before the last one was verified.
        processor_share: seconds of processor time, of the search and all that it began, for each second of each core
            that it could keep busy; None where it was not measured.
    """

    exit_code: int
    reached: bool
    winner: Winner | None
    nearest_miss: NearestMiss | None
    seconds: float
    first_standing_seconds: float | None
    sizes: tuple[tuple[float, int | None], ...]
    trained: int
    proposed: int
    rejected: int
    missed: int = 0
    processor_share: float | None = None


def command_of(options: Sequence[str], seed: int, setting: Setting) -> list[str]:
    """Return the arguments of ``harness`` for a search."""
    given = ["search", *options, "--json", "--seed", str(seed)]
    return [*given, "--workers", "2"] if setting.half_speed and "--workers" not in options else given


def run(arguments: Sequence[str], setting: Setting, folder: Path) -> Outcome:
    """Run a search in an empty folder, which keeps its study, its stdout and its stderr.

    Raises:
        KeyboardInterrupt: Ctrl-C; the search has ended.
        Interrupted: somebody has ended the search.
        UsageError: its command line or its data are wrong, or there is no taskset.
    """
    before, used = time.monotonic(), _processor_seconds()
    with (folder / "stdout.json").open("wb") as out, (folder / "stderr.txt").open("wb") as err, ExitStack() as beside:
        for _ in range(setting.busy):
            beside.enter_context(_busy(setting))
        code = _run_to_its_end(
            [*_pinned(setting), sys.executable, "-m", "harness", *arguments], setting, folder, out, err
        )
        seconds, used = time.monotonic() - before, _processor_seconds() - used
    if code in NO_OUTCOME:
        said = " ".join((folder / name).read_text(errors="replace") for name in ("stdout.json", "stderr.txt")).split()
        kind = Interrupted if code == 130 else UsageError
        raise kind(f"a search gave no outcome, {NO_OUTCOME[code]}: {' '.join(said)[-400:]}")
    log = next(folder.glob("runs/*/log.jsonl"), None)
    events = [] if log is None else read_events(log.parent)
    found = outcome(code, seconds, events, _printed(folder / "stdout.json"), _validation_size(log))
    return replace(found, processor_share=round(used / (seconds * cores_of(arguments, setting)), 3))


def cores_of(arguments: Sequence[str], setting: Setting) -> int:
    """Return how many cores a search can keep busy."""
    cores = 1 if setting.half_speed else core_count()
    return min(cores, int(arguments[arguments.index("--workers") + 1])) if "--workers" in arguments else cores


def _processor_seconds() -> float:
    """Return processor time of all processes that this one has begun and waited for, and of those they have."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def outcome(
    exit_code: int, seconds: float, events: list[Entry[Event]], printed: dict[str, Any], validation_size: int
) -> Outcome:
    """Return what a journal and the printed document say.

    Args:
        events: of the journal, in order; empty where there is none.
        printed: the document of ``--json``; empty where the search broke off.
        validation_size: images that validation accuracies are shares of.
    """
    proposed, rejected = len(proposals(events)), rejections(events).total()
    row = printed.get("winner")
    found = sizes(events)
    return Outcome(
        exit_code=exit_code,
        reached=exit_code == 0 and printed.get("reached") is True,
        winner=None if row is None else Winner(**{name: row[name] for name in Winner.__dataclass_fields__}),
        nearest_miss=nearest_miss(events, validation_size) if row is None else None,
        seconds=round(seconds, 1),
        first_standing_seconds=found[0][0] if found else None,
        sizes=found,
        trained=len({entry.event.trial for entry in of_kind(events, RunEnded)}),
        proposed=proposed + rejected + len(of_kind(events, Repeated)),
        rejected=rejected,
        missed=len(printed.get("missed", [])),
    )


def sizes(events: list[Entry[Event]]) -> tuple[tuple[float, int | None], ...]:
    """Return (seconds, parameters of what stands from then on); None where what stood was refuted."""
    found: list[tuple[float, int | None]] = []
    standing: int | None = None
    for entry in events:
        match entry.event:
            case Confirmed(trial=standing, parameters=parameters):
                found.append((entry.elapsed, parameters))
            case FailedConfirmation(trial=trial) if trial == standing:
                standing = None
                found.append((entry.elapsed, None))
    return tuple(found)


def nearest_miss(events: list[Entry[Event]], validation_size: int) -> NearestMiss | None:
    """Return the network that waits for its verification, else that of the best run; None where no run has ended."""
    if postponed := of_kind(events, Postponed):
        last = postponed[-1].event
        known = [entry.event for entry in of_kind(events, WinnerChosen) if entry.event.hash == last.hash]
        accuracy = known[-1].validation_accuracy_pct if known else None
        return NearestMiss(
            kind="not verified", hash=last.hash, parameters=last.parameters, validation_accuracy_pct=accuracy
        )
    networks = {proposal.trial: proposal for proposal in proposals(events)}
    runs = [
        (entry.event.validation_errors, entry.elapsed, entry.event.trial)
        for entry in of_kind(events, RunEnded)
        if entry.event.status is Status.COMPLETE and entry.event.validation_errors is not None
    ]
    if not runs:
        return None
    errors, _, trial = min(runs, key=lambda run: run[:2])
    network = networks[trial or 0]
    return NearestMiss(
        kind="one run",
        hash=network.hash,
        parameters=network.parameters,
        validation_accuracy_pct=100 * (1 - errors / validation_size),
    )


def _run_to_its_end(command: list[str], setting: Setting, folder: Path, out: Any, err: Any) -> int:
    """Return the exit code; Ctrl-C is passed on, and the end of the search waited for.

    In a session of its own the search hears of Ctrl-C from here alone: a second one would end it at once.
    """
    process = subprocess.Popen(
        command, cwd=folder, env=_environment(setting, folder), stdout=out, stderr=err, start_new_session=True
    )
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(signal.SIGINT)
        else:
            break
    if interrupted:
        raise KeyboardInterrupt
    return code


@contextmanager
def _busy(setting: Setting) -> Iterator[None]:
    """Keep a core busy for the block."""
    process = subprocess.Popen([*_pinned(setting), sys.executable, "-c", BUSY, str(os.getpid())])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _pinned(setting: Setting) -> list[str]:
    if not setting.half_speed:
        return []
    found = shutil.which("taskset")
    if found is None:
        raise UsageError("this machine is to be halved, and has no taskset, which keeps a process on one core")
    return [found, "-c", str(min(os.sched_getaffinity(0)))]


def _environment(setting: Setting, folder: Path) -> dict[str, str]:
    """Return the variables of this process without those that tell the program what to do."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HARNESS_") or name in KEPT_VARIABLES
    }
    # The code that is measured is that of this checkout, wherever the program is installed from.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    made = kept | {"HARNESS_WORKSPACE": str(folder), "PYTHONPATH": path}
    return made if setting.data is None else made | {"HARNESS_DATA": str(setting.data)}


def _printed(path: Path) -> dict[str, Any]:
    """Return the document that a search has printed; an empty one where it broke off, or printed an error."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return document if isinstance(document, dict) and "error" not in document else {}


def _validation_size(log: Path | None) -> int:
    if log is None:
        return 0
    config = json.loads((log.parent / "config.json").read_text(encoding="utf-8"))["config"]
    return DATASETS[config["dataset"]].validation_size
