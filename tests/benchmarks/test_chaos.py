"""The benchmark of faults: what it runs, what it keeps, how it goes on, and its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chaos, chaos_results
from benchmarks.chaos_results import is_equal, table, wrong_ends
from benchmarks.disturbed import Disturbed
from benchmarks.faults import KINDS
from benchmarks.marked_block import with_block
from tests.benchmarks.made_up import ask

ANSWER = {"winner": ["h1"], "seeds": {"h1 seed 0": [9, "w"]}, "runs": []}


class Searches:
    """Stands in for the searches: notes what is asked for, and answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, float]] = []
        self.spreads: list[float] = []
        self.answers: list[Disturbed] = []

    def disturbed(self, kind: Any, place: Path, rng: Any, faults: int, work_seconds: float) -> Disturbed:
        (place / "said.txt").write_text("all is well\n")
        name = next(name for name, known in KINDS.items() if known is kind)
        self.asked.append((name, faults, rng.random()))
        self.spreads.append(work_seconds)
        if self.answers:
            return self.answers.pop(0)
        return Disturbed(faults=faults, codes=[-9] * faults + [0], answer=dict(ANSWER))


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searches:
    made = Searches()
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n{''.join(chaos.MARKS)}after\n")
    monkeypatch.setattr(chaos, "PAGE", page)
    monkeypatch.setattr(chaos, "RESULTS", tmp_path / "chaos.json")
    monkeypatch.setattr(chaos, "disturbed", made.disturbed)
    monkeypatch.setattr(chaos, "undisturbed_search", lambda place: (ANSWER, 9.0))
    monkeypatch.setattr(chaos, "machine", lambda: {"processor": "a processor", "cores": 2})
    return made


def kept() -> list[tuple[str, int, int]]:
    return [(each.kind, each.number, each.faults) for each in chaos_results.read(chaos.RESULTS).searches]


def test_searches_are_disturbed_until_there_are_enough_faults(searches: Searches, monkeypatch: pytest.MonkeyPatch):
    ask(monkeypatch, chaos.main, "--kinds", "coordinator", "--count", "30")

    assert kept() == [("coordinator", 0, 12), ("coordinator", 1, 12), ("coordinator", 2, 6)]
    page = chaos.PAGE.read_text()
    assert "| 30 | 3 | 0 | 0 | 0 | 0 | 3 of 3 |" in page
    assert page.startswith("before\n")


def test_the_script_goes_on_with_what_is_missing(searches: Searches, monkeypatch: pytest.MonkeyPatch):
    ask(monkeypatch, chaos.main, "--kinds", "coordinator", "--count", "12")
    ask(monkeypatch, chaos.main, "--kinds", "coordinator,torn", "--count", "14")
    ask(monkeypatch, chaos.main, "--kinds", "torn", "--count", "14")

    assert [(name, faults) for name, faults, _ in searches.asked] == [
        *(("coordinator", 12), ("coordinator", 2)),
        *(("torn", 12), ("torn", 2)),
    ]
    assert len({chance for _, _, chance in searches.asked}) == 4, "each search has moments of its own"


def test_another_seed_counts_for_itself(searches: Searches, monkeypatch: pytest.MonkeyPatch):
    for seed in ("0", "1", "0"):
        ask(monkeypatch, chaos.main, "--kinds", "torn", "--count", "2", "--seed", seed)

    assert [each.seed for each in chaos_results.read(chaos.RESULTS).searches] == [0, 1]


@pytest.mark.parametrize("field", ["lost", "repeated", "leftovers"])
def test_what_is_lost_repeated_or_left_over_is_in_the_table_and_ends_with_1(
    field: str, searches: Searches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = Disturbed(faults=1, codes=[-9, 0], answer=dict(ANSWER))
    setattr(found, field, ["one thing", "another"])
    searches.answers = [found]

    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, chaos.main, "--kinds", "coordinator", "--count", "1")

    assert ended.value.code == 1
    assert "one thing; another" in capsys.readouterr().out
    counts = [" 2 " if name == field else " 0 " for name in ("lost", "repeated", "leftovers")]
    assert f"| 1 | 1 |{'|'.join(counts)}| 0 |" in chaos.PAGE.read_text()


def test_another_answer_ends_with_1(searches: Searches, monkeypatch: pytest.MonkeyPatch):
    searches.answers = [Disturbed(faults=1, codes=[-9, 0], answer=ANSWER | {"winner": ["h2"]})]

    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, chaos.main, "--kinds", "coordinator", "--count", "1")

    assert ended.value.code == 1
    assert "| 0 of 1 |" in chaos.PAGE.read_text()


def test_a_kind_that_this_machine_cannot_have_is_left_out(
    searches: Searches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    without = {"disk": replace(KINDS["disk"], why_not=lambda: "no disk today")}
    monkeypatch.setattr(chaos, "KINDS", KINDS | without)
    ask(monkeypatch, chaos.main, "--kinds", "disk", "--plan")
    assert "disk         0 of 200 faults: " in (said := capsys.readouterr().out)
    assert "not on this machine: no disk today" in said

    ask(monkeypatch, chaos.main, "--kinds", "disk")

    assert searches.asked == []
    assert "no disk today" in capsys.readouterr().err


def test_searches_that_no_fault_strikes_come_to_an_end(searches: Searches, monkeypatch: pytest.MonkeyPatch):
    searches.answers = [Disturbed(faults=0, codes=[0], answer=dict(ANSWER)) for _ in range(9)]

    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, chaos.main, "--kinds", "worker", "--count", "1")

    assert ended.value.code == 2
    assert len(searches.asked) == chaos.MOST_VAIN


def test_after_a_search_without_a_fault_moments_lie_in_the_time_that_it_took(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
):
    searches.answers = [Disturbed(faults=0, codes=[0], answer=dict(ANSWER))]

    ask(monkeypatch, chaos.main, "--kinds", "coordinator", "--count", "1")

    first, then = searches.spreads
    assert first == 9.0
    assert then == chaos_results.read(chaos.RESULTS).searches[0].seconds < 1


def test_a_kind_that_is_not_known_is_named(
    searches: Searches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, chaos.main, "--kinds", "meteor")

    assert ended.value.code == 2
    assert "unknown kind 'meteor'; there are coordinator, " in capsys.readouterr().err


def test_a_repeatable_kind_needs_equal_bits_and_another_the_verdict():
    other = ANSWER | {"runs": [{"weights": "w2"}]}
    found = Disturbed(codes=[0], answer=other)

    assert not is_equal(KINDS["worker"], found, ANSWER)
    assert is_equal(KINDS["worker"], found, other)
    assert is_equal(KINDS["stopped"], found, ANSWER)
    assert not is_equal(KINDS["stopped"], Disturbed(codes=[3], answer=other), ANSWER)
    assert not is_equal(KINDS["stopped"], Disturbed(codes=[0], answer=other | {"winner": []}), ANSWER)
    assert not is_equal(KINDS["stopped"], Disturbed(codes=[0], answer=other | {"seeds": {}}), ANSWER)


def test_an_end_that_the_fault_does_not_explain_is_wrong():
    assert wrong_ends(KINDS["coordinator"], Disturbed(codes=[-9, -9, 0]), "") == ()
    assert wrong_ends(KINDS["disk"], Disturbed(codes=[2, 1, 0]), "") == ("exit code 1",)
    assert wrong_ends(KINDS["worker"], Disturbed(codes=[3]), "") == ("exit code 3 at the end",)
    said = "Traceback (most recent call last):\n  File\nEOFError: none\nTraceback (most recent call last):\n"
    assert wrong_ends(KINDS["worker"], Disturbed(codes=[0]), said) == (
        "a traceback: EOFError: none",
        "a traceback: cut short",
    )


def test_the_page_holds_what_the_committed_results_say():
    page = chaos.PAGE.read_text(encoding="utf-8")

    assert with_block(page, chaos.MARKS, table(chaos_results.read(chaos.RESULTS), KINDS)) == page
