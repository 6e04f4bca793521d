"""Reports of six studies give the recorded tables of networks, byte by byte, and the recorded leaderboard rows.

``studies.tar.xz`` contains the folders, which the tests of reports created when the goldens were introduced: a
successful study, a study without a result, an unfinished study, a study for multiply-adds with training lengths, a
study whose verification missed the target, and a study of two sessions. The results, once a file per run, have been
moved unchanged to the lines of the logs.
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
    with tarfile.open(STUDIES) as archive:
        archive.extractall(workspace, filter="data")
    # In the older layout of the archive, the user's records are beside the runs.
    (workspace / "records").rename(workspace / "runs" / "records")
    studies: dict[str, Any] = {}
    for folder in sorted(path for path in (workspace / "runs").iterdir() if (path / "log.jsonl").exists()):
        command = ["report", folder.name, "--tables", "--json"]
        assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
        tables = [folder / "networks.csv", folder / "networks.json"]
        networks = json.loads(tables[1].read_text(encoding="utf-8"))
        studies[folder.name] = {
            "first": networks["networks"][0],
            "rest": {key: value for key, value in networks.items() if key != "networks"},
            "networks": len(networks["networks"]),
        } | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in tables}
    answer = CliRunner().invoke(cli, ["leaderboard", "--all", "--json"], catch_exceptions=False)
    rows = json.loads(answer.stdout)["rows"]
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    return {"studies": studies, "rows": len(rows), "sha256": digest}


def test_reports_of_studies_equal_recorded_tables(workspace: Path):
    assert facts(workspace) == json.loads(GOLDEN.read_text(encoding="utf-8"))
