"""The process that keeps a database up to date while a search goes on.

The log is its queue: it reads what has been added and writes it to the database, each time that the search's process
nudges it. So a database that is slow, hangs or breaks its driver costs the search nothing: whoever does not answer in
time is killed, and started again later.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.evidence.mirror.trials import Story
from harness.evidence.mirror.url import check_url, hidden, without_password
from harness.evidence.study import StudyConfig
from harness.system.errors import HarnessError, UsageError, typed
from harness.system.machine import die_with, ignoring_sigint

if TYPE_CHECKING:
    from harness.evidence.mirror.optuna_storage import Mirror

_CONTEXT = multiprocessing.get_context("spawn")
# What the start of the process may take, then the first answer of the database, and later ones.
START_SECONDS, ANSWER_SECONDS, HANGING_SECONDS = 120.0, 20.0, 60.0
# Between two nudges; and while the database is away.
PAUSE_SECONDS, AWAY_SECONDS = 2.0, 10.0
# What is written in one go.
WRITE_SECONDS = 5.0
# What the end of a search waits for a database that answers.
END_SECONDS = 60.0
# Below the trainings.
_NICENESS = 10


class Outcome(StrEnum):
    """What came of an attempt.

    ``behind`` where more is to be written, ``lost`` where the connection broke, ``away`` where there is none.
    """

    READY = "ready"
    CURRENT = "current"
    BEHIND = "behind"
    LOST = "lost"
    AWAY = "away"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the process says of an attempt."""

    outcome: Outcome
    message: str = ""
    hint: str | None = None


def serve(pipe: Connection, parent: int, folder: Path, config: StudyConfig, url: str) -> None:
    """Catch up with the log at each nudge, which says whether the search is running; the body of the process."""
    die_with(parent)
    os.nice(_NICENESS)
    # Loads Optuna, so it comes here.
    from harness.evidence.mirror.optuna_storage import close_storage

    mirror: Mirror | None = None
    pipe.send(Answer(Outcome.READY))
    while True:
        try:
            is_running = pipe.recv()
        except (EOFError, ConnectionResetError):
            # The search was killed; in the second case with an answer unread.
            return
        mirror, answer = _attempt(mirror, folder, config, url, is_running=is_running)
        if mirror is not None and answer.outcome in (Outcome.LOST, Outcome.AWAY, Outcome.REFUSED):
            with contextlib.suppress(Exception):
                close_storage(mirror.storage)
            mirror = None
        with contextlib.suppress(ConnectionError):
            pipe.send(answer)


def _attempt(
    mirror: Mirror | None, folder: Path, config: StudyConfig, url: str, *, is_running: bool
) -> tuple[Mirror | None, Answer]:
    from harness.evidence.mirror.optuna_storage import Away, catch_up, open_mirror

    try:
        if mirror is None:
            return open_mirror(url, Story(folder, config)), Answer(Outcome.BEHIND)
        whole = catch_up(mirror, is_running=is_running, seconds=WRITE_SECONDS)
    except Away as error:
        # A connection that has served may have been closed meanwhile: the next attempt opens another one.
        served = mirror is not None and mirror.has_served
        return mirror, Answer(Outcome.LOST if served else Outcome.AWAY, str(error))
    except HarnessError as error:
        return mirror, Answer(Outcome.REFUSED, error.message, error.hint)
    except Exception as error:
        # A mirror is not worth a search.
        return mirror, Answer(Outcome.REFUSED, without_password(f"{type(error).__name__}: {error}", url))
    return mirror, Answer(Outcome.CURRENT if whole else Outcome.BEHIND)


class Mirroring:
    """Keeps a database up to date from another process; use it as a context manager.

    Attributes:
        say: tells the person something.
    """

    def __init__(
        self,
        folder: Path,
        config: StudyConfig,
        url: str,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the process and wait until it has opened the database.

        Raises:
            UsageError: the database cannot be used; the message says whether URL, driver, server or study is wrong.
        """
        check_url(url)
        self.say, self._clock = say, clock
        self._folder, self._config, self._url = folder, config, url
        self._process: SpawnProcess | None = None
        self._pipe: Connection
        self._asked: float | None = None
        self._due = 0.0
        self._is_away = self._is_over = False
        try:
            self._open()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        """Do nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the end of the search, unless it was broken off; end the process."""
        try:
            if kind is None and not self._is_over and not self.finish():
                self.say(
                    f"the database of --storage is behind the files of the study; once it answers, "
                    f"'{typed('report', self._folder.name, '--storage', 'URL')}' catches up"
                )
        finally:
            self.stop()

    def refresh(self) -> None:
        """Hear what the process has to say, and nudge it where it is time to; wait for nothing."""
        if self._is_over:
            return
        now = self._clock()
        if self._asked is None:
            if now >= self._due:
                self._ask(is_running=True)
        elif (answer := self._answer(0.0)) is not None:
            self._hear(answer)
        elif now - self._asked > HANGING_SECONDS:
            self.stop()
            self._hear(Answer(Outcome.AWAY, f"no answer for {HANGING_SECONDS:.0f} s"))
            self._due = now + HANGING_SECONDS

    def finish(self, seconds: float = END_SECONDS) -> bool:
        """Write all that is left within so many seconds, open trials as waiting; return whether all is written."""
        until = self._clock() + seconds
        is_last = False
        while not self._is_over:
            if self._asked is None:
                self._ask(is_running=False)
                is_last = True
            answer = self._answer(min(HANGING_SECONDS, until - self._clock()))
            if answer is None:
                return False
            self._hear(answer)
            if is_last and answer.outcome in (Outcome.CURRENT, Outcome.AWAY):
                return answer.outcome is Outcome.CURRENT
        return False

    def stop(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._asked = None

    def _open(self) -> None:
        self._start()
        answer = self._answer(START_SECONDS)
        if answer is not None and answer.outcome is Outcome.READY:
            self._ask(is_running=True)
            answer = self._answer(ANSWER_SECONDS)
        self._asked = None
        shown = f"--storage {hidden(self._url)}"
        if answer is None:
            raise UsageError(f"{shown}: the database does not answer within {ANSWER_SECONDS:.0f} s")
        if answer.outcome is Outcome.AWAY:
            raise UsageError(f"{shown}: {answer.message}")
        if answer.outcome is Outcome.REFUSED:
            raise UsageError(answer.message, hint=answer.hint)

    def _start(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        given = (theirs, os.getpid(), self._folder, self._config, self._url)
        self._process = _CONTEXT.Process(target=serve, args=given, daemon=True)
        with ignoring_sigint():
            self._process.start()
        theirs.close()
        self._asked = self._clock()

    def _ask(self, *, is_running: bool) -> None:
        """Nudge the process; where there is none, start one, whose first answer is that it is ready."""
        if self._process is None:
            self._start()
            return
        self._asked = self._clock()
        # A process that has ended is found out by the next answer.
        with contextlib.suppress(ConnectionError):
            self._pipe.send(is_running)

    def _answer(self, seconds: float) -> Answer | None:
        """Return what the process answers within so many seconds, None where it does not."""
        try:
            if not self._pipe.poll(max(0.0, seconds)):
                return None
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self.stop()
            return Answer(Outcome.AWAY, "the process that writes to it has ended")
        assert isinstance(answer, Answer)
        return answer

    def _hear(self, answer: Answer) -> None:
        """Tell the person what has changed, and decide when the next nudge is due."""
        self._asked = None
        pause = {Outcome.CURRENT: PAUSE_SECONDS, Outcome.AWAY: AWAY_SECONDS}.get(answer.outcome, 0.0)
        self._due = self._clock() + pause
        match answer.outcome:
            case Outcome.CURRENT if self._is_away:
                self._is_away = False
                self.say("the database of --storage is back, and has been caught up with")
            case Outcome.AWAY if not self._is_away:
                self._is_away = True
                self.say(
                    "the database of --storage is away; the search goes on, and the database is caught up with when it "
                    f"is back ({answer.message})"
                )
            case Outcome.REFUSED:
                self._is_over = True
                why = f"{answer.message}; {answer.hint}" if answer.hint else answer.message
                self.say(f"nothing more is written to the database of --storage: {why}")
