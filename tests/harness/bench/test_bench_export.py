from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas
import pytest

from harness.bench.table_files import export_table
from harness.system import errors
from harness.system.errors import DeviceError
from tests.harness.bench.some_table import HASHES, run_rows, some_table

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
    assert check.stdout.count(": OK") == len(written) - 1 == 4


def test_without_pyarrow_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)

    with pytest.raises(DeviceError, match="Parquet needs pyarrow, which is not installed") as caught:
        export_table(TABLE, tmp_path / "out")

    assert caught.value.hint == errors.install_command("export")
    assert not (tmp_path / "out").exists()
