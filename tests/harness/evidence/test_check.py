"""The check of a workspace: nothing to say of an honest one, and the file of whatever was changed in it afterwards."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.evidence import bounds, history, leaderboard, ledger, record, weight_file
from harness.evidence.check import faults, vanished
from harness.evidence.leaderboard import Tier
from harness.evidence.ledger import Outcome
from harness.system import files
from harness.system.errors import ContentError
from harness.system.files import Workspace
from tests.harness import unrun
from tests.harness.lived_in import drop, edit, forget, record_of, weights


@pytest.fixture
def place(inhabited: Workspace) -> Workspace:
    return inhabited


# Honest workspaces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("git", [True, False])
def test_an_honest_workspace_holds_together(git: bool, place: Workspace, capsys: pytest.CaptureFixture[str]):
    if not git:
        forget(place)

    assert faults(place) == vanished(place) == []
    assert run(["leaderboard", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "with_history": git}
    # It has what the rest of this file takes from it.
    assert [row.tier for row in leaderboard.collect(place)] == [Tier.CERTIFIED, Tier.MEASURED]
    assert len(list(place.records.glob("weights/*/*"))) == 26


def test_empty_workspaces_and_shallow_clones_hold_together(place: Workspace, tmp_path: Path):
    clone = Workspace(place.root / "clone")
    unrun.git(place, "clone", "--quiet", "--depth", "1", f"file://{place.root}", str(clone.root))

    assert faults(clone) == []
    assert not history.is_whole(clone.records)
    assert history.is_whole(place.records)
    assert faults(Workspace(tmp_path / "nothing")) == []


def test_what_was_tried_out_in_a_clone_needs_no_row_until_it_is_committed(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    unrun.git(place, "add", "leaderboard.csv")
    unrun.commit(place)
    unrun.without_training(monkeypatch)
    unrun.run(place, unrun.plan(range(2), target_pct=98.0))

    assert not any(str(place.leaderboard) in fault for fault in faults(place))
    unrun.commit(place)
    assert any(f"{place.leaderboard}: " in fault for fault in faults(place))


def test_other_names_of_recipes_and_reads_of_seeds_that_still_run_are_no_fault(place: Workspace):
    forget(place)
    text = place.test_log.read_text(encoding="utf-8")
    place.test_log.write_text(text.replace(" fast seed", " quick seed"), encoding="utf-8")
    assert faults(place) == []

    ledger.declare_verification(place.ledger, leaderboard.survey(place).records[0].key, [40, 41])
    files.append_line(
        place.test_log, json.dumps({"dataset": "mnist", "purpose": f"verify {unrun.NETWORK.hash} fast seed 40"})
    )
    assert not any(str(place.test_log) in fault for fault in faults(place))


# Any change, with git ---------------------------------------------------------------------------------------


def kept(place: Workspace) -> list[Path]:
    """What git remembers, and the table."""
    some = [weights(place, index) for index in (0, 7)]
    return [*place.records.glob("*.json"), place.ledger, place.test_log, *some, place.leaderboard]


def damaged(path: Path, draw: random.Random) -> bytes:
    """Flip a bit, drop a line, move a line, cut the end, or write a figure anew."""
    content = bytearray(path.read_bytes())
    lines = path.read_bytes().splitlines(keepends=True)
    way = draw.choice(["flip", "flip", "drop", "cut", "figure"] if path.suffix != ".safetensors" else ["flip", "cut"])
    if way == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif way == "drop":
        del lines[draw.randrange(len(lines))]
        return b"".join(lines)
    elif way == "cut":
        del content[draw.randrange(len(content) - 1) :]
    else:
        places = [at for at, byte in enumerate(content) if chr(byte) in "12345678"]
        at = draw.choice(places)
        content[at] = ord(draw.choice([each for each in "123456789" if ord(each) != content[at]]))
    return bytes(content)


def says_the_same(path: Path, before: bytes, after: bytes) -> bool:
    """Whether a change is none of the content: a space, the spelling of a number, or what only people read."""
    try:
        if path.suffix == ".json":
            one, other = json.loads(before), json.loads(after)
            # A name, and the way to a network, are no evidence.
            return {**one, "found": 0, "name": 0, "assumed": 0} == {**other, "found": 0, "name": 0, "assumed": 0}
        return path.suffix == ".jsonl" and before.split() == after.split()
    except ValueError:
        return False


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("is_committed", [False, True])
def test_whatever_is_changed_the_check_names_its_file(seed: int, is_committed: bool, place: Workspace):
    draw = random.Random(seed)
    path = draw.choice(kept(place))
    before = path.read_bytes()
    after = before
    while after == before or says_the_same(path, before, after):
        after = damaged(path, draw)
    path.write_bytes(after)
    if is_committed:
        unrun.commit(place, "2026-11-20T10:00:00+00:00")

    assert any(path.name in fault for fault in faults(place)), after[:2000]


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize("which", range(6))
def test_a_file_that_was_committed_once_and_is_gone_is_named(which: int, is_committed: bool, place: Workspace):
    path = kept(place)[which]
    path.unlink()
    if is_committed:
        unrun.commit(place, "2026-11-20T10:00:00+00:00")

    assert any(str(path) in fault for fault in faults(place))


def test_what_a_merge_has_dropped_is_remembered(place: Workspace):
    unrun.git(place, "checkout", "--quiet", "-b", "theirs")
    whole = place.test_log.read_text(encoding="utf-8")
    files.append_line(place.test_log, '{"theirs": 1}')
    unrun.commit(place)
    unrun.git(place, "checkout", "--quiet", "-")
    unrun.git(place, "merge", "--quiet", "--no-ff", "--strategy", "ours", "--no-edit", "theirs")

    assert place.test_log.read_text(encoding="utf-8") == whole
    assert '{"theirs": 1}' in faults(place)[0]


def test_the_changed_field_of_a_line_and_of_a_seed_is_named(place: Workspace):
    def fewer(seeds: list[dict[str, Any]]) -> None:
        seeds[4]["test_errors"] -= 1
        del seeds[4]["wrong"][-1]

    edit(record_of(place), fewer)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace('"alpha": 0.01', '"alpha": 0.008', 1), encoding="utf-8")

    said = faults(place)

    assert any(f"{record_of(place)}: test_errors is 49, wrong is " in fault for fault in said)
    assert any(f"{place.ledger}: alpha is 0.008, but commit " in fault for fault in said)


def test_changed_weights_with_a_line_that_calls_them_a_repeat_are_named(place: Workspace):
    path, evidence = weights(place, 3), record.read(record_of(place))
    recorded = evidence.seed(3)
    assert recorded is not None
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
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

    [fault] = faults(place)
    assert str(path) in fault


# What can be computed is compared, without git -------------------------------------------------------------------


def with_entry(which: Callable[[dict[str, Any]], bool], **changes: Any) -> Callable[[Workspace], object]:
    """Change the entries of the ledger for which something holds."""

    def change(place: Workspace) -> None:
        lines = [json.loads(line) for line in place.ledger.read_text(encoding="utf-8").splitlines()]
        made = [entry | changes if which(entry) else entry for entry in lines]
        assert made != lines
        place.ledger.write_text("".join(json.dumps(entry) + "\n" for entry in made), encoding="utf-8")

    return change


def with_rows(
    change: Callable[[list[leaderboard.LeaderboardRow]], list[leaderboard.LeaderboardRow]],
) -> Callable[[Workspace], object]:
    def changed(place: Workspace) -> None:
        rows = change(leaderboard.read(place.leaderboard))
        files.write_text(place.leaderboard, leaderboard._to_csv(rows))

    return changed


def better(rows: list[leaderboard.LeaderboardRow]) -> list[leaderboard.LeaderboardRow]:
    return [replace(rows[0], mean_test_accuracy_pct=99.9), rows[1]]


def with_weights(change: Callable[[bytes], bytes]) -> Callable[[Workspace], object]:
    return lambda place: weights(place, 3).write_bytes(change(weights(place, 3).read_bytes()))


def with_read(dataset: str, of: str) -> Callable[[Workspace], object]:
    line = json.dumps({"dataset": dataset, "purpose": f"verify {unrun.NETWORK.hash} {of}"})
    return lambda place: files.append_line(place.test_log, line)


def both_lines_gone(place: Workspace) -> None:
    drop(place.ledger, lambda line: line.get("outcome") == "open")
    drop(place.ledger, lambda line: line.get("outcome") == "certified")


def later_attempts(place: Workspace) -> None:
    network, recipe, _, target, protocol = leaderboard.survey(place).records[0].key
    for first in (40, 60):
        ledger.declare(place.ledger, (network, recipe, "kmnist", target, protocol), first, 20)
    drop(place.ledger, lambda line: line.get("number") == 2)


def half_of_the_seeds(place: Workspace) -> None:
    def keep_the_best(seeds: list[dict[str, Any]]) -> None:
        seeds[6:] = sorted(sorted(seeds[6:], key=lambda run: run["test_errors"])[:10], key=lambda run: run["index"])

    edit(record_of(place), keep_the_best)


def is_end(line: dict[str, Any]) -> bool:
    return line.get("outcome") == "certified"


def is_attempt(line: dict[str, Any]) -> bool:
    return "number" in line


HALF_PAST = "2026-11-20T08:30:00+00:00"
FORGERIES = [
    ("ledger", "attempt 1 has an end", lambda place: drop(place.ledger, lambda line: line.get("outcome") == "open")),
    ("ledger", "attempt 1: outcome: open stated", lambda place: drop(place.ledger, is_end)),
    ("ledger", "seed 3 began", lambda place: drop(place.ledger, lambda line: line.get("indices") == [3, 4, 5])),
    ("ledger", "lacks attempt 1", both_lines_gone),
    ("ledger", "attempt 2 is lacking", later_attempts),
    ("ledger", "attempt 1: declared_utc: ", with_entry(is_attempt, declared_utc=HALF_PAST)),
    ("ledger", "the verification", with_entry(lambda line: line.get("indices") == [3, 4, 5], declared_utc=HALF_PAST)),
    ("ledger", "attempt 1 is certified with the bound 99.4900 %", with_entry(is_end, lower_bound_pct=99.49)),
    ("ledger", "attempt 1 is certified with no bound", with_entry(is_end, lower_bound_pct=None)),
    ("ledger", "attempt 1 is failed with the bound", with_entry(is_end, outcome="failed")),
    ("ledger", "no attempt may spend more than 0.01", with_entry(is_attempt, alpha=0.5)),
    ("ledger", "lacks seed ", half_of_the_seeds),
    ("ledger", "has no record of its seeds", lambda place: record_of(place).unlink()),
    (
        "record",
        "test_errors of seed 4",
        lambda place: edit(record_of(place), lambda all_: all_[4].update(test_errors=1)),
    ),
    ("weights", "seed-0099", lambda place: shutil.copy(weights(place, 3), weights(place, 3).with_stem("seed-0099"))),
    ("weights", "states its architecture as ", with_weights(lambda content: content.replace(b"bn relu", b"bn leak"))),
    ("weights", "holds the weights ", with_weights(lambda content: content[:-1] + b"!")),
    ("weights", "cannot read the weights ", with_weights(lambda content: b"")),
    (
        "test_log",
        "seed 9 is lacking",
        lambda place: drop(place.test_log, lambda line: line["purpose"].endswith(" seed 9")),
    ),
    ("test_log", "(fast, kmnist), seed 0", with_read("kmnist", "fast seed 0")),
    ("test_log", "(small, mnist), seed 0", with_read("mnist", "small seed 0")),
    ("test_log", ", line ", lambda place: files.append_line(place.test_log, '{"dataset": "mnist", "purpose": 3}')),
    ("leaderboard", "mean_test_accuracy_pct: 99.9 stated", with_rows(better)),
    ("leaderboard", "tier: certified stated", with_rows(lambda rows: [rows[0], replace(rows[1], tier=Tier.CERTIFIED)])),
    ("leaderboard", "has no row", with_rows(lambda rows: rows[:1])),
    ("leaderboard", "3 rows, some of them twice", with_rows(lambda rows: [*rows, rows[1]])),
    ("leaderboard", "neither record nor claim", with_rows(lambda rows: [*rows, replace(rows[1], hash="0" * 12)])),
    ("leaderboard", "is not a leaderboard", lambda place: place.leaderboard.write_text("rank,name\n")),
]


@pytest.mark.parametrize(("name", "said", "change"), FORGERIES, ids=[said for _, said, _ in FORGERIES])
def test_what_is_stated_is_computed_again_and_compared(
    name: str, said: str, change: Callable[[Workspace], object], place: Workspace, capsys: pytest.CaptureFixture[str]
):
    forget(place)
    change(place)

    assert run(["leaderboard", "--check"]) == 4

    path = {"ledger": place.ledger, "test_log": place.test_log, "leaderboard": place.leaderboard}
    told = capsys.readouterr().out.splitlines()
    assert any(said in fault and str(path.get(name, place.records)) in fault for fault in told)


def test_a_failed_attempt_that_the_ledger_calls_certified_is_not_ranked(place: Workspace):
    forget(place)
    edit(record_of(place), lambda seeds: [seed.update(test_errors=seed["test_errors"] + 9) for seed in seeds])
    edit(record_of(place), lambda seeds: [seed["wrong"].extend([i, 3] for i in range(90, 99)) for seed in seeds])
    evidence, [attempt] = record.read(record_of(place)), ledger.read(place.ledger).attempts
    outcome, bound = bounds.ending(attempt, evidence)
    with_entry(is_end, lower_bound_pct=bound)(place)

    assert outcome is Outcome.FAILED
    assert leaderboard._tier_of(evidence, ledger.read(place.ledger)) is not Tier.CERTIFIED
    assert [row.target_pct for row in leaderboard.survey(place).rows] == [99.0]
    with pytest.raises(ContentError):
        leaderboard.refresh(place, publish=True)


@pytest.mark.parametrize("is_last", [True, False])
def test_a_table_without_an_attempt_that_was_made_is_not_published(is_last: bool, place: Workspace):
    assert run(["leaderboard", "--publish"]) == 0
    network, recipe, _, target, protocol = leaderboard.survey(place).records[0].key
    forget(place)
    both_lines_gone(place)
    record_of(place).unlink()
    if not is_last:
        # A later one, so that its number is missing; its reads are gone, too.
        place.test_log.unlink()
        ledger.declare(place.ledger, (network, recipe, "kmnist", target, protocol), 40, 20)
        text = place.ledger.read_text(encoding="utf-8")
        place.ledger.write_text(text.replace('"number": 1', '"number": 2'), encoding="utf-8")
    before = place.leaderboard.read_bytes()

    assert run(["leaderboard", "--publish"]) == 4
    assert place.leaderboard.read_bytes() == before


# Times ---------------------------------------------------------------------------------------------------------


def test_an_attempt_is_committed_before_its_first_seed(place: Workspace):
    forget(place)
    unrun.git(place, "init", "--quiet")
    [fault] = faults(place)
    assert "attempt 1 has seeds, but no commit" in fault

    unrun.commit(place, HALF_PAST)
    [fault] = faults(place)
    assert "attempt 1: its commit: 2026-11-20T08:30:00" in fault
    assert "but seed 6 began 2026-11-20T08:00:10+00:00" in fault


@pytest.mark.parametrize(("date", "count"), [("2026-11-20T10:00:00+00:00", 0), ("2026-11-22T10:00:00+00:00", 1)])
def test_an_attempt_that_names_no_commit_must_have_been_committed_before_one_was_asked_for(
    date: str, count: int, place: Workspace
):
    forget(place)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace(f'"{"1" * 40}"', "null"), encoding="utf-8")
    unrun.commit(place, date)

    assert len(faults(place)) == count


def test_an_attempt_that_spends_more_than_is_left_is_told(place: Workspace):
    forget(place)
    other = ("0" * 12, *ledger.read(place.ledger).attempts[0].key[1:])
    earlier = ledger.declare(place.ledger, other, 0, 20, "1" * 40)
    greedy = asdict(earlier) | {"number": 3, "hash": "1" * 12, "alpha": 0.01}
    files.append_line(place.ledger, json.dumps(greedy))
    unrun.commit(place, "2026-11-20T08:00:00+00:00")

    assert f"{place.ledger}: attempt 3: alpha: 0.01 stated, 0.0064 computed" in faults(place)


@pytest.mark.parametrize(("date", "count"), [("yesterday", 1), ("2026-11-20", 0)])
def test_a_time_is_read_with_care(date: str, count: int, place: Workspace):
    forget(place)
    text = place.ledger.read_text(encoding="utf-8")
    place.ledger.write_text(text.replace("2026-11-20T07:00:00+00:00", date), encoding="utf-8")

    assert len(faults(place)) == count


# Without git ---------------------------------------------------------------------------------------------------


def test_outside_a_repository_or_without_git_nothing_is_remembered(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    assert history.committed(place.ledger) == place.ledger.read_text(encoding="utf-8")
    assert history.committed(place.records / "absent") == ""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(place.root / "nowhere"))
        assert history.committed(place.ledger) is None
    forget(place)
    assert history.committed(place.ledger) is None
    assert history.remembered(place.records) == history.Memory()
    assert history.remembered(place.root / "no folder") == history.Memory()
