"""A block of a text file that a program writes: it stands between two marks, and what is outside is left as it is."""

from __future__ import annotations


def marks(name: str, writer: str) -> tuple[str, str]:
    """Return the lines that begin and end a block, as comments of Markdown.

    Args:
        writer: the file that writes the block, for those who want to change it.
    """
    return f"<!-- {name}: written by {writer} -->\n", f"<!-- {name}: end -->\n"


def with_block(text: str, block: tuple[str, str], made: str) -> str:
    """Return the text with ``made`` between these marks."""
    begin, end = block
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    assert found_begin, f"the text has both marks, {begin.strip()} too"
    assert found_end, f"the text has both marks, {end.strip()} too"
    return f"{before}{begin}{made}{end}{after}"
