"""Bounds: over seeds and images held to an analysis of variance, certifications to t tables, futility to simulation."""

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

from benchmarks import false_answers
from harness.data.datasets import DATASETS
from harness.evidence import bounds, leaderboard_table, record
from harness.evidence.bounds import Judgement, _Components, components, error_ratio_of, is_futile
from harness.evidence.leaderboard_table import Tier
from harness.evidence.ledger import Attempt, AttemptOutcome, Ledger
from harness.evidence.record import Record
from harness.system.statistics import lower_bound
from tests.conftest import REPOSITORY
from tests.factories import make_record

CLOSE = [99.46, 99.40, 99.38, 99.41, 99.42, 99.45]


# Seeds and images --------------------------------------------------------------------------------


def matrix(wrong: list[list[int]], images: int) -> np.ndarray:
    """One row a seed, one column an image, 1 where the seed is wrong."""
    matrix = np.zeros((len(wrong), images))
    for seed, missed in enumerate(wrong):
        matrix[seed, missed] = 1
    return matrix


def squares(wrong: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of rows, of columns, and of what neither explains, from the residuals themselves."""
    seeds, images = wrong.shape
    grand, rows, columns = wrong.mean(), wrong.mean(1, keepdims=True), wrong.mean(0, keepdims=True)
    rest = wrong - rows - columns + grand
    return (
        images * ((rows - grand) ** 2).sum() / (seeds - 1),
        seeds * ((columns - grand) ** 2).sum() / (images - 1),
        (rest**2).sum() / ((seeds - 1) * (images - 1)),
    )


def lists(wrong: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in wrong]


def made(wrong: list[list[int]], images: int) -> _Components:
    estimate = components(wrong, images)
    assert estimate is not None
    return estimate


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

    estimate = made(wrong, images)

    assert estimate.seeds_error_pct == pytest.approx(100 * math.sqrt(of_seeds / whole.size), abs=1e-6)
    assert estimate.images_error_pct == pytest.approx(100 * math.sqrt(of_images / whole.size), abs=1e-6)
    both = max(0.0, of_seeds + of_images - of_rest)
    assert estimate.error_pct == pytest.approx(100 * math.sqrt(both / whole.size), abs=1e-5)


def test_figures_of_a_small_case_worked_out_by_hand():
    # Grand mean 5/12; sums of squares 1/6 of seeds, 9/4 of images, 1/2 of the rest, with 2, 3 and 6 degrees.
    estimate = made([[0, 1], [0], [0, 1]], 4)

    assert estimate.seeds_error_pct == pytest.approx(100 / 12)
    assert estimate.images_error_pct == pytest.approx(25)
    assert estimate.error_pct == pytest.approx(25)
    assert estimate.freedom == pytest.approx((3 / 4) ** 2 / ((1 / 12) ** 2 / 2 + (3 / 4) ** 2 / 3 + (1 / 12) ** 2 / 6))


def test_degrees_of_freedom_are_satterthwaite_s():
    source = np.random.default_rng(3)
    whole = (source.random((7, 50)) < source.random(50) * 0.4).astype(float)
    of_seeds, of_images, of_rest = squares(whole)
    spread = of_seeds**2 / 6 + of_images**2 / 49 + of_rest**2 / (6 * 49)

    estimate = made(lists(whole), 50)

    assert estimate.freedom == pytest.approx((of_seeds + of_images - of_rest) ** 2 / spread)


@pytest.mark.parametrize(("wrong", "images"), [([], 10), ([[1, 2]], 10), ([[0], [0]], 1)])
def test_one_seed_or_one_image_says_nothing(wrong: list[list[int]], images: int):
    assert components(wrong, images) is None


@pytest.mark.parametrize("wrong", [[[], [], []], [list(range(8))] * 2])
def test_without_any_spread_the_standard_error_is_zero(wrong: list[list[int]]):
    assert made(wrong, 8).error_pct == 0


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
        held += (bounds.over_images(lists(whole), 200) or 0.0) <= truth
        held_by_seeds += lower_bound((100 - 100 * whole.mean(1)).tolist(), 0.95) <= truth

    # The standard error of a share of 400 that should be 0.99 is 0.005.
    assert held / 400 >= 0.975
    assert held_by_seeds / 400 < 0.88


@given(st.integers(40, 400), st.data(), st.integers(2, 30))
def test_seeds_that_agree_say_no_more_of_the_images_than_one_run(images: int, data: st.DataObject, seeds: int):
    errors = data.draw(st.integers(0, images))
    estimate = bounds.over_images([list(range(errors))] * seeds, images)

    # Clopper and Pearson's one-sided bound of 99 % is the lower end of their interval of 98 %.
    exact = 100 * stats.binomtest(images - errors, images).proportion_ci(0.98, "exact").low
    # Two seeds leave 2.3 errors open in the mean over seeds, which is more where hardly an image is read right.
    over_seeds = 100 * (1 - (errors + stats.gamma.ppf(0.99, 1) / seeds) / images)
    assert estimate == pytest.approx(max(0.0, min(exact, over_seeds)), abs=1e-6)


def test_images_of_groups_are_no_more_cases_than_there_are_groups():
    # Seven families, no error: the bound of seven right answers of seven.
    exact = 100 * stats.binomtest(7, 7, alternative="greater").proportion_ci(0.99).low

    assert bounds.over_images([[]] * 6, 630, [90] * 7) == pytest.approx(exact)
    grouped, ungrouped = (bounds.over_images([[1, 2, 3]] * 6, 630, sizes) or 0 for sizes in ([90] * 7, []))
    assert grouped < ungrouped


# Groups ------------------------------------------------------------------------------------------


def by_korn_and_graubard(share: float, error: float, freedom: int, images: int, confidence: float) -> float:
    """SciPy's bound for the effective number of images, per cent."""
    cases = min(images, share * (1 - share) / error**2 + 1 if error else images)
    cases *= (stats.t.ppf(confidence, images - 1) / stats.t.ppf(confidence, freedom)) ** 2
    return float(100 * (1 - stats.beta.ppf(confidence, share * cases + 1, cases * (1 - share))))


@pytest.mark.parametrize("confidence", [0.98, 0.9975])
def test_seeds_that_agree_leave_the_standard_error_between_groups(confidence: float):
    # Equal groups: the cluster-robust error is the standard error of the mean of the group accuracies.
    errors = [0, 1, 0, 12, 3, 0, 2]
    error = stats.sem([wrong / 90 for wrong in errors])

    bound = bounds.over_groups_pct([errors] * 6, [90] * 7, confidence)

    assert bound == pytest.approx(by_korn_and_graubard(18 / 630, error, 6, 630, confidence))
    assert bound < bounds.lower_bound_pct([18] * 6, 630, confidence)


def test_groups_of_different_sizes_and_seeds_that_differ_both_count():
    # The linearised values of the ratio, and their two-way analysis of variance from the residuals themselves.
    source = np.random.default_rng(3)
    sizes = np.array([20, 35, 50, 80, 41, 33, 60, 25])
    hard = source.beta(2, 18, len(sizes))
    luck = np.array([0.4, 0.7, 1.0, 1.3, 1.6, 1.9])
    errors = source.binomial(sizes, np.outer(luck, hard))
    share = errors.sum() / (6 * sizes.sum())
    of_seeds, of_groups, rest = squares(errors - share * sizes)
    assert of_seeds > rest
    both = of_seeds + of_groups - rest
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    freedom = min(int(both**2 / (of_seeds**2 / 5 + of_groups**2 / 7 + rest**2 / 35)), int(effective - 1))
    error = math.sqrt(both * len(sizes) / 6) / sizes.sum()

    bound = bounds.over_groups_pct(errors.tolist(), sizes.tolist(), 0.98)

    assert bound == pytest.approx(by_korn_and_graubard(share, error, freedom, int(sizes.sum()), 0.98))


@pytest.mark.parametrize(("groups", "size"), [(2, 100), (4, 40), (7, 40), (20, 40)])
def test_each_further_error_lowers_the_bound_over_groups(groups: int, size: int):
    # From no error to two in each group; equal shares of errors in all groups do not make their images independent.
    tables = [[(first < count) + (first + groups < count) for first in range(groups)] for count in range(2 * groups)]
    found = [bounds.over_groups_pct([errors] * 6, [size] * groups, 0.98) for errors in tables]

    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(by_korn_and_graubard(0, 0, groups - 1, groups * size, 0.98))
    assert found[0] - found[1] < 1.3
    equal = by_korn_and_graubard(1 / size, 0, groups - 1, groups * size, 0.98)
    assert found[groups] == pytest.approx(equal)


@pytest.mark.parametrize("confidence", [0.98, 0.9975])
def test_a_large_group_among_small_groups_is_no_evidence_on_other_groups(confidence: float):
    small = [20, 20, 20, 20, 20, 20]

    # Kish's 1.31 effective groups leave no degree of freedom; seven equal groups have six.
    assert bounds.over_groups_pct([[0] * 7] * 6, [1_000, *small], confidence) == -math.inf
    series = bounds.over_groups_pct([[0] * 7] * 6, [400, 200, 100, 50, 25, 12, 6], confidence)
    assert series == pytest.approx(by_korn_and_graubard(0, 0, 1, 793, confidence))
    groups = bounds.Groups([1_000, *small], dict.fromkeys(range(6), [0] * 7))
    judged = bounds.judgement_of(dict.fromkeys(range(6), 0), 1_120, 50.0, [range(6)], groups=groups)
    assert judged is Judgement.REACHED


@pytest.mark.parametrize("sizes", [(400, 200, 100, 50, 25, 12, 6), (1_000, *[20] * 19)])
def test_networks_at_the_target_rarely_pass_with_groups_of_unequal_size(sizes: tuple[int, ...]):
    cases = list(false_answers.group_shares(200, [sizes]))

    # Networks just below the target; a skewness of two at most. With groups - 1 degrees of freedom up to 20 % pass.
    assert max(case["verified"] for case in cases if not case["kind"].startswith("mixed")) <= 0.05


def test_errors_in_few_groups_reach_a_target_but_do_not_prove_it():
    sizes = [90] * 7
    spread, gathered = [1] * 7, [7, 0, 0, 0, 0, 0, 0]

    def judged(errors: list[int]) -> Judgement:
        groups = bounds.Groups(sizes, dict.fromkeys(range(6), errors))
        return bounds.judgement_of(dict.fromkeys(range(6), 7), 630, 97.0, [range(6)], groups=groups)

    assert bounds.judgement_of(dict.fromkeys(range(6), 7), 630, 97.0, [range(6)]) is Judgement.PROVEN
    assert (judged(spread), judged(gathered)) == (Judgement.PROVEN, Judgement.REACHED)
    assert bounds.over_groups_pct([[0]] * 6, [90], 0.98) == -math.inf


@pytest.mark.parametrize("images", [40, 300])
@pytest.mark.parametrize("hard_share", [0.02, 0.2])
def test_the_bound_over_images_holds_where_hardly_any_is_ever_wrong(images: int, hard_share: float):
    # A share of all images is hard, and a run misreads a hard one in two cases of three.
    source = np.random.default_rng(images)
    truth = 100 * (1 - hard_share * 2 / 3)
    repeats = 2_000
    too_high = 0
    for _ in range(repeats):
        hard = source.random(images) < hard_share
        estimate = bounds.over_images(lists(hard & (source.random((6, images)) < 2 / 3)), images)
        too_high += estimate is not None and estimate > truth

    # Two standard errors above one in a hundred.
    assert too_high / repeats <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / repeats)


def test_figures_of_the_audited_row():
    # As an audit by other people worked them out from the lists of wrong images.
    [path] = (REPOSITORY / "records").glob("eab8ffbcd93d-*.json")
    evidence = record.read(path)

    estimate = made([[image for image, _ in run.wrong] for run in evidence.seeds], 10_000)

    assert len(evidence.seeds) == 20
    assert round(estimate.seeds_error_pct, 3) == 0.008
    assert 0.055 <= round(estimate.images_error_pct, 3) <= 0.056
    assert 0.055 <= round(estimate.error_pct, 3) <= 0.056


# The end of a certification ----------------------------------------------------------------------


def attempt_at(evidence: Record, **changes: Any) -> Attempt:
    declared_utc = "2026-11-20T07:00:00+00:00"
    plain = Attempt(number=1, **evidence.key._asdict(), first_index=0, seeds=20, declared_utc=declared_utc, rules=2)
    return replace(plain, **changes)


@pytest.mark.parametrize(("errors", "outcome"), [(55, AttemptOutcome.CERTIFIED), (62, AttemptOutcome.FAILED)])
def test_the_outcome_and_the_bound_are_those_of_the_declared_seeds(errors: int, outcome: AttemptOutcome):
    # Two more seeds that were not declared would change both.
    evidence = make_record([*(errors + index % 3 for index in range(20)), 500, 500], beacon="1" * 40)
    accuracies = [100 - (errors + index % 3) / 100 for index in range(20)]
    due = stats.ttest_1samp(accuracies, 0, alternative="greater").confidence_interval(0.99).low

    ended, bound = bounds.ending(attempt_at(evidence), evidence)

    assert ended is outcome
    assert bound == pytest.approx(due, abs=1e-9)


def test_an_attempt_is_open_while_one_of_its_seeds_is_missing():
    evidence = make_record([40] * 19)

    assert bounds.ending(attempt_at(evidence), evidence) == (AttemptOutcome.OPEN, None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"alpha": 0.5}, "alpha"),
        ({"seeds": 10}, "seeds"),
        ({"lower_bound_pct": 99.7}, "outcome"),
        # Another one of the first rules, which knew their seeds beforehand.
        ({"rules": 1}, "rules"),
    ],
)
def test_an_attempt_that_breaks_the_rules_certifies_nothing(changes: dict[str, Any], field: str):
    evidence = make_record([40] * 20, beacon="1" * 40)
    attempt = attempt_at(evidence, outcome=AttemptOutcome.CERTIFIED, lower_bound_pct=99.6)
    assert bounds.contradiction(attempt, evidence) is None

    broken = replace(attempt, **changes)

    assert (bounds.contradiction(broken, evidence) or "").startswith(f"attempt 1: {field}: ")


def test_errors_in_unknown_groups_lie_in_as_few_groups_as_possible(monkeypatch: pytest.MonkeyPatch):
    grouped = replace(DATASETS["mnist"], name="grouped", test_group_sizes=(1, 2, 4, 9_993), test_groups=())
    monkeypatch.setitem(DATASETS, "grouped", grouped)

    assert bounds.groups_of(make_record([9_994], dataset="grouped")).errors == {0: [0, 0, 1, 9_993]}


@pytest.mark.parametrize(
    ("sizes", "stated", "certified"),
    [
        # 1.2 effective groups: the bound over groups of the first version with rules 4 did not count them.
        ([9_050, *[50] * 19], (AttemptOutcome.CERTIFIED, 99.5), False),
        ([9_050, *[50] * 19], (AttemptOutcome.FAILED, None), False),
        # The data were read again after the attempt, which made the groups of the images known.
        ([500] * 20, (AttemptOutcome.CERTIFIED, 99.41), True),
        ([500] * 20, (AttemptOutcome.FAILED, 99.39), False),
    ],
)
def test_an_attempt_on_groups_counts_by_the_bound_of_today_and_keeps_its_row(
    sizes: list[int], stated: tuple[AttemptOutcome, float | None], certified: bool, monkeypatch: pytest.MonkeyPatch
):
    grouped = replace(DATASETS["mnist"], name="grouped", test_group_sizes=tuple(sizes), test_groups=())
    monkeypatch.setitem(DATASETS, "grouped", grouped)
    evidence = make_record([4, 5] * 10, beacon="1" * 40, dataset="grouped")
    outcome, bound = stated
    attempt = attempt_at(evidence, alpha=0.01, rules=4, outcome=outcome, lower_bound_pct=bound)

    row = leaderboard_table.row_of_record(evidence, Ledger([attempt]))

    assert bounds.contradiction(attempt, evidence) is None
    assert bounds.is_certified(attempt, evidence) == certified == (row.tier is Tier.CERTIFIED)
    assert ("attempt 1" in row.note) == (outcome is AttemptOutcome.CERTIFIED and not certified)
    if certified:
        # All errors lie in one of twenty equal groups: the bound of Korn and Graubard (1998) at 99.75 %.
        wrong = np.zeros((20, 20))
        wrong[:, 0] = [4, 5] * 10
        deviations = wrong.mean(0) - wrong.mean()
        error = math.sqrt((deviations**2).sum() / 19 / 20) / 500
        share = 4.5 / 10_000
        correction = (stats.t.ppf(0.9975, 9_999) / stats.t.ppf(0.9975, 19)) ** 2
        cases = min(10_000, share * (1 - share) / error**2 + 1) * correction
        by_groups = 100 * (1 - stats.beta.ppf(0.9975, share * cases + 1, (1 - share) * cases))
        assert row.lower_bound_pct == pytest.approx(by_groups, abs=1e-3)


# The one rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors", [[3] * 6, [0] * 20, [12, 12, 13, 12, 12, 12], [50, 61, 44, 58, 70, 41], [0, 9, 0, 0, 0]]
)
@pytest.mark.parametrize("confidence", [0.9, 0.98, 0.99])
def test_a_bound_is_students_and_never_above_what_counts_that_hardly_waver_allow(errors: list[int], confidence: float):
    # Garwood's interval by the chi-squared distribution, Student's by scipy.
    above = sum(errors) - min(errors) * len(errors)
    most = min(errors) + stats.chi2.ppf(confidence, 2 * (above + 1)) / 2 / len(errors)
    accuracies = [100 - each / 2 for each in errors]
    by_student = np.mean(accuracies) - stats.t.ppf(confidence, len(errors) - 1) * stats.sem(accuracies)

    bound = bounds.lower_bound_pct(errors, 200, confidence)

    assert bound == pytest.approx(min(by_student, 100 - most / 2), abs=1e-9)
    assert bound < np.mean(accuracies)


@pytest.mark.parametrize(
    ("errors", "declared", "judgement"),
    [
        ([50] * 6, [range(6)], Judgement.PROVEN),
        ([50] * 6, [range(6), range(6, 8)], Judgement.OPEN),
        ([50] * 4, [range(4)], Judgement.OPEN),
        ([], [range(4)], Judgement.OPEN),
        ([61] * 6, [range(6)], Judgement.MISSED),
        ([60] * 6, [range(6)], Judgement.REACHED),
        # Declared one by one, the first five decide.
        ([66, 59, 58, 57, 60, 40, 40, 40, 40, 40], [[at] for at in range(10)], Judgement.REACHED),
        (
            [70, 59, 58, 57, 60, 40, 40, 40, 40, 40],
            [[0], range(1, 5), *([at] for at in range(5, 10))],
            Judgement.MISSED,
        ),
        # Those of no declaration came before there were any.
        ([61] * 5 + [20] * 5, [range(5, 10)], Judgement.MISSED),
    ],
)
def test_seeds_in_the_order_of_their_declarations_decide(
    errors: list[int], declared: list[Sequence[int]], judgement: Judgement
):
    assert bounds.judgement_of(dict(enumerate(errors)), 10_000, 99.4, declared) is judgement


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
def test_a_repeat_is_compared_with_what_the_record_predicts(fresh: list[int], recorded: list[int], is_worse: bool):
    assert bounds.is_worse(fresh, recorded, 10_000) is is_worse


def test_hardly_any_answer_is_false_whatever_the_test_part_and_the_seeds():
    worst = false_answers.worst(studies=600, sizes=(40, 500, 10_000), targets=(90.0, 97.0, 99.5))

    # The largest of a hundred shares of so many draws lies up to 3.3 of their standard errors above the true one.
    assert worst["verified"] <= 0.1 + 3.3 * (0.1 * 0.9 / 600) ** 0.5
    assert worst["certified"] <= 0.01 + 3.3 * (0.01 * 0.99 / 600) ** 0.5


# Futility ----------------------------------------------------------------------------------------


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

    assert bounds._chance(seen, 20, target) == pytest.approx(known, abs=0.006)
    # What it leaves out: that the remaining seeds change the deviation.
    assert bounds._chance(seen, 20, target) == pytest.approx(own, abs=0.06)


@pytest.mark.parametrize(
    ("errors", "futile"),
    [
        ([1_201], True),  # the sum alone is more than twenty seeds may make
        ([1_200], False),
        ([80, 81, 79, 80], False),  # few seeds say too little
        ([80, 81, 79, 80, 80], True),
        ([54, 60, 62, 59, 58, 55], False),
        # 0.0099 and 0.0100 by scipy's Student distributions, the bound with 19 degrees of freedom; 20 would not do.
        ([66, 55, 56, 62, 60, 54, 51, 65, 63, 64, 64, 61, 50], True),
        ([59, 64, 59, 54, 63, 58, 61, 58, 63, 63], True),
        ([60, 59] * 10, False),  # a whole attempt is judged by its bound
        ([80] * 20, False),
    ],
)
def test_what_cannot_succeed_is_given_up(errors: list[int], futile: bool):
    assert is_futile(errors, 10_000, 20, 99.4) is futile


# What validation says of a test ------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "threshold"),
    # Errors of the target by 0.8.
    [(100.0, 100.0), (99.6, 99.5), (99.4, 99.25), (98.0, 97.5), (0.0, 0.0)],
)
def test_the_threshold_allows_for_errors_in_proportion(
    target: float, threshold: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    known = {"errors_ratio": 0.8, "relative_error": 0.05, "network_deviation": 0.06, "protocol": "five folds"}
    (tmp_path / "error-ratios.json").write_text(json.dumps({"mnist": known}))
    monkeypatch.setattr(bounds, "files", lambda package: tmp_path)

    ratio = error_ratio_of(DATASETS["mnist"], target)

    assert ratio.threshold_pct(target) == pytest.approx(threshold, abs=1e-5)
    assert (ratio.network_deviation, ratio.images_deviation) == (0.06, None)
    # Where none was measured the margin is one standard error of the images that validate.
    unknown, share = replace(DATASETS["kmnist"], validation_size=100, folds=5), 1 - target / 100
    margin = 100 * min(math.sqrt(share * (1 - share) / 500), share / 2)
    assert error_ratio_of(unknown, target).threshold_pct(target) == pytest.approx(target + margin)
    assert error_ratio_of(unknown, target).relative_error is None
