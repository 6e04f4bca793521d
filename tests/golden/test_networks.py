"""``harness explain`` gives the recorded costs of networks: leaderboard rows, presets, and random networks of all ops.

``networks.jsonl`` has a line per network: the argument, the totals, and a digest of the whole document.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import cli

GOLDEN = Path(__file__).with_name("networks.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def explanation(argument: str) -> dict[str, Any]:
    answer = CliRunner().invoke(cli, ["explain", argument, "--json"], catch_exceptions=False)
    document = json.loads(answer.stdout)
    # These fields were added after the golden file was written; tests/harness/spaces has tests of the values.
    for field in (
        "weight_bytes",
        "ram_bytes",
        "latency_us",
        *filter(re.compile("instructions_").match, list(document)),
    ):
        del document[field]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    totals = ("hash", "parameters", "stored_numbers", "macs", "receptive_field")
    return {"given": argument} | {name: document[name] for name in totals} | {"sha256": digest[:16]}


@pytest.mark.parametrize("case", CASES, ids=[case["hash"] for case in CASES])
def test_explain_gives_recorded_costs(case: dict[str, Any], workspace: Path):
    assert explanation(case["given"]) == case
