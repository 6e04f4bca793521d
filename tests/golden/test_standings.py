"""The leaderboard from the committed records equals the committed file byte by byte, and the recorded JSON document."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.evidence import leaderboard_table
from harness.studies.standing import Standing
from harness.system import files
from harness.system.files import Workspace
from tests.conftest import REPOSITORY
from tests.verifications import git

GOLDEN = Path(__file__).with_name("standings.json")


def standings(workspace: Path) -> dict[str, Any]:
    """Return the document of all rows in an empty workspace, and a digest of the rows from records."""
    answer = CliRunner().invoke(cli, ["leaderboard", "--all", "--json"], catch_exceptions=False)
    document: dict[str, Any] = json.loads(answer.stdout)
    empty_workspace = Workspace(workspace)
    assert document.pop("leaderboard") == str(empty_workspace.leaderboard)
    document["rows"] = without_public_networks(document["rows"])
    rows = leaderboard_table.refresh(empty_workspace)
    assert empty_workspace.leaderboard.read_bytes() == (REPOSITORY / "leaderboard.csv").read_bytes()
    # Rows of searches are copied from the shipped leaderboard, because studies are not committed.
    table = leaderboard_table.to_csv(
        leaderboard_table.ranked(
            [row for row in rows if row.tier is not Standing.SEARCHED and not row.name.startswith("claim")]
        )
    )
    return {"from_records_sha256": hashlib.sha256(table.encode()).hexdigest()} | document


def without_public_networks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with new ranks, without public networks, whose trainings are still being extended."""
    own_rows = [row for row in rows if not row["name"].startswith("claim")]
    for _, group in itertools.groupby(own_rows, key=lambda row: (row["dataset"], row["target_pct"])):
        for rank, row in enumerate(group, start=1):
            row["rank"] = rank
    return own_rows


def test_leaderboard_equals_recorded_document(workspace: Path, shipped: Path):
    assert standings(workspace) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_publishing_a_published_network_changes_no_file(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(REPOSITORY / "records", clone / "records")
    shutil.copy(REPOSITORY / "leaderboard.csv", clone)
    git(Workspace(clone), "init", "--quiet")
    git(Workspace(clone), "add", "leaderboard.csv")
    monkeypatch.setattr(files, "SHIPPED", clone)

    assert CliRunner().invoke(cli, ["leaderboard", "--publish", "eab8ff"]).exit_code == 0

    for path in (clone / "leaderboard.csv", *(clone / "records").rglob("*.*")):
        assert path.name.endswith(".lock") or path.read_bytes() == (REPOSITORY / path.relative_to(clone)).read_bytes()
