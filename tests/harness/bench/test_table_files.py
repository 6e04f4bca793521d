from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.bench.table import TableError
from harness.bench.table_files import COMMITTED, contents, read_table, table_folder, write_table
from harness.system.files import Workspace
from harness.training.result import Status
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


def test_facts_of_another_version_are_refused(tmp_path: Path):
    write_table(tmp_path, some_table())
    path = tmp_path / "table.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))

    with pytest.raises(TableError, match=r"table\.json: .*schema_version"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seconds,status", "seconds,state"),
        (",complete,0\n", ",complete\n"),
        (",complete,", ",nan,"),
        (",1.0,complete", ",nan,complete"),
        (",1.0,complete", ",-1.0,complete"),
        (",90.0,", ",100.1,"),
        (",0,1,90.0", ",-1,1,90.0"),
        (",complete,", ",crashed,"),
        (",2.0,complete", ",0.5,complete"),
        ("complete,0\n", "complete,3\n"),
        ("complete", "compl\0ete"),
        ("complete", "\udcff"),
        ("complete", "x" * 200_000),
    ],
)
def test_rows_that_are_none_are_refused(old: str, new: str, tmp_path: Path):
    """Whoever edits a table and its checksum is still told that something is wrong with it."""
    write_table(tmp_path, some_table())
    rows, facts = tmp_path / "table.csv", tmp_path / "table.json"
    changed = rows.read_text().replace(old, new).encode(errors="surrogateescape")
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace(digest, hashlib.sha256(changed).hexdigest()))
    rows.write_bytes(changed)

    with pytest.raises(TableError):
        read_table(tmp_path)


@pytest.mark.parametrize("lines", [1, 4])
def test_rows_that_were_cut_off_are_missed(lines: int, tmp_path: Path):
    write_table(tmp_path, some_table())
    rows, facts = tmp_path / "table.csv", tmp_path / "table.json"
    cut = "".join(rows.read_text().splitlines(keepends=True)[:lines])
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace(digest, hashlib.sha256(cut.encode()).hexdigest()))
    rows.write_text(cut)

    with pytest.raises(TableError):
        read_table(tmp_path)


def test_a_table_is_found_by_its_name_or_its_folder(tmp_path: Path):
    place = Workspace(tmp_path)
    write_table(place.table("mine"), some_table())

    assert table_folder("mine", place) == tmp_path / "benchmarks" / "tables" / "mine"
    assert table_folder("some/where", place) == Path("some/where")


@pytest.mark.parametrize("folder", sorted(COMMITTED.glob("*/")), ids=lambda folder: folder.name)
def test_a_committed_table_reads_back_as_the_very_files_that_are_there(folder: Path):
    files = contents(read_table(folder))

    assert {name: (folder / name).read_bytes() for name in files} == files
    assert sum(map(len, files.values())) < 2_000_000
