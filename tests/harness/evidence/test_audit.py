"""The audit of a workspace: nothing to say of an honest one, one sentence for each way of changing it afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save

from harness.cli import run
from harness.evidence import leaderboard, record, weight_file
from harness.evidence.audit import audit
from harness.evidence.leaderboard import Tier
from harness.system import files
from harness.system.document import BRING_BACK
from harness.system.files import Workspace
from tests.harness import unrun
from tests.harness.lived_in import drop, edit, fault_of, forget, record_of, weights

Change = Callable[[Workspace], Path]


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    return inhabited


# Honest workspaces --------------------------------------------------------------------------------------------


def test_an_honest_workspace_holds_together(place: Workspace, capsys: pytest.CaptureFixture[str]):
    assert audit(place) == []
    assert run(["leaderboard", "--check"]) == 0
    assert capsys.readouterr().out == f"the evidence in {place.root} holds together\n"
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "with_history": True}

    # It has what the rest of this file takes from it.
    assert [row.tier for row in leaderboard.collect(place)] == [Tier.CERTIFIED, Tier.MEASURED]
    assert len(list(place.records.glob("weights/*/*"))) == 26


def test_without_all_of_git_s_history_it_is_said_that_nothing_was_compared_with_it(
    place: Workspace, capsys: pytest.CaptureFixture[str]
):
    forget(place)

    assert run(["leaderboard", "--check"]) == 0
    assert capsys.readouterr().out.endswith("it was not compared with all that was committed\n")
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["with_history"] is False


def test_an_honest_workspace_without_git_holds_together(place: Workspace):
    forget(place)

    assert audit(place) == []


def test_what_was_tried_out_in_a_clone_needs_no_row_until_it_is_committed(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    unrun.git(place, "add", "leaderboard.csv")
    unrun.commit(place)
    unrun.without_training(monkeypatch)
    unrun.run(place, unrun.plan(range(2), target_pct=98.0))

    assert not any("lacks the row" in fault for fault in audit(place))
    unrun.commit(place)
    assert any("lacks the row" in fault for fault in audit(place))


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

    assert fault_of(place).startswith(f"{path} was committed once and has been removed")


@pytest.mark.parametrize(("gone", "others"), [((3,), ""), ((3, 4, 5), " and 2 further files")])
def test_weights_that_were_removed_are_told_once_a_row(gone: tuple[int, ...], others: str, place: Workspace):
    paths = [weights(place, index) for index in gone]
    for path in paths:
        path.unlink()

    assert fault_of(place).startswith(f"{paths[0].parent} lacks seed-0003.safetensors{others}, committed once")


def test_a_record_that_was_removed_is_told_by_the_table(place: Workspace):
    forget(place)
    record_of(place, "99").unlink()

    [fault] = audit(place)

    assert str(place.leaderboard) in fault
    assert f"has the row of {unrun.NETWORK.hash} (fast, 99 %), which no record or claim gives" in fault


# Weights ------------------------------------------------------------------------------------------------------


def test_one_bit_of_the_weights_is_told(place: Workspace):
    path = weights(place, 3)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    # Two records have each of the first two seeds, and one this.
    fault = fault_of(place)
    assert str(path) in fault
    assert "holds the weights " in fault


def test_changed_weights_with_a_line_that_calls_them_a_repeat_are_told(place: Workspace):
    path, [recorded] = weights(place, 3), [run for run in record.read(record_of(place)).seeds if run.index == 3]
    unrun.commit(place)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    evidence = record.read(record_of(place))
    weight_file.add_repeat(
        place.records,
        weight_file.Repeat(
            hash=evidence.hash,
            recipe_hash=evidence.recipe_hash,
            dataset=evidence.dataset,
            seed_index=3,
            recorded_sha256=recorded.weights_sha256 or "",
            weights_sha256=weight_file.read(path).sha256,
            environment=unrun.ENVIRONMENT,
            trained_utc="2026-11-21T08:00:00+00:00",
        ),
    )
    unrun.commit(place)

    fault = fault_of(place)
    assert str(path) in fault
    assert "is not as commit" in fault


def test_weights_that_say_they_are_of_another_network_are_told(place: Workspace):
    path = weights(place, 3)
    path.write_bytes(path.read_bytes().replace(b"bn relu", b"bn leak"))

    fault = fault_of(place)

    assert str(path) in fault
    assert "states its architecture as " in fault


def test_a_changed_bit_of_what_weights_say_of_themselves_is_told(place: Workspace):
    path = weights(place, 3)
    path.write_bytes(path.read_bytes().replace(b"architecture", b"brchitecture"))
    assert "states its architecture as " in fault_of(place)

    unrun.git(place, "checkout", "--", str(path))
    # A word that no record has.
    kept = weight_file.read(path)
    about = {**kept.about, "engine": "another", "tied": dict(kept.tied), "state": list(kept.state)}
    path.write_bytes(save(dict(kept.kept), {"harness": json.dumps(about)}))
    assert fault_of(place).endswith("what it says of its weights was changed")


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_weights_that_cannot_be_read_are_told(content: bytes, place: Workspace):
    weights(place, 3).write_bytes(content)

    assert f"cannot read the weights {weights(place, 3)}" in fault_of(place)


def test_weights_that_no_record_has_are_told(place: Workspace):
    path = weights(place, 3).with_name("seed-0099.safetensors")
    shutil.copy(weights(place, 3), path)

    assert fault_of(place) == f"{path} holds weights of a seed that no record has"

    shutil.copy(path, path.with_name("seed-0100.safetensors"))
    assert fault_of(place) == f"{path.parent} holds weights of 2 seeds that no record has"


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

    # The first line is seed 0; the other record has read it too. But nobody has a seed on the other data set.
    [fault] = audit(place)
    assert f"has the read of {unrun.NETWORK.hash} (fast, kmnist), seed 0, which neither" in fault
    place.test_log.write_text(text.replace('"mnist"', '"kmnist"'), encoding="utf-8")
    assert sum("lacks the read of " in fault for fault in audit(place)) == 2


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
    (fault,) = capsys.readouterr().out.splitlines()
    assert f"the ledger {place.ledger}, line 1: " in fault
    # What helps is told too.
    assert BRING_BACK in fault
