"""The leaderboard made from the committed records is the committed one, to the byte, and so is its JSON document."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from harness.cli import cli

GOLDEN = Path(__file__).with_name("standings.json")
REPOSITORY = Path(__file__).parents[2]


def standings(workspace: Path) -> dict[str, Any]:
    """Return the document of all rows; publish over the committed leaderboard, and where there is none."""
    shutil.copytree(REPOSITORY / "records", workspace / "records")
    board = Path(shutil.copy(REPOSITORY / "leaderboard.csv", workspace))
    answer = CliRunner().invoke(cli, ["leaderboard", "--all", "--json"], catch_exceptions=False)
    document: dict[str, Any] = json.loads(answer.stdout)
    assert document.pop("leaderboard") == str(board)
    assert CliRunner().invoke(cli, ["leaderboard", "--publish"]).exit_code == 0
    assert board.read_bytes() == (REPOSITORY / "leaderboard.csv").read_bytes()
    board.unlink()
    assert CliRunner().invoke(cli, ["leaderboard", "--publish"]).exit_code == 0
    # Rows of searches, whose studies are not committed, are kept only where a leaderboard is there.
    return {"from_records_sha256": hashlib.sha256(board.read_bytes()).hexdigest()} | document


def test_all_rows_are_as_before(workspace: Path):
    assert standings(workspace) == json.loads(GOLDEN.read_text(encoding="utf-8"))
