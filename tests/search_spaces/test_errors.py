from __future__ import annotations

import pytest

from search_spaces.errors import NotationError, SearchSpaceError, caret, nearest


def test_nearest_suggests_only_what_is_near():
    assert nearest("maxpol", ["maxpool", "avgpool"]) == "did you mean 'maxpool'?"
    assert nearest("zzz", ["maxpool", "avgpool"]) is None


def test_nearest_looks_through_another_case():
    assert nearest("MAXPOOL", ["maxpool", "avgpool"]) == "did you mean 'maxpool'?"


@pytest.mark.parametrize(
    ("text", "position", "shown"),
    [
        ("bn reul gap", 3, "  bn reul gap\n     ^"),
        ("bn\nreul", 3, "  line 2: reul\n          ^"),
        ("bn\r\nreul", 4, "  line 2: reul\n          ^"),
        ("bn\treul\x00\x1b", 3, "  bn reul  \n     ^"),
        ("bn", 2, "  bn\n    ^"),
        ("bn", 99, "  bn\n    ^"),
        ("", 0, "  \n  ^"),
    ],
)
def test_caret_points_into_the_line(text: str, position: int, shown: str):
    assert caret(text, position) == shown


def test_caret_cuts_a_long_line_around_the_position():
    line, mark = caret("a" * 200 + "X" + "b" * 200, 200).split("\n")
    assert line[mark.index("^")] == "X"
    assert len(line) < 120


def test_errors_share_a_base_and_keep_their_parts():
    error = NotationError("wrong", position=3, hint="do it right")
    assert isinstance(error, SearchSpaceError)
    assert (str(error), error.message, error.position, error.hint, error.text) == (
        "wrong",
        "wrong",
        3,
        "do it right",
        None,
    )
