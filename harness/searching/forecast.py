"""The quote: a forecast of the size of the answer of a search and of the time, from the surrogate model.

The uncertainty of the surrogate model is mostly the difficulty of the data, which all networks share. The forecast
therefore assumes fully correlated errors: in the best 5 % of cases every network is at the 5 % quantile of its own
errors. The 5 % quantile of the size of the answer is then the size of the smallest network that is confirmed with a
probability of at least 5 %; 50 % and 95 % likewise. Sizes are parameters, whichever metric is minimised.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.searching.acquisition import NetworkOption
from harness.searching.finder import Finder
from harness.searching.surrogate.model import IMAGES
from harness.searching.time_budget import verification_seconds
from harness.studies.candidate import BASELINE
from harness.studies.events import Quoted
from harness.system import statistics
from harness.system.terminal import duration_text
from search_spaces.space import Draw

QUANTILES = (0.05, 0.5, 0.95)  # of a quote: bounds of a 90 % interval and the median
_DRAWS = 2_000  # largest number of draws from the space; takes half a second
# Trainings, including the baselines, until the final answer was confirmed: minimum, median and maximum of 13 searches
# without prior observations (diary 123).
_TRAININGS = (15, 36, 120)
_PROPOSAL_SECONDS = 0.4  # wall-clock seconds to choose a network (same entry)
# Standard deviation of log parameters between the answers of equal searches with different seeds (same entry).
_ANSWER_DEVIATION = 0.23
_FEWEST_ERRORS = 1.0  # lower bound of predicted errors per ``IMAGES`` images
_ROUNDS = 6  # rounds of mutating the smallest networks of each quantile
_PARENTS = 8  # networks mutated per quantile and round


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of the surrogate model for pairs of a network and a training length.

    Attributes:
        sizes: Parameters, shape (pairs,).
        means: Predicted log errors per ``IMAGES`` images (mu in ``acquisition``), shape (pairs,).
        deviations: Standard deviations of the log mean errors on the fresh seeds (tau), shape (pairs,).
    """

    sizes: Any
    means: Any
    deviations: Any

    def chances(self, errors: float) -> Any:
        """Return P(errors <= ``errors``) = Phi((log(errors) - mean) / deviation), shape (pairs,)."""
        from scipy.special import ndtr

        return ndtr((math.log(max(1e-9, errors)) - self.means) / self.deviations)

    def with_others(self, others: Predictions) -> Predictions:
        """Return these predictions followed by ``others``."""
        return Predictions(
            np.concatenate([self.sizes, others.sizes]),
            np.concatenate([self.means, others.means]),
            np.concatenate([self.deviations, others.deviations]),
        )

    def smallest(self, errors: float, chance: float) -> int | None:
        """Return the index of the smallest network with ``chances(errors)`` of at least ``chance``; None without one.

        Ties go to the first index, hence to the shortest length, as the lengths of a network ascend.
        """
        able = np.flatnonzero(self.chances(errors) >= chance)
        return min(able.tolist(), key=lambda index: self.sizes[index], default=None)

    def fewest_errors(self, quantile: float) -> float:
        """Return a quantile of the errors per ``IMAGES`` images of the best network; ``IMAGES`` without networks."""
        if not len(self.means):
            return IMAGES
        logs = self.means + _normal_quantile(quantile) * self.deviations
        return min(IMAGES, max(_FEWEST_ERRORS, math.exp(float(logs.min()))))


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


class Outlook:
    """Forecast for the networks of a space: drawn networks, and mutations of the smallest networks per quantile.

    Attributes:
        finder: Source of networks.
        acquisition: Acquisition function with the fitted surrogate model.
        pairs: Networks with training lengths, in the order of ``predictions``.
        predictions: Predictions for ``pairs``.
        needed: Largest mean errors per ``IMAGES`` images for a confirmation.
    """

    def __init__(self, finder: Finder) -> None:
        """Draw and mutate networks with a fixed seed, and predict their errors."""
        rng = random.Random(0)
        self.finder = finder
        self.acquisition = finder.acquisition()
        self.needed = self.acquisition.needed
        self.pairs: list[tuple[NetworkOption, int]] = []
        self.predictions = self._predictions([])
        # All networks of a small space are listed.
        self._rounds_left = _ROUNDS if finder.listed_options is None else 0
        finder.climb(_options(finder, rng), self._next_parents, rng)

    def _next_parents(self, options: Sequence[NetworkOption]) -> list[Draw]:
        """Predict the errors of further networks, and return the smallest networks of each quantile to mutate."""
        pairs = list(itertools.product(options, self.acquisition.lengths))
        self.pairs += pairs
        self.predictions = self.predictions.with_others(self._predictions(pairs))
        if not self._rounds_left:
            return []
        self._rounds_left -= 1
        parents = {option.hash: option for quantile in QUANTILES for option in self._smallest_options(quantile)}
        return [option.draw for option in parents.values()]

    def pair(self, quantile: float) -> tuple[NetworkOption, int] | None:
        """Return the network behind a quantile of the quote, and its training length.

        This is the smallest network whose probability of confirmation is at least ``quantile``; None without one.
        """
        index = self.predictions.smallest(self.needed, quantile)
        return None if index is None else self.pairs[index]

    def shortest_seconds(self, most: int | None, mean_seconds: float) -> float:
        """Return the seconds of the shortest training that is confirmed with a probability of at least 50 %.

        A larger network may reach the target with much fewer epochs than the smallest network.

        Args:
            most: Largest number of parameters; None for no limit.
            mean_seconds: Upper bound of the answer, and the answer without such a training.
        """
        able = self.predictions.chances(self.needed) >= QUANTILES[1]
        if most is not None:
            able &= self.predictions.sizes <= most
        pairs = [self.pairs[index] for index in np.flatnonzero(able)]
        return min([mean_seconds, *(option.seconds(epochs, self.finder.time_left) for option, epochs in pairs)])

    def _predictions(self, pairs: Sequence[tuple[NetworkOption, int]]) -> Predictions:
        means, _, spread = self.acquisition.predictions(pairs)
        return Predictions(np.array([option.analysis.parameters for option, _ in pairs]), means, spread)

    def _smallest_options(self, quantile: float) -> list[NetworkOption]:
        """Return up to ``_PARENTS`` networks: the smallest with at least this chance, else the likeliest to pass."""
        chances = self.predictions.chances(self.needed)
        able = np.flatnonzero(chances >= quantile)
        order = sorted(able.tolist(), key=lambda index: self.predictions.sizes[index])
        order = order or np.argsort(-chances).tolist()
        # A network may occur once per training length.
        pairs = [self.pairs[index] for index in order[: _PARENTS * len(self.acquisition.lengths)]]
        options = {option.hash: option for option, _ in pairs}
        return list(options.values())[:_PARENTS]


def quote(outlook: Outlook) -> Quoted:
    """Return the forecast of a search from the networks of an outlook, the baselines and the measured pace."""
    finder = outlook.finder
    time_left = finder.time_left
    workers = time_left.workers
    # Baselines that passed count as observed sizes, without a prediction.
    passed = [candidate.proposal for candidate in finder.rivals if candidate.passed_first]
    baseline_sizes = [proposal.parameters for proposal in passed if proposal.origin == BASELINE]
    sizes: list[int | None] = []
    seconds = []
    for quantile in QUANTILES:
        able_sizes = list(baseline_sizes)
        pair = outlook.pair(quantile)
        if pair is not None:
            option, epochs = pair
            able_sizes.append(option.analysis.parameters)
            seconds.append(option.seconds(epochs, time_left))
        sizes.append(min(able_sizes, default=None))
    low, middle, high = _widened(sizes)
    mean_seconds = statistics.mean(seconds) if seconds else 0.0

    def search_seconds(trainings: int, training_seconds: float) -> float:
        searching = trainings * (training_seconds / workers + _PROPOSAL_SECONDS)
        return round(searching + verification_seconds(training_seconds, workers), 1)

    def accuracy_pct(quantile: float) -> float:
        return round(100 * (1 - outlook.predictions.fewest_errors(quantile) / IMAGES), 3)

    fewest, usual, most = _TRAININGS
    lowest, median, highest = QUANTILES
    chance = float(outlook.predictions.chances(outlook.needed).max(initial=0.0))
    # Answers of equal searches differ by ``_ANSWER_DEVIATION``, so networks up to this size are usual answers.
    usual_most = None if middle is None else round(middle * math.exp(_ANSWER_DEVIATION))
    return Quoted(
        parameters=(low, middle, high),
        chance=1.0 if baseline_sizes else round(chance, 4),
        seconds=(
            search_seconds(fewest, outlook.shortest_seconds(high, mean_seconds)),
            search_seconds(usual, outlook.shortest_seconds(usual_most, mean_seconds)),
            search_seconds(most, mean_seconds),
        ),
        # A low quantile of the errors is a high quantile of the accuracy.
        accuracy_pct=(accuracy_pct(highest), accuracy_pct(median), accuracy_pct(lowest)),
    )


def _widened(sizes: list[int | None]) -> tuple[int | None, int | None, int | None]:
    """Return low, middle and high size with the interval widened by the deviation between equal searches.

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
    """Return the proposed networks without the baselines, and up to ``_DRAWS`` draws; all networks of a small space."""
    if finder.listed_options is not None:
        return [option for option, _ in finder.listed_options if option.cost <= finder.max_cost]
    proposals = [each.proposal for each in finder.candidates.values() if each.proposal.origin != BASELINE]
    outcomes = [finder.option_or_rejection(Draw(each.architecture, each.decisions)) for each in proposals]
    proposed = [outcome for outcome in outcomes if isinstance(outcome, NetworkOption)]
    options = itertools.chain(proposed, finder.draw_options(rng, _DRAWS))
    return list({option.hash: option for option in options}.values())


def quote_lines(quoted: Quoted, budget: int) -> Iterable[str]:
    """Yield the sentences of a quote, without full stops; ``budget`` is the largest number of parameters."""
    texts = [f"more than {budget:,}" if size is None else f"{size:,}" for size in quoted.parameters]
    low, middle, high = texts
    _, median, _ = quoted.parameters
    if median is None:
        chance = f"chance {100 * quoted.chance:.0f} % with up to {budget:,} parameters"
        yield f"the target is probably out of reach: {chance}"
    else:
        yield f"predicted answer: {middle} parameters (90 % interval: {low} to {high})"
    fast, usual, slow = map(duration_text, quoted.seconds)
    yield f"predicted duration on this machine: {usual} with verification ({fast} to {slow})"
