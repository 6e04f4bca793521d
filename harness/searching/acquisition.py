"""Acquisition function: rank pairs of a network and a number of training epochs.

The ``Surrogate`` predicts the log errors of each pair. ``Acquisition`` derives the probability of confirmation,
the expected cost reduction and the training time, and combines them into an acquisition value (``ScoredOption.worth``).
``finder`` supplies the networks, ``proposer`` proposes the choices. Symbols in the docstrings of this module:

n: Number of fresh seeds of a confirmation, ``Acquisition.seeds``.
N: Largest mean errors per 10,000 images on n fresh seeds for a confirmation, ``Acquisition.needed``.
mu, sigma: Predicted mean and standard deviation of the log errors, with the errors averaged over seeds.
tau: Standard deviation of the log of the mean errors on n fresh seeds.
z: Number of standard deviations tau by which the log errors are below log N.
p: Probability that the candidate is confirmed.
t, T: Seconds of a training; seconds left of the search, infinite without a time limit.
c, F: Cost of a candidate; expected reduction of the log cost if it is confirmed.
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
from harness.searching.time_budget import CAUTION, TimeLeft, rounds, verification_seconds, work_of
from harness.studies.candidate import CONFIRM_SEEDS, Candidate, needed_share
from harness.studies.events import Proposal
from harness.training.recipe import Recipe, length_factor
from search_spaces.network import Analysis
from search_spaces.space import Draw, Feasibility, Objective, measured

# s after the start: deadline for the first confirmed candidate. 240 s are promised, and with a deadline of 180 s the
# second candidate came too late when the first one failed its confirmation (diary 95).
_SECURE_SECONDS = 75.0
_LEAST_SECURE_SECONDS = 60.0  # s, lower bound of the time until this deadline
_SECURE_SHARE = 0.33  # upper bound of the time until this deadline, as a share of the time left
_CERTAINTY = 4.0  # exponent of the probability of a first confirmed candidate: an answer matters more than its size
_MOST_ATTEMPTS = 4.0  # upper bound of m: the errors of the surrogate are correlated among similar networks
# Winner's curse: the best of many noisy predictions is optimistic. Predicted log errors are raised by this number of
# standard deviations sigma (diary 97).
_SELECTION_BIAS_SD = 1.0
# Share of the time left that is added to the training time once there is an incumbent, divided by the rounds of a
# confirmed candidate: many small cost reductions take more time than a large one.
_STRIDE_SHARE = 0.05
_CERTAIN = 1 - 1e-12  # largest probability, as log(1 - p) must be finite
_SHORTLIST_FACTOR = 4  # choices compared per choice of a batch
_DOUBT_SD = 1.0  # largest difference to the best z at which a training in doubt is proposed
_MOST_RANKED = 1_000  # choices in a ranking; more than ``finder`` mutates
_CALIBRATION_WEIGHT = 1.0  # prior predicted confirmations (diary 141)
LEAST_CHANCE = 0.03  # smallest p that is proposed once there is an incumbent
# 1 of 242 candidates with a smaller p was confirmed (diary 102). With an incumbent,
# they are trained only if time remains for a second verification, in case the first one misses.
UNLIKELY = 0.2


@dataclass(frozen=True, slots=True)
class NetworkOption:
    """Feasible network with the features that the surrogate and the time model read.

    Attributes:
        draw: Architecture with the decisions that led to this architecture.
        analysis: Shapes, parameters and multiply-adds of the network.
        hash: Hash of the architecture.
        cost: Value of the minimised objective.
        row: Scaled features, from ``features.network_row``.
        work: Multiply-adds of a training step per image, from ``time_budget.work_of``.
        form: Form of the network, an element of ``search_spaces.network.FORMS``.
    """

    draw: Draw
    analysis: Analysis
    hash: str
    cost: int
    row: Row
    work: float
    form: str

    @classmethod
    def of(cls, proposal: Draw, feasibility: Feasibility, objective: Objective) -> NetworkOption:
        """Return the option of an accepted draw."""
        analysis = feasibility.analysis
        assert analysis is not None, "an accepted network has been analysed"
        network = proposal.architecture
        row = network_row(network, analysis)
        cost = measured(analysis, objective)
        return cls(proposal, analysis, network.hash, cost, row, work_of(analysis), network.form)

    def proposal(self, trial: int, origin: str, epochs: int, chance: float | None = None) -> Proposal:
        """Return the proposal of a training of ``epochs`` epochs."""
        return Proposal(
            trial=trial,
            architecture=self.draw.architecture,
            hash=self.hash,
            parameters=self.analysis.parameters,
            origin=origin,
            decisions=self.draw.decisions,
            epochs=epochs,
            chance=chance,
        )

    def seconds(self, epochs: int, time_left: TimeLeft) -> float:
        """Return the expected seconds of a training of ``epochs`` epochs."""
        return time_left.takes(epochs, self.work, self.form)

    def fits(self, epochs: int, time_left: TimeLeft) -> bool:
        """Return whether the time left allows a training of ``epochs`` epochs."""
        return time_left.has(epochs, self.work, self.form)


@dataclass(frozen=True, slots=True)
class ScoredOption:
    """Network with a number of training epochs, ranked by the acquisition function.

    Attributes:
        chance: Predicted probability that the candidate is confirmed, p.
        worth: Acquisition value (``Acquisition.ranked``).
    """

    option: NetworkOption
    epochs: int
    chance: float
    worth: float

    def is_timely(self, time_left: TimeLeft) -> bool:
        """Return whether a choice made earlier still fits the time left and is still likely enough for it."""
        seconds = self.option.seconds(self.epochs, time_left)
        is_likely = math.isinf(time_left.spare) or self.chance >= _least_chances(time_left, seconds)
        return self.option.fits(self.epochs, time_left) and bool(is_likely)


def form_calibration(candidates: Iterable[Candidate]) -> dict[str, float]:
    """Return the calibration factor of each form: confirmed over predicted candidates, at most 1.

    For the candidates of a form whose first run has ended, with w = ``_CALIBRATION_WEIGHT``::

        factor = min(1, (w + sum of confirmations) / (w + sum of p))

    This is the posterior mean of a Poisson rate with a Gamma(w, w) prior. A candidate that passed its first run and is
    neither confirmed nor refuted counts as ``chance_to_confirm`` confirmations. The factor lowers p for forms that the
    surrogate overestimates on this data set.
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
            confirmed[form] += candidate.chance_to_confirm
    weight = _CALIBRATION_WEIGHT
    return {form: min(1.0, (weight + confirmed[form]) / (weight + predicted[form])) for form in predicted}


def _least_chances(time_left: TimeLeft, seconds: Any) -> Any:
    """Return the smallest p to propose; higher for trainings that would use the time of a second verification."""
    return np.where(CAUTION * seconds <= time_left.spare, LEAST_CHANCE, UNLIKELY)


class Forecast(NamedTuple):
    """Predictions for pairs of a network and a number of epochs; all arrays have the shape (pairs,).

    Attributes:
        pairs: Networks with training epochs.
        margins: Margins z.
        chances: Probabilities of confirmation p.
        seconds: Training times t, in s.
        falls: Expected reductions of the log cost F, from ``_expected_falls``.
    """

    pairs: list[tuple[NetworkOption, int]]
    margins: Any
    chances: Any
    seconds: Any
    falls: Any

    @staticmethod
    def empty() -> Forecast:
        """Return a forecast of no pairs."""
        return Forecast([], np.empty(0), np.empty(0), np.empty(0), np.empty(0))

    def with_others(self, others: Forecast) -> Forecast:
        """Return the concatenation of two forecasts."""
        arrays = zip(self[1:], others[1:], strict=True)
        return Forecast([*self.pairs, *others.pairs], *map(np.concatenate, arrays))


class Ranking(NamedTuple):
    """Choices in descending order of the acquisition value.

    Attributes:
        choices: At most ``_MOST_RANKED`` choices, with distinct networks.
        is_doubted: True if there is an incumbent and no pair reaches the smallest chance to propose.
    """

    choices: list[ScoredOption]
    is_doubted: bool


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Acquisition function at a moment of the search.

    Attributes:
        model: Surrogate fitted to all observations.
        recipe: Training recipe; ``lengths`` replaces the number of epochs.
        lengths: Numbers of epochs to choose from.
        taken: Pairs of hash and epochs that have been proposed.
        allowed: Largest number of validation errors per 10,000 images at the threshold.
        images: Number of validation images.
        calibration: Factors from ``form_calibration``; a missing form has the factor 1.
        below: Exclusive upper bound of the cost: the largest cost of the inquiry plus 1.
        open: Cost and probability of confirmation of each candidate in training or confirmation.
        has_incumbent: True if a candidate is confirmed and has not missed the target on the test images.
        time_left: Time left and expected training times.
        seeds: Number of fresh seeds of a confirmation, n.
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
    has_incumbent: bool
    time_left: TimeLeft
    seeds: int = CONFIRM_SEEDS

    def lengths_of(self, option: NetworkOption) -> list[int]:
        """Return the numbers of epochs that have not been proposed for a network and that fit the time left."""
        return [
            epochs
            for epochs in self.lengths
            if (option.hash, epochs) not in self.taken and option.fits(epochs, self.time_left)
        ]

    def forecast(self, options: Iterable[NetworkOption]) -> Forecast:
        """Return the forecast of each network with all numbers of epochs from ``lengths_of``.

        With b = ``_SELECTION_BIAS_SD`` and Phi the standard normal distribution function::

            z = (log N - mu - b * sigma) / tau
            p = calibration[form] * Phi(z)
        """
        from scipy.special import ndtr

        pairs = [(option, epochs) for option in options for epochs in self.lengths_of(option)]
        if not pairs:
            return Forecast.empty()
        means, deviations, spread = self.predictions(pairs)
        margins = (math.log(max(1e-9, self.needed)) - means - _SELECTION_BIAS_SD * deviations) / spread
        chances = ndtr(margins) * np.array([self.calibration.get(option.form, 1.0) for option, _ in pairs])
        seconds = np.array([option.seconds(epochs, self.time_left) for option, epochs in pairs])
        fall_of = _expected_falls({option.cost for option, _ in pairs}, self.below, self.open)
        falls = np.array([fall_of[option.cost] for option, _ in pairs])
        return Forecast(pairs, margins, chances, seconds, falls)

    def ranked(self, forecast: Forecast) -> Ranking:
        """Return the pairs of a forecast by descending acquisition value, each network once with the best epochs.

        If there is an incumbent (``has_incumbent``), worth is the expected log cost reduction per second. The n fresh
        seeds take r = ``rounds(n, workers)`` rounds, and only run if the first run passes::

            t' = t + _STRIDE_SHARE * T / (1 + r)        (t' = t if T is infinite)
            worth = p * F / (t' * (1 + r * p))

        If T is finite, pairs with p < ``LEAST_CHANCE`` are dropped, and pairs that would use the time of a second
        verification (``CAUTION * t > spare``) if p < ``UNLIKELY``. If no pair is left, the ranking is in doubt: the
        pairs that leave this time are ranked by p, unless their best z is more than ``_DOUBT_SD`` below the best of
        all.

        Otherwise, worth depends on the probability P that at least one of m similar networks is confirmed by the
        deadline. With the worker seconds W until the deadline and the seconds V(t) of a verification::

            W = workers * min(max(_SECURE_SECONDS - passed, _LEAST_SECURE_SECONDS), _SECURE_SHARE * T)
            m = min(_MOST_ATTEMPTS, W / (t * (1 + n * p)))
            P = min(1, m) * (1 - (1 - p)^max(1, m))
            worth = P^_CERTAINTY * F * max(0, 1 - V(t) / T)

        Ties are ordered by descending z.
        """
        pairs, margins, chances, seconds, falls = forecast
        if not pairs:
            return Ranking([], is_doubted=False)
        time_left = self.time_left
        workers = time_left.workers
        hopeful = np.full(len(pairs), fill_value=True)
        is_doubted = False
        if self.has_incumbent:
            more = rounds(self.seeds, workers)
            if not math.isinf(time_left.left):
                least_chances = _least_chances(time_left, seconds)
                hopeful = chances >= least_chances
                is_doubted = not hopeful.any()
                seconds = seconds + _STRIDE_SHARE * time_left.left / (1 + more)
            worths = chances * falls / (seconds * (1 + more * chances))
            if is_doubted:
                # Only trainings of networks close to the target can correct a wrong surrogate.
                hopeful = least_chances < UNLIKELY
                if margins.max(where=hopeful, initial=-math.inf) < margins.max() - _DOUBT_SD:
                    hopeful[:] = False
                worths = chances
        else:
            in_time = max(_SECURE_SECONDS - time_left.passed, _LEAST_SECURE_SECONDS)
            worker_seconds = min(in_time, _SECURE_SHARE * time_left.left) * workers
            attempts = np.minimum(_MOST_ATTEMPTS, worker_seconds / (seconds * (1 + self.seeds * chances)))
            none_stands = np.maximum(1.0, attempts) * np.log1p(-np.minimum(chances, _CERTAIN))
            # The time of the verification is reserved until the end; only the rest is left for smaller networks.
            verifications = np.array([verification_seconds(float(option), workers) for option in seconds])
            free = np.maximum(0.0, 1 - verifications / time_left.left)
            worths = (np.minimum(1.0, attempts) * -np.expm1(none_stands)) ** _CERTAINTY * falls * free
        choices: dict[str, ScoredOption] = {}
        # The margin breaks ties, as all worths may underflow to 0.
        for at in np.lexsort((-margins, -worths)):
            if hopeful[at]:
                option, epochs = pairs[at]
                choices.setdefault(option.hash, ScoredOption(option, epochs, float(chances[at]), float(worths[at])))
            if len(choices) == _MOST_RANKED:
                break
        return Ranking(list(choices.values()), is_doubted)

    @property
    def needed(self) -> float:
        """Largest mean errors per 10,000 images on the fresh seeds for a confirmation, N."""
        return self.allowed * needed_share(self.seeds)

    def predictions(self, pairs: Sequence[tuple[NetworkOption, int]]) -> tuple[Any, Any, Any]:
        """Return mu, sigma and tau of the log errors of each pair, three arrays of the shape (pairs,).

        With the variance v(N) of the log errors between seeds, at N errors::

            tau = sqrt(sigma^2 + v(N) / n)
        """
        recipe = self.recipe
        factor = length_factor(self.time_left.images)
        ends = {each: training_row(each / factor, recipe.batch_size, recipe.augmented_share) for each in self.lengths}
        means, deviations = self.model.predict([option.row + ends[epochs] for option, epochs in pairs])
        spread = np.sqrt(deviations**2 + seed_variance(self.needed, self.images) / self.seeds)
        return means, deviations, spread

    def one_by_one(self, ranked: Sequence[ScoredOption], count: int) -> list[ScoredOption]:
        """Return up to ``count`` choices, selected greedily as a sequential batch.

        Each selected choice joins the open candidates, which changes F of the remaining choices to F'. The acquisition
        value is proportional to F, so ``worth' = worth * F' / F``.
        """
        choices = list(ranked[:1])
        open_ = list(self.open)
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
    """Return the expected reduction F of the log cost for a confirmed candidate of each cost c.

    This is the expected improvement over the cheapest confirmed rival, or over ``below``. The rivals ``open_`` with
    costs c_i < ``below``, in ascending order, are confirmed independently with the probabilities p_i::

        F(c) = sum_{i: c_i > c} p_i * log(c_i / c) * prod_{j < i} (1 - p_j)
               + max(0, log(below / c)) * prod_j (1 - p_j)
    """
    rivals = sorted(each for each in open_ if each[0] < below)
    # left[i]: probability that no rival before i is confirmed.
    left = list(itertools.accumulate((1 - chance for _, chance in rivals), operator.mul, initial=1.0))
    falls = {}
    for cost in costs:
        fall = 0.0
        # A confirmed rival of cost <= c leaves no reduction.
        for at in range(bisect_right(rivals, (cost, math.inf)), len(rivals)):
            other, chance = rivals[at]
            fall += left[at] * chance * math.log(other / cost)
        falls[cost] = fall + left[-1] * max(0.0, math.log(below / cost))
    return falls
