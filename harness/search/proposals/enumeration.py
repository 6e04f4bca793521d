"""All networks of a space that is small enough to be listed, so that nothing need be drawn again and again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from search_spaces.count import configurations
from search_spaces.draw import Draw, Judgement, enumerate_draws, judge
from search_spaces.resolve import parse_space
from search_spaces.space import SearchSpace
from search_spaces.task import Task

# Derivations; listing them takes a second or less.
MOST = 5_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One derivation that the space accepts; ``odds`` are those of a draw with every decision uniform."""

    found: Draw
    hash: str
    judgement: Judgement
    odds: float


def enumerated(space: SearchSpace) -> Sequence[Entry] | None:
    """Return what a space accepts, None where it is too large to be listed."""
    return _listed(space.text, space.name, space.task) if configurations(space) <= MOST else None


def drawn(
    entries: Sequence[Entry], accepts: Callable[[Entry], bool], rng: random.Random
) -> Iterator[tuple[Draw, Judgement]]:
    """Yield draws for ever, each uniform in its decisions and accepted; nothing where no entry is."""
    open_ = [entry for entry in entries if accepts(entry)]
    odds = [entry.odds for entry in open_]
    while open_:
        entry = rng.choices(open_, odds)[0]
        yield entry.found, entry.judgement


@lru_cache(maxsize=4)
def _listed(text: str, name: str, task: Task) -> tuple[Entry, ...]:
    space = parse_space(text, name, task)
    entries = []
    for found in enumerate_draws(space):
        judgement = judge(space, found.architecture)
        if judgement.accepted:
            odds = 1.0
            for decision in found.decisions:
                odds /= decision.size
            entries.append(Entry(found, found.architecture.hash, judgement, odds))
    return tuple(entries)
