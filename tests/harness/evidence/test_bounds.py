"""Lower bounds, verdicts and futility, compared with SciPy, printed tables, analyses of variance and simulations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.data.datasets import DATASETS
from harness.data.groups import CrossedEffects, GroupErrors, independent_cases, over_groups_pct
from harness.evidence import bounds, leaderboard_table, record
from harness.evidence.bounds import ErrorRatio, image_effects, is_futile
from harness.evidence.ledger import Attempt, AttemptResult, Ledger
from harness.evidence.record import Record
from harness.studies.standing import Standing
from harness.system import statistics
from harness.system.statistics import lower_bound
from measurements import false_answers
from tests.conftest import REPOSITORY
from tests.factories import make_record

ACCURACIES = [99.46, 99.40, 99.38, 99.41, 99.42, 99.45]


# Seeds and images --------------------------------------------------------------------------------


def error_matrix(wrong_images: list[list[int]], images: int) -> np.ndarray:
    """Return a matrix of seeds by images: 1 if the prediction of the seed is wrong, else 0."""
    matrix = np.zeros((len(wrong_images), images))
    for seed, indices in enumerate(wrong_images):
        matrix[seed, indices] = 1
    return matrix


def mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of rows, columns and residuals in a two-way analysis of variance."""
    seeds, images = table.shape
    grand, rows, columns = table.mean(), table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    residuals = table - rows - columns + grand
    return (
        images * ((rows - grand) ** 2).sum() / (seeds - 1),
        seeds * ((columns - grand) ** 2).sum() / (images - 1),
        (residuals**2).sum() / ((seeds - 1) * (images - 1)),
    )


def wrong_image_lists(table: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in table]


def variance_components(wrong_images: list[list[int]], images: int) -> CrossedEffects:
    estimate = image_effects(wrong_images, images)
    assert estimate is not None
    return estimate


@st.composite
def wrong_images_and_size(draw: st.DrawFn) -> tuple[list[list[int]], int]:
    """Draw the wrong images of each seed, and the number of images."""
    images = draw(st.integers(2, 12))
    image_lists = st.sets(st.integers(0, images - 1)).map(sorted)
    return draw(st.lists(image_lists, min_size=2, max_size=6)), images


@settings(max_examples=40)
@given(case=wrong_images_and_size())
def test_standard_errors_equal_analysis_of_variance(case: tuple[list[list[int]], int]):
    wrong_images, images = case
    table = error_matrix(wrong_images, images)
    of_seeds, of_images, of_residuals = mean_squares(table)

    estimate = variance_components(wrong_images, images)

    assert estimate.seeds_error_pct == pytest.approx(100 * math.sqrt(of_seeds / table.size), abs=1e-6)
    assert estimate.images_error_pct == pytest.approx(100 * math.sqrt(of_images / table.size), abs=1e-6)
    of_both = max(0.0, of_seeds + of_images - of_residuals)
    assert estimate.error_pct == pytest.approx(100 * math.sqrt(of_both / table.size), abs=1e-5)


def test_components_equal_values_computed_by_hand():
    # Grand mean 5/12. Sums of squares: seeds 1/6, images 9/4, residuals 1/2; degrees of freedom 2, 3 and 6.
    estimate = variance_components([[0, 1], [0], [0, 1]], 4)

    assert estimate.seeds_error_pct == pytest.approx(100 / 12)
    assert estimate.images_error_pct == pytest.approx(25)
    assert estimate.error_pct == pytest.approx(25)
    assert estimate.freedom == pytest.approx((3 / 4) ** 2 / ((1 / 12) ** 2 / 2 + (3 / 4) ** 2 / 3 + (1 / 12) ** 2 / 6))


def test_degrees_of_freedom_follow_satterthwaite():
    random = np.random.default_rng(3)
    table = (random.random((7, 50)) < random.random(50) * 0.4).astype(float)
    of_seeds, of_images, of_residuals = mean_squares(table)
    denominator = of_seeds**2 / 6 + of_images**2 / 49 + of_residuals**2 / (6 * 49)

    estimate = variance_components(wrong_image_lists(table), 50)

    assert estimate.freedom == pytest.approx((of_seeds + of_images - of_residuals) ** 2 / denominator)


@pytest.mark.parametrize(("wrong_images", "images"), [([], 10), ([[1, 2]], 10), ([[0], [0]], 1)])
def test_components_need_two_seeds_and_two_images(wrong_images: list[list[int]], images: int):
    assert image_effects(wrong_images, images) is None


@pytest.mark.parametrize("wrong_images", [[[], [], []], [list(range(8))] * 2])
def test_standard_error_is_zero_without_variance(wrong_images: list[list[int]]):
    assert variance_components(wrong_images, 8).error_pct == 0


def test_bound_over_images_covers_samples_of_seeds_and_images():
    # The difficulty of images varies much, the quality of seeds little.
    random = np.random.default_rng(20)

    def sample(seeds: int, images: int) -> np.ndarray:
        difficulty, seed_factors = random.beta(0.5, 1, images), random.lognormal(0, 0.05, (seeds, 1))
        return (random.random((seeds, images)) < np.minimum(1, difficulty * seed_factors)).astype(float)

    true_accuracy_pct = 100 - 100 * np.mean([sample(1, 500).mean() for _ in range(4_000)])
    valid_bounds, valid_bounds_over_seeds = 0, 0
    for _ in range(400):
        table = sample(8, 200)
        valid_bounds += (bounds.over_images(wrong_image_lists(table), 200) or 0.0) <= true_accuracy_pct
        valid_bounds_over_seeds += lower_bound((100 - 100 * table.mean(1)).tolist(), 0.95) <= true_accuracy_pct

    # The standard error of a share of 0.99 among 400 samples is 0.005.
    assert valid_bounds / 400 >= 0.975
    assert valid_bounds_over_seeds / 400 < 0.88


@given(st.integers(40, 400), st.data(), st.integers(2, 30))
def test_bound_over_images_of_equal_seeds_equals_bound_of_one_seed(images: int, data: st.DataObject, seeds: int):
    errors = data.draw(st.integers(0, images))
    estimate = bounds.over_images([list(range(errors))] * seeds, images)

    # Clopper and Pearson's one-sided bound at 99 % is the lower end of the two-sided interval at 98 %.
    exact = 100 * stats.binomtest(images - errors, images).proportion_ci(0.98, "exact").low
    # The bound over seeds allows 4.6 / seeds further errors per seed; this bound is lower if almost no image is right.
    over_seeds = 100 * (1 - (errors + stats.gamma.ppf(0.99, 1) / seeds) / images)
    assert estimate == pytest.approx(max(0.0, min(exact, over_seeds)), abs=1e-6)


def test_bound_over_images_counts_groups_instead_of_images():
    # Seven groups without an error count as seven correct predictions out of seven.
    exact = 100 * stats.binomtest(7, 7, alternative="greater").proportion_ci(0.99).low

    assert bounds.over_images([[]] * 6, 630, [90] * 7) == pytest.approx(exact)
    grouped, ungrouped = (bounds.over_images([[1, 2, 3]] * 6, 630, sizes) or 0 for sizes in ([90] * 7, []))
    assert grouped < ungrouped


# Groups ------------------------------------------------------------------------------------------


def korn_graubard_bound_pct(share: float, error: float, freedom: int, images: int, confidence: float) -> float:
    """Return the lower bound of Korn and Graubard (1998) on the accuracy, per cent, with SciPy's distributions.

    Args:
        share: Share of wrong images.
        error: Standard error of the share.
        freedom: Degrees of freedom of the standard error.
        images: Number of images.
        confidence: Confidence of the bound.
    """
    cases = min(images, share * (1 - share) / error**2 + 1 if error else images)
    cases *= (stats.t.ppf(confidence, images - 1) / stats.t.ppf(confidence, freedom)) ** 2
    return float(100 * (1 - stats.beta.ppf(confidence, share * cases + 1, cases * (1 - share))))


@pytest.mark.parametrize("confidence", [0.98, 0.99])
def test_bound_over_groups_of_equal_seeds_uses_standard_error_between_groups(confidence: float):
    # Equal groups: the cluster-robust error is the standard error of the mean of the group accuracies.
    errors = [0, 1, 0, 12, 3, 0, 2]
    error = stats.sem([count / 90 for count in errors])

    bound = over_groups_pct([errors] * 6, [90] * 7, confidence)

    assert bound == pytest.approx(korn_graubard_bound_pct(18 / 630, error, 6, 630, confidence))
    assert bound < bounds.lower_bound_pct([18] * 6, 630, confidence)


def test_bound_over_groups_counts_variance_of_seeds_and_of_unequal_groups():
    # Linearised values of the ratio (Woodruff 1971) in a two-way analysis of variance.
    random = np.random.default_rng(3)
    sizes = np.array([20, 35, 50, 80, 41, 33, 60, 25])
    group_shares = random.beta(2, 18, len(sizes))
    errors = random.binomial(sizes, np.outer(np.array([0.4, 0.7, 1.0, 1.3, 1.6, 1.9]), group_shares))
    share = errors.sum() / (6 * sizes.sum())
    of_seeds, of_groups, of_residuals = mean_squares(errors - share * sizes)
    assert of_seeds > of_residuals
    of_both = of_seeds + of_groups - of_residuals
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    freedom = min(int(of_both**2 / (of_seeds**2 / 5 + of_groups**2 / 7 + of_residuals**2 / 35)), int(effective - 1))
    error = math.sqrt(of_both * len(sizes) / 6) / sizes.sum()

    bound = over_groups_pct(errors.tolist(), sizes.tolist(), 0.98)

    assert bound == pytest.approx(korn_graubard_bound_pct(share, error, freedom, int(sizes.sum()), 0.98))


@pytest.mark.parametrize(("groups", "size"), [(5, 40), (7, 40), (20, 40)])
def test_bound_over_groups_falls_with_each_error(groups: int, size: int):
    # From no error to two errors in all groups but the last.
    cases = [[(group < count) + (group + groups < count) for group in range(groups)] for count in range(2 * groups)]
    bounds_pct = [over_groups_pct([errors] * 6, [size] * groups, 0.98) for errors in cases]

    assert bounds_pct == sorted(bounds_pct, reverse=True)
    assert bounds_pct[0] == pytest.approx(korn_graubard_bound_pct(0, 0, groups - 1, groups * size, 0.98))
    assert bounds_pct[0] - bounds_pct[1] < 1.3
    # Equal shares of errors in all groups do not prove that the images are independent.
    equal_shares_bound_pct = korn_graubard_bound_pct(1 / size, 0, groups - 1, groups * size, 0.98)
    assert bounds_pct[groups] == pytest.approx(equal_shares_bound_pct)


@pytest.mark.parametrize(("confidence", "fewest"), [(0.98, 5), (0.9975, 8)])
def test_bound_over_groups_uses_effective_number_of_groups(confidence: float, fewest: int):
    # ``fewest`` groups of two kinds, 45 % worse, contain no worse group with at most four times the error probability.
    assert stats.binom.pmf(0, fewest, 0.45) <= 4 * (1 - confidence) < stats.binom.pmf(0, fewest - 1, 0.45)
    assert over_groups_pct([[0] * (fewest - 1)] * 6, [40] * (fewest - 1), confidence) == -math.inf
    equal_bound_pct = over_groups_pct([[0] * fewest] * 6, [40] * fewest, confidence)
    assert equal_bound_pct == pytest.approx(korn_graubard_bound_pct(0, 0, fewest - 1, 40 * fewest, confidence))
    # One large group decides alone: 7.1 effective groups of 20, with six degrees of freedom.
    sizes = [200, *[20] * 19]
    bound_pct = over_groups_pct([[0] * 20] * 6, sizes, confidence)
    expected_pct = korn_graubard_bound_pct(0, 0, 6, 580, confidence) if fewest < 7 else -math.inf
    assert bound_pct == pytest.approx(expected_pct)
    small_groups = GroupErrors([1_000, *[20] * 6], dict.fromkeys(range(6), [0] * 7))
    judgement, _ = bounds.standing_of(dict.fromkeys(range(6), 0), 1_120, 50.0, [range(6)], groups=small_groups)
    assert judgement is Standing.AT_TARGET


def test_copies_count_as_effective_number_of_pictures():
    # Without an error, the bound is that of Clopper and Pearson for the effective number of pictures (Kish), corrected.
    sizes = [31, 12, 5, *[2] * 10, *[1] * 40]
    effective = sum(sizes) ** 2 / sum(size**2 for size in sizes)
    correction = (stats.t.ppf(0.98, sum(sizes) - 1) / stats.t.ppf(0.98, int(effective - 1))) ** 2

    bound_pct = over_groups_pct([[0] * len(sizes)] * 6, sizes, 0.98, pictures=effective)

    assert bound_pct == pytest.approx(100 * 0.02 ** (1 / (effective * correction)))
    assert bound_pct < over_groups_pct([[0] * len(sizes)] * 6, sizes, 0.98)


@pytest.mark.parametrize("group_by", ["", "image"])
def test_copies_in_groups_of_the_user_count_as_pictures(group_by: str, monkeypatch: pytest.MonkeyPatch):
    groups = tuple(image % 50 for image in range(10_000))
    spec = replace(
        DATASETS["mnist"],
        group_by=group_by,
        test_group_sizes=(200,) * 50,
        test_groups=groups,
        test_pictures=50.0,
    )
    monkeypatch.setattr(record, "dataset", lambda name: spec)

    groups_of_record = make_record([0] * 6).group_errors
    errors = dict.fromkeys(range(6), 0)
    _, bound_pct = bounds.standing_of(errors, 10_000, 90.0, [range(6)], confidence=0.98, groups=groups_of_record)

    assert bound_pct is not None
    assert bound_pct < 100 * 0.02 ** (1 / 50)  # of Clopper and Pearson for 50 pictures without an error


@pytest.mark.parametrize("count", [6, 20])
def test_bounds_for_arrays_equal_bounds_of_the_program(count: int):
    random = np.random.default_rng(count)
    for _ in range(60):
        sizes = random.integers(2, 60, random.integers(5, 14)).tolist()
        errors = random.binomial(
            sizes, random.random(len(sizes)) * random.choice([0, 0.02, 0.3, 1]), (count, len(sizes))
        )
        confidence = float(random.choice([0.98, 0.984, 0.9975]))
        are_copies = bool(random.integers(2))
        totals = errors.sum(1)

        by_seeds = false_answers.lower_bounds(totals[None], sum(sizes), confidence)
        by_groups = false_answers.group_bounds(errors[None], sizes, confidence, are_copies=are_copies)

        assert by_seeds == pytest.approx(bounds.lower_bound_pct(totals.tolist(), sum(sizes), confidence), abs=1e-7)
        pictures = independent_cases(sizes) if are_copies else 0.0
        expected_pct = over_groups_pct(errors.tolist(), sizes, confidence, pictures=pictures)
        assert by_groups == pytest.approx(expected_pct, abs=1e-7)


@pytest.mark.parametrize(
    ("layout", "sizes", "kind"),
    [
        ("200, 19 x 20", (200, *[20] * 19), false_answers.points((0.5,), 0.95)),
        ("5 groups", (40,) * 5, false_answers.points((0.5,), 0.95)),
        ("8 groups", (40,) * 8, false_answers.points((0.5,), 0.95)),
        ("copies", (31, 12, 5, *[2] * 10, *[1] * 40), false_answers.COPY_KIND),
    ],
)
def test_networks_below_target_rarely_pass_with_groups(layout: str, sizes: tuple[int, ...], kind: false_answers.Kind):
    (case,) = false_answers.group_shares(500, {layout: sizes}, [kind], (90.0,))

    # With 500 studies the standard error is 1.3 and 0.4 points.
    assert case["stated"]
    assert case["verified"] <= 0.1
    assert case["certified"] <= 0.022


def test_errors_concentrated_in_one_group_do_not_prove_target():
    sizes = [90] * 7
    even_errors, concentrated_errors = [1] * 7, [7, 0, 0, 0, 0, 0, 0]

    def judge(errors: list[int]) -> Standing:
        groups = GroupErrors(sizes, dict.fromkeys(range(6), errors))
        return bounds.standing_of(dict.fromkeys(range(6), 7), 630, 97.0, [range(6)], groups=groups)[0]

    assert bounds.standing_of(dict.fromkeys(range(6), 7), 630, 97.0, [range(6)])[0] is Standing.VERIFIED
    assert (judge(even_errors), judge(concentrated_errors)) == (Standing.VERIFIED, Standing.AT_TARGET)
    assert over_groups_pct([[0]] * 6, [90], 0.98) == -math.inf


@pytest.mark.parametrize("images", [40, 300])
@pytest.mark.parametrize("hard_share", [0.02, 0.2])
def test_bound_over_images_holds_if_few_images_are_hard(images: int, hard_share: float):
    # A share of the images is hard: a seed misclassifies a hard image with probability 2/3, other images never.
    random = np.random.default_rng(images)
    true_accuracy_pct = 100 * (1 - hard_share * 2 / 3)
    repeats = 2_000
    violations = 0
    for _ in range(repeats):
        is_hard = random.random(images) < hard_share
        estimate = bounds.over_images(wrong_image_lists(is_hard & (random.random((6, images)) < 2 / 3)), images)
        violations += estimate is not None and estimate > true_accuracy_pct

    # 1 % plus two standard errors.
    assert violations / repeats <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / repeats)


def test_components_equal_figures_of_external_audit():
    # An external audit computed these figures from the recorded wrong images.
    [path] = (REPOSITORY / "records").glob("eab8ffbcd93d-*.json")
    evidence = record.read(path)

    estimate = variance_components([[image for image, _ in run.wrong] for run in evidence.seeds], 10_000)

    assert len(evidence.seeds) == 20
    assert round(estimate.seeds_error_pct, 3) == 0.008
    assert 0.055 <= round(estimate.images_error_pct, 3) <= 0.056
    assert 0.055 <= round(estimate.error_pct, 3) <= 0.056


# The end of a certification ----------------------------------------------------------------------


def make_attempt(evidence: Record, **changes: Any) -> Attempt:
    declared_utc = "2026-11-20T07:00:00+00:00"
    attempt = Attempt(number=1, **evidence.key._asdict(), first_index=0, seeds=20, declared_utc=declared_utc, rules=2)
    return replace(attempt, **changes)


@pytest.mark.parametrize(("errors", "outcome"), [(55, AttemptResult.CERTIFIED), (62, AttemptResult.FAILED)])
def test_ending_uses_declared_seeds_only(errors: int, outcome: AttemptResult):
    # The last two seeds are not declared; including these seeds would lower the bound far below the target.
    evidence = make_record([*(errors + index % 3 for index in range(20)), 500, 500], beacon="1" * 40)
    accuracies = [100 - (errors + index % 3) / 100 for index in range(20)]
    expected_bound_pct = stats.ttest_1samp(accuracies, 0, alternative="greater").confidence_interval(0.99).low

    computed_outcome, bound_pct = make_attempt(evidence).result(evidence)

    assert computed_outcome is outcome
    assert bound_pct == pytest.approx(expected_bound_pct, abs=1e-9)


def test_attempt_is_open_while_a_seed_is_missing():
    evidence = make_record([40] * 19)

    assert make_attempt(evidence).result(evidence) == (AttemptResult.OPEN, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"alpha": 0.5}, "alpha"),
        ({"seeds": 10}, "seeds"),
        ({"lower_bound_pct": 99.7}, "outcome"),
        # Rules 1 allowed predictable seeds, and are closed to new attempts.
        ({"rules": 1}, "rules"),
    ],
)
def test_contradiction_names_field_that_breaks_rules(changes: dict[str, Any], field: str):
    evidence = make_record([40] * 20, beacon="1" * 40)
    attempt = make_attempt(evidence, outcome=AttemptResult.CERTIFIED, lower_bound_pct=99.6)
    assert attempt.contradiction(evidence) is None

    broken_attempt = replace(attempt, **changes)

    assert (broken_attempt.contradiction(evidence) or "").startswith(f"attempt 1: {field}: ")


def test_errors_of_unknown_groups_are_assigned_to_fewest_groups(monkeypatch: pytest.MonkeyPatch):
    dataset = replace(DATASETS["mnist"], name="grouped", test_group_sizes=(1, 2, 4, 9_993), test_groups=())
    monkeypatch.setitem(DATASETS, "grouped", dataset)

    assert make_record([9_994], dataset="grouped").group_errors.errors == {0: [0, 0, 1, 9_993]}


@pytest.mark.parametrize(
    ("sizes", "ending", "certified"),
    [
        # 1.2 effective groups, which the first bound over groups under rules 4 did not take into account.
        ([9_050, *[50] * 19], (AttemptResult.CERTIFIED, 99.5), False),
        ([9_050, *[50] * 19], (AttemptResult.FAILED, None), False),
        # The data were read again after the attempt, so the group of each image is known now.
        ([500] * 20, (AttemptResult.CERTIFIED, 99.41), True),
        ([500] * 20, (AttemptResult.FAILED, 99.39), False),
    ],
)
def test_attempt_on_groups_is_judged_by_current_bound_and_keeps_row(
    sizes: list[int], ending: tuple[AttemptResult, float | None], certified: bool, monkeypatch: pytest.MonkeyPatch
):
    dataset = replace(DATASETS["mnist"], name="grouped", test_group_sizes=tuple(sizes), test_groups=())
    monkeypatch.setitem(DATASETS, "grouped", dataset)
    evidence = make_record([4, 5] * 10, beacon="1" * 40, dataset="grouped")
    outcome, bound = ending
    attempt = make_attempt(evidence, alpha=0.01, rules=4, outcome=outcome, lower_bound_pct=bound)

    row = leaderboard_table.LeaderboardRow.of(evidence, Ledger([attempt]))

    assert attempt.contradiction(evidence) is None
    assert attempt.is_certified(evidence) == certified == (row.tier is Standing.CERTIFIED)
    assert ("attempt 1" in row.note) == (outcome is AttemptResult.CERTIFIED and not certified)
    if certified:
        # All errors lie in one of twenty equal groups: the bound of Korn and Graubard (1998) at 99.75 %.
        error_counts = np.zeros((20, 20))
        error_counts[:, 0] = [4, 5] * 10
        deviations = error_counts.mean(0) - error_counts.mean()
        error = math.sqrt((deviations**2).sum() / 19 / 20) / 500
        share = 4.5 / 10_000
        correction = (stats.t.ppf(0.9975, 9_999) / stats.t.ppf(0.9975, 19)) ** 2
        cases = min(10_000, share * (1 - share) / error**2 + 1) * correction
        expected_pct = 100 * (1 - stats.beta.ppf(0.9975, share * cases + 1, (1 - share) * cases))
        assert row.lower_bound_pct == pytest.approx(expected_pct, abs=1e-3)


# Bounds over seeds, and verdicts -------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors", [[3] * 6, [0] * 20, [12, 12, 13, 12, 12, 12], [50, 61, 44, 58, 70, 41], [0, 9, 0, 0, 0], [0, 190]]
)
@pytest.mark.parametrize("confidence", [0.9, 0.98, 0.99])
def test_lower_bound_is_smaller_of_student_and_poisson_bounds(errors: list[int], confidence: float):
    # Garwood's interval follows from the chi-squared distribution.
    errors_above_least = sum(errors) - min(errors) * len(errors)
    garwood_errors = min(errors) + stats.chi2.ppf(confidence, 2 * (errors_above_least + 1)) / 2 / len(errors)
    accuracies = [100 - count / 2 for count in errors]
    student_bound_pct = np.mean(accuracies) - stats.t.ppf(confidence, len(errors) - 1) * stats.sem(accuracies)

    bound_pct = bounds.lower_bound_pct(errors, 200, confidence)

    assert bound_pct == pytest.approx(max(0, min(student_bound_pct, 100 - garwood_errors / 2)), abs=1e-9)
    assert bound_pct < np.mean(accuracies)


@pytest.mark.parametrize(
    ("errors", "declared", "judgement"),
    [
        ([50] * 6, [range(6)], Standing.VERIFIED),
        ([50] * 6, [range(6), range(6, 8)], Standing.MEASURED),
        ([50] * 4, [range(4)], Standing.MEASURED),
        ([], [range(4)], Standing.MEASURED),
        ([61] * 6, [range(6)], Standing.MISSED),
        ([60] * 6, [range(6)], Standing.AT_TARGET),
        # If seeds are declared singly, the first five decide.
        ([66, 59, 58, 57, 60, 40, 40, 40, 40, 40], [[at] for at in range(10)], Standing.AT_TARGET),
        (
            [70, 59, 58, 57, 60, 40, 40, 40, 40, 40],
            [[0], range(1, 5), *([at] for at in range(5, 10))],
            Standing.MISSED,
        ),
        # Undeclared seeds were run before declarations existed, so these seeds come first.
        ([61] * 5 + [20] * 5, [range(5, 10)], Standing.MISSED),
    ],
)
def test_judgement_follows_order_of_declarations(errors: list[int], declared: list[Sequence[int]], judgement: Standing):
    assert bounds.standing_of(dict(enumerate(errors)), 10_000, 99.4, declared)[0] is judgement


@pytest.mark.parametrize(
    ("fresh", "recorded", "is_worse"),
    [
        ([9_000], [55, 57, 58, 56, 59, 58], True),
        ([60], [55, 57, 58, 56, 59, 58], False),
        ([58], [58] * 20, False),
        ([70], [58] * 20, True),
        ([9_000], [55], False),
        ([90, 91, 95], [55, 57, 58, 56, 59, 58], True),
    ],
)
def test_is_worse_compares_repeat_with_record(fresh: list[int], recorded: list[int], is_worse: bool):
    assert bounds.is_worse(fresh, recorded, 10_000) is is_worse


@pytest.mark.parametrize(("seeds", "share"), [(6, 0.276), (6, 0.5), (20, 0.276), (20, 0.5)])
def test_share_of_false_answers_with_seeds_of_two_kinds(seeds: int, share: float):
    # The number of worse seeds is binomial. Two numbers of errors far apart, whose mean is just above the target.
    confidence = 0.98 if seeds == 6 else 0.9975
    better, worse = 4_000, 6_000
    target_pct = 100 - (better + share * (worse - better)) / 100 + 1e-6
    passing = [
        count
        for count in range(seeds + 1)
        if bounds.lower_bound_pct([worse] * count + [better] * (seeds - count), 10_000, confidence) >= target_pct
    ]
    rate = float(sum(stats.binom.pmf(count, seeds, share) for count in passing))

    if seeds == 6:
        # Only six good seeds pass. With 27.6 % worse seeds (skewness 1), two looks exceed 10 %.
        assert passing == [0]
        assert rate == pytest.approx((1 - share) ** 6)
        assert (rate == pytest.approx(0.724**6)) == (share == 0.276)
        assert (1 - (1 - rate) ** 2 <= 0.1) == (share == statistics.WORST_SHARE)
    else:
        assert (rate <= 0.01) == (share == statistics.WORST_SHARE)
    assert (false_answers.points((share,), 1.0).is_stated) == (share == statistics.WORST_SHARE)
    assert false_answers.points((0.276,), 1.0).skewness == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("seeds", [*range(5, 23), 25, 30])
def test_stated_shares_of_worse_seeds_are_within_limits_with_any_number_of_seeds(seeds: int):
    better = 4_000
    gap = 2_000
    counts = np.arange(seeds + 1)
    shares = np.arange(statistics.WORST_SHARE, 1, 0.005)[:, None]
    chances = stats.binom.pmf(counts, seeds, shares)

    def false_shares(confidence: float) -> Any:
        """Return the probability that a network just below the target passes, by share of worse seeds."""
        errors = [[better + gap] * count + [better] * (seeds - count) for count in counts]
        lowest = np.array([bounds.lower_bound_pct(each, 10_000, confidence) for each in errors])
        targets = 100 - (better + shares * gap) / 100 + 1e-6
        return np.where(lowest >= targets, chances, 0).sum(1)

    looks = [false_shares(false_answers.look_confidence(look)) for look in range(2)]
    assert (1 - (1 - looks[0]) * (1 - looks[1])).max() <= 0.1
    if seeds >= false_answers.CERTIFICATE_SEEDS:
        assert false_shares(false_answers.CERTIFYING_CONFIDENCE).max() <= 0.01


@pytest.mark.parametrize(
    "kind",
    [
        false_answers.points((0.5,), 1.0),
        false_answers.points((0.4, 0.5), 1.0, 0.45),
        false_answers.Kind("gamma", 0.25),
        false_answers.Kind("lognormal", 0.16),
        false_answers.Kind("reversed", 0.25),
    ],
    ids=str,
)
def test_shares_of_false_answers_stay_within_limits(kind: false_answers.Kind):
    case = false_answers.shares(kind, 3_000, sizes=(40, 500, 10_000), targets=(90.0, 97.0, 99.5))

    # The largest of nine shares, each of 3,000 studies, lies up to three standard errors above the true share.
    assert case["stated"]
    assert case["verified"] <= 0.1 + 3 * (0.1 * 0.9 / 3_000) ** 0.5
    assert case["certified"] <= 0.01 + 3 * (0.01 * 0.99 / 3_000) ** 0.5


@pytest.mark.parametrize(("family", "spread"), [("gamma", 0.3), ("reversed", 0.2), ("lognormal", 0.2)])
def test_skewness_of_simulated_seeds(family: str, spread: float):
    kind = false_answers.Kind(family, spread)
    values = kind.factors((400_000,), np.random.default_rng(0))

    assert (values.mean(), values.std()) == (pytest.approx(1, abs=0.003), pytest.approx(spread, rel=0.02))
    assert stats.skew(values) == pytest.approx(kind.skewness, abs=0.04)


def test_later_seeds_do_not_verify():
    # So the simulation draws the seeds declared first only.
    random = np.random.default_rng(5)
    for errors in random.poisson(55, (200, 10)).tolist():
        first = dict(enumerate(errors[:6]))
        all_seeds = dict(enumerate(errors))
        judgement, _ = bounds.standing_of(all_seeds, 10_000, 99.4, [range(6), range(6, 10)])
        assert judgement is not Standing.VERIFIED or (
            bounds.standing_of(first, 10_000, 99.4, [range(6)])[0] is Standing.VERIFIED
        )


# Futility ----------------------------------------------------------------------------------------


def simulated_chances(accuracies: list[float], declared: int, target_pct: float) -> tuple[float, float]:
    """Simulate the probability that an attempt passes: draw deviation, mean and remaining seeds in turn.

    Returns:
        Probability with the standard deviation of the observed seeds in the bound, and with the deviation of all seeds.
    """
    random = np.random.default_rng(0)
    count, left, draws = len(accuracies), declared - len(accuracies), 100_000
    deviation = np.std(accuracies, ddof=1)
    sigmas = deviation * np.sqrt((count - 1) / random.chisquare(count - 1, draws))
    means = random.normal(np.mean(accuracies), sigmas / np.sqrt(count))
    # (worlds, declared)
    seeds = np.concatenate([np.tile(accuracies, (draws, 1)), random.normal(means, sigmas, (left, draws)).T], axis=1)
    # 2.5395 is t(0.99, 19) in printed tables.
    bounds_pct = seeds.mean(axis=1)[:, None] - 2.5395 * np.stack(
        [np.full(draws, deviation), seeds.std(axis=1, ddof=1)], axis=1
    ) / np.sqrt(declared)
    with_observed_deviation, with_final_deviation = np.mean(bounds_pct >= target_pct, axis=0)
    return float(with_observed_deviation), float(with_final_deviation)


@pytest.mark.parametrize("target_pct", [99.35, 99.38, 99.4, 99.43])
@pytest.mark.parametrize("accuracies", [ACCURACIES[:5], ACCURACIES, ACCURACIES * 3])
def test_chance_equals_simulation(accuracies: list[float], target_pct: float):
    with_observed_deviation, with_final_deviation = simulated_chances(accuracies, 20, target_pct)

    assert bounds._chance(accuracies, 20, target_pct) == pytest.approx(with_observed_deviation, abs=0.006)
    # ``_chance`` ignores that the remaining seeds change the standard deviation.
    assert bounds._chance(accuracies, 20, target_pct) == pytest.approx(with_final_deviation, abs=0.06)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([1_201], True),  # more errors than twenty seeds may have in total
        ([1_200], False),
        ([80, 81, 79, 80], False),  # fewer than five seeds do not decide
        ([80, 81, 79, 80, 80], True),
        ([54, 60, 62, 59, 58, 55], False),
        # Probabilities 0.0099 and 0.0100 (rounded), by SciPy; the bound has 19 degrees of freedom.
        ([66, 55, 56, 62, 60, 54, 51, 65, 63, 64, 64, 61, 50], True),
        ([59, 64, 59, 54, 63, 58, 61, 58, 63, 63], True),
        ([60, 59] * 10, False),  # the bound decides after the last seed
        ([80] * 20, False),
    ],
)
def test_is_futile_finds_attempts_that_cannot_pass(errors: list[int], expected: bool):
    assert is_futile(errors, 10_000, 20, 99.4) is expected


# Thresholds of validation ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_pct", "threshold_pct"),
    # Errors that the target allows, divided by 0.8.
    [(100.0, 100.0), (99.6, 99.5), (99.4, 99.25), (98.0, 97.5), (0.0, 0.0)],
)
def test_threshold_follows_from_error_ratio(
    target_pct: float, threshold_pct: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    measurement = {"errors_ratio": 0.8, "relative_error": 0.05, "network_deviation": 0.06, "protocol": "five folds"}
    (tmp_path / "error-ratios.json").write_text(json.dumps({"mnist": measurement}))
    monkeypatch.setattr(bounds, "files", lambda package: tmp_path)

    ratio = ErrorRatio.of(DATASETS["mnist"], target_pct)

    assert ratio.threshold_pct(target_pct) == pytest.approx(threshold_pct, abs=1e-5)
    assert (ratio.network_deviation, ratio.images_deviation) == (0.06, None)
    # Without a measured ratio the margin is one standard error over the validation images.
    unmeasured, error_share = replace(DATASETS["kmnist"], validation_size=100, folds=5), 1 - target_pct / 100
    margin_pct = 100 * min(math.sqrt(error_share * (1 - error_share) / 500), error_share / 2)
    assert ErrorRatio.of(unmeasured, target_pct).threshold_pct(target_pct) == pytest.approx(target_pct + margin_pct)
    assert ErrorRatio.of(unmeasured, target_pct).relative_error is None
