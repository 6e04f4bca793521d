"""What git remembers: of a file at the last commit, at each commit, and of files that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evidence import history
from harness.evidence.history import Version
from harness.system.files import Workspace
from tests.harness import unrun

FIRST, SECOND, THIRD = (f"2026-11-20T0{hour}:00:00+00:00" for hour in (7, 8, 9))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A workspace in a folder of a repository, with a ledger of two lines, committed one by one."""
    made = Workspace(tmp_path)
    made.records.mkdir()
    write(made, "one\n", FIRST)
    write(made, "one\ntwo\n", SECOND)
    return made


def write(place: Workspace, text: str, date: str) -> None:
    place.ledger.write_text(text, encoding="utf-8")
    unrun.commit(place, date)


def contents(place: Workspace) -> list[tuple[str, str]]:
    return [(version.committed_utc, version.content) for version in history.versions(place.ledger)]


def test_what_is_committed_is_not_what_lies_there(place: Workspace):
    place.ledger.write_text("changed\n", encoding="utf-8")

    assert history.committed(place.ledger) == "one\ntwo\n"


def test_a_file_that_is_in_no_commit_is_empty_and_one_outside_a_repository_is_none(place: Workspace, tmp_path: Path):
    (place.records / "new").write_text("x", encoding="utf-8")
    assert history.committed(place.records / "new") == ""
    assert history.committed(place.records / "absent") == ""
    assert list(history.versions(place.records / "new")) == []


def test_outside_a_repository_nothing_is_known(tmp_path: Path):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    assert history.committed(tmp_path / "file") is None
    assert list(history.versions(tmp_path / "file")) == []
    assert history.removed(tmp_path) == []
    assert not history.is_whole(tmp_path)
    assert history.committed(tmp_path / "no folder" / "file") is None


def test_without_git_nothing_is_known(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(place.root / "nowhere"))

    assert history.committed(place.ledger) is None
    assert list(history.versions(place.ledger)) == []


def test_a_repository_without_a_commit_has_no_versions(tmp_path: Path):
    made = Workspace(tmp_path)
    made.records.mkdir()
    unrun.git(made, "init", "--quiet")

    assert history.committed(made.ledger) == ""
    assert list(history.versions(made.ledger)) == []
    assert history.removed(made.records) == []


def test_each_commit_that_changed_a_file_is_a_version_latest_first(place: Workspace):
    (place.records / "another").write_text("x", encoding="utf-8")
    unrun.commit(place, THIRD)

    found = list(history.versions(place.ledger))

    assert [version.content for version in found] == ["one\ntwo\n", "one\n"]
    assert [version.committed_utc.replace("Z", "+00:00") for version in found] == [SECOND, FIRST]
    assert [len(version.commit) for version in found] == [40, 40]
    assert isinstance(found[0], Version)


def test_what_a_merge_has_dropped_is_remembered(place: Workspace):
    unrun.git(place, "checkout", "--quiet", "-b", "theirs")
    write(place, "one\ntwo\ntheirs\n", THIRD)
    unrun.git(place, "checkout", "--quiet", "-")
    unrun.git(place, "merge", "--quiet", "--no-ff", "--strategy", "ours", "--no-edit", "theirs")

    assert history.committed(place.ledger) == "one\ntwo\n"
    assert "one\ntwo\ntheirs\n" in [text for _, text in contents(place)]


@pytest.mark.parametrize("committed", [False, True])
def test_a_file_that_was_committed_once_and_is_gone_is_found(committed: bool, place: Workspace):
    kept, gone, never = (place.records / name for name in ("kept.json", "gone.json", "never.json"))
    (place.records / "weights").mkdir()
    for path in (kept, gone, place.records / "weights" / "below"):
        path.write_text("x", encoding="utf-8")
    (place.root / "beside.json").write_text("x", encoding="utf-8")
    unrun.commit(place, SECOND)
    never.write_text("x", encoding="utf-8")
    for path in (gone, never, place.records / "weights" / "below", place.root / "beside.json"):
        path.unlink()
    if committed:
        unrun.commit(place, THIRD)

    assert history.removed(place.records) == [gone]

    gone.write_text("x", encoding="utf-8")
    assert history.removed(place.records) == []


def test_a_shallow_clone_is_not_whole(place: Workspace, tmp_path: Path):
    unrun.git(place, "clone", "--quiet", "--depth", "1", f"file://{place.root}", str(tmp_path / "clone"))

    assert history.is_whole(place.records)
    assert not history.is_whole(tmp_path / "clone" / "records")


def test_a_file_is_changed_where_it_is_not_as_its_first_commit_has_it(place: Workspace):
    folder = place.records / "weights"
    (folder / "row").mkdir(parents=True)
    kept, bytes_ = folder / "row" / "a b.safetensors", bytes(range(256))
    kept.write_bytes(bytes_)
    place.ledger.with_name("note").touch()
    unrun.commit(place, THIRD)
    [first] = [version.commit for version in history.versions(place.ledger.with_name("note"))]
    (folder / "row" / "new").write_bytes(b"not committed")
    assert history.changed(folder) == {}

    kept.write_bytes(bytes_[:-1])
    assert history.changed(folder) == {kept: first}
    unrun.commit(place)
    assert history.changed(folder) == {kept: first}

    # Taken away and added again it is still not as it was first.
    kept.unlink()
    unrun.commit(place)
    assert history.changed(folder) == {}
    kept.write_bytes(bytes_[:-1])
    unrun.commit(place)
    assert history.changed(folder) == {kept: first}
    kept.write_bytes(bytes_)
    assert history.changed(folder) == {}
