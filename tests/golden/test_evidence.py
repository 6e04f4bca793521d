"""Reading and writing committed evidence preserves all bytes: records, ledger, claims, bench tables.

``evidence.json`` names the records that an older version wrote in a different form, with a digest of the present form.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.bench.table import read_table, write_table
from harness.evidence import leaderboard_table, ledger, record
from harness.evidence.leaderboard_table import _Claim
from harness.evidence.ledger import Attempt, Declaration, Registration
from harness.system.document import document_of, read_as
from tests.conftest import REPOSITORY

GOLDEN = Path(__file__).with_name("evidence.json")
RECORDS = REPOSITORY / "records"
FILES = sorted(path.name for path in RECORDS.glob("*-*.json"))


@pytest.mark.parametrize("name", FILES)
def test_rewriting_a_record_preserves_bytes(name: str, tmp_path: Path):
    record.write(tmp_path, record.read(RECORDS / name))

    content = (tmp_path / name).read_bytes()
    older_forms = json.loads(GOLDEN.read_text(encoding="utf-8"))
    if name in older_forms:
        assert hashlib.sha256(content).hexdigest()[:16] == older_forms[name]
    else:
        assert content == (RECORDS / name).read_bytes()


def rewritten_line(kind: type[Any], line: str) -> str:
    """Return a line after reading and writing, reduced to the fields of the original line."""
    document = document_of(read_as(kind, line, "a line"))
    return json.dumps({key: document[key] for key in json.loads(line)}, ensure_ascii=False)


def test_rewriting_the_ledger_preserves_lines():
    kinds = {None: Attempt, "verification": Declaration, "evaluation": Registration}

    for line in (RECORDS / "ledger.jsonl").read_text(encoding="utf-8").splitlines():
        assert rewritten_line(kinds[json.loads(line).get("kind")], line) == line
    assert ledger.read(RECORDS / "ledger.jsonl").attempts


def test_rewriting_claims_preserves_documents():
    lines = [json.dumps(claim, ensure_ascii=False) for claim in json.loads((RECORDS / "claims.json").read_bytes())]
    assert [rewritten_line(_Claim, line) for line in lines] == lines
    assert len(leaderboard_table.read_claims(RECORDS / "claims.json")) == len(lines)


def test_log_of_test_reads_has_json_lines_of_four_fields():
    for line in (RECORDS / "test_reads.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        assert list(entry) == ["date_utc", "dataset", "data_hash", "purpose"]
        assert json.dumps(entry, ensure_ascii=False) == line


@pytest.mark.parametrize("name", ["mnist-bench", "mnist-forms"])
def test_rewriting_a_table_preserves_bytes(name: str, tmp_path: Path):
    folder = REPOSITORY / "measurements" / "tables" / name

    write_table(tmp_path, read_table(folder))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
