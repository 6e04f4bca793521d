from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import run
from harness.evidence import study
from tests.harness import logged
from tests.harness.some_study import CONFIG


@pytest.fixture
def begin(workspace: Path) -> Callable[[str, float], Path]:
    """Begin a study that was last worked on at a time, in seconds."""

    def new(name: str, at: float) -> Path:
        folder = workspace / "runs" / name
        study.open_study(folder, CONFIG, {})
        logged.note(folder, "session", 0.0, command=["harness", "search"], workers=2, device="cpu")
        os.utime(folder / "log.jsonl", (at, at))
        return folder

    return new


def test_the_report_is_written_and_named(begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    folder = begin("one", 100)

    assert run(["report", "one"]) == 0

    captured = capsys.readouterr()
    assert captured.out == f"{folder / 'report.html'}\n"
    assert captured.err == ""
    assert "Study <bdi>one</bdi>" in (folder / "report.html").read_text(encoding="utf-8")


def test_without_a_name_it_is_the_study_worked_on_last(begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    begin("a", 300)
    begin("b", 900)
    begin("c", 600)

    assert run(["report", "--json"]) == 0

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err.endswith(": b\n")
    assert document["study"] == "b"
    assert Path(document["report"]).name == "report.html"
    assert Path(document["report"]).exists()


@pytest.mark.parametrize("given", ["runs/one", "runs/one/", "./runs/../runs/one", "runs/one/report.html"])
def test_a_study_may_be_named_by_the_path_of_its_folder_or_report(
    given: str, begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    begin("one", 100)
    begin("two", 200)

    assert run(["report", given, "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["study"] == "one"


def test_a_study_without_a_journal_counts_from_its_configuration(
    begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    begin("old", 100)
    folder = begin("new", 100)
    (folder / "log.jsonl").unlink()

    run(["report", "--json"])

    assert json.loads(capsys.readouterr().out)["study"] == "new"


@pytest.mark.parametrize("name", ["mnist-crad", "seed4", "0123ab", "plain-178", "../one", "a/b", "..", "x" * 201])
def test_what_is_no_study_is_refused(name: str, begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    begin("mnist-card", 100)

    assert run(["report", name]) == 2
    assert capsys.readouterr().out == ""


def test_a_damaged_study_is_refused_and_nothing_is_written(
    begin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    folder = begin("one", 100)
    (folder / "config.json").write_text("{", encoding="utf-8")

    assert run(["report", "one"]) == 4
    assert "config.json: " in capsys.readouterr().err
    assert not (folder / "report.html").exists()
