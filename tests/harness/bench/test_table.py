"""Tables of recorded runs: storage, merging, summary and export."""

from __future__ import annotations

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

from harness.bench.table import Sample, Table, export_table, merged, read_table, write_table
from harness.data.datasets import Dataset
from harness.system.document import read_as
from harness.system.errors import ContentError, DataError
from harness.training.recipe import Recipe
from harness.training.result import Status
from tests.harness.bench import made_up
from tests.harness.bench.made_up import ENVIRONMENT, HASHES, MACHINE, run_rows, table_of


@pytest.mark.parametrize("has_soft", [True, False])
def test_table_round_trip_is_independent_of_order_of_rows(has_soft: bool, tmp_path: Path):
    runs = [run_rows(0, 0, (9.0, 99.12, 0.1 + 0.2)), run_rows(1, 1, status=Status.DIVERGED), run_rows(0, 1)]
    if has_soft:
        runs[0] = [row._replace(validation_soft_errors=141.125 + row.rung, validation_loss=0.03) for row in runs[0]]
    table = table_of(*runs)

    write_table(tmp_path / "t", table)
    stored_table = read_table(tmp_path / "t")

    assert stored_table == table == table_of(*[run[::-1] for run in runs[::-1]])
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["table.csv", "table.json"]
    columns = (tmp_path / "t" / "table.csv").read_text().splitlines()[0].split(",")
    # Tables without soft errors keep the columns, and hence the hashes, of earlier versions.
    assert ("validation_soft_errors" in columns, len(columns)) == ((True, 12) if has_soft else (False, 10))
    assert list(stored_table.runs[HASHES[0]]) == [0, 1]
    assert stored_table.runs[HASHES[0]][0][2].validation_accuracy_pct == 99.12
    assert stored_table.runs[HASHES[1]][1][4].status is Status.DIVERGED


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("table.csv", "98.0", "98.1"), ("table.json", '"schema_version": 1', '"schema_version": 2')],
)
def test_changed_rows_or_other_schema_version_are_rejected(name: str, old: str, new: str, tmp_path: Path):
    write_table(tmp_path, table_of())
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(old, new))

    with pytest.raises(DataError) as excinfo:
        read_table(tmp_path)
    assert "\n" not in excinfo.value.message


def test_table_of_user_data_stores_data_set(tmp_path: Path):
    table = made_up.table(made_up.USER_SPACE, made_up.USER_DATA)

    write_table(tmp_path, table)

    assert read_as(Dataset, tmp_path / "data.json", "it") == made_up.USER_DATA
    assert (read_table(tmp_path), read_table(tmp_path).data) == (table, made_up.USER_DATA)
    assert merged([table, table], "both").user_data == made_up.USER_DATA

    (tmp_path / "data.json").unlink()
    with pytest.raises(ContentError):
        read_table(tmp_path)
    write_table(tmp_path, replace(table, user_data=replace(made_up.USER_DATA, sha256="e" * 64)))
    with pytest.raises(DataError):
        read_table(tmp_path)


# Merging ----------------------------------------------------------------------------------------------------

REMOTE = replace(MACHINE, processor="another processor", environment=replace(ENVIRONMENT, instructions="x86_64 AVX512"))


def test_merge_pools_runs_and_keeps_machine_of_each_run():
    first, second = Sample(seed=0, networks=3, bands=8), Sample(seed=1, networks=3, bands=8)
    parts = [
        table_of(run_rows(0), run_rows(1), samples=(first,)),
        table_of(run_rows(1, seed=1), run_rows(2), machines=(REMOTE,), name="there", samples=(second,)),
        table_of(run_rows(2, seed=1), samples=(first,)),
    ]

    pool = merged(parts, "both")

    assert (pool.facts.name, pool.facts.machines, pool.facts.samples) == ("both", (MACHINE, REMOTE), (first, second))
    assert {(row.hash, row.seed): row.machine for row in pool.rows} == {
        (HASHES[0], 0): 0,
        (HASHES[1], 0): 0,
        (HASHES[1], 1): 1,
        (HASHES[2], 0): 1,
        (HASHES[2], 1): 0,
    }
    assert pool == merged([merged(parts[:2], "x"), parts[2]], "both")


def test_merge_counts_equal_runs_once_and_rejects_contradictory_runs():
    later = replace(MACHINE, environment=replace(ENVIRONMENT, commit="c" * 40, dirty=False))
    assert len(merged([table_of(run_rows(0)), table_of(run_rows(0), run_rows(1), machines=(later,))], "both").rows) == 6

    changed = run_rows(0, accuracies=(90.0, 95.5, 98.0))
    with pytest.raises(ContentError):
        merged([table_of(run_rows(0)), table_of(changed, name="other")], "both")
    assert merged([table_of(run_rows(0)), table_of(changed, machines=(REMOTE,))], "made-up") == table_of(run_rows(0))


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
def test_merge_rejects_incomparable_tables(changes: dict[str, Any]):
    with pytest.raises(ContentError):
        merged([table_of(run_rows(0)), table_of(run_rows(1), name="there", **changes)], "both")


# Summary and export -----------------------------------------------------------------------------------------


def test_summary_equals_statistics_by_hand():
    summary = table_of(
        run_rows(0, 0, (90.0, 95.0, 96.0)),
        run_rows(0, 1, (91.0, 95.0, 96.4)),
        run_rows(1, 0, (92.0, 94.0, 97.0)),
        run_rows(1, 1, (93.0, 94.2, 97.8)),
        run_rows(2, 0, (89.0, 96.0, 98.0)),
    ).summary()

    counts = [summary[name] for name in ("networks", "runs", "rows", "diverged", "seeds", "train_seconds")]
    assert counts == [3, 5, 15, 0, [1, 2], 5 * 4.0]
    # Parameters: (9 + 2) * width + 10 * (width + 1) = 21 * width + 10.
    assert summary["parameters"] == {"low": 52, "median": 73, "high": 94}
    first, last = summary["rungs"][0], summary["rungs"][-1]
    assert list(last["accuracy_pct"].values()) == pytest.approx([96.2, 97.4, 98.0])
    variances = statistics.variance([96.0, 96.4]), statistics.variance([97.0, 97.8])
    assert last["seed_deviation_pct"] == pytest.approx((sum(variances) / 2) ** 0.5)
    assert first["rank_correlation"] == pytest.approx(spearmanr([90.5, 92.5, 89.0], [96.2, 97.4, 98.0]).statistic)
    assert last["rank_correlation"] == pytest.approx(1.0)


@pytest.mark.parametrize(("accuracy", "target"), [(98.88, 98.88), (98.8775, 98.87), (89.5152, 89.51), (97.92, 97.92)])
def test_default_target_is_rounded_down_to_be_reached(accuracy: float, target: float):
    # Of three networks, the best is the quantile.
    accuracies = (80.0, accuracy, 70.0)
    table = table_of(*(run_rows(number, 0, (90.0, 91.0, each)) for number, each in enumerate(accuracies)))

    assert table.target_pct() == target
    assert max(table.true_accuracies_pct.values()) >= target


def test_undefined_statistics_are_none():
    two_networks = table_of(run_rows(0, 0, (90.0, 95.0, 96.0)), run_rows(1, 0, (92.0, 94.0, 97.0)))
    equal_networks = table_of(*(run_rows(number, 0, (90.0, 95.0 + number, 96.0)) for number in range(3)))

    for table in (two_networks.summary(), equal_networks.summary()):
        assert [(rung["rank_correlation"], rung["seed_deviation_pct"]) for rung in table["rungs"]] == [(None, None)] * 3


def test_export_has_rows_and_checksums_for_sha256sum(tmp_path: Path):
    pytest.importorskip("pyarrow")
    table: Table = table_of(run_rows(0, 0, (9.0, 99.12, 0.1 + 0.2)), run_rows(1, 1))

    paths = export_table(table, tmp_path)

    frame = pandas.read_parquet(tmp_path / "table.parquet")
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(tmp_path / "table.csv"))
    assert list(frame["validation_accuracy_pct"][:3]) == [9.0, 99.12, 0.1 + 0.2]
    assert json.loads((tmp_path / "table.json").read_text())["rows"] == len(frame) == 6
    if shutil.which("sha256sum"):
        command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        check = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert check.stdout.count(": OK") == len(paths) - 1 == 3
