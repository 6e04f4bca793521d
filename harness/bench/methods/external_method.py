"""The interface for methods of others: they are told what was tried, and say which network is next.

A method joins as a Python entry point of the group ``harness.bench``: a function that is given a ``Problem`` at the
beginning of a repeat and returns a function from the history to the text of a network (``entry_point_host``). Or it is
a program that reads and writes JSON lines (``program``). ``benchmarks/methods/`` has an example of each. Rejection,
fresh seeds and the answer are the bench's, the same as for every method.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from harness.evidence.events import Proposal, Rejected, Repeated
from harness.search import race
from harness.search.clock import TimeLeft
from harness.search.propose import ASKS, Found
from harness.search.race import Candidate, Outcome
from harness.system.errors import ContentError
from harness.training.result import Status
from search_spaces.draw import draw_uniform, judge
from search_spaces.errors import DrawError, SearchSpaceError
from search_spaces.membership import derives
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.space import SearchSpace

GROUP = "harness.bench"
# As many characters of an answer as an error shows.
_SHOWN = 80
# Draws of networks that are known already, where a method had none that was new.
_DRAWS = 2_000


class MethodError(ContentError):
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
class Asker:
    """Proposes to a search what somebody's method says, which is asked by ``ask``."""

    name: str
    repeat: int
    space: SearchSpace
    problem: Problem
    ask: Ask = field(init=False)
    asked: int = 0
    checked: dict[str, Architecture] = field(default_factory=dict)

    def propose(self, ceiling: int, candidates: Mapping[int, Candidate], time_left: TimeLeft) -> Found:
        """Return the next network: the method's, or a uniform draw where it names known ones ``ASKS`` times in a row.

        Raises:
            MethodError: its answer is no network of the space within the budget.
        """
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
        analysis = judge(self.space, architecture).analysis
        assert analysis is not None
        return Proposal(
            trial=trial,
            architecture=architecture,
            hash=architecture.hash,
            parameters=analysis.parameters,
            origin=origin,
            decisions=(),
        )

    def _checked(self, answer: str) -> Architecture:
        if answer in self.checked:
            return self.checked[answer]
        shown = repr(answer if len(answer) <= _SHOWN else f"{answer[:_SHOWN]}...")
        try:
            architecture = parse_network(answer, self.space.task)
        except SearchSpaceError as error:
            raise self.fault(f"answered {shown}, which is no network: {error.message}") from error
        judgement = judge(self.space, architecture, self.problem.budget)
        if not judgement.accepted:
            raise self.fault(f"answered {shown}, which may not be trained: {judgement.message}")
        if not derives(self.space, architecture):
            raise self.fault(f"answered {shown}, which the space {self.space.name!r} cannot draw")
        self.checked[answer] = architecture
        return architecture

    def fault(self, what: str) -> MethodError:
        """Return an error that says where it happened."""
        place = f"question {self.asked}" if self.asked else "the beginning"
        return MethodError(f"method {self.name!r}, repeat {self.repeat}, {place}: {what}")


def installed() -> dict[str, tuple[str, ...]]:
    """Return the entry points that are installed by name, each with what it refers to, such as ``module:function``.

    More than one: several packages have a method of that name.
    """
    points = entry_points(group=GROUP)
    return {name: tuple(sorted({point.value for point in points.select(name=name)})) for name in sorted(points.names)}


def _tried(candidate: Candidate, target_pct: float) -> Trial:
    first = candidate.first
    return Trial(
        network=str(candidate.proposal.architecture),
        parameters=candidate.proposal.parameters,
        state="running" if first is None else str(first.status),
        validation_accuracy_pct=first.validation_accuracy_pct
        if first is not None and first.status is Status.COMPLETE
        else None,
        fresh_pct=tuple(candidate.fresh_pct),
        stands=race.is_confirmed(candidate, target_pct),
    )
