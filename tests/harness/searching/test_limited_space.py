"""Default space of a search, by data set, image shape and chip."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest

from harness.data.datasets import DATASETS
from harness.searching.limited_space import usual_space
from harness.searching.time_budget import step_macs_of
from harness.spaces.catalog import space
from harness.spaces.chips import CHIPS
from harness.spaces.network import MNIST, Analysis, Task
from harness.spaces.space import draw, judge, uniform

USER_DATASET = replace(DATASETS["mnist"], name="mine", sha256="a" * 64)


def accepted_draws(name: str, task: Task, draws: int) -> list[Analysis]:
    """Return the analyses of the accepted networks of uniform draws from a space."""
    search_space = space(name, task)
    generator = random.Random(0)
    judgements = [judge(search_space, draw(search_space, uniform(generator)).architecture) for _ in range(draws)]
    return [each.analysis for each in judgements if each.analysis is not None and each.accepted]


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        *(((1, 1, 24), "series"), ((16, 1, 1500), "series"), ((4, 3, 3), "small"), ((1, 11, 60), "small")),
        *(((1, 12, 12), "pictures"), ((1, 28, 28), "pictures"), ((16, 40, 40), "pictures")),
        *(((1, 41, 41), "large"), ((3, 12, 64), "large"), ((3, 128, 128), "large"), ((3, 200, 150), "large")),
    ],
)
def test_usual_space_suits_shape_of_user_images(shape: tuple[int, int, int], name: str):
    assert usual_space(replace(USER_DATASET, image_shape=shape)) == name
    assert len(accepted_draws(name, Task(shape, 10), 200)) > 20


@pytest.mark.parametrize("name", DATASETS)
def test_usual_space_of_named_datasets_is_space_of_prior(name: str):
    assert usual_space(DATASETS[name]) == "all"


@pytest.mark.parametrize(
    ("shape", "chip", "name"),
    [((1, 28, 28), "ATmega328P", "minute"), ((1, 64, 64), "ATmega328P", "minute"), ((1, 64, 64), "ESP32-C3", "large")],
)
def test_usual_space_for_chip_with_little_memory_has_small_maps(shape: tuple[int, int, int], chip: str, name: str):
    data = replace(USER_DATASET, image_shape=shape)

    assert usual_space(data, CHIPS[chip].limits(data.task)) == name


def median_work(name: str, task: Task) -> float:
    return statistics.median(map(step_macs_of, accepted_draws(name, task, 600)))


def test_work_of_networks_for_large_images_is_close_to_work_on_mnist():
    mnist_work = median_work("all", MNIST)

    assert median_work("large", Task((1, 96, 96), 10)) <= 1.25 * mnist_work
    assert median_work("large", Task((3, 96, 96), 10)) <= 1.25 * mnist_work
    assert median_work("all", Task((3, 64, 64), 10)) > 1.5 * mnist_work
