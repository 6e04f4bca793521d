"""The Optuna database of a study: Optuna reads the trials of the files, despite faults of the database."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import RDBStorage

from harness.cli import run
from harness.pages import study_page
from harness.searching import conclude, loop
from harness.searching.search_state import Moment, Search
from harness.storage import mirror
from harness.storage.mirror import Mirror, _without_password
from harness.studies import config as study
from harness.studies.config import StudyConfig, open_study
from harness.studies.events import EndReason, Entry, Event, SessionBegan, SessionEnded
from harness.studies.log import read_state
from harness.studies.study_state import StudyState
from harness.system.errors import UsageError
from harness.system.passwords import without_passwords
from measurements import postgres_server
from measurements.postgres_server import Server
from tests import searches
from tests.browser import skip_or_fail
from tests.factories import SIZE
from tests.fakes import without_processes
from tests.study_logs import make_entry

CONFIG = searches.config()


@contextmanager
def optuna_study_of(url: str, name: str = "study") -> Iterator[optuna.Study]:
    """Load a study with Optuna's own storage, and close all connections at the end of the block."""
    storage = RDBStorage(url)
    try:
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture(scope="module")
def ended_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study that has ended with 12 networks."""
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


def write_to_database(folder: Path, url: str, config: StudyConfig = CONFIG) -> list[str]:
    messages: list[str] = []
    with Mirror(StudyState(folder, config), messages.append, url) as storage:
        storage.entries = read_state(folder).entries
    return messages


def check_database(folder: Path, url: str) -> None:
    """Check that the database has each finished first run of the files once, with state, values and errors."""
    with optuna_study_of(url) as optuna_study:
        trials, attributes = optuna_study.trials, optuna_study.user_attrs
    first_runs = {result.trial or 0: result for result in searches.results(folder) if result.purpose == "search"}
    assert sorted(trial.user_attrs["trial"] for trial in trials) == sorted(first_runs)
    for trial in trials:
        result = first_runs[trial.user_attrs["trial"]]
        errors = {epoch.epoch: epoch.validation_errors or 0 for epoch in result.history}
        assert trial.state.name == result.status.name
        assert trial.params == {decision.name: decision.index for decision in result.decisions}
        expected = {"network": str(result.architecture), "hash": result.hash, "seed": result.seed}
        assert {name: trial.user_attrs[name] for name in expected} == expected
        assert trial.intermediate_values == {epoch: 100 * wrong / SIZE for epoch, wrong in errors.items()}
        complete_values = [100 * (result.validation_errors or 0) / SIZE, result.parameters]
        assert trial.values == (complete_values if result.status == "complete" else None)
    (winner,) = searches.events(folder, "winner")
    assert attributes["answer"]["hash"] == winner["hash"]
    assert attributes["search"] == "ended: trials"
    assert attributes["budget"] == CONFIG.budget


def test_database_has_runs_of_files_and_second_call_adds_no_runs(ended_study: Path, url: str):
    assert write_to_database(ended_study, url) == []
    check_database(ended_study, url)

    write_to_database(ended_study, url)

    check_database(ended_study, url)
    Mirror.write_file(read_state(ended_study), ended_study / "study.db")
    check_database(ended_study, f"sqlite:///{ended_study}/study.db")
    with optuna_study_of(url) as optuna_study:
        assert optuna_study.metric_names == ["validation error (%)", "parameters"]
        attributes = {name for name in optuna_study.user_attrs if name.endswith("errors on fresh seeds")}
    runs = [result for result in searches.results(ended_study) if result.purpose == "confirm"]
    assert attributes == {f"trial {result.trial}: errors on fresh seeds" for result in runs}


def test_database_is_complete_after_failed_writes(ended_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, calls = optuna.Study.add_trial, [0]

    def fail_at_times(optuna_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Raise before each third write, and after each fifth write, which has reached the database."""
        calls[0] += 1
        if calls[0] % 3 == 0:
            raise ConnectionError("the server closed the connection")
        write(optuna_study, trial)
        if calls[0] % 5 == 0:
            raise ConnectionError("the server closed the connection")

    monkeypatch.setattr(optuna.Study, "add_trial", fail_at_times)
    entries, messages, url = read_state(ended_study).entries, list[str](), f"sqlite:///{tmp_path}/study.db"
    with Mirror(StudyState(Path("study"), CONFIG), messages.append, url) as storage:
        for length in range(1, len(entries) + 1):
            storage.entries = entries[:length]
            time.sleep(0.02)
    monkeypatch.undo()
    write_to_database(ended_study, url)

    assert messages
    check_database(ended_study, url)


def test_mirror_refuses_database_of_another_study(ended_study: Path, url: str, tmp_path: Path):
    foreign_url = f"sqlite:///{tmp_path}/other.db"
    optuna.create_study(study_name="study", storage=foreign_url).add_trial(optuna.trial.create_trial(value=1.0))
    write_to_database(ended_study, url)
    other_configs = replace(CONFIG, budget=5_000), replace(CONFIG, space_text=searches.ONE_CONVOLUTION)
    for database_url, config in ((foreign_url, CONFIG), *((url, each) for each in other_configs)):
        with pytest.raises(UsageError):
            write_to_database(ended_study, database_url, config)

    check_database(ended_study, url)
    # With a log that lacks the trials of the database, the mirror reports a conflict and ends.
    messages: list[str] = []
    with Mirror(StudyState(Path("study"), CONFIG), messages.append, url) as storage:
        storage.entries = [make_entry("proposed", trial=0)]
    assert len(messages) == 1


@pytest.mark.parametrize("message", ["table studies already exists", "UNIQUE constraint failed: alembic_version"])
def test_database_is_opened_again_if_different_process_creates_tables(
    message: str, ended_study: Path, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mirror, "_study", Mock(wraps=mirror._study, side_effect=[Exception(message), DEFAULT]))

    assert write_to_database(ended_study, url) == []
    check_database(ended_study, url)


@pytest.mark.parametrize(
    "url",
    [
        "study.db",
        "sqlite:///:memory:",
        "cassandra://host/name",
        "postgresql://host:port/name",
        "postgresql://ann:o@k@host/name",
        "sqlite:////nowhere/at/all.db",
        "postgresql://ann:secret@127.0.0.1:1/name",
        "postgresql+psycopg://127.0.0.1:1/name?user=ann&password=secret",
    ],
)
def test_unusable_url_is_refused_in_one_line_without_password(url: str, ended_study: Path):
    with pytest.raises(UsageError) as error:
        write_to_database(ended_study, url)

    assert "\n" not in error.value.one_line
    assert "secret" not in error.value.one_line


@pytest.mark.parametrize(
    ("message", "url", "expected"),
    [
        ("refused: secret at\n host", "postgresql://ann:secret@host/name", "refused: *** at host"),
        ("for 's ecret'", "postgresql://ann:s%20ecret@host/name", "for '***'"),
    ],
)
def test_password_is_hidden_in_messages_of_drivers(message: str, url: str, expected: str):
    error = Exception()
    error.__cause__ = ConnectionError()
    error.__cause__.orig = message  # type: ignore[attr-defined]
    assert _without_password(error, url) == expected
    assert without_passwords(url) == "postgresql://ann:***@host/name"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret@host/name",
        "postgresql://ann:s3cret\n@host/name",
        "postgresql://ann:s3cret\n",
        "postgresql://ann:s3cret",
        "postgresql://ann:x@s3cret@host/name",
        "postgresql://ann:x/s3cret@host/name",
        "postgresql://ann:x?s3cret@host/name",
        "postgresql://ann:s3cret@host:12x/name",
        "postgresql://host/name?passwd=s3cret",
        "postgresql://host:5432/name?passwd=x@s3cret",
        "postgresql://host/name?a=1&sslpassword=s3cret&PASSWORD=s3cret&pwd=s3cret",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BX%7D%3BUID%3Dann%3BPWD%3Ds3cret",
        "https://host/name?apikey=s3cret&private_key=s3cret&auth=Bearer%20s3cret&credentials=s3cret",
        "https://ann:s3cret@tracking.example/path",
    ],
)
def test_no_spelling_of_password_is_shown(url: str):
    assert "s3cret" not in without_passwords(url)
    assert "s3cret" not in _without_password(Exception(f"cannot open {url!r} or {url}"), url)


@pytest.mark.parametrize("text", ["sqlite:///a.db?timeout=5", "mine:function", "file:///tmp/mlruns", "@a.toml"])
def test_text_without_password_is_unchanged(text: str):
    assert without_passwords(text) == text


@pytest.mark.nightly
def test_dashboard_shows_networks_of_search(ended_study: Path, url: str):
    write_to_database(ended_study, url)
    library: Any = importlib.import_module("optuna_dashboard")

    with optuna_study_of(url) as optuna_study:
        # Without a server, which would take seconds to start.
        dashboard = library.wsgi(optuna_study._storage)

        def read_json(path: str) -> Any:
            environment: dict[str, Any] = {"PATH_INFO": path}
            setup_testing_defaults(environment)
            return json.loads(b"".join(dashboard(environment, lambda *_: None)))

        (summary,) = read_json("/api/studies")["study_summaries"]
        document = read_json(f"/api/studies/{summary['study_id']}")

    assert document["directions"] == ["minimize", "minimize"]
    assert document["objective_names"] == ["validation error (%)", "parameters"]
    assert len(document["trials"]) == 12


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = postgres_server.programs()
    if programs is None:
        skip_or_fail("no PostgreSQL server (initdb) on the PATH or in /usr/lib/postgresql")
    with postgres_server.server(programs) as running_server:
        yield running_server


class FaultInjector:
    """Observer that calls a function, such as a kill of the server, after a number of trained networks."""

    def __init__(self, faults: dict[int, Callable[[], None]]) -> None:
        self.faults = faults

    def on_entry(self, state: StudyState, entry: Entry[Event]) -> None:
        pass

    def on_tick(self, moment: Moment) -> None:
        for count in [count for count in self.faults if count <= moment.state.trained_count]:
            self.faults.pop(count)()


def decisions(folder: Path) -> list[dict[str, Any]]:
    """Return the events of a search without times and command."""
    drop = {"elapsed", "utc", "command"}
    return [{key: value for key, value in event.items() if key not in drop} for event in searches.events(folder)]


@pytest.mark.nightly
@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_faults_of_server_change_no_decision_and_lose_no_trial(
    fault: str, server: Server, ended_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    without_processes(monkeypatch)
    folder, messages = tmp_path / "study", list[str]()
    faults: dict[int, Callable[[], None]] = {
        "killed": {4: server.kill, 9: server.start},
        "hangs": {4: lambda: server.hang(stopped=True), 9: lambda: server.hang(stopped=False)},
    }[fault]

    open_study(folder, CONFIG, {})
    with Mirror(StudyState(folder, CONFIG), messages.append, server.url()) as storage:
        search = searches.resume(folder, CONFIG, searches.effort(trials=12), FaultInjector(faults), storage)
        loop.run_search(search, ["harness"])

    write_to_database(folder, server.url())
    check_database(folder, server.url())
    assert decisions(folder) == decisions(ended_study)
    with optuna_study_of(server.url()) as optuna_study:
        optuna.delete_study(study_name="study", storage=optuna_study._storage)


@pytest.mark.nightly
def test_wrong_password_is_refused(server: Server, ended_study: Path):
    with pytest.raises(UsageError) as error:
        write_to_database(ended_study, server.url("wr0ng"))

    assert "wr0ng" not in error.value.one_line


# The option --storage ---------------------------------------------------------------------------------------------


SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "tiny", "--study", "mine")
DATABASE = "sqlite:///of.db"


@pytest.fixture
def search_commands(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace searches and reports by stubs, and return the list of the commands of all started searches."""
    commands: list[list[str]] = []

    def end_at_once(search: Search, command: list[str]) -> None:
        commands.append(command)
        search.add(SessionBegan(command=tuple(command), workers=1, device="cpu"))
        search.earlier_seconds += 90.0
        search.add(SessionEnded(reason=EndReason.TIME))

    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(loop, "run_search", end_at_once)
    monkeypatch.setattr(conclude, "conclude", lambda *arguments: None)
    monkeypatch.setattr(study_page, "write_report", lambda folder, home, state=None: folder / "report.html")
    return commands


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that is refused as wrong use, and return the error message."""
    assert run(list(arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def test_silent_server_is_refused_after_time_limit(
    search_commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workspace: Path,
):
    monkeypatch.setattr(mirror, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ann:secret@127.0.0.1:{silent.getsockname()[1]}/name"

        message = refusal(capsys, *SEARCH, "--storage", url)

    assert "postgresql://ann:***@127.0.0.1" in message
    assert (search_commands, (workspace / "runs" / "mine" / "config.json").exists()) == ([], False)


def test_search_writes_database_and_refuses_database_of_another_configuration(
    search_commands: list[list[str]], capsys: pytest.CaptureFixture[str], workspace: Path
):
    assert run([*SEARCH, "--storage", DATABASE, "--budget", "900"]) == 3

    with optuna_study_of(DATABASE, "mine") as optuna_study:
        assert (optuna_study.user_attrs["budget"], optuna_study.user_attrs["search"]) == (900, "ended: time")
    capsys.readouterr()
    shutil.rmtree(workspace / "runs")

    refusal(capsys, *SEARCH, "--storage", DATABASE, "--budget", "800")

    assert len(search_commands) == 1


def test_password_is_in_no_log_and_no_printed_command(
    search_commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    url = f"{DATABASE}?password=secret&timeout=5"
    monkeypatch.setattr(sys, "argv", ["harness", "search", "--storage=postgresql://ann:secret@host/name"])
    monkeypatch.setattr(mirror, "Mirror", IdleMirror)

    run([*SEARCH, "--storage", url])

    [command] = search_commands
    assert command[-2:] == ["--storage", f"{DATABASE}?password=***&timeout=5"]
    output = capsys.readouterr()
    assert "password=***" in output.out
    assert "secret" not in output.out + output.err


class IdleMirror:
    """Stub of ``Mirror`` without a database."""

    check = staticmethod(lambda url, **options: None)
    write_file = staticmethod(lambda state, path: None)

    def __init__(self, *arguments: object) -> None:
        pass

    def __enter__(self) -> IdleMirror:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def on_entry(self, *entry: object) -> None:
        pass

    def on_tick(self, moment: object) -> None:
        pass


def test_report_updates_database(search_commands: list[list[str]], workspace: Path, capsys: pytest.CaptureFixture[str]):
    run([*SEARCH])
    capsys.readouterr()

    assert run(["report", "mine", "--storage", DATABASE]) == 0

    assert capsys.readouterr().out == f"{workspace}/runs/mine/report.html\n"
    with optuna_study_of(DATABASE, "mine") as optuna_study:
        assert optuna_study.user_attrs["budget"] == 20_000


def test_report_does_not_write_database_of_running_search(
    search_commands: list[list[str]], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    run([*SEARCH])
    capsys.readouterr()

    with study.locked_folder(workspace / "runs" / "mine"):
        assert "mine is locked by a running process" in refusal(capsys, "report", "mine", "--storage", DATABASE)
    for option in ("--watch", "--markdown"):
        assert "--storage" in refusal(capsys, "report", option, "--storage", DATABASE)
    assert not (workspace / "of.db").exists()
