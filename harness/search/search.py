"""The search: one coordinator asks the proposer, rejects, hands runs to workers, prunes, confirms, and names a winner.

Workers only train. What has happened is in the study's folder at any moment, so a killed search goes on where it was.
``opening`` reads what earlier sessions left, ``exploration`` holds the open part, ``reactions`` what follows from a
worker's report, ``pruning`` and ``race`` the decisions, ``proposer`` the proposals, ``replay`` how they go on after a
stop, ``study`` the files.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from harness.evidence import study
from harness.evidence.events import SessionBegan, SessionEnded, WinnerChosen
from harness.evidence.study import StudyConfig
from harness.search import race
from harness.search.effort import Effort
from harness.search.exploration import explore
from harness.search.opening import open_session
from harness.search.proposals import sampler
from harness.search.proposals.proposer import Proposer
from harness.search.race import Candidate
from harness.search.reactions import show
from harness.search.session import Session, known_of, note
from harness.search.time_left import least_verify_seconds
from harness.search.watcher import Watcher
from harness.training.workers import ExecutorOf, Processes, Source


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
        show(session)
        return session
    began = SessionBegan(command=tuple(command), workers=effort.workers, device=effort.device, seconds=effort.seconds)
    note(session, began)
    with _signals(session):
        try:
            session.executor.start(effort.workers)
            explore(session)
            # There may have been nothing to explore: then nothing has been shown yet.
            show(session)
            if not session.interrupted:
                choose(session)
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


def choose(session: Session) -> WinnerChosen | None:
    """Note and return the winner: the smallest network that stands and can still be verified; the smallest if none can.

    One whose verification has missed is passed over; one that has met the target takes no further time.
    """
    if session.interrupted:
        return None

    def is_open(candidate: Candidate) -> bool:
        verdict = session.verdicts.get(candidate.proposal.trial)
        stands = race.stands(candidate, session.config.threshold_pct)
        return stands if verdict is None else verdict.passed is True

    open_ = sorted(filter(is_open, session.candidates.values()), key=race.by_cost)
    in_time = [
        item
        for item in open_
        if item.proposal.trial in session.verdicts or least_verify_seconds(session, item) <= session.left
    ]
    if not open_:
        return None
    winner = WinnerChosen(**known_of((in_time or open_)[0]))
    note(session, winner)
    return winner


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
