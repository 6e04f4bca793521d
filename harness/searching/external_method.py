"""Somebody's method of search, of the bench and of ``--sampler``.

It alone says which network is next; it may judge the rungs, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.searching.finder import Inquiry
from harness.searching.optuna_sampler import takes_problem
from harness.searching.proposer import ASKS, Answer
from harness.searching.time_budget import TimeLeft, work_of
from harness.studies.candidate import Candidate
from harness.studies.config import StudyConfig
from harness.studies.events import Proposal, Repeated
from harness.system.errors import ContentError
from harness.system.user_code import called, function_of
from harness.training.result import Result, Status
from search_spaces.errors import SearchSpaceError
from search_spaces.network import Analysis, Architecture, Task
from search_spaces.notation import parse_network
from search_spaces.space import Metric, SearchSpace, judge

# Characters of an answer that an error shows.
SHOWN = 80
# Answers over the limits, which fall while the method draws from the whole space, until it counts as having no more.
_MOST_OVER = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a method is told at the beginning of a repeat.

    Attributes:
        space: the whole definition, in the language of spaces.
        budget: most parameters.
        target_pct: validation accuracy to be reached at the last of ``epochs``, or earlier where time is short.
        input_shape: (channels, rows, columns) of an image; a network ends in ``classes`` values.
        rungs: the epochs, ascending, after which a method that judges rungs is asked; the end is none of them.
        networks: all that may be proposed, where the space is small enough to be listed; else None.
    """

    space: str
    input_shape: tuple[int, int, int]
    classes: int
    budget: int
    target_pct: float
    epochs: int
    workers: int
    seed: int
    rungs: tuple[int, ...]
    networks: tuple[str, ...] | None = None

    @property
    def task(self) -> Task:
        """What a network takes and gives; the space is parsed with it."""
        return Task(self.input_shape, self.classes)


@dataclass(frozen=True, slots=True)
class Trial:
    """A network that the method has proposed before, and what came of it.

    Attributes:
        state: ``running``, ``complete``, ``pruned`` at a rung, ``rejected`` for a limit of the moment, or how its
            training failed.
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


@dataclass(frozen=True, slots=True)
class Rung:
    """Where the first training of a network stands after one of the epochs at which rungs are judged."""

    network: str
    epoch: int
    validation_accuracy_pct: float


Ask = Callable[[Sequence[Trial]], str]
Stop = Callable[[Rung], bool]


def functions_of(method: Ask | tuple[Ask, Stop]) -> tuple[Ask, Stop | None]:
    """Return what names the next network, and what judges rungs where the method does."""
    return method if isinstance(method, tuple) else (method, None)


@dataclass(slots=True)
class Asker:
    """Proposes to a search what somebody's method says, which is asked by ``ask``; ``name`` is for errors.

    Attributes:
        stop: what the method says of a network at a rung; None where it does not judge rungs.
        lengths: epochs that a training may have, where they differ.
        rejected: what was answered in vain.
    """

    name: str
    space: SearchSpace
    problem: Problem
    ask: Ask
    stop: Stop | None = None
    lengths: tuple[int, ...] = ()
    rejected: dict[str, Trial] = field(default_factory=dict)

    @property
    def is_hopeless(self) -> Callable[[Result], bool] | None:
        """The rule of the rungs; None where the method does not judge them."""
        stop = self.stop
        if stop is None:
            return None
        return lambda result: stop(
            Rung(str(result.architecture), len(result.history), result.validation_accuracy_pct or 0.0)
        )

    def propose(self, inquiry: Inquiry) -> Answer:
        """Return the next network; none where too many in a row are known, or over the limits of the moment.

        Raises:
            ContentError: the method answered what is no network, or one that may never be trained.
        """
        candidates = inquiry.candidates
        time_left = inquiry.time_left
        known = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
        tried = tuple(map(_tried, candidates.values()))
        passed = list[Repeated]()
        over = Counter[str]()
        lacks_time = False
        while len(passed) < ASKS and over.total() < _MOST_OVER and not time_left.is_over():
            architecture, analysis = self._answer((*tried, *self.rejected.values()))
            hash_ = architecture.hash
            if hash_ in known:
                passed.append(Repeated(trial=known[hash_], hash=hash_))
                continue
            epochs = self._longest(time_left, architecture.form, analysis)
            reason = judge(self.space, architecture, inquiry.ceiling, inquiry.objective).reason
            if reason is None and epochs is not None:
                proposal = Proposal(
                    trial=len(candidates),
                    architecture=architecture,
                    hash=hash_,
                    parameters=analysis.parameters,
                    origin=self.name,
                    decisions=(),
                    epochs=epochs if self.lengths else None,
                )
                return Answer(proposal, tuple(passed), unproposed_counts=over)
            lacks_time = lacks_time or reason is None
            over[reason or Metric.MACS.value] += 1
            self.rejected[hash_] = Trial(str(architecture), analysis.parameters, "rejected", None, (), stands=False)
        why = f"of {len(passed) + over.total()} networks in a row {len(passed)} were known, and others over the limits"
        return Answer(None, tuple(passed), why, lacks_time or time_left.is_over(), over)

    def _answer(self, tried: Sequence[Trial]) -> tuple[Architecture, Analysis]:
        answer = self.ask(tried)
        try:
            architecture = parse_network(answer, self.space.task)
        except SearchSpaceError as error:
            raise ContentError(f"{self.name} answered {shown(answer)}: {error.message}") from error
        judgement = judge(self.space, architecture, self.problem.budget)
        listed = self.problem.networks
        is_listed = not listed or str(architecture) in listed
        if judgement.accepted and judgement.analysis is not None and is_listed:
            return architecture, judgement.analysis
        why = judgement.message or "it is not listed"
        raise ContentError(f"{self.name} answered {shown(answer)}, which may not be trained: {why}")

    def _longest(self, time_left: TimeLeft, form: str, analysis: Analysis) -> int | None:
        """Return the most epochs that a network may be trained for and that there is time for; None for none."""
        lengths = [epochs for epochs in self.lengths if epochs <= self.problem.epochs] or [self.problem.epochs]
        work = work_of(analysis)
        return max((epochs for epochs in lengths if time_left.has(epochs, work, form)), default=None)

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


def shown(answer: str) -> str:
    """Return the beginning of an answer, for an error."""
    return repr(answer if len(answer) <= SHOWN else f"{answer[:SHOWN]}...")


def method_of(config: StudyConfig, space: SearchSpace, workers: int) -> Asker | None:
    """Return the method that a study's sampler names, begun; None where it names a sampler."""
    if not takes_problem(name := config.sampler):
        return None
    lengths = config.all_lengths
    epochs = config.recipe.epochs if config.recipe.epochs in lengths else max(lengths)
    problem = Problem(
        space=config.space_text,
        input_shape=space.task.input_shape,
        classes=space.task.classes,
        budget=config.budget,
        target_pct=config.threshold_pct,
        epochs=epochs,
        workers=workers,
        seed=config.seed,
        rungs=config.rungs_of(epochs),
    )
    with called(f"--sampler {name}"):
        method: Ask | tuple[Ask, Stop] = function_of(name, "--sampler")(problem)
        name_network, judge_rung = functions_of(method)

    def ask(tried: Sequence[Trial]) -> str:
        with called(f"--sampler {name}"):
            if isinstance(answer := name_network(tried), str):
                return answer
            raise TypeError(f"it answered {type(answer).__name__}, but the text of a network is wanted")

    def stop(rung: Rung) -> bool:
        assert judge_rung is not None, "a method that does not judge rungs is not asked"
        with called(f"--sampler {name}"):
            if isinstance(answer := judge_rung(rung), bool):
                return answer
            raise TypeError(f"it answered {type(answer).__name__} at a rung, but True or False is wanted")

    return Asker(f"--sampler {name}", space, problem, ask, stop if judge_rung else None, lengths)
