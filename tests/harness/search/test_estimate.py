"""What the time of a search allows: estimates against numbers worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.search.estimate import EARLY_MACS, PACES, affordable_macs, macs_within, slowdown, taught, training_seconds
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result

IMAGES = 50_000
TORCH = PACES["torch"]


def test_an_estimate_is_the_sum_over_all_images():
    # 15 epochs of 50,000 images, 0.19 ms each and 0.042 ns a multiply-add.
    assert training_seconds(15, IMAGES, 0, TORCH) == pytest.approx(142.5)
    assert training_seconds(15, IMAGES, 1_000_000, TORCH) == pytest.approx(142.5 + 31.5)


def test_the_largest_network_within_a_time_just_keeps_it():
    draw = random.Random(0)
    for _ in range(200):
        epochs, macs = draw.randint(1, 40), draw.randint(0, 10_000_000)
        seconds = training_seconds(epochs, IMAGES, macs, TORCH)

        # One multiply-add is what rounding may cost.
        assert macs - 1 <= macs_within(seconds, epochs, IMAGES, TORCH) <= macs
        more = macs_within(1.5 * seconds, epochs, IMAGES, TORCH)
        assert training_seconds(epochs, IMAGES, more, TORCH) <= 1.5 * seconds


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 142.0])
def test_no_network_trains_in_less_than_the_fixed_part(seconds: float):
    assert macs_within(seconds, 15, IMAGES, TORCH) == 0


def test_the_native_engine_takes_a_multiply_add_s_time_only():
    # seed4 has 3.4 million: 4,600 images a second were measured.
    assert training_seconds(1, IMAGES, 3_400_000, PACES["native"]) == pytest.approx(IMAGES / 4600, rel=0.1)


def test_a_student_takes_the_time_of_its_teachers_forward_passes_too():
    macs = 8 * 9 * 784 + 80
    recipe = Recipe(teacher="conv3x3(8) bn relu | gap | linear(10)", teacher_recipe=Recipe(), teacher_seeds=3)

    more = training_seconds(1, IMAGES, 1000, taught(TORCH, recipe)) - training_seconds(1, IMAGES, 1000, TORCH)

    # A training step is a forward pass and two of its kind back.
    assert more == pytest.approx(IMAGES * 4.2e-11 * 3 * macs / 3)
    assert taught(TORCH, Recipe()) == TORCH


def measured(new_result: Callable[..., Result], epochs: int, seconds: float) -> Result:
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 60) for number in range(1, epochs + 1))
    return replace(new_result(), history=history, train_seconds=seconds, macs=1_000_000)


def test_a_slowdown_is_the_measured_over_the_estimated_seconds_of_all_runs(new_result: Callable[..., Result]):
    # 11.6 s an epoch are estimated: 10 + 5 epochs are 174 s.
    runs = [measured(new_result, 10, 300.0), measured(new_result, 5, 48.0)]

    assert slowdown(runs, IMAGES, TORCH) == pytest.approx(2.0)
    assert slowdown(iter(runs), IMAGES, TORCH) == pytest.approx(2.0)


def test_runs_without_an_epoch_or_a_size_tell_nothing(new_result: Callable[..., Result]):
    crashed = measured(new_result, 0, 100.0)
    unknown = replace(measured(new_result, 10, 100.0), macs=0)

    assert slowdown([], IMAGES, TORCH) is None
    assert slowdown([crashed, unknown], IMAGES, TORCH) is None
    assert slowdown([crashed, measured(new_result, 10, 116.0)], IMAGES, TORCH) == pytest.approx(1.0)


def test_what_can_be_afforded_is_what_trains_confirms_and_verifies_in_the_time():
    # One worker: 1 search run, 3 more of them to stand, 5 of 1.2 times the length to verify; 80 % of 4 hours.
    one = 0.8 * 14_400 / (1 + 3 + 5 * 1.2)
    # Of two workers one confirms, three times, and both verify, in 3 rounds of 1.2.
    two = 0.8 * 14_400 / (1 + 3 + 3 * 1.2)

    assert (
        affordable_macs(14_400, 14_400, 1, 15, IMAGES, TORCH, 1.0) == macs_within(one, 15, IMAGES, TORCH) > EARLY_MACS
    )
    assert affordable_macs(14_400, 14_400, 2, 15, IMAGES, TORCH, 1.0) == macs_within(two, 15, IMAGES, TORCH)
    assert affordable_macs(14_400, 14_400, 2, 15, IMAGES, TORCH, 2.0) == macs_within(two / 2, 15, IMAGES, TORCH)


def test_what_can_be_afforded_falls_with_the_time_left_to_nothing():
    found = [affordable_macs(14_400, 14_400 - 1440 * tenth, 2, 15, IMAGES, TORCH, 1.0) or 0 for tenth in range(11)]

    assert found == sorted(found, reverse=True)
    # The first 20 % are for networks that lose.
    assert found[0] == found[2] > found[3] > found[4]
    assert found[-1] == 0


def test_in_the_first_half_a_slow_machine_still_tries_small_networks():
    assert affordable_macs(2700, 1351, 2, 15, IMAGES, TORCH, 100.0) == EARLY_MACS
    assert affordable_macs(2700, 1350, 2, 15, IMAGES, TORCH, 100.0) == 0


def test_there_is_no_limit_without_an_end_or_a_measurement():
    assert affordable_macs(None, 2700, 2, 15, IMAGES, TORCH, 1.0) is None
    assert affordable_macs(2700, 2700, 2, 15, IMAGES, TORCH, None) is None
