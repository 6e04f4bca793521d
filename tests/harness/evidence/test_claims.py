from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import claims
from harness.system.errors import ContentError

COMMITTED = Path(__file__).parents[3] / "records" / "claims.json"
CLAIM: dict[str, Any] = {
    "name": "n",
    "architecture": "conv3x3(8) | gap | linear(10)",
    "test_accuracy_pct": 99.46,
    "metric": "best epoch on the test set",
    "runs": 1,
    "epochs": 19,
    "recipe": "its own",
    "source": "someone",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims.json"


def test_without_a_file_nobody_claims_anything(path: Path):
    assert claims.read(path) == []


def test_a_claim_is_about_mnist_and_its_target_unless_it_says_otherwise(path: Path):
    path.write_text(json.dumps([CLAIM, {**CLAIM, "dataset": "kmnist", "target_pct": 95.0}]), encoding="utf-8")

    found = claims.read(path)

    assert [(claim.dataset, claim.target_pct) for claim in found] == [("mnist", 99.4), ("kmnist", 95.0)]
    assert found[0].test_accuracy_pct == 99.46


@pytest.mark.parametrize(
    "content",
    ["", "{}x", "3", '{"name": 1}', "[3]", json.dumps([{"name": "n"}]), json.dumps([{**CLAIM, "extra": 1}])],
)
def test_what_is_no_list_of_claims_is_refused(path: Path, content: str):
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ContentError, match=r"the file of claims .*: "):
        claims.read(path)


def test_a_claim_about_no_network_is_refused_with_the_place_of_its_fault(path: Path):
    path.write_text(json.dumps([CLAIM, {**CLAIM, "architecture": "conv3x4(8)"}]), encoding="utf-8")

    with pytest.raises(ContentError, match=r"its 1\.architecture is not a network") as raised:
        claims.read(path)

    assert (raised.value.text, raised.value.position) == ("conv3x4(8)", 0)


def test_a_claim_about_a_network_for_other_classes_is_refused_with_its_name(path: Path):
    path.write_text(json.dumps([{**CLAIM, "architecture": "conv3x3(8) | gap | linear(3)"}]), encoding="utf-8")

    with pytest.raises(ContentError, match="the network of claim 'n'"):
        claims.read(path)


def test_two_claims_about_one_network_are_refused_however_it_is_written(path: Path):
    again = {**CLAIM, "name": "m", "architecture": "conv3x3(8) gap linear(10)"}
    path.write_text(json.dumps([CLAIM, again]), encoding="utf-8")

    with pytest.raises(ContentError, match="several claims about the network of 'n'"):
        claims.read(path)


@pytest.mark.parametrize("value", ["99.4", None, True])
def test_a_claimed_figure_must_be_a_number(path: Path, value: object):
    path.write_text(json.dumps([{**CLAIM, "test_accuracy_pct": value}]), encoding="utf-8")

    with pytest.raises(ContentError, match="test_accuracy_pct"):
        claims.read(path)


def test_the_committed_claims_are_those_of_the_documents_that_state_one():
    found = claims.read(COMMITTED)

    stated = {claim.name: claim.test_accuracy_pct for claim in found}
    assert {name: stated[name] for name in ("seed1", "seed2", "seed4")} == {
        "seed1": 99.46,
        "seed2": 99.49,
        "seed4": 99.49,
    }
    assert not {"seed0", "seed3"} & stated.keys()
    assert all(claim.source and claim.metric for claim in found)
    assert all(claim.architecture for claim in found)


def test_the_committed_claims_are_those_of_the_documents(seed_documents: dict[str, Any]):
    stated = {
        network["name"]: network["claim"]["test_acc"] for network in seed_documents["networks"] if network["claim"]
    }

    committed = {claim.name: claim.test_accuracy_pct for claim in claims.read(COMMITTED)}

    assert {name: accuracy for name, accuracy in committed.items() if name.startswith("seed")} == stated
