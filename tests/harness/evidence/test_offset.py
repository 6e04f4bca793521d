from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.datasets import DATASETS
from harness.evidence import offset as offset_module
from harness.evidence.offset import Offset, offset_of


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets of a package that knows one data set."""
    known = {"mnist": {"offset_pct": -0.031, "standard_error_pct": 0.012, "protocol": "six reference networks"}}
    (tmp_path / "offsets.json").write_text(json.dumps(known))
    monkeypatch.setattr(offset_module, "files", lambda package: tmp_path)


def test_a_measured_offset_comes_with_its_error_and_its_protocol(measured: None):
    assert offset_of("mnist") == Offset(
        dataset="mnist", offset_pct=-0.031, standard_error_pct=0.012, protocol="six reference networks"
    )


def test_an_offset_that_was_not_measured_is_zero_and_says_so(measured: None):
    assert offset_of("kmnist") == Offset(
        dataset="kmnist", offset_pct=0.0, standard_error_pct=None, protocol="not measured, taken as zero"
    )


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_the_offsets_that_come_with_the_program_are_of_its_data_sets_and_small(name: str):
    found = offset_of(name)

    assert abs(found.offset_pct) < 1
    assert found.protocol
    assert found.standard_error_pct is not None or found.offset_pct == 0.0


def test_no_offset_is_kept_of_a_data_set_that_does_not_exist():
    text = Path(offset_module.__file__).with_name("offsets.json").read_text(encoding="utf-8")

    assert set(json.loads(text)) <= set(DATASETS)
