"""One look for the next network: what it may be at the moment, and draws that are just that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from harness.evidence.events import Rejected, Repeated
from harness.evidence.study import StudyConfig
from harness.search.clock import TimeLeft
from harness.search.features import work_of
from harness.search.race import Candidate
from search_spaces.count import configurations
from search_spaces.draw import Draw, Judgement, draw, enumerate_draws, judge, measured, uniform
from search_spaces.notation import parse_space
from search_spaces.space import Condition, Metric, SearchSpace
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


# Draws after which a space counts as searched through: some seconds.
DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class ProposalStep:
    """One look for the next network: what it may be, and what was passed over so far.

    Attributes:
        ceiling: the most that a network may have of what is minimised.
        taken: hashes and lengths that were proposed before.
        rejected: networks that were looked at and rejected without being anybody's proposal, by reason.
    """

    space: SearchSpace
    config: StudyConfig
    ceiling: int
    candidates: Mapping[int, Candidate]
    known: Mapping[str, int]
    taken: frozenset[tuple[str, int]]
    number: int
    passed: list[Rejected | Repeated]
    time_left: TimeLeft
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def limited(self) -> SearchSpace:
        """The space with the ceiling among its conditions."""
        ceiling = Condition(self.config.minimise, "<=", self.ceiling)
        return replace(self.space, conditions=(*self.space.conditions, ceiling))

    def judge(self, found: Draw) -> Judgement:
        """Judge a draw by the space, the ceiling and the time."""
        judgement = judge(self.space, found.architecture, self.ceiling, self.config.minimise)
        return in_time(judgement, self.time_left, self.config.all_lengths)


def in_time(judgement: Judgement, time_left: TimeLeft, allowed: Sequence[int]) -> Judgement:
    """Return the judgement, or a rejection where there is no time for an accepted network at any of these lengths."""
    analysis = judgement.analysis
    if not judgement.accepted or analysis is None or time_left.seconds is None:
        return judgement
    if time_left.has(min(allowed), work_of(analysis)):
        return judgement
    return Judgement(analysis, Metric.MACS.value)


def accepted(step: ProposalStep, rng: random.Random, draws: int = DRAWS) -> Iterator[tuple[Draw, Judgement]]:
    """Yield new networks within the limits from so many uniform draws; of a small space without looking in vain."""
    entries = enumerated(step.space)
    if entries is not None:
        yield from drawn(entries, lambda entry: _may_be(step, entry), rng)
        return
    for _ in range(draws):
        if step.time_left.is_over():
            return
        found = draw(step.space, uniform(rng))
        judgement = step.judge(found)
        if not judgement.accepted:
            step.rejected[str(judgement.reason)] += 1
        elif found.architecture.hash not in step.known:
            yield found, judgement


def _may_be(step: ProposalStep, entry: Entry) -> bool:
    analysis = entry.judgement.analysis
    assert analysis is not None, "an accepted network has been analysed"
    if entry.hash in step.known or measured(analysis, step.config.minimise) > step.ceiling:
        return False
    return in_time(entry.judgement, step.time_left, step.config.all_lengths).accepted
