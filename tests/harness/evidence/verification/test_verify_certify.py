"""Certification: declared before the first seed, on seeds that nobody has seen, and never taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import ledger, record
from harness.evidence.leaderboard import Tier
from harness.evidence.ledger import Attempt, Outcome
from harness.evidence.verification.verdict import Verdict
from harness.system.files import Workspace
from harness.training.recipe import NamedRecipe, Recipe
from harness.training.run import Job
from search_spaces.notation import parse_network
from tests.harness import unrun
from tests.harness.unrun import Seeds


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)


def certified(place: Workspace, count: int = 20, **changes: Any) -> Verdict:
    """Declare, commit and run a certification; one that is open already goes on as it was declared."""
    planned = unrun.plan(certify=True, **changes)
    unrun.declared(place, planned, count)
    return unrun.run(place, planned)


def only_attempt(place: Workspace) -> Attempt:
    [attempt] = ledger.read(place.ledger)
    return attempt


def test_the_attempt_is_in_the_ledger_before_its_first_seed(place: Workspace, seeds: Seeds):
    seen: list[Attempt] = []
    seeds.watch = lambda job: seen.append(only_attempt(place))

    verdict = certified(place)

    assert len(seen) == 20
    assert (seen[0].outcome, seen[0].first_index, seen[0].seeds) == (Outcome.OPEN, 0, 20)
    assert seen[0].key == verdict.record.key
    assert only_attempt(place) == verdict.attempt


def test_a_bound_at_the_target_certifies(place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 50 + index % 3

    verdict = certified(place)

    assert verdict.passed
    assert (verdict.row.tier, verdict.row.reached) == (Tier.CERTIFIED, True)
    attempt = only_attempt(place)
    assert attempt.outcome is Outcome.CERTIFIED
    # Mean 50.95 errors, deviation 0.8256; t(0.99, 19) is 2.5395 in the printed tables.
    assert attempt.lower_bound_pct == pytest.approx(100 - (50.95 + 2.5395 * 0.8256 / 20**0.5) / 100, abs=1e-5)
    assert {run.attempt for run in verdict.record.seeds} == {1}


def test_a_certification_that_fails_has_failed_although_the_row_is_verified(place: Workspace, seeds: Seeds):
    # The last seed alone takes the 99 % bound below the target, and the 90 % bound, t(0.90, 19) = 1.328, not.
    seeds.errors = lambda index: 120 if index == 19 else 50

    verdict = certified(place)

    assert (verdict.row.tier, verdict.row.reached) == (Tier.VERIFIED, True)
    assert not verdict.passed
    assert only_attempt(place).outcome is Outcome.FAILED
    assert [attempt.key for attempt in ledger.read(place.ledger)].count(verdict.record.key) == 1


def test_seeds_are_new_even_to_other_targets_and_data_sets(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan([0, 6], target_pct=99.0))
    unrun.run(place, unrun.plan([8], dataset="kmnist", target_pct=95.0))
    other = parse_network("conv3x3(5) gap linear(10)")
    unrun.run(place, unrun.plan([30], architecture=other))
    unrun.run(place, unrun.plan([40], recipe=NamedRecipe("short", Recipe(epochs=3))))
    seeds.asked.clear()

    certified(place)

    assert seeds.indices == list(range(9, 29))


def test_a_second_attempt_takes_the_seeds_after_those_that_were_declared(place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 5_000
    certified(place, 30)
    seeds.asked.clear()

    certified(place, 20, target_pct=99.0)

    # The first stopped early, but all of its seeds were declared.
    assert seeds.indices[0] == 30
    assert [attempt.number for attempt in ledger.read(place.ledger)] == [1, 2]


@pytest.mark.parametrize(("last", "outcome"), [(104, Outcome.CERTIFIED), (106, Outcome.FAILED)])
def test_a_second_attempt_at_a_target_needs_a_stricter_bound(
    last: int, outcome: Outcome, place: Workspace, seeds: Seeds
):
    seeds.errors = lambda index: 5_000
    certified(place, recipe=NamedRecipe("short", Recipe(epochs=3)))
    seeds.errors = lambda index: last if index == 19 else 50

    verdict = certified(place)

    # With d = last - 50 the mean is 50 + d / 20 errors and its standard error d / 20; t(0.992, 19) is 2.64416 and
    # t(0.99, 19) is 2.53948, so at 99 % both would have passed.
    assert verdict.attempt is not None
    assert (verdict.attempt.number, verdict.attempt.outcome) == (2, outcome)
    bound = 100 - (50 + (last - 50) * (1 + 2.64416) / 20) / 100
    assert verdict.attempt.lower_bound_pct == pytest.approx(bound, abs=1e-5)
    assert verdict.row.confidence == (0.992 if outcome is Outcome.CERTIFIED else None)


@pytest.mark.parametrize(("errors", "run"), [(1200, 2), (601, 2), (600, 3), (75.5, 5)])
def test_it_stops_once_it_is_futile_and_stays_so(errors: float, run: int, place: Workspace, seeds: Seeds):
    # Twenty seeds may make 1,200 errors in all, so 1,200 at once leave room for none.
    seeds.errors = lambda index: int(errors) + (index % 2 if errors % 1 else 0)

    verdict = certified(place)

    assert len(seeds.asked) == run
    assert len(verdict.record.seeds) == run
    assert not verdict.passed
    assert only_attempt(place).outcome is Outcome.FUTILE
    lines = place.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]


def test_an_open_attempt_is_gone_on_with_as_it_was_declared(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(3)))
    seeds.asked.clear()

    def interrupt(job: Job) -> None:
        if job.seed_index == 7:
            raise KeyboardInterrupt

    seeds.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        certified(place, 20)
    assert only_attempt(place).outcome is Outcome.OPEN
    seeds.asked.clear()
    seeds.watch = lambda job: None

    verdict = certified(place, 30)

    assert seeds.indices == list(range(7, 23))
    assert [run.index for run in verdict.runs] == list(range(3, 23))
    assert verdict.passed
    assert (only_attempt(place).number, only_attempt(place).seeds) == (1, 20)


def test_the_bound_is_that_of_the_attempt_alone(place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 300
    unrun.run(place, unrun.plan(range(3)))
    seeds.errors = lambda index: 55

    verdict = certified(place)

    assert verdict.passed
    assert only_attempt(place).lower_bound_pct == 99.45
    assert verdict.row.lower_bound_pct is not None
    assert verdict.row.lower_bound_pct < 99.4
    [there] = record.read_all(place.records)
    assert [run.attempt for run in there.seeds] == [None] * 3 + [1] * 20


def test_seeds_in_flight_do_not_make_a_success_of_what_was_given_up(place: Workspace, seeds: Seeds):
    seeds.in_flight = 12
    # The first five say that it cannot be; the eleven that were launched beside them would carry the bound over 99.4.
    seeds.errors = lambda index: [61, 62, 61, 62, 62][index] if index < 5 else 52 + index % 4

    verdict = certified(place)

    assert len(verdict.record.seeds) == 16
    assert (verdict.passed, only_attempt(place).outcome) == (False, Outcome.FUTILE)
    assert verdict.row.tier is Tier.VERIFIED
    lines = place.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]
