"""A search whose study is kept in a PostgreSQL database, which is killed and hangs while the search goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import study
from harness.evidence.mirror import process
from harness.evidence.mirror.process import Mirroring
from harness.search import search
from harness.system.errors import UsageError
from harness.training.workers import Source
from tests.harness import postgres, scripted
from tests.harness.loaded_study import loaded
from tests.harness.postgres import Server
from tests.harness.silent import Silent

CONFIG = scripted.config()
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.server() as made:
        yield made


class Watching(Silent):
    """Nudges the mirror at each tick, and does what is to be done when so many networks have been trained."""

    def __init__(self, mirroring: Mirroring, at: dict[int, Callable[[], None]]) -> None:
        self.mirroring, self.at = mirroring, at

    def tick(self, *where: object) -> None:
        self.mirroring.refresh()
        for trained in [trained for trained in self.at if trained <= self.trained]:
            self.at.pop(trained)()


def decided(folder: Path) -> list[dict[str, Any]]:
    """Return all that a search has decided, without times."""
    drop = {"elapsed", "utc", "command"}
    return [{key: value for key, value in event.items() if key not in drop} for event in scripted.events(folder)]


def check_mirrored(folder: Path, url: str) -> None:
    """All networks of the files are in the database, each once, with the errors that the files have."""
    with loaded(url, folder.name) as found:
        trials, attributes = found.trials, found.user_attrs
    first = [result for result in study.finished_results(folder) if result.purpose == "search"]
    assert [trial.number for trial in trials] == list(range(len(first)))
    assert [trial.user_attrs["hash"] for trial in trials] == [result.hash for result in first]
    assert [trial.state.name for trial in trials] == [result.status.name for result in first]
    for trial, result in zip(trials, first, strict=True):
        errors = {epoch.epoch: epoch.validation_errors or 0 for epoch in result.history}
        assert trial.intermediate_values == {
            epoch: 100 * errors[epoch] / scripted.SIZE for epoch in (2, 4, 8) if epoch in errors
        }
    (winner,) = scripted.events(folder, "winner")
    assert attributes["winner's trial"] == winner["trial"]
    assert attributes["search"] == "ended: trials"


def until(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.1)


def has_said(mirroring: Mirroring, said: list[str], count: int) -> bool:
    mirroring.refresh()
    return len(said) >= count


def searched(folder: Path, watcher: Silent) -> None:
    study.open_study(folder, CONFIG, {})
    search.run_search(folder, CONFIG, scripted.effort(), Source("mnist", None), watcher, ["harness", "search"])


def test_a_database_that_is_killed_while_a_search_runs_ends_with_all_that_the_files_hold(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, seconds in {"PAUSE_SECONDS": 0.0, "AWAY_SECONDS": 0.1}.items():
        monkeypatch.setattr(process, name, seconds)
    scripted.without_processes(monkeypatch)
    searched(tmp_path / "alone", Silent())
    folder, said = tmp_path / "killed", list[str]()

    with Mirroring(folder, CONFIG, server.url(), said.append) as mirroring:

        def wait_for_trials() -> None:
            def trials() -> int:
                mirroring.refresh()
                with loaded(server.url(), "killed") as found:
                    return len(found.trials)

            until(lambda: trials() > 2)

        def kill() -> None:
            server.kill()
            until(lambda: has_said(mirroring, said, 1))

        def restart() -> None:
            server.start()
            until(lambda: has_said(mirroring, said, 2))

        searched(
            folder, Watching(mirroring, {4: wait_for_trials, 5: kill, 9: restart, 12: server.kill, 14: server.start})
        )

    assert "is away" in said[0]
    assert "is back" in said[1]
    check_mirrored(folder, server.url())
    # What is done to the database changes nothing of the search.
    assert decided(folder) == decided(tmp_path / "alone")


def test_a_database_that_hangs_stops_nobody(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "PAUSE_SECONDS", 0.0)
    scripted.without_processes(monkeypatch)
    folder, said, took = tmp_path / "hanging", list[str](), list[float]()

    with Mirroring(folder, CONFIG, server.url(), said.append) as mirroring:
        watching = Watching(mirroring, {3: lambda: server.hang(stopped=True), 12: lambda: server.hang(stopped=False)})
        refresh = mirroring.refresh

        def timed() -> None:
            before = time.perf_counter()
            refresh()
            took.append(time.perf_counter() - before)

        monkeypatch.setattr(mirroring, "refresh", timed)
        searched(folder, watching)

    assert said == []
    check_mirrored(folder, server.url())
    # It neither waits for the database nor for the process that does; the median does not see a busy machine.
    assert sorted(took)[len(took) // 2] < 0.01


def test_a_process_that_hangs_is_killed_and_started_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(process, "PAUSE_SECONDS", 0.0)
    scripted.without_processes(monkeypatch)
    folder, said = tmp_path / "again", list[str]()

    with Mirroring(folder, CONFIG, server.url(), said.append) as mirroring:
        server.hang(stopped=True)
        searched(folder, Silent())
        monkeypatch.setattr(process, "HANGING_SECONDS", 0.5)
        until(lambda: has_said(mirroring, said, 1))
        server.hang(stopped=False)
        monkeypatch.setattr(process, "HANGING_SECONDS", 60.0)
        until(lambda: has_said(mirroring, said, 2))

    assert "no answer" in said[0]
    assert "is back" in said[1]
    check_mirrored(folder, server.url())


@pytest.mark.parametrize("password", ["wr0ng", "s3cret%2Fwor"])
def test_a_wrong_password_is_refused_and_not_repeated(password: str, server: Server, tmp_path: Path):
    with pytest.raises(UsageError, match="password authentication failed") as caught:
        Mirroring(tmp_path / "study", CONFIG, server.url(password), lambda line: None)

    assert password not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"postgresql://{postgres.USER}:***@127.0.0.1" in str(caught.value)
