"""Six studies are read to the same facts: their tables of networks, to the byte, and the rows that they add.

``studies.tar.xz`` has the folders, as the tests of reports made them up when goldens were begun: one that went well,
one that reached nothing, one without an end, one of multiply-adds and lengths, one that missed, one of two sessions.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from harness.cli import cli

GOLDEN = Path(__file__).with_name("studies.json")
STUDIES = Path(__file__).with_name("studies.tar.xz")


def facts(workspace: Path) -> dict[str, Any]:
    """Return digests of the tables of all studies, their first network, and the rows of the leaderboard."""
    with tarfile.open(STUDIES) as archive:
        archive.extractall(workspace, filter="data")
    # They are of when a person's records lay beside the runs.
    (workspace / "records").rename(workspace / "runs" / "records")
    found: dict[str, Any] = {}
    for folder in sorted(path for path in (workspace / "runs").iterdir() if (path / "log.jsonl").exists()):
        command = ["report", folder.name, "--tables", "--json"]
        assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
        written = [folder / "networks.csv", folder / "networks.json"]
        networks = json.loads(written[1].read_text(encoding="utf-8"))
        found[folder.name] = {
            "first": networks["networks"][0],
            "rest": {key: value for key, value in networks.items() if key != "networks"},
            "networks": len(networks["networks"]),
        } | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in written}
    answer = CliRunner().invoke(cli, ["leaderboard", "--all", "--json"], catch_exceptions=False)
    rows = json.loads(answer.stdout)["rows"]
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    return {"studies": found, "rows": len(rows), "sha256": digest}


def test_studies_are_read_as_before(workspace: Path):
    assert facts(workspace) == json.loads(GOLDEN.read_text(encoding="utf-8"))
