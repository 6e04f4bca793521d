"""The bound over seeds and images, held to a two-way analysis of variance of the whole matrix of zeros and ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from harness.evidence import record
from harness.evidence.variance_components import Components, components
from harness.system.statistics import lower_bound
from tests.conftest import REPOSITORY


def matrix(wrong: list[list[int]], images: int) -> np.ndarray:
    """One row a seed, one column an image, 1 where the seed is wrong."""
    found = np.zeros((len(wrong), images))
    for seed, missed in enumerate(wrong):
        found[seed, missed] = 1
    return found


def squares(found: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of rows, of columns, and of what neither explains, from the residuals themselves."""
    seeds, images = found.shape
    grand, rows, columns = found.mean(), found.mean(1, keepdims=True), found.mean(0, keepdims=True)
    rest = found - rows - columns + grand
    return (
        images * ((rows - grand) ** 2).sum() / (seeds - 1),
        seeds * ((columns - grand) ** 2).sum() / (images - 1),
        (rest**2).sum() / ((seeds - 1) * (images - 1)),
    )


def lists(found: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in found]


def made(wrong: list[list[int]], images: int) -> Components:
    found = components(wrong, images)
    assert found is not None
    return found


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[int]], int]:
    """Lists of wrong images, and the number of images."""
    images = draw(st.integers(2, 12))
    missed = st.sets(st.integers(0, images - 1)).map(sorted)
    return draw(st.lists(missed, min_size=2, max_size=6)), images


@settings(max_examples=40)
@given(table=tables())
def test_standard_errors_are_those_of_an_analysis_of_variance(table: tuple[list[list[int]], int]):
    wrong, images = table
    whole = matrix(wrong, images)
    of_seeds, of_images, of_rest = squares(whole)

    found = made(wrong, images)

    assert found.seeds == len(wrong)
    assert found.mean_pct == pytest.approx(100 * (1 - whole.mean()))
    assert found.seeds_error_pct == pytest.approx(100 * math.sqrt(of_seeds / whole.size), abs=1e-6)
    assert found.images_error_pct == pytest.approx(100 * math.sqrt(of_images / whole.size), abs=1e-6)
    both = max(0.0, of_seeds + of_images - of_rest)
    assert found.error_pct == pytest.approx(100 * math.sqrt(both / whole.size), abs=1e-5)


def test_figures_of_a_small_case_worked_out_by_hand():
    # Grand mean 5/12; sums of squares 1/6 of seeds, 9/4 of images, 1/2 of the rest, with 2, 3 and 6 degrees.
    found = made([[0, 1], [0], [0, 1]], 4)

    assert found.mean_pct == pytest.approx(100 * 7 / 12)
    assert found.seeds_error_pct == pytest.approx(100 / 12)
    assert found.images_error_pct == pytest.approx(25)
    assert found.error_pct == pytest.approx(25)
    assert found.freedom == pytest.approx((3 / 4) ** 2 / ((1 / 12) ** 2 / 2 + (3 / 4) ** 2 / 3 + (1 / 12) ** 2 / 6))


def test_degrees_of_freedom_are_satterthwaite_s():
    source = np.random.default_rng(3)
    whole = (source.random((7, 50)) < source.random(50) * 0.4).astype(float)
    of_seeds, of_images, of_rest = squares(whole)
    spread = of_seeds**2 / 6 + of_images**2 / 49 + of_rest**2 / (6 * 49)

    found = made(lists(whole), 50)

    assert found.freedom == pytest.approx((of_seeds + of_images - of_rest) ** 2 / spread)
    whole_degrees = math.floor(found.freedom)
    assert found.lower_bound_pct(0.95) == pytest.approx(found.mean_pct - t.ppf(0.95, whole_degrees) * found.error_pct)


@settings(max_examples=40)
@given(table=tables(), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_it_is_never_above_the_bound_over_seeds_alone(table: tuple[list[list[int]], int], confidence: float):
    wrong, images = table
    accuracies = [100 - 100 * len(missed) / images for missed in wrong]

    assert made(wrong, images).lower_bound_pct(confidence) <= lower_bound(accuracies, confidence) + 1e-6


def test_seeds_that_miss_different_images_by_chance_do_not_make_it_surer_than_seeds_alone():
    # No image is harder than another, and the rest is as large as the part of the seeds: what is left is nothing.
    found = made([[0, 1, 2], [3]], 4)

    assert found.error_pct == 0
    assert found.seeds_error_pct == pytest.approx(25)
    assert found.lower_bound_pct(0.95) == pytest.approx(lower_bound([25, 75], 0.95))


@pytest.mark.parametrize(("wrong", "images"), [([], 10), ([[1, 2]], 10), ([[0], [0]], 1)])
def test_one_seed_or_one_image_says_nothing(wrong: list[list[int]], images: int):
    assert components(wrong, images) is None


def test_seeds_that_are_all_equal_leave_the_images_alone():
    # Five times the same 30 of 1,000 images: a binomial sample of 1,000.
    found = made([list(range(30))] * 5, 1_000)

    assert found.seeds_error_pct == 0
    assert found.images_error_pct == pytest.approx(100 * math.sqrt(0.03 * 0.97 / 999))
    assert found.error_pct == pytest.approx(found.images_error_pct)
    assert found.lower_bound_pct(0.99) == pytest.approx(97 - t.ppf(0.99, 999) * found.error_pct)


@pytest.mark.parametrize(("wrong", "mean_pct"), [([[], [], []], 100), ([list(range(8))] * 2, 0)])
def test_without_any_spread_the_bound_is_the_mean(wrong: list[list[int]], mean_pct: float):
    found = made(wrong, 8)

    assert (found.error_pct, found.mean_pct, found.lower_bound_pct(0.99)) == (0, mean_pct, mean_pct)


def test_the_bound_holds_where_seeds_and_images_are_both_a_sample():
    # Images of very different difficulty, seeds that are a little better or worse; the truth by plain simulation.
    source = np.random.default_rng(20)

    def drawn(seeds: int, images: int) -> np.ndarray:
        hard, luck = source.beta(0.5, 1, images), source.lognormal(0, 0.05, (seeds, 1))
        return (source.random((seeds, images)) < np.minimum(1, hard * luck)).astype(float)

    truth = 100 - 100 * np.mean([drawn(1, 500).mean() for _ in range(4_000)])
    held, held_by_seeds = 0, 0
    for _ in range(400):
        whole = drawn(8, 200)
        held += made(lists(whole), 200).lower_bound_pct(0.95) <= truth
        held_by_seeds += lower_bound((100 - 100 * whole.mean(1)).tolist(), 0.95) <= truth

    # The standard error of a share of 400 that should be 0.95 is 0.011.
    assert 0.92 <= held / 400 <= 0.98
    assert held_by_seeds / 400 < 0.88


def test_figures_of_the_audited_row():
    # As an audit by other people worked them out from the lists of wrong images.
    [path] = (REPOSITORY / "records").glob("eab8ffbcd93d-*.json")
    evidence = record.read(path)

    found = made([[image for image, _ in run.wrong] for run in evidence.seeds], 10_000)

    assert found.seeds == 20
    assert round(found.seeds_error_pct, 3) == 0.008
    assert 0.055 <= round(found.images_error_pct, 3) <= 0.056
    assert 0.055 <= round(found.error_pct, 3) <= 0.056
    assert round(found.lower_bound_pct(0.99), 2) == 99.30
    assert round(found.lower_bound_pct(0.95), 2) == 99.34
