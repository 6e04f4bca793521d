"""When a training is looked at, what is then hoped for, and who is spared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.search import pruning
from harness.search.pruning import Ratios
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result, Status
from tests.harness import scripted
from tests.harness.raced import SIZE, result

CONFIG = scripted.config(recipe=Recipe(epochs=15), rungs=(4, 8))


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, ()), (2, (1,)), (3, (1, 2)), (4, (1, 2)), (5, (2, 3)), (8, (2, 4)), (15, (4, 8)), (30, (8, 15))],
)
def test_rungs_are_a_quarter_and_a_half_of_the_epochs(epochs: int, expected: tuple[int, ...]):
    assert pruning.rungs(epochs) == expected


def full_run(at_rung: int, at_end: int, rung: int = 4) -> Result:
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, at_rung if number == rung else None) for number in range(1, 16))
    return result(at_end, history=history)


def ratios(runs: Iterable[Result]) -> Ratios:
    found: Ratios = {}
    for run in runs:
        pruning.add_run(found, run, (4, 8))
    return found


def test_the_ratio_is_the_prior_until_eight_runs_of_the_study_say_better():
    seven = [full_run(200, 180) for _ in range(7)]

    assert pruning.hopeful_ratio(ratios(seven), 4, 15) == pruning.PRIOR_RATIO[0.25]
    assert pruning.hopeful_ratio(ratios(seven), 8, 15) == pruning.PRIOR_RATIO[0.5]
    assert pruning.hopeful_ratio(ratios([*seven, full_run(200, 180)]), 4, 15) == 0.9


def test_the_ratio_is_that_of_the_luckiest_tenth():
    runs = [full_run(100, errors) for errors in range(30, 50)]
    backwards = runs[::-1]

    assert pruning.hopeful_ratio(ratios(runs), 4, 15) == 0.32
    assert pruning.hopeful_ratio(ratios(backwards), 4, 15) == 0.32
    assert pruning.hopeful_ratio(ratios(runs[:9]), 4, 15) == 0.30
    assert pruning.hopeful_ratio(ratios(runs[:10]), 4, 15) == 0.31


def test_only_runs_to_the_end_that_were_looked_at_at_the_rung_have_a_ratio():
    seven = [full_run(200, 180) for _ in range(7)]
    others = [
        replace(full_run(200, 2), status=Status.PRUNED),
        replace(full_run(200, 2), status=Status.DIVERGED),
        full_run(200, 2, rung=8),
        full_run(0, 2),
        result(2),
        replace(full_run(200, 2), recipe=Recipe(epochs=30)),
    ]

    assert pruning.hopeful_ratio(ratios([*seven, *others]), 4, 15) == pruning.PRIOR_RATIO[0.25]


def test_runs_of_a_length_have_a_ratio_of_their_own():
    short = [replace(full_run(200, 180), recipe=Recipe(epochs=8)) for _ in range(8)]
    long = [full_run(200, 100) for _ in range(8)]

    assert pruning.hopeful_ratio(ratios([*short, *long]), 4, 8) == 0.9
    assert pruning.hopeful_ratio(ratios([*short, *long]), 4, 15) == 0.5


@pytest.mark.parametrize(
    ("epochs", "shares"), [(5, (0.4, 0.6)), (8, (0.25, 0.5)), (15, (0.25, 0.5)), (30, (0.25, 0.5))]
)
def test_the_prior_of_a_rung_is_that_of_the_nearest_share_of_the_epochs(epochs: int, shares: tuple[float, ...]):
    found = [pruning.hopeful_ratio({}, rung, epochs) for rung in pruning.rungs(epochs)]

    assert found == [pruning.PRIOR_RATIO[share] for share in shares]


def test_the_prediction_lets_errors_fall_by_the_ratio():
    assert pruning.predicted_pct(200, SIZE, 0.3) == pytest.approx(99.4)
    assert pruning.predicted_pct(0, SIZE, 0.3) == 100.0


@given(st.integers(0, 2000), st.sampled_from([0.3, 0.55, 0.32, 0.9]), st.sampled_from([99.0, 99.4, 97.25]))
def test_what_can_reach_the_threshold_by_the_ratio_is_hoped_for_and_nothing_else(
    errors: int, ratio: float, threshold: float
):
    end = Fraction(str(ratio)) * errors
    allowed = (100 - Fraction(str(threshold))) / 100 * SIZE

    assert (pruning.predicted_pct(errors, SIZE, ratio) >= threshold - 1e-9) == (end <= allowed)


# The recipe has 15 epochs, and is looked at after 4 and 8 of them.
@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, ()), (2, (1,)), (5, (2, 3)), (8, (3, 5)), (15, (4, 8)), (30, (8, 16)), (60, (16, 32))]
)
def test_rungs_lie_at_the_same_shares_of_every_length(epochs: int, expected: tuple[int, ...]):
    assert pruning.rungs_of(CONFIG, epochs) == expected


def test_without_rungs_no_length_has_any():
    assert pruning.rungs_of(replace(CONFIG, rungs=()), 30) == ()


def test_every_tenth_network_is_spared_by_its_hash():
    hashes = [f"{number:012x}" for number in range(1000)]

    assert sum(pruning.is_exempt(name) for name in hashes) == 100
    assert pruning.is_exempt("00000000000a")
    assert not pruning.is_exempt("00000000000b")
