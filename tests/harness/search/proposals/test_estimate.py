"""What the time of a search allows: estimates against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from harness.search.clock import (
    PACES,
    Pace,
    TimeLeft,
    Timing,
    add_timing,
    scaled,
    slowdown,
    taught,
    training_seconds,
)
from harness.search.features import work
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

IMAGES = 50_000
PACE = Pace(1e-4, 2e-11)
# 36 * 784 + 40 multiply-adds, 4 * 784 + 4 + 10 numbers in its maps, 9 of them each, and 86 parameters, 22 each.
NETWORK = "conv3x3(4) gap linear(10)"
WORK = 28_264 + 9 * 3_150 + 22 * 86


def test_an_estimate_is_the_sum_over_all_images():
    # 15 epochs of 50,000 images, 0.1 ms each and 0.02 ns a multiply-add.
    assert training_seconds(15, IMAGES, 0, PACE) == pytest.approx(75.0)
    assert training_seconds(15, IMAGES, 1_000_000, PACE) == pytest.approx(75.0 + 15.0)


# Two trainings of the gate's searches, at once on one core of 229 GFLOP/s: seconds and epochs.
@pytest.mark.parametrize(
    ("text", "epochs", "seconds"),
    [
        (f"conv3x3(8) bn relu | avgpool | {' '.join(['conv3x3(12, pad=0) bn relu'] * 4)} | gap | linear(10)", 20, 57.4),
        (
            "conv3x3(14, stride=2) bn relu | conv3x3(4) bn relu dropout(0.05) | avgpool | "
            f"{' '.join(['conv3x3(24, pad=0) bn relu'] * 3)} | gap | linear(10)",
            30,
            64.1,
        ),
    ],
)
def test_the_native_engine_takes_what_was_measured(text: str, epochs: int, seconds: float):
    estimated = training_seconds(epochs, IMAGES, work(parse_network(text), MNIST), PACES["native"])

    assert estimated == pytest.approx(seconds, rel=0.1)


def test_a_student_takes_the_time_of_its_teachers_forward_passes_too():
    recipe = Recipe(teacher=NETWORK, teacher_recipe=Recipe(), teacher_seeds=3)

    more = training_seconds(1, IMAGES, 1000, taught(PACE, recipe, MNIST)) - training_seconds(1, IMAGES, 1000, PACE)

    # A training step is a forward pass and two of its kind back.
    assert more == pytest.approx(IMAGES * 2e-11 * 3 * WORK / 3)
    assert taught(PACE, Recipe(), MNIST) == PACE


def test_a_slower_machine_takes_so_many_times_as_long():
    assert training_seconds(3, IMAGES, 7e5, scaled(PACE, 2.5)) == pytest.approx(
        2.5 * training_seconds(3, IMAGES, 7e5, PACE)
    )


# What was measured ------------------------------------------------------------------------------------------


def timed(runs: Iterable[Result], place: Callable[[Result], str] = lambda run: "") -> Timing:
    found = Timing(IMAGES, PACE)
    for run in runs:
        add_timing(found, run, WORK, place(run))
    return found


def measured(new_result: Callable[..., Result], epochs: int, seconds: float) -> Result:
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 60) for number in range(1, epochs + 1))
    return replace(new_result(NETWORK), history=history, train_seconds=seconds)


def test_a_slowdown_is_the_measured_over_the_estimated_seconds_of_all_runs(new_result: Callable[..., Result]):
    one = IMAGES * (1e-4 + 2e-11 * WORK)
    runs = [measured(new_result, 10, 25 * one), measured(new_result, 5, 5 * one)]

    assert work(parse_network(NETWORK), MNIST) == pytest.approx(WORK)
    assert slowdown(timed(runs)) == pytest.approx(2.0)


def test_runs_without_an_epoch_or_a_size_tell_nothing(new_result: Callable[..., Result]):
    one = IMAGES * (1e-4 + 2e-11 * WORK)
    crashed = measured(new_result, 0, 100.0)
    unknown = replace(measured(new_result, 10, 100.0), macs=0)

    known = measured(new_result, 10, 10 * one)

    assert slowdown(timed([])) is None
    assert slowdown(timed([crashed, unknown])) is None
    assert slowdown(timed([crashed, known])) == pytest.approx(1.0)


def test_of_several_places_the_slowest_by_all_its_runs_is_told(new_result: Callable[..., Result]):
    one = 10 * IMAGES * (1e-4 + 2e-11 * WORK)
    seconds = (("a", 1.0), ("b", 4.0), ("a", 3.0), ("b", 1.0), ("c", 2.2))
    runs = [replace(measured(new_result, 10, factor * one), node=node) for node, factor in seconds]

    assert slowdown(timed(runs, lambda run: run.node)) == pytest.approx(2.5)
    assert slowdown(timed(runs)) == pytest.approx((1 + 4 + 3 + 1 + 2.2) / 5)


# Room -------------------------------------------------------------------------------------------------------


def test_there_is_room_for_a_training_that_takes_as_long_as_one_may():
    time_left = TimeLeft(IMAGES, PACE, seconds=90.0)

    assert time_left.takes(15, 1_000_000) == pytest.approx(90.0)
    assert time_left.has(15, 999_999)
    assert not time_left.has(15, 1_000_001)
    assert time_left.has(8, 1_000_001)


def test_without_an_end_there_is_room_for_everything():
    assert TimeLeft(IMAGES, PACE).has(10_000, 1e12)
    assert TimeLeft(IMAGES, PACE).left == math.inf
    assert not TimeLeft(IMAGES, PACE, seconds=0.0).has(1, 0)


def test_the_order_of_the_runs_does_not_matter_to_the_last_bit(new_result: Callable[..., Result]):
    runs = [measured(new_result, 1 + number % 7, 0.1 * 1.7**number) for number in range(40)]

    assert slowdown(timed(runs)) == slowdown(timed(reversed(runs)))
