"""What the peers share: the lines of JSON, what a sampler is told of a network, and which networks are asked for."""

from __future__ import annotations

import json
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from search_spaces.errors import DrawError
from search_spaces.network import Task, analyse
from search_spaces.notation import parse_space
from search_spaces.space import MOST_EXACT, Draw, SearchSpace, draw, draw_uniform, enumerate_draws, judge, uniform

# Suggestions in a row that are not asked for, being too large or known, until a network is drawn at random instead.
_PATIENCE = 5
_ATTEMPTS = 500
# Networks of a large space that show which decisions it has.
_DRAWS = 2_000
# The logarithm of size that one logarithm of the errors counts for, for a library that knows no constraints. Errors
# fall with about the third root of the size, so a smaller factor would make it pay to miss the target.
_PENALTY = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a network, its size known before it was trained.

    Attributes:
        shortfall: the logarithm of its errors over those allowed, at most 0 where it reaches the target.
        excess: the logarithm of its parameters over the most that are allowed at the moment.
    """

    parameters: int
    shortfall: float
    excess: float
    is_pruned: bool = False

    @property
    def objective(self) -> float:
        """What is minimised, under the constraints that shortfall and excess are at most 0."""
        return math.log(self.parameters)

    @property
    def cost(self) -> float:
        """What is minimised by a library that knows no constraints."""
        return self.objective + _PENALTY * (max(0.0, self.shortfall) + max(0.0, self.excess))


class Peer(Protocol):
    """A library at the door; ``trial`` is what it calls a proposal."""

    judges_rungs: bool

    def suggest(self) -> tuple[Any, Draw] | None:
        """Return its next proposal; None where it has no more."""

    def adopt(self, proposal: Draw) -> Any:
        """Enter a network that it has not proposed, as its trial."""

    def tell(self, trial: Any, outcome: Outcome) -> None:
        """Tell what came of a trial."""

    def stops(self, trial: Any, epoch: int, outcome: Outcome) -> bool:
        """Return whether a training ends at a rung, given what came of it so far."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem of a repeat: what the bench tells, and the space as one can draw from it."""

    space: SearchSpace
    budget: int
    target_pct: float
    epochs: int
    rungs: tuple[int, ...]
    seed: int
    networks: frozenset[str]


def draws_of(space: SearchSpace, seed: int) -> list[Draw]:
    """Return all configurations of a small space, many of a large one."""
    if space.configurations <= MOST_EXACT:
        return list(enumerate_draws(space))
    rng = random.Random(seed)
    return [draw(space, uniform(rng)) for _ in range(_DRAWS)]


def serve(begin: Callable[[Problem], Peer]) -> None:
    """Answer for a peer until the input ends."""
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
    def __init__(self, problem: Problem, peer: Peer) -> None:
        self.problem = problem
        self.peer = peer
        self.random = random.Random(problem.seed)
        self.tried: dict[str, dict[str, Any]] = {}
        # The trials of each network that is being trained: a library may suggest one again meanwhile.
        self.trials = defaultdict[str, list[Any]](list)
        # Nothing is left that may be asked for, so the library need not be asked either.
        self.is_exhausted = False
        self.parameters: dict[str, int] = {}
        # The accuracy of each network at its latest rung.
        self.rung_pct: dict[str, float] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
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
        """The most parameters of a network that is worth training: size is known before, and the smallest counts."""
        standing = (item["parameters"] - 1 for item in self.tried.values() if item["stands"])
        return min(standing, default=self.problem.budget)

    def _outcome(self, network: str) -> Outcome:
        item = self.tried[network]
        accuracy_pct = item["validation_accuracy_pct"]
        if accuracy_pct is None:
            # A training that failed has got nothing right; one at a rung, or pruned there, has what it has.
            accuracy_pct = self.rung_pct.get(network, 0.0)
        return self._measured(item["parameters"], accuracy_pct, is_pruned=item["state"] == "pruned")

    def _measured(self, parameters: int, accuracy_pct: float, *, is_pruned: bool = False) -> Outcome:
        # A hundredth more keeps the logarithm of no errors finite.
        shortfall = math.log((100.01 - accuracy_pct) / (100.01 - self.problem.target_pct))
        return Outcome(parameters, shortfall, math.log(parameters / self.limit), is_pruned)

    def _next(self) -> str:
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
                # Its accuracy is unknown and counts as the target, so that its size alone speaks against it.
                parameters = judgement.analysis.parameters if judgement.analysis else 10 * self.problem.budget
                self.peer.tell(trial, self._measured(parameters, self.problem.target_pct))
        network = self._drawn()
        self.is_exhausted = not network
        # What the bench knows it does not train again; it ends a repeat that has no other networks.
        return network or next(iter(self.tried))

    def _enter(self, network: str, trial: Any, proposal: Draw) -> None:
        self.trials[network].append(trial)
        self.parameters[network] = analyse(proposal.architecture, self.problem.space.task).parameters

    def _is_askable(self, network: str) -> bool:
        return network not in self.tried and (not self.problem.networks or network in self.problem.networks)

    def _drawn(self) -> str:
        """Return a network drawn at random that may be asked for, and enter it; none where none is left."""
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
