"""User-defined search methods for the bench and for ``--sampler MODULE:FUNCTION``.

A method proposes each network (``Ask``), and optionally prunes trainings at the rungs (``Stop``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.searching.acquisition import NetworkOption
from harness.searching.finder import MAX_ANSWERS, Inquiry, InquiryAnswer
from harness.searching.optuna_sampler import takes_problem
from harness.spaces.network import Architecture, Task
from harness.spaces.notation import parse_network
from harness.spaces.space import Draw, SearchSpace, judge
from harness.spaces.space_errors import SearchSpaceError
from harness.studies.candidate import Candidate
from harness.studies.config import StudyConfig
from harness.studies.events import NO_TIME, Repeated
from harness.system.errors import ContentError
from harness.system.user_code import function_of, guarding_user_code
from harness.training.result import Result, Status

EXCERPT = 80  # characters of an answer shown in an error message
# Infeasible answers per proposal after which the method counts as exhausted. Many are expected: the method may sample
# the whole space, although each confirmed network lowers the largest allowed cost.
_MAX_INFEASIBLE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Search problem, passed to the function of a method at the start of a search or repeat.

    Attributes:
        space: Full definition.
        input_shape: (channels, rows, columns).
        target_pct: Validation accuracy to reach (the threshold), in %.
        epochs: Training epochs of a network; fewer if the time left is short.
        rungs: Epochs, ascending, after which ``Stop`` is called; without the last epoch.
        networks: All networks that may be proposed, if the space is small enough for a list; else None.
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
        """Input shape and number of classes, needed to parse the space."""
        return Task(self.input_shape, self.classes)


@dataclass(frozen=True, slots=True)
class TriedNetwork:
    """Earlier proposal of the method, with the results so far.

    Attributes:
        network: Text of the network.
        state: ``running``, ``complete``, ``pruned``, ``rejected`` by a limit at the time of the proposal, or the
            failure status of the first run.
        validation_accuracy_pct: Accuracy of the completed first run; otherwise None.
        fresh_pct: Accuracies on fresh seeds, which follow a first run that reaches the target.
        is_confirmed: Whether the fresh seeds confirm the network; False after a verification that missed the target.
    """

    network: str
    parameters: int
    state: str
    validation_accuracy_pct: float | None = None
    fresh_pct: tuple[float, ...] = ()
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Rung:
    """Intermediate result of the first run of a network at a rung, after ``epoch`` epochs."""

    network: str
    epoch: int
    validation_accuracy_pct: float


Ask = Callable[[Sequence[TriedNetwork]], str]  # from all earlier proposals, the text of the next network
Stop = Callable[[Rung], bool]  # whether to prune the training


def functions_of(
    method: Ask | tuple[Ask, Stop], guard: Callable[[], AbstractContextManager[None]] = nullcontext
) -> tuple[Ask, Stop | None]:
    """Return the ``Ask`` and ``Stop`` functions of a method; None without pruning.

    The returned functions call the method within ``guard()``, and raise TypeError if an answer has the wrong type.
    """
    user_ask, user_stop = method if isinstance(method, tuple) else (method, None)

    def checked(function: Callable[[Any], Any], kind: type, expectation: str) -> Callable[[Any], Any]:
        def call(argument: Any) -> Any:
            with guard():
                answer = function(argument)
                if isinstance(answer, kind):
                    return answer
                raise TypeError(f"expected {expectation}, got {type(answer).__name__}")

        return call

    ask = checked(user_ask, str, "the text of a network")
    return ask, checked(user_stop, bool, "True or False at a rung") if user_stop else None


@dataclass(slots=True)
class Asker:
    """Proposer that calls a user-defined method; the counterpart of ``proposer.Proposer``.

    Attributes:
        stop: None if the method does not prune.
        lengths: Numbers of epochs to choose from; empty if all trainings have the epochs of the problem.
        rejected: Answers that were infeasible at the time, by hash, which the method sees.
    """

    name: str
    space: SearchSpace
    problem: Problem
    ask: Ask
    stop: Stop | None = None
    lengths: tuple[int, ...] = ()
    rejected: dict[str, TriedNetwork] = field(default_factory=dict)

    @property
    def is_hopeless(self) -> Callable[[Result], bool] | None:
        """Pruning rule for ``scheduler.at_rung``; None if the method does not prune."""
        stop = self.stop
        if stop is None:
            return None
        return lambda result: stop(
            Rung(str(result.architecture), result.trained_epochs, result.required_validation.accuracy_pct)
        )

    def propose(self, inquiry: Inquiry) -> InquiryAnswer:
        """Return the next proposal; without a network after too many known or infeasible answers in a row.

        Raises:
            ContentError: An answer is not a network, or is not allowed.
        """
        candidates = inquiry.candidates
        time_left = inquiry.time_left
        trials_by_hash = {candidate.proposal.hash: trial for trial, candidate in candidates.items()}
        trials = tuple(_tried_network(candidate, inquiry.missed_trials) for candidate in candidates.values())
        lengths = [each for each in self.lengths if each <= self.problem.epochs] or [self.problem.epochs]
        repeats = list[Repeated]()
        infeasible_counts = Counter[str]()  # by reason
        while len(repeats) < MAX_ANSWERS and infeasible_counts.total() < _MAX_INFEASIBLE and not time_left.is_over():
            architecture = self._answer((*trials, *self.rejected.values()))
            hash_ = architecture.hash
            if hash_ in trials_by_hash:
                repeats.append(Repeated(trial=trials_by_hash[hash_], hash=hash_))
                continue
            # Judged by the budget of the problem before; the limit of the inquiry may be lower.
            feasibility = judge(self.space, architecture, limit=inquiry.max_cost, objective=inquiry.objective)
            # The longest training is closest to the epochs that the method knows.
            option = NetworkOption.of(Draw(architecture, ()), feasibility, inquiry.objective)
            epochs = max((each for each in lengths if option.fits(each, time_left)), default=min(lengths))
            reason = feasibility.reason
            if reason is None and not option.fits(epochs, time_left):
                reason = NO_TIME
            if reason is None:
                proposal = option.proposal(len(candidates), self.name, epochs if self.lengths else None)
                return InquiryAnswer(proposal, tuple(repeats), rejected_draws=infeasible_counts)
            infeasible_counts[reason] += 1
            self.rejected[hash_] = TriedNetwork(str(architecture), option.analysis.parameters, "rejected")
        answers = len(repeats) + infeasible_counts.total()
        why = f"{len(repeats)} of {answers} consecutive proposals were known, the rest infeasible"
        lacks_time = infeasible_counts[NO_TIME] > 0 or time_left.is_over()
        return InquiryAnswer(None, tuple(repeats), why, lacks_time, infeasible_counts)

    def _answer(self, trials: Sequence[TriedNetwork]) -> Architecture:
        answer = self.ask(trials)
        try:
            architecture = parse_network(answer, self.space.task)
        except SearchSpaceError as error:
            raise ContentError(f"{self.name} answered {cite(answer)}: {error.message}") from error
        feasibility = judge(self.space, architecture, self.problem.budget)
        networks = self.problem.networks
        is_listed = networks is None or str(architecture) in networks
        if feasibility.accepted and is_listed:
            return architecture
        why = feasibility.message or "the network is not in the list of allowed networks"
        raise ContentError(f"{self.name} answered {cite(answer)}, which is not allowed: {why}")

    def tell(self, candidate: Candidate) -> None:
        """Do nothing: the method receives all trials at the next call of ``ask``."""


def _tried_network(candidate: Candidate, missed_trials: Set[int]) -> TriedNetwork:
    first = candidate.first_run
    return TriedNetwork(
        network=str(candidate.proposal.architecture),
        parameters=candidate.proposal.parameters,
        state="running" if first is None else str(first.status),
        validation_accuracy_pct=first.validation_accuracy_pct if first and first.status is Status.COMPLETE else None,
        fresh_pct=tuple(candidate.fresh_pct),
        is_confirmed=candidate.is_confirmed and candidate.proposal.trial not in missed_trials,
    )


def cite(answer: str) -> str:
    """Return the quoted beginning of an answer for an error message."""
    return repr(answer if len(answer) <= EXCERPT else f"{answer[:EXCERPT]}...")


def method_of(config: StudyConfig, space: SearchSpace, workers: int) -> Asker | None:
    """Start the user-defined method of a study and return its proposer; None without a method.

    Raises:
        UsageError: The function of the method cannot be imported.
        ContentError: The function fails.
    """
    name = config.sampler
    if not takes_problem(name):
        return None
    lengths = config.epoch_choices
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
    guard = partial(guarding_user_code, f"sampler {name}")
    with guard():
        ask, stop = functions_of(function_of(name, "sampler")(problem), guard)
    return Asker(f"sampler {name}", space, problem, ask, stop, lengths)
