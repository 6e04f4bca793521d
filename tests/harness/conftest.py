"""A small data set of our own, so that every way in which files can be wrong is tried without MNIST."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.data.datasets import DATASETS, DataFile, Dataset
from harness.system import files
from harness.system.files import Workspace
from tests.verifications import create_evidence


@dataclass(frozen=True, slots=True)
class Toy:
    """A data set of 30 and 6 images, and the bytes of its four files."""

    spec: Dataset
    unpacked: dict[str, bytes]
    packed: dict[str, bytes]

    def write(self, folder: Path, *, packed: bool = True) -> Path:
        target = folder / self.spec.folder
        target.mkdir(parents=True)
        for name in self.unpacked:
            (target / (f"{name}.gz" if packed else name)).write_bytes(
                self.packed[name] if packed else self.unpacked[name]
            )
        return target


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The data set ``toy``, whose SHA-256 sums are known."""
    rng = random.Random("toy")
    unpacked = {}
    for part, images in (("train", 30), ("t10k", 6)):
        pixels = rng.randbytes(images * 784)
        labels = bytes(index % 3 for index in range(images))
        unpacked[f"{part}-images-idx3-ubyte"] = bytes.fromhex(f"00000803{images:08x}0000001c0000001c") + pixels
        unpacked[f"{part}-labels-idx1-ubyte"] = bytes.fromhex(f"00000801{images:08x}") + labels
    packed = {name: gzip.compress(content, mtime=0) for name, content in unpacked.items()}
    files = tuple(
        DataFile(file, hashlib.sha256(unpacked[file]).hexdigest(), hashlib.md5(packed[file]).hexdigest())
        for file in unpacked
    )
    spec = Dataset(
        name="toy",
        classes=3,
        image_shape=(1, 28, 28),
        train_size=20,
        validation_size=10,
        test_size=6,
        target_pct=50.0,
        mean=(0.5,),
        std=(0.3,),
        licence="Ours.",
        folder="Toy/raw",
        all_files=files,
    )
    data_set = Toy(spec, unpacked, packed)
    monkeypatch.setitem(DATASETS, "toy", data_set.spec)
    return data_set


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "harness"


@pytest.fixture(scope="session")
def consistent_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two verifications and a certification, run without training; tests must not change these files."""
    with pytest.MonkeyPatch.context() as patch:
        return create_evidence(tmp_path_factory.mktemp("consistent"), patch)


@pytest.fixture
def store(consistent_workspace: Workspace, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of ``consistent_workspace`` that tests may change, also used as the shipped evidence."""
    shutil.copytree(consistent_workspace.root, workspace, dirs_exist_ok=True)
    monkeypatch.setattr(files, "SHIPPED", workspace / "runs")
    return Workspace(workspace)
