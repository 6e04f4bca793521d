"""Tests of what a search asks for by itself: the space, by the shape of the images."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest

from harness.data.datasets import DATASETS
from harness.searching.resolve import usual_space
from harness.searching.time_budget import work_of
from search_spaces.catalog import space
from search_spaces.chips import CHIPS
from search_spaces.network import MNIST, Analysis, Task
from search_spaces.space import draw, judge, uniform

OWN = replace(DATASETS["mnist"], name="mine", sha256="a" * 64)


def accepted(name: str, task: Task, draws: int) -> list[Analysis]:
    """Return those networks of a few draws that the space accepts."""
    suiting = space(name, task)
    generator = random.Random(0)
    judgements = [judge(suiting, draw(suiting, uniform(generator)).architecture) for _ in range(draws)]
    return [each.analysis for each in judgements if each.analysis is not None and each.accepted]


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1, 1, 24), "series"),
        ((16, 1, 1500), "series"),
        ((4, 3, 3), "small"),
        ((1, 11, 60), "small"),
        ((1, 12, 12), "pictures"),
        ((1, 28, 28), "pictures"),
        ((16, 40, 40), "pictures"),
        ((1, 41, 41), "large"),
        ((3, 12, 64), "large"),
        ((3, 128, 128), "large"),
        ((3, 200, 150), "large"),
    ],
)
def test_the_space_suits_the_shape_of_one_s_own_images(shape: tuple[int, int, int], name: str):
    assert usual_space(replace(OWN, image_shape=shape)) == name
    assert len(accepted(name, Task(shape, 10), 200)) > 20


@pytest.mark.parametrize("name", DATASETS)
def test_mnist_and_its_kin_keep_the_space_that_its_prior_is_of(name: str):
    assert usual_space(DATASETS[name]) == "all"


@pytest.mark.parametrize(
    ("shape", "chip", "name"),
    [((1, 28, 28), "ATmega328P", "minute"), ((1, 64, 64), "ATmega328P", "minute"), ((1, 64, 64), "ESP32-C3", "large")],
)
def test_a_chip_without_the_memory_for_usual_maps_has_small_ones(shape: tuple[int, int, int], chip: str, name: str):
    assert usual_space(replace(OWN, image_shape=shape), CHIPS[chip]) == name


def median_work(name: str, task: Task) -> float:
    return statistics.median(map(work_of, accepted(name, task, 600)))


def test_a_step_on_large_pictures_costs_about_what_it_costs_on_mnist():
    usual = median_work("all", MNIST)

    assert median_work("large", Task((1, 96, 96), 10)) <= 1.25 * usual
    assert median_work("large", Task((3, 96, 96), 10)) <= 1.25 * usual
    assert median_work("all", Task((3, 64, 64), 10)) > 1.5 * usual
