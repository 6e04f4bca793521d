"""Curves of a search for a logger: a value per trial, with the number of the trial as step.

A trial may be trained with several fresh seeds, so there is an accuracy curve for each index of a fresh seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from harness.studies.events import Confirmed, Event, Proposal, RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.system.user_code import Listener
from harness.training.result import Purpose


class Log(Protocol):
    """A log that takes points."""

    def write(self, curve: str, value: float, trial: int) -> None:
        """Append a point."""

    def close(self) -> None:
        """End the log."""


def listener(name: str, log: Log, state: StudyState, say: Callable[[str], None]) -> Listener:
    """Return an observer that writes the points of each event to a log on a separate thread.

    ``log`` is closed after the last event. Events of earlier sessions are not written again.
    """
    # A verification names only the hash.
    trials = {proposal.hash: trial for trial, proposal in state.proposals.items()}

    def write(event: Event) -> None:
        for curve, value, trial in _points(event, trials):
            log.write(curve, value, trial)

    return Listener(name, write, say, log.close)


def _points(event: Event, trials: dict[str, int]) -> Iterator[tuple[str, float, int]]:
    match event:
        case Proposal():
            trials[event.hash] = event.trial
        case RunEnded(run=run) if run.trial is not None:
            accuracy_curve = f"fresh_validation_pct/seed_{run.seed_index}"
            if run.purpose is Purpose.SEARCH:
                accuracy_curve = "validation_pct"
                yield "parameters", run.parameters, run.trial
            if run.validation_accuracy_pct is not None:
                yield accuracy_curve, run.validation_accuracy_pct, run.trial
        case Confirmed():
            yield "confirmed_parameters", event.parameters, event.trial
        case Verified(mean_test_accuracy_pct=float(accuracy)) if event.hash in trials:
            yield "test_pct", accuracy, trials[event.hash]
