"""The sampler's study as it was when a search stopped: all that it was asked and told, in the journal's order.

With one worker and no end in time the search then goes on exactly as it would have without the stop.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from harness.evidence.events import Entry, Event, Proposal, Rejected, Repeated, RunEnded, of_kind
from harness.search import race
from harness.search.proposals import sampler
from harness.search.proposals.proposer import Proposer, is_aimed, tell_repeat
from harness.search.race import Candidate
from harness.training.result import Purpose
from search_spaces.cost import analyse
from search_spaces.draw import Draw, Uniform, measured, replay


def replay_journal(proposer: Proposer, events: list[Entry[Event]], candidates: Mapping[int, Candidate]) -> None:
    """Ask and tell a new proposer what the journal says; networks without a result are running afterwards."""
    for event in (entry.event for entry in events):
        match event:
            case Proposal() as proposal:
                # Draws beside the sampler were questions of their own, an aim that found nothing included.
                aimed = proposal.origin != "ladder" and is_aimed(proposer.config.sampler, proposal.trial)
                proposer.index.asked += aimed + (proposal.origin == "draw")
                proposer.enter(proposal)
            case Rejected(origin="sampler"):
                _reject(proposer, event)
            case Repeated(trial=trial) if trial in candidates:
                _repeat(proposer, event, candidates[trial])
            case RunEnded(trial=int(trial), purpose=Purpose.SEARCH) if trial in candidates:
                tell_outcome(proposer, candidates[trial])
    taken = {entry.event.hash for entry in of_kind(events, Rejected) if entry.event.origin == "ladder"}
    proposer.ladder = [found for found in proposer.ladder if found.architecture.hash not in taken]


def tell_outcome(proposer: Proposer, candidate: Candidate) -> None:
    """Tell what came of a network's first run, where it has ended and that is news."""
    if candidate.first is not None and candidate.proposal.trial in proposer.running:
        proposer.tell(candidate.proposal.trial, race.outcome(candidate, proposer.config.threshold_pct))


def _reject(proposer: Proposer, event: Rejected) -> None:
    if event.violation is None or event.parameters is None:
        proposer.index.asked += 1
        return
    again = _drawn(proposer, event.indices)
    trial = sampler.impose(proposer.index, again.decisions)
    cost = measured(analyse(again.architecture, proposer.space.task), proposer.config.minimise)
    sampler.reject(proposer.index, trial, cost, event.violation)


def _repeat(proposer: Proposer, event: Repeated, candidate: Candidate) -> None:
    if candidate.proposal.trial in proposer.running:
        proposer.index.asked += 1
        return
    trial = sampler.impose(proposer.index, _drawn(proposer, event.indices).decisions)
    tell_repeat(proposer, trial, candidate)


def _drawn(proposer: Proposer, indices: Mapping[str, int]) -> Draw:
    return replay(proposer.space, indices, Uniform(random.Random(0)))
