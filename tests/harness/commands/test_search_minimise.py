"""``harness search --minimise macs`` through the command; trainings are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import run
from tests.harness import scripted

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "@few.space")
# 178 parameters or more with 56,528 multiply-adds or more; 346 with 28,384.
FEW = "net = <conv3x3({8, 12}) / conv3x3(16, stride=2)> bn relu gap linear(10)  # without its last semicolon"


@pytest.fixture(autouse=True)
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (workspace / "few.space").write_text(FEW, encoding="utf-8")
    made = scripted.without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 90.0
    return workspace


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--minimise", "macs"), "--minimise macs needs an upper limit"),
        (("--minimise", "size"), "Invalid value for '--minimise': 'size' is not one of"),
        (("--limit", "latency<=3"), "Invalid value for '--limit': unknown metric 'latency'"),
        (("--limit", "macs<=1e6"), "Invalid value for '--limit': unexpected 'e6'"),
        (("--limit", "macs<=9; net = bn"), "Invalid value for '--limit': unexpected ';'"),
        (("--limit", "macs<=100,macs>=200"), "--limit macs <= 100, macs >= 200: no network can meet these together"),
        (("--minimise", "macs", "--limit", "macs<1"), "--limit macs < 1: no network can meet these together"),
    ],
)
def test_a_limit_that_cannot_be_is_one_line(given: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]):
    assert run([*SEARCH, *given]) == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_the_plan_names_what_is_minimised(capsys: pytest.CaptureFixture[str]):
    assert run([*SEARCH, "--plan", "--minimise", "macs", "--limit", "macs<=60000"]) == 0
    assert "multiply-adds, at most 60,000" in capsys.readouterr().out


def test_a_limit_of_parameters_is_the_budget(capsys: pytest.CaptureFixture[str]):
    assert run([*SEARCH, "--plan", "--limit", "parameters<=300", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["budget"] == 300


def test_a_search_without_an_answer_says_so_in_multiply_adds_and_its_report_too(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    given = ("--minimise", "macs", "--limit", "macs<=40000", "--study", "few", "--epochs", "5")

    assert run([*SEARCH, *given, "--json"]) == 3

    document = json.loads(capsys.readouterr().out)
    assert (document["minimise"], document["most"], document["trained"]) == ("macs", 40_000, 1)
    assert "at most 40,000 multiply-adds" in " ".join(document["last_words"]["sentences"])
    page = (place / "runs" / "few" / "report.html").read_text(encoding="utf-8")
    assert "fewest multiply-adds confirmed" in page
