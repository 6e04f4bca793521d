"""Consistency checks of evidence: no faults without changes, and a fault with the file name for each change."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.data.datasets import DATASETS
from harness.evidence import leaderboard_table, ledger, record
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.evidence.ledger import AttemptResult
from harness.evidence.record import RowKey
from harness.publication.consistency import faults, has_full_history
from harness.studies.standing import Standing
from harness.system import files, machine
from harness.system.files import Workspace
from tests.factories import make_record
from tests.verifications import NETWORK, commit_evidence, delete_git, delete_line, edit, git, record_of, weights


@pytest.mark.parametrize("with_git", [True, False])
def test_unchanged_evidence_has_no_faults(with_git: bool, store: Workspace, capsys: pytest.CaptureFixture[str]):
    if not with_git:
        delete_git(store)

    assert faults(store) == []
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "with_history": with_git}
    # The remaining tests of this file rely on these rows and files.
    assert [row.tier for row in leaderboard_table.collect(store)] == [Standing.CERTIFIED, Standing.MEASURED]
    assert len(list(store.records.glob("weights/*/*"))) == 26


def test_empty_workspace_and_shallow_clone_have_no_faults(store: Workspace, tmp_path: Path):
    clone = Workspace(store.root / "clone")
    git(store, "clone", "--quiet", "--depth", "1", f"file://{store.root}", str(clone.root))

    assert faults(clone) == []
    assert not has_full_history(clone.records)
    assert has_full_history(store.records)
    assert faults(Workspace(tmp_path / "nothing")) == []


# Any change ----------------------------------------------------------------------------------------------------


def evidence_files(store: Workspace) -> list[Path]:
    """Return the committed files: records, ledger, test log, two files of weights and the leaderboard."""
    weight_files = [weights(store, index) for index in (0, 7)]
    return [*store.records.glob("*.json"), store.ledger, store.test_log, *weight_files, store.leaderboard]


def damage(path: Path, draw: random.Random) -> bytes:
    """Return the content of a file with a flipped bit, a dropped or moved line, a cut end or a changed digit."""
    content = bytearray(path.read_bytes())
    lines = path.read_bytes().splitlines(keepends=True)
    ways = ["flip", "flip", "drop", "move", "cut", "figure"]
    change = draw.choice(ways if path.suffix != ".safetensors" else ["flip", "cut"])
    if change == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif change == "drop":
        del lines[draw.randrange(len(lines))]
        return b"".join(lines)
    elif change == "move":
        lines.insert(draw.randrange(len(lines)), lines.pop())
        return b"".join(lines)
    elif change == "cut":
        del content[draw.randrange(len(content) - 1) :]
    else:
        index = draw.choice([index for index, byte in enumerate(content) if chr(byte) in "12345678"])
        content[index] = ord(draw.choice([each for each in "123456789" if ord(each) != content[index]]))
    return bytes(content)


def is_equivalent(path: Path, before: bytes, after: bytes) -> bool:
    """Return whether two contents differ at most in spaces, spelling of numbers, or order of log lines."""
    try:
        if path.suffix == ".jsonl":
            return sorted(before.splitlines()) == sorted(after.splitlines())
        return path.suffix == ".json" and bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


@pytest.mark.parametrize("state", ["edited", "committed", "anchored", "gone"])
@pytest.mark.parametrize("seed", range(12))
def test_faults_name_changed_file(seed: int, state: str, store: Workspace):
    draw = random.Random(f"{seed} {state}")
    path = draw.choice(evidence_files(store))
    before = after = path.read_bytes()
    while after == before or is_equivalent(path, before, after):
        after = damage(path, draw)
    path.write_bytes(after)
    if state == "gone":
        path.unlink()
        # A missing leaderboard is not a fault.
        assert path != store.leaderboard or faults(store) == []
    if state != "edited":
        commit_evidence(store, "2026-11-20T10:00:00+00:00")

    messages = faults(store, "HEAD~1" if state == "anchored" else None)
    assert any(path.name in fault for fault in messages) is ((path, state) != (store.leaderboard, "gone")), after[:2000]


def test_line_dropped_by_merge_is_a_fault(store: Workspace):
    git(store, "checkout", "--quiet", "-b", "theirs")
    content = store.test_log.read_text(encoding="utf-8")
    files.append_line(store.test_log, '{"theirs": 1}')
    commit_evidence(store)
    git(store, "checkout", "--quiet", "-")
    git(store, "merge", "--quiet", "--no-ff", "--strategy", "ours", "--no-edit", "theirs")

    assert store.test_log.read_text(encoding="utf-8") == content
    assert '{"theirs": 1}' in faults(store)[0]


def test_anchor_finds_rewritten_history(store: Workspace, capsys: pytest.CaptureFixture[str]):
    published = machine.git(store.root, "rev-parse", "HEAD")
    assert published is not None
    for path in (store.ledger, store.test_log):
        files.append_line(path, path.read_text(encoding="utf-8").splitlines()[0])
    commit_evidence(store)
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 0

    delete_git(store)
    delete_line(store.test_log, lambda line: line["purpose"].endswith(" seed 9"))
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    commit_evidence(store)
    [fault] = faults(store)
    assert "attempt 1: beacon: " in fault
    capsys.readouterr()
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    assert published.strip() in capsys.readouterr().out
    assert run(["leaderboard", "--anchor", published.strip()]) == 2


# Comparison with computed values, without git --------------------------------------------------------------------


def with_entry(is_selected: Callable[[dict[str, Any]], bool], **changes: Any) -> Callable[[Workspace], object]:
    """Return a function that changes the ledger entries selected by a predicate."""

    def change(store: Workspace) -> None:
        lines = [json.loads(line) for line in store.ledger.read_text(encoding="utf-8").splitlines()]
        rows = [entry | changes if is_selected(entry) else entry for entry in lines]
        assert rows != lines
        store.ledger.write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")

    return change


def with_rows(change: Callable[[list[LeaderboardRow]], list[LeaderboardRow]]) -> Callable[[Workspace], object]:
    def rewrite(store: Workspace) -> None:
        rows = change(leaderboard_table.read(store.leaderboard))
        files.write_text(store.leaderboard, leaderboard_table.to_csv(rows))

    return rewrite


def with_weights(change: Callable[[bytes], bytes]) -> Callable[[Workspace], object]:
    return lambda store: weights(store, 3).write_bytes(change(weights(store, 3).read_bytes()))


def drop_attempt(store: Workspace) -> None:
    delete_line(store.ledger, lambda line: line.get("outcome") == "open")
    delete_line(store.ledger, is_end)


def declare_excessive_alpha(store: Workspace) -> None:
    attempt = ledger.read(store.ledger).attempts[0].key._replace(hash="0" * 12)
    earlier = ledger.declare_attempt(store.ledger, attempt, 0, 20, "1" * 40)
    files.append_line(store.ledger, json.dumps(asdict(earlier) | {"number": 3, "hash": "1" * 12, "alpha": 0.01}))


def add_evaluation(store: Workspace) -> None:
    entry = {"kind": "evaluation", "on": "others", "on_sha256": "0", "images": 100, "indices": [0, 1], "errors": [2, 4]}
    key = {"hash": "0" * 12, "recipe_hash": "1" * 12, "dataset": "mnist", "protocol_version": 1, "declared_utc": ""}
    files.append_line(store.ledger, json.dumps(entry | key | {"lower_bound_pct": 97.0}))


def drop_worst_seeds(store: Workspace) -> None:
    def keep_the_best(seeds: list[dict[str, Any]]) -> None:
        seeds[6:] = sorted(sorted(seeds[6:], key=lambda run: run["test_errors"])[:10], key=lambda run: run["index"])

    edit(record_of(store), keep_the_best)


def duplicate_target(store: Workspace) -> None:
    text = record_of(store).read_text(encoding="utf-8").rstrip().removesuffix("}")
    record_of(store).write_text(text.rstrip() + ',\n "target_pct": 99.4\n}\n', encoding="utf-8")


def is_end(line: dict[str, Any]) -> bool:
    return line.get("outcome") == "certified"


FORGERIES = [
    ("ledger", "attempt 1: outcome: open stated, certified", lambda store: delete_line(store.ledger, is_end)),
    ("ledger", "attempt 1: lacking", drop_attempt),
    ("ledger", "outcome: certified with bound 99.49 ", with_entry(is_end, lower_bound_pct=99.49)),
    ("ledger", "outcome: certified with bound None", with_entry(is_end, lower_bound_pct=None)),
    ("ledger", "outcome: failed with bound", with_entry(is_end, outcome="failed")),
    ("ledger", "alpha: 0.5 stated, ", with_entry(lambda line: "number" in line, alpha=0.5)),
    ("ledger", "alpha: 0.01 stated, 0.0064 computed", declare_excessive_alpha),
    ("ledger", "lower_bound_pct: 97.0 stated, ", add_evaluation),
    ("ledger", "rules: 1 stated", with_entry(lambda line: "number" in line, rules=1)),
    ("ledger", "declared 2026-11-21", with_entry(lambda line: True, declared_utc="2026-11-21T07:00:00+00:00")),
    ("record", "duplicate key 'target_pct'", duplicate_target),
    ("ledger", "lacks seed ", drop_worst_seeds),
    ("ledger", "has no record", lambda store: record_of(store).unlink()),
    (
        "record",
        "test_errors of seed 4",
        lambda store: edit(record_of(store), lambda seeds: seeds[4].update(test_errors=1)),
    ),
    ("weights", "architecture: ", with_weights(lambda content: content.replace(b"bn relu", b"bn leak"))),
    ("weights", "weights: ", with_weights(lambda content: content[:-1] + b"!")),
    ("weights", "cannot read the weights ", with_weights(lambda content: b"")),
    (
        "leaderboard",
        "mean_test_accuracy_pct: 99.9 stated",
        with_rows(lambda rows: [replace(rows[0], mean_test_accuracy_pct=99.9), rows[1]]),
    ),
    (
        "leaderboard",
        "tier: certified stated",
        with_rows(lambda rows: [rows[0], replace(rows[1], tier=Standing.CERTIFIED)]),
    ),
    ("leaderboard", "no row stated", with_rows(lambda rows: rows[:1])),
    ("leaderboard", "different order or number", with_rows(lambda rows: [*rows, rows[1]])),
    ("leaderboard", "different order or number ", with_rows(lambda rows: rows[::-1])),
    ("leaderboard", "no row computed", with_rows(lambda rows: [*rows, replace(rows[1], hash="0" * 12)])),
    ("leaderboard", "is not a leaderboard", lambda store: store.leaderboard.write_text("rank,name\n")),
]


@pytest.mark.parametrize(("name", "message", "change"), FORGERIES, ids=[message for _, message, _ in FORGERIES])
def test_check_finds_forged_value(
    name: str, message: str, change: Callable[[Workspace], object], store: Workspace, capsys: pytest.CaptureFixture[str]
):
    delete_git(store)
    change(store)

    assert run(["leaderboard", "--check"]) == 4

    path = {"ledger": store.ledger, "leaderboard": store.leaderboard}
    output = capsys.readouterr().out.splitlines()
    assert any(message in fault and str(path.get(name, store.records)) in fault for fault in output)


def write_row(store: Workspace, **changes: Any) -> Path:
    """Write a record of six seeds that began before declarations existed, and return the path of the record."""
    evidence = replace(make_record([0] * 6), **changes)
    record.write(store.records, evidence)
    return evidence.path(store.records)


@pytest.mark.usefixtures("undeclared_by_name")
def test_old_seeds_without_declaration_are_a_fault(store: Workspace):
    delete_git(store)
    path = write_row(store, target_pct=98.0)

    assert any("declaration of seeds 0, 1, 2, 3, 4, 5" in fault for fault in faults(store))
    rows = {row.target_pct: row.tier for row in leaderboard_table.survey(store).rows if row.hash == path.name[:12]}
    assert rows[98.0] is Standing.MEASURED


@pytest.mark.usefixtures("shipped", "undeclared_by_name")
def test_shipped_rows_without_declaration_are_named():
    records = record.read_all(files.SHIPPED / "records")
    counts = {evidence.key: leaderboard_table._undeclared_count(evidence) for evidence in records}

    assert sum(map(bool, counts.values())) == 23
    assert faults(Workspace(files.SHIPPED)) == []
    # Further seeds of a named row, and other rows of the network, need a declaration.
    evidence = next(each for each in records if counts[each.key] == 3)
    extra = replace(evidence, seeds=(*evidence.seeds, replace(evidence.seeds[0], index=3)))
    assert leaderboard_table._undeclared_seeds(extra, ledger.Ledger()) == [3]
    assert leaderboard_table._undeclared_seeds(replace(evidence, target_pct=98.0), ledger.Ledger()) == [0, 1, 2]


def test_raised_probability_of_a_look_is_a_fault(store: Workspace):
    delete_git(store)
    rows = [RowKey(str(number) * 12, "a" * 12, "mnist", 99.4, 1) for number in range(3)]
    for row in rows:
        ledger.declare_seeds(store.ledger, row, range(6))
    ledger.declare_seeds(store.ledger, rows[0], range(6, 8))
    assert not any("look_alpha" in fault for fault in faults(store))

    for row in rows:
        content = store.ledger.read_bytes()

        def is_look(line: dict[str, Any], network: str = row.hash) -> bool:
            return bool(line["hash"] == network and line["look_alpha"] > 0)

        with_entry(is_look, look_alpha=0.02)(store)
        assert any(f"{row.hash} on mnist: look_alpha: 0.02 stated" in fault for fault in faults(store))
        store.ledger.write_bytes(content)
    # Further seeds of a row spend nothing.
    with_entry(lambda line: line["look_alpha"] == 0, look_alpha=0.001)(store)
    assert any("look_alpha: 0.001 stated, 0 computed" in fault for fault in faults(store))


@pytest.mark.parametrize("document", ["record", "declaration"])
def test_hash_of_other_data_is_a_fault(document: str, store: Workspace):
    delete_git(store)
    zeros = "0" * 64
    if document == "record":
        edit(record_of(store), lambda seeds: seeds[2]["environment"].update(data_hash=zeros))
    else:
        row = RowKey("1" * 12, "a" * 12, "mnist", 99.4, 1)
        data = replace(DATASETS["mnist"], sha256=zeros)
        ledger.declare_seeds(store.ledger, row, range(20), certified_data=data)

    assert any("data_hash: 0000000000000000 stated, ca679089cd9dd461 computed" in fault for fault in faults(store))


def test_failed_attempt_stated_as_certified_is_not_ranked(store: Workspace):
    delete_git(store)
    edit(record_of(store), lambda seeds: [seed.update(test_errors=seed["test_errors"] + 9) for seed in seeds])
    edit(record_of(store), lambda seeds: [seed["wrong"].extend([i, 3] for i in range(90, 99)) for seed in seeds])
    evidence, [attempt] = record.read(record_of(store)), ledger.read(store.ledger).attempts
    outcome, bound = attempt.result(evidence)
    with_entry(is_end, lower_bound_pct=bound)(store)

    assert outcome is AttemptResult.FAILED
    assert leaderboard_table.LeaderboardRow.of(evidence, ledger.read(store.ledger)).tier is not Standing.CERTIFIED
    assert [row.target_pct for row in leaderboard_table.survey(store).rows] == [99.0]
    before = store.leaderboard.read_bytes()
    assert run(["leaderboard", "--publish", NETWORK.hash]) == 4
    assert store.leaderboard.read_bytes() == before
    assert [row.target_pct for row in leaderboard_table.refresh(store)] == [99.0]
