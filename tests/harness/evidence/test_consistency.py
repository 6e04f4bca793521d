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
from harness.evidence import bounds, consistency, leaderboard_table, ledger, record
from harness.evidence.consistency import faults
from harness.evidence.leaderboard_table import LeaderboardRow, Tier
from harness.evidence.ledger import AttemptOutcome
from harness.system import files
from harness.system.files import Workspace
from tests.verifications import NETWORK, commit_evidence, delete_git, delete_line, edit, git, record_of, weights


@pytest.mark.parametrize("with_git", [True, False])
def test_unchanged_evidence_has_no_faults(with_git: bool, home: Workspace, capsys: pytest.CaptureFixture[str]):
    if not with_git:
        delete_git(home)

    assert faults(home) == []
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "with_history": with_git}
    # The remaining tests of this file rely on these rows and files.
    assert [row.tier for row in leaderboard_table.collect(home)] == [Tier.CERTIFIED, Tier.MEASURED]
    assert len(list(home.records.glob("weights/*/*"))) == 26


def test_empty_workspace_and_shallow_clone_have_no_faults(home: Workspace, tmp_path: Path):
    clone = Workspace(home.root / "clone")
    git(home, "clone", "--quiet", "--depth", "1", f"file://{home.root}", str(clone.root))

    assert faults(clone) == []
    assert not consistency.has_full_history(clone.records)
    assert consistency.has_full_history(home.records)
    assert faults(Workspace(tmp_path / "nothing")) == []


# Any change ----------------------------------------------------------------------------------------------------


def evidence_files(home: Workspace) -> list[Path]:
    """Return the committed files: records, ledger, test log, two files of weights and the leaderboard."""
    weight_files = [weights(home, index) for index in (0, 7)]
    return [*home.records.glob("*.json"), home.ledger, home.test_log, *weight_files, home.leaderboard]


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
        positions = [index for index, byte in enumerate(content) if chr(byte) in "12345678"]
        index = draw.choice(positions)
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
def test_faults_name_changed_file(seed: int, state: str, home: Workspace):
    draw = random.Random(f"{seed} {state}")
    path = draw.choice(evidence_files(home))
    before = after = path.read_bytes()
    while after == before or is_equivalent(path, before, after):
        after = damage(path, draw)
    path.write_bytes(after)
    if state == "gone":
        path.unlink()
        # A missing leaderboard is not a fault.
        assert path != home.leaderboard or faults(home) == []
    if state != "edited":
        commit_evidence(home, "2026-11-20T10:00:00+00:00")

    messages = faults(home, "HEAD~1" if state == "anchored" else None)
    assert any(path.name in fault for fault in messages) is ((path, state) != (home.leaderboard, "gone")), after[:2000]


def test_line_dropped_by_merge_is_a_fault(home: Workspace):
    git(home, "checkout", "--quiet", "-b", "theirs")
    content = home.test_log.read_text(encoding="utf-8")
    files.append_line(home.test_log, '{"theirs": 1}')
    commit_evidence(home)
    git(home, "checkout", "--quiet", "-")
    git(home, "merge", "--quiet", "--no-ff", "--strategy", "ours", "--no-edit", "theirs")

    assert home.test_log.read_text(encoding="utf-8") == content
    assert '{"theirs": 1}' in faults(home)[0]


def test_anchor_finds_rewritten_history(home: Workspace, capsys: pytest.CaptureFixture[str]):
    published = consistency.git(home.root, "rev-parse", "HEAD")
    assert published is not None
    for path in (home.ledger, home.test_log):
        files.append_line(path, path.read_text(encoding="utf-8").splitlines()[0])
    commit_evidence(home)
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 0

    delete_git(home)
    delete_line(home.test_log, lambda line: line["purpose"].endswith(" seed 9"))
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    commit_evidence(home)
    [fault] = faults(home)
    assert "attempt 1: beacon: " in fault
    capsys.readouterr()
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    assert published.strip() in capsys.readouterr().out
    assert run(["leaderboard", "--anchor", published.strip()]) == 2


# Comparison with computed values, without git --------------------------------------------------------------------


def with_entry(is_selected: Callable[[dict[str, Any]], bool], **changes: Any) -> Callable[[Workspace], object]:
    """Return a function that changes the ledger entries selected by a predicate."""

    def change(home: Workspace) -> None:
        lines = [json.loads(line) for line in home.ledger.read_text(encoding="utf-8").splitlines()]
        rows = [entry | changes if is_selected(entry) else entry for entry in lines]
        assert rows != lines
        home.ledger.write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")

    return change


def with_rows(change: Callable[[list[LeaderboardRow]], list[LeaderboardRow]]) -> Callable[[Workspace], object]:
    def rewrite(home: Workspace) -> None:
        rows = change(leaderboard_table.read(home.leaderboard))
        files.write_text(home.leaderboard, leaderboard_table.to_csv(rows))

    return rewrite


def with_weights(change: Callable[[bytes], bytes]) -> Callable[[Workspace], object]:
    return lambda home: weights(home, 3).write_bytes(change(weights(home, 3).read_bytes()))


def drop_attempt(home: Workspace) -> None:
    delete_line(home.ledger, lambda line: line.get("outcome") == "open")
    delete_line(home.ledger, is_end)


def declare_excessive_alpha(home: Workspace) -> None:
    attempt = ledger.read(home.ledger).attempts[0].key._replace(hash="0" * 12)
    earlier = ledger.declare_attempt(home.ledger, attempt, 0, 20, "1" * 40)
    files.append_line(home.ledger, json.dumps(asdict(earlier) | {"number": 3, "hash": "1" * 12, "alpha": 0.01}))


def add_evaluation(home: Workspace) -> None:
    entry = {"kind": "evaluation", "on": "others", "on_sha256": "0", "images": 100, "indices": [0, 1], "errors": [2, 4]}
    key = {"hash": "0" * 12, "recipe_hash": "1" * 12, "dataset": "mnist", "protocol_version": 1, "declared_utc": ""}
    files.append_line(home.ledger, json.dumps(entry | key | {"lower_bound_pct": 97.0}))


def drop_worst_seeds(home: Workspace) -> None:
    def keep_the_best(seeds: list[dict[str, Any]]) -> None:
        seeds[6:] = sorted(sorted(seeds[6:], key=lambda run: run["test_errors"])[:10], key=lambda run: run["index"])

    edit(record_of(home), keep_the_best)


def duplicate_target(home: Workspace) -> None:
    text = record_of(home).read_text(encoding="utf-8").rstrip().removesuffix("}")
    record_of(home).write_text(text.rstrip() + ',\n "target_pct": 99.4\n}\n', encoding="utf-8")


def is_end(line: dict[str, Any]) -> bool:
    return line.get("outcome") == "certified"


FORGERIES = [
    ("ledger", "attempt 1: outcome: open stated, certified", lambda home: delete_line(home.ledger, is_end)),
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
    ("ledger", "has no record", lambda home: record_of(home).unlink()),
    (
        "record",
        "test_errors of seed 4",
        lambda home: edit(record_of(home), lambda seeds: seeds[4].update(test_errors=1)),
    ),
    ("weights", "architecture: ", with_weights(lambda content: content.replace(b"bn relu", b"bn leak"))),
    ("weights", "weights: ", with_weights(lambda content: content[:-1] + b"!")),
    ("weights", "cannot read the weights ", with_weights(lambda content: b"")),
    (
        "leaderboard",
        "mean_test_accuracy_pct: 99.9 stated",
        with_rows(lambda rows: [replace(rows[0], mean_test_accuracy_pct=99.9), rows[1]]),
    ),
    ("leaderboard", "tier: certified stated", with_rows(lambda rows: [rows[0], replace(rows[1], tier=Tier.CERTIFIED)])),
    ("leaderboard", "no row stated", with_rows(lambda rows: rows[:1])),
    ("leaderboard", "different order or number", with_rows(lambda rows: [*rows, rows[1]])),
    ("leaderboard", "different order or number ", with_rows(lambda rows: rows[::-1])),
    ("leaderboard", "no row computed", with_rows(lambda rows: [*rows, replace(rows[1], hash="0" * 12)])),
    ("leaderboard", "is not a leaderboard", lambda home: home.leaderboard.write_text("rank,name\n")),
]


@pytest.mark.parametrize(("name", "message", "change"), FORGERIES, ids=[message for _, message, _ in FORGERIES])
def test_check_finds_forged_value(
    name: str, message: str, change: Callable[[Workspace], object], home: Workspace, capsys: pytest.CaptureFixture[str]
):
    delete_git(home)
    change(home)

    assert run(["leaderboard", "--check"]) == 4

    path = {"ledger": home.ledger, "leaderboard": home.leaderboard}
    output = capsys.readouterr().out.splitlines()
    assert any(message in fault and str(path.get(name, home.records)) in fault for fault in output)


def test_failed_attempt_stated_as_certified_is_not_ranked(home: Workspace):
    delete_git(home)
    edit(record_of(home), lambda seeds: [seed.update(test_errors=seed["test_errors"] + 9) for seed in seeds])
    edit(record_of(home), lambda seeds: [seed["wrong"].extend([i, 3] for i in range(90, 99)) for seed in seeds])
    evidence, [attempt] = record.read(record_of(home)), ledger.read(home.ledger).attempts
    outcome, bound = bounds.ending(attempt, evidence)
    with_entry(is_end, lower_bound_pct=bound)(home)

    assert outcome is AttemptOutcome.FAILED
    assert leaderboard_table.row_of_record(evidence, ledger.read(home.ledger)).tier is not Tier.CERTIFIED
    assert [row.target_pct for row in leaderboard_table.survey(home).rows] == [99.0]
    before = home.leaderboard.read_bytes()
    assert run(["leaderboard", "--publish", NETWORK.hash]) == 4
    assert home.leaderboard.read_bytes() == before
    assert [row.target_pct for row in leaderboard_table.refresh(home)] == [99.0]
