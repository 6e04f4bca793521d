from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.bench.table import TableError
from harness.bench.table_files import COMMITTED, contents, read_table, table_folder, write_table
from harness.errors import UsageError
from harness.training.result import Status
from harness.workspace import Workspace
from tests.harness.bench.some_table import run_rows, some_table


def test_a_table_reads_back_as_it_was_written(tmp_path: Path):
    table = some_table(run_rows(0, 0, (9.0, 99.12, 0.1 + 0.2)), run_rows(1, 1, status=Status.DIVERGED))

    write_table(tmp_path / "t", table)

    assert read_table(tmp_path / "t") == table
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["DATASHEET.md", "table.csv", "table.json"]


def test_equal_tables_give_equal_bytes_and_the_checksum_is_that_of_the_rows():
    runs = [run_rows(network) for network in range(3)]

    files = contents(some_table(*runs))

    assert files == contents(some_table(*runs[::-1]))
    digest = hashlib.sha256(files["table.csv"]).hexdigest()
    assert json.loads(files["table.json"])["rows_sha256"] == digest
    assert digest in files["DATASHEET.md"].decode()


def test_a_changed_figure_is_found(tmp_path: Path):
    write_table(tmp_path, some_table())
    rows = tmp_path / "table.csv"
    rows.write_text(rows.read_text().replace("98.0", "98.1"))

    with pytest.raises(TableError, match=r"table\.csv is not the file that table\.json was written with") as caught:
        read_table(tmp_path)

    assert "\n" not in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize("name", ["table.csv", "table.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path):
    write_table(tmp_path, some_table())
    (tmp_path / name).unlink()

    with pytest.raises(TableError, match=rf"cannot read the table in .*: No such file or directory: .*{name}"):
        read_table(tmp_path)


def test_facts_of_another_version_are_refused(tmp_path: Path):
    write_table(tmp_path, some_table())
    path = tmp_path / "table.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))

    with pytest.raises(TableError, match=r"table\.json is not what this program writes: .*schema_version"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds,status", "seconds,state", "has other columns than architecture, hash"),
        (",complete,0\n", ",complete\n", "line 2: 9 cells, but there are 10 columns"),
        (",complete,", ",nan,", "line 2: 'nan' is not a valid Status"),
        (",1.0,complete", ",nan,complete", "line 2: 'nan' is not a finite number"),
    ],
)
def test_rows_that_are_none_are_named_by_their_line(old: str, new: str, message: str, tmp_path: Path):
    """Whoever edits a table and its checksum is still told what is wrong with it."""
    write_table(tmp_path, some_table())
    rows, facts = tmp_path / "table.csv", tmp_path / "table.json"
    changed = rows.read_text().replace(old, new)
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace(digest, hashlib.sha256(changed.encode()).hexdigest()))
    rows.write_text(changed)

    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


def test_a_table_is_found_by_its_name_or_its_folder(tmp_path: Path):
    place = Workspace(tmp_path)
    write_table(place.table("mine"), some_table())

    assert table_folder("mine", place) == tmp_path / "benchmarks" / "tables" / "mine"
    assert table_folder("some/where", place) == Path("some/where")


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path):
    place = Workspace(tmp_path)
    write_table(place.table("mine"), some_table())

    with pytest.raises(UsageError, match=r"^no table 'mien' in .*; known are: .*mine") as caught:
        table_folder("mien", place)

    assert caught.value.hint == "did you mean 'mine'?"


@pytest.mark.parametrize("folder", sorted(COMMITTED.glob("*/")), ids=lambda folder: folder.name)
def test_a_committed_table_reads_back_as_the_very_files_that_are_there(folder: Path):
    files = contents(read_table(folder))

    assert {name: (folder / name).read_bytes() for name in files} == files
    assert sum(map(len, files.values())) < 2_000_000
