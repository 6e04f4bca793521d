"""Facts in messages: tests check facts and the order of facts, so that the wording can be improved."""

from __future__ import annotations


def lacking(text: str, *facts: str) -> list[str]:
    """Return the facts that are missing in a text, or not in order; line breaks and non-breaking spaces are spaces."""
    plain = " ".join(text.split())
    missing, position = [], 0
    for fact in facts:
        index = plain.find(fact, position)
        if index < 0:
            missing.append(fact)
        else:
            position = index + len(fact)
    return missing
