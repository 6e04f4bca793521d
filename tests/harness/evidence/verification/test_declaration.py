"""What is declared before it is run: the seeds of a verification, and a certification in a commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evidence import leaderboard, ledger
from harness.evidence.leaderboard import Tier
from harness.evidence.ledger import Declaration
from harness.evidence.verification.declaration import declare
from harness.evidence.verification.verify import recorded_verdict
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.training.run import Job
from tests.harness import unrun
from tests.harness.unrun import Seeds

CERTIFY = unrun.plan(certify=True)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return unrun.without_training(monkeypatch)


def interrupted(place: Workspace, seeds: Seeds, at: int, indices: range) -> None:
    """Run a verification until Ctrl-C at one of its seeds."""

    def watch(job: Job) -> None:
        if job.seed_index == at:
            raise KeyboardInterrupt

    seeds.watch = watch
    with pytest.raises(KeyboardInterrupt):
        unrun.run(place, unrun.plan(indices))
    seeds.watch = lambda job: None


# Certifications ----------------------------------------------------------------------------------------------


def test_a_certification_that_nobody_declared_is_refused(place: Workspace, seeds: Seeds):
    with pytest.raises(UsageError, match="nothing is declared for this network, recipe and target") as caught:
        unrun.run(place, CERTIFY)

    assert "--declare-only" in (caught.value.hint or "")
    assert seeds.asked == []
    assert ledger.read(place.ledger) == []


def test_the_declaration_of_another_row_does_not_serve(place: Workspace, seeds: Seeds):
    unrun.declared(place, unrun.plan(certify=True, target_pct=99.0), 20)

    with pytest.raises(UsageError, match="nothing is declared"):
        unrun.run(place, CERTIFY)
    assert seeds.asked == []


def test_a_declaration_outside_git_is_refused(place: Workspace, seeds: Seeds):
    declare(CERTIFY, place, 20)

    with pytest.raises(UsageError, match=r"attempt 1 is declared, but .*records is in no git repository"):
        unrun.run(place, CERTIFY)
    assert seeds.asked == []


@pytest.mark.parametrize("before", ["nothing", "another attempt"])
def test_a_declaration_that_is_not_committed_is_refused(before: str, place: Workspace, seeds: Seeds):
    if before == "nothing":
        unrun.git(place, "init", "--quiet")
    else:
        unrun.declared(place, unrun.plan(certify=True, target_pct=99.0), 20)
    attempt = declare(CERTIFY, place, 20)

    with pytest.raises(UsageError, match=rf"attempt {attempt.number} is declared, but .* is not committed with it"):
        unrun.run(place, CERTIFY)
    assert seeds.asked == []

    unrun.commit(place)
    assert unrun.run(place, CERTIFY).passed


def test_a_declaration_that_was_changed_after_its_commit_is_refused(place: Workspace, seeds: Seeds):
    unrun.declared(place, CERTIFY, 30)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace('"seeds": 30', '"seeds": 20'), encoding="utf-8")

    with pytest.raises(UsageError, match="is not committed with it"):
        unrun.run(place, CERTIFY)


def test_declaring_again_gives_the_open_attempt(place: Workspace, seeds: Seeds):
    first = declare(CERTIFY, place, 20)

    assert declare(CERTIFY, place, 30) == first
    assert len(ledger.read(place.ledger)) == 1


def test_a_certification_takes_no_seed_that_a_verification_has_declared(place: Workspace, seeds: Seeds):
    interrupted(place, seeds, 2, range(8))

    assert declare(CERTIFY, place, 20).first_index == 8


# Verifications -----------------------------------------------------------------------------------------------


def test_the_seeds_of_a_verification_are_in_the_ledger_before_the_first(place: Workspace, seeds: Seeds):
    seen: list[list[Declaration]] = []
    seeds.watch = lambda job: seen.append(ledger.declarations(place.ledger))

    verdict = unrun.run(place, unrun.plan(range(3)))

    [declaration] = seen[0]
    assert (declaration.key, declaration.indices) == (verdict.record.key, (0, 1, 2))
    assert seen == [[declaration]] * 3


def test_only_seeds_that_are_new_are_declared(place: Workspace, seeds: Seeds):
    unrun.run(place, unrun.plan(range(3)))
    unrun.run(place, unrun.plan(range(3)))
    interrupted(place, seeds, 4, range(6))
    unrun.run(place, unrun.plan(range(8)))

    assert [item.indices for item in ledger.declarations(place.ledger)] == [(0, 1, 2), (3, 4, 5), (6, 7)]


def test_seeds_of_a_certification_are_not_declared_twice(place: Workspace, seeds: Seeds):
    unrun.declared(place, CERTIFY, 20)
    unrun.run(place, CERTIFY)

    assert ledger.declarations(place.ledger) == []


def test_a_row_is_only_measured_while_a_declared_seed_has_not_been_run(place: Workspace, seeds: Seeds):
    interrupted(place, seeds, 6, range(8))

    # Six seeds with a mean far above the target, but eight were promised; a second look at five of them does not help.
    some = unrun.run(place, unrun.plan(range(5)))
    [row] = leaderboard.collect(place)
    assert (row.seeds, row.tier, row.reached) == (6, Tier.MEASURED, False)
    assert (some.row.tier, some.passed) == (Tier.MEASURED, False)
    assert not recorded_verdict(unrun.plan(range(5)), place).passed

    verdict = unrun.run(place, unrun.plan(range(8)))
    [row] = leaderboard.collect(place)
    assert (row.seeds, row.tier, verdict.passed) == (8, Tier.VERIFIED, True)


def test_seeds_declared_for_another_target_hold_nothing_up(place: Workspace, seeds: Seeds):
    network, recipe, dataset, _, protocol = unrun.run(place, unrun.plan()).record.key
    ledger.declare_verification(place.ledger, (network, recipe, dataset, 99.0, protocol), range(5, 9))

    assert [row.tier for row in leaderboard.collect(place)] == [Tier.VERIFIED]
