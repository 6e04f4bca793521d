"""Kinds of faults that a search has to survive: what each does to a running one, and what that search is given."""

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

from benchmarks import accounts, postgres_server
from benchmarks.small_search import SmallSearch
from harness.system.errors import ContentError, StorageError

DISK_MIB = 16
TIME_LIMIT = "10s"


@dataclass(slots=True)
class Surroundings:
    """What a search is given besides its own options.

    Attributes:
        options: of ``harness search``.
        thing: what the fault strikes or takes notes in: a database, a cluster, a list; None where it is the search.
        lacks: looks for what is missing at the end, beyond the search's own files; ``left`` for what is left over.
    """

    options: Sequence[str] = ()
    thing: Any = None
    lacks: Callable[[SmallSearch], list[str]] = lambda search: []
    left: Callable[[], list[str]] = list


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault.

    Attributes:
        what: for people.
        strike: does it, and makes the search go on.
        around: what the search is given, as a block; its argument is the folder of the search.
        why_not: why this machine cannot have it; empty where it can.
        each_session: it ends the session, so its moment is drawn anew for each; else one follows the end of a run.
        is_repeatable: the order of events is as without it, so that the answer must be equal to the bit.
        ends: exit codes with which it may end a session; one below zero is a signal.
        minutes: it costs minutes rather than seconds.
        at_once: most faults in one search.
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
    numbers: list[int] = []

    def is_found() -> bool:
        numbers.extend(search.workers())
        return bool(numbers)

    search.wait_for(is_found)
    return rng.choice(numbers) if numbers and search.is_running() else None


def _fill_disk(search: SmallSearch, rng: random.Random, surroundings: Surroundings) -> None:
    """Fill the disk to its last page, wait until the search has given up, and make room.

    Where it had already written all it ends in order; then nothing may be left to do.
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
    """Kill the coordinator, and leave the beginning of a line at the end of every log: a write that was cut short.

    A ledger is never passed over: the command says which line is torn, and a person removes it.
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

    def unfinished(search: SmallSearch) -> list[str]:
        last = accounts.answer(search.work)
        return [f"an end with exit code 0 before the last line: {each}" for each in answers if each != last]

    try:
        yield Surroundings(("--workers", "1"), answers, unfinished)
    finally:
        subprocess.run(["umount", str(work)], check=True)


def _mount(folder: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(folder)], check=True, capture_output=True
    )


@contextmanager
def _database(folder: Path) -> Iterator[Surroundings]:
    programs = postgres_server.programs()
    assert programs is not None, "who has no server is told so before"
    with postgres_server.server(programs) as server:
        url = server.url()
        options = ("--workers", "1", "--storage", url)
        yield Surroundings(options, server, lambda search: _not_mirrored(search, url))


def _not_mirrored(search: SmallSearch, url: str) -> list[str]:
    """Return the trials whose first run the database does not hold as the files do.

    It may have been away when the search ended; then ``harness report --storage`` catches up, as the search says.
    """
    code = search.begun(["report", "s", "--storage", url]).wait()
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
    runs = accounts.answer(search.work)
    first = {run["run"][0]: run["status"] for run in runs["runs"] if run["run"][1] == "search"}
    wanted = {(event["trial"], event["hash"], first.get(event["trial"])) for event in runs["proposed"]}
    return [f"not in the database as in the files: {each}" for each in sorted(wanted ^ rows, key=str)]


def _no_mounting() -> str:
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
        # A time limit is the outcome of a training: with more faults, each of its five trainings may be lost.
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
