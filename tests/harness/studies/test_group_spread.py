"""Spread of errors between groups of images, and confirmations on folds of groups."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.data.groups import GroupCounts
from harness.studies.candidate import Candidate, needed_share
from harness.studies.config import config_document
from harness.training.result import Purpose
from tests import searches
from tests.factories import make_proposal, make_result

PRIOR_SHARE = 0.5  # relative deviation between groups before any network is known, with four degrees of freedom
COUNTS = GroupCounts(folds=5, validation=30.0, test=10.0)


def make_candidate(*errors: int, groups: GroupCounts | None = COUNTS) -> Candidate:
    """Return a candidate with errors of 10,000 images on its fresh seeds, of which 1,000 are allowed."""
    fresh = [
        make_result(errors=count, validation_size=10_000, purpose=Purpose.CONFIRM, seed_index=index)
        for index, count in enumerate(errors)
    ]
    first = make_result(errors=600, validation_size=10_000)
    seeds = 2 if groups is None else groups.folds
    return Candidate(make_proposal(0), 100, first, fresh, confirm_seeds=seeds, threshold_pct=90.0, groups=groups)


def test_fold_square_converges_to_variance_components_of_data():
    draw = np.random.default_rng(0)
    counts = GroupCounts(folds=400, validation=800.0, test=10.0)
    # Two groups per fold, common difficulties of the folds, networks of different size, and seeds.
    difficulty = draw.normal(1, 0.3, (800, 2)).mean(axis=1)[:400]
    rates = [[size * fold * (1 + draw.normal(0, 0.08)) for fold in difficulty] for size in (2, 10, 30)]

    assert counts.fold_square(0.08**2, rates) == pytest.approx(0.3**2 / 2 + 0.08**2, rel=0.1)
    # The variance between groups, without seeds, decides how far the ten test groups may be from all groups.
    unseen_square = counts.unseen_square(counts.fold_square(0.08**2, rates), 0.08**2)
    assert unseen_square == pytest.approx(0.3**2 / 10, rel=0.1)


def test_fold_square_without_errors_on_two_folds_is_prior():
    usual = PRIOR_SHARE**2 * 5 / 30 + 0.08**2

    assert COUNTS.fold_square(0.08**2) == pytest.approx(usual)
    assert COUNTS.fold_square(0.08**2, [[12.0], [0.0, 0.0]]) == pytest.approx(usual)
    assert COUNTS.mean_share == pytest.approx(math.sqrt(PRIOR_SHARE**2 * (1 / 30 + 1 / 10)))


@pytest.mark.parametrize("errors", [(600, 600, 600, 600, 600), (500, 700, 650, 600, 620), (200, 300, 1100, 500, 900)])
def test_chance_to_verify_accounts_for_folds_and_test_groups(errors: tuple[int, ...]):
    relative = np.array(errors) / np.mean(errors) - 1
    fold_square = (4 * (PRIOR_SHARE**2 * 5 / 30 + 0.08**2) + (relative**2).sum()) / 8
    test_square = (fold_square - 0.08**2) * 30 / 5 / 10
    spread = math.sqrt(fold_square / 5 + test_square + 0.08**2 / 6 + 0.032**2)

    expected = stats.t.cdf(math.log(1000), 8, math.log(np.mean(errors)), spread)

    assert make_candidate(*errors).chance_to_verify == pytest.approx(expected, abs=1e-9)


def test_uneven_errors_between_folds_require_larger_margin():
    robust = make_candidate(600, 640, 620, 610, 630)
    uneven = make_candidate(200, 300, 1000, 700, 900)

    assert np.mean(robust.fresh_pct) == pytest.approx(np.mean(uneven.fresh_pct))
    assert (robust.is_confirmed, uneven.is_confirmed) == (True, False)
    # The five folds cover all groups, so further seeds give no new groups.
    assert (robust.most_seeds, uneven.is_refuted) == (5, True)
    assert not make_candidate(600, 640, 620, 610).is_confirmed
    # Without groups, two seeds with these errors suffice.
    assert make_candidate(640, 620, groups=None).is_confirmed


def test_needed_share_is_largest_mean_error_that_average_folds_confirm():
    # The errors differ between folds as the prior expects, so the estimate equals the prior, with 4 + 4 degrees of
    # freedom.
    fold_square = PRIOR_SHARE**2 * 5 / 30 + 0.08**2
    spread = math.sqrt(fold_square / 5 + PRIOR_SHARE**2 / 10 + 0.08**2 / 6 + 0.032**2)

    assert needed_share(5, COUNTS) == pytest.approx(math.exp(-1.39682 * spread), rel=1e-4)
    # Networks of the study with uneven errors lower the share, networks with even errors raise the share.
    uneven, even = ([[10.0, 20, 5, 30, 10]], [[10.0, 11, 9, 10, 10]])
    assert needed_share(5, COUNTS, uneven) < needed_share(5, COUNTS) < needed_share(5, COUNTS, even)
    # Few groups on either side require a larger margin.
    assert needed_share(5, replace(COUNTS, test=2.0)) < needed_share(5, COUNTS)


def test_config_without_group_counts_has_document_of_earlier_versions():
    config = searches.config(group_folds=5)
    document = config_document(config)

    assert document["group_folds"] == 5
    assert not {"validation_groups", "test_groups"} & document.keys()
    assert config.groups is None
