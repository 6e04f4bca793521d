"""What a sentence must say, in whatever words: tests pin its facts, so that its wording can be improved."""

from __future__ import annotations


def lacking(said: str, *facts: str) -> list[str]:
    """Return the facts that are not said, or not in this order; line breaks and fixed spaces count as spaces."""
    plain = " ".join(said.split())
    missing, place = [], 0
    for fact in facts:
        found = plain.find(fact, place)
        if found < 0:
            missing.append(fact)
        else:
            place = found + len(fact)
    return missing
