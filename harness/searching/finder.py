"""Find networks for the next proposal: draws from the space and changes of the best of them, judged and ranked."""

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

from harness.searching.acquisition import UNLIKELY, Aim, Choice, Forecast, Option, form_calibration
from harness.searching.optuna_sampler import SURROGATE
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import IMAGES, OPEN, PRIOR_ERRORS, SETTLED, Observation, Past, Surrogate
from harness.searching.time_budget import TimeLeft
from harness.studies.candidate import Candidate, combined_cost, is_linear, rung_ratios
from harness.studies.config import StudyConfig
from harness.studies.events import Rejected, Repeated
from harness.training.recipe import length_factor
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

# Spaces of at most so many configurations are listed whole, which takes a second or less.
_MOST_LISTED = 5_000
# Draws after which a space counts as searched through: some seconds.
DRAWS = 20_000
# Draws that the surrogate ranks at the most (docs/lab, "how well the best network is looked for").
_AIM_DRAWS = 600
# Draws that are attempted at the most to get these; attempts that are rejected or known count here only.
_MOST_AIM_ATTEMPTS = 1600
# Of a look's networks so many of the best are where the next one begins, with draws from so many attempts.
_KEPT = 200
_FURTHER_ATTEMPTS = 200
# Networks that are changed in one round: those of the highest worth that have not been changed yet.
_PARENTS = 24
# Changes of each of them.
_CHILDREN = 8
# Rounds of changes end when the last _PATIENCE of them have not raised the highest worth by a share of _RISE (two of a
# look that begins where another one ended), and after _MOST_ROUNDS.
_PATIENCE = 6
_FURTHER_PATIENCE = 2
_RISE = 0.01
_MOST_ROUNDS = 25
# Workers per choice that the surrogate makes at once: hundreds of them would wait if it made one at a time.
_WORKERS_PER_CHOICE = 8
# What a look through a large space takes, on a two-core CPU machine, and how many networks it chooses at the most where
# these are trained faster than it looks.
_LOOK_SECONDS = 0.35
_MOST_AT_ONCE = 4
# Most observations that the surrogate is fitted to, as its time grows with their cube.
_MOST_OBSERVATIONS = 1_500
# Without a prior the surrogate expects this factor times the allowed errors of a network of middling size.
_PRIOR_ERROR_FACTOR = 1.5
# Further deviation of the logarithm of a pruned run's errors: its errors at the end are an estimate.
_PRUNED_DOUBT = 0.15


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A search's question for a network, or a length of its training, that was not proposed before.

    Attributes:
        ceiling: the most that the network may have of the objective.
        candidates: earlier proposals with their runs, by trial.
    """

    ceiling: int
    candidates: Mapping[int, Candidate]
    time_left: TimeLeft
    objective: Objective = Metric.PARAMETERS


@functools.lru_cache(maxsize=8)
def _listed(text: str, task: Task, objective: Objective) -> tuple[tuple[Option, float], ...]:
    """Return the networks that a space accepts, each with its probability in a uniform draw."""
    space = parse_space(text, task=task)
    options = []
    for network in enumerate_draws(space):
        judgement = judge(space, network.architecture)
        if judgement.accepted:
            # Dividing one by one keeps the last bit of the weights, and so the draws of earlier searches.
            probability = functools.reduce(operator.truediv, (each.size for each in network.decisions), 1.0)
            options.append((Option.of(network, judgement, objective), probability))
    return tuple(options)


class Finder:
    """Finds networks that answer one inquiry, and counts those that it refuses on the way.

    Attributes:
        trials_by_hash: the trial of each network that was proposed before.
        taken: hashes and lengths that were proposed before.
        refused_proposals: events of proposals, of the ladder or of a sampler, that are refused or known.
        refused_draws: how many networks were refused that nobody had proposed, by reason.
        nearest_draw: what was said of the one of them that was nearest to the limits.
        option_count: how many networks the surrogate could choose among: new, or of a new length, and in time.
        best_options: the best of the look before, and after a look those of it.
        doubts: whether the surrogate gave none of these a chance as it states its deviations.
        time_would_help: whether the surrogate, which chose none of these, would choose one with endless time.
        listed_options: all networks of a small space with their probabilities; None for a large space.
        limited_space: the space with the ceiling of the objective among its conditions.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: StudyConfig,
        inquiry: Inquiry,
        past: Past,
        best_options: Sequence[Option] = (),
    ) -> None:
        """Begin an inquiry; ``past`` is what the surrogate learns from besides the candidates."""
        self.space = space
        self.config = config
        self.past = past
        self.ceiling = inquiry.ceiling
        self.candidates = inquiry.candidates
        self.time_left = inquiry.time_left
        self.objective = inquiry.objective
        proposals = [candidate.proposal for candidate in self.candidates.values()]
        self.trial = max(self.candidates, default=-1) + 1
        self.trials_by_hash = {each.hash: each.trial for each in proposals}
        self.taken = frozenset((each.hash, each.epochs or config.recipe.epochs) for each in proposals)
        self.refused_proposals: list[Rejected | Repeated] = []
        self.refused_draws: Counter[str] = Counter()
        self.nearest_draw: Judgement | None = None
        self.option_count = 0
        self.best_options = best_options
        self.doubts = False
        self.time_would_help = False
        limit = Condition(self.objective, "<=", self.ceiling)
        self.limited_space = replace(space, conditions=(*space.conditions, limit))
        is_small = space.configurations <= _MOST_LISTED
        self.listed_options = _listed(space.text, space.task, self.objective) if is_small else None

    def option_or_refusal(self, network: Draw, judgement: Judgement | None = None) -> Option | Judgement:
        """Return a network as an option if it may be trained now, else the judgement that refuses it."""
        judgement = judgement or judge(self.space, network.architecture, self.ceiling, self.objective)
        if not judgement.accepted:
            return judgement
        option = Option.of(network, judgement, self.objective)
        has_time = option.fits(min(self.config.all_lengths), self.time_left)
        # Too slow to train in the time left; logs and samplers know this under the metric `macs`.
        return option if has_time else Judgement(judgement.analysis, Metric.MACS.value)

    def note_refused_proposal(self, network: Draw, judgement: Judgement, origin: str, **further: Any) -> None:
        """Note a proposal that was refused and the reason, as an event."""
        size = judgement.analysis.parameters if judgement.analysis else None
        facts = {"reason": str(judgement.reason), "parameters": size, "hash": network.architecture.hash, **further}
        self.refused_proposals.append(Rejected(origin=origin, budget=self.ceiling, **facts))

    def _note_refused_draw(self, judgement: Judgement) -> None:
        self.refused_draws[str(judgement.reason)] += 1
        if self.nearest_draw is None or judgement.nearness > self.nearest_draw.nearness:
            self.nearest_draw = judgement

    def draw_options(self, rng: random.Random, draws: int = DRAWS) -> Iterator[Option]:
        """Yield new networks within the limits from so many uniform draws.

        Of a listed space it never ends unless there is none: take from it only what is needed.
        """
        if self.listed_options is not None:
            shortest = min(self.config.all_lengths)
            new_options = [
                (option, probability)
                for option, probability in self.listed_options
                if option.hash not in self.trials_by_hash
                and option.cost <= self.ceiling
                and option.fits(shortest, self.time_left)
            ]
            while new_options:
                yield rng.choices([option for option, _ in new_options], [share for _, share in new_options])[0]
            return
        for _ in range(draws):
            if self.time_left.is_over():
                return
            option = self.option_or_refusal(draw(self.space, uniform(rng)))
            if isinstance(option, Judgement):
                self._note_refused_draw(option)
            elif option.hash not in self.trials_by_hash:
                yield option

    def aim(self) -> Aim:
        """Return the aim of this inquiry, with a surrogate that is fitted to all observations."""
        config = self.config
        allowed = (100 - config.threshold_pct) * 100
        if self.past.is_settled:
            model = Surrogate(self._observations(), PRIOR_ERRORS, SETTLED)
        else:
            belief = _PRIOR_ERROR_FACTOR * max(1.0, allowed)
            model = Surrogate(self._observations(), belief, OPEN, self.past.transfer)
        return Aim(
            model=model,
            recipe=config.recipe,
            lengths=config.all_lengths,
            taken=self.taken,
            allowed=allowed,
            images=self._validation_images(),
            calibration=form_calibration(self.candidates.values()),
            below=self.ceiling + 1,
            open=tuple(self._open_networks()),
            stands=any(candidate.is_confirmed for candidate in self.candidates.values()),
            time_left=self.time_left,
        )

    def _validation_images(self) -> int:
        """Return how many images validate; as many as errors are counted of before any training has said it."""
        firsts = [candidate.first for candidate in self.candidates.values()]
        return next((first.validation_size for first in firsts if first is not None and first.validation_size), IMAGES)

    def _observations(self) -> list[Observation]:
        """Return the study's latest observations, and before them evenly spread past ones if there is room."""
        own = (self._observation_of(candidate) for candidate in reversed(list(self.candidates.values())))
        latest = list(itertools.islice((each for each in own if each is not None), _MOST_OBSERVATIONS))[::-1]
        past = self.past.observations
        count = min(len(past), _MOST_OBSERVATIONS - len(latest))
        return [*(past[number * len(past) // count] for number in range(count)), *latest]

    @functools.cached_property
    def _rung_ratios(self) -> dict[float, float]:
        return rung_ratios(self.candidates.values())

    def _observation_of(self, candidate: Candidate) -> Observation | None:
        errors, first = candidate.expected_errors(self._rung_ratios), candidate.first
        # A linear layer says nothing of convolutional networks.
        says_nothing = is_linear(candidate.proposal.origin, candidate.proposal.architecture)
        if errors is None or first is None or not first.validation_size or says_nothing:
            return None
        recipe, _ = self.config.recipe_of(candidate.proposal.epochs)
        epochs = recipe.epochs / length_factor(self.time_left.images)
        training = epochs, recipe.batch_size, recipe.augmented_share
        row = row_of(candidate.proposal.architecture, self.space.task, *training)
        doubt = 0.0 if first.status is Status.COMPLETE else _PRUNED_DOUBT
        images = first.validation_size
        return Observation(row, errors * IMAGES / images, 1 + len(candidate.fresh), doubt, images)

    def _open_networks(self) -> Iterator[tuple[int, float]]:
        """Yield the costs of networks that may come to stand, and the chances that they do."""
        for candidate in self.candidates.values():
            cost = combined_cost(candidate.costs, self.objective)
            if candidate.first is None:
                yield cost, candidate.proposal.chance or 0.0
            elif candidate.passed_first and not candidate.is_confirmed and not candidate.is_refuted:
                yield cost, candidate.chance_to_stand

    def choose_by_surrogate(self, rng: random.Random) -> list[Choice]:
        """Return up to one choice per 8 workers, best first; set ``option_count`` and ``time_would_help``.

        Of a large space many draws and changes of the best of them are ranked. Each later choice is ranked as if the
        earlier ones were already training.
        """
        aim = self.aim()
        if self.listed_options is not None:
            options = [each for each, _ in self.listed_options if each.cost <= self.ceiling]
            forecast = aim.forecast(options)
        else:
            forecast = self._climb(aim, self._beginning(rng), rng)
            options = [option for option, _ in forecast.pairs]
        choices, self.doubts = aim.ranked(forecast)
        self.option_count = len({option.hash for option, _ in forecast.pairs})
        if not choices:
            # Without an end of time no chance is too small for the time that a verification would need.
            endless = replace(aim, time_left=replace(aim.time_left, seconds=None, spare=math.inf))
            ranking = endless.ranked(endless.forecast(options))
            self.time_would_help = bool(ranking.choices) and not ranking.is_doubted
        self.best_options = [each.option for each in choices[:_KEPT]]
        return aim.one_by_one(choices, self._choices_at_once(choices))

    def _beginning(self, rng: random.Random) -> list[Option]:
        """Return new networks to begin a look with: draws, and the best of the look before."""
        outcomes = [self.option_or_refusal(each.draw) for each in self.best_options]
        earlier_options = [each for each in outcomes if isinstance(each, Option)]
        attempts = _FURTHER_ATTEMPTS if earlier_options else _MOST_AIM_ATTEMPTS
        draws = list(itertools.islice(self.draw_options(rng, attempts), _AIM_DRAWS))
        # Where hardly a draw is within the limits one is enough to begin with: its changes are nearer to them.
        options = [*earlier_options, *draws] or list(itertools.islice(self.draw_options(rng), 1))
        return list({each.hash: each for each in options}.values())

    def _choices_at_once(self, choices: Sequence[Choice]) -> int:
        """Return how many networks to choose at a look: of quick ones as many as workers train while it takes."""
        workers = self.time_left.workers
        count = max(1, workers // _WORKERS_PER_CHOICE)
        if not choices or math.isinf(self.time_left.left):
            return count
        seconds = choices[0].option.seconds(choices[0].epochs, self.time_left)
        while_looking = math.ceil(workers * _LOOK_SECONDS / max(seconds, _LOOK_SECONDS / _MOST_AT_ONCE))
        return max(count, min(_MOST_AT_ONCE, while_looking))

    def _climb(self, aim: Aim, beginning: list[Option], rng: random.Random) -> Forecast:
        """Return what is expected of some networks and of changes of the best of them, in rounds."""
        forecast = aim.forecast(beginning)
        choices = aim.ranked(forecast).choices
        hashes = {each.hash for each in beginning}
        parent_hashes = set[str]()
        worths = [0.0]
        proposed_parents = self._proposed_parents()
        patience = _FURTHER_PATIENCE if self.best_options else _PATIENCE
        while _is_rising(worths, patience) and not self.time_left.is_over():
            parents = [each.option for each in choices if each.option.hash not in parent_hashes][:_PARENTS]
            parent_hashes |= {each.hash for each in parents}
            children = self._children([*(each.draw for each in parents), *proposed_parents], hashes, rng)
            hashes |= children.keys()
            proposed_parents = []
            forecast = forecast.with_others(aim.forecast(children.values()))
            choices = aim.ranked(forecast).choices
            worths.append(choices[0].worth if choices else 0.0)
        return forecast

    def _proposed_parents(self) -> list[Draw]:
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
                # One and two decisions are changed in turn; after five attempts without an accepted network none is.
                try:
                    network = mutate(self.limited_space, parent, rng, attempts=5, changes=1 + number % 2)
                except DrawError:
                    continue
                child = self.option_or_refusal(*network)
                if isinstance(child, Judgement):
                    self._note_refused_draw(child)
                elif child.hash not in hashes:
                    children[child.hash] = child
        return children

    def why_nothing(self) -> tuple[str, bool]:
        """Return why no network was found, and whether there might be one with more time."""
        if self.time_left.is_over():
            return "the time was over before a further network was found", True
        cost_text, time_text = f"at most {self.ceiling:,} {self.objective.unit}", ""
        if (seconds := self.time_left.seconds) is not None:
            time_text = f" and at most {seconds:.0f} s of training, which leaves time for the verification"
        # With sampler `surrogate` no other sampler proposes, so its refusal is final.
        if self.config.sampler == SURROGATE and self.option_count:
            candidates = (
                f"none of {self.option_count:,} candidates of {cost_text}{time_text} has a predicted chance of "
            )
            candidates += f"{100 * UNLIKELY:g} % of reaching the target; the time that is left is kept for a second "
            return f"{candidates}verification", self.time_would_help
        lacks_time = self._has_option_with_endless_time()
        limits = cost_text + (time_text if lacks_time else self._conditions_text())
        if self.listed_options is not None:
            return f"the space has no further network with {limits}", lacks_time
        nearest = ""
        # Once a network has kept the limits, they are not what is in the way.
        if self.nearest_draw is not None and not lacks_time and not self.candidates:
            nearest = f"; the nearest: {self.nearest_draw.message}"
        return f"none of {DRAWS:,} further draws was a new network with {limits}{nearest}", lacks_time

    def _has_option_with_endless_time(self) -> bool:
        """Return whether only the time of a training stands in the way: without its limit draws give a new network."""
        inquiry = Inquiry(self.ceiling, self.candidates, replace(self.time_left, seconds=None), self.objective)
        finder = Finder(self.space, self.config, inquiry, self.past)
        return self.time_left.seconds is not None and next(finder.draw_options(random.Random(0)), None) is not None

    def _conditions_text(self) -> str:
        """Return the space's own conditions, but for other ceilings of the objective: the lowest is named already."""
        others = (each for each in self.space.conditions if each.metric != self.objective or ">" in each.comparison)
        return "".join(f" and {each}" for each in dict.fromkeys(others))


def _is_rising(worths: Sequence[float], patience: int) -> bool:
    """Return whether a further round may raise the highest worth; ``worths`` has that of each round, 0 at first."""
    has_risen = len(worths) <= patience or worths[-1] > (1 + _RISE) * worths[-1 - patience]
    return len(worths) <= _MOST_ROUNDS and has_risen
