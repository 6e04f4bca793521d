from __future__ import annotations

import csv
import io

import pytest

from harness.system.document import csv_text, unguarded


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_numbers_are_raw_and_what_is_missing_is_empty():
    text = csv_text(("a", "b", "c", "d"), [(1_000, 99.41000000000001, None, True), (-1, 1e-05, "", False)])

    assert text == "a,b,c,d\n1000,99.41000000000001,,true\n-1,1e-05,,false\n"


@pytest.mark.parametrize("words", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "'"])
def test_a_text_that_would_be_a_formula_is_text_and_can_be_had_back(words: str):
    [_, [cell]] = read(csv_text(("a",), [(words,)]))

    assert cell == f"'{words}"
    assert unguarded(cell) == words


@pytest.mark.parametrize("words", ["a,b", 'say "hi"', "two\nlines", "a\rb", "plain", "a=b"])
def test_other_texts_come_back_as_they_are(words: str):
    assert read(csv_text(("a",), [(words,)]))[1] == [words]
    assert unguarded(words) == words


def test_without_rows_there_is_the_head():
    assert csv_text(("a", "b"), []) == "a,b\n"
