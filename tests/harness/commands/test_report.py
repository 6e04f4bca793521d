"""``harness report``: pages of studies, figures, tables, summaries; damage; watching."""

from __future__ import annotations

import json
import os
import signal
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from re import fullmatch
from typing import Any

import pytest

from harness.cli import run
from harness.evidence import record
from harness.interface.session import watch
from harness.pages import study_page
from harness.studies import config as study
from harness.studies.names import fit_name
from harness.system.files import Workspace
from tests.factories import CONFIG, make_record, make_result
from tests.study_logs import write_event, write_runs


@pytest.fixture
def begin_studies(workspace: Path) -> Callable[..., Path]:
    def create(*names: str, dataset: str = CONFIG.dataset) -> Path:
        for position, name in enumerate(names):
            folder = workspace / "runs" / name
            study.open_study(folder, replace(CONFIG, dataset=dataset), {})
            write_event(folder, "session", 0.0, command=["harness", "search"], workers=2, device="cpu")
            os.utime(folder / "log.jsonl", (position, position))
        return folder

    return create


def document_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


# Exports --------------------------------------------------------------------------------------------------------


def test_figures_and_tables_are_written_beside_report(
    begin_studies: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    folder = begin_studies("one")

    assert run(["report", "--figures", "--tables"]) == 0

    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert paths[0] == folder / "report.html"
    assert {path.relative_to(folder).as_posix() for path in paths[1:]} == {
        *(f"figures/{name}.{kind}" for name in ("accuracy", "budget", "proposals") for kind in ("svg", "png")),
        "networks.csv",
        "networks.json",
    }
    assert all(path.stat().st_size for path in paths)
    assert (folder / "networks.csv").read_text(encoding="utf-8").startswith("place,hash,parameters,")
    assert json.loads((folder / "networks.json").read_text(encoding="utf-8"))["study"] == "one"


def test_summary_is_printed_and_no_file_is_written(
    begin_studies: Callable[..., Path], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    begin_studies("a", "b")
    files_before = sorted(workspace.rglob("*"))

    assert run(["report", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert run(["report", "--markdown", "--json"]) == 0

    assert document_of(capsys) == {"markdown": text}
    assert text.startswith("### ")
    assert sorted(workspace.rglob("*")) == files_before


# Opening and watching -------------------------------------------------------------------------------------------


def test_report_is_opened_in_browser(
    begin_studies: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = begin_studies("odd name")
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not addresses.append(address))  # type: ignore[func-returns-value]

    assert run(["report", "--open"]) == 0

    assert addresses == [(folder / "report.html").as_uri()]
    assert capsys.readouterr().err == ""


def test_watch_writes_new_pages_and_ends_with_search(
    begin_studies: Callable[..., Path], workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = begin_studies("one")
    paths, steps, pages = Workspace(workspace), iter(range(4)), list[bool]()
    owner = study.locked_folder(folder)
    owner.__enter__()
    monkeypatch.setattr(study_page, "write_report", lambda folder, paths, live=False: pages.append(live))

    def sleep(seconds: float) -> None:
        assert seconds >= 2
        match next(steps):
            case 1:
                write_event(folder, "rejected", 1.0, reason="parameters", parameters=30_000, hash="0" * 12, origin="x")
            case 3:
                owner.__exit__(None, None, None)

    watch(folder, paths, sleep)
    monkeypatch.setattr(
        "harness.interface.session.is_locked_by_a_process", lambda folder: signal.raise_signal(signal.SIGINT)
    )
    # Ctrl-C is the ordinary end of a watch.
    assert run(["report", "--watch"]) == 0

    # At the start, for the event, and at the end; the last page does not reload.
    assert pages == [True, True, False]


def test_default_study_is_latest_study(begin_studies: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    begin_studies("a", "c", "b")

    assert run(["report", "--json"]) == 0

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err.endswith(": b\n")
    assert document["study"] == "b"
    assert Path(document["report"]).name == "report.html"
    assert Path(document["report"]).exists()


@pytest.mark.parametrize("name", ["mnist-crad", "seed4", "plain-178", "../one"])
def test_unknown_study_is_refused(name: str, begin_studies: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    begin_studies("mnist-card")

    assert run(["report", name]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("file", ["config.json", "log.jsonl"])
def test_damaged_study_is_refused_and_no_report_is_written(
    file: str, begin_studies: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    folder = begin_studies("one")
    (folder / file).write_text('{"event": "proposed"}\n', encoding="utf-8")

    assert run(["report", "one"]) == 4
    assert str(folder / file) in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_damaged_record_is_named_on_page(
    begin_studies: Callable[..., Path], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    folder = begin_studies("a")
    record.write(workspace / "runs" / "records", make_record([50] * 5))
    damaged = workspace / "runs" / "records" / "0123456789ab-d0a55561f5cb-mnist-99_4.json"
    damaged.write_text("[]", encoding="utf-8")

    assert run(["report", "a"]) == 0

    source = (folder / "report.html").read_text(encoding="utf-8")
    assert source.count(damaged.name) == 1
    assert "The page omits the files" in source


def test_studies_are_listed_and_removed(begin_studies: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    folder = begin_studies("a", "c", "b")
    write_event(folder, "proposed", 1.0, trial=0, architecture="linear(10)", hash="0" * 12, parameters=7850)
    write_runs(folder, make_result(trial=1))
    capsys.readouterr()

    assert run(["studies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["studies"]
    # The study b has a network that was proposed and a network that was trained.
    assert [(each["study"], each["trained"]) for each in rows] == [("a", 0), ("c", 0), ("b", 1)]

    assert run(["studies", "--remove", "c"]) == 0
    assert not Path(capsys.readouterr().out.strip()).exists()
    assert run(["studies"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["study", "a", "b"]
    assert run(["studies", "--remove", "c"]) == 2


def test_studies_of_folds_of_a_classifier_are_one_row_and_removed_together(
    begin_studies: Callable[..., Path], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    # Two folds, thus two data sets.
    for dataset in ("parts-0a1b2c3d", "parts-4e5f6a7b"):
        begin_studies(fit_name(dataset), fit_name(dataset), dataset=dataset)
    begin_studies("parts-0a1b2c3d", dataset="parts-0a1b2c3d")
    begin_studies("parts-of-a-user-0a1b2c3d", "mnist-0a1b2c3d-x")
    capsys.readouterr()

    assert run(["studies"]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(rows) == ["mnist-0a1b2c3d-x", "parts", "parts-0a1b2c3d", "parts-of-a-user-0a1b2c3d", "study"]

    # A study in use prevents the removal of the group.
    folders = Workspace(workspace).studies()
    [busy, *_] = [folder for folder in folders if fullmatch(r"parts-\w{8}-\w{8}", folder.name)]
    with study.locked_folder(busy):
        assert run(["studies", "--remove", "parts"]) == 2
    assert Workspace(workspace).studies() == folders
    capsys.readouterr()
    assert run(["studies", "--remove", "Parts!", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["removed"]) == 4
    names = [folder.name for folder in Workspace(workspace).studies()]
    assert names == ["mnist-0a1b2c3d-x", "parts-0a1b2c3d", "parts-of-a-user-0a1b2c3d"]
    assert run(["studies", "--remove", "parts"]) == 2
