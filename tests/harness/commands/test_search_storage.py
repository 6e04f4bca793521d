"""``--storage`` from the command line: what is refused before anything is trained, and what is kept from sight."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from harness.cli import run
from harness.evidence import mirror, study
from harness.evidence.events import SessionBegan, SessionEnded
from harness.search import finish, loop
from harness.search.state import Search
from reports import study_page
from tests.harness.evidence.test_mirror import loaded

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "tiny", "--study", "mine")
DATABASE = "sqlite:///of.db"


@pytest.fixture(autouse=True)
def begun(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Nothing is trained and no report is drawn; the command of each search that has begun is kept."""
    commands: list[list[str]] = []

    def search_nothing(search: Search, command: list[str]) -> None:
        commands.append(command)
        search.add(SessionBegan(workers=1, device="cpu"))
        search.before += 90.0
        search.add(SessionEnded(reason="time"))

    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(loop, "run_search", search_nothing)
    monkeypatch.setattr(finish, "conclude", lambda *arguments: None)
    monkeypatch.setattr(study_page, "write_report", lambda folder, place, study=None: folder / "report.html")
    return commands


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which a command is refused as a wrong use."""
    assert run(list(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_a_server_that_does_not_answer_is_not_waited_for(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Path
):
    monkeypatch.setattr(mirror, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ann:secret@127.0.0.1:{silent.getsockname()[1]}/name"

        said = refused(capsys, *SEARCH, "--storage", url)

    assert "the database does not answer within 1 s" in said
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

    said = refused(capsys, *SEARCH, "--storage", DATABASE, "--budget", "800")

    assert "another study 'mine' (budget: 900 there, 800 here)" in said
    assert "give --study another name" in said
    assert len(begun) == 1


def test_a_password_is_kept_in_no_log_and_shown_in_no_command(
    begun: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    url = f"{DATABASE}?timeout=5&password=secret"
    monkeypatch.setattr(sys, "argv", ["harness", "search", "--storage=postgresql://ann:secret@host/name"])
    monkeypatch.setattr(mirror, "Mirror", lambda *given: SimpleContext())

    run([*SEARCH, "--storage", url])

    assert begun == [["harness", "search", "--storage=postgresql://ann:***@host/name"]]
    shown = capsys.readouterr()
    assert "password=***" in shown.out
    assert "secret" not in shown.out + shown.err


class SimpleContext:
    """As much of what keeps a database as a search that trains nothing asks for."""

    def __enter__(self) -> SimpleContext:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_a_report_brings_a_database_up_to_date(workspace: Path, capsys: pytest.CaptureFixture[str]):
    run([*SEARCH])
    capsys.readouterr()

    assert run(["report", "mine", "--storage", DATABASE]) == 0

    assert capsys.readouterr().out == f"{workspace}/runs/mine/report.html\n"
    with loaded(DATABASE, "mine") as found:
        assert found.user_attrs["budget"] == 20_000


def test_a_report_leaves_the_database_of_a_running_search_alone(workspace: Path, capsys: pytest.CaptureFixture[str]):
    run([*SEARCH])
    capsys.readouterr()

    with study.owned(workspace / "runs" / "mine"):
        assert "another process is working" in refused(capsys, "report", "mine", "--storage", DATABASE)
    for option in ("--all", "--watch", "--markdown"):
        assert "--storage" in refused(capsys, "report", option, "--storage", DATABASE)
    assert not (workspace / "of.db").exists()
