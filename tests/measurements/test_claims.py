"""Measurements of public claims: augmentation, schedules, confidence intervals, and the committed page."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from harness.evidence import leaderboard_table
from measurements import claims_page
from measurements.claims_training import Schedule, affine_matrix, augment, sample
from tests.conftest import REPOSITORY

IMAGES = torch.from_numpy(np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32))


def full(value: float) -> torch.Tensor:
    return torch.full((3,), value)


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(90, 1.0, (0, 0)), (0, 1.0, (3, -2)), (13, 0.8, (1, 2)), (-7, 1.2, (-2, 0))]
)
def test_affine_sampling_equals_pillow(degrees: float, scale: float, shift: tuple[int, int]):
    matrix = affine_matrix(torch.deg2rad(full(degrees)), full(0.0), full(scale), full(shift[0]), full(shift[1]))

    results = sample(IMAGES, matrix, "nearest", 0.0)

    centre = 14.0
    angle = np.radians(degrees)
    forward = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(forward)
    offset = centre - inverse @ (centre + np.array(shift))
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    for image, result in zip(IMAGES, results, strict=True):
        expected = Image.fromarray(image[0].numpy()).transform(
            (28, 28), Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST
        )
        # Rounding decides positions halfway between two pixels.
        assert np.mean(np.asarray(expected) != result[0].numpy()) < 0.02


def test_augmentation_keeps_shape_and_range_and_is_identity_without_settings():
    settings = {"crop": 0.5, "rotation": 10.0, "jitter": {"brightness": 0.1, "contrast": 0.1}}

    images = augment(IMAGES, settings)

    assert images.shape == IMAGES.shape
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert torch.equal(augment(IMAGES, {}), IMAGES)


def test_one_cycle_peaks_at_max_lr_and_steps_decay_by_gamma():
    recipe = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "epochs": 2}
    cycle = {**recipe, "schedule": {"name": "OneCycleLR", "max_lr": 0.1}}
    rates = []
    schedule = Schedule(cycle, 50)
    for _ in range(2):
        rates += schedule.epoch()[0]
        schedule.end_epoch(1.0)
    step_schedule = Schedule({**recipe, "schedule": {"name": "StepLR", "step_size": 1, "gamma": 0.1}}, 3)
    first_rates = step_schedule.epoch()[0]
    step_schedule.end_epoch(1.0)

    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[-1] < 1e-3
    assert first_rates == [0.01] * 3
    assert step_schedule.epoch()[0] == pytest.approx([0.001] * 3)


def test_intervals_equal_scipy():
    values = [0.02, 0.05, 0.01, 0.07]
    mean, low, high = claims_page.mean_interval(values)
    width = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2

    assert (mean, low, high) == pytest.approx((np.mean(values), np.mean(values) - width, np.mean(values) + width))
    # Clopper-Pearson interval by quantiles of the beta distribution.
    assert claims_page.share_interval(3, 10) == pytest.approx(
        (100 * stats.beta.ppf(0.025, 3, 8), 100 * stats.beta.ppf(0.975, 4, 7))
    )


def test_committed_page_and_rows_equal_results():
    claims = claims_page.read_claims()

    assert (REPOSITORY / "docs/evidence/claims.md").read_text(encoding="utf-8") == claims_page.page(claims)
    assert claims_page.ROWS.read_text(encoding="utf-8") == claims_page.leaderboard_claims(claims)


def test_page_counts_parameters_as_leaderboard():
    rows = leaderboard_table.read(REPOSITORY / "leaderboard.csv")
    parameters_by_name = {row.name: row.parameters for row in rows}
    claims = [claim for claim in claims_page.read_claims() if f"claim{claim.facts['nr']}" in parameters_by_name]

    assert len(claims) > 50
    assert all(claim.parameters == parameters_by_name[f"claim{claim.facts['nr']}"] for claim in claims)
    # The sources of 15 and 38 have a layer that is not used; the networks equal the claims.
    equal = {claim.facts["nr"] for claim in claims if claim.parameters == claim.facts["claimed_parameters"]}
    assert {15, 38} <= equal
