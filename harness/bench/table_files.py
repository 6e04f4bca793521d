"""A table on disk: a folder with ``table.csv`` (the rows) and ``table.json`` (the facts).

``table.json`` has the SHA-256 of ``table.csv``, so that damage and edits are found when a table is read.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from harness.bench.table import Facts, Row, Table, TableError
from harness.system import errors, files
from harness.system.document import csv_text, documented, finite, read_as, unguarded
from harness.system.errors import ContentError, UsageError, reason
from harness.system.files import Workspace
from harness.training.recipe import recipe_document
from harness.training.result import Status
from search_spaces.errors import nearest

_ROWS = "table.csv"
FACTS = "table.json"
# For other programs; the latter in the form that `sha256sum --check` reads.
_PARQUET, _CHECKSUMS = "table.parquet", "SHA256SUMS"
# The tables that come with the checkout.
_COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "tables"
_MEND = "fetch the table again, or record it anew with 'harness bench table'"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _FactsFile:
    facts: Facts
    networks: int
    rows: int
    rows_sha256: str
    schema_version: Literal[1] = 1


def write_table(folder: Path, table: Table) -> None:
    """Write a table's files, all or none."""
    files.write_together({folder / name: content for name, content in contents(table).items()})


def holds_table(folder: Path) -> bool:
    """Return whether a folder has any of a table's files."""
    return any((folder / name).exists() for name in (_ROWS, FACTS))


def contents(table: Table) -> dict[str, bytes]:
    """Return a table's files by their names; equal tables give equal bytes."""
    rows = rows_text(table.rows).encode()
    digest = hashlib.sha256(rows).hexdigest()
    whole = _FactsFile(facts=table.facts, networks=len(table.runs), rows=len(table.rows), rows_sha256=digest)
    document = asdict(whole)
    document["facts"]["recipe"] = recipe_document(table.recipe)
    return {_ROWS: rows, FACTS: files.json_text(document).encode()}


def read_table(folder: Path) -> Table:
    """Read a table.

    Raises:
        TableError: it is missing, damaged or of another version of this program.
    """
    try:
        text, rows = (folder / FACTS).read_bytes(), (folder / _ROWS).read_bytes()
    except OSError as error:
        raise TableError(f"cannot read the table in {folder}: {reason(error)}: {error.filename}", hint=_MEND) from error
    try:
        whole = read_as(_FactsFile, text, f"the table's {folder / FACTS}")
    except ContentError as error:
        raise TableError(error.message, hint=_MEND) from error
    digest = hashlib.sha256(rows).hexdigest()
    if digest != whole.rows_sha256:
        raise TableError(
            f"{folder / _ROWS} is not the file that {FACTS} was written with: its SHA-256 is {digest[:12]}..., but "
            f"{whole.rows_sha256[:12]}... is noted",
            hint=_MEND,
        )
    table = Table(whole.facts, tuple(_rows(rows, folder / _ROWS)))
    for what, noted, found in (("rows", whole.rows, len(table.rows)), ("networks", whole.networks, len(table.runs))):
        if noted != found:
            raise TableError(f"{folder / _ROWS} has {found:,} {what}, but {FACTS} notes {noted:,}", hint=_MEND)
    return table


def export_table(table: Table, folder: Path) -> list[Path]:
    """Write a table as CSV and Parquet with its facts and checksums; return the files."""
    written = contents(table) | {_PARQUET: parquet(table)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(written.items()))
    written[_CHECKSUMS] = sums.encode()
    files.write_together({folder / name: content for name, content in written.items()})
    return [folder / name for name in written]


def parquet(table: Table) -> bytes:
    """Return the rows as a Parquet file: a column a field of ``Row``, in the order of the table."""
    errors.require("export", ("pyarrow",), "Parquet")
    import pandas

    frame = pandas.DataFrame([*map(asdict, table.rows)])
    buffer = io.BytesIO()
    frame.astype({"status": "str"}).to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def table_folder(name: str, place: Workspace) -> Path:
    """Return where the table of that name is: a folder named with a slash, a person's own, or a committed one."""
    if "/" in name:
        return Path(name)
    own = place.tables / name
    known = {
        path.parent.name: path.parent for folder in (_COMMITTED, place.tables) for path in folder.glob(f"*/{FACTS}")
    }
    if name in known or own.exists():
        return known.get(name, own)
    listed = ", ".join(sorted(known)) or "none"
    raise UsageError(
        f"no table {name!r} in {place.tables}; known are: {listed}, or a folder written with a slash",
        hint=nearest(name, known) or "record one with 'harness bench table'",
    )


def rows_text(rows: tuple[Row, ...]) -> str:
    """Return rows as CSV; the columns are the fields of ``Row``."""
    columns = [item.name for item in fields(Row)]
    return csv_text(columns, ([getattr(row, column) for column in columns] for row in rows))


def _rows(content: bytes, path: Path) -> list[Row]:
    columns = {item.name: str(item.type) for item in fields(Row)}
    made: dict[str, Callable[[str], Any]] = {"str": unguarded, "int": int, "float": finite, "Status": Status}
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} is no CSV in UTF-8: {error}", hint=_MEND) from error
    if not lines or lines[0] != list(columns):
        raise TableError(f"{path} has other columns than {', '.join(columns)}", hint=_MEND)
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        try:
            values = {name: made[kind](cell) for (name, kind), cell in zip(columns.items(), cells, strict=True)}
            rows.append(Row(**values))
        except ValueError as error:
            raise TableError(f"{path}, line {number}: {error}", hint=_MEND) from error
    return rows
