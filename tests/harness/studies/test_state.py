"""What follows from the events of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.studies.candidate import TRANSITIONS, NetworkState, Step
from harness.studies.events import Confirmed, Entry, Event, FailedConfirmation, RunEnded, WinnerChosen
from harness.studies.state import StudyState
from harness.training.result import Purpose, Status
from tests import searches
from tests.factories import make_proposal, make_result

# Two networks, of which the first is trained for two lengths.
HASHES = ("a", "a", "b")
TRIALS = st.integers(0, len(HASHES) - 1)
STATUSES = st.sampled_from([Status.COMPLETE, Status.PRUNED, Status.CRASHED])
DECISIONS = st.sampled_from([Confirmed, FailedConfirmation, WinnerChosen])
STEPS: dict[type[Any] | Status, Step] = {
    Status.COMPLETE: Step.COMPLETED,
    Status.PRUNED: Step.PRUNED,
    Status.CRASHED: Step.FAILED,
    Confirmed: Step.CONFIRMED,
    FailedConfirmation: Step.REFUTED,
    WinnerChosen: Step.CHOSEN,
}


def event_of(trial: int, kind: type[Any] | Status) -> Event:
    if isinstance(kind, Status):
        run = make_result(errors=90, status=kind, purpose=Purpose.SEARCH)
        return RunEnded(run=replace(run, trial=trial, hash=HASHES[trial]))
    event: Event = kind(trial=trial, hash=HASHES[trial], parameters=1000)
    return event


def state_of(network_hash: str, history: Sequence[tuple[int, type[Any] | Status]]) -> NetworkState:
    """Return where the events leave a network: its last decision, else the best of its first runs."""
    own = [kind for trial, kind in history if HASHES[trial] == network_hash]
    winners = [HASHES[trial] for trial, kind in history if kind is WinnerChosen]
    match next((kind for kind in reversed(own) if not isinstance(kind, Status)), None):
        case None:
            order = {Status.COMPLETE: NetworkState.TRAINED, Status.PRUNED: NetworkState.PRUNED}
            best = next((state for status, state in order.items() if status in own), NetworkState.FAILED)
            return best if own else NetworkState.UNFINISHED
        case kind if kind is FailedConfirmation:
            return NetworkState.REFUTED
        case kind if kind is WinnerChosen and winners[-1] == network_hash:
            return NetworkState.WINNER
        case _:
            return NetworkState.CONFIRMED


@given(st.lists(st.tuples(TRIALS, st.one_of(STATUSES, DECISIONS)), max_size=12))
def test_a_network_goes_from_state_to_state_as_the_table_says(history: list[tuple[int, type[Any] | Status]]):
    state = StudyState(Path("study"), searches.config())
    for trial, network_hash in enumerate(HASHES):
        state.apply(Entry(0.0, make_proposal(trial, hash=network_hash)))

    for number, (trial, kind) in enumerate(history):
        before = dict(state.network_states)
        state.apply(Entry(float(number), event_of(trial, kind)))
        for network_hash, after in state.network_states.items():
            step = STEPS[kind] if network_hash == HASHES[trial] else Step.REPLACED
            came_from = before.get(network_hash, NetworkState.UNFINISHED)
            if after is not came_from:
                assert TRANSITIONS[came_from, step] is after
            assert after is state_of(network_hash, history[: number + 1])
