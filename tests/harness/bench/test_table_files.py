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
    ("old", "new", "message"),
    [
        ("seconds,status", "seconds,state", "has other columns than architecture, hash"),
        (",complete,0\n", ",complete\n", "line 2: 9 cells, but there are 10 columns"),
        (",complete,", ",nan,", "line 2: 'nan' is not a valid Status"),
        (",1.0,complete", ",nan,complete", "line 2: 'nan' is not a finite number"),
        (",1.0,complete", ",-1.0,complete", "line 2: seconds is -1.0, but 0 is the least"),
        (",90.0,", ",100.1,", "line 2: validation_accuracy_pct is 100.1, which is not from 0 to 100"),
        (",90.0,", ",-0.1,", "line 2: validation_accuracy_pct is -0.1, which is not from 0 to 100"),
        (",0,1,90.0", ",-1,1,90.0", "line 2: seed is -1, but 0 is the least"),
        (",complete,", ",crashed,", "line 2: status is crashed, but a run of a table is complete or diverged"),
        (",2.0,complete", ",0.5,complete", "seed 0 of network .* has fewer seconds at a later rung"),
        ("complete,0\n", "complete,3\n", "a row is of machine 3, counted from 0, of 1"),
        ("complete", "compl\0ete", "line 2: 'compl.*' is not a valid Status"),
        ("complete", "\udcff", "is no CSV in UTF-8: 'utf-8' codec can't decode"),
        ("complete", "x" * 200_000, "is no CSV in UTF-8: field larger than field limit"),
    ],
)
def test_rows_that_are_none_are_named_by_their_line(old: str, new: str, message: str, tmp_path: Path):
    """Whoever edits a table and its checksum is still told what is wrong with it."""
    write_table(tmp_path, some_table())
    rows, facts = tmp_path / "table.csv", tmp_path / "table.json"
    changed = rows.read_text().replace(old, new).encode(errors="surrogateescape")
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace(digest, hashlib.sha256(changed).hexdigest()))
    rows.write_bytes(changed)

    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (1, "the table 'made-up' does not hold together: it has no rows"),
        (4, r"table\.csv has 3 rows, but table\.json notes 9"),
    ],
)
def test_rows_that_were_cut_off_are_missed(lines: int, message: str, tmp_path: Path):
    write_table(tmp_path, some_table())
    rows, facts = tmp_path / "table.csv", tmp_path / "table.json"
    cut = "".join(rows.read_text().splitlines(keepends=True)[:lines])
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    facts.write_text(facts.read_text().replace(digest, hashlib.sha256(cut.encode()).hexdigest()))
    rows.write_text(cut)

    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


def test_networks_that_are_not_as_many_as_noted_are_missed(tmp_path: Path):
    write_table(tmp_path, some_table())
    facts = tmp_path / "table.json"
    facts.write_text(facts.read_text().replace('"networks": 3,\n "rows"', '"networks": 4,\n "rows"'))

    with pytest.raises(TableError, match=r"table\.csv has 3 networks, but table\.json notes 4"):
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
