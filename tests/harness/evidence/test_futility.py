"""When a certification is given up: what cannot succeed, and what hardly can."""

from __future__ import annotations

import numpy as np
import pytest

from harness.evidence.futility import chance, is_futile

CLOSE = [99.45, 99.41, 99.39, 99.39, 99.42, 99.44]


def simulated(seen: list[float], declared: int, target: float) -> float:
    """The same chance by drawing deviation, mean and remaining seeds in turn from what is known of them."""
    draws = np.random.default_rng(0)
    count, left, worlds = len(seen), declared - len(seen), 400_000
    deviation = np.std(seen, ddof=1)
    sigmas = deviation * np.sqrt((count - 1) / draws.chisquare(count - 1, worlds))
    means = draws.normal(np.mean(seen), sigmas / np.sqrt(count))
    rest = draws.normal(means, sigmas / np.sqrt(left))
    # t(0.99, 19) in the printed tables.
    bound = (count * np.mean(seen) + left * rest) / declared - 2.5395 * deviation / np.sqrt(declared)
    return float(np.mean(bound >= target))


@pytest.mark.parametrize("target", [99.35, 99.38, 99.4, 99.43])
@pytest.mark.parametrize("seen", [CLOSE[:5], CLOSE, CLOSE * 3])
def test_the_chance_is_that_of_simulated_seeds(seen: list[float], target: float):
    assert chance(seen, 20, target) == pytest.approx(simulated(seen, 20, target), abs=0.004)


@pytest.mark.parametrize(("target", "expected"), [(99.4, 1.0), (99.41, 0.0)])
def test_seeds_that_are_all_alike_leave_nothing_to_chance(target: float, expected: float):
    assert chance([99.4] * 5, 20, target) == expected


def test_a_sum_of_errors_that_the_rest_cannot_mend_is_futile_after_one_seed():
    assert is_futile([1_201], 10_000, 20, 99.4)
    assert not is_futile([1_200], 10_000, 20, 99.4)


def test_few_seeds_say_too_little_to_give_up():
    assert not is_futile([80, 81, 79, 80], 10_000, 20, 99.4)
    assert is_futile([80, 81, 79, 80, 80], 10_000, 20, 99.4)


def test_what_may_still_succeed_goes_on():
    assert not is_futile([round(100 * (100 - accuracy)) for accuracy in CLOSE], 10_000, 20, 99.4)


def test_a_whole_attempt_is_judged_by_its_bound_and_not_by_a_chance():
    assert not is_futile([60, 59] * 9 + [60, 61], 10_000, 20, 99.4)
