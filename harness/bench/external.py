"""Methods of others: they are told what was tried, and say which network is next.

A method joins as a Python entry point of the group ``harness.bench``: a function that is given a ``Problem`` at the
beginning of a repeat and returns a function from the history to the text of a network. Or it is a program that reads
and writes JSON lines. ``benchmarks/methods/`` has an example of each. Rejection, fresh seeds and the answer are the
bench's, the same as for every method.

A program first reads ``{"begin": {...}}``, the fields of ``Problem``; nothing is answered. Then each question is a line
``{"tried": [...]}``, the fields of ``Trial`` for every network so far, and the answer a line ``{"network": "..."}``. At
the end of a repeat stdin is closed. An entry point runs in such a program too, one a repeat: nothing is carried over,
and a function that never answers, ends its process or prints where answers go does so to this process alone.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from typing import IO, Any

from harness.bench.comparison import SearchTask
from harness.bench.methods import BuiltIn, Method, Program
from harness.data.datasets import dataset
from harness.evidence.events import Proposal, Rejected, Repeated
from harness.search import race
from harness.search.clock import TimeLeft
from harness.search.propose import ASKS, Found
from harness.search.race import Candidate, Outcome
from harness.system.errors import ContentError, reason
from harness.training.result import Status
from search_spaces.cost import analyse
from search_spaces.draw import draw_uniform, judge
from search_spaces.errors import DrawError, SearchSpaceError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import SearchSpace

_GROUP = "harness.bench"
# In bytes. No network and no reason to say more is as long.
_LONGEST_ANSWER = 1 << 20
# Characters of an answer or of last words that an error shows.
_SHOWN = 80
# Draws of networks that are known already, where a method had none that was new.
_DRAWS = 2_000
# Runs an entry point; the function is looked for where the bench finds its own modules.
_HOST = "import sys; name, *sys.path = sys.argv[1:]; from harness.bench.external import host; host(name)"


class _MethodError(ContentError):
    """Raise when a method of somebody else's does not keep to the rules; says which, in which repeat and at what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a method is told at the beginning of a repeat.

    Attributes:
        space: the whole definition, in the language of spaces.
        budget: most parameters.
        target_pct: validation accuracy to be reached at the last of ``epochs``.
        workers: networks that are trained side by side.
        networks: all that may be proposed, where the space is small enough to be listed; else None.
    """

    space: str
    budget: int
    target_pct: float
    epochs: int
    workers: int
    seed: int
    networks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A network that the method has proposed before, and what came of it.

    Attributes:
        state: ``running``, ``complete``, or how its training failed.
        validation_accuracy_pct: of its first run, None while that is going on.
        fresh_pct: of its runs on fresh seeds, which a network gets that has reached the target once.
        stands: it has reached the target on these, so it may be the answer.
    """

    network: str
    parameters: int
    state: str
    validation_accuracy_pct: float | None
    fresh_pct: tuple[float, ...]
    stands: bool


Ask = Callable[[Sequence[Trial]], str]
Begin = Callable[[Problem], Ask]


@dataclass(slots=True)
class _Asker:
    """Proposes to a search what somebody's method says, which is asked by ``ask``."""

    name: str
    repeat: int
    space: SearchSpace
    problem: Problem
    ask: Ask = field(init=False)
    asked: int = 0
    checked: dict[str, Architecture] = field(default_factory=dict)

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], time_left: TimeLeft) -> Found:
        """Return the next network: the method's, or a draw where it names known ones ``ASKS`` times in a row."""
        known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
        tried = tuple(_tried(candidate, self.problem.target_pct) for candidate in candidates.values())
        passed: list[Rejected | Repeated] = []
        for _ in range(ASKS):
            self.asked += 1
            architecture = self._checked(self.ask(tried))
            if architecture.hash not in known:
                return Found(self._proposal(len(candidates), architecture, self.name), tuple(passed))
            passed.append(Repeated(trial=known[architecture.hash], hash=architecture.hash))
        rng = random.Random(f"{self.problem.seed}/{len(candidates)}")
        for _ in range(_DRAWS):
            try:
                architecture = draw_uniform(self.space, rng, ceiling).architecture
            except DrawError as error:
                return Found(None, tuple(passed), error.message)
            if architecture.hash not in known:
                return Found(self._proposal(len(candidates), architecture, "draw"), tuple(passed))
        return Found(None, tuple(passed), f"none of {_DRAWS:,} further draws was a new network")

    def tell(self, trial: int, outcome: Outcome) -> None:
        """Do nothing: the history says it at the next question."""

    def _proposal(self, trial: int, architecture: Architecture, origin: str) -> Proposal:
        size = analyse(architecture, self.space.task).parameters
        key = architecture.hash
        return Proposal(trial=trial, architecture=architecture, hash=key, parameters=size, origin=origin, decisions=())

    def _checked(self, answer: str) -> Architecture:
        if answer in self.checked:
            return self.checked[answer]
        try:
            architecture = parse_network(answer, self.space.task)
        except SearchSpaceError as error:
            raise self.fault(f"answered {_shown(answer)}, which is no network: {error.message}") from error
        judgement = judge(self.space, architecture, self.problem.budget)
        if not judgement.accepted:
            raise self.fault(f"answered {_shown(answer)}, which may not be trained: {judgement.message}")
        if self.problem.networks is not None and str(architecture) not in self.problem.networks:
            raise self.fault(f"answered {_shown(answer)}, which is none of the networks that are listed")
        self.checked[answer] = architecture
        return architecture

    def fault(self, what: str) -> _MethodError:
        place = f"question {self.asked}" if self.asked else "the beginning"
        return _MethodError(f"method {self.name!r}, repeat {self.repeat}, {place}: {what}")


def installed() -> dict[str, tuple[str, ...]]:
    """Return the entry points that are installed by name, each with what it refers to, such as ``module:function``.

    More than one: several packages have a method of that name.
    """
    points = entry_points(group=_GROUP)
    return {name: tuple(sorted({point.value for point in points.select(name=name)})) for name in sorted(points.names)}


def _asker_of(method: Method, task: SearchTask, seed: int, repeat: int) -> _Asker:
    """Return the method's side of a search, without its voice."""
    problem = Problem(
        space=task.space,
        budget=task.budget,
        target_pct=task.target_pct,
        epochs=task.recipe.epochs,
        workers=task.workers,
        seed=seed,
        networks=task.networks,
    )
    space = parse_space(task.space, task.space_name, dataset(task.dataset).task)
    return _Asker(method.name, repeat, space, problem)


@contextmanager
def opened(method: Method, task: SearchTask, seed: int, repeat: int, answer_seconds: float) -> Iterator[_Asker | None]:
    """Be ready to ask a method for the block; None for one that comes with the bench."""
    if isinstance(method, BuiltIn):
        yield None
        return
    asker = _asker_of(method, task, seed, repeat)
    command = (sys.executable, "-c", _HOST, method.name, *sys.path)
    if isinstance(method, Program):
        command = method.command
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, bufsize=0, stdin=pipe, stdout=pipe, stderr=complaints, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise asker.fault(f"cannot start {command[0]!r}: {reason(error)}") from error
        talk = _Talk(process, complaints, asker, answer_seconds, unsent={"begin": asdict(asker.problem)})
        asker.ask = talk.ask
        try:
            yield asker
        finally:
            talk.end()


@dataclass(slots=True)
class _Talk:
    """A running program, what it says to people, and what it has not yet been sent."""

    process: subprocess.Popen[bytes]
    complaints: IO[bytes]
    asker: _Asker
    answer_seconds: float
    unsent: dict[str, Any]
    is_late: bool = False

    def ask(self, tried: Sequence[Trial]) -> str:
        """Return the text that answers a question."""
        answer = self._exchange({"tried": [asdict(item) for item in tried]})
        try:
            document = json.loads(answer)
        except ValueError:
            raise self.asker.fault(f"answered {_shown(answer)}, which is no JSON") from None
        network = document.get("network") if isinstance(document, dict) else None
        if not isinstance(network, str):
            raise self.asker.fault(f'answered {_shown(answer)}, but {{"network": "..."}} is wanted')
        return network

    def _exchange(self, question: dict[str, Any]) -> bytes:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        if select.select([stdout], [], [], 0)[0] and (said := stdout.read(_SHOWN)):
            raise self.asker.fault(f"said more than was asked: {_shown(said)}")
        timer = threading.Timer(self.answer_seconds, self._give_up)
        timer.start()
        try:
            documents = [self.unsent, question] if self.unsent else [question]
            lines = [json.dumps(each, separators=(",", ":"), allow_nan=False) for each in documents]
            left, self.unsent = memoryview("".join(f"{line}\n" for line in lines).encode()), {}
            while left:
                left = left[stdin.write(left) :]
            answer: bytes = stdout.readline(_LONGEST_ANSWER + 1)
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        if self.is_late:
            raise self.asker.fault(f"gave no answer in {self.answer_seconds:g} s{self._last_words()}")
        if len(answer) > _LONGEST_ANSWER:
            raise self.asker.fault(f"answered more than {_LONGEST_ANSWER:,} bytes: {_shown(answer)}")
        if not answer.endswith(b"\n"):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5.0)
            code = self.process.poll()
            how = f"ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}" if code else "said no more"
            raise self.asker.fault(f"{how} before it answered{self._last_words()}")
        return answer[:-1]

    def _give_up(self) -> None:
        self.is_late = True
        self._kill()

    def _last_words(self) -> str:
        self.complaints.seek(max(0, self.complaints.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in self.complaints.read().decode("utf-8", "replace").split("\n")]
        last = next((line for line in reversed(lines) if line), "")
        return f"; its last words: {last[: 2 * _SHOWN]}" if last else ""

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self._kill()
        with self.process, suppress(OSError):
            pass


def host(name: str) -> None:
    """Answer for an entry point until the input ends; what the function raises ends the program with a trace."""
    # Kept from the function: what it prints goes where people look, and it has no input.
    questions, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    # Where several packages have it, all mean the same function.
    point, *_ = entry_points(group=_GROUP, name=name)
    begin: Begin = point.load()
    told = json.loads(questions.readline())["begin"]
    ask = begin(Problem(**told | {"networks": told["networks"] and tuple(told["networks"])}))
    for line in questions:
        tried = json.loads(line)["tried"]
        answer = ask(tuple(Trial(**trial | {"fresh_pct": tuple(trial["fresh_pct"])}) for trial in tried))
        if not isinstance(answer, str):
            raise TypeError(f"answered {type(answer).__name__}, but the text of a network is wanted")
        print(json.dumps({"network": answer}), file=answers, flush=True)


def _shown(said: str | bytes) -> str:
    words = said if isinstance(said, str) else said[: 4 * _SHOWN].decode("utf-8", "replace")
    return repr(words if len(words) <= _SHOWN else f"{words[:_SHOWN]}...")


def _tried(candidate: Candidate, target_pct: float) -> Trial:
    first = candidate.first
    done = first is not None and first.status is Status.COMPLETE
    return Trial(
        network=str(candidate.proposal.architecture),
        parameters=candidate.proposal.parameters,
        state="running" if first is None else str(first.status),
        validation_accuracy_pct=first.validation_accuracy_pct if first is not None and done else None,
        fresh_pct=tuple(candidate.fresh_pct),
        stands=race.is_confirmed(candidate, target_pct),
    )
