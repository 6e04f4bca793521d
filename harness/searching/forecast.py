"""Forecast of the size of the answer of a search and of the time, from the surrogate model.

The uncertainty of the surrogate is mostly the difficulty of the data, which all networks share. The forecast therefore
assumes fully correlated errors: in the best 5 % of cases every network is at the 5 % quantile of the predicted errors.
The 5 % quantile of the size is then the size of the smallest network that is confirmed with a probability of at least 5
%; 50 % and 95 % likewise. Sizes are parameters, whichever metric is minimised.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.searching import time_budget
from harness.searching.acquisition import NetworkOption
from harness.searching.finder import Finder
from harness.searching.surrogate.model import IMAGES
from harness.spaces.space import Draw
from harness.studies.candidate import BASELINE
from harness.studies.events import SearchForecast
from harness.system.terminal import duration_text

QUANTILES = (0.05, 0.5, 0.95)  # bounds of a 90 % interval and the median
_DRAWS = 2_000  # draws from the space; takes half a second
# Standard deviation of log parameters between the answers of equal searches with different seeds (diary 123).
_ANSWER_DEVIATION = 0.23
# Trainings until a network is confirmed, in the time of the fastest network with a chance of 50 % (by hand, diary 150).
_TRAININGS = 8
# Time at which the answer is verified, as shares of the length of the search: low, usual and high (by hand, diary 150).
_ANSWER_SHARES = (0.5, 0.9, 1.15)
_MIN_ERRORS = 1.0  # lower bound of predicted errors per ``IMAGES`` images
_ROUNDS = 6  # of mutating the smallest networks of each quantile
_PARENTS = 8  # networks mutated per quantile and round


class Predictions(NamedTuple):
    """Predictions for pairs of a network and a training length; all arrays have the shape (pairs,).

    Attributes:
        sizes: Parameters.
        means: Predicted log errors per ``IMAGES`` images (mu in ``acquisition``).
        deviations: Standard deviations of the log mean errors on the fresh seeds (tau).
        seconds: Seconds of a training.
    """

    sizes: Any
    means: Any
    deviations: Any
    seconds: Any

    def chances(self, errors: float) -> Any:
        """Return P(errors <= ``errors``) = Phi((log(errors) - mean) / deviation), shape (pairs,)."""
        from scipy.special import ndtr

        return ndtr((math.log(max(1e-9, errors)) - self.means) / self.deviations)

    def with_others(self, tail: Predictions) -> Predictions:
        """Return these predictions followed by ``tail``."""
        return Predictions(*map(np.concatenate, zip(self, tail, strict=True)))

    def smallest(self, errors: float, chance: float, max_seconds: float = math.inf) -> int | None:
        """Return the index of the smallest network with ``chances(errors)`` of at least ``chance``, else None.

        Ties go to the first index, hence to the shortest length. Trainings of more than ``max_seconds`` are left out.
        """
        able = np.flatnonzero((self.chances(errors) >= chance) & (self.seconds <= max_seconds))
        return min(able.tolist(), key=lambda index: self.sizes[index], default=None)

    def fewest_errors(self, quantile: float) -> float:
        """Return a quantile of the errors per ``IMAGES`` images of the best network; ``IMAGES`` without networks."""
        if not len(self.means):
            return IMAGES
        logs = self.means + _normal_quantile(quantile) * self.deviations
        return min(IMAGES, max(_MIN_ERRORS, math.exp(float(logs.min()))))


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


class NetworkForecast:
    """Forecast for the networks of a space: drawn networks, and mutations of the smallest networks per quantile.

    Attributes:
        pairs: Networks with training lengths, in the order of ``predictions``.
        confirmed_errors: Largest mean errors per ``IMAGES`` images for a confirmation.
    """

    def __init__(self, finder: Finder) -> None:
        rng = random.Random(0)
        self.finder = finder
        self.acquisition = finder.acquisition()
        self.confirmed_errors = self.acquisition.confirmed_errors
        self.pairs: list[tuple[NetworkOption, int]] = []
        self.predictions = self._predictions([])
        hashes = set[str]()
        options = _options(finder, rng)
        # All networks of a small space are listed.
        rounds = _ROUNDS if finder.listed_options is None else 0
        for round_number in range(rounds + 1):
            hashes |= {option.hash for option in options}
            pairs = list(itertools.product(options, self.acquisition.lengths))
            self.pairs += pairs
            self.predictions = self.predictions.with_others(self._predictions(pairs))
            if round_number < rounds:
                parents: dict[str, Draw] = {}
                for chance in QUANTILES:
                    parents |= {option.hash: option.draw for option in self._smallest_options(chance)}
                options = finder.children(list(parents.values()), hashes, rng)

    def pair(self, chance: float, max_seconds: float) -> tuple[NetworkOption, int] | None:
        """Return the smallest network with at least this probability of confirmation, and the training length.

        None without such a training of at most ``max_seconds``.
        """
        index = self.predictions.smallest(self.confirmed_errors, chance, max_seconds)
        return None if index is None else self.pairs[index]

    def length(self) -> float:
        """Return the length in seconds of the forecast search.

        This is the length of the running search or, before a search, ``least_seconds``; longer if the fastest network
        with a chance of 50 % needs more time for ``_TRAININGS`` trainings and a verification, or for
        training, confirmation and verification of this network.
        """
        time_left = self.finder.time_left
        if not math.isinf(time_left.seconds_left):
            return time_left.elapsed + time_left.seconds_left
        able = self.predictions.chances(self.confirmed_errors) >= QUANTILES[1]
        fastest = float(self.predictions.seconds[able].min(initial=math.inf))
        if math.isinf(fastest):
            return time_budget.least_seconds(time_left.images)
        workers = time_left.workers
        verify_seconds = time_budget.verification_seconds(fastest, workers, time_left.images)
        search_seconds = _TRAININGS * fastest / workers + verify_seconds
        # With many workers the rounds of a single network take longer.
        single_seconds = time_budget.search_factor(workers, self.acquisition.seeds) * fastest
        single_seconds += time_budget.caution_seconds(time_left.images)
        return max(time_budget.least_seconds(time_left.images), search_seconds, single_seconds)

    def _predictions(self, pairs: Sequence[tuple[NetworkOption, int]]) -> Predictions:
        means, _, spread = self.acquisition.predictions(pairs)
        sizes = np.array([option.analysis.parameters for option, _ in pairs])
        seconds = np.array([option.seconds(epochs, self.finder.time_left) for option, epochs in pairs])
        return Predictions(sizes, means, spread, seconds)

    def _smallest_options(self, chance: float) -> list[NetworkOption]:
        """Return up to ``_PARENTS`` networks: the smallest with at least this chance, else the likeliest to pass."""
        chances = self.predictions.chances(self.confirmed_errors)
        able = np.flatnonzero(chances >= chance)
        order = sorted(able.tolist(), key=lambda index: self.predictions.sizes[index])
        order = order or np.argsort(-chances).tolist()
        # A network may occur once per training length.
        pairs = [self.pairs[index] for index in order[: _PARENTS * len(self.acquisition.lengths)]]
        return list({option.hash: option for option, _ in pairs}.values())[:_PARENTS]


def forecast_of(finder: Finder) -> SearchForecast:
    """Return the forecast of a search from networks of the space and the confirmed networks."""
    networks = NetworkForecast(finder)
    time_left = finder.time_left
    length = networks.length()
    max_seconds = time_budget.longest_training(length, time_left.workers, time_left.images, networks.acquisition.seeds)
    # A single run proves little.
    confirmed_sizes = [candidate.proposal.parameters for candidate in finder.rivals if candidate.is_confirmed]
    sizes: list[int | None] = []
    for chance in QUANTILES:
        pair = networks.pair(chance, max_seconds)
        sizes.append(min([*confirmed_sizes, *([] if pair is None else [pair[0].analysis.parameters])], default=None))

    def accuracy_pct(quantile: float) -> float:
        return round(100 * (1 - networks.predictions.fewest_errors(quantile) / IMAGES), 3)

    lowest, median, highest = QUANTILES
    fast, usual, slow = (round(share * length, 1) for share in _ANSWER_SHARES)
    in_time = networks.predictions.seconds <= max_seconds
    chance = float(networks.predictions.chances(networks.confirmed_errors).max(where=in_time, initial=0.0))
    return SearchForecast(
        parameters=_widened(sizes),
        chance=1.0 if confirmed_sizes else round(chance, 4),
        seconds=(fast, usual, slow),
        # A low quantile of the errors is a high quantile of the accuracy.
        accuracy_pct=(accuracy_pct(highest), accuracy_pct(median), accuracy_pct(lowest)),
        search_seconds=round(length, 1),
    )


def _widened(sizes: list[int | None]) -> tuple[int | None, int | None, int | None]:
    """Return low, middle and high size, the interval widened by the deviation between equal searches.

    The log distances to the middle and the 95 % quantile of this deviation are added in quadrature.
    """
    low, middle, high = sizes
    if low is None or middle is None:
        return low, middle, high
    between_searches = _normal_quantile(QUANTILES[-1]) * _ANSWER_DEVIATION
    low = round(middle * math.exp(-math.hypot(between_searches, math.log(middle / low))))
    if high is not None:
        high = round(middle * math.exp(math.hypot(between_searches, math.log(high / middle))))
    return low, middle, high


def _options(finder: Finder, rng: random.Random) -> list[NetworkOption]:
    if finder.listed_options is not None:
        return [option for option, _ in finder.listed_options if option.cost <= finder.max_cost]
    proposals = [each.proposal for each in finder.candidates.values() if each.proposal.origin != BASELINE]
    outcomes = [finder.option_or_rejection(Draw(each.architecture, each.decisions)) for each in proposals]
    earlier_options = [outcome for outcome in outcomes if isinstance(outcome, NetworkOption)]
    options = itertools.chain(earlier_options, finder.draw_options(rng, _DRAWS))
    return list({option.hash: option for option in options}.values())


def forecast_lines(forecast: SearchForecast, budget: int) -> Iterable[str]:
    """Yield the sentences of a forecast, without full stops; ``budget`` is the largest number of parameters."""
    low, middle, high = [f"more than {budget:,}" if size is None else f"{size:,}" for size in forecast.parameters]
    _, median, _ = forecast.parameters
    if median is None:
        chance = f"chance {100 * forecast.chance:.0f} % with up to {budget:,} parameters"
        yield f"the target is probably out of reach: {chance}"
    else:
        yield f"predicted answer: {middle} parameters (90 % interval: {low} to {high})"
    fast, usual, slow = map(duration_text, forecast.seconds)
    search = duration_text(forecast.search_seconds)
    yield f"predicted time of the answer of a search of {search}: {usual} with verification ({fast} to {slow})"
