"""Labels: equality, and order of classes as in NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data import user
from harness.data.user.labels import read_labels
from harness.system.errors import DataError
from tests.harness.data.user.pictures import pictures

NFC, NFD = "Caf\u00e9", "Cafe\u0301"


@given(st.lists(st.integers(-3, 12), min_size=1) | st.lists(st.text("01-²ab", min_size=1), min_size=1))
def test_order_of_classes_equals_numpy(labels: list[Any]):
    names, order = read_labels(labels, "labels")
    assert order == list(map(str, np.unique(labels).tolist()))
    assert names == list(map(str, labels))


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ([1, -1, 1], ["-1", "1"]),
        (["10", "9", "2"], ["10", "2", "9"]),
        (np.array([10.0, 9, 2]), ["2", "9", "10"]),
        (np.array([[1], [0]], np.int8), ["0", "1"]),
        ([True, False], ["0", "1"]),
        (["01", "1", "NA", "True", "²", "nan"], ["01", "1", "NA", "True", "nan", "²"]),
        ([NFC, NFD, "a"], [NFC, "a"]),
        (pd.Series(["b", "a"]), ["a", "b"]),
        (pd.Series(["b", "a"], dtype="category"), ["a", "b"]),
        (np.array([2, np.int64(1)], dtype=object), ["1", "2"]),
        (torch.tensor([3, 1]), ["1", "3"]),
    ],
)
def test_classes_are_distinct_labels_in_order(labels: Any, order: list[str]):
    assert read_labels(labels, "labels")[1] == order


@pytest.mark.parametrize(
    "labels",
    [[np.inf, 1.0], [np.nan, 1.0], [0.5, 1.0], ["a\nb", "c"], ["", "c"], ["\ud800", "c"], [b"a", b"b"], [None, 1],
     [1, "a", None], [[1, 0], [0, 1]], [[1], [0, 1]], 3, np.array(["2026-01-01"], "M8[D]"), [1j, 2.0],
     ["x" * 5000 + "\n"], pd.Series(["a", None])],
)  # fmt: skip
def test_invalid_labels_are_rejected_in_one_line(labels: Any):
    with pytest.raises(DataError) as excinfo:
        read_labels(labels, "labels")
    assert len(excinfo.value.one_line.splitlines()) == 1
    assert len(excinfo.value.one_line) < 200


@pytest.mark.parametrize(
    ("labels", "index"),
    [([1.0, 2.0, np.nan], 2), ([1.0, 0.5, np.inf], 1), ([1, None, 2], 1), (["a", "b", "c", None], 3)],
)
def test_error_states_index_of_first_invalid_label(labels: list[Any], index: int):
    with pytest.raises(DataError, match=rf"\b{index}\b"):
        read_labels(labels, "labels")


def test_data_set_is_independent_of_row_order_and_hash_seed():
    images, labels = pictures()
    order = np.random.default_rng(1).permutation(60)
    names = np.array(["1", "01", "²"])[np.unique(labels, return_inverse=True)[1]]
    program = (
        "import numpy as np; from harness.data import user; from tests.harness.data.user.pictures import pictures;"
        "x, y = pictures(); names = np.array(['1', '01', '²'])[np.unique(y, return_inverse=True)[1]];"
        "print(user.Data.from_arrays('a', x, names).name)"
    )
    spec = user.Data.from_arrays("a", images, names)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = os.environ | {"PYTHONHASHSEED": seed}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == spec.name
    assert user.Data.from_arrays("a", images[order], names[order]) == spec
