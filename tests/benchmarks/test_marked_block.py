"""A block between two marks is replaced, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks.marked_block import marks, with_block

FIGURES = marks("figures", "figures.py")


def test_only_what_stands_between_the_marks_changes():
    text = (
        "before\n<!-- figures: written by figures.py -->\nold\n<!-- figures: end -->\n"
        "<!-- others: written by others.py -->\nkept\n<!-- others: end -->\n"
    )

    assert with_block(text, FIGURES, "new\n") == text.replace("old", "new")


@pytest.mark.parametrize("text", ["nothing", FIGURES[0], FIGURES[1]])
def test_a_text_without_both_marks_is_our_mistake(text: str):
    with pytest.raises(AssertionError, match="both marks"):
        with_block(text, FIGURES, "new\n")
