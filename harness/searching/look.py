"""One look for the next network: draws from the space and changes of the best of them, judged and ranked."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from harness.searching.acquisition import LEAST_CHANCE, UNLIKELY, Aim, Choice, Option
from harness.searching.optuna_sampler import SURROGATE
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import PRIOR_ERRORS, Observation, Surrogate
from harness.searching.time_budget import TimeLeft
from harness.studies.candidate import Candidate, combined_cost
from harness.studies.config import StudyConfig
from harness.studies.events import Rejected, Repeated
from harness.training.result import Status
from search_spaces.errors import DrawError
from search_spaces.network import Task
from search_spaces.notation import parse_space
from search_spaces.space import (
    Condition,
    Draw,
    Judgement,
    Metric,
    Objective,
    SearchSpace,
    draw,
    enumerate_draws,
    judge,
    mutate,
    uniform,
)

# Derivations of a space that is listed; it takes a second or less.
_MOST_LISTED = 5_000
# Draws after which a space counts as searched through: some seconds.
DRAWS = 20_000
# The model chooses among so many draws, from at most so many looks, and among changes of those that are worth most and
# have not been changed yet: so many at once, so many changes each (docs/lab, "how well the best network is
# looked for").
_AIM_DRAWS, _AIM_LOOKS = 600, 1600
_PARENTS, _CHILDREN = 24, 8
# The rounds end when so many have not raised the highest worth by this share, and after so many in all.
_PATIENCE = 6
_RISE = 0.01
_MOST_ROUNDS = 25
# A look chooses one network for each so many workers: with a look for each network hundreds of workers would wait.
_WORKERS_A_CHOICE = 8
# The model is fitted to so many observations at most, as its time grows with their cube.
_MOST_OBSERVATIONS = 1_500
# Errors that are believed of a network of middling size where no earlier training tells, by those that are allowed.
_PRIOR_ERROR_FACTOR = 1.5
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
_PRUNED_DOUBT = 0.15


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a search asks for: a network, or a length of its training, that was not proposed before.

    Attributes:
        ceiling: the most that it may have of the objective.
        candidates: what was proposed before, by trial.
    """

    ceiling: int
    candidates: Mapping[int, Candidate]
    time_left: TimeLeft
    objective: Objective = Metric.PARAMETERS


@functools.lru_cache(maxsize=8)
def _listed(text: str, task: Task, objective: Objective) -> tuple[tuple[Option, float], ...]:
    """Return what a space accepts, with the odds of a uniform draw."""
    space = parse_space(text, task=task)
    judged = ((network, judge(space, network.architecture)) for network in enumerate_draws(space))
    return tuple(
        (
            Option.of(network, judgement, objective),
            functools.reduce(operator.truediv, (each.size for each in network.decisions), 1.0),
        )
        for network, judgement in judged
        if judgement.accepted
    )


class Look:
    """One look for the next network: what it may be at the moment, and which ones were skipped so far.

    Attributes:
        known: trials by hash; ``taken`` are hashes and lengths that were proposed before.
        skipped_events: proposals that were rejected or repeated.
        unproposed_counts: networks that were looked at and rejected without being anybody's proposal, by reason.
        looked_at: networks that the surrogate had to choose among: new, or of a new length, and there is time for them.
        hopes: with more time one of them would have a chance.
        listed: all networks of a small space, with their odds.
        limited: the space with the ceiling of the objective among its conditions.
    """

    def __init__(self, space: SearchSpace, config: StudyConfig, inquiry: Inquiry, past: Sequence[Observation]) -> None:
        """Begin one; ``past`` are other studies' trainings."""
        self.space = space
        self.config = config
        self.inquiry = inquiry
        self.past = past
        self.ceiling = inquiry.ceiling
        self.candidates = inquiry.candidates
        self.time_left = inquiry.time_left
        self.objective = inquiry.objective
        proposals = [candidate.proposal for candidate in self.candidates.values()]
        self.trial = max(self.candidates, default=-1) + 1
        self.known = {each.hash: each.trial for each in proposals}
        self.taken = frozenset((each.hash, each.epochs or config.recipe.epochs) for each in proposals)
        self.skipped_events: list[Rejected | Repeated] = []
        self.unproposed_counts: Counter[str] = Counter()
        self.looked_at = 0
        self.hopes = False
        limit = Condition(self.objective, "<=", self.ceiling)
        self.limited = replace(space, conditions=(*space.conditions, limit))
        is_small = space.configurations <= _MOST_LISTED
        self.listed = _listed(space.text, space.task, self.objective) if is_small else None

    def judged(self, network: Draw, judgement: Judgement | None = None) -> Option | Judgement:
        """Return a network that may be trained now as an option, or what speaks against it."""
        judgement = judgement or judge(self.space, network.architecture, self.ceiling, self.objective)
        if not judgement.accepted:
            return judgement
        option = Option.of(network, judgement, self.objective)
        has_time = self.time_left.has(min(self.config.all_lengths), option.work)
        return option if has_time else Judgement(judgement.analysis, Metric.MACS.value)

    def reject(self, network: Draw, judgement: Judgement, origin: str, **further: Any) -> None:
        """Note the reason against a proposal."""
        size = judgement.analysis.parameters if judgement.analysis else None
        facts = {"reason": str(judgement.reason), "parameters": size, "hash": network.architecture.hash, **further}
        self.skipped_events.append(Rejected(origin=origin, budget=self.ceiling, **facts))

    def drawn(self, rng: random.Random, draws: int = DRAWS) -> Iterator[Option]:
        """Yield new networks within the limits from so many uniform draws; of a small space without looking in vain."""
        if self.listed is not None:
            shortest = min(self.config.all_lengths)
            open_ = [
                (option, odds)
                for option, odds in self.listed
                if option.hash not in self.known
                and option.cost <= self.ceiling
                and self.time_left.has(shortest, option.work)
            ]
            while open_:
                yield rng.choices([option for option, _ in open_], [odds for _, odds in open_])[0]
            return
        for _ in range(draws):
            if self.time_left.is_over():
                return
            judged = self.judged(draw(self.space, uniform(rng)))
            if isinstance(judged, Judgement):
                self.unproposed_counts[str(judged.reason)] += 1
            elif judged.hash not in self.known:
                yield judged

    def aim(self) -> Aim:
        """Return what is asked for, with a surrogate that is fitted to all that is known."""
        config, candidates = self.config, list(self.candidates.values())
        observed = (seen for candidate in reversed(candidates) if (seen := self._observed(candidate)) is not None)
        latest = list(itertools.islice(observed, _MOST_OBSERVATIONS))[::-1]
        count = min(len(self.past), _MOST_OBSERVATIONS - len(latest))
        learned = [*(self.past[number * len(self.past) // count] for number in range(count)), *latest]
        open_, stands = list[tuple[int, float]](), False
        for candidate in candidates:
            confirmed = candidate.is_confirmed
            stands = stands or confirmed
            if candidate.first is None:
                open_.append((combined_cost(candidate.costs, self.objective), candidate.proposal.chance or 0.0))
            elif candidate.passed_first and not confirmed and not candidate.is_refuted:
                open_.append((combined_cost(candidate.costs, self.objective), candidate.chance_to_stand))
        allowed = (100 - config.threshold_pct) * 100
        return Aim(
            model=Surrogate(learned, PRIOR_ERRORS if self.past else _PRIOR_ERROR_FACTOR * max(1.0, allowed)),
            recipe=config.recipe,
            lengths=config.all_lengths,
            taken=self.taken,
            allowed=allowed,
            below=self.ceiling + 1,
            open=tuple(open_),
            stands=stands,
            time_left=self.time_left,
        )

    def _observed(self, candidate: Candidate) -> Observation | None:
        errors, first = candidate.expected_errors, candidate.first
        if errors is None or first is None or not first.validation_size:
            return None
        recipe, _ = self.config.recipe_of(candidate.proposal.epochs)
        training = recipe.epochs, recipe.batch_size, recipe.augmented_share
        row = row_of(candidate.proposal.architecture, self.space.task, *training)
        doubt = 0.0 if first.status is Status.COMPLETE else _PRUNED_DOUBT
        return Observation(row, errors * 10_000 / first.validation_size, 1 + len(candidate.fresh), doubt)

    def aimed(self, rng: random.Random) -> list[Choice]:
        """Return what the surrogate thinks is worth most, of many draws and of changes of the best of them.

        First what is worth most now, then what is with that in training, and so on where many workers train.
        """
        aim = self.aim()
        if self.listed is not None:
            options = [each for each, _ in self.listed if each.cost <= self.ceiling]
            ranked = aim.ranked(options)
        else:
            draws = list(itertools.islice(self.drawn(rng, _AIM_LOOKS), _AIM_DRAWS))
            # Where hardly a draw is within the limits one is enough to begin with: its changes are nearer to them.
            draws = draws or list(itertools.islice(self.drawn(rng), 1))
            options = list({each.hash: each for each in draws}.values())
            ranked = self._climbed(aim, options, rng)
        self.looked_at = len([each for each in options if aim.lengths_of(each)])
        if not ranked:
            endless = replace(aim, time_left=replace(aim.time_left, seconds=None, spare=math.inf))
            self.hopes = bool(endless.ranked(options))
        return aim.one_by_one(ranked, max(1, self.time_left.workers // _WORKERS_A_CHOICE))

    def _climbed(self, aim: Aim, options: list[Option], rng: random.Random) -> list[Choice]:
        """Return options and changes of them, which it adds to ``options``, what is worth most first."""
        ranked = aim.ranked(options)
        hashes = {each.hash for each in options}
        changed = set[str]()
        worths = [0.0]
        parents = self._proposed_draws()
        while _is_rising(worths) and not self.time_left.is_over():
            worthiest = [each.option for each in ranked if each.option.hash not in changed][:_PARENTS]
            changed |= {each.hash for each in worthiest}
            children = self._children([*(each.draw for each in worthiest), *parents], hashes, rng)
            hashes |= children.keys()
            options.extend(children.values())
            parents = []
            ranked = sorted([*ranked, *aim.ranked(children.values())], key=lambda each: -each.worth)
            worths.append(ranked[0].worth if ranked else 0.0)
        return ranked

    def _proposed_draws(self) -> list[Draw]:
        """Return the smallest proposals that passed their first run, and the latest."""
        candidates = [self.candidates[trial] for trial in sorted(self.candidates)]
        passed = [candidate for candidate in candidates if candidate.passed_first]
        passed.sort(key=lambda candidate: combined_cost(candidate.costs, self.objective))
        proposals = {each.proposal.hash: each.proposal for each in (*passed[:_PARENTS], *candidates[-_PARENTS:])}
        return [Draw(each.architecture, each.decisions) for each in proposals.values()]

    def _children(self, parents: Sequence[Draw], hashes: Set[str], rng: random.Random) -> dict[str, Option]:
        """Return changes of networks that may be trained now, by hash, those of ``hashes`` left out."""
        children: dict[str, Option] = {}
        for parent in parents:
            for number in range(_CHILDREN):
                try:
                    child = self.judged(*mutate(self.limited, parent, rng, attempts=5, changes=1 + number % 2))
                except DrawError:
                    continue
                if isinstance(child, Judgement):
                    self.unproposed_counts[str(child.reason)] += 1
                elif child.hash not in hashes:
                    children[child.hash] = child
        return children

    def why_nothing(self) -> tuple[str, bool]:
        """Return why no network was found, and whether there might be one with more time."""
        if self.time_left.is_over():
            return "the time was over before a further network was found", True
        limits, in_time = f"at most {self.ceiling:,} {self.objective.unit}", ""
        if (seconds := self.time_left.seconds) is not None:
            in_time = f" and at most {seconds:.0f} s of training, which leaves time for the verification"
        # The model's word is the last one where no other sampler takes turns with it.
        if self.config.sampler == SURROGATE and self.looked_at:
            networks = f"none of {self.looked_at:,} networks that were looked at is given a chance of "
            networks += f"{100 * LEAST_CHANCE:g} % to reach the target ({100 * UNLIKELY:g} % where time is short)"
            return f"{networks}, with {limits}{in_time}", self.hopes
        time_left = replace(self.time_left, seconds=None)
        endless = Look(self.space, self.config, replace(self.inquiry, time_left=time_left), self.past)
        lacks_time = seconds is not None and next(endless.drawn(random.Random(0)), None) is not None
        # With endless time there is none either: then it is the conditions that stand in the way.
        others = (each for each in self.space.conditions if each.metric != self.objective or ">" in each.comparison)
        limits += in_time if lacks_time else "".join(f" and {each}" for each in dict.fromkeys(others))
        if self.listed is not None:
            return f"the space has no further network with {limits}", lacks_time
        return f"none of {DRAWS:,} further draws was a new network with {limits}", lacks_time


def _is_rising(worths: Sequence[float]) -> bool:
    """Return whether a further round of changes may raise the highest worth; there is one of each round before."""
    has_risen = len(worths) <= _PATIENCE or worths[-1] > (1 + _RISE) * worths[-1 - _PATIENCE]
    return len(worths) <= _MOST_ROUNDS and has_risen
