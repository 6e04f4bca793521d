"""What ``explain`` says of networks stays as it was: rows of the leaderboard, presets, and random networks of all ops.

``networks.jsonl`` has a line a network: what was given, the totals, and a digest of the whole document.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import cli

GOLDEN = Path(__file__).with_name("networks.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def explained(given: str) -> dict[str, Any]:
    """Return the line of a network."""
    answer = CliRunner().invoke(cli, ["explain", given, "--json"], catch_exceptions=False)
    document = json.loads(answer.stdout)
    # Tested in tests/search_spaces.
    for later in ("weight_bytes", "ram_bytes", "latency_us", "instructions_m0", "instructions_rv32"):
        del document[later]
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    totals = ("hash", "parameters", "stored_numbers", "macs", "receptive_field")
    return {"given": given} | {name: document[name] for name in totals} | {"sha256": digest[:16]}


@pytest.mark.parametrize("case", CASES, ids=[case["hash"] for case in CASES])
def test_a_network_costs_what_it_did(case: dict[str, Any], workspace: Path):
    assert explained(case["given"]) == case
