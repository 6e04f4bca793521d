"""Shared code of the peers: JSON lines, results reported to a sampler, choice of proposals."""

from __future__ import annotations

import json
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from harness.spaces.counting import MAX_EXACT
from harness.spaces.network import Task, analyse
from harness.spaces.notation import parse_space
from harness.spaces.space import Draw, SearchSpace, draw, draw_uniform, enumerate_draws, judge, uniform
from harness.spaces.space_errors import DrawError

_PATIENCE = 5  # consecutive suggestions that are infeasible or known, before a network is drawn at random
_ATTEMPTS = 500  # random draws per network
_DRAWS = 2_000  # random draws from a large space, to collect the decisions of the space
# Weight of the constraint violations in `Outcome.cost`. Errors fall with about the third root of the size, so a weight
# below about 3 would reward networks that miss the target.
_PENALTY = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a network, whose size is known before training.

    Attributes:
        parameters: Number of parameters.
        shortfall: log(errors / allowed errors); at most 0 if the network reaches the target.
        excess: log(parameters / current limit of the parameters); at most 0 if the network is small enough.
        is_pruned: True if the training was stopped at a rung.
    """

    parameters: int
    shortfall: float
    excess: float
    is_pruned: bool = False

    @property
    def objective(self) -> float:
        """Objective under the constraints shortfall <= 0 and excess <= 0."""
        return math.log(self.parameters)

    @property
    def cost(self) -> float:
        """Objective for a library without constraints."""
        return self.objective + _PENALTY * (max(0.0, self.shortfall) + max(0.0, self.excess))


class Peer(Protocol):
    """Interface of a search library; ``trial`` is the library's object for a proposal.

    Attributes:
        judges_rungs: True if ``stops`` decides at the rungs which trainings to prune.
    """

    judges_rungs: bool

    def suggest(self) -> tuple[Any, Draw] | None:
        """Return the next proposal, or None if the library has no more proposals."""

    def adopt(self, proposal: Draw) -> Any:
        """Add a network that the library has not proposed, and return the trial."""

    def tell(self, trial: Any, outcome: Outcome) -> None:
        """Report the result of a trial to the library."""

    def stops(self, trial: Any, epoch: int, outcome: Outcome) -> bool:
        """Return True to prune a training at the rung ``epoch``; ``outcome`` is the result up to this epoch."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Search problem of a repeat, as received from the bench.

    Attributes:
        space: Parsed search space.
        budget: Upper limit of the parameters.
        target_pct: Target accuracy in %.
        epochs: Number of epochs of a full training.
        rungs: Epochs at which a training may be pruned.
        seed: Random seed of the repeat.
        networks: Networks that may be proposed; empty if all networks of the space may be proposed.
    """

    space: SearchSpace
    budget: int
    target_pct: float
    epochs: int
    rungs: tuple[int, ...]
    seed: int
    networks: frozenset[str]


def draws_of(space: SearchSpace, seed: int) -> list[Draw]:
    """Return all configurations of a small space, or ``_DRAWS`` random configurations of a large space."""
    if space.configurations <= MAX_EXACT:
        return list(enumerate_draws(space))
    rng = random.Random(seed)
    return [draw(space, uniform(rng)) for _ in range(_DRAWS)]


def serve(begin: Callable[[Problem], Peer]) -> None:
    """Answer the questions on stdin with the peer that ``begin`` creates, until the input ends."""
    text = json.loads(sys.stdin.readline())["begin"]
    problem = Problem(
        space=parse_space(text["space"], task=Task(tuple(text["input_shape"]), text["classes"])),
        budget=text["budget"],
        target_pct=text["target_pct"],
        epochs=text["epochs"],
        rungs=tuple(text["rungs"]),
        seed=text["seed"],
        networks=frozenset(text["networks"] or ()),
    )
    door = _Door(problem, begin(problem))
    for line in sys.stdin:
        print(json.dumps(door.answer(json.loads(line))), flush=True)


class _Door:
    """Translator between the questions of the bench and a peer.

    Networks are identified by their texts.
    """

    def __init__(self, problem: Problem, peer: Peer) -> None:
        self.problem = problem
        self.peer = peer
        self.random = random.Random(problem.seed)
        # Known networks, as the bench describes each.
        self.tried: dict[str, dict[str, Any]] = {}
        # Trials by network in training. A library may suggest a network again before the training has ended.
        self.trials = defaultdict[str, list[Any]](list)
        # True if no network is left to propose; the library is not asked again.
        self.is_exhausted = False
        self.parameters: dict[str, int] = {}
        # Validation accuracy in % of each network at the latest rung.
        self.rung_pct: dict[str, float] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a question at a rung, or for the next network."""
        if "rung" in question:
            return {"stop": self._stops(**question["rung"])}
        self.tried = {item["network"]: item for item in question["tried"]}
        for network in [network for network in self.trials if self._is_ended(network)]:
            for trial in self.trials.pop(network):
                self.peer.tell(trial, self._outcome(network))
        return {"network": self._next(), "judges_rungs": self.peer.judges_rungs}

    def _stops(self, network: str, epoch: int, validation_accuracy_pct: float) -> bool:
        self.rung_pct[network] = validation_accuracy_pct
        outcome = self._measured(self.parameters[network], validation_accuracy_pct)
        return self.peer.stops(self.trials[network][0], epoch, outcome)

    def _is_ended(self, network: str) -> bool:
        return network in self.tried and self.tried[network]["state"] != "running"

    @property
    def limit(self) -> int:
        """Largest number of parameters worth training: one less than the incumbent has, or the budget."""
        confirmed_limits = (item["parameters"] - 1 for item in self.tried.values() if item["is_confirmed"])
        return min(confirmed_limits, default=self.problem.budget)

    def _outcome(self, network: str) -> Outcome:
        """Return the result of a network whose training has ended."""
        item = self.tried[network]
        accuracy_pct = item["validation_accuracy_pct"]
        if accuracy_pct is None:
            # A pruned training has the accuracy of the latest rung. A training that failed before a rung counts as 0 %.
            accuracy_pct = self.rung_pct.get(network, 0.0)
        return self._measured(item["parameters"], accuracy_pct, is_pruned=item["state"] == "pruned")

    def _measured(self, parameters: int, accuracy_pct: float, *, is_pruned: bool = False) -> Outcome:
        # 100.01 instead of 100: the logarithm of zero errors would be infinite.
        shortfall = math.log((100.01 - accuracy_pct) / (100.01 - self.problem.target_pct))
        return Outcome(parameters, shortfall, math.log(parameters / self.limit), is_pruned)

    def _next(self) -> str:
        """Return the next network: a suggestion of the peer, or else a random network."""
        for _ in range(0 if self.is_exhausted else _PATIENCE):
            suggestion = self.peer.suggest()
            if suggestion is None:
                break
            trial, proposal = suggestion
            network = str(proposal.architecture)
            judgement = judge(self.problem.space, proposal.architecture, self.limit)
            if self._is_ended(network):
                self.peer.tell(trial, self._outcome(network))
            elif network in self.tried:
                self.trials[network].append(trial)
            elif judgement.accepted and self._is_askable(network):
                self._enter(network, trial, proposal)
                return network
            else:
                # The accuracy is unknown. The target is reported instead, so that only the size is penalised.
                parameters = judgement.analysis.parameters if judgement.analysis else 10 * self.problem.budget
                self.peer.tell(trial, self._measured(parameters, self.problem.target_pct))
        network = self._drawn()
        self.is_exhausted = not network
        # The bench does not train a known network again, and ends the repeat if no new network is proposed.
        return network or next(iter(self.tried))

    def _enter(self, network: str, trial: Any, proposal: Draw) -> None:
        self.trials[network].append(trial)
        self.parameters[network] = analyse(proposal.architecture, self.problem.space.task).parameters

    def _is_askable(self, network: str) -> bool:
        """Return whether the bench accepts a network as a new proposal."""
        return network not in self.tried and (not self.problem.networks or network in self.problem.networks)

    def _drawn(self) -> str:
        """Add a random network that may be proposed, and return the network; empty if none is found."""
        for limit in (self.limit, self.problem.budget):
            for _ in range(_ATTEMPTS):
                try:
                    proposal = draw_uniform(self.problem.space, self.random, limit, attempts=_ATTEMPTS)
                except DrawError:
                    break
                network = str(proposal.architecture)
                if self._is_askable(network):
                    self._enter(network, self.peer.adopt(proposal), proposal)
                    return network
        return ""
