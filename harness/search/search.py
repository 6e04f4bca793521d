"""The search: one coordinator asks the proposer, rejects, hands runs to workers, prunes, confirms, and names a winner.

Workers only train. What has happened is in the study's folder at any moment, so a killed search goes on where it was.
``opening`` reads what earlier sessions left, ``exploration`` holds the open part, ``reactions`` what follows from a
worker's report, ``pruning`` and ``race`` the decisions, ``proposer`` the proposals, ``replay`` how they go on after a
stop, ``study`` the files.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from harness.evidence import study
from harness.evidence.events import Entry, Event, SessionBegan, SessionEnded, Verified, WinnerChosen, of_kind
from harness.evidence.study import StudyConfig
from harness.search import race
from harness.search.effort import Effort
from harness.search.exploration import explore
from harness.search.opening import open_session
from harness.search.proposals import sampler
from harness.search.proposals.proposer import Proposer
from harness.search.race import Candidate
from harness.search.session import Session, known_of, note
from harness.search.time_left import least_verify_seconds
from harness.search.watcher import Watcher
from harness.training.workers.executor import ExecutorOf, Processes
from harness.training.workers.workers import Source


def run_search(
    folder: Path,
    config: StudyConfig,
    effort: Effort,
    source: Source,
    reporter: Watcher,
    command: list[str],
    executor_of: ExecutorOf = Processes,
) -> Session:
    """Search until time, trials or the space are used up, choose a winner on validation, and return the session.

    The winner, if there is one, is the last ``winner`` event of the journal; its verification is the caller's.
    A search that has come to its end with no less effort is left as it is.

    Raises:
        KeyboardInterrupt: a second Ctrl-C or SIGTERM came before the first had ended the search in order.
        DataError: the data went away while workers wanted them.
        StorageError: a file cannot be written; no run has that for its outcome, so the same command goes on.
        HarnessError: run after run crashed.
    """
    study.mend(folder)
    session = open_session(folder, config, effort, source, reporter, executor_of)
    if session.finished:
        return session
    began = SessionBegan(command=tuple(command), workers=effort.workers, device=effort.device, seconds=effort.seconds)
    note(session, began)
    with _signals(session):
        try:
            session.executor.start(effort.workers, effort.side_by_side)
            explore(session)
            if not session.interrupted:
                choose(session, verified(study.read_events(folder)))
        finally:
            session.executor.stop()
        assert isinstance(session.proposer, Proposer), "a study's networks are the sampler's"
        if session.proposer.index.study.trials:
            sampler.write_database(session.proposer.index, folder / "study.db")
        if session.interrupted:
            session.reason = "interrupted"
        ended = SessionEnded(
            reason=session.reason, message=session.exhausted, seconds=effort.seconds, trials=effort.trials
        )
        note(session, ended)
    return session


def choose(session: Session, tried: Mapping[tuple[str, str], bool]) -> bool:
    """Note the winner: the smallest network that stands and can still be verified; the smallest where none can.

    Args:
        tried: of ``verified``; what has missed the target is passed over, what has met it takes no further time.

    Returns:
        whether there is one.
    """
    if session.interrupted:
        return False
    standing = race.final_order(list(session.candidates.values()), session.config.threshold_pct)
    met = {id(item): tried.get(_key(session, item)) for item in standing}
    left = [item for item in standing if met[id(item)] is not False]
    in_time = [item for item in left if met[id(item)] or least_verify_seconds(session, item) <= session.left]
    if left:
        note(session, WinnerChosen(**known_of((in_time or left)[0])))
    return bool(left)


def verified(events: Iterable[Entry[Event]]) -> dict[tuple[str, str], bool]:
    """Return whether each network that was verified has met the target, by the hashes of network and recipe."""
    verdicts = (entry.event for entry in of_kind(events, Verified))
    return {(each.hash, each.recipe_hash): each.passed is True for each in verdicts}


def _key(session: Session, candidate: Candidate) -> tuple[str, str]:
    recipe, _ = session.config.recipe_of(candidate.proposal.epochs)
    return candidate.proposal.hash, recipe.hash


@contextmanager
def _signals(session: Session) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the search in order; a second one ends it at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if session.interrupted:
            raise KeyboardInterrupt
        session.interrupted = True

    kept = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
