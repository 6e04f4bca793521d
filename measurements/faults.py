"""Kinds of faults that a search must survive: the fault itself, and the environment of the search."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.system.errors import ContentError, StorageError
from measurements import accounts, postgres_server
from measurements.small_search import SmallSearch

DISK_MIB = 16  # size of the disk that is filled
TIME_LIMIT = "10s"  # time limit of a training, for the fault that stops a worker


@dataclass(slots=True)
class Surroundings:
    """Environment of a search with faults.

    Attributes:
        options: Further options of ``harness search``.
        thing: Object used by the fault, such as a database server, a cluster or a list; None if not needed.
        lacks: Function that returns missing results outside the files of the search, called at the end.
        left: Function that returns leftover processes, called at the end.
    """

    options: Sequence[str] = ()
    thing: Any = None
    lacks: Callable[[SmallSearch], list[str]] = lambda search: []
    left: Callable[[], list[str]] = list


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Kind of fault.

    Attributes:
        what: Description for the table.
        strike: Function that injects the fault and makes the search continue.
        around: Context manager that sets up the surroundings; the argument is the folder of the search.
        why_not: Function that returns why the fault is not possible on this machine; empty if possible.
        each_session: Whether the fault ends the session. Its time is then drawn within each session, otherwise after
            the end of a run.
        is_repeatable: Whether the fault keeps the order of events, so that the answer must be bitwise equal.
        ends: Allowed exit codes of interrupted sessions; negative numbers are signals.
        minutes: Whether a fault costs minutes instead of seconds.
        at_once: Most faults in a search.
    """

    what: str
    strike: Callable[[SmallSearch, random.Random, Surroundings], None]
    around: Callable[[Path], AbstractContextManager[Surroundings]]
    why_not: Callable[[], str] = lambda: ""
    each_session: bool = True
    is_repeatable: bool = True
    ends: frozenset[int] = frozenset()
    minutes: bool = False
    at_once: int = 12


def _kill_coordinator(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    search.kill()
    search.go_on()


def _kill_worker(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    if (worker := _worker(search, rng)) is not None:
        os.kill(worker, signal.SIGKILL)


def _stop_worker(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    if (worker := _worker(search, rng)) is not None:
        os.kill(worker, signal.SIGSTOP)
        search.wait_for(lambda: worker not in search.workers())
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)


def _worker(search: SmallSearch, rng: random.Random) -> int | None:
    """Return the process id of a worker; wait for a worker, and return None if the search ends first."""
    numbers: list[int] = []

    def is_found() -> bool:
        numbers.extend(search.workers())
        return bool(numbers)

    search.wait_for(is_found)
    return rng.choice(numbers) if numbers and search.is_running() else None


def _fill_disk(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    """Fill the disk completely, wait until the search ends, and free the disk.

    If the search ends with exit code 0, its answer is kept: the answer must not change afterwards.
    """
    filler = search.work / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    code = search.wait()
    filler.unlink()
    if code == 0:
        surroundings.thing.append(accounts.answer(search.work))
    search.go_on()


def _tear(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    """Kill the coordinator and append an incomplete line to each log, as an interrupted write would do.

    The program refuses a torn ledger with ContentError and leaves the repair to the user, so this function restores the
    ledger.
    """
    search.kill()
    whole: dict[Path, bytes] = {}
    for path in (search.work / name for name in accounts.LOGS):
        if path.exists() and (lines := path.read_bytes().splitlines()):
            whole[path] = path.read_bytes()
            with path.open("ab") as file:
                file.write(lines[-1][: rng.randrange(1, len(lines[-1]))])
    search.go_on()
    ledger = search.work / accounts.LEDGER
    if ledger in whole and search.wait() == ContentError.exit_code:
        ledger.write_bytes(whole[ledger])
        search.go_on()


def _kill_database(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    surroundings.thing.kill()
    time.sleep(rng.uniform(0, 3))
    surroundings.thing.start()


def _one_worker(folder: Path, *more: str) -> AbstractContextManager[Surroundings]:
    return nullcontext(Surroundings(("--workers", "1", *more)))


@contextmanager
def _small_disk(folder: Path) -> Iterator[Surroundings]:
    work = folder / "work"
    work.mkdir(parents=True)
    _mount(work)
    answers: list[dict[str, Any]] = []

    def changed(search: SmallSearch) -> list[str]:
        last = accounts.answer(search.work)
        return [f"an end with exit code 0 before the last line: {each}" for each in answers if each != last]

    try:
        yield Surroundings(("--workers", "1"), answers, lacks=changed)
    finally:
        subprocess.run(["umount", str(work)], check=True)


def _mount(folder: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(folder)], check=True, capture_output=True
    )


@contextmanager
def _database(folder: Path) -> Iterator[Surroundings]:
    programs = postgres_server.programs()
    assert programs is not None, "``why_not`` has reported a missing server"
    with postgres_server.server(programs) as server:
        url = server.url()
        options = ("--workers", "1", "--storage", url)
        yield Surroundings(options, server, lacks=lambda search: _not_mirrored(search, url))


def _not_mirrored(search: SmallSearch, url: str) -> list[str]:
    """Return the trials whose first run differs between the database and the files.

    The database may have been down at the end of the search, so ``harness report --storage`` updates the mirror first.
    """
    code = search.process_of(["report", "s", "--storage", url]).wait()
    if code != 0:
        return [f"harness report --storage has ended with exit code {code}"]
    import optuna
    from optuna.storages import RDBStorage

    storage = RDBStorage(url)
    try:
        trials = optuna.load_study(study_name="s", storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()
    rows = {(trial.number, trial.user_attrs["hash"], trial.state.name.lower()) for trial in trials}
    answer = accounts.answer(search.work)
    # A run is (trial, purpose, seed).
    status_of_trial = {run["run"][0]: run["status"] for run in answer["runs"] if run["run"][1] == "search"}
    expected = {(event["trial"], event["hash"], status_of_trial.get(event["trial"])) for event in answer["proposed"]}
    return [f"not in the database as in the files: {each}" for each in sorted(expected ^ rows, key=str)]


def _no_mounting() -> str:
    """Return why this user cannot mount a disk; empty if possible."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount(Path(folder))
        except (OSError, subprocess.CalledProcessError):
            return "this user may not mount a disk"
        subprocess.run(["umount", folder], check=True)
    return ""


KINDS = {
    "coordinator": Kind(
        what="SIGKILL of the command; then the same command again",
        strike=_kill_coordinator,
        around=_one_worker,
        ends=frozenset({-signal.SIGKILL}),
    ),
    "torn": Kind(
        what="the same, and the beginning of a line at the end of each log",
        strike=_tear,
        around=_one_worker,
        ends=frozenset({-signal.SIGKILL, ContentError.exit_code}),
    ),
    "disk": Kind(
        what="a full disk; then the same command again with room",
        strike=_fill_disk,
        around=_small_disk,
        why_not=_no_mounting,
        ends=frozenset({StorageError.exit_code, 0}),
    ),
    "worker": Kind(what="SIGKILL of a worker process", strike=_kill_worker, around=_one_worker, each_session=False),
    "stopped": Kind(
        what=f"SIGSTOP of a worker process beyond its time limit of {TIME_LIMIT}, then SIGCONT",
        strike=_stop_worker,
        around=lambda folder: _one_worker(folder, "--trial-time", TIME_LIMIT),
        each_session=False,
        is_repeatable=False,
        # A timed-out training is not repeated: more faults could remove all five trainings of the search.
        at_once=2,
    ),
    "database": Kind(
        what="SIGKILL of the PostgreSQL server behind `--storage`; started again within 3 s",
        strike=_kill_database,
        around=_database,
        why_not=lambda: "" if postgres_server.programs() else "there is no PostgreSQL server (initdb)",
        each_session=False,
        at_once=4,
    ),
}
