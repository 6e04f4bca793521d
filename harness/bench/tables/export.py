"""A table for other programs: CSV and Parquet with checksums."""

from __future__ import annotations

import hashlib
import io
from dataclasses import fields
from pathlib import Path

from harness.bench.tables.table import Row, Table
from harness.bench.tables.table_files import contents
from harness.system import extras, files

PARQUET = "table.parquet"
# The form that `sha256sum --check` reads.
CHECKSUMS = "SHA256SUMS"


def export_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV and Parquet with its facts, its datasheet and checksums; return the files.

    Raises:
        DeviceError: pyarrow is not installed; nothing is written.
        UsageError: the folder cannot be written.
    """
    written = contents(table) | {PARQUET: parquet(table)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(written.items()))
    written[CHECKSUMS] = sums.encode()
    files.write_together({folder / name: content for name, content in written.items()})
    return [folder / name for name in written]


def parquet(table: Table) -> bytes:
    """Return the rows as a Parquet file: a column a field of ``Row``, in the order of the table.

    Raises:
        DeviceError: pyarrow is not installed.
    """
    extras.require("export", ("pyarrow",), "Parquet")
    import pandas

    columns = [item.name for item in fields(Row)]
    frame = pandas.DataFrame([[getattr(row, column) for column in columns] for row in table.rows], columns=columns)
    buffer = io.BytesIO()
    frame.astype({"status": "str"}).to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()
