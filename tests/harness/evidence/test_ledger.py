from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.errors import ContentError
from harness.evidence import ledger
from harness.evidence.ledger import Outcome

KEY = ("0123456789ab", "ba9876543210", "mnist", 99.4, 1)
OTHER = ("ffffffffffff", "ba9876543210", "mnist", 99.4, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_there_are_no_attempts_before_the_first(path: Path):
    assert ledger.read(path) == []
    assert ledger.open_attempt(path, KEY) is None


def test_an_attempt_counts_from_its_declaration(path: Path):
    declared = ledger.declare(path, KEY, 10, 30)

    assert ledger.read(path) == [declared]
    assert ledger.open_attempt(path, KEY) == declared
    assert (declared.number, declared.first_index, declared.seeds, declared.outcome) == (1, 10, 30, Outcome.OPEN)


@pytest.mark.parametrize("outcome", [Outcome.CERTIFIED, Outcome.FAILED, Outcome.FUTILE])
def test_an_ended_attempt_stays_in_the_ledger(path: Path, outcome: Outcome):
    declared = ledger.declare(path, KEY, 0, 30)
    ledger.close(path, declared, outcome, 99.41)

    [attempt] = ledger.read(path)

    assert (attempt.outcome, attempt.lower_bound_pct) == (outcome, 99.41)
    assert attempt.declared_utc == declared.declared_utc
    assert attempt.ended_utc is not None
    assert ledger.open_attempt(path, KEY) is None
    # The line of the declaration is not rewritten.
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["outcome"] == "open"


def test_attempts_are_numbered_over_all_rows_and_found_by_row(path: Path):
    first = ledger.declare(path, KEY, 0, 30)
    ledger.close(path, first, Outcome.FAILED, None)
    ledger.declare(path, OTHER, 0, 30)
    third = ledger.declare(path, KEY, 30, 30)

    assert [attempt.number for attempt in ledger.read(path)] == [1, 2, 3]
    assert [attempt.number for attempt in ledger.attempts_for(path, KEY)] == [1, 3]
    assert ledger.open_attempt(path, KEY) == third


def test_attempts_that_two_clones_declared_under_one_number_both_count(tmp_path: Path):
    mine, theirs, merged = (tmp_path / name for name in ("mine", "theirs", "merged"))
    for path, key in ((mine, KEY), (theirs, OTHER)):
        ledger.close(path, ledger.declare(path, key, 0, 30), Outcome.FAILED, None)
    merged.write_bytes(mine.read_bytes() + theirs.read_bytes())

    assert [(attempt.number, attempt.hash) for attempt in ledger.read(merged)] == [(1, KEY[0]), (1, OTHER[0])]
    assert all(attempt.outcome is Outcome.FAILED for attempt in ledger.read(merged))
    assert ledger.declare(merged, KEY, 30, 30).number == 2


def test_a_failed_attempt_cannot_be_turned_into_a_success(path: Path):
    declared = ledger.declare(path, KEY, 0, 30)
    ledger.close(path, declared, Outcome.FAILED, 99.3)
    ledger.close(path, declared, Outcome.CERTIFIED, 99.5)

    with pytest.raises(ContentError, match="line 3: attempt 1 is certified, but it has ended as failed"):
        ledger.read(path)


def test_an_end_that_is_entered_twice_counts_once(path: Path):
    declared = ledger.declare(path, KEY, 0, 30)
    ledger.close(path, declared, Outcome.FAILED, 99.3)
    ledger.close(path, declared, Outcome.FAILED, 99.2)

    assert [attempt.lower_bound_pct for attempt in ledger.read(path)] == [99.3]


def test_a_declaration_that_is_repeated_does_not_open_what_has_ended(path: Path):
    declared = ledger.declare(path, KEY, 0, 30)
    line = path.read_text(encoding="utf-8")
    ledger.close(path, declared, Outcome.FAILED, None)
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")

    assert [attempt.outcome for attempt in ledger.read(path)] == [Outcome.FAILED]


def test_attempts_that_are_declared_at_once_get_different_numbers(path: Path):
    # The lock is one of open files, so threads stand for processes.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: ledger.declare(path, KEY, 0, 30), range(12)))

    assert [attempt.number for attempt in ledger.read(path)] == list(range(1, 13))


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "3", '{"number": 1}', '{"outcome": "splendid"}', '{"outcome": "open", "extra": 1}']
)
def test_a_line_that_is_no_entry_is_refused_with_its_number(path: Path, line: str):
    ledger.declare(path, KEY, 0, 30)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")

    with pytest.raises(ContentError, match=r"the ledger .*, line 2 is not what this program writes"):
        ledger.read(path)


def test_a_ledger_that_is_not_text_is_refused(path: Path):
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContentError, match="cannot read the ledger"):
        ledger.read(path)
