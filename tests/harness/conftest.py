"""A small data set of our own, so that every way in which files can be wrong is tried without MNIST.

Also records and results of runs that never were.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.datasets import DATASETS, DataFile, Dataset
from harness.evidence.record import Found, Record, SeedRun
from harness.training.recipe import Recipe
from harness.training.result import Environment, Purpose, Result, Status, derive_seed
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network


@dataclass(frozen=True, slots=True)
class Toy:
    """A data set of 30 and 6 images, and the bytes of its four files."""

    spec: Dataset
    unpacked: dict[str, bytes]
    packed: dict[str, bytes]

    def write(self, folder: Path, *, packed: bool = True) -> Path:
        """Write the files in torchvision's layout and return the folder that holds them."""
        place = folder / self.spec.folder
        place.mkdir(parents=True)
        for name in self.unpacked:
            (place / (f"{name}.gz" if packed else name)).write_bytes(
                self.packed[name] if packed else self.unpacked[name]
            )
        return place


def make_toy(name: str, *, published_hashes: bool) -> Toy:
    draw = random.Random(name)
    unpacked = {}
    for part, images in (("train", 30), ("t10k", 6)):
        pixels = draw.randbytes(images * 784)
        labels = bytes(index % 3 for index in range(images))
        unpacked[f"{part}-images-idx3-ubyte"] = bytes.fromhex(f"00000803{images:08x}0000001c0000001c") + pixels
        unpacked[f"{part}-labels-idx1-ubyte"] = bytes.fromhex(f"00000801{images:08x}") + labels
    packed = {name: gzip.compress(content, mtime=0) for name, content in unpacked.items()}
    files = tuple(
        DataFile(
            file,
            hashlib.sha256(unpacked[file]).hexdigest() if published_hashes else None,
            hashlib.md5(packed[file]).hexdigest(),
        )
        for file in unpacked
    )
    spec = Dataset(
        name=name,
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
    return Toy(spec, unpacked, packed)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The data set ``toy``, whose SHA-256 sums are known."""
    made = make_toy("toy", published_hashes=True)
    monkeypatch.setitem(DATASETS, "toy", made.spec)
    return made


@pytest.fixture
def packed_toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The data set ``packed-toy``, of which only the MD5 sums of the .gz files are known."""
    made = make_toy("packed-toy", published_hashes=False)
    monkeypatch.setitem(DATASETS, "packed-toy", made.spec)
    return made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "harness"


ENVIRONMENT = Environment("0" * 40, False, "3.11.7", "2.13.0", "some CPU", "x86_64 AVX2", 1, "ab" * 32)
NETWORK = "conv3x3(8) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)"


def made_result(text: str = NETWORK, errors: int | None = 60, **changes: Any) -> Result:
    architecture, recipe = parse_network(text), Recipe()
    analysis = analyse(architecture, MNIST)
    made = Result(
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=recipe,
        recipe_name="fast",
        recipe_hash=recipe.hash,
        dataset="mnist",
        purpose=Purpose.SEARCH,
        seed_index=0,
        seed=1,
        status=Status.COMPLETE,
        validation_errors=errors,
        validation_size=10_000,
        environment=ENVIRONMENT,
        started_utc="2026-11-20T08:00:00+00:00",
        study="a-study",
        trial=0,
    )
    return replace(made, **changes)


def made_seed(network_hash: str, index: int, errors: int, recipe: Recipe, beacon: str = "") -> SeedRun:
    return SeedRun(
        index=index,
        seed=derive_seed(network_hash, recipe.hash, Purpose.VERIFY, index, beacon=beacon),
        status=Status.COMPLETE,
        test_errors=errors,
        test_size=10_000,
        wrong=tuple((image, 3) for image in range(errors)),
        weights_sha256=None,
        train_seconds=50.0,
        started_utc=f"2026-11-20T08:{index:02d}:00+00:00",
        environment=ENVIRONMENT,
        beacon=beacon or None,
    )


def made_record(errors: list[int], text: str = NETWORK, first: int = 0, **changes: Any) -> Record:
    architecture, recipe, beacon = parse_network(text), changes.pop("recipe", Recipe()), changes.pop("beacon", "")
    analysis = analyse(architecture, MNIST)
    made = Record(
        name="",
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=recipe,
        recipe_name="fast",
        recipe_hash=recipe.hash,
        assumed=(),
        dataset="mnist",
        target_pct=99.4,
        seeds=tuple(
            made_seed(architecture.hash, index, count, recipe, beacon)
            for index, count in enumerate(errors, start=first)
        ),
    )
    return replace(made, **changes)


@pytest.fixture
def new_result() -> Callable[..., Result]:
    """Make a finished run of a search: ``new_result(text, validation_errors, **fields)``."""
    return made_result


@pytest.fixture
def new_record() -> Callable[..., Record]:
    """Make a record with these test errors, one a seed: ``new_record(errors, text, first, **fields)``."""
    return made_record


@pytest.fixture
def new_found() -> Callable[..., Found]:
    """Say how a search came to a network: ``new_found(**fields)``."""
    return made_found


def made_found(**changes: Any) -> Found:
    made = Found(
        study="elsewhere",
        study_seed=0,
        space="card",
        sampler="tpe",
        trial=3,
        validation_accuracy_pct=99.5,
        validation_seeds=5,
        trained=50,
        rejected=9,
        search_seconds=3000.0,
        workers=2,
    )
    return replace(made, **changes)
