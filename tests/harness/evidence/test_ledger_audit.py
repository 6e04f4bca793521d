"""The audit of the ledger: lines that are lacking, and declarations that are younger than what they declare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from harness.evidence import leaderboard, ledger
from harness.evidence.audit import audit
from harness.system import files
from harness.system.files import Workspace
from tests.harness import unrun
from tests.harness.lived_in import drop, edit, fault_of, forget, record_of, weights


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    return inhabited


LINES = [
    pytest.param(
        lambda line: line.get("outcome") == "open",
        "has the end of attempt 1, but not the line that declared it",
        id="attempt",
    ),
    pytest.param(
        lambda line: line.get("outcome") == "certified",
        "lacks the end of attempt 1, though all of its seeds have been run",
        id="end",
    ),
    pytest.param(
        lambda line: line.get("indices") == [3, 4, 5],
        f"lacks the declaration of seed 3 of {unrun.NETWORK.hash}",
        id="verification",
    ),
]


@pytest.mark.parametrize(("which", "said"), LINES)
def test_a_line_that_was_taken_out_of_the_ledger_is_told(
    which: Callable[[dict[str, Any]], bool], said: str, place: Workspace
):
    forget(place)
    drop(place.ledger, which)

    assert f"{place.ledger} {said}" in fault_of(place)


@pytest.mark.parametrize("which", [item.values[0] for item in LINES])
@pytest.mark.parametrize("committed", [False, True])
def test_a_line_that_was_taken_out_of_the_ledger_is_told_by_git(
    which: Callable[[dict[str, Any]], bool], committed: bool, place: Workspace
):
    drop(place.ledger, which)
    leaderboard.refresh(place)
    if committed:
        unrun.commit(place, "2026-11-20T10:00:00+00:00")

    assert f"{place.ledger} lacks a line that commit " in fault_of(place)


def test_a_line_of_the_ledger_that_was_changed_is_told_by_git_with_its_field(place: Workspace):
    text = place.ledger.read_text(encoding="utf-8").splitlines(keepends=True)
    entry = json.loads(text[0])
    before, entry["declared_utc"] = entry["declared_utc"], "2026-11-20T08:30:00+00:00"
    place.ledger.write_text("".join([json.dumps(entry) + "\n", *text[1:]]), encoding="utf-8")

    assert f"declared_utc was {before}, and is 2026-11-20T08:30:00+00:00" in audit(place)[0]


def test_a_seed_of_a_certified_record_that_was_changed_is_named_first(place: Workspace):
    def fewer(seeds: list[dict[str, Any]]) -> None:
        seeds[-1]["test_errors"] -= 1
        del seeds[-1]["wrong"][-1]

    edit(record_of(place), fewer)

    assert "is not as commit " in fault_of(place)


def test_an_attempt_with_both_of_its_lines_gone_is_told_by_its_seeds(place: Workspace):
    forget(place)
    drop(place.ledger, lambda line: line.get("outcome") == "open")
    drop(place.ledger, lambda line: line.get("outcome") == "certified")

    assert f"{place.ledger} lacks attempt 1, for which seeds of {unrun.NETWORK.hash} were run" in fault_of(place)


def test_an_attempt_that_later_ones_were_counted_from_is_told(place: Workspace):
    forget(place)
    network, recipe, _, target, protocol = leaderboard.survey(place).records[0].key
    other = (network, recipe, "kmnist", target, protocol)
    for first in (40, 60):
        ledger.declare(place.ledger, other, first, 20)
    drop(place.ledger, lambda line: line.get("number") == 2)

    assert fault_of(place) == f"{place.ledger} lacks attempt 2, though it has later ones"


@pytest.mark.parametrize(
    ("kind", "name"), [("verification", f"the verification of {unrun.NETWORK.hash}"), ("attempt", "attempt 1 is of")]
)
def test_a_declaration_that_is_younger_than_its_first_seed_is_told(kind: str, name: str, place: Workspace):
    forget(place)
    text = []
    for line in place.ledger.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if (kind == "attempt" and "number" in entry) or (kind == "verification" and entry.get("indices") == [3, 4, 5]):
            entry["declared_utc"] = "2026-11-20T08:30:00+00:00"
        text.append(json.dumps(entry) + "\n")
    place.ledger.write_text("".join(text), encoding="utf-8")

    fault = fault_of(place)

    assert f"{place.ledger}: {name}" in fault
    assert "2026-11-20T08:30:00+00:00, after seed " in fault


def test_a_declaration_that_was_committed_after_its_first_seed_is_told(place: Workspace):
    forget(place)
    unrun.commit(place, "2026-11-20T08:30:00+00:00")

    fault = fault_of(place)

    assert f"{place.ledger}: the commit of attempt 1 is of 2026-11-20T08:30:00" in fault
    assert ", after seed 6 had begun (2026-11-20T08:00:10+00:00)" in fault


def test_a_declaration_that_was_never_committed_is_told(place: Workspace):
    forget(place)
    unrun.git(place, "init", "--quiet")

    assert fault_of(place) == f"{place.ledger}: attempt 1 has seeds, but no commit has the line that declared it"


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("2026-11-20T10:00:00+00:00", None),
        ("2026-11-22T10:00:00+00:00", "the commit of attempt 1 is of 2026-11-22T10:00:00"),
    ],
    ids=["before", "backdated"],
)
def test_an_attempt_that_names_no_commit_must_have_been_committed_before_one_was_asked_for(
    date: str, said: str | None, place: Workspace
):
    forget(place)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace(f'"{"1" * 40}"', "null"), encoding="utf-8")
    unrun.commit(place, date)

    if said is None:
        assert audit(place) == []
    else:
        assert said in fault_of(place)


def test_an_attempt_that_spends_more_than_is_left_is_told(place: Workspace):
    forget(place)
    earlier = ledger.declare(place.ledger, ("0" * 12, *ledger.read(place.ledger)[0].key[1:]), 0, 20, "1" * 40)
    greedy = asdict(earlier) | {"number": 3, "hash": "1" * 12, "alpha": 0.01}
    files.append_line(place.ledger, json.dumps(greedy))
    unrun.commit(place, "2026-11-20T08:00:00+00:00")

    assert f"{place.ledger}: attempt 3 spends 0.01, but those before it leave it 0.0064" in audit(place)


def test_a_certified_attempt_whose_seeds_are_not_on_record_is_told(place: Workspace):
    forget(place)
    edit(record_of(place), lambda seeds: seeds.pop())
    weights(place, 25).unlink()

    assert f"attempt 1 is certified, but the record of {unrun.NETWORK.hash} lacks seed 25" in fault_of(place)


@pytest.mark.parametrize("date", ["yesterday", "2026-11-20"])
def test_a_time_is_read_with_care(date: str, place: Workspace):
    forget(place)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace("2026-11-20T07:00:00+00:00", date), encoding="utf-8")

    faults = audit(place)

    assert len(faults) == (date == "yesterday")
    assert not faults or "'yesterday' is not a time" in faults[0]
