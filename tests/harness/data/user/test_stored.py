"""Stored data sets: independence of the source, stored options, further images, and rejection of invalid data."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.cli import run
from harness.data import user
from harness.data.datasets import DATASETS, dataset
from harness.data.other_images import labelled_images, pictures_at
from harness.data.training_images import MissingData, find, load
from harness.data.user import SourceOptions
from harness.interface.estimator import SmallestClassifier
from harness.searching.option_types import DATASET
from harness.system.errors import ContentError, DataError, UsageError
from harness.system.files import workspace
from tests.harness.data.user.pictures import CLASSES, as_folder, as_idx, as_npz, pictures


def test_data_set_is_independent_of_source_and_row_order(tmp_path: Path):
    images, labels = pictures()
    order = np.random.default_rng(1).permutation(len(images))
    folder = as_folder(tmp_path / "pets", images, labels)
    arrays = as_npz(tmp_path / "pets.npz", X=images[order], y=labels[order])

    assert (
        user.Data.read(folder)
        == user.Data.read(arrays)
        == user.Data.from_arrays("Pets", images.astype(float), list(labels))
    )
    # Fractions have the same pixels, but a different range.
    assert user.Data.from_arrays("Pets", images / 255, labels).sha256 != user.Data.read(folder).sha256


def test_copies_among_further_images_count_as_groups(tmp_path: Path):
    spec = user.Data.from_arrays("pets", *pictures())
    images, labels = pictures(seed=1)
    folder = as_folder(tmp_path / "further", images.repeat(4, axis=0), labels.repeat(4))

    assert labelled_images(str(folder), spec, None).group_sizes == (4,) * 60


def test_duplicate_images_are_listed():
    images, labels = pictures()
    images[7] = images[3]

    assert user.Data.from_arrays("pets", images, labels).duplicates == ("train 3 = train 7",)


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize(
    "later_fields", [("test_pictures",), ("validation_group_sizes", "test_group_sizes", "test_groups", "test_pictures")]
)
def test_stored_data_without_groups_of_copies_are_refused_until_read_again(
    later_fields: tuple[str, ...], copies: int, tmp_path: Path
):
    images, labels = pictures(40)
    source = str(as_npz(tmp_path / "pets.npz", X=images.repeat(copies, axis=0), y=labels.repeat(copies)))
    spec = dataset(user.data_name(source))
    path = workspace().data(spec.name) / "data.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for field in ("facts_sha256", *later_fields):
        del document[field]
    path.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(UsageError, match="stored by an earlier version") as refusal:
        user.data_name(spec.name)
    assert refusal.value.hint == "remove the data set and read the source again"
    assert run(["data", "remove", spec.name]) == 0
    assert user.data_name(user.data_name(source)) == spec.name
    assert dataset(spec.name) == spec
    assert dataset(spec.name).test_group_sizes == spec.test_group_sizes
    assert bool(spec.test_group_sizes) == (copies > 1)


def test_copies_are_counted_once_in_groups_of_single_images(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8).repeat(4, axis=0)
    labels = np.array(CLASSES)[np.arange(30) % 3].repeat(4)

    spec = user.Data.from_arrays("pets", images, labels, groups=np.arange(120))

    assert (spec.test_size, spec.test_pictures) == (24, 6.0)


def test_path_is_read_with_described_options_unless_ambiguous(tmp_path: Path):
    images, labels = pictures()
    folder = str(as_folder(tmp_path / "pets", images, labels))
    small = SourceOptions((1, 4, 4), balanced=True)
    plain_name = user.data_name(folder)
    small_name = user.data_name(folder, small)

    assert small_name != plain_name
    assert user.data_name(folder) == user.data_name(f"{folder}/") == small_name
    assert user.described_options(folder) == small
    assert dataset(small_name).input == "1x4x4"
    assert user.data_name(folder, small) == small_name
    glyphs_name = user.data_name(folder, SourceOptions(), "glyphs")
    assert glyphs_name.startswith("glyphs-")
    assert user.descriptions(folder) == {small_name: small, glyphs_name: SourceOptions()}
    with pytest.raises(UsageError, match=f"{small_name} with .*; {glyphs_name} with "):
        user.data_name(folder)
    assert user.data_name(small_name) == small_name
    # A removed data set is not ambiguous.
    (workspace().data(glyphs_name) / "data.json").unlink()
    assert user.data_name(folder) == small_name


def test_processes_at_the_same_time_remember_the_options_of_all_paths(tmp_path: Path):
    images, labels = pictures()
    paths = [
        str(as_npz(tmp_path / f"{index}.npz", X=images, y=labels, person=np.arange(60) // 2)) for index in range(12)
    ]
    program = (
        "import sys, time; from pathlib import Path; from harness.data import user\n"
        "while not Path('start').exists(): time.sleep(0.01)\n"
        "for path in sys.argv[1:]: user.data_name(path, user.SourceOptions(group_by='person'))"
    )
    arguments = [[sys.executable, "-c", program, *paths[index::3]] for index in range(3)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    processes = [subprocess.Popen(argument, cwd=tmp_path, env=environment) for argument in arguments]
    (tmp_path / "start").touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]

    assert [user.described_options(path).group_by for path in paths] == ["person"] * 12


@pytest.mark.parametrize("content", ["{", '{"x": 1', "[]", '{"KEY": [1]}'])
def test_damaged_file_of_described_paths_is_reported(content: str, tmp_path: Path):
    images, labels = pictures()
    folder = str(as_folder(tmp_path / "pets", images, labels))
    workspace().data("x").parent.mkdir(parents=True)
    workspace().data("described.json").write_text(content.replace("KEY", folder))

    with pytest.raises(ContentError, match=r"described\.json"):
        user.data_name(folder)


# tslearn and keras-tcn have series as (series, steps, channels), aeon as (series, channels, steps).
@pytest.mark.parametrize("shape", [(275, 1), (128, 9), (150, 3), (1000, 2), (3, 150), (1, 60)])
def test_arrays_that_may_be_series_require_channels(shape: tuple[int, int]):
    images = np.random.default_rng(0).integers(0, 256, (100, *shape), dtype=np.uint8)
    labels = np.arange(100) % 2

    with pytest.raises(DataError, match='channels="none"'):
        user.Data.from_arrays("narrow", images, labels)
    narrow, wide = sorted(shape)
    position = "last" if shape[1] == narrow else "first"
    assert user.Data.from_arrays("narrow", images, labels, channels=position).image_shape == (narrow, 1, wide)
    spec = user.Data.from_arrays("narrow", images, labels, channels="none")
    assert spec.image_shape == (1, *shape)
    assert user.pixels_of(spec, images).shape == (100, 1, *shape)


def test_command_line_states_described_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    images, labels = pictures()
    folder = as_folder(tmp_path / "pets", images, labels)
    (folder / "notes.txt").touch()
    assert run(["data", "describe", str(folder), "--input", "1x4x4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    name = DATASET.convert(str(folder), None, None)

    assert (name, document["input_shape"]) == (document["name"], [1, 4, 4])
    assert document["remarks"] == ["left out: 1 .txt file"]
    line = capsys.readouterr().err
    assert all(words in line for words in (name, "--input 1x4x4", "1 .txt file"))
    assert run(["data", "describe", "mnist-5k", "--channels", "last"]) == 2
    assert run(["data", "describe", name, "--group-by", "_"]) == 2
    assert run(["data", "fetch", "--dataset", name]) == DataError.exit_code


@pytest.mark.parametrize(
    "options",
    [
        SourceOptions((3, 9, 9)),
        SourceOptions(group_by="_"),
        SourceOptions(balanced=True),
        SourceOptions(channels="last"),
    ],
)
def test_options_that_contradict_data_set_are_rejected(options: SourceOptions):
    spec = user.Data.from_arrays("pets", *pictures())
    with pytest.raises(UsageError):
        user.data_name(spec.name, options)
    assert user.data_name(spec.name, SourceOptions(spec.image_shape)) == spec.name


def test_further_images_are_read_like_data_set_with_classes_by_name(tmp_path: Path):
    images, labels = pictures()
    wide, (extra, names) = images.astype(np.uint16) * 16, pictures(4, seed=1)
    spec = user.Data.from_arrays("pets", wide, labels)
    expected = user.pixels_of(spec, extra.astype(np.uint16) * 16)
    flat = as_folder(tmp_path / "flat", extra.astype(np.uint16) * 16, names)
    sets = [
        labelled_images(str(source), spec, None)
        for source in (flat, as_npz(tmp_path / "on.npz", X=extra.astype(float) * 16, y=names))
    ]
    unlabelled, _ = pictures_at(flat / "ox", spec)

    for further in sets:
        order = np.lexsort(further.pixels.flatten(1).numpy().T)
        assert np.array_equal(further.pixels.numpy()[order], expected[np.lexsort(expected.reshape(12, -1).T)])
        assert [spec.class_names[label] for label in further.labels.tolist()] == sorted(names.tolist())
    assert sorted(image.pixels.tobytes() for image in unlabelled) == sorted(image.tobytes() for image in expected[8:])
    # Labels are compared by name, not by index.
    ranked = user.Data.from_arrays("pets", images, np.searchsorted(CLASSES, labels) + 1)
    numbers = as_idx(tmp_path / "numbers", extra, np.searchsorted(CLASSES, names) + 1, "my")
    assert labelled_images(str(numbers), ranked, None).labels.tolist() == np.searchsorted(CLASSES, names).tolist()
    for source in (
        flat,
        as_idx(tmp_path / "zero", extra, np.zeros(12), "my"),
        as_npz(tmp_path / "b.npz", X=extra, y=names),
    ):
        with pytest.raises(DataError):
            labelled_images(str(source), DATASETS["mnist"] if source == flat else ranked, None)


def test_pictures_for_two_channels_or_series_are_rejected(tmp_path: Path):
    random = np.random.default_rng(0)
    images, labels = pictures(1)
    path = as_folder(tmp_path / "a", images, labels) / "cat" / "0.png"
    for shape in ((60, 2, 20, 20), (60, 30)):
        spec = user.Data.from_arrays("a", random.integers(0, 256, shape), np.arange(60) % 3)
        with pytest.raises(DataError):
            pictures_at(path, spec)


def _invalid_source(kind: str, folder: Path) -> Path:
    images, labels = pictures()
    changes: dict[str, dict[str, Any]] = {
        "fewer labels than images": {"y": labels[:-1]},
        "fractions as labels": {"y": np.linspace(0, 1, 60)},
        "one class": {"y": np.repeat("cat", 60)},
        "300 classes": {"X": np.tile(images, (10, 1, 1)), "y": np.arange(600) % 300},
        "objects": {"X": np.array([None, *images[1:]], dtype=object)},
        "texts as pixels": {"X": images.astype(str)},
        "five dimensions": {"X": images.reshape(60, 5, 7, 1, 1)},
        "one shade": {"X": np.full_like(images, 9)},
        "test of another shape": {"X_test": images[:, :4], "y_test": labels},
        "test of a strange class": {"X_test": images // 2, "y_test": np.repeat(["cat", "dog", "yak"], 20)},
        "class of one image": {"y": np.array(["cat"] * 59 + ["dog"])},
    }
    arrays = {"X": images, "y": labels}
    match kind:
        case "labels missing":
            del arrays["y"]
        case "a bomb":
            # The archive directory declares 3 GiB; an entry has the size at byte 24.
            content = bytearray(as_npz(folder / "x.npz", **arrays).read_bytes())
            struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 3 * 2**30)
            (folder / "x.npz").write_bytes(content)
            return folder / "x.npz"
        case "no zip":
            (folder / "x.npz").write_bytes(b"PK, but no more")
            return folder / "x.npz"
        case _ if kind in changes:
            arrays |= changes[kind]
        case _:
            return _invalid_folder(kind, as_folder(folder / "x", images, labels))
    return as_npz(folder / "x.npz", **arrays)


def _invalid_folder(kind: str, folder: Path) -> Path:
    match kind:
        case "several shapes":
            Image.new("L", (9, 9)).save(folder / "ox" / "big.png")
        case "an empty class":
            (folder / "yak").mkdir()
        case "8 and 16 bits":
            Image.fromarray(np.full((5, 7), 9_000, np.uint16)).save(folder / "ox" / "wide.png")
        case "a line end in a name":
            (folder / "ox").rename(folder / "o\nx")
        case "a link out":
            Image.new("L", (7, 5)).save(folder.parent / "secret.png")
            (folder / "ox" / "link.png").symlink_to(folder.parent / "secret.png")
        case "a text file":
            (folder.parent / "x.txt").write_text("cat")
            return folder.parent / "x.txt"
    return folder


KINDS = """labels missing, fewer labels than images, fractions as labels, one class, 300 classes, objects,
texts as pixels, five dimensions, one shade, test of another shape, test of a strange class, class of one image, a bomb,
no zip, several shapes, an empty class, 8 and 16 bits, a line end in a name, a link out, a text file"""


@pytest.mark.parametrize("kind", [kind.strip() for kind in KINDS.replace("\n", " ").split(", ")])
def test_invalid_data_are_rejected_in_one_line_before_any_file_is_written(kind: str, tmp_path: Path):
    path = _invalid_source(kind, tmp_path)
    with pytest.raises(DataError) as excinfo:
        user.Data.read(path)

    assert len(excinfo.value.one_line.splitlines()) == 1
    assert len(excinfo.value.one_line) < 300
    assert kind != "class of one image" or "class 'dog', which has 1 unit" in excinfo.value.one_line
    assert not (tmp_path / "workspace" / "runs").exists()


@pytest.mark.parametrize("part", ["train.npz", "test.npz"])
def test_damaged_copy_is_rejected_and_missing_copy_is_reported_by_file_name(part: str, tmp_path: Path):
    spec = user.Data.from_arrays("pets", *pictures())
    path = tmp_path / "workspace" / "runs" / ".data" / spec.name / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))

    with pytest.raises(DataError):
        load(spec.name)

    path.unlink()
    with pytest.raises(MissingData) as excinfo:
        find(spec, None)
    assert {word.strip(",") for word in excinfo.value.message.split() if ".npz" in word} == {part}


def test_messages_state_position_of_error(tmp_path: Path):
    images, labels = pictures()
    numbers = images.astype(float)
    numbers[3, 2, 1] = np.nan
    with pytest.raises(DataError, match=r"non-finite numbers: 1, the first at \[3, 2, 1"):
        user.Data.from_arrays("pets", numbers, labels)

    as_folder(tmp_path / "pets", numbers.astype(np.float32), labels, ".tif")
    with pytest.raises(DataError, match=r"cat/3.tif.*: 1, the first at \[2, 1"):
        user.Data.read(tmp_path / "pets")
    rows = numbers[:, 0].astype(str)
    rows[3, 4] = "?"
    lines = ["\t".join([label, *row]) for label, row in zip(labels, rows, strict=True)]
    (tmp_path / "pets.tsv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"series 4, step 5\b"):
        user.Data.read(tmp_path / "pets.tsv")

    _, codes = np.unique(labels, return_inverse=True)
    one_hot = np.eye(codes.max() + 1)[codes]
    with pytest.raises(DataError) as excinfo:
        user.Data.from_arrays("pets", images, one_hot)
    assert excinfo.value.hint == "convert one-hot labels with y.argmax(1)"
    with pytest.raises(ValueError, match=r"y\.argmax\(1\)"):
        SmallestClassifier().fit(images, one_hot)

    with pytest.raises(UsageError, match=f"no such file or folder: {tmp_path}"):
        user.data_name(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="x_test and y_test"):
        user.Data.from_arrays("pets", images, labels, images)


@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", [0.4]), ("std", [0.4]), ("train_size", 71), ("validation_size", 7), ("folds", 1), ("test_size", 400)],
)
def test_check_compares_data_json_with_computed_facts(name: str, value: Any):
    spec = user.Data.from_arrays("facts", *pictures(40))
    facts = workspace().data(spec.name) / "data.json"
    user.check_facts(spec)
    # Data sets of earlier versions have no hash of the facts.
    changed_facts = json.loads(facts.read_text(encoding="utf-8")) | {name: value, "facts_sha256": ""}
    facts.write_text(json.dumps(changed_facts), encoding="utf-8")

    with pytest.raises(DataError, match=f"{name}: .* stated, .* computed"):
        user.check_facts(dataset(spec.name))
    assert run(["data", "check", "--dataset", spec.name]) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"test_groups": "swapped"},
        {"classes": 4},
        {"duplicates": ["a = b"]},
        {"group_by": ""},
        {"allow_overlap": True},
        {"target_pct": 50.0},
        {"remarks": ["none"]},
        {"input": "1x8x8"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_fact_is_covered_by_a_hash(change: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    images, labels = pictures(60)
    spec = user.Data.from_arrays("facts", images, labels, groups=np.arange(len(labels)) // 2)
    path = workspace().data(spec.name) / "data.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    assert run(["data", "check", "--dataset", spec.name]) == 0
    if "test_groups" in change:
        # The sizes of the groups stay equal.
        order = [facts["test_groups"][-1], *facts["test_groups"][1:-1], facts["test_groups"][0]]
        assert order != facts["test_groups"]
        change = {"test_groups": order}
    assert {name: facts[name] for name in change} != change

    path.write_text(json.dumps(facts | change), encoding="utf-8")
    capsys.readouterr()
    assert run(["data", "check", "--dataset", spec.name]) == 5
    assert "facts_sha256" in capsys.readouterr().err
    with pytest.raises(ContentError, match="facts_sha256"):
        dataset(spec.name)

    # Data sets of earlier versions have no such hash, and gain the hash when the source is read again.
    path.write_text(json.dumps({name: facts[name] for name in facts if name != "facts_sha256"}), encoding="utf-8")
    assert run(["data", "check", "--dataset", spec.name]) == 0
    user.Data.from_arrays("facts", images, labels, groups=np.arange(len(labels)) // 2)
    assert json.loads(path.read_text(encoding="utf-8")) == facts
