"""What errors a network will make, guessed from its costs, and which of several networks a search should try next.

A Bayesian linear model of the logarithm of the validation errors over a few costs that every network has. It is fitted
to what the search itself has trained, so it knows nothing of any space; a prior stands for the first networks. One draw
from its posterior (Thompson sampling) judges all networks at hand: what is uncertain is tried now and then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.architecture import Architecture, kernels
from search_spaces.cost import Analysis

# Centre and width of each feature: logarithms of parameters and multiply-adds, convolutions, receptive field.
CENTRES = (8.3, 13.5, 7.0, 24.0)
WIDTHS = (1.0, 1.0, 3.0, 10.0)
# A field beyond the image adds nothing.
WIDEST_FIELD = 40
# Belief before the first network: a hundred errors at the centre, give or take a factor of twenty, fewer by the power
# 0.65 of the parameters (docs/experiments.md, 495 networks of the space card), nothing known of the other features.
PRIOR_MEANS = (math.log(100), -0.65, 0.0, 0.0, 0.0)
PRIOR_DEVIATIONS = (3.0, 0.5, 0.5, 0.5, 0.5)
# Deviation of the logarithm between networks of equal features, and how many networks that belief counts for.
PRIOR_NOISE, PRIOR_NOISE_COUNT = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class Belief:
    """The posterior of the coefficients, and the deviation of the noise.

    Attributes:
        means: (features + 1,); ``covariance`` is square.
    """

    means: Any
    covariance: Any
    noise: float


def features(architecture: Architecture, analysis: Analysis) -> tuple[float, ...]:
    """Return a network's row of the model, the constant first."""
    raw = (
        math.log(analysis.parameters),
        math.log(max(1, analysis.macs)),
        float(len(kernels(architecture.ops))),
        float(min(WIDEST_FIELD, analysis.receptive_field)),
    )
    scaled = ((value - centre) / width for value, centre, width in zip(raw, CENTRES, WIDTHS, strict=True))
    return (1.0, *scaled)


def fitted(observed: Sequence[tuple[tuple[float, ...], float]]) -> Belief:
    """Return the belief after networks of these features made so many errors.

    Conjugate normal regression (Bishop, Pattern Recognition and Machine Learning, section 3.3), the noise estimated
    from the residuals together with its prior.
    """
    prior_means = np.array(PRIOR_MEANS)
    prior_precision = np.diag(1 / np.array(PRIOR_DEVIATIONS) ** 2)
    if not observed:
        return Belief(prior_means, np.linalg.inv(prior_precision), PRIOR_NOISE)
    rows = np.array([row for row, _ in observed])  # (networks, features + 1)
    logs = np.log([max(1.0, errors) for _, errors in observed])
    noise = PRIOR_NOISE
    for _ in range(3):
        precision = prior_precision + rows.T @ rows / noise**2
        covariance = np.linalg.inv(precision)
        means = covariance @ (prior_precision @ prior_means + rows.T @ logs / noise**2)
        squares = float(((logs - rows @ means) ** 2).sum())
        noise = math.sqrt((PRIOR_NOISE_COUNT * PRIOR_NOISE**2 + squares) / (PRIOR_NOISE_COUNT + len(observed)))
    return Belief(means, covariance, noise)


def best(
    belief: Belief,
    networks: Sequence[tuple[tuple[float, ...], int]],
    ceiling: int,
    most_errors: float,
    rng: random.Random,
) -> int:
    """Return the index of the network that is worth most by one draw from the belief.

    A network is worth its chance to make at most ``most_errors`` errors times what the ceiling would fall by, in the
    logarithm.

    Args:
        networks: features and parameters of each.
        ceiling: in parameters, the smallest size that has passed, or the budget.
    """
    draws = np.array([rng.gauss(0, 1) for _ in belief.means])
    coefficients = belief.means + np.linalg.cholesky(belief.covariance) @ draws
    limit = math.log(max(1.0, most_errors))

    def worth(network: tuple[tuple[float, ...], int]) -> float:
        row, parameters = network
        margin = (limit - float(np.dot(row, coefficients))) / belief.noise
        # The tail far out is flat at zero in floating point; its logarithm keeps the order.
        return _log_normal_share(margin) + math.log(max(1e-9, math.log((ceiling + 1) / parameters)))

    return max(range(len(networks)), key=lambda index: worth(networks[index]))


def _log_normal_share(margin: float) -> float:
    """Return the logarithm of the standard normal distribution function."""
    if margin > -8:
        return math.log(0.5 * math.erfc(-margin / math.sqrt(2)))
    # Mills' ratio: the tail is the density over the distance.
    return -margin * margin / 2 - math.log(-margin * math.sqrt(2 * math.pi))
