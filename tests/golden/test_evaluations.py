"""Kept weights make the errors that they made: those of the record, image by image.

``evaluations.json`` has, for each network with kept weights, the bounds and the errors of every seed, with a digest of
which images were wrong and what was said of them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import cli

GOLDEN = Path(__file__).with_name("evaluations.json")
CASES: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
QUICK = "c5cf23574b69"


def evaluated(network: str, recipe: str, seed: str) -> dict[str, Any]:
    """Return what evaluating the kept weights of a network says."""
    command = ["evaluate", network, "--recipe", recipe, "--seed", seed, "--json"]
    answer = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert answer.exit_code == 0
    document: dict[str, Any] = json.loads(answer.stdout)
    for run in document["seeds"]:
        wrong = run.pop("wrong")
        # The scores of classes are newer than the file, and follow from the wrong images.
        del run["confusion"], run["roc_auc"]
        run |= {"errors": len(wrong), "sha256": hashlib.sha256(json.dumps(wrong).encode()).hexdigest()[:16]}
    del document["class_scores"]
    return document


def test_the_first_seed_of_a_network_makes_its_errors(workspace: Path, shipped: Path, mnist_folder: Path):
    case = CASES[QUICK]

    document = evaluated(QUICK, case["recipe"], "0")

    assert document["seeds"] == case["seeds"][:1]


@pytest.mark.slow
@pytest.mark.parametrize("network", CASES)
def test_all_seeds_of_a_network_make_their_errors_and_bounds(
    network: str, workspace: Path, shipped: Path, mnist_folder: Path
):
    case = CASES[network]

    assert evaluated(network, case["recipe"], "all") == case
