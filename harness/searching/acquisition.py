"""Acquisition function: rank pairs of a network and a number of training epochs.

``finder`` supplies the networks, ``proposer`` proposes the choices. Symbols in the docstrings of this module:

n: Smallest number of fresh seeds of a confirmation, ``Acquisition.seeds``.
N: Largest mean errors per 10,000 images on n fresh seeds for a confirmation, ``Acquisition.confirmed_errors``.
mu, sigma: Predicted mean and standard deviation of the log errors, with the errors averaged over seeds.
tau: Standard deviation of the log of the mean errors on n fresh seeds.
z: Number of standard deviations tau by which the log errors are below log N.
p: Probability that the candidate is confirmed.
t, T: Seconds of a training; seconds left of the search, infinite without a time limit.
c, F: Cost of a candidate; expected improvement if the candidate is confirmed, a reduction of the log cost.
"""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from harness.searching.surrogate.features import Row, network_row, training_row
from harness.searching.surrogate.model import Surrogate, seed_variance
from harness.searching.time_budget import CAUTION, TimeLeft, rounds, step_macs_of, verification_seconds
from harness.spaces.network import Analysis
from harness.spaces.space import Draw, Feasibility, Objective, measured
from harness.studies.candidate import CONFIRM_SEEDS, Candidate
from harness.studies.events import Proposal
from harness.training.recipe import Recipe, length_factor

# s after the start: deadline for the first confirmed candidate. 240 s are promised; with a deadline of 180 s, the
# second candidate came too late if the first failed its confirmation (diary 95).
_SECURE_SECONDS = 75.0
_MIN_SECURE_SECONDS = 60.0  # s, lower bound of the time until this deadline
_SECURE_SHARE = 0.33  # upper bound, as a share of the time left
_CERTAINTY = 4.0  # exponent of P (``ranked``): a first answer matters more than its size
_MAX_ATTEMPTS = 4.0  # upper bound of m (``ranked``): the errors of the surrogate are correlated among similar networks
_COLD_CERTAINTY = 1.0  # without a prior, as a larger exponent trusts a surrogate without data (diary 144)
# Winner's curse: the best of many noisy predictions is optimistic. Predicted log errors are raised by this number of
# standard deviations sigma (diary 97). Without a prior, sigma is mainly the unknown level of the errors, which all
# networks share and no choice selects (diary 144).
_SELECTION_BIAS_SD = 1.0
# Share of the time left, divided by the rounds of a confirmed candidate, that is added to the training time once there
# is an incumbent: many small cost reductions take more time than a large one.
_STRIDE_SHARE = 0.05
_CERTAIN = 1 - 1e-12  # largest probability, as log(1 - p) must be finite
_SHORTLIST_FACTOR = 4  # compared choices, per choice of a batch
_DOUBT_SD = 1.0  # largest difference to the best z of a training in doubt
_MAX_RANKED = 1_000  # choices; more than ``finder`` mutates
_CALIBRATION_WEIGHT = 1.0  # in prior predicted confirmations (diary 141)
_MIN_CHANCE = 0.03  # smallest p that is proposed once there is an incumbent
# Smallest p, once there is an incumbent, if the training would use the time of a second verification. Of 242 candidates
# with a smaller p, 1 was confirmed (diary 102).
UNLIKELY = 0.2


@dataclass(frozen=True, slots=True)
class NetworkOption:
    """Feasible network that may be proposed, with the features of the surrogate and the time model.

    Attributes:
        row: Scaled features, from ``features.network_row``.
        step_macs: Equivalent multiply-adds of a training step per image (``time_budget.equivalent_macs``).
    """

    draw: Draw
    analysis: Analysis
    hash: str
    cost: int
    row: Row
    step_macs: float
    family: str

    @classmethod
    def of(cls, draw: Draw, feasibility: Feasibility, objective: Objective) -> NetworkOption:
        """Return the option of an accepted draw."""
        analysis = feasibility.analysis
        assert analysis is not None, "an accepted network has been analysed"
        network = draw.architecture
        row = network_row(network, analysis)
        cost = measured(analysis, objective)
        return cls(draw, analysis, network.hash, cost, row, step_macs_of(analysis), network.family)

    def proposal(self, trial: int, rule: str, epochs: int | None, chance: float | None = None) -> Proposal:
        """Return the proposal of a training."""
        return Proposal(
            trial=trial,
            architecture=self.draw.architecture,
            hash=self.hash,
            parameters=self.analysis.parameters,
            origin=rule,
            decisions=self.draw.decisions,
            epochs=epochs,
            chance=chance,
        )

    def seconds(self, epochs: int, time_left: TimeLeft) -> float:
        """Return the expected seconds of a training."""
        return time_left.training_seconds(epochs, self.step_macs, self.family)

    def fits(self, epochs: int, time_left: TimeLeft) -> bool:
        """Return whether a training, its confirmation and verification fit into the time left."""
        return self.seconds(epochs, time_left) <= time_left.longest_training


@dataclass(frozen=True, slots=True)
class ScoredOption:
    """Network with a number of training epochs, ranked by the acquisition function.

    Attributes:
        chance: Predicted probability of confirmation, p.
        value: Acquisition value (``Acquisition.ranked``).
    """

    option: NetworkOption
    epochs: int
    chance: float
    value: float

    def is_timely(self, time_left: TimeLeft) -> bool:
        """Return whether an earlier choice still fits the time left and has the smallest chance for this time.

        Without an incumbent (``TimeLeft.spare_seconds`` is infinite) any chance is enough.
        """
        seconds = self.option.seconds(self.epochs, time_left)
        is_likely = math.isinf(time_left.spare_seconds) or self.chance >= _least_chances(time_left, seconds)
        return self.option.fits(self.epochs, time_left) and bool(is_likely)


def calibration_of(candidates: Iterable[Candidate]) -> dict[str, float]:
    """Return the calibration factor of each family: confirmed over predicted candidates, at most 1.

    For the candidates of a family whose first run has ended, with w = ``_CALIBRATION_WEIGHT``::

        factor = min(1, (w + sum of confirmations) / (w + sum of p))

    This is the posterior mean of a Poisson rate with a Gamma(w, w) prior. A candidate that passed its first run and is
    neither confirmed nor refuted counts as ``chance_to_confirm`` confirmations; a candidate that is trained again for
    fewer epochs (``shorter_epochs``) does not count.
    """
    chance_sums: dict[str, float] = defaultdict(float)
    confirmations: dict[str, float] = defaultdict(float)
    for candidate in candidates:
        chance = candidate.proposal.chance
        if candidate.first_run is None or chance is None or candidate.shorter_epochs is not None:
            continue
        family = candidate.proposal.architecture.family
        chance_sums[family] += chance
        if candidate.is_confirmed:
            confirmations[family] += 1
        elif candidate.passed_first and not candidate.is_refuted:
            confirmations[family] += candidate.chance_to_confirm
    weight = _CALIBRATION_WEIGHT
    return {name: min(1.0, (weight + confirmations[name]) / (weight + total)) for name, total in chance_sums.items()}


def _least_chances(time_left: TimeLeft, seconds: Any) -> Any:
    """Trainings that would use the time of a second verification need a higher p."""
    return np.where(CAUTION * seconds <= time_left.spare_seconds, _MIN_CHANCE, UNLIKELY)


class Forecast(NamedTuple):
    """Predictions for pairs of a network and a number of epochs; all arrays have the shape (pairs,).

    Attributes:
        margins: Margins z to the errors allowed for a confirmation.
        chances: Probabilities of confirmation p.
        seconds: Training times t, in s.
        improvements: Expected improvements F.
    """

    pairs: list[tuple[NetworkOption, int]]
    margins: Any
    chances: Any
    seconds: Any
    improvements: Any

    @staticmethod
    def empty() -> Forecast:
        """Return a forecast of no pairs."""
        return Forecast([], np.empty(0), np.empty(0), np.empty(0), np.empty(0))

    def with_others(self, tail: Forecast) -> Forecast:
        """Return the concatenation of two forecasts."""
        arrays = zip(self[1:], tail[1:], strict=True)
        return Forecast([*self.pairs, *tail.pairs], *map(np.concatenate, arrays))


class _Ranking(NamedTuple):
    """Choices in descending order of the acquisition value, with distinct networks.

    ``is_doubted``: no pair reaches the smallest chance to propose, which exists only with an incumbent and a time
    limit.
    """

    choices: list[ScoredOption]
    is_doubted: bool


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Acquisition function at a moment of the search.

    Attributes:
        allowed_errors: Validation errors per 10,000 images at the threshold.
        calibration: Factors from ``calibration_of``; a missing family has the factor 1.
        cost_bound: Exclusive upper bound of the cost.
        open_candidates: Cost and probability of confirmation of each candidate in training or confirmation.
        has_incumbent: Whether a candidate is confirmed and has not missed the target on the test images.
        seeds: Fewest fresh seeds of a confirmation, n.
        confirmed_share: Largest mean error that n fresh seeds confirm, as a share of the allowed error.
        has_prior: Whether the surrogate has prior observations or a transfer mean.
    """

    model: Surrogate
    recipe: Recipe
    lengths: tuple[int, ...]
    proposed_pairs: frozenset[tuple[str, int]]
    allowed_errors: float
    images: int
    calibration: Mapping[str, float]
    cost_bound: int
    open_candidates: tuple[tuple[int, float], ...]
    has_incumbent: bool
    time_left: TimeLeft
    seeds: int = CONFIRM_SEEDS
    confirmed_share: float = field(kw_only=True)
    has_prior: bool = True

    def lengths_of(self, option: NetworkOption) -> list[int]:
        """Return the numbers of epochs that have not been proposed for a network and that fit the time left."""
        return [
            epochs
            for epochs in self.lengths
            if (option.hash, epochs) not in self.proposed_pairs and option.fits(epochs, self.time_left)
        ]

    def forecast(self, options: Iterable[NetworkOption]) -> Forecast:
        """Return the forecast of each network with all numbers of epochs from ``lengths_of``.

        With b = ``_SELECTION_BIAS_SD`` (0 without a prior) and Phi the standard normal distribution function::

            z = (log N - mu - b * sigma) / tau
            p = calibration[family] * Phi(z)

        The pairs are in the order of ``options``, the epochs of a network ascending.
        """
        from scipy.special import ndtr

        pairs = [(option, epochs) for option in options for epochs in self.lengths_of(option)]
        if not pairs:
            return Forecast.empty()
        means, deviations, spread = self.predictions(pairs)
        bias = _SELECTION_BIAS_SD if self.has_prior else 0.0
        margins = (math.log(max(1e-9, self.confirmed_errors)) - means - bias * deviations) / spread
        chances = ndtr(margins) * np.array([self.calibration.get(option.family, 1.0) for option, _ in pairs])
        seconds = np.array([option.seconds(epochs, self.time_left) for option, epochs in pairs])
        costs = [option.cost for option, _ in pairs]
        improvement_by_cost = _expected_improvements(set(costs), self.cost_bound, self.open_candidates)
        improvements = np.array([improvement_by_cost[cost] for cost in costs])
        return Forecast(pairs, margins, chances, seconds, improvements)

    def ranked(self, forecast: Forecast) -> _Ranking:
        """Return the pairs of a forecast by descending acquisition value, each network once with the best epochs.

        If there is an incumbent (``has_incumbent``), the value is the expected improvement per second. The n fresh
        seeds take r = ``rounds(n, workers)`` rounds, and run only if the first run passes::

            t' = t + _STRIDE_SHARE * T / (1 + r)        (t' = t if T is infinite)
            value = p * F / (t' * (1 + r * p))

        If T is finite, pairs with p < ``_MIN_CHANCE`` are dropped, and pairs that would use the time of a second
        verification (``CAUTION * t > TimeLeft.spare_seconds``) if p < ``UNLIKELY``. If no pair is left, the ranking is
        in doubt: the pairs that leave this time are ranked by p; none, if their best z is more than ``_DOUBT_SD`` below
        the best of all pairs.

        Otherwise, the value depends on the probability P that at least one of m similar networks is confirmed by the
        deadline. With the worker seconds W until the deadline and the seconds V(t) of a verification::

            W = workers * min(max(_SECURE_SECONDS - passed, _MIN_SECURE_SECONDS), _SECURE_SHARE * T)
            m = min(_MAX_ATTEMPTS, W / (t * (1 + n * p)))
            P = min(1, m) * (1 - (1 - p)^max(1, m))
            value = P^_CERTAINTY * F * max(0, 1 - V(t) / T)        (P^_COLD_CERTAINTY without a prior)

        Ties are ordered by descending z.
        """
        pairs, margins, chances, seconds, improvements = forecast
        if not pairs:
            return _Ranking([], is_doubted=False)
        time_left = self.time_left
        workers = time_left.workers
        is_eligible = np.full(len(pairs), fill_value=True)
        is_doubted = False
        if self.has_incumbent:
            more = rounds(self.seeds, workers)  # r
            if not math.isinf(time_left.seconds_left):
                least_chances = _least_chances(time_left, seconds)
                is_eligible = chances >= least_chances
                is_doubted = not is_eligible.any()
                seconds = seconds + _STRIDE_SHARE * time_left.seconds_left / (1 + more)  # t'
            values = chances * improvements / (seconds * (1 + more * chances))
            if is_doubted:
                # Only trainings of networks close to the target can correct a wrong surrogate.
                is_eligible = least_chances < UNLIKELY
                if margins.max(where=is_eligible, initial=-math.inf) < margins.max() - _DOUBT_SD:
                    is_eligible[:] = False
                values = chances
        else:
            seconds_to_deadline = max(_SECURE_SECONDS - time_left.elapsed, _MIN_SECURE_SECONDS)
            worker_seconds = min(seconds_to_deadline, _SECURE_SHARE * time_left.seconds_left) * workers  # W
            attempts = np.minimum(_MAX_ATTEMPTS, worker_seconds / (seconds * (1 + self.seeds * chances)))  # m
            log_no_success = np.maximum(1.0, attempts) * np.log1p(-np.minimum(chances, _CERTAIN))
            # The time of the verification, V(t), is reserved until the end; only the rest is left for smaller networks.
            verify_seconds = [verification_seconds(each, workers, time_left.images) for each in seconds.tolist()]
            free_shares = np.maximum(0.0, 1 - np.array(verify_seconds) / time_left.seconds_left)
            certainty = _CERTAINTY if self.has_prior else _COLD_CERTAINTY
            values = (np.minimum(1.0, attempts) * -np.expm1(log_no_success)) ** certainty * improvements * free_shares
        choices: dict[str, ScoredOption] = {}
        # All values may underflow to 0.
        for index in np.lexsort((-margins, -values)):
            if is_eligible[index]:
                option, epochs = pairs[index]
                choice = ScoredOption(option, epochs, chance=float(chances[index]), value=float(values[index]))
                choices.setdefault(option.hash, choice)
            if len(choices) == _MAX_RANKED:
                break
        return _Ranking(list(choices.values()), is_doubted)

    @property
    def confirmed_errors(self) -> float:
        """Largest mean errors per 10,000 images on the fresh seeds for a confirmation, N."""
        return self.allowed_errors * self.confirmed_share

    def predictions(self, pairs: Sequence[tuple[NetworkOption, int]]) -> tuple[Any, Any, Any]:
        """Return mu, sigma and tau of the log errors of each pair, three arrays of the shape (pairs,).

        With the variance v(N) of the log errors between seeds, at N errors (``seed_variance``)::

            tau = sqrt(sigma^2 + v(N) / n)
        """
        recipe = self.recipe
        factor = length_factor(self.time_left.images)
        # By number of epochs: the ends of the rows.
        ends = {each: training_row(each / factor, recipe.batch_size, recipe.augmented_share) for each in self.lengths}
        means, deviations = self.model.predict([option.row + ends[epochs] for option, epochs in pairs])
        spread = np.sqrt(deviations**2 + seed_variance(self.confirmed_errors, self.images) / self.seeds)
        return means, deviations, spread

    def select_batch(self, choices: Sequence[ScoredOption], count: int) -> list[ScoredOption]:
        """Return up to ``count`` choices, selected greedily as a sequential batch.

        Each selected choice joins the open candidates, which changes F of the remaining choices to F'. The acquisition
        value is proportional to F, so ``value' = value * F' / F``; 0 if F is 0.

        Args:
            choices: In descending order of the acquisition value; the first is always selected.
        """
        batch = list(choices[:1])
        rivals = list(self.open_candidates)
        shortlist = list(choices[1 : _SHORTLIST_FACTOR * count])
        costs = {each.option.cost for each in shortlist}
        previous = _expected_improvements(costs, self.cost_bound, rivals)
        while shortlist and len(batch) < count:
            rivals.append((batch[-1].option.cost, batch[-1].chance))
            improvements = _expected_improvements(costs, self.cost_bound, rivals)
            values = []
            for choice in shortlist:
                cost = choice.option.cost
                values.append(choice.value * improvements[cost] / previous[cost] if previous[cost] else 0.0)
            batch.append(shortlist.pop(values.index(max(values))))
        return batch


def _expected_improvements(costs: Iterable[int], bound: int, rivals: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return the expected improvement F, a reduction of the log cost, for a confirmed candidate of each cost c.

    The improvement is over the cheapest confirmed rival, or over ``bound``. The rivals with costs
    c_i < ``bound``, in ascending order, are confirmed independently with the probabilities p_i::

        F(c) = sum_{i: c_i > c} p_i * log(c_i / c) * prod_{j < i} (1 - p_j)
               + max(0, log(bound / c)) * prod_j (1 - p_j)
    """
    cheaper = sorted((cost, chance) for cost, chance in rivals if cost < bound)
    # Item i: probability that no rival before i is confirmed.
    none_before = list(itertools.accumulate((1 - chance for _, chance in cheaper), operator.mul, initial=1.0))
    improvements = {}
    for cost in costs:
        improvement = 0.0
        # A confirmed rival of cost <= c leaves no reduction.
        for index in range(bisect_right(cheaper, (cost, math.inf)), len(cheaper)):
            rival_cost, chance = cheaper[index]
            improvement += none_before[index] * chance * math.log(rival_cost / cost)
        improvements[cost] = improvement + none_before[-1] * max(0.0, math.log(bound / cost))
    return improvements
