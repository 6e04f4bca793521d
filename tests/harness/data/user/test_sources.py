"""Data sources: contents equal independent readers, and omitted files are reported."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from harness.data import user
from harness.data.training_images import import_torchvision
from harness.data.user.sources import DATA_ENDINGS, part_of_torch, source_at
from harness.system.errors import DataError
from tests.harness.data.user.pictures import CLASSES, all_images, as_folder, as_idx, as_npz, pictures

IMAGES, LABELS = pictures()
NUMBERS = np.searchsorted(CLASSES, LABELS)
FEW, FEW_LABELS = pictures(5, seed=1)
FEW_NUMBERS = np.searchsorted(CLASSES, FEW_LABELS)


# Folders of images -----------------------------------------------------------------------------------------------


def test_folder_is_read_like_torchvision_and_keras(tmp_path: Path):
    folder = as_folder(tmp_path / "a", IMAGES, np.array(["9", "10", "cat"])[NUMBERS])
    as_folder(folder / "cat", FEW[:3], np.array(["deep", "deep", "deeper"]))
    dataset = import_torchvision().datasets.ImageFolder(folder)
    # image_dataset_from_directory of Keras: classes are the sorted names of folders, read recursively.
    keras = {entry.name: sorted(files for _, _, files in os.walk(entry)) for entry in os.scandir(folder)}
    part = source_at(folder).parts["train"]

    assert part.classes == dataset.classes == sorted(keras) == ["10", "9", "cat"]
    assert len(part.labels) == len(dataset) == sum(len(files) for folders in keras.values() for files in folders)
    expected = sorted((dataset.classes[label], np.asarray(image.convert("L")).tobytes()) for image, label in dataset)
    assert sorted((label, image.tobytes()) for label, image in zip(part.labels, part.images, strict=True)) == expected
    assert user.Data.read(folder).class_names == user.Data.from_torch("a", dataset).class_names == ("10", "9", "cat")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["ox/._0.png", "ox/.DS_Store", ".git/a"], ["3 hidden files"]),
        (["__MACOSX/ox/._0.png", "dog/Thumbs.db"], ["2 hidden files"]),
        (["README.txt", "ox/notes.txt", "ox/b.heic"], ["2 .txt files", "1 .heic file"]),
    ],
)
def test_omitted_files_are_counted(names: list[str], words: list[str], tmp_path: Path):
    folder = as_folder(tmp_path / "a", IMAGES, LABELS)
    plain = user.Data.read(folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    spec = user.Data.read(folder)

    assert spec == plain
    assert all(word in spec.remarks[0] for word in words)


def test_images_of_subfolders_and_further_frames_are_reported(tmp_path: Path):
    folder = as_folder(tmp_path / "a", IMAGES, LABELS)
    as_folder(folder / "ox", FEW[:2], np.array(["deep", "deep"]))
    Image.fromarray(FEW[3]).save(folder / "ox" / "pages.tif", save_all=True, append_images=[Image.fromarray(FEW[4])])
    spec = user.Data.read(folder)

    assert spec.train_size + spec.validation_size + spec.test_size == 63
    assert "2 pictures in subfolders" in " ".join(spec.remarks)
    assert "1 further frame" in " ".join(spec.remarks)


def _tree(folder: Path, paths: str) -> Path:
    """Write a picture for each path; braces list alternatives, as in a shell."""
    remaining = paths.split()
    while remaining:
        path = remaining.pop()
        if match := re.search(r"{([^{}]*)}", path):
            remaining += [path[: match.start()] + name + path[match.end() :] for name in match[1].split(",")]
            continue
        file = folder / path.replace("~", " ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        if file.suffix == ".png":
            Image.fromarray(np.full((3, 3), len(remaining), np.uint8)).save(file)
    return folder


def _parts(text: str, classes: str = "cat dog") -> dict[str, set[str]]:
    return {part: {*classes.split()} for part in text.split()}


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        ("{cat,dog}/1.png", _parts("train")),
        ("{training_set,test_set}/{cat,dog}/1.png", _parts("train test")),
        ("seg_train/seg_train/{cat,dog}/1.png seg_test/seg_test/{cat,dog}/1.png", _parts("train test")),
        ("training/{cat,dog}/1.png evaluation/{cat,dog}/1.png", _parts("train test")),
        ("{Training,Testing}/{cat,dog}/1.png", _parts("train test")),
        ("a/b/{train,valid,test}/{cat,dog}/1.png a/README.txt", _parts("train validation test")),
        ("images/{Train,val}/{cat,dog}/1.png labels/train/1.txt", _parts("train validation")),
        ("{train~(1),test~(1)}/{cat,dog}/1.png", _parts("train test")),
        ("{train2017,val2017}/{cat,dog}/1.png", _parts("train validation")),
        ("{train,eval}/{cat,dog}/1.png", _parts("train test")),
        ("{train,val,holdout}/{cat,dog}/1.png", _parts("train validation test")),
        ("{train,hold-out~set}/{cat,dog}/1.png", _parts("train test")),
        ("{training,HoldOut}/{cat,dog}/1.png", _parts("train test")),
        ("{tr,te}/{cat,dog}/1.png", _parts("train test")),
        ("{cat,dog}/{x_tr,x_te}/1.png", _parts("train test")),
        ("{de,en,tr}/1.png", _parts("train", "de en tr")),
        ("{tree,tent}/1.png", _parts("train", "tree tent")),
        ("{TrainImages,test-images,Dev~Set}/{cat,dog}/1.png", _parts("train validation test")),
        ("abc_train/abc_train/{cat,dog}/1.png abc_test/abc_test/{cat,dog}/1.png", _parts("train test")),
        ("abc_train/abc_train/{cat,dog}/1.png", _parts("train")),
        ("{cat,dog}/{train,test}/1.png", _parts("train test")),
        ("data/{cat,dog}/images/{train,val,test}/a/1.png", _parts("train validation test")),
        ("{train,test}/images/{cat,dog}/1.png __MACOSX/train/._1.png", _parts("train test")),
        ("{bus,car,train}/1.png", _parts("train", "bus car train")),
        ("train/{pass,fail,test}/1.png", _parts("train", "pass fail test")),
        ("{cat,dog}/images/1.png", _parts("train")),
        ("cat/{tabby,manx}/1.png dog/pug/1.png", _parts("train")),
        ("{stress_test,test_tube}/1.png", _parts("train", "stress_test test_tube")),
        # Refused: a copy of the set, unlabelled parts, classes beside parts, and several levels.
        ("{cat,dog}/1.png pets/{cat,dog}/1.png", None),
        ("pets/{train,test}/{cat,dog}/1.png pets/pets/{train,test}/{cat,dog}/1.png", None),
        ("train/train/cat.1.png test/test/1.png", None),
        ("train/cat.1.png", None),
        ("cat.1.png", None),
        ("{train,test}/1.png", None),
        ("{pass,fail,test}/1.png", None),
        ("{valid,invalid}/1.png", None),
        ("{bus,car,train}/1.png test/{bus,car}/1.png", None),
        ("train/{cat,dog}/1.png test/1.png", None),
        ("train/{cat,dog}/1.png test/notes.txt", None),
        ("train/{cat,dog}/1.png cat/1.png", None),
        ("train/{cat,dog}/1.png 1.png", None),
        ("train/{cat,dog}/1.png train/1.png", None),
        ("{train,judge}/{cat,dog}/1.png", None),
        ("{tr,tree,te}/1.png", None),
        ("{train,training}/{cat,dog}/1.png", None),
        ("train/{train,test}/{cat,dog}/1.png", None),
        ("test/{cat,dog}/1.png", None),
        ("{cat,dog}/1.png 2.png", None),
        ("cat/1.png animals/{dog,ox}/1.png", None),
        ("{fold1,fold2}/{cat,dog}/1.png", None),
        ("cat/{train,test}/1.png dog/1.png", None),
        ("cat/{train,test}/1.png cat/1.png dog/{train,test}/1.png", None),
        ("{a,b}/{train,test}/{cat,dog}/1.png", None),
        ("{cat,dog}/test/1.png", None),
        ("{images,masks}/1.png", None),
        ("{images_part_1,images_part_2}/1.png", None),
        (f"{'a/' * 40}{{cat,dog}}/1.png", None),
    ],
)  # fmt: skip
def test_parts_and_classes_follow_layout_of_folders(paths: str, parts: dict[str, set[str]] | None, tmp_path: Path):
    folder = _tree(tmp_path / "set", paths)
    if parts is None:
        with pytest.raises(DataError) as excinfo:
            source_at(folder)
        assert str(folder) in excinfo.value.message
        return
    source = source_at(folder)
    assert {part: {*content.labels} for part, content in source.parts.items()} == parts
    # The remark names each part.
    assert len(parts) == 1 or all(part in source.remarks[-1] for part in parts)


@pytest.mark.parametrize("unlabelled", ["test/1.png", "test1/test1/1.png", "test/images/1.png", "val/1.png"])
def test_hint_for_part_without_classes(unlabelled: str, tmp_path: Path):
    folder = _tree(tmp_path / "set", f"train/{{cat,dog}}/1.png {unlabelled}")
    with pytest.raises(DataError) as excinfo:
        source_at(folder)
    assert "without classes" in excinfo.value.message
    assert excinfo.value.hint is not None
    # As the hint says.
    shutil.move(folder / unlabelled.split("/")[0], tmp_path)
    assert {*source_at(folder).parts} == {"train"}


def test_pictures_of_test_part_are_locked(tmp_path: Path):
    as_folder(tmp_path / "a" / "seg_train" / "seg_train", IMAGES, LABELS)
    as_folder(tmp_path / "a" / "seg_test" / "seg_test", FEW, FEW_LABELS)
    expected = user.Data.from_arrays("a", IMAGES, LABELS, FEW, FEW_LABELS)

    assert user.Data.read(tmp_path / "a") == expected


def test_names_in_different_unicode_forms_and_encodings_are_read(tmp_path: Path):
    folder = tmp_path / "a"
    composed = [unicodedata.normalize("NFC", name) for name in ("café", "①", "m²")]
    as_folder(folder / "train", IMAGES, np.array(composed)[NUMBERS])
    as_folder(folder / "test", FEW, np.array([unicodedata.normalize("NFD", name) for name in composed])[FEW_NUMBERS])
    image = folder / "train" / "①" / "20.png"
    for name in (b"caf\xe9.png", b"th\xe9.png"):
        shutil.copy(os.fsencode(image), os.path.join(os.fsencode(image.parent), name))
    spec = user.Data.read(folder)

    assert spec.class_names == ("café", "m²", "①")
    assert len(spec.duplicates) == 2


# IDX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test", "form"),
    [
        ("train", "t10k", "{}-{}-{}-ubyte"),
        ("train", "t10k", "{}-{}.{}-ubyte"),
        ("train", "test", "{}-{}-{}-ubyte.gz"),
        ("emnist-letters-train", "emnist-letters-test", "{}-{}-{}-ubyte.gz"),
        ("qmnist-train", "qmnist-test", "{}-{}-{}-ubyte"),
        ("MNIST_TRAINING", "MNIST_TESTING", "{}_{}_{}"),
    ],
)
def test_idx_files_are_read_by_all_known_names(train: str, test: str, form: str, tmp_path: Path):
    as_idx(tmp_path / "a", IMAGES, NUMBERS, train, form)
    as_idx(tmp_path / "a", FEW, FEW_NUMBERS, test, form)
    expected = user.Data.from_arrays("a", IMAGES, NUMBERS, FEW, FEW_NUMBERS)

    assert user.Data.read(tmp_path / "a") == expected
    (tmp_path / "a" / "mapping.txt").touch()
    assert user.Data.read(tmp_path / "a").remarks == ("left out: 1 .txt file",)


def test_idx_reads_three_parts_and_rejects_repeated_or_incomplete_parts(tmp_path: Path):
    for seed, part in enumerate(("train", "validation", "test")):
        images, labels = pictures(10, seed=seed)
        as_idx(tmp_path / "a", images, np.searchsorted(CLASSES, labels), part, "{}-{}-{}-ubyte")
    assert user.Data.read(tmp_path / "a").validation_size == 30
    # Compressed copies of the files are omitted.
    as_idx(tmp_path / "a", pictures(10)[0], np.searchsorted(CLASSES, pictures(10)[1]), "train")
    assert user.Data.read(tmp_path / "a").remarks == ("left out: 2 .gz files",)
    (tmp_path / "a" / "test-labels-idx1-ubyte").rename(tmp_path / "a" / "b")
    with pytest.raises(DataError, match="no labels"):
        user.Data.read(tmp_path / "a")
    as_idx(tmp_path / "c", IMAGES, NUMBERS, "emnist-letters-train")
    as_idx(tmp_path / "c", IMAGES, NUMBERS, "emnist-digits-train")
    with pytest.raises(DataError, match=r"emnist-digits-train.* and emnist-letters-train"):
        user.Data.read(tmp_path / "c")


@pytest.mark.parametrize(("kind", "dtype"), [(0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_files_of_all_element_types_give_same_numbers(kind: int, dtype: str, tmp_path: Path):
    as_idx(tmp_path / "a", IMAGES, NUMBERS, "train", "{}-{}-{}-ubyte")
    content = struct.pack(">HBB3I", 0, kind, 3, *IMAGES.shape) + (IMAGES.astype(int) * 9).astype(dtype).tobytes()
    (tmp_path / "a" / "train-images-idx3-ubyte").write_bytes(content)
    assert user.Data.read(tmp_path / "a") == user.Data.from_arrays("a", IMAGES.astype(int) * 9, NUMBERS)


def test_class_of_qmnist_is_first_of_eight_columns(tmp_path: Path):
    columns = np.column_stack([NUMBERS, *[np.arange(60) + offset for offset in range(7)]]).astype(">i4")
    as_idx(tmp_path / "a", IMAGES, NUMBERS, "qmnist-train", "{}-{}-{}-ubyte")
    (tmp_path / "a" / "qmnist-train-labels-idx1-ubyte").unlink()
    head = struct.pack(">HBB2I", 0, 0x0C, 2, *columns.shape)
    (tmp_path / "a" / "qmnist-train-labels-idx2-int").write_bytes(head + columns.tobytes())
    assert user.Data.read(tmp_path / "a") == user.Data.from_arrays("a", IMAGES, NUMBERS)


# Arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels"),
     ("X", "y", "X_test", "y_test"), ("images", "labels", "images_test", "labels_test"),
     ("x", "y", "test_x", "test_y"), ("X_tr", "y_tr", "X_te", "y_te")],
)  # fmt: skip
def test_npz_keys_select_images_and_labels_of_parts(keys: tuple[str, ...], tmp_path: Path):
    arrays = dict(zip(keys, (IMAGES, NUMBERS[:, None], FEW, FEW_NUMBERS), strict=True))
    assert user.Data.read(as_npz(tmp_path / "a.npz", **arrays)) == user.Data.from_arrays(
        "a", IMAGES, NUMBERS, FEW, FEW_NUMBERS
    )


def test_unused_arrays_are_reported_and_repeated_parts_are_rejected(tmp_path: Path):
    arrays = {"X": IMAGES, "y": NUMBERS, "x_test": FEW, "notes": np.arange(3)}
    [remark] = user.Data.read(as_npz(tmp_path / "a.npz", **arrays)).remarks
    assert "x_test, notes" in remark
    with pytest.raises(DataError, match="X and x_train, both images of train"):
        user.Data.read(as_npz(tmp_path / "b.npz", **arrays, x_train=IMAGES, y_train=NUMBERS))
    # Several names select the validation part.
    spec = user.Data.read(as_npz(tmp_path / "c.npz", X=IMAGES, y=NUMBERS, x_valid=FEW, y_valid=FEW_NUMBERS))
    assert spec.validation_size == 15


@pytest.mark.parametrize(
    ("names", "option"),
    [
        ({"person": np.arange(60) // 3}, "person"),
        ({"subject_id_train": np.arange(60) % 15}, "subject_id"),
        ({"Patient": np.char.mod("p%d", np.arange(60) % 7)}, "Patient"),
        ({"row": np.arange(60)}, None),
        ({"weight": np.repeat([0.5, 0.25], 30)}, None),
        ({"superclass": NUMBERS // 2}, None),
        ({"person": np.arange(59) // 3}, None),
    ],
)
def test_arrays_that_may_be_groups_are_reported_with_option(names: dict[str, Any], option: str | None, tmp_path: Path):
    path = as_npz(tmp_path / "a.npz", X=IMAGES, y=NUMBERS, **names)
    remarks = " ".join(user.Data.read(path).remarks)

    assert (f"--group-by {option} " in remarks) if option else ("--group-by" not in remarks)
    assert option is None or user.Data.read(path, group_by=option).test_group_sizes


def test_beginnings_of_file_names_that_may_be_groups_are_reported(tmp_path: Path):
    for name, number in (("plain", 0), ("grouped", 5)):
        for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
            path = tmp_path / name / label / f"p{index % number if number else label}_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    assert "--group-by _ " in " ".join(user.Data.read(tmp_path / "grouped").remarks)
    assert user.Data.read(tmp_path / "plain").remarks == ()


def test_rows_of_784_numbers_are_series_with_a_remark(tmp_path: Path):
    flat = np.random.default_rng(0).integers(0, 256, (60, 784))
    assert "28 x 28" in " ".join(user.Data.from_arrays("a", flat, NUMBERS).remarks)
    with pytest.raises(DataError, match="1x1x784"):
        user.Data.from_arrays("a", flat, NUMBERS, shape=(1, 28, 28))


# Series ----------------------------------------------------------------------------------------------------------

SERIES = np.random.default_rng(0).normal(size=(60, 2, 30))
SIDES = np.tile(["left", "right"], 30)


def _ts(path: Path, series: list[Any], labels: Any, *header: str, prefix: str = "") -> Path:
    lines = [
        ":".join([",".join(map(repr, dimension.tolist())) for dimension in sample] + [label])
        for sample, label in zip(series, labels, strict=True)
    ]
    path.write_text(prefix + "\n".join(["# about", *header, "@data", *lines]), "utf-8")
    return path


@pytest.mark.parametrize("parts", [("TRAIN", "TEST"), ("Train", "Test"), ("train", "test")])
@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_series_are_images_of_one_row(parts: tuple[str, str], prefix: str, tmp_path: Path):
    for part, rows in zip(parts, (slice(40), slice(40, None)), strict=True):
        _ts(
            tmp_path / f"X_{part}.ts",
            [*SERIES[rows]],
            SIDES[rows],
            "@dimensions 2",
            "@classLabel true left right",
            prefix=prefix,
        )
    spec = user.Data.read(tmp_path / f"X_{parts[0]}.ts")

    assert (spec.image_shape, spec.class_names, spec.test_size) == ((2, 1, 30), ("left", "right"), 20)
    assert spec.name.startswith("x-")
    assert user.Data.read(tmp_path / f"X_{parts[1]}.ts") == spec
    assert user.Data.from_arrays("x", SERIES[:40], SIDES[:40], SERIES[40:], SIDES[40:], channels="first") == spec


@pytest.mark.parametrize(
    "header",
    [("@targetLabel true",), ("@classLabel false",), ("@timeStamps true",), ("@dimensions 3",),
     ("@classLabel true up",), ("@univariate true",), ("@dimension 2", "@Univariate TRUE"), ("@seriesLength 31",),
     ("@equalLength true", "@seriesLength 60")],
)  # fmt: skip
def test_header_of_ts_file_is_checked(header: tuple[str, ...], tmp_path: Path):
    with pytest.raises(DataError):
        user.Data.read(_ts(tmp_path / "a.ts", [*SERIES], SIDES, *header))


def test_header_of_ts_file_states_lengths(tmp_path: Path):
    rows = [*SERIES[:-1], SERIES[-1][:, :20]]
    header = ("@univariate false", "@dimensions 2", "@missing false", "@timeStamps false")
    path = _ts(tmp_path / "a.ts", rows, SIDES, *header, "@equalLength false", "@seriesLength 30")
    assert user.Data.read(path, (2, 1, 30)).image_shape == (2, 1, 30)
    with pytest.raises(DataError, match="@equalLength"):
        user.Data.read(_ts(tmp_path / "b.ts", rows, SIDES, *header, "@equalLength true"), (2, 1, 30))


@pytest.mark.parametrize("ending", [".tsv", ".ts"])
def test_reading_of_series_needs_little_more_memory_than_array(ending: str, tmp_path: Path):
    rows = [",".join(map(repr, row)) for row in np.random.default_rng(0).normal(size=(400, 500)).tolist()]
    lines = [f"{row}:{index % 3}" if ending == ".ts" else f"{index % 3},{row}" for index, row in enumerate(rows)]
    text = "\n".join(lines)
    (tmp_path / f"a{ending}").write_text(text if ending == ".ts" else text.replace(",", "\t"))
    source_at(tmp_path / f"a{ending}")
    tracemalloc.start()
    source_at(tmp_path / f"a{ending}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1.5 * 400 * 500 * 8


def test_series_without_class_is_rejected(tmp_path: Path):
    with pytest.raises(DataError, match="1,2"):
        user.Data.read(_ts(tmp_path / "a.ts", [*SERIES], ["1,2"] * 60))


def test_error_for_series_of_different_lengths_suggests_input_shape(tmp_path: Path):
    folder = _ts(tmp_path / "a.ts", [*SERIES[:-1], SERIES[-1][:, :20]], SIDES)
    with pytest.raises(DataError, match="--input 2x1x30"):
        user.Data.read(folder)
    with pytest.raises(DataError, match="input shape 2x15x2"):
        user.Data.read(folder, (2, 15, 2))
    assert user.Data.read(folder, (2, 1, 30)).image_shape == (2, 1, 30)


@pytest.mark.parametrize("classes", [("NA", "EU"), ("True", "False"), ("007", "07"), ("-1", "1")])
@pytest.mark.parametrize("header", [False, True])
def test_tsv_is_read_like_pandas(classes: tuple[str, str], header: bool, tmp_path: Path):
    labels = np.array(classes)[np.arange(60) % 2]
    table = pd.DataFrame(SERIES[:, 0])
    table.insert(0, "label", labels)
    table.to_csv(tmp_path / "a.tsv", sep="\t", header=header, index=False)
    expected = pd.read_csv(tmp_path / "a.tsv", sep="\t", header=0 if header else None, dtype=str, keep_default_na=False)
    part = source_at(tmp_path / "a.tsv").parts["train"]

    assert part.labels == expected.iloc[:, 0].tolist()
    assert np.array_equal(np.array(part.images)[:, 0, :, 0], expected.iloc[:, 1:].astype(float).to_numpy())
    assert bool(user.Data.read(tmp_path / "a.tsv").remarks) == header


@pytest.mark.parametrize(
    "head",
    [[f"{0.02 * step:.2f}" for step in range(20)], list(map(str, range(1990, 2010))), list(map(str, range(1, 21)))],
)
def test_tsv_header_of_numbers_is_omitted_and_reported(head: list[str], tmp_path: Path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 20)).round(4), columns=head)
    frame.insert(0, "country", np.arange(60) % 3 + 1)
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)

    spec = user.Data.read(tmp_path / "a.tsv")
    expected = pd.read_csv(tmp_path / "a.tsv", sep="\t")

    assert spec.class_names == ("1", "2", "3")
    assert spec.train_size + spec.validation_size + spec.test_size == len(expected)
    assert "left out: the header of a.tsv" in spec.remarks


@pytest.mark.parametrize(("separator", "name"), [(",", "commas"), (";", "semicolons"), ("  ", "spaces")])
def test_table_without_tabs_is_rejected_with_name_of_separator(separator: str, name: str, tmp_path: Path):
    lines = [separator.join(map(str, (row % 3, *range(5)))) for row in range(30)]
    (tmp_path / "a.tsv").write_text("\n".join(lines))

    with pytest.raises(DataError, match=f"separated by {name}"):
        user.Data.read(tmp_path / "a.tsv")


def test_tsv_with_row_numbers_of_pandas_is_rejected(tmp_path: Path):
    pd.DataFrame(SERIES[:, 0]).to_csv(tmp_path / "a.tsv", sep="\t")
    with pytest.raises(DataError, match="index=False"):
        user.Data.read(tmp_path / "a.tsv")


def test_series_equal_aeon(tmp_path: Path):
    datasets = pytest.importorskip("aeon.datasets", exc_type=ImportError)
    for path in sorted((Path(datasets.__file__).parent / "data").glob("*/*.ts")):
        try:
            part = source_at(path).parts["test" if "_TEST" in path.name else "train"]
        except DataError:
            continue  # no classes
        numbers, labels = datasets.load_from_ts_file(str(path))
        assert [label.lower() for label in part.labels] == [*map(str, labels)]
        assert all(np.array_equal(image[0].T, expected) for image, expected in zip(part.images, numbers, strict=True))


# torch, scikit-learn, unsupported files --------------------------------------------------------------------------


class ListDataset(list[Any]):
    """Data set with the interface of torch data sets."""

    classes: tuple[str, ...] = ()
    targets: Any = None


def _list_dataset(make: Callable[[np.ndarray], Any], labels: Any, classes: tuple[str, ...] = ()) -> ListDataset:
    data = ListDataset((make(image), label) for image, label in zip(IMAGES, labels, strict=True))
    data.classes = classes
    data.targets = labels
    return data


@pytest.mark.parametrize(
    "make",
    [Image.fromarray, torch.from_numpy, lambda image: torch.from_numpy(image)[None], lambda image: image,
     lambda image: Image.fromarray(image).convert("LA"), lambda image: torch.from_numpy(image).float()[None]],
)  # fmt: skip
def test_torch_data_set_may_consist_of_images_tensors_or_arrays(make: Callable[[np.ndarray], Any]):
    names = ("zero", "one", "two")
    spec = user.Data.from_torch("a", _list_dataset(make, NUMBERS.tolist(), names))

    assert spec.class_names == ("zero", "one", "two")
    texts = _list_dataset(Image.fromarray, np.array(names)[NUMBERS].tolist(), ("zero", "one", "unused", "two"))
    assert spec.sha256 == user.Data.from_torch("a", texts).sha256
    assert "unused" in user.Data.from_torch("a", texts).remarks[0]
    torch_data: Any = _list_dataset(make, NUMBERS.tolist(), ("c", "b", "a"))
    part = torch.utils.data.Subset[Any](torch_data, range(60))
    assert user.Data.from_torch("a", part).class_names == ("c", "b", "a")


class Wrapper:
    """A wrapper of a user, which changes the labels of ``dataset`` and has no ``classes``."""

    def __init__(self, dataset: ListDataset, change: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.change = change

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = self.dataset[index]
        return image, self.change(label)


ANIMALS = ("ant", "bee", "cow")


def _transformed(change: Callable[[Any], Any], stored: Any = NUMBERS, **attributes: Any) -> ListDataset:
    data = _list_dataset(torch.from_numpy, [change(label) for label in NUMBERS.tolist()], ANIMALS)
    data.targets = stored  # a ``target_transform`` leaves the stored labels unchanged
    vars(data).update(attributes)
    return data


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (_transformed(int), {"ant": 20, "bee": 20, "cow": 20}),
        (_transformed([2, 0, 1].__getitem__), {"0": 20, "1": 20, "2": 20}),
        (_transformed(lambda label: int(label == 2)), {"0": 40, "1": 20}),
        (_transformed(lambda label: int(label == 2), (NUMBERS == 2).astype(int)), {"0": 40, "1": 20}),
        (_transformed(lambda label: "201"[label]), {"0": 20, "1": 20, "2": 20}),
        (_transformed(ANIMALS.__getitem__), {"ant": 20, "bee": 20, "cow": 20}),
        (_transformed(lambda label: ("cow", "bee", "cow")[label]), {"bee": 20, "cow": 40}),
        (_transformed(int, None), {"0": 20, "1": 20, "2": 20}),
        (_transformed(int, NUMBERS[:50]), {"0": 20, "1": 20, "2": 20}),
        (_transformed(int, [[1], [2, 3]]), {"0": 20, "1": 20, "2": 20}),
        (_transformed(int, classes=3), {"0": 20, "1": 20, "2": 20}),
        (_transformed(int, classes=len), {"0": 20, "1": 20, "2": 20}),
        (_transformed(int, classes=np.array(ANIMALS)), {"ant": 20, "bee": 20, "cow": 20}),
        (_transformed(int, class_to_idx={"ant": 0, "bee": 1, "cow": 2}), {"ant": 20, "bee": 20, "cow": 20}),
        (_transformed(int, class_to_idx={"ant": 2, "bee": 0, "cow": 1}), {"0": 20, "1": 20, "2": 20}),
        (Wrapper(_transformed(int), lambda label: int(label == 2)), {"0": 40, "1": 20}),
        (torch.utils.data.Subset(_transformed(int), range(10, 60)), {"ant": 10, "bee": 20, "cow": 20}),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_names_of_classes_follow_labels_that_arrive(data: Any, counts: dict[str, int]):
    remarks: list[str] = []
    part = part_of_torch(data, "train", None, remarks)

    assert {name: part.labels.count(name) for name in part.classes} == counts
    has_unused_names = "0" in counts and isinstance(getattr(data, "classes", None), tuple)
    assert has_unused_names == any("not proven" in remark for remark in remarks)


@pytest.mark.parametrize("kind", ["picture", "label", "seldom"])
def test_torch_data_set_with_random_items_is_refused(kind: str):
    random = np.random.default_rng(0)

    class RandomSet(ListDataset):
        def __getitem__(self, index: Any) -> Any:
            image, label = super().__getitem__(index)
            match kind:
                case "picture":
                    return np.roll(image, random.integers(-1, 2), axis=0), label
                case "label":
                    return image, int(random.integers(3))
                case _:
                    return (image[:, ::-1] if random.random() < 0.5 else image), label

    with pytest.raises(DataError, match="differs when read twice"):
        user.Data.from_torch("a", RandomSet(zip(IMAGES, NUMBERS.tolist(), strict=True)))


@pytest.mark.parametrize(
    "data",
    [
        [{"image": IMAGES[0], "label": 1}],
        _list_dataset(torch.from_numpy, np.eye(3)[NUMBERS]),
        [(torch.from_numpy(IMAGES[0]), 0), (Image.fromarray(IMAGES[1]), 1)],
        iter([(IMAGES[0], 0)]),
        [],
    ],
)
def test_invalid_torch_data_set_is_rejected_in_one_line(data: Any):
    with pytest.raises(DataError) as excinfo:
        user.Data.from_torch("a", data)
    assert len(excinfo.value.one_line.splitlines()) == 1


def test_digits_of_scikit_learn_keep_their_pixels(tmp_path: Path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    spec = user.Data.from_arrays("digits", digits.images, digits.target)
    expected = np.rint(255 * digits.images / 16).astype(np.uint8)

    assert spec.class_names == tuple("0123456789")
    assert all_images(spec, tmp_path / "log") == sorted(
        (int(label), image.tobytes()) for label, image in zip(digits.target, expected, strict=True)
    )


def test_file_endings_are_listed_in_error_and_docs(tmp_path: Path):
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=re.escape(", ".join(DATA_ENDINGS))):
        user.Data.read(tmp_path / "a.csv")
    page = (Path(__file__).parents[4] / "docs" / "use" / "data.md").read_text(encoding="utf-8")
    assert [ending for ending in DATA_ENDINGS if f"`{ending}`" not in page] == []


def test_pipe_is_rejected_and_text_is_read_as_path(tmp_path: Path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(DataError, match="pipe"):
        user.Data.read(tmp_path / "a.npz")
    assert user.Data.read(f"{as_folder(tmp_path / 'v1.2', IMAGES, LABELS)}/").name.startswith("v1-2-")


@pytest.mark.parametrize("name", ["a" * 300, "no such", ""])
def test_missing_path_is_rejected(name: str):
    with pytest.raises(DataError):
        user.Data.read(name)
