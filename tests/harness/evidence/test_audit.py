"""The audit of a workspace: nothing to say of an honest one, one sentence for each way of changing it afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import files
from harness.cli import run
from harness.errors import ContentError
from harness.evidence import leaderboard, ledger, verify, weight_file
from harness.evidence.audit import audit
from harness.evidence.leaderboard import Tier
from harness.training.build import build
from harness.training.run import Job
from harness.training.weights import to_safetensors
from harness.workspace import Workspace
from tests.harness import unrun

Change = Callable[[Workspace], Path]


def lived_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workspace with two verifications and a certification of one network, declared at 7 and run from 8 on."""
    place, seeds = Workspace(root), unrun.without_training(monkeypatch)
    monkeypatch.setattr(ledger, "_now", lambda: "2026-11-20T07:00:00+00:00")
    monkeypatch.setattr(verify, "code_version", lambda: ("1" * 40, False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        learned = to_safetensors(build(unrun.NETWORK), {"architecture": str(unrun.NETWORK)})
    files.write_bytes(root / "learned", learned)
    digest = weight_file.read(root / "learned").sha256

    def train(job: Job) -> None:
        purpose = f"verify {unrun.NETWORK.hash} {job.recipe_name} seed {job.seed_index}"
        files.append_line(place.test_log, json.dumps({"dataset": "mnist", "purpose": purpose}))
        assert job.weights is not None
        files.write_bytes(job.weights, learned)

    seeds.watch, seeds.weights, seeds.errors = train, lambda index: digest, lambda index: 50 + index % 4
    unrun.run(place, unrun.plan(range(3)))
    unrun.run(place, unrun.plan(range(6)))
    certification = unrun.plan(certify=True)
    unrun.declared(place, certification, 20)
    unrun.run(place, certification)
    unrun.run(place, unrun.plan(range(2), target_pct=99.0))
    leaderboard.refresh(place)
    unrun.commit(place, "2026-11-20T09:00:00+00:00")
    return place


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        yield lived_in(tmp_path_factory.mktemp("honest"), patch)


@pytest.fixture
def place(honest: Workspace, workspace: Path) -> Workspace:
    """A copy of it, which may be changed."""
    shutil.copytree(honest.root, workspace, dirs_exist_ok=True)
    return Workspace(workspace)


def forget(place: Workspace) -> None:
    """Take the repository away."""
    shutil.rmtree(place.root / ".git")


def fault_of(place: Workspace) -> str:
    """Make the table anew, as whoever changes evidence with care does, and return the only fault."""
    with suppress(ContentError):
        leaderboard.refresh(place)
    [fault] = audit(place)
    return fault


def record_of(place: Workspace, target: str = "99_4") -> Path:
    [path] = place.records.glob(f"*-{target}.json")
    return path


def edit(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the seeds of a record."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["seeds"])
    path.write_text(json.dumps(document), encoding="utf-8")


def drop(path: Path, which: Callable[[dict[str, Any]], bool]) -> None:
    """Drop exactly one line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [line for line in lines if not which(json.loads(line))]
    assert len(left) == len(lines) - 1
    path.write_text("".join(left), encoding="utf-8")


# Honest workspaces --------------------------------------------------------------------------------------------


def test_an_honest_workspace_holds_together(place: Workspace, capsys: pytest.CaptureFixture[str]):
    assert audit(place) == []
    assert run(["leaderboard", "--check"]) == 0
    assert capsys.readouterr().out == f"the evidence in {place.root} holds together\n"
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": []}

    # It has what the rest of this file takes from it.
    assert [row.tier for row in leaderboard.collect(place)] == [Tier.CERTIFIED, Tier.MEASURED]
    assert len(list(place.records.glob("weights/*/*"))) == 26


def test_an_honest_workspace_without_git_holds_together(place: Workspace):
    forget(place)

    assert audit(place) == []


def test_an_empty_workspace_holds_together(tmp_path: Path):
    assert audit(Workspace(tmp_path)) == []


def test_a_shallow_clone_of_an_honest_workspace_holds_together(place: Workspace):
    clone = Workspace(place.root / "clone")
    unrun.git(place, "clone", "--quiet", "--depth", "1", f"file://{place.root}", str(clone.root))

    assert audit(clone) == []


def test_a_seed_that_was_recorded_by_another_name_of_its_recipe_is_found_in_the_log(place: Workspace):
    forget(place)
    text = place.test_log.read_text(encoding="utf-8")
    place.test_log.write_text(text.replace(" fast seed", " quick seed"), encoding="utf-8")

    assert audit(place) == []


# Records ------------------------------------------------------------------------------------------------------


def one_error_fewer(seeds: list[dict[str, Any]]) -> None:
    """Edit a seed as with care: its count and its list agree."""
    seeds[4]["test_errors"] -= 1
    del seeds[4]["wrong"][-1]


@pytest.mark.parametrize("committed", [False, True])
def test_a_record_that_was_edited_with_care_is_told_by_git(committed: bool, place: Workspace):
    edit(record_of(place), one_error_fewer)
    leaderboard.refresh(place)
    if committed:
        unrun.commit(place, "2026-11-20T10:00:00+00:00")

    fault = fault_of(place)

    assert str(record_of(place)) in fault
    assert "seed 4 is not as commit " in fault


def test_a_seed_that_was_taken_out_of_a_record_is_told_by_git(place: Workspace):
    edit(record_of(place, "99"), lambda seeds: seeds.pop(1))

    fault = fault_of(place)

    assert str(record_of(place, "99")) in fault
    assert "seed 1 is not as commit " in fault


@pytest.mark.parametrize("git", [False, True])
def test_a_count_that_does_not_fit_its_list_is_told(git: bool, place: Workspace):
    if not git:
        forget(place)
    edit(record_of(place), lambda seeds: seeds[4].update(test_errors=1))

    fault = fault_of(place)

    assert str(record_of(place)) in fault
    assert "test_errors of seed 4 is stated as 1" in fault


def test_a_record_that_was_removed_is_told_by_git(place: Workspace):
    path = record_of(place, "99")
    path.unlink()

    assert fault_of(place) == f"{path} was committed once and has been removed"


def test_a_record_that_was_removed_is_told_by_the_table(place: Workspace):
    forget(place)
    record_of(place, "99").unlink()

    [fault] = audit(place)

    assert str(place.leaderboard) in fault
    assert f"has the row of {unrun.NETWORK.hash} (fast, 99 %), which no record or claim gives" in fault


# Weights ------------------------------------------------------------------------------------------------------


def weights(place: Workspace, index: int) -> Path:
    [path] = place.records.glob(f"weights/*/seed-{index:04d}.safetensors")
    return path


def test_one_bit_of_the_weights_is_told(place: Workspace):
    path = weights(place, 3)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    # Two records have each of the first two seeds, and one this.
    fault = fault_of(place)
    assert str(path) in fault
    assert "holds the weights " in fault


def test_weights_that_say_they_are_of_another_network_are_told(place: Workspace):
    path = weights(place, 3)
    path.write_bytes(path.read_bytes().replace(b"bn relu", b"bn leak"))

    fault = fault_of(place)

    assert str(path) in fault
    assert "states its architecture as " in fault


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_weights_that_cannot_be_read_are_told(content: bytes, place: Workspace):
    weights(place, 3).write_bytes(content)

    assert f"cannot read the weights {weights(place, 3)}" in fault_of(place)


def test_weights_that_no_record_has_are_told(place: Workspace):
    path = weights(place, 3).with_name("seed-0099.safetensors")
    shutil.copy(weights(place, 3), path)

    assert fault_of(place) == f"{path} holds weights of a seed that no record has"


# The ledger ---------------------------------------------------------------------------------------------------

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


def test_an_attempt_with_both_of_its_lines_gone_is_told_by_its_seeds(place: Workspace):
    forget(place)
    for outcome in ("open", "certified"):
        drop(place.ledger, lambda line, outcome=outcome: line.get("outcome") == outcome)

    assert f"{place.ledger} lacks attempt 1, for which seeds of {unrun.NETWORK.hash} were run" in fault_of(place)


def test_an_attempt_that_later_ones_were_counted_from_is_told(place: Workspace):
    forget(place)
    network, recipe, _, target, protocol = leaderboard.survey(place).records[0].key
    other = (network, recipe, "kmnist", target, protocol)
    for first in (40, 60):
        ledger.close(place.ledger, ledger.declare(place.ledger, other, first, 20), ledger.Outcome.FAILED, None)
    for outcome in ("open", "failed"):
        drop(place.ledger, lambda line, outcome=outcome: (line.get("number"), line.get("outcome")) == (2, outcome))

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


def test_an_attempt_of_before_commits_were_asked_for_needs_none(place: Workspace):
    forget(place)
    unrun.git(place, "init", "--quiet")
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace(f'"{"1" * 40}"', "null"), encoding="utf-8")

    assert audit(place) == []


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


# Reads of the test set ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("git", "said"), [(False, "lacks the read of "), (True, "lacks a line that commit ")])
def test_a_read_of_the_test_set_that_is_missing_is_told(git: bool, said: str, place: Workspace):
    if not git:
        forget(place)
    drop(place.test_log, lambda line: line["purpose"].endswith(" seed 9"))

    assert f"{place.test_log} {said}" in fault_of(place)


def test_a_read_of_another_data_set_does_not_serve(place: Workspace):
    forget(place)
    text = place.test_log.read_text(encoding="utf-8")
    place.test_log.write_text(text.replace('"mnist"', '"kmnist"', 1), encoding="utf-8")

    # The first line is seed 0; the other record has read it too.
    assert audit(place) == []
    place.test_log.write_text(text.replace('"mnist"', '"kmnist"'), encoding="utf-8")
    assert len(audit(place)) == 2


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"dataset": "mnist", "purpose": 3}'])
def test_a_log_that_is_none_is_told(line: str, place: Workspace):
    files.append_line(place.test_log, line)

    assert f"cannot read {place.test_log}: " in fault_of(place)


# The table ----------------------------------------------------------------------------------------------------


def rows_as(change: Callable[[list[leaderboard.LeaderboardRow]], list[leaderboard.LeaderboardRow]]) -> Change:
    def changed(place: Workspace) -> Path:
        rows = change(leaderboard.read(place.leaderboard))
        files.write_text(place.leaderboard, leaderboard.to_csv(rows))
        return place.leaderboard

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rows_as(lambda rows: [replace(rows[0], mean_test_accuracy_pct=99.9), rows[1]]), "states mean_test_accuracy"),
        (rows_as(lambda rows: [rows[0], replace(rows[1], tier=Tier.CERTIFIED)]), "as certified, but the records give"),
        (rows_as(lambda rows: rows[:1]), "lacks the row of "),
        (rows_as(lambda rows: [*rows, rows[1]]), "has 3 rows, but some of them twice"),
        (rows_as(lambda rows: [*rows, replace(rows[1], hash="0" * 12)]), "which no record or claim gives"),
    ],
    ids=["accuracy", "tier", "row gone", "row twice", "row invented"],
)
def test_a_table_that_was_edited_is_told(change: Change, said: str, place: Workspace):
    path = change(place)

    [fault] = audit(place)

    assert str(path) in fault
    assert said in fault


def test_a_table_that_is_none_is_told(place: Workspace):
    place.leaderboard.write_text("rank,name\n", encoding="utf-8")

    [fault] = audit(place)
    assert f"{place.leaderboard} is not a leaderboard" in fault


# The command --------------------------------------------------------------------------------------------------


def test_the_command_says_each_fault_and_leaves_with_4(place: Workspace, capsys: pytest.CaptureFixture[str]):
    record_of(place, "99").unlink()
    leaderboard.refresh(place)
    place.test_log.unlink()
    unrun.git(place, "checkout", "--quiet", "--", "records")
    forget(place)
    drop(place.test_log, lambda line: line["purpose"].endswith(" seed 9"))
    drop(place.ledger, lambda line: line.get("outcome") == "open")

    assert run(["leaderboard", "--check"]) == 4

    captured = capsys.readouterr()
    assert captured.err == ""
    first, second, third = captured.out.splitlines()
    assert [str(place.leaderboard) in first, str(place.ledger) in second, str(place.test_log) in third] == [True] * 3
    assert run(["leaderboard", "--check", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["faults"] == [first, second, third]


def test_a_ledger_that_cannot_be_read_is_one_fault(place: Workspace, capsys: pytest.CaptureFixture[str]):
    place.ledger.write_text("{\n", encoding="utf-8")

    assert run(["leaderboard", "--check"]) == 4
    assert f"the ledger {place.ledger}, line 1 is not what this program writes" in capsys.readouterr().out
