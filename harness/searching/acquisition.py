"""What a network and a length of its training are worth to a search: its chance to stand, what it gains, its time.

This is the acquisition: ``proposer`` brings the networks, ``surrogate`` the errors that are to be expected of them.
"""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.searching.surrogate.features import Row, network_row, training_row
from harness.searching.surrogate.model import Surrogate, seed_variance
from harness.searching.time_budget import CAUTION, TimeLeft, rounds, verifying, work_of
from harness.studies.candidate import CONFIRM_SEEDS, Candidate, needed_share
from harness.training.recipe import Recipe, length_factor
from search_spaces.network import Analysis
from search_spaces.space import Draw, Judgement, Objective, measured

# While nothing stands, what counts is the chance that one of several networks like this one stands in time, with this
# power, since an answer matters more than its size. In time is within so many seconds of the search's beginning, later
# within a minute, and always within this share of the time left. Four minutes are promised. With three aimed at, a
# second network came too late where the first one failed its confirmation (docs/lab, "first answers").
_SECURE_SECONDS = 75.0
_LEAST_SECURE_SECONDS = 60.0
_SECURE_SHARE = 0.33
_CERTAINTY = 4.0
# More attempts are no surer: where the model is wrong about one network it is wrong about others like it.
_MOST_ATTEMPTS = 4.0
# What looks best among hundreds is rather too good to be true, and the more so the less is known of it: the errors
# that are predicted are raised by so many of their deviations (docs/lab, "chances of small networks").
_SELECTION_BIAS_SD = 1.0
# Once something stands this share of the time left, by the rounds of a network that comes to stand, is added to the
# time of every training: many small steps down cost more than one large one.
_STRIDE_SHARE = 0.05
_CERTAIN = 1 - 1e-12
# Where one look chooses several networks, it compares so many times as many: those that are worth most.
_SHORTLIST_FACTOR = 4
_DOUBT_SD = 1.0  # deviations of the margin by which a training in doubt may be further from the target than the nearest
# Networks that a ranking names: more than a look changes.
_MOST_RANKED = 1_000
_CALIBRATION_WEIGHT = 1.0  # predicted confirmations (docs/lab, "did the default search regress")
# What cannot improve the answer is not proposed once there is one.
LEAST_CHANCE = 0.03
# What was given less chance has hardly ever come to stand: 1 of 242 networks (docs/lab, "what an unlikely
# network costs"). It is trained only while there is time for a second verification, should the winner's miss.
UNLIKELY = 0.2


@dataclass(frozen=True, slots=True)
class Option:
    """A network that may be trained, as the surrogate sees it.

    Attributes:
        cost: what it has of the metric that is minimised.
        row: of ``features.network_row``.
        work: multiply-adds of a training step for one image (``time_budget.work_of``).
        form: of the network, one of ``search_spaces.network.FORMS``.
    """

    draw: Draw
    analysis: Analysis
    hash: str
    cost: int
    row: Row
    work: float
    form: str

    @classmethod
    def of(cls, proposal: Draw, judgement: Judgement, objective: Objective) -> Option:
        """Return the option of a network that was drawn and accepted."""
        analysis = judgement.analysis
        assert analysis is not None, "an accepted network has been analysed"
        network = proposal.architecture
        row = network_row(network, analysis)
        cost = measured(analysis, objective)
        return cls(proposal, analysis, network.hash, cost, row, work_of(analysis), network.form)

    def seconds(self, epochs: int, time_left: TimeLeft) -> float:
        """Return the expected seconds of a training of this length."""
        return time_left.takes(epochs, self.work, self.form)

    def fits(self, epochs: int, time_left: TimeLeft) -> bool:
        """Return whether there is time for a training of this length."""
        return time_left.has(epochs, self.work, self.form)


@dataclass(frozen=True, slots=True)
class Choice:
    """A network, a length of its training, the predicted chance that it stands, and what that is worth."""

    option: Option
    epochs: int
    chance: float
    worth: float

    def is_timely(self, time_left: TimeLeft) -> bool:
        """Return whether there is still time for a training that was chosen earlier."""
        seconds = self.option.seconds(self.epochs, time_left)
        is_likely = math.isinf(time_left.spare) or self.chance >= _least_chances(time_left, seconds)
        return self.option.fits(self.epochs, time_left) and bool(is_likely)


def form_calibration(candidates: Iterable[Candidate]) -> dict[str, float]:
    """Return for each form how many networks were confirmed over how many were predicted to be; 1 at most.

    The ratio is drawn towards 1 by ``_CALIBRATION_WEIGHT`` predicted confirmations (a Poisson rate with a gamma prior).
    A form whose chances are too high on this data set gives way to the others.
    """
    predicted: dict[str, float] = defaultdict(float)
    confirmed: dict[str, float] = defaultdict(float)
    for candidate in candidates:
        chance = candidate.proposal.chance
        if candidate.first is None or chance is None:
            continue
        form = candidate.proposal.architecture.form
        predicted[form] += chance
        if candidate.is_confirmed:
            confirmed[form] += 1
        elif candidate.passed_first and not candidate.is_refuted:
            confirmed[form] += candidate.chance_to_stand
    weight = _CALIBRATION_WEIGHT
    return {form: min(1.0, (weight + confirmed[form]) / (weight + predicted[form])) for form in predicted}


def _least_chances(time_left: TimeLeft, seconds: Any) -> Any:
    return np.where(CAUTION * seconds <= time_left.spare, LEAST_CHANCE, UNLIKELY)


class Forecast(NamedTuple):
    """What is expected of networks with lengths of their training.

    Attributes:
        margins: by how many deviations they make fewer errors than they need to stand, (pairs,).
        chances: to stand: the normal distribution's at the margin, times the calibration of the form, (pairs,).
        seconds: what a training takes, (pairs,).
        falls: of ``_expected_falls``, (pairs,).
    """

    pairs: list[tuple[Option, int]]
    margins: Any
    chances: Any
    seconds: Any
    falls: Any

    def with_others(self, others: Forecast) -> Forecast:
        """Return these and others, in this order."""
        arrays = zip(self[1:], others[1:], strict=True)
        return Forecast([*self.pairs, *others.pairs], *map(np.concatenate, arrays))


class Ranking(NamedTuple):
    """Choices, what is worth most first; ``is_doubted``: as the model states its deviations none has a chance."""

    choices: list[Choice]
    is_doubted: bool


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked for.

    Attributes:
        recipe: without its length; ``lengths`` are the epochs that may be chosen.
        taken: hashes and lengths that were proposed before.
        allowed: most validation errors of ten thousand that stand for the target.
        images: how many validate.
        calibration: of ``form_calibration``; 1 for a form that is not in it.
        below: the cost to get below: the lowest that stands, or one more than the ceiling of the search.
        open: costs and chances of networks that may come to stand, in training or confirmed at the moment.
        stands: whether something stands.
    """

    model: Surrogate
    recipe: Recipe
    lengths: tuple[int, ...]
    taken: frozenset[tuple[str, int]]
    allowed: float
    images: int
    calibration: Mapping[str, float]
    below: int
    open: tuple[tuple[int, float], ...]
    stands: bool
    time_left: TimeLeft

    def lengths_of(self, option: Option) -> list[int]:
        """Return the lengths of a network that are new and that there is time for."""
        return [
            epochs
            for epochs in self.lengths
            if (option.hash, epochs) not in self.taken and option.fits(epochs, self.time_left)
        ]

    def forecast(self, options: Iterable[Option]) -> Forecast:
        """Return what is expected of networks with each length that is new and that there is time for."""
        from scipy.special import ndtr

        pairs = [(option, epochs) for option in options for epochs in self.lengths_of(option)]
        if not pairs:
            return Forecast([], np.empty(0), np.empty(0), np.empty(0), np.empty(0))
        means, deviations, spread = self.predictions(pairs)
        margins = (math.log(max(1e-9, self.needed)) - means - _SELECTION_BIAS_SD * deviations) / spread
        chances = ndtr(margins) * np.array([self.calibration.get(option.form, 1.0) for option, _ in pairs])
        seconds = np.array([option.seconds(epochs, self.time_left) for option, epochs in pairs])
        fall_of = _expected_falls({option.cost for option, _ in pairs}, self.below, self.open)
        falls = np.array([fall_of[option.cost] for option, _ in pairs])
        return Forecast(pairs, margins, chances, seconds, falls)

    def ranked(self, forecast: Forecast) -> Ranking:
        """Return up to a thousand networks with lengths, each network once, what is worth most first.

        Once something stands and time has an end, what has hardly a chance is left out, and what is unlikely where it
        would take the time of a second verification. If that leaves nothing, the ranking is in doubt: first is the
        network that comes nearest.
        """
        pairs, margins, chances, seconds, falls = forecast
        if not pairs:
            return Ranking([], is_doubted=False)
        time_left, workers = self.time_left, self.time_left.workers
        hopeful = np.full(len(pairs), fill_value=True)
        is_doubted = False
        if self.stands:
            more = rounds(CONFIRM_SEEDS, workers)
            if not math.isinf(time_left.left):
                least_chances = _least_chances(time_left, seconds)
                hopeful = chances >= least_chances
                is_doubted = not hopeful.any()
                seconds = seconds + _STRIDE_SHARE * time_left.left / (1 + more)
            # The fresh seeds are run where the first one passes.
            worths = chances * falls / (seconds * (1 + more * chances))
            if is_doubted:
                # A wrong model is corrected by trainings only, of networks that come nearest to the target. Nothing in
                # doubt takes the time of a second verification, and where all trainings that leave this time are far
                # from the target, they correct nothing.
                hopeful = least_chances < UNLIKELY
                if margins.max(where=hopeful, initial=-math.inf) < margins.max() - _DOUBT_SD:
                    hopeful[:] = False
                worths = chances
        else:
            in_time = max(_SECURE_SECONDS - time_left.passed, _LEAST_SECURE_SECONDS)
            worker_seconds = min(in_time, _SECURE_SHARE * time_left.left) * workers
            attempts = np.minimum(_MOST_ATTEMPTS, worker_seconds / (seconds * (1 + CONFIRM_SEEDS * chances)))
            none_stands = np.maximum(1.0, attempts) * np.log1p(-np.minimum(chances, _CERTAIN))
            # The verification of what stands first is kept until the end: what it leaves is for networks below.
            verifications = np.array([verifying(float(option), workers) for option in seconds])
            free = np.maximum(0.0, 1 - verifications / time_left.left)
            worths = (np.minimum(1.0, attempts) * -np.expm1(none_stands)) ** _CERTAINTY * falls * free
        choices: dict[str, Choice] = {}
        # Where all chances are as good as none, what comes nearest is first.
        for at in np.lexsort((-margins, -worths)):
            if hopeful[at]:
                option, epochs = pairs[at]
                choices.setdefault(option.hash, Choice(option, epochs, float(chances[at]), float(worths[at])))
            if len(choices) == _MOST_RANKED:
                break
        return Ranking(list(choices.values()), is_doubted)

    @property
    def needed(self) -> float:
        """The errors of ten thousand images with which a network comes to stand."""
        return self.allowed * needed_share()

    def predictions(self, pairs: Sequence[tuple[Option, int]]) -> tuple[Any, Any, Any]:
        """Return of the logarithm of the errors of each training: means, deviations, and those with fresh seeds."""
        recipe = self.recipe
        factor = length_factor(self.time_left.images)
        ends = {each: training_row(each / factor, recipe.batch_size, recipe.augmented_share) for each in self.lengths}
        means, deviations = self.model.predict([option.row + ends[epochs] for option, epochs in pairs])
        # The fresh seeds that decide waver too.
        spread = np.sqrt(deviations**2 + seed_variance(self.needed, self.images) / CONFIRM_SEEDS)
        return means, deviations, spread

    def one_by_one(self, ranked: Sequence[Choice], count: int) -> list[Choice]:
        """Return so many choices where there are as many: each is worth most with those before it in training, too.

        A worth is in proportion to the expected fall, and that is all of it that networks in training lessen.
        """
        choices, open_ = list(ranked[:1]), list(self.open)
        left = list(ranked[1 : _SHORTLIST_FACTOR * count])
        costs = {each.option.cost for each in left}
        alone = _expected_falls(costs, self.below, open_)
        while left and len(choices) < count:
            open_.append((choices[-1].option.cost, choices[-1].chance))
            falls = _expected_falls(costs, self.below, open_)
            worths = [
                each.worth * falls[each.option.cost] / alone[each.option.cost] if alone[each.option.cost] else 0.0
                for each in left
            ]
            choices.append(left.pop(worths.index(max(worths))))
        return choices


def _expected_falls(costs: Iterable[int], below: int, open_: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return by how much a network of each cost that stands lowers the cost to get below, in the logarithm.

    Args:
        open_: costs and chances of others that may lower it too, taken to be independent; one above it lowers nothing.
    """
    rivals = sorted(each for each in open_ if each[0] < below)
    # The chance that none of the rivals before each one comes to stand.
    left = list(itertools.accumulate((1 - chance for _, chance in rivals), operator.mul, initial=1.0))
    falls = {}
    for cost in costs:
        fall = 0.0
        # Where a rival of no higher cost stands, the network lowers nothing.
        for at in range(bisect_right(rivals, (cost, math.inf)), len(rivals)):
            other, chance = rivals[at]
            fall += left[at] * chance * math.log(other / cost)
        falls[cost] = fall + left[-1] * max(0.0, math.log(below / cost))
    return falls
