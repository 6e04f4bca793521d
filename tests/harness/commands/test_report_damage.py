"""``harness report`` where a file of the workspace is damaged: it is named and left out, and stops no other page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.evidence import record, study
from harness.training import result
from harness.training.result import Result
from tests.harness import logged
from tests.harness.some_study import CONFIG
from tests.outline import checked


@pytest.fixture
def two_studies(workspace: Path) -> None:
    """The studies ``a`` and ``b``, which have only begun."""
    for name in ("a", "b"):
        folder = workspace / "runs" / name
        study.open_study(folder, CONFIG, {})
        logged.note(folder, "session", 0.0, command=["harness", "search"], workers=2, device="cpu")


@pytest.mark.parametrize("content", ['{"config": {', '{"config": 5, "origins": {}}', None])
def test_a_damaged_study_is_named_and_stops_nothing(
    content: str | None, two_studies: None, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    damaged = workspace / "runs" / "b" / "config.json"
    if content is None:
        damaged.unlink()
    else:
        damaged.write_text(content, encoding="utf-8")

    assert run(["report", "--all"]) == 0

    written, line = capsys.readouterr().err.splitlines()
    assert written == "a: report written"
    assert line.startswith("warning: left out: ")
    assert (line.count(str(damaged)), "Errno" in line) == (1, False)
    page = checked((workspace / "runs/index.html").read_text(encoding="utf-8"), links=("a/report.html",))
    assert "Studies that cannot be read." in page.text("caption")
    assert page.text("bdi").count(line.removeprefix("warning: left out: ")) == 1


def test_a_damaged_line_of_the_log_is_named_and_stops_nothing(
    two_studies: None, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    log = workspace / "runs" / "a" / "log.jsonl"
    log.write_text(log.read_text(encoding="utf-8") + '{"event": "proposed"}\n', encoding="utf-8")

    assert run(["report", "a"]) == 0

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: left out: line 2 of {log} is no event of this program")
    page = checked((workspace / "runs/a/report.html").read_text(encoding="utf-8"))
    assert line.removeprefix("warning: left out: ") in page.text("bdi")


def test_a_log_that_was_removed_is_named(
    two_studies: None, workspace: Path, new_result: Callable[..., Result], capsys: pytest.CaptureFixture[str]
):
    folder = workspace / "runs" / "a"
    for trial in (0, 1):
        result.write(study.result_path(folder, trial, "search", 0), new_result(trial=trial))
    (folder / "log.jsonl").unlink()

    assert run(["report", "a"]) == 0

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: left out: {folder}/log.jsonl lacks 2 networks with results")
    page = checked((folder / "report.html").read_text(encoding="utf-8"))
    assert line.removeprefix("warning: left out: ") in page.text("bdi")


@pytest.mark.parametrize("content", ['{"name": "', "[]"])
def test_a_damaged_record_is_named_on_every_page_and_stops_none(
    content: str,
    two_studies: None,
    workspace: Path,
    new_record: Any,
    capsys: pytest.CaptureFixture[str],
):
    record.write(workspace / "records", new_record([50] * 5))
    damaged = workspace / "records" / "0123456789ab-d0a55561f5cb-mnist-99_4.json"
    damaged.write_text(content, encoding="utf-8")

    assert run(["report", "--all"]) == 0

    *written, line = capsys.readouterr().err.splitlines()
    assert written == ["a: report written", "b: report written"]
    assert line.startswith(f"warning: left out: the record {damaged}: ")
    assert run(["report", "a", "b"]) == 0
    for name in ("index.html", "a/report.html", "comparison-a-b.html"):
        source = (workspace / "runs" / name).read_text(encoding="utf-8")
        assert source.count(damaged.name) == 1
        assert "They are left out" in source
