"""A person's own data: every source of the same images is the same data set, and bad ones are refused in one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import own
from harness.data.datasets import dataset
from harness.data.testset import read_test_set
from harness.data.training_images import load, split
from harness.system.errors import DataError
from harness.training.run import TrainingData

CLASSES = ("cat", "dog", "ox")


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    return tmp_path


def _pictures(each: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (3 * each, 5, 7), np.uint8), np.repeat(CLASSES, each)


def _as_folder(place: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        (place / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / label / f"{index}.png")
    return place


def _as_npz(place: Path, **arrays: np.ndarray) -> Path:
    np.savez(place, allow_pickle=True, **arrays)
    return place


def _as_idx(folder: Path, images: np.ndarray, labels: np.ndarray, part: str) -> None:
    folder.mkdir(exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def test_the_source_and_its_order_have_no_part_in_a_data_set(tmp_path: Path):
    images, labels = _pictures()
    mixed = np.random.default_rng(1).permutation(len(images))
    folder = _as_folder(tmp_path / "pets", images, labels)
    arrays = _as_npz(tmp_path / "pets.npz", X=images[mixed], y=labels[mixed])

    assert own.read(folder) == own.read(arrays) == own.from_arrays("Pets", images.astype(float), list(labels))


def test_the_two_parts_of_every_source_are_the_same(tmp_path: Path):
    images, labels = _pictures()
    more, others = _pictures(5, seed=1)
    numbers, other_numbers = (np.searchsorted(CLASSES, each) for each in (labels, others))
    keras = _as_npz(tmp_path / "a.npz", x_train=images, y_train=numbers[:, None], x_test=more, y_test=other_numbers)
    medical = {"train_images": images[..., None], "train_labels": numbers[:, None]}
    medical |= {"test_images": more[..., None], "test_labels": other_numbers[:, None]}
    for part, pixels, named in (("train", images, numbers), ("t10k", more, other_numbers)):
        _as_idx(tmp_path / "idx", pixels, named, part)

    found = {
        own.read(place, channels="last" if place.name == "b.npz" else None).sha256
        for place in (keras, _as_npz(tmp_path / "b.npz", **medical), tmp_path / "idx")
    }

    assert len(found) == 1


def test_every_image_is_in_one_part_and_every_class_in_all(tmp_path: Path):
    images, labels = _pictures(each=300)
    spec = own.from_arrays("pets", images, labels)
    data = load(spec.name)
    locked, kinds = read_test_set(data, purpose="a test", log=tmp_path / "reads")
    parts = split(data)

    assert spec == dataset(spec.name)
    assert (len(parts.train), len(parts.validation), len(locked)) == (576, 144, 180)
    assert sorted(kinds.bincount().tolist()) == [60, 60, 60]
    assert data.train_labels[parts.validation].bincount().tolist() == [48, 48, 48]
    held = np.concatenate([data.train_images.numpy(), locked.numpy()]).reshape(900, -1)
    assert sorted(map(bytes, held)) == sorted(map(bytes, images.reshape(900, -1)))
    pixels = data.train_images.numpy() / 255
    assert spec.mean == pytest.approx((pixels.mean(),), abs=1e-6)
    assert spec.std == pytest.approx((pixels.std(),), abs=1e-6)


def test_parts_of_small_data_take_turns_in_validating():
    spec = own.from_arrays("pets", *_pictures(each=50))
    parts = [split(load(spec.name), fold) for fold in range(spec.folds)]

    assert spec.folds == 5
    assert sorted(int(index) for part in parts for index in part.validation) == list(range(120))
    assert {(len(part.train), len(part.validation)) for part in parts} == {(96, 24)}


@pytest.mark.parametrize(("few", "folds", "validated", "tested"), [(40, 5, 18, 24), (400, 1, 192, 240)])
def test_balanced_parts_have_as_many_images_of_each_class_and_small_ones_are_trained_on_several_times(
    few: int, folds: int, validated: int, tested: int, tmp_path: Path
):
    images, labels = _pictures(each=900)
    kept = np.concatenate([np.arange(few), np.arange(900, 2700)])
    spec = own.from_arrays("pets", images[kept], labels[kept], balanced=True)
    data = load(spec.name)
    _, locked = read_test_set(data, purpose="a test", log=tmp_path / "reads")

    assert spec.name != own.from_arrays("pets", images[kept], labels[kept]).name
    assert (spec.folds, len(locked), locked.bincount().tolist()) == (folds, tested, [tested // 3] * 3)
    for fold in range(spec.folds):
        parts = split(data, fold)
        assert data.train_labels[parts.validation].bincount().tolist() == [validated // 3] * 3
        assert len(parts.train) + len(parts.validation) == len(data.train_labels) == int(0.8 * len(kept))
        trained, _ = TrainingData(data).parts(torch.device("cpu"), fold)
        counts = trained.labels.bincount().tolist()
        assert min(counts) > max(counts) / 2


def test_a_group_stays_on_one_side(tmp_path: Path):
    images, labels = _pictures(each=40)
    speakers = np.tile(np.arange(10), 12)
    images[:, 0, 0] = speakers  # so that an image says whose it is
    place = _as_npz(tmp_path / "voices.npz", X=images, y=labels, speaker=speakers)
    data = load(own.read(place, group_by="speaker").name)
    locked, _ = read_test_set(data, purpose="a test", log=tmp_path / "reads")
    parts = split(data)
    sides = [{*pixels[:, 0, 0, 0].tolist()} for pixels in (locked, data.train_images[parts.train])]
    sides.append({*data.train_images[parts.validation][:, 0, 0, 0].tolist()})

    assert [len(side) for side in sides] == [2, 6, 2]
    assert not set.intersection(*sides)
    assert len(set.union(*sides)) == 10


def test_series_are_images_of_one_row(tmp_path: Path):
    random = np.random.default_rng(0)
    series, labels = random.normal(size=(60, 2, 30)), np.tile(["left", "right"], 30)
    for part, at in (("TRAIN", slice(40)), ("TEST", slice(40, None))):
        lines = [
            ":".join([",".join(map(str, dimension)) for dimension in one] + [label])
            for one, label in zip(series[at], labels[at], strict=True)
        ]
        (tmp_path / f"moves_{part}.ts").write_text("\n".join(["# about", "@data", *lines]))
    spec = own.read(tmp_path / "moves_TRAIN.ts")

    assert (spec.image_shape, spec.class_names, spec.test_size) == ((2, 1, 30), ("left", "right"), 20)
    # 256 steps between the least and the greatest value of a channel.
    values = load(spec.name).train_images.numpy()
    assert values.min(axis=(0, 2, 3)).tolist() == [0, 0]
    assert values.max(axis=(0, 2, 3)).tolist() == [255, 255]


def test_pictures_are_resized_and_coloured_alike(tmp_path: Path):
    images, labels = _pictures()
    folder = _as_folder(tmp_path / "pets", images, labels)
    Image.fromarray(np.full((9, 4, 3), (200, 10, 30), np.uint8)).save(folder / "ox" / "red.png")

    assert own.read(folder, (3, 8, 6)).image_shape == (3, 8, 6)


def test_images_that_are_there_twice_are_named():
    images, labels = _pictures()
    images[7] = images[3]

    assert own.from_arrays("pets", images, labels).duplicates == ("train 3 = train 7",)


def _bad(kind: str, place: Path) -> Path:  # noqa: C901
    images, labels = _pictures()
    arrays = {"X": images, "y": labels}
    match kind:
        case "labels missing":
            arrays = {"X": images}
        case "fewer labels than images":
            arrays["y"] = labels[:-1]
        case "fractions as labels":
            arrays["y"] = np.linspace(0, 1, 60)
        case "one class":
            arrays["y"] = np.repeat("cat", 60)
        case "300 classes":
            arrays = {"X": np.tile(images, (10, 1, 1)), "y": np.arange(600) % 300}
        case "not finite":
            arrays["X"] = np.where(images > 250, np.nan, images)
        case "objects":
            arrays["X"] = np.array([None, *images[1:]], dtype=object)
        case "texts as pixels":
            arrays["X"] = images.astype(str)
        case "five dimensions":
            arrays["X"] = images.reshape(60, 5, 7, 1, 1)
        case "20 channels":
            arrays["X"] = np.zeros((60, 5, 20, 20), np.uint8)
        case "one shade":
            arrays["X"] = np.full_like(images, 9)
        case "test beyond range":
            arrays |= {"X": images / 255, "X_test": images / 2.0, "y_test": labels}
        case "test of another shape":
            arrays |= {"X_test": images[:, :4], "y_test": labels}
        case "test repeats train":
            arrays |= {"X_test": images[10:50], "y_test": labels[10:50]}
        case "test of a strange class":
            arrays |= {"X_test": images // 2, "y_test": np.repeat(["cat", "dog", "yak"], 20)}
        case "class of one image":
            arrays["y"] = np.array(["cat"] * 59 + ["dog"])
        case "a bomb":
            # The directory of the archive promises 3 GiB: the size lies 24 bytes into an entry.
            content = bytearray(_as_npz(place / "x.npz", **arrays).read_bytes())
            struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 3 * 2**30)
            (place / "x.npz").write_bytes(content)
            return place / "x.npz"
        case "no zip":
            (place / "x.npz").write_bytes(b"PK, but no more")
            return place / "x.npz"
        case _:
            return _bad_folder(kind, _as_folder(place / "x", images, labels))
    return _as_npz(place / "x.npz", **arrays)


def _bad_folder(kind: str, folder: Path) -> Path:
    match kind:
        case "several shapes":
            Image.new("L", (9, 9)).save(folder / "ox" / "big.png")
        case "an empty class":
            (folder / "yak").mkdir()
        case "a torn picture":
            whole = (folder / "ox" / "59.png").read_bytes()
            (folder / "ox" / "59.png").write_bytes(whole[:60])
        case "a line end in a name":
            (folder / "ox").rename(folder / "o\nx")
        case "a link out":
            Image.new("L", (7, 5)).save(folder.parent / "secret.png")
            (folder / "ox" / "link.png").symlink_to(folder.parent / "secret.png")
        case "3 GB of pixels":
            head = b"P5 40000 40000 255\n"
            (folder / "ox" / "vast.pgm").write_bytes(head + bytes(100))
        case "a text file":
            (folder.parent / "x.txt").write_text("cat")
            return folder.parent / "x.txt"
    return folder


KINDS = """labels missing, fewer labels than images, fractions as labels, one class, 300 classes, not finite, objects,
texts as pixels, five dimensions, 20 channels, one shade, test beyond range, test of another shape, test repeats train,
test of a strange class, class of one image, a bomb, no zip, several shapes, an empty class, a torn picture,
a line end in a name, a link out, 3 GB of pixels, a text file"""


@pytest.mark.parametrize("kind", [each.strip() for each in KINDS.replace("\n", " ").split(", ")])
def test_bad_data_are_refused_in_one_line_and_nothing_is_written(kind: str, tmp_path: Path):
    place = _bad(kind, tmp_path)
    with pytest.raises(DataError) as refused:
        own.read(place)

    assert len(refused.value.told.splitlines()) == 1
    assert len(refused.value.told) < 300
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("part", ["train.npz", "test.npz"])
def test_a_damaged_copy_is_refused(part: str, tmp_path: Path):
    spec = own.from_arrays("pets", *_pictures())
    path = tmp_path / "runs" / ".data" / spec.name / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(DataError):
        load(spec.name)
