"""The leaderboard made from the committed records is the committed one, to the byte, and so is its JSON document."""

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
from harness.evidence.leaderboard_table import Tier
from harness.system import files
from harness.system.files import Workspace
from tests.conftest import REPOSITORY
from tests.verifications import git

GOLDEN = Path(__file__).with_name("standings.json")


def standings(workspace: Path) -> dict[str, Any]:
    """Return the document of all rows, in a workspace that has none of its own; and a digest of those of records."""
    answer = CliRunner().invoke(cli, ["leaderboard", "--all", "--json"], catch_exceptions=False)
    document: dict[str, Any] = json.loads(answer.stdout)
    place = Workspace(workspace)
    assert document.pop("leaderboard") == str(place.leaderboard)
    document["rows"] = without_public_networks(document["rows"])
    rows = leaderboard_table.refresh(place)
    assert place.leaderboard.read_bytes() == (REPOSITORY / "leaderboard.csv").read_bytes()
    # Rows of searches, whose studies are not committed, are kept as the shipped leaderboard has them.
    recorded = leaderboard_table.to_csv(
        leaderboard_table.ranked(
            [row for row in rows if row.tier is not Tier.SEARCHED and not row.name.startswith("claim")]
        )
    )
    return {"from_records_sha256": hashlib.sha256(recorded.encode()).hexdigest()} | document


def without_public_networks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without those of public repositories, whose trainings are being extended, ranked again."""
    own = [row for row in rows if not row["name"].startswith("claim")]
    for _, group in itertools.groupby(own, key=lambda row: (row["dataset"], row["target_pct"])):
        for rank, row in enumerate(group, start=1):
            row["rank"] = rank
    return own


def test_all_rows_are_as_before(workspace: Path, shipped: Path):
    assert standings(workspace) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_publishing_what_is_published_changes_nothing(
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
        assert path.name == ".lock" or path.read_bytes() == (REPOSITORY / path.relative_to(clone)).read_bytes()
