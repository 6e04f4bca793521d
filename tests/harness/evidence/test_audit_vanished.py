"""Attempts that were taken out of the ledger with their records: the log of reads tells of them."""

from __future__ import annotations

import json

import pytest

from harness.cli import run
from harness.evidence import leaderboard, ledger
from harness.evidence.audit import audit
from harness.system import files
from harness.system.files import Workspace
from tests.harness import unrun
from tests.harness.lived_in import drop, fault_of, forget, record_of


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    return inhabited


def without_the_last_attempt(place: Workspace) -> None:
    """Take out all that says of the attempt that it was: its lines, and the record of its seeds."""
    forget(place)
    drop(place.ledger, lambda line: line.get("outcome") == "open")
    drop(place.ledger, lambda line: line.get("outcome") == "certified")
    record_of(place).unlink()
    leaderboard.refresh(place)


def test_an_attempt_that_has_vanished_with_its_record_is_told_by_its_reads(place: Workspace):
    without_the_last_attempt(place)
    for path in place.records.glob("weights/*/*"):
        if int(path.stem.rpartition("-")[2]) > 5:
            path.unlink()

    faults = audit(place)

    assert faults[-1] == (
        f"{place.test_log} has the read of {unrun.NETWORK.hash} (fast, mnist), seed 6, "
        "which neither a record nor the ledger has"
    )


@pytest.mark.parametrize("last", [True, False])
def test_a_table_without_an_attempt_that_was_made_is_not_published(
    last: bool, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    assert run(["leaderboard", "--publish"]) == 0
    network, recipe, _, target, protocol = leaderboard.survey(place).records[0].key
    without_the_last_attempt(place)
    if not last:
        # A later one, so that its number is missing; its reads are gone, too.
        place.test_log.unlink()
        ledger.declare(place.ledger, (network, recipe, "kmnist", target, protocol), 40, 20)
        text = place.ledger.read_text(encoding="utf-8")
        place.ledger.write_text(text.replace('"number": 1', '"number": 2'), encoding="utf-8")
    before = place.leaderboard.read_bytes()
    capsys.readouterr()

    assert run(["leaderboard", "--publish"]) == 4

    said = "has the read of" if last else "lacks attempt 1, though it has later ones"
    assert said in capsys.readouterr().err
    assert place.leaderboard.read_bytes() == before


def test_a_read_for_another_recipe_does_not_serve(place: Workspace):
    forget(place)
    purpose = f"verify {unrun.NETWORK.hash} small seed 0"
    files.append_line(place.test_log, json.dumps({"dataset": "mnist", "purpose": purpose}))

    assert f"has the read of {unrun.NETWORK.hash} (small, mnist), seed 0" in fault_of(place)


def test_a_read_of_a_declared_seed_that_is_not_finished_is_no_fault(place: Workspace):
    forget(place)
    ledger.declare_verification(place.ledger, leaderboard.survey(place).records[0].key, [40, 41])
    purpose = f"verify {unrun.NETWORK.hash} fast seed 40"
    files.append_line(place.test_log, json.dumps({"dataset": "mnist", "purpose": purpose}))

    assert not any(str(place.test_log) in fault for fault in audit(place))


def test_the_end_of_an_attempt_without_a_record_is_told(place: Workspace):
    forget(place)
    record_of(place).unlink()
    leaderboard.refresh(place)

    assert f"{place.ledger} has the end of attempt 1, but {unrun.NETWORK.hash} has no record of its seeds" in audit(
        place
    )
