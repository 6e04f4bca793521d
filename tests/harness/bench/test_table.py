"""Tables: what one holds together, on disk, merged, exported, and said of its networks."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from scipy.stats import spearmanr

from harness.bench.summary import _Spread, summary
from harness.bench.table import Row, Sample, Table, TableError, _NotInTable, merged, runs_of
from harness.bench.table_files import contents, export_table, read_table, table_folder, write_table
from harness.system import errors
from harness.system.errors import ContentError, DeviceError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Status
from tests.harness.bench.some_table import ENVIRONMENT, HASHES, MACHINE, run_rows, some_table


def test_the_runs_of_a_network_are_found_by_seed_and_rung():
    table = some_table(run_rows(0, seed=0), run_rows(0, seed=1, accuracies=(10.0, 20.0, 30.0)), run_rows(2))

    runs = runs_of(table, HASHES[0])

    assert list(runs) == [0, 1]
    assert runs[1][2].validation_accuracy_pct == 20.0
    assert [row.seconds for row in runs[0].values()] == [1.0, 2.0, 4.0]


def test_a_network_that_a_table_has_not_is_an_error_that_says_what_the_table_has():
    with pytest.raises(_NotInTable) as caught:
        runs_of(some_table(), "0123456789ab")

    assert caught.value.exit_code == 4


def test_rows_are_put_in_order_whatever_order_they_come_in():
    runs = [run_rows(network, seed) for network in range(3) for seed in range(2)]

    assert some_table(*runs).rows == some_table(*[run[::-1] for run in runs[::-1]]).rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (run_rows()[:2], r"seed 0 of network \w+ has the rungs 1, 2, not 1, 2, 4"),
        (run_rows() + run_rows(), r"has the rungs 1, 1, 2, 2, 4, 4, not 1, 2, 4"),
        (run_rows() + [replace(row, macs=1) for row in run_rows(seed=1)], r"has 2 different values of macs"),
    ],
    ids=["rung missing", "run twice", "contradiction"],
)
def test_rows_that_do_not_hold_together_are_refused(rows: list[Row], message: str):
    with pytest.raises(TableError, match=message) as caught:
        some_table(rows)

    assert caught.value.exit_code == 5


def test_a_table_reads_back_as_it_was_written(tmp_path: Path):
    table = some_table(run_rows(0, 0, (9.0, 99.12, 0.1 + 0.2)), run_rows(1, 1, status=Status.DIVERGED))

    write_table(tmp_path / "t", table)

    assert read_table(tmp_path / "t") == table
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["table.csv", "table.json"]


def test_equal_tables_give_equal_bytes_and_the_checksum_is_that_of_the_rows():
    runs = [run_rows(network) for network in range(3)]

    files = contents(some_table(*runs))

    assert files == contents(some_table(*runs[::-1]))
    digest = hashlib.sha256(files["table.csv"]).hexdigest()
    assert json.loads(files["table.json"])["rows_sha256"] == digest


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


THERE = replace(MACHINE, processor="another processor", environment=replace(ENVIRONMENT, instructions="x86_64 AVX512"))


def test_runs_of_several_machines_are_pooled_and_keep_their_machine():
    here = some_table(run_rows(0), run_rows(1))
    there = some_table(run_rows(1, seed=1), run_rows(2), machines=(THERE,), name="there")

    found = merged([here, there], "both")

    assert found.facts.name == "both"
    assert found.facts.machines == (MACHINE, THERE)
    assert {(row.hash, row.seed): row.machine for row in found.rows} == {
        (HASHES[0], 0): 0,
        (HASHES[1], 0): 0,
        (HASHES[1], 1): 1,
        (HASHES[2], 0): 1,
    }


def test_merging_does_not_depend_on_how_it_is_grouped():
    parts = [some_table(run_rows(network), name=str(network)) for network in range(3)]

    by_twos = merged([merged(parts[:2], "x"), parts[2]], "all")

    assert by_twos == merged(parts, "all")


def test_equal_runs_of_machines_with_equal_bits_agree_and_count_once():
    later = replace(MACHINE, environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False))

    found = merged([some_table(run_rows(0)), some_table(run_rows(0), run_rows(1), machines=(later,))], "both")

    assert len(found.rows) == 6


def test_equal_runs_that_disagree_on_equal_bits_are_refused():
    other = some_table(run_rows(0, accuracies=(90.0, 95.5, 98.0)), name="other")

    with pytest.raises(ContentError):
        merged([some_table(run_rows(0)), other], "both")


def test_where_bits_may_differ_the_first_table_is_kept_and_the_difference_said():
    other = some_table(run_rows(0, accuracies=(90.0, 95.5, 97.75)), machines=(THERE,))

    found = merged([some_table(run_rows(0)), other], "both")

    assert found.rows == some_table(run_rows(0)).rows
    assert found.facts.machines == (MACHINE,)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "net = gap linear(10);"},
        {"recipe": Recipe(epochs=4, batch_size=32)},
        {"split_sha256": "6" * 64},
        {"dataset": "kmnist"},
        {"machines": (replace(MACHINE, environment=replace(ENVIRONMENT, engine="torch")),)},
    ],
)
def test_tables_that_do_not_compare_are_refused(changes: dict[str, Any]):
    with pytest.raises(ContentError):
        merged([some_table(run_rows(0)), some_table(run_rows(1), name="there", **changes)], "both")


def test_a_merged_table_says_how_each_part_was_chosen():
    here, there = Sample(seed=0, networks=3, bands=8), Sample(seed=1, networks=3, bands=8)

    def part(sample: Sample, network: int) -> Table:
        return some_table(run_rows(network), samples=(sample,))

    table = merged([part(here, 0), part(there, 1), part(here, 2)], "both")

    assert table.facts.samples == (here, there)


def table() -> Table:
    return some_table(
        run_rows(0, 0, (90.0, 95.0, 96.0)),
        run_rows(0, 1, (91.0, 95.0, 96.4)),
        run_rows(1, 0, (92.0, 94.0, 97.0)),
        run_rows(1, 1, (93.0, 94.2, 97.8)),
        run_rows(2, 0, (89.0, 96.0, 98.0)),
    )


def test_the_accuracy_of_a_network_is_the_mean_over_its_seeds():
    last = summary(table()).rungs[-1]

    spread = last.accuracy_pct
    assert [spread.low, spread.median, spread.high] == pytest.approx([96.2, 97.4, 98.0])


def test_the_deviation_between_seeds_is_pooled_over_networks_that_have_two():
    first, second = statistics.variance([96.0, 96.4]), statistics.variance([97.0, 97.8])

    assert summary(table()).rungs[-1].seed_deviation_pct == pytest.approx(((first + second) / 2) ** 0.5)
    assert summary(some_table()).rungs[-1].seed_deviation_pct is None


def test_a_rung_is_worth_what_its_order_says_of_the_last():
    ranks = [rung.rank_correlation for rung in summary(table()).rungs]

    assert ranks[0] == pytest.approx(spearmanr([90.5, 92.5, 89.0], [96.2, 97.4, 98.0]).statistic)
    assert ranks[2] == pytest.approx(1.0)


def test_a_rank_correlation_that_is_not_defined_is_none():
    two = some_table(run_rows(0, 0, (90.0, 95.0, 96.0)), run_rows(1, 0, (92.0, 94.0, 97.0)))
    alike = some_table(*(run_rows(number, 0, (90.0, 95.0 + number, 96.0)) for number in range(3)))

    for found in map(summary, (two, alike)):
        assert [rung.rank_correlation for rung in found.rungs] == [None, None, None]


def test_counts_are_of_networks_runs_and_rows():
    found = summary(table())

    assert (found.networks, found.runs, found.rows, found.diverged, found.seeds) == (3, 5, 15, 0, (1, 2))
    assert found.train_seconds == 5 * 4.0
    # (9 + 2) * width + 10 * (width + 1), which is 21 * width + 10.
    assert found.parameters == _Spread(low=52, median=73, high=94)


TABLE = some_table(run_rows(0, 0, (9.0, 99.12, 0.1 + 0.2)), run_rows(1, 1))


def test_parquet_and_csv_hold_the_same_rows_as_the_table(tmp_path: Path):
    pytest.importorskip("pyarrow")

    export_table(TABLE, tmp_path)

    from_parquet = pandas.read_parquet(tmp_path / "table.parquet")
    pandas.testing.assert_frame_equal(from_parquet, pandas.read_csv(tmp_path / "table.csv"))
    assert list(from_parquet["hash"]) == [HASHES[0]] * 3 + [HASHES[1]] * 3
    assert list(from_parquet["validation_accuracy_pct"][:3]) == [9.0, 99.12, 0.1 + 0.2]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_checksums_are_those_that_sha256sum_checks(tmp_path: Path):
    pytest.importorskip("pyarrow")
    written = export_table(TABLE, tmp_path)

    check = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True
    )

    assert check.returncode == 0
    assert check.stdout.count(": OK") == len(written) - 1 == 3


def test_without_pyarrow_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)

    with pytest.raises(DeviceError, match="Parquet needs pyarrow, which is not installed") as caught:
        export_table(TABLE, tmp_path / "out")

    assert caught.value.hint == errors.install_command("export")
    assert not (tmp_path / "out").exists()
