"""Locked test set: a single access path, and a log entry for each read."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import testset
from harness.data.datasets import DATASETS
from harness.data.testset import read_test_set, sketch_of_test_part
from harness.data.training_images import load
from harness.system.errors import DataError, UsageError
from tests.conftest import REPOSITORY

# All names that give access to the pixels of the test set, and the files that may use the names.
ACCESS_NAMES = {
    # files of the test set: facts about the files, check of hashes, and the only function that reads the files
    "all_files": {"harness/data/datasets.py", "harness/data/training_images.py"},
    "locked_arrays": {"harness/data/training_images.py", "harness/data/testset.py"},
    # torchvision, whose classes also read test sets
    "import_torchvision": {"harness/data/training_images.py", "harness/commands/doctor.py"},
    "from_torchvision": {"harness/data/training_images.py", "harness/data/other_images.py"},
    # test images that verifications store for reports; code that trains or decides must not read the images
    "read_inspections": {"harness/training/result.py", "harness/pages/study_facts.py"},
}


def names_and_texts(path: Path) -> tuple[set[str], str]:
    """Return names, attributes and imported names of a program, and the string constants."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    texts: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef):
            names.add(node.id if isinstance(node, ast.Name) else getattr(node, "attr", getattr(node, "name", "")))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return names, "\n".join(texts)


@functools.cache
def programs() -> dict[str, tuple[set[str], str]]:
    paths = [*(REPOSITORY / "harness").rglob("*.py")]
    return {path.relative_to(REPOSITORY).as_posix(): names_and_texts(path) for path in paths}


@pytest.mark.parametrize("name", ACCESS_NAMES)
def test_only_listed_files_access_test_set(name: str):
    users = {file for file, (names, _) in programs().items() if name in names}
    assert users - ACCESS_NAMES[name] == set()
    assert users, f"{name} is gone: this test looks for a name that no longer exists"


@pytest.mark.parametrize(
    ("text", "module"), [("t10k", "harness/data/user/layouts.py"), ("mnist_5k", "harness/data/training_images.py")]
)
def test_files_of_test_images_are_named_in_a_single_module(text: str, module: str):
    assert [file for file, (_, texts) in programs().items() if text in texts] == [module]


def test_only_locked_arrays_returns_test_images_and_check_uses_hashes():
    tree = ast.parse((REPOSITORY / "harness/data/training_images.py").read_text(encoding="utf-8"))
    functions = {node.name: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    users = {name for name, text in functions.items() if "is_locked=True" in text}
    assert users == {"_training_part", "locked_arrays"}
    # ``_training_part`` uses the test images only for hashes.
    text = functions["_training_part"]
    digest = "hashlib.sha256(test.images.tobytes() + test.labels.astype(np.uint8).tobytes()).hexdigest()"
    assert digest in text
    assert "test.hashes" in text
    assert text.count("test.") == 3


def test_read_returns_test_files_and_appends_log_entry(toy, tmp_path: Path):
    toy.write(tmp_path)
    data, log = load("toy", tmp_path), tmp_path / "deep" / "log.jsonl"
    for seed in range(2):
        images, labels = read_test_set(data, purpose=f"verify seed {seed}", log=log)
        assert (images.dtype, images.shape) == (torch.uint8, (6, 1, 28, 28))
        assert images.flatten().tolist() == list(toy.unpacked["t10k-images-idx3-ubyte"][16:])
        assert (labels.dtype, labels.tolist()) == (torch.int64, [0, 1, 2, 0, 1, 2])
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [entry["purpose"] for entry in entries] == ["verify seed 0", "verify seed 1"]
    assert [(entry["dataset"], entry["data_hash"]) for entry in entries] == [("toy", data.data_hash)] * 2
    assert set(entries[0]) == {"date_utc", "dataset", "data_hash", "purpose"}


def test_sketch_of_test_part_has_smallest_digests_of_images(toy, tmp_path: Path):
    toy.write(tmp_path)
    images = toy.unpacked["t10k-images-idx3-ubyte"][16:]
    digests = {hashlib.sha256(images[start : start + 784]).hexdigest()[:12] for start in range(0, len(images), 784)}

    sketch = sketch_of_test_part(load("toy", tmp_path).dataset, tmp_path)
    assert sketch[: len(digests)] == tuple(sorted(digests)[:32])


@pytest.mark.parametrize("levels", [1, -1, 6, -6, 30])
def test_sketch_recognises_brighter_and_darker_test_part(levels: int, monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(0)
    # Dark backgrounds and saturated ink; the last picture has a single shade.
    images = random.integers(0, 256, (100, 1, 8, 8)).clip(64, 192).astype(np.uint8) - 64
    images = (images * 2.0).clip(max=255).astype(np.uint8)
    images[-1] = 7
    changed_images = (images.astype(int) + levels).clip(0, 255).astype(np.uint8)
    other_images = random.integers(0, 256, (100, 1, 8, 8), dtype=np.uint8)
    other_images[-1] = 9
    sketches = []
    for pixels in (images, changed_images, other_images):
        monkeypatch.setattr(testset, "locked_arrays", lambda *_, pixels=pixels: (pixels, None))
        sketches.append({*sketch_of_test_part(DATASETS["mnist"], None)})

    assert sketches[0] & sketches[1]
    assert not sketches[0] & sketches[2]


def test_read_without_log_is_rejected(toy, tmp_path: Path):
    toy.write(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        read_test_set(load("toy", tmp_path), purpose="a test", log=tmp_path / "file" / "log.jsonl")


def test_failed_read_is_logged(toy, tmp_path: Path):
    folder = toy.write(tmp_path)
    data = load("toy", tmp_path)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError):
        read_test_set(data, purpose="a test", log=tmp_path / "log.jsonl")
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_set_of_mnist_has_known_labels(mnist_folder: Path, tmp_path: Path):
    _, labels = read_test_set(load("mnist", mnist_folder), purpose="a test of the reader", log=tmp_path / "log")
    # The well-known first ten labels of the test set.
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert len(labels) == 10_000
