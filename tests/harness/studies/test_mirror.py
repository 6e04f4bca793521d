"""A study in an Optuna storage: what Optuna itself reads there is what the files hold, whatever the database does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from benchmarks import postgres_server
from benchmarks.postgres_server import Server
from harness.cli import run
from harness.searching import conclude, loop
from harness.searching.search_state import Moment, Search
from harness.studies import config as study
from harness.studies import mirror
from harness.studies.config import StudyConfig, open_study
from harness.studies.events import EndReason, Entry, Event, SessionBegan, SessionEnded
from harness.studies.log import read_state
from harness.studies.mirror import Mirror, _without_password, without_passwords, write_database
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from reports import study_page
from tests import searches
from tests.browser import lack
from tests.factories import SIZE
from tests.fakes import without_processes
from tests.study_logs import make_entry

CONFIG = searches.config()
PATIENCE_SECONDS = 120.0


@contextmanager
def loaded(url: str, name: str = "study") -> Iterator[optuna.Study]:
    """Open a study as Optuna reads it; no connection is left open."""
    storage = RDBStorage(url)
    try:
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 12 networks that has come to its end."""
    folder = tmp_path_factory.mktemp("ended") / "study"
    with pytest.MonkeyPatch.context() as patch:
        without_processes(patch)
        searches.run(folder, CONFIG, searches.effort(trials=12))
    return folder


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(mirror, "_AWAY_SECONDS", 0.1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/of.db"


def mirrored(folder: Path, url: str, config: StudyConfig = CONFIG) -> list[str]:
    said: list[str] = []
    with Mirror(folder.name, config, url, said.append) as made:
        made.entries = read_state(folder).entries
    return said


def check(folder: Path, url: str) -> None:
    """Each finished first run of the files is in the database, once, with its state, values and errors."""
    with loaded(url) as found:
        trials, attributes = found.trials, found.user_attrs
    first = {result.trial or 0: result for result in searches.results(folder) if result.purpose == "search"}
    assert sorted(trial.user_attrs["trial"] for trial in trials) == sorted(first)
    for trial in trials:
        result = first[trial.user_attrs["trial"]]
        errors = {epoch.epoch: epoch.validation_errors or 0 for epoch in result.history}
        assert trial.state.name == result.status.name
        assert trial.params == {decision.name: decision.index for decision in result.decisions}
        expected = {"network": str(result.architecture), "hash": result.hash, "seed": result.seed}
        assert {name: trial.user_attrs[name] for name in expected} == expected
        assert trial.intermediate_values == {epoch: 100 * wrong / SIZE for epoch, wrong in errors.items()}
        complete = [100 * (result.validation_errors or 0) / SIZE, result.parameters]
        assert trial.values == (complete if result.status == "complete" else None)
    (winner,) = searches.events(folder, "winner")
    assert attributes["WinnerChosen"]["trial"] == winner["trial"]
    assert attributes["search"] == "ended: trials"
    assert attributes["budget"] == CONFIG.budget


def test_optuna_finds_the_runs_of_the_files_and_a_second_call_adds_nothing(ended: Path, url: str):
    assert mirrored(ended, url) == []
    check(ended, url)

    mirrored(ended, url)

    check(ended, url)
    write_database(read_state(ended), ended / "study.db")
    check(ended, f"sqlite:///{ended}/study.db")
    with loaded(url) as found:
        assert found.metric_names == ["validation error (%)", "parameters"]
        confirmed = {name for name in found.user_attrs if name.endswith("errors on fresh seeds")}
    runs = [result for result in searches.results(ended) if result.purpose == "confirm"]
    assert confirmed == {f"trial {result.trial}: errors on fresh seeds" for result in runs}


def test_a_database_that_fails_at_any_write_ends_with_all_that_the_files_hold(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write, count = optuna.Study.add_trial, [0]

    def failing(there: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Fail before every third trial, and after every fifth, which has reached the database all the same."""
        count[0] += 1
        if count[0] % 3 == 0:
            raise ConnectionError("the server closed the connection")
        write(there, trial)
        if count[0] % 5 == 0:
            raise ConnectionError("the server closed the connection")

    monkeypatch.setattr(optuna.Study, "add_trial", failing)
    entries, said, url = read_state(ended).entries, list[str](), f"sqlite:///{tmp_path}/study.db"
    with Mirror("study", CONFIG, url, said.append) as made:
        for count_of in range(1, len(entries) + 1):
            made.entries = entries[:count_of]
            time.sleep(0.02)
    monkeypatch.undo()
    mirrored(ended, url)

    assert said
    check(ended, url)


def test_another_study_is_refused(ended: Path, url: str, tmp_path: Path):
    other = f"sqlite:///{tmp_path}/other.db"
    optuna.create_study(study_name="study", storage=other).add_trial(optuna.trial.create_trial(value=1.0))
    mirrored(ended, url)
    changed = replace(CONFIG, budget=5_000), replace(CONFIG, space_text=searches.ONE_CONVOLUTION)
    for place, config in ((other, CONFIG), *((url, each) for each in changed)):
        with pytest.raises(UsageError):
            mirrored(ended, place, config)

    check(ended, url)
    # Nor are trials taken for those of a log that lacks them.
    said: list[str] = []
    with Mirror("study", CONFIG, url, said.append) as made:
        made.entries = [make_entry("proposed", trial=0)]
    assert len(said) == 1


@pytest.mark.parametrize(
    "url",
    [
        "study.db",
        "sqlite:///:memory:",
        "cassandra://host/name",
        "postgresql://ann:o@k@host/name",
        "sqlite:////nowhere/at/all.db",
        "postgresql://ann:secret@127.0.0.1:1/name",
        "postgresql+psycopg://127.0.0.1:1/name?user=ann&password=secret",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_in_one_line_without_its_password(url: str, ended: Path):
    with pytest.raises(UsageError) as caught:
        mirrored(ended, url)

    assert "\n" not in caught.value.one_line
    assert "secret" not in caught.value.one_line


@pytest.mark.parametrize(
    ("said", "url", "shown"),
    [
        ("refused: secret at\n host", "postgresql://ann:secret@host/name", "refused: *** at host"),
        ("for 's ecret'", "postgresql://ann:s%20ecret@host/name", "for '***'"),
    ],
)
def test_a_password_is_hidden_in_what_a_driver_says(said: str, url: str, shown: str):
    error = Exception()
    error.__cause__ = ConnectionError()
    error.__cause__.orig = said  # type: ignore[attr-defined]
    assert _without_password(error, url) == shown
    assert without_passwords(url) == "postgresql://ann:***@host/name"


@contextmanager
def dashboard(url: str) -> Iterator[str]:
    """Run optuna-dashboard on a database for the block, and give its address."""
    program = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
    if program is None:
        lack("no optuna-dashboard beside this Python")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--host", "127.0.0.1", "--port", str(port), url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def until(found: Callable[[], Any]) -> Any:
    """Return the first answer that is true; a server takes a moment to start."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(OSError):
            if answer := found():
                return answer
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.mark.nightly
def test_the_dashboard_shows_the_networks_of_a_search(ended: Path, url: str):
    mirrored(ended, url)

    def asked(address: str) -> Any:
        with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)

    with dashboard(url) as address:
        (listed,) = until(lambda: asked(f"{address}/api/studies"))["study_summaries"]
        shown = asked(f"{address}/api/studies/{listed['study_id']}")

    assert shown["directions"] == ["minimize", "minimize"]
    assert shown["objective_names"] == ["validation error (%)", "parameters"]
    assert len(shown["trials"]) == 12


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = postgres_server.programs()
    if programs is None:
        lack("no PostgreSQL server (initdb) on the PATH or in /usr/lib/postgresql")
    with postgres_server.server(programs) as made:
        yield made


class Disturbing:
    """Does something to the server when so many networks have been trained."""

    def __init__(self, at: dict[int, Callable[[], None]]) -> None:
        self.at = at

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        pass

    def on_tick(self, moment: Moment) -> None:
        for trained in [trained for trained in self.at if trained <= moment.state.trained]:
            self.at.pop(trained)()


def decided(folder: Path) -> list[dict[str, Any]]:
    """Return all that a search has decided, without times."""
    drop = {"elapsed", "utc", "command"}
    return [{key: value for key, value in event.items() if key not in drop} for event in searches.events(folder)]


@pytest.mark.nightly
@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_a_search_decides_the_same_and_all_is_written_when_its_server_is_disturbed(
    fault: str, server: Server, ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_processes(monkeypatch)
    folder, said = tmp_path / "study", list[str]()
    faults: dict[int, Callable[[], None]] = {
        "killed": {4: server.kill, 9: server.start},
        "hangs": {4: lambda: server.hang(stopped=True), 9: lambda: server.hang(stopped=False)},
    }[fault]

    open_study(folder, CONFIG, {})
    with Mirror("study", CONFIG, server.url(), said.append) as made:
        search = searches.taken_up(folder, CONFIG, searches.effort(trials=12), Disturbing(faults), made)
        loop.run_search(search, ["harness"])

    mirrored(folder, server.url())
    check(folder, server.url())
    assert decided(folder) == decided(ended)
    with loaded(server.url()) as found:
        optuna.delete_study(study_name="study", storage=found._storage)


@pytest.mark.nightly
def test_a_wrong_password_is_refused(server: Server, ended: Path):
    with pytest.raises(UsageError) as caught:
        mirrored(ended, server.url("wr0ng"))

    assert "wr0ng" not in caught.value.one_line


# The option --storage ---------------------------------------------------------------------------------------------


SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "tiny", "--study", "mine")
DATABASE = "sqlite:///of.db"


@pytest.fixture
def begun(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Nothing is trained and no report is drawn; the command of each search that has begun is kept."""
    commands: list[list[str]] = []

    def search_nothing(search: Search, command: list[str]) -> None:
        commands.append(command)
        search.add(SessionBegan(workers=1, device="cpu"))
        search.before += 90.0
        search.add(SessionEnded(reason=EndReason.TIME))

    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(loop, "run_search", search_nothing)
    monkeypatch.setattr(conclude, "conclude", lambda *arguments: None)
    monkeypatch.setattr(study_page, "write_report", lambda folder, place, state=None: folder / "report.html")
    return commands


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which a command is refused as a wrong use."""
    assert run(list(arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def test_a_server_that_does_not_answer_is_not_waited_for(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Path
):
    monkeypatch.setattr(mirror, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ann:secret@127.0.0.1:{silent.getsockname()[1]}/name"

        said = refused(capsys, *SEARCH, "--storage", url)

    assert "postgresql://ann:***@127.0.0.1" in said
    assert (begun, (workspace / "runs" / "mine" / "config.json").exists()) == ([], False)


def test_a_search_is_kept_in_the_database_too_and_one_of_another_configuration_is_refused(
    begun: list[list[str]], capsys: pytest.CaptureFixture[str], workspace: Path
):
    assert run([*SEARCH, "--storage", DATABASE, "--budget", "900"]) == 3

    with loaded(DATABASE, "mine") as found:
        assert (found.user_attrs["budget"], found.user_attrs["search"]) == (900, "ended: time")
    capsys.readouterr()
    shutil.rmtree(workspace / "runs")

    refused(capsys, *SEARCH, "--storage", DATABASE, "--budget", "800")

    assert len(begun) == 1


def test_a_password_is_kept_in_no_log_and_shown_in_no_command(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    url = f"{DATABASE}?timeout=5&password=secret"
    monkeypatch.setattr(sys, "argv", ["harness", "search", "--storage=postgresql://ann:secret@host/name"])
    monkeypatch.setattr(mirror, "Mirror", lambda *given: SimpleContext())

    run([*SEARCH, "--storage", url])

    [command] = begun
    assert command[-2:] == ["--storage", f"{DATABASE}?timeout=5&password=***"]
    output = capsys.readouterr()
    assert "password=***" in output.out
    assert "secret" not in output.out + output.err


class SimpleContext:
    """As much of what keeps a database as a search that trains nothing asks for."""

    def __enter__(self) -> SimpleContext:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def on_entry(self, *entry: object) -> None:
        pass

    def on_tick(self, moment: object) -> None:
        pass


def test_a_report_brings_a_database_up_to_date(
    begun: list[list[str]], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    run([*SEARCH])
    capsys.readouterr()

    assert run(["report", "mine", "--storage", DATABASE]) == 0

    assert capsys.readouterr().out == f"{workspace}/runs/mine/report.html\n"
    with loaded(DATABASE, "mine") as found:
        assert found.user_attrs["budget"] == 20_000


def test_a_report_leaves_the_database_of_a_running_search_alone(
    begun: list[list[str]], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    run([*SEARCH])
    capsys.readouterr()

    with study.owned(workspace / "runs" / "mine"):
        assert "mine is locked by a running process" in refused(capsys, "report", "mine", "--storage", DATABASE)
    for option in ("--all", "--watch", "--markdown"):
        assert "--storage" in refused(capsys, "report", option, "--storage", DATABASE)
    assert not (workspace / "of.db").exists()
