from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import run
from harness.installation import Check, Verdict


def test_the_doctor_prints_a_line_a_check_and_leaves_with_0(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", "--dataset", "mnist-5k"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "->"}
    assert any(line.split()[:2] == ["ok", "torchsummary"] for line in lines)


def test_what_to_do_stands_below_its_check(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    checks = [
        Check(name="torch", message="fine"),
        Check(name="disk", message="little", verdict=Verdict.WARN, hint="make room"),
    ]
    monkeypatch.setattr("harness.doctor.diagnose", lambda *given: checks)

    assert run(["doctor"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "torch", "fine"],
        ["warn", "disk", "little"],
        ["->", "make", "room"],
    ]


def test_json_is_one_document_with_the_first_failure_as_its_error(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", "--data", str(workspace), "--json"]) == 5

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["checks", "error"]
    failed = [check for check in document["checks"] if check["verdict"] == "fail"]
    assert [check["name"] for check in failed] == ["data"]
    assert document["error"] == {
        "code": 5,
        "kind": "data",
        "message": failed[0]["message"],
        "position": None,
        "hint": failed[0]["hint"],
    }


def test_without_a_failure_json_has_no_error(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", "--dataset", "mnist-5k", "--json"]) == 0

    assert list(json.loads(capsys.readouterr().out)) == ["checks"]


def test_an_unknown_data_set_is_a_usage_error(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", "--dataset", "mist"]) == 2

    assert capsys.readouterr().err.startswith("error: unknown data set 'mist': known are mnist, ")
