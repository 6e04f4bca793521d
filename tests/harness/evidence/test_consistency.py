"""The check of a workspace: nothing to say of an honest one, and the file of whatever was changed in it afterwards."""

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
from tests.verifications import NETWORK, commit_evidence, drop, edit, forget, git, record_of, weights


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    return inhabited


@pytest.mark.parametrize("git", [True, False])
def test_an_honest_workspace_holds_together(git: bool, place: Workspace, capsys: pytest.CaptureFixture[str]):
    if not git:
        forget(place)

    assert faults(place) == []
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "with_history": git}
    # It has what the rest of this file takes from it.
    assert [row.tier for row in leaderboard_table.collect(place)] == [Tier.CERTIFIED, Tier.MEASURED]
    assert len(list(place.records.glob("weights/*/*"))) == 26


def test_empty_workspaces_and_shallow_clones_hold_together(place: Workspace, tmp_path: Path):
    clone = Workspace(place.root / "clone")
    git(place, "clone", "--quiet", "--depth", "1", f"file://{place.root}", str(clone.root))

    assert faults(clone) == []
    assert not consistency.has_full_history(clone.records)
    assert consistency.has_full_history(place.records)
    assert faults(Workspace(tmp_path / "nothing")) == []


# Any change ----------------------------------------------------------------------------------------------------


def kept(place: Workspace) -> list[Path]:
    """What git remembers, and the table."""
    some = [weights(place, index) for index in (0, 7)]
    return [*place.records.glob("*.json"), place.ledger, place.test_log, *some, place.leaderboard]


def damaged(path: Path, draw: random.Random) -> bytes:
    """Flip a bit, drop a line, move one, cut the end, or write a figure anew."""
    content = bytearray(path.read_bytes())
    lines = path.read_bytes().splitlines(keepends=True)
    ways = ["flip", "flip", "drop", "move", "cut", "figure"]
    way = draw.choice(ways if path.suffix != ".safetensors" else ["flip", "cut"])
    if way == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif way == "drop":
        del lines[draw.randrange(len(lines))]
        return b"".join(lines)
    elif way == "move":
        lines.insert(draw.randrange(len(lines)), lines.pop())
        return b"".join(lines)
    elif way == "cut":
        del content[draw.randrange(len(content) - 1) :]
    else:
        places = [at for at, byte in enumerate(content) if chr(byte) in "12345678"]
        at = draw.choice(places)
        content[at] = ord(draw.choice([each for each in "123456789" if ord(each) != content[at]]))
    return bytes(content)


def says_the_same(path: Path, before: bytes, after: bytes) -> bool:
    """Whether a change is none of the content: a space, the spelling of a number, or the order of a log."""
    try:
        if path.suffix == ".jsonl":
            return sorted(before.splitlines()) == sorted(after.splitlines())
        return path.suffix == ".json" and bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


@pytest.mark.parametrize("way", ["edited", "committed", "anchored", "gone"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_changed_the_check_names_its_file(seed: int, way: str, place: Workspace):
    draw = random.Random(f"{seed} {way}")
    path = draw.choice(kept(place))
    before = after = path.read_bytes()
    while after == before or says_the_same(path, before, after):
        after = damaged(path, draw)
    path.write_bytes(after)
    if way == "gone":
        path.unlink()
        # Where there is no table, none states anything.
        assert path != place.leaderboard or faults(place) == []
    if way != "edited":
        commit_evidence(place, "2026-11-20T10:00:00+00:00")

    messages = faults(place, "HEAD~1" if way == "anchored" else None)
    assert any(path.name in fault for fault in messages) is ((path, way) != (place.leaderboard, "gone")), after[:2000]


def test_what_a_merge_has_dropped_is_remembered(place: Workspace):
    git(place, "checkout", "--quiet", "-b", "theirs")
    whole = place.test_log.read_text(encoding="utf-8")
    files.append_line(place.test_log, '{"theirs": 1}')
    commit_evidence(place)
    git(place, "checkout", "--quiet", "-")
    git(place, "merge", "--quiet", "--no-ff", "--strategy", "ours", "--no-edit", "theirs")

    assert place.test_log.read_text(encoding="utf-8") == whole
    assert '{"theirs": 1}' in faults(place)[0]


def test_a_rewritten_history_is_found_by_a_published_commit(place: Workspace, capsys: pytest.CaptureFixture[str]):
    published = consistency.git(place.root, "rev-parse", "HEAD")
    assert published is not None
    for path in (place.ledger, place.test_log):
        files.append_line(path, path.read_text(encoding="utf-8").splitlines()[0])
    commit_evidence(place)
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 0

    forget(place)
    drop(place.test_log, lambda line: line["purpose"].endswith(" seed 9"))
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    commit_evidence(place)
    [fault] = faults(place)
    assert "attempt 1: beacon: " in fault
    capsys.readouterr()
    assert run(["leaderboard", "--check", "--anchor", published.strip()]) == 4
    assert published.strip() in capsys.readouterr().out
    assert run(["leaderboard", "--anchor", published.strip()]) == 2


# What can be computed is compared, without git -------------------------------------------------------------------


def with_entry(which: Callable[[dict[str, Any]], bool], **changes: Any) -> Callable[[Workspace], object]:
    """Change the entries of the ledger for which something holds."""

    def change(place: Workspace) -> None:
        lines = [json.loads(line) for line in place.ledger.read_text(encoding="utf-8").splitlines()]
        rows = [entry | changes if which(entry) else entry for entry in lines]
        assert rows != lines
        place.ledger.write_text("".join(json.dumps(entry) + "\n" for entry in rows), encoding="utf-8")

    return change


def with_rows(change: Callable[[list[LeaderboardRow]], list[LeaderboardRow]]) -> Callable[[Workspace], object]:
    def changed(place: Workspace) -> None:
        rows = change(leaderboard_table.read(place.leaderboard))
        files.write_text(place.leaderboard, leaderboard_table.to_csv(rows))

    return changed


def with_weights(change: Callable[[bytes], bytes]) -> Callable[[Workspace], object]:
    return lambda place: weights(place, 3).write_bytes(change(weights(place, 3).read_bytes()))


def both_lines_gone(place: Workspace) -> None:
    drop(place.ledger, lambda line: line.get("outcome") == "open")
    drop(place.ledger, is_end)


def greedy(place: Workspace) -> None:
    other = ledger.read(place.ledger).attempts[0].key._replace(hash="0" * 12)
    earlier = ledger.declare_attempt(place.ledger, other, 0, 20, "1" * 40)
    files.append_line(place.ledger, json.dumps(asdict(earlier) | {"number": 3, "hash": "1" * 12, "alpha": 0.01}))


def evaluated(place: Workspace) -> None:
    entry = {"kind": "evaluation", "on": "others", "on_sha256": "0", "images": 100, "indices": [0, 1], "errors": [2, 4]}
    of = {"hash": "0" * 12, "recipe_hash": "1" * 12, "dataset": "mnist", "protocol_version": 1, "declared_utc": ""}
    files.append_line(place.ledger, json.dumps(entry | of | {"lower_bound_pct": 97.0}))


def half_of_the_seeds(place: Workspace) -> None:
    def keep_the_best(seeds: list[dict[str, Any]]) -> None:
        seeds[6:] = sorted(sorted(seeds[6:], key=lambda run: run["test_errors"])[:10], key=lambda run: run["index"])

    edit(record_of(place), keep_the_best)


def stated_twice(place: Workspace) -> None:
    text = record_of(place).read_text(encoding="utf-8").rstrip().removesuffix("}")
    record_of(place).write_text(text.rstrip() + ',\n "target_pct": 99.4\n}\n', encoding="utf-8")


def is_end(line: dict[str, Any]) -> bool:
    return line.get("outcome") == "certified"


FORGERIES = [
    ("ledger", "attempt 1: outcome: open stated, certified", lambda place: drop(place.ledger, is_end)),
    ("ledger", "attempt 1: lacking", both_lines_gone),
    ("ledger", "outcome: certified with bound 99.49 ", with_entry(is_end, lower_bound_pct=99.49)),
    ("ledger", "outcome: certified with bound None", with_entry(is_end, lower_bound_pct=None)),
    ("ledger", "outcome: failed with bound", with_entry(is_end, outcome="failed")),
    ("ledger", "alpha: 0.5 stated, ", with_entry(lambda line: "number" in line, alpha=0.5)),
    ("ledger", "alpha: 0.01 stated, 0.0064 computed", greedy),
    ("ledger", "lower_bound_pct: 97.0 stated, ", evaluated),
    ("ledger", "rules: 1 stated", with_entry(lambda line: "number" in line, rules=1)),
    ("ledger", "declared 2026-11-21", with_entry(lambda line: True, declared_utc="2026-11-21T07:00:00+00:00")),
    ("record", "duplicate key 'target_pct'", stated_twice),
    ("ledger", "lacks seed ", half_of_the_seeds),
    ("ledger", "has no record", lambda place: record_of(place).unlink()),
    (
        "record",
        "test_errors of seed 4",
        lambda place: edit(record_of(place), lambda all_: all_[4].update(test_errors=1)),
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
    ("leaderboard", "is not a leaderboard", lambda place: place.leaderboard.write_text("rank,name\n")),
]


@pytest.mark.parametrize(("name", "said", "change"), FORGERIES, ids=[said for _, said, _ in FORGERIES])
def test_what_is_stated_is_computed_again_and_compared(
    name: str, said: str, change: Callable[[Workspace], object], place: Workspace, capsys: pytest.CaptureFixture[str]
):
    forget(place)
    change(place)

    assert run(["leaderboard", "--check"]) == 4

    path = {"ledger": place.ledger, "leaderboard": place.leaderboard}
    told = capsys.readouterr().out.splitlines()
    assert any(said in fault and str(path.get(name, place.records)) in fault for fault in told)


def test_a_failed_attempt_that_the_ledger_calls_certified_is_not_ranked(place: Workspace):
    forget(place)
    edit(record_of(place), lambda seeds: [seed.update(test_errors=seed["test_errors"] + 9) for seed in seeds])
    edit(record_of(place), lambda seeds: [seed["wrong"].extend([i, 3] for i in range(90, 99)) for seed in seeds])
    evidence, [attempt] = record.read(record_of(place)), ledger.read(place.ledger).attempts
    outcome, bound = bounds.ending(attempt, evidence)
    with_entry(is_end, lower_bound_pct=bound)(place)

    assert outcome is AttemptOutcome.FAILED
    assert leaderboard_table.row_of_record(evidence, ledger.read(place.ledger)).tier is not Tier.CERTIFIED
    assert [row.target_pct for row in leaderboard_table.survey(place).rows] == [99.0]
    before = place.leaderboard.read_bytes()
    assert run(["leaderboard", "--publish", NETWORK.hash]) == 4
    assert place.leaderboard.read_bytes() == before
    assert [row.target_pct for row in leaderboard_table.refresh(place)] == [99.0]
