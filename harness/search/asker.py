"""Somebody's method of search, which alone says which network is next: of the bench, and of ``--sampler``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.events import Proposal, Rejected, Repeated
from harness.evidence.study import StudyConfig
from harness.search.clock import TimeLeft
from harness.search.optuna_sampler import takes_problem
from harness.search.propose import ASKS, Found
from harness.search.race import Candidate
from harness.system.errors import ContentError
from harness.system.user_code import called, function_of
from harness.training.result import Status
from search_spaces.errors import SearchSpaceError
from search_spaces.notation import parse_network
from search_spaces.space import Metric, Objective, SearchSpace, judge

# Characters of an answer that an error shows.
SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a method is told at the beginning of a repeat.

    Attributes:
        space: the whole definition, in the language of spaces.
        budget: most parameters.
        target_pct: validation accuracy to be reached at the last of ``epochs``.
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
        validation_accuracy_pct: of its first run, None while that is going on; ``fresh_pct`` of its runs on fresh
            seeds, which a network gets that has reached the target once.
        stands: it has reached the target on these, so it may be the answer.
    """

    network: str
    parameters: int
    state: str
    validation_accuracy_pct: float | None
    fresh_pct: tuple[float, ...]
    stands: bool


Ask = Callable[[Sequence[Trial]], str]


@dataclass(slots=True)
class Asker:
    """Proposes to a search what somebody's method says, which is asked by ``ask``; ``name`` is for errors."""

    name: str
    space: SearchSpace
    problem: Problem
    ask: Ask

    def propose(
        self,
        ceiling: int,
        candidates: Mapping[int, Candidate],
        time_left: TimeLeft,
        objective: Objective = Metric.PARAMETERS,
    ) -> Found:
        """Return the next network; none where the method names known ones ``ASKS`` times in a row: it has no more."""
        known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
        tried = tuple(map(_tried, candidates.values()))
        passed: list[Rejected | Repeated] = []
        for _ in range(ASKS):
            answer = self.ask(tried)
            try:
                architecture = parse_network(answer, self.space.task)
            except SearchSpaceError as error:
                raise ContentError(f"{self.name} answered {shown(answer)}: {error.message}") from error
            judgement, listed = judge(self.space, architecture, self.problem.budget), self.problem.networks
            analysis = judgement.analysis if judgement.accepted else None
            if analysis is None or str(architecture) not in (listed or [str(architecture)]):
                why = judgement.message or "it is not listed"
                raise ContentError(f"{self.name} answered {shown(answer)}, which may not be trained: {why}")
            if architecture.hash not in known:
                proposal = Proposal(
                    trial=len(candidates),
                    architecture=architecture,
                    hash=architecture.hash,
                    parameters=analysis.parameters,
                    origin=self.name,
                    decisions=(),
                )
                return Found(proposal, tuple(passed))
            passed.append(Repeated(trial=known[architecture.hash], hash=architecture.hash))
        return Found(None, tuple(passed), f"{ASKS} networks in a row were known")

    def tell(self, candidate: Candidate) -> None:
        """Do nothing: the history says it at the next question."""


def _tried(candidate: Candidate) -> Trial:
    first = candidate.first
    return Trial(
        network=str(candidate.proposal.architecture),
        parameters=candidate.proposal.parameters,
        state="running" if first is None else str(first.status),
        validation_accuracy_pct=first.validation_accuracy_pct if first and first.status is Status.COMPLETE else None,
        fresh_pct=tuple(candidate.fresh_pct),
        stands=candidate.is_confirmed,
    )


def shown(said: str) -> str:
    """Return the beginning of an answer, for an error."""
    return repr(said if len(said) <= SHOWN else f"{said[:SHOWN]}...")


def method_of(config: StudyConfig, space: SearchSpace, workers: int) -> Asker | None:
    """Return the method that a study's sampler names, begun; None where it names a sampler.

    Raises:
        UsageError: there is no such function.
        ContentError: it failed, or does not give a function.
    """
    if not takes_problem(name := config.sampler):
        return None
    problem = Problem(
        space=config.space_text,
        budget=config.budget,
        target_pct=config.threshold_pct,
        epochs=config.recipe.epochs,
        workers=workers,
        seed=config.seed,
    )
    with called(f"--sampler {name}"):
        asked: Ask = function_of(name, "--sampler")(problem)

    def ask(tried: Sequence[Trial]) -> str:
        with called(f"--sampler {name}"):
            if isinstance(answer := asked(tried), str):
                return answer
            raise TypeError(f"it answered {type(answer).__name__}, but the text of a network is wanted")

    return Asker(f"--sampler {name}", space, problem, ask)
