from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import leaderboard, ledger
from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.evidence.ledger import Declaration, Outcome
from harness.evidence.record import Record
from harness.system.files import Workspace
from harness.training.result import Purpose, Result, Status

NewRecord = Callable[..., Record]
NewResult = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    ("errors", "tier", "reached"),
    [
        ([60] * 5, Tier.VERIFIED, True),
        ([60, 60, 60, 60, 61], Tier.MEASURED, False),
        ([10] * 4, Tier.MEASURED, False),
        ([60] * 30, Tier.VERIFIED, True),
    ],
)
def test_five_seeds_whose_mean_reaches_the_target_verify(
    new_record: NewRecord, errors: list[int], tier: Tier, reached: bool
):
    row = leaderboard.row_of_record(new_record(errors))

    assert (row.tier, row.reached, row.seeds) == (tier, reached, len(errors))


def test_only_a_certified_attempt_certifies(place: Workspace, new_record: NewRecord):
    made = new_record([40] * 30)
    attempt = ledger.declare(place.ledger, made.key, 0, 30)
    tiers = []
    for outcome in (None, Outcome.CERTIFIED):
        if outcome is not None:
            ledger.close(place.ledger, attempt, outcome, 99.6)
        tiers.append(leaderboard.tier_of(made, ledger.read(place.ledger)))

    assert tiers == [Tier.VERIFIED, Tier.CERTIFIED]


def test_a_row_counts_all_attempts_at_its_target_and_says_how_sure_its_own_was(place: Workspace, new_record: NewRecord):
    made = new_record([56, 62] * 15)
    network, recipe, dataset, target, protocol = made.key
    ledger.declare(place.ledger, ("0" * 12, recipe, dataset, target, protocol), 0, 30)
    attempt = ledger.declare(place.ledger, made.key, 0, 30)
    ledger.declare(place.ledger, (network, recipe, dataset, 99.5, protocol), 30, 30)
    ledger.declare(place.ledger, (network, recipe, "kmnist", target, protocol), 60, 30)

    before = leaderboard.row_of_record(made, ledger.read(place.ledger))
    ledger.close(place.ledger, attempt, Outcome.CERTIFIED, 99.4)
    after = leaderboard.row_of_record(made, ledger.read(place.ledger))

    assert (before.attempts, before.confidence) == (2, None)
    assert (after.attempts, after.confidence) == (2, 0.992)


@pytest.mark.parametrize(
    ("errors", "tier", "reached"),
    [
        # Mean 59 and deviation d; t(0.90, 4) is 1.5332 in the printed tables, so the bound holds up to d = 1.4584.
        ([58, 58, 58, 60, 61], Tier.VERIFIED, True),
        ([57, 58, 59, 60, 61], Tier.AT_TARGET, True),
        ([57, 58, 60, 62, 63], Tier.AT_TARGET, True),
        ([57, 58, 60, 62, 64], Tier.MEASURED, False),
        ([57, 58, 59, 60], Tier.MEASURED, False),
    ],
)
def test_a_mean_at_the_target_whose_90_pct_bound_is_below_it_is_at_the_target(
    new_record: NewRecord, errors: list[int], tier: Tier, reached: bool
):
    row = leaderboard.row_of_record(new_record(errors))

    assert (row.tier, row.reached) == (tier, reached)


@pytest.mark.parametrize(
    ("indices", "changes", "tier"),
    [
        (range(5), {}, Tier.VERIFIED),
        (range(6), {}, Tier.MEASURED),
        ([17], {}, Tier.MEASURED),
        ([17], {"target_pct": 99.5}, Tier.VERIFIED),
        ([17], {"dataset": "kmnist"}, Tier.VERIFIED),
        ([17], {"recipe_hash": "0" * 12}, Tier.VERIFIED),
    ],
)
def test_a_declared_seed_that_has_not_been_run_holds_its_row_up(
    indices: range | list[int], changes: dict[str, Any], tier: Tier, new_record: NewRecord
):
    made = new_record([40] * 5)
    declared = Declaration(
        hash=made.hash,
        recipe_hash=made.recipe_hash,
        dataset=made.dataset,
        target_pct=made.target_pct,
        protocol_version=made.protocol_version,
        indices=tuple(indices),
        declared_utc="2026-11-20T07:00:00+00:00",
    )

    row = leaderboard.row_of_record(made, ledger.Ledger(declarations=[replace(declared, **changes)]))

    assert (row.tier, row.reached) == (tier, tier is Tier.VERIFIED)


def test_a_row_counts_the_statistics_of_bn_among_what_is_stored(new_record: NewRecord):
    row = leaderboard.row_of_record(new_record([40] * 5, "conv3x3(4) bn relu | gap | linear(10)"))

    # 36 weights, 4 scales and shifts, 50 of the classifier; 4 means and variances.
    assert (row.parameters, row.stored_numbers) == (94, 102)


def test_the_figures_of_a_row_are_those_of_its_seeds(new_record: NewRecord):
    made = new_record([50, 60, 70])
    diverged = replace(made.seeds[2], status=Status.DIVERGED, best_test_errors=65)
    made = replace(made, seeds=(*made.seeds[:2], diverged))

    row = leaderboard.row_of_record(made)

    assert row.mean_test_accuracy_pct == pytest.approx(99.4)
    assert row.std_test_accuracy_pct == pytest.approx(0.1)
    assert row.min_test_accuracy_pct == 99.3
    assert (row.seeds_at_target, row.seeds) == (2, 3)
    # t of 0.99 with 2 degrees of freedom is 6.9646 in every table.
    assert row.lower_bound_pct == pytest.approx(99.4 - 6.9646 * 0.1 / 3**0.5, abs=1e-4)
    assert (row.test_errors_mean, row.diverged, row.best_epoch_test_accuracy_pct) == (60, 1, 99.35)
    assert row.train_seconds == 50
    assert row.commit == "000000000000"
    assert row.date_utc == "2026-11-20T08:02:00+00:00"


def test_one_seed_has_no_spread(new_record: NewRecord):
    row = leaderboard.row_of_record(new_record([50]))

    assert (row.std_test_accuracy_pct, row.lower_bound_pct) == (None, None)


def row(**changes: Any) -> LeaderboardRow:
    values = {
        "tier": Tier.MEASURED,
        "target_pct": 99.4,
        "reached": False,
        "parameters": 900,
        "macs": 1,
        "receptive_field": 20,
        "dataset": "mnist",
        "recipe": "fast",
        "architecture": "gap | linear(10)",
        "hash": "aaaaaaaaaaaa",
        "protocol_version": 1,
    }
    return LeaderboardRow(**{**values, **changes})


def test_the_order_is_reached_tier_size_accuracy_hash():
    expected = [
        row(reached=True, tier=Tier.CERTIFIED, parameters=9_000),
        row(reached=True, tier=Tier.VERIFIED, parameters=100, mean_test_accuracy_pct=99.4),
        row(reached=True, tier=Tier.VERIFIED, parameters=200, mean_test_accuracy_pct=99.6),
        row(reached=True, tier=Tier.VERIFIED, parameters=200, mean_test_accuracy_pct=99.5),
        row(reached=True, tier=Tier.AT_TARGET, parameters=50, mean_test_accuracy_pct=99.9),
        row(tier=Tier.MEASURED, parameters=50, mean_test_accuracy_pct=99.0),
        row(tier=Tier.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="aaaaaaaaaaaa"),
        row(tier=Tier.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="bbbbbbbbbbbb"),
        row(tier=Tier.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="bbbbbbbbbbbb", recipe_hash="1"),
        row(tier=Tier.SEARCHED, parameters=10, validation_accuracy_pct=99.9),
        row(tier=Tier.SEARCHED, parameters=10, validation_accuracy_pct=99.8),
        row(tier=Tier.SEARCHED, parameters=10),
        row(tier=Tier.CLAIMED, parameters=1, mean_test_accuracy_pct=100.0),
    ]
    for seed in range(20):
        shuffled = random.Random(seed).sample(expected, len(expected))

        ranked = leaderboard.ranked(shuffled)

        assert [replace(item, rank=0) for item in ranked] == expected
        assert [item.rank for item in ranked] == list(range(1, len(expected) + 1))


def test_rows_on_different_data_sets_or_targets_are_never_mixed():
    expected = [
        row(dataset="mnist", target_pct=99.5, tier=Tier.CLAIMED),
        row(dataset="mnist", target_pct=99.4, reached=True, tier=Tier.VERIFIED),
        row(dataset="mnist", target_pct=99.4, parameters=1),
        row(dataset="fashion-mnist", target_pct=90.0, reached=True, tier=Tier.CERTIFIED),
        row(dataset="mnist-5k", target_pct=97.0, reached=True, tier=Tier.VERIFIED, parameters=1),
        row(dataset="another", target_pct=10.0, reached=True, tier=Tier.CERTIFIED, parameters=1),
    ]

    ranked = leaderboard.ranked(expected[::-1])

    assert [replace(item, rank=0) for item in ranked] == expected
    assert [item.rank for item in ranked] == [1, 1, 2, 1, 1, 1]


def test_the_front_equals_that_of_comparing_all_pairs():
    draw = random.Random(1)
    rows = [
        row(parameters=draw.randint(1, 20), validation_accuracy_pct=float(draw.randint(1, 20)), hash=f"{number:012x}")
        for number in range(60)
    ]

    front = leaderboard.pareto_front(rows, lambda item: item.validation_accuracy_pct or 0.0)

    def beaten(item: LeaderboardRow) -> bool:
        mine = (item.validation_accuracy_pct or 0.0, -item.parameters, item.hash)
        return any(
            other.parameters <= item.parameters
            and (other.validation_accuracy_pct or 0.0) >= mine[0]
            and (other.validation_accuracy_pct, -other.parameters) != mine[:2]
            for other in rows
        )

    assert {(item.parameters, item.validation_accuracy_pct) for item in front} == {
        (item.parameters, item.validation_accuracy_pct) for item in rows if not beaten(item)
    }
    assert all(a.parameters < b.parameters for a, b in itertools.pairwise(front))


def test_fresh_seeds_speak_for_a_network_not_the_draw_that_chose_it(new_result: NewResult):
    chosen = new_result(errors=30)
    fresh = [new_result(errors=60 + index, purpose=Purpose.CONFIRM, seed_index=index) for index in range(3)]
    stopped = new_result(errors=500, purpose=Purpose.CONFIRM, seed_index=3, status=Status.PRUNED)
    diverged = new_result(errors=9_000, purpose=Purpose.CONFIRM, seed_index=4, status=Status.DIVERGED)

    assert leaderboard.validation_runs([chosen]) == [chosen]
    assert leaderboard.validation_runs([chosen, *fresh]) == fresh
    assert leaderboard.validation_runs([chosen, *fresh, stopped, diverged]) == [*fresh, diverged]
    assert leaderboard.validation_runs([stopped, diverged]) == []
    assert leaderboard.validation_runs([]) == []


def test_a_preset_is_called_by_its_name(new_record: NewRecord):
    from search_spaces.catalog import PRESETS

    assert leaderboard.row_of_record(new_record([50], PRESETS["seed4"].text)).name == "seed4"
    assert leaderboard.row_of_record(new_record([50], name="mine")).name == "mine"
    assert leaderboard.row_of_record(new_record([50])).name == ""
