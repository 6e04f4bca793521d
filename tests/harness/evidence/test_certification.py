"""What recorded seeds make of an attempt to certify, whatever the ledger states."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from harness.evidence import certification, leaderboard, ledger, record
from harness.evidence.audit import audit
from harness.evidence.ledger import Attempt, Outcome
from harness.evidence.record import Record
from harness.system.errors import ContentError
from harness.system.files import Workspace
from tests.harness import unrun
from tests.harness.lived_in import edit, forget, record_of

NewRecord = Callable[..., Record]


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    forget(inhabited)
    return inhabited


def attempt_at(evidence: Record, **changes: Any) -> Attempt:
    network, recipe, dataset, target, protocol = evidence.key
    plain = Attempt(
        number=1,
        hash=network,
        recipe_hash=recipe,
        dataset=dataset,
        target_pct=target,
        protocol_version=protocol,
        first_index=0,
        seeds=20,
        declared_utc="2026-11-20T07:00:00+00:00",
    )
    return replace(plain, **changes)


def state(place: Workspace, **changes: Any) -> None:
    """Change what the line that ended the attempt states."""
    lines = place.ledger.read_text(encoding="utf-8").splitlines()
    [number] = [at for at, line in enumerate(lines) if json.loads(line).get("outcome", "open") != "open"]
    lines[number] = json.dumps(json.loads(lines[number]) | changes)
    place.ledger.write_text("\n".join([*lines, ""]), encoding="utf-8")


@pytest.mark.parametrize(("errors", "outcome"), [(55, Outcome.CERTIFIED), (62, Outcome.FAILED)])
def test_the_outcome_and_the_bound_are_those_of_the_declared_seeds(
    errors: int, outcome: Outcome, new_record: NewRecord
):
    # Two more seeds that were not declared would change both.
    evidence = new_record([*(errors + index % 3 for index in range(20)), 500, 500])
    accuracies = [100 - (errors + index % 3) / 100 for index in range(20)]
    due = stats.ttest_1samp(accuracies, 0, alternative="greater").confidence_interval(0.99).low

    ended, bound = certification.ending(attempt_at(evidence), evidence)

    assert ended is outcome
    assert bound == pytest.approx(due, abs=1e-9)


def test_an_attempt_is_open_while_one_of_its_seeds_is_missing(new_record: NewRecord):
    evidence = new_record([40] * 19)

    assert certification.ending(attempt_at(evidence), evidence) == (Outcome.OPEN, None)


def test_a_failed_attempt_that_the_ledger_calls_certified_is_told_and_not_ranked(place: Workspace):
    edit(record_of(place), lambda seeds: [seed.update(test_errors=seed["test_errors"] + 9) for seed in seeds])
    edit(record_of(place), lambda seeds: [seed["wrong"].extend([i, 3] for i in range(90, 99)) for seed in seeds])
    evidence = record.read(record_of(place))
    bound = certification.ending(attempt_at(evidence, first_index=6), evidence)[1]
    state(place, lower_bound_pct=bound)

    [fault] = [item for item in audit(place) if "attempt" in item]

    assert f"{place.ledger}: attempt 1 is certified with the bound " in fault
    assert "its 20 recorded seeds give failed" in fault
    assert leaderboard.tier_of(evidence, ledger.read(place.ledger)) is not leaderboard.Tier.CERTIFIED
    assert record_of(place).stem[:12] not in [
        row.hash for row in leaderboard.survey(place).rows if row.target_pct == 99.4
    ]
    with pytest.raises(ContentError, match="recorded seeds give failed"):
        leaderboard.refresh(place, publish=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lower_bound_pct": 99.49}, "is certified with the bound 99.4900 %, but its 20 recorded seeds give certified"),
        ({"lower_bound_pct": None}, "is certified with no bound"),
        ({"outcome": "failed"}, "is failed with the bound "),
    ],
)
def test_an_end_that_the_seeds_do_not_give_is_told(changes: dict[str, Any], said: str, place: Workspace):
    state(place, **changes)

    [fault] = audit(place)

    assert f"{place.ledger}: attempt 1 {said}" in fault


def test_a_certified_row_without_half_of_its_seeds_is_told_and_not_ranked(place: Workspace):
    def keep_the_best(seeds: list[dict[str, Any]]) -> None:
        seeds[6:] = sorted(sorted(seeds[6:], key=lambda run: run["test_errors"])[:10], key=lambda run: run["index"])

    edit(record_of(place), keep_the_best)

    found = leaderboard.survey(place)

    assert [row.target_pct for row in found.rows] == [99.0]
    [damage] = found.damage
    assert f"attempt 1 is certified, but the record of {unrun.NETWORK.hash} lacks seed " in damage.message
    assert damage.message.endswith(": 20 seeds were declared")
    assert audit(place) == [damage.told]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alpha": 0.5}, "spends 0.5, but no attempt may spend more than 0.01"),
        ({"seeds": 10}, "is certified over 10 seeds, but a certification has at least 20"),
    ],
)
def test_an_attempt_that_breaks_the_rules_certifies_nothing(changes: dict[str, Any], said: str, new_record: NewRecord):
    evidence = new_record([40] * 20)
    attempt = attempt_at(evidence, outcome=Outcome.CERTIFIED, lower_bound_pct=99.6)
    assert certification.is_certified([attempt], evidence)

    broken = replace(attempt, **changes)

    assert certification.contradiction(broken, evidence) == f"attempt 1 {said}"
    assert not certification.is_certified([broken], evidence)
