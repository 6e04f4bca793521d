"""Tests of the verdict: what seeds that were run again say of those on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.evidence.ledger import Attempt, Outcome
from harness.evidence.record import Record, SeedRun
from harness.evidence.verification.verdict import machines_of, verdict_of

NewRecord = Callable[..., Record]


@pytest.fixture
def evidence(new_record: NewRecord) -> Record:
    """A verified row of five seeds, 50 to 58 errors, with weights that can be told apart."""
    made = new_record([50, 52, 54, 56, 58])
    return replace(made, seeds=tuple(replace(run, weights_sha256=f"{run.index:064x}") for run in made.seeds))


def again(run: SeedRun, *, errors: int, weights: str | None = None, torch: str | None = None) -> SeedRun:
    """The same seed, run once more."""
    environment = run.environment if torch is None else replace(run.environment, torch=torch)
    return replace(
        run,
        test_errors=errors,
        weights_sha256=weights or run.weights_sha256,
        started_utc="2027-01-01T00:00:00+00:00",
        environment=environment,
    )


def test_equal_weights_are_identical_wherever_they_were_made(evidence: Record):
    run = again(evidence.seeds[0], errors=50, torch="9.9")

    found = verdict_of(evidence, [], [run], evidence.seeds)

    [repeat] = found.reruns
    assert (repeat.index, repeat.test_errors, repeat.recorded_test_errors, repeat.identical) == (0, 50, 50, True)
    assert (found.contradicted, found.passed) == (False, True)


@pytest.mark.parametrize(("torch", "identical"), [(None, False), ("9.9", None)])
def test_other_weights_say_something_on_an_equal_machine_only(
    torch: str | None, identical: bool | None, evidence: Record
):
    run = again(evidence.seeds[0], errors=51, weights="f" * 64, torch=torch)

    [repeat] = verdict_of(evidence, [], [run], evidence.seeds).reruns

    assert repeat.identical is identical


def test_seeds_of_two_kinds_of_machines_are_counted_apart(evidence: Record):
    elsewhere = again(evidence.seeds[4], errors=58, torch="9.9")
    dirty = replace(evidence.seeds[0].environment, dirty=True, commit="f" * 40)
    same = replace(evidence.seeds[1], environment=dirty)

    assert [count for _, count in machines_of(evidence.seeds)] == [5]
    found = machines_of([evidence.seeds[0], same, *evidence.seeds[2:4], elsewhere])
    assert [count for _, count in found] == [4, 1]
    assert "torch 9.9" in found[1][0]


@pytest.mark.parametrize(("more", "contradicted"), [(1, False), (30, True), (-30, False)])
def test_a_rerun_that_is_much_worse_contradicts_the_record(more: int, contradicted: bool, evidence: Record):
    runs = [again(run, errors=run.test_errors + more, weights="f" * 64, torch="9.9") for run in evidence.seeds]

    found = verdict_of(evidence, [], runs, evidence.seeds)

    assert (found.contradicted, found.passed) == (contradicted, not contradicted)


def test_what_this_verification_has_recorded_itself_is_no_repeat(evidence: Record):
    found = verdict_of(evidence, [], evidence.seeds, evidence.seeds)

    assert (found.runs, found.reruns, found.contradicted) == (evidence.seeds, (), False)


@pytest.mark.parametrize(("outcome", "passed"), [(Outcome.FAILED, False), (Outcome.CERTIFIED, True)])
def test_a_certification_passes_by_its_outcome_alone(outcome: Outcome, passed: bool, evidence: Record):
    network, recipe, dataset, target, protocol = evidence.key
    attempt = Attempt(
        number=1,
        hash=network,
        recipe_hash=recipe,
        dataset=dataset,
        target_pct=target,
        protocol_version=protocol,
        first_index=0,
        seeds=5,
        declared_utc="2026-11-20T08:00:00+00:00",
        outcome=outcome,
    )

    found = verdict_of(evidence, [attempt], evidence.seeds, (), attempt)

    assert (found.row.reached, found.passed) == (True, passed)
