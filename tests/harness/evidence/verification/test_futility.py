"""When a certification is given up: what cannot succeed, and what hardly can."""

from __future__ import annotations

import numpy as np
import pytest

from harness.evidence.verification.futility import chance, is_futile

CLOSE = [99.46, 99.40, 99.38, 99.41, 99.42, 99.45]


def simulated(seen: list[float], declared: int, target: float) -> tuple[float, float]:
    """The same chance by drawing deviation, mean and remaining seeds in turn from what is known of them.

    Returns:
        With the deviation seen so far in the bound, and with that of all seeds.
    """
    draws = np.random.default_rng(0)
    count, left, worlds = len(seen), declared - len(seen), 100_000
    deviation = np.std(seen, ddof=1)
    sigmas = deviation * np.sqrt((count - 1) / draws.chisquare(count - 1, worlds))
    means = draws.normal(np.mean(seen), sigmas / np.sqrt(count))
    # (worlds, declared)
    seeds = np.concatenate([np.tile(seen, (worlds, 1)), draws.normal(means, sigmas, (left, worlds)).T], axis=1)
    # t(0.99, 19) in the printed tables.
    reach = seeds.mean(axis=1)[:, None] - 2.5395 * np.stack(
        [np.full(worlds, deviation), seeds.std(axis=1, ddof=1)], axis=1
    ) / np.sqrt(declared)
    known, own = np.mean(reach >= target, axis=0)
    return float(known), float(own)


@pytest.mark.parametrize("target", [99.35, 99.38, 99.4, 99.43])
@pytest.mark.parametrize("seen", [CLOSE[:5], CLOSE, CLOSE * 3])
def test_the_chance_is_that_of_simulated_seeds(seen: list[float], target: float):
    known, own = simulated(seen, 20, target)

    assert chance(seen, 20, target) == pytest.approx(known, abs=0.006)
    # What it leaves out: that the remaining seeds change the deviation.
    assert chance(seen, 20, target) == pytest.approx(own, abs=0.06)


@pytest.mark.parametrize("declared", range(20, 61))
def test_seeds_that_are_all_alike_leave_nothing_to_chance(declared: int):
    for seen in range(5, declared):
        assert chance([100 * (1 - 60 / 10_000)] * seen, declared, 99.4) == 1
        assert chance([100 * (1 - 61 / 10_000)] * seen, declared, 99.4) == 0


def test_a_sum_of_errors_that_the_rest_cannot_mend_is_futile_after_one_seed():
    assert is_futile([1_201], 10_000, 20, 99.4)
    assert not is_futile([1_200], 10_000, 20, 99.4)


def test_few_seeds_say_too_little_to_give_up():
    assert not is_futile([80, 81, 79, 80], 10_000, 20, 99.4)
    assert is_futile([80, 81, 79, 80, 80], 10_000, 20, 99.4)


def test_what_may_still_succeed_goes_on():
    assert not is_futile([round(100 * (100 - accuracy)) for accuracy in CLOSE], 10_000, 20, 99.4)


@pytest.mark.parametrize("errors", [[60, 59] * 10, [80] * 20])
def test_a_whole_attempt_is_judged_by_its_bound_and_not_by_a_chance(errors: list[int]):
    assert not is_futile(errors, 10_000, 20, 99.4)
