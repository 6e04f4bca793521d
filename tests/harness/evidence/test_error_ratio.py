from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.datasets import DATASETS
from harness.evidence import error_ratio as offset_module
from harness.evidence.error_ratio import ErrorRatio, error_ratio_of


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets of a package that knows one data set."""
    known = {"mnist": {"errors_ratio": 0.8, "relative_error": 0.05, "protocol": "six reference networks"}}
    (tmp_path / "error-ratios.json").write_text(json.dumps(known))
    monkeypatch.setattr(offset_module, "files", lambda package: tmp_path)


def test_a_measured_offset_comes_with_its_error_and_its_protocol(measured: None):
    assert error_ratio_of("mnist") == ErrorRatio(
        dataset="mnist", errors_ratio=0.8, relative_error=0.05, protocol="six reference networks"
    )


def test_deviations_between_networks_and_images_are_read_where_they_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    known = {"errors_ratio": 0.8, "relative_error": 0.05, "network_deviation": 0.06, "images_deviation": 0.09}
    (tmp_path / "error-ratios.json").write_text(json.dumps({"mnist": {**known, "protocol": "five folds"}}))
    monkeypatch.setattr(offset_module, "files", lambda package: tmp_path)

    found = error_ratio_of("mnist")

    assert (found.network_deviation, found.images_deviation) == (0.06, 0.09)
    # They say how far one network and one set of images may lie off; the threshold stands for the mean.
    assert found.threshold_pct(99.4) == pytest.approx(99.25, abs=1e-9)


def test_an_offset_that_was_not_measured_is_none_and_says_so(measured: None):
    found = error_ratio_of("kmnist")

    assert found == ErrorRatio(
        dataset="kmnist", errors_ratio=1.0, relative_error=None, protocol="not measured, taken as none"
    )
    assert found.threshold_pct(99.4) == pytest.approx(99.4)


@pytest.mark.parametrize(
    ("target", "threshold"),
    # Errors of the target by 0.8.
    [(100.0, 100.0), (99.6, 99.5), (99.4, 99.25), (98.0, 97.5), (0.0, 0.0)],
)
def test_the_threshold_allows_for_errors_in_proportion(measured: None, target: float, threshold: float):
    assert error_ratio_of("mnist").threshold_pct(target) == pytest.approx(threshold, abs=1e-5)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_higher_target_never_has_a_lower_threshold(one: float, other: float):
    found = error_ratio_of("mnist")
    low, high = sorted((one, other))

    assert 0 <= found.threshold_pct(low) <= found.threshold_pct(high) <= 100


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_the_offsets_that_come_with_the_program_are_of_its_data_sets_and_small(name: str):
    found = error_ratio_of(name)

    assert 0.5 < found.errors_ratio < 2
    assert found.protocol
    assert found.relative_error is not None or found.errors_ratio == 1.0
    assert all(value is None or 0 <= value < 0.5 for value in (found.network_deviation, found.images_deviation))


def test_no_offset_is_kept_of_a_data_set_that_does_not_exist():
    text = Path(offset_module.__file__).with_name("error-ratios.json").read_text(encoding="utf-8")

    assert set(json.loads(text)) <= set(DATASETS)
