"""Groups and duplicates lie on one side of every division, and parts share no image, or the overlap is reported."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import user
from harness.data.datasets import DATASETS, Dataset, dataset
from harness.data.description import description
from harness.data.testset import read_test_set
from harness.data.training_images import load, split
from harness.data.user.divisions import _FOLDS, choose_fifth, choose_validation, connected_units
from harness.evidence.bounds import ErrorRatio, group_warning
from harness.spaces.notation import parse_network
from harness.system.errors import DataError
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from harness.training.run import Job, TrainingData
from tests.harness.data.user.pictures import CLASSES, as_folder, as_idx, as_npz, pictures

IMAGES, LABELS = pictures(40)
NEW_IMAGES, NEW_LABELS = pictures(20, seed=1)
PERSONS = np.tile(np.arange(10), 12)


def sides(spec: Dataset, log: Path) -> list[list[set[bytes]]]:
    """Return the images on both sides of each division: training and test part, training and validation per fold."""
    data = load(spec.name)
    locked, _ = read_test_set(data, purpose="a test", log=log)
    divisions = [(data.train_images, locked)]
    for fold in range(spec.folds):
        parts = split(data, fold)
        divisions.append((data.train_images[parts.train], data.train_images[parts.validation]))
    return [[{image.numpy().tobytes() for image in side} for side in pair] for pair in divisions]


def noise(count: int, copies: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with random labels, partly duplicated: only the duplicates can be learned."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (3 * count, 6, 6), np.uint8)
    duplicated = np.concatenate([images, images[:copies]])
    return duplicated, np.array(CLASSES)[random.integers(0, 3, len(duplicated))]


@pytest.mark.parametrize(("count", "copies"), [(30, 90), (30, 20), (300, 300), (30, 0)])
@pytest.mark.parametrize("balanced", [False, True])
def test_equal_images_lie_on_one_side_of_every_division(count: int, copies: int, balanced: bool, tmp_path: Path):
    spec = user.Data.from_arrays("noise", *noise(count, copies), balanced=balanced)

    assert spec.folds == (1 if count > 200 else 5)
    for first, second in sides(spec, tmp_path / "log"):
        assert first
        assert second
        assert not first & second
    counts = {len(split(load(spec.name), fold).validation) for fold in range(spec.folds)}
    assert counts == {spec.validation_size}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.integers(0, 2)), min_size=40, max_size=120),
    st.booleans(),
)
def test_units_are_not_divided(images: list[tuple[int, int, int]], balanced: bool):
    labels = np.array([kind for _, _, kind in images])
    labels = np.unique(labels, return_inverse=True)[1]
    names = "0123"[: labels.max() + 1]
    keys = [
        np.array([f"g{group}-{number}".encode() for group, number, _ in images]),
        np.array([f"{p // 2 if p < 20 else p}".encode() for p in range(len(images))]),
    ]
    units = connected_units(keys)
    order = np.random.default_rng(0).permutation(len(images))
    permuted = connected_units([each[order] for each in keys])
    no_images = np.zeros(len(images), bool)
    try:
        is_test = choose_fifth(labels, units, no_images, names, has_groups=balanced)
        turns, _ = choose_validation(labels, units, None, names, has_groups=False, balanced=balanced)
    except DataError:
        return
    for unit in np.unique(units.of_image):
        assert len({*is_test[units.of_image == unit]}) == 1
        assert len({*turns[units.of_image == unit]}) == 1
    assert len({int((turns == turn).sum()) for turn in range(_FOLDS)}) == 1
    assert np.array_equal(choose_fifth(labels[order], permuted, no_images, names, has_groups=balanced), is_test[order])
    if balanced:
        counts = {int(((turns == turn) & (labels == kind)).sum()) for turn in range(_FOLDS) for kind in {*labels}}
        assert len(counts) == 1


OVERLAPS: dict[str, dict[str, Any]] = {
    "validation repeats test": {"x_val": NEW_IMAGES, "y_val": NEW_LABELS, "x_test": NEW_IMAGES, "y_test": NEW_LABELS},
    "validation repeats train": {"x_val": IMAGES[:30], "y_val": LABELS[:30]},
    "test repeats train": {"x_test": np.concatenate([NEW_IMAGES, IMAGES[:1]]), "y_test": [*NEW_LABELS, "cat"]},
    "with another class": {"x_test": np.concatenate([NEW_IMAGES, IMAGES[:1]]), "y_test": [*NEW_LABELS, "ox"]},
}


@pytest.mark.parametrize("kind", OVERLAPS)
def test_overlapping_parts_are_refused_or_reported_if_allowed(kind: str, tmp_path: Path):
    arrays = {"X": IMAGES, "y": LABELS, **OVERLAPS[kind]}
    if kind == "validation repeats train":
        arrays["y_val"] = np.array(CLASSES)[np.arange(30) % 3]
    path = as_npz(tmp_path / "a.npz", **{key: np.asarray(value) for key, value in arrays.items()})
    with pytest.raises(DataError, match=r"\d+ of \d+"):
        user.Data.read(path)
    spec = user.Data.read(path, allow_overlap=True)

    assert spec.overlap == dataset(spec.name).overlap
    assert spec.overlap in spec.parts_text
    assert "overlap" in spec.title


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("has_validation_part", [False, True])
def test_group_lies_on_one_side_of_every_division(balanced: bool, has_validation_part: bool, tmp_path: Path):
    images = IMAGES.copy()
    images[:, 0, 0] = PERSONS  # the first pixel names the person
    new_images = NEW_IMAGES.copy()
    new_images[:, 0, 0] = 77
    parts = {"x_val": new_images, "y_val": NEW_LABELS, "speaker_val": np.full(60, 77)} if has_validation_part else {}
    path = as_npz(tmp_path / "a.npz", X=images, y=LABELS, speaker=PERSONS, **parts)
    spec = user.Data.read(path, group_by="speaker", balanced=balanced)

    for first, second in sides(spec, tmp_path / "log"):
        persons = [{image[0] for image in side} for side in (first, second)]
        assert all(persons)
        assert not persons[0] & persons[1]


def copied(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return random pictures with copies of each, (sum of counts, 16, 16), and alternating classes."""
    pictures = np.random.default_rng(0).integers(0, 256, (len(counts), 16, 16), dtype=np.uint8)
    labels = np.array(CLASSES)[np.arange(len(counts)) % 2]
    return pictures.repeat(counts, axis=0), labels.repeat(counts)


def test_copies_of_a_picture_count_as_a_group(tmp_path: Path):
    spec = user.Data.from_arrays("copies", *copied([25] * 24))

    # A fifth of twelve pictures of each class is three pictures. The folds have three of the other eighteen.
    assert (spec.test_size, spec.test_group_sizes, spec.test_cases) == (150, (25,) * 6, 6)
    assert (spec.validation_group_sizes, spec.validation_cases) == ((25,) * 15, 15)
    assert (spec.image_folds, spec.group_folds) == (5, 0)
    _, test = next(iter(sides(spec, tmp_path / "log")))
    assert len(test) == 6
    pixels, _ = read_test_set(load(spec.name), purpose="a test", log=tmp_path / "log")
    names = np.unique(pixels.flatten(1).numpy(), axis=0, return_inverse=True)[1]
    assert len({*zip(names.tolist(), spec.test_groups, strict=True)}) == 6
    # Six pictures without an error: 0.05 ** (1 / 6) is 61 %.
    assert description(load(spec.name))["provable"] == []
    # The standard error of a share of 0.3 among 15 pictures.
    margin = math.sqrt(0.3 * 0.7 / 15)
    assert ErrorRatio.of(spec, 70).threshold_pct(70) == pytest.approx(70 + 100 * margin)
    assert "6 groups of test images decide" in group_warning(spec)


def test_copies_of_very_different_numbers_have_the_effective_number_of_kish():
    images, labels = copied([1] * 160)
    test_images, test_labels = copied([31, 20, 20, 15, 15, 10, *[3] * 14, *[2] * 10, *[1] * 10])
    spec = user.Data.from_arrays("icons", images, labels, 255 - test_images, test_labels)

    assert spec.test_group_sizes == tuple(np.bincount(spec.test_groups))
    assert (spec.test_size, len(spec.test_group_sizes)) == (183, 40)
    assert spec.test_cases == pytest.approx(183**2 / (31**2 + 2 * 20**2 + 2 * 15**2 + 100 + 14 * 9 + 10 * 4 + 10))
    # The other parts have no copies.
    assert (spec.validation_group_sizes, spec.validation_cases) == ((), spec.validation_size * spec.folds)


def test_few_copies_form_no_groups():
    spec = user.Data.from_arrays("few", *copied([2] * 6 + [1] * 400))

    assert (spec.test_group_sizes, spec.validation_group_sizes) == ((), ())
    assert (spec.test_cases, spec.validation_cases) == (spec.test_size, spec.validation_size * spec.folds)


def test_copies_connect_groups():
    images, labels = copied([2] * 60)
    # Persons 0 to 29 have four pictures. Persons 30 to 32 repeat a picture of persons 0 to 2.
    persons = np.arange(120) // 4
    persons = np.r_[persons, 30, 31, 32]
    all_images = np.concatenate([images, images[[0, 4, 8]]])
    spec = user.Data.from_arrays("persons", all_images, np.r_[labels, labels[[0, 4, 8]]], groups=persons)

    assert spec.group_folds == 5
    assert sorted(spec.test_group_sizes + spec.validation_group_sizes) == [4] * 27 + [5] * 3


@pytest.mark.parametrize(("count", "test_count"), [(600, 5), (35, 5), (12, 4), (6, 2)])
def test_each_group_validates_in_one_fold_unless_groups_are_many(count: int, test_count: int, tmp_path: Path):
    # The sizes of the groups differ by a factor of ten.
    sizes = [4 + 36 * (number % 7 == 0 and count < 100) for number in range(count)]
    groups = np.repeat(np.arange(count), sizes)
    images = np.random.default_rng(0).integers(0, 256, (len(groups), 8, 8), dtype=np.uint8)
    images[:, 0, 0] = groups % 256
    images[:, 0, 1] = groups // 256
    labels = np.array(CLASSES)[np.arange(len(groups)) % 3]
    spec = user.Data.from_arrays("families", images, labels, groups=groups)

    (rest, test), *folds = [
        [{image[0] + 256 * image[1] for image in side} for side in pair] for pair in sides(spec, tmp_path / "log")
    ]
    validation_groups = [group for _, validation in folds for group in validation]
    assert (len(folds), spec.group_folds) == ((1, 0) if count == 600 else (min(5, len(rest)), len(folds)))
    # Each fold trains on all groups that do not validate; no group validates twice.
    assert all(training == rest - validation for training, validation in folds)
    assert sorted({*validation_groups}) == sorted(validation_groups)
    assert len(validation_groups) >= 78 if count == 600 else {*validation_groups} == rest
    assert sorted(spec.validation_group_sizes) == sorted(np.bincount(groups)[validation_groups].tolist())
    assert sorted(spec.test_group_sizes) == sorted(np.bincount(groups)[[*test]].tolist())
    assert len(test) >= test_count
    facts = description(load(spec.name))
    assert facts["test_groups"] == len(test)
    assert bool(facts["provable"]) == (count == 600)
    assert user.Data.from_arrays("families", images, labels).name != spec.name


@pytest.mark.parametrize(
    ("group_by", "arrays"),
    [
        ("speakers", {}),
        ("_", {}),
        ("speaker", {"x_test": NEW_IMAGES, "y_test": NEW_LABELS}),
        ("speaker", {"x_test": NEW_IMAGES, "y_test": NEW_LABELS, "speaker_test": PERSONS[:60]}),
        ("speaker", {"x_test": NEW_IMAGES, "y_test": NEW_LABELS, "speaker_test": PERSONS[:59]}),
    ],
)
def test_missing_groups_and_groups_in_two_parts_are_refused(group_by: str, arrays: Any, tmp_path: Path):
    path = as_npz(tmp_path / "a.npz", X=IMAGES, y=LABELS, speaker=PERSONS, **arrays)
    with pytest.raises(DataError, match=r"speaker|group"):
        user.Data.read(path, group_by=group_by)


def test_groups_of_a_single_class_are_divided(tmp_path: Path):
    patients = [f"{label}{person % 6}" for label, person in zip(LABELS, np.arange(120), strict=True)]
    spec = user.Data.from_arrays("a", IMAGES, LABELS, groups=patients)
    owner = {image.tobytes(): patient for image, patient in zip(IMAGES, patients, strict=True)}

    for first, second in sides(spec, tmp_path / "log"):
        assert not {owner[image] for image in first} & {owner[image] for image in second}


def test_sources_without_groups_refuse_group_by(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("".join(f"{index % 2}\t{index}\t1\n" for index in range(60)))
    numbers = np.searchsorted(CLASSES, LABELS)
    folder = as_folder(tmp_path / "plain", IMAGES, LABELS)
    for path in (tmp_path / "a.tsv", as_idx(tmp_path / "idx", IMAGES, numbers, "train"), folder):
        with pytest.raises(DataError, match="groups by _"):
            user.Data.read(path, group_by="_")


def test_group_of_a_file_is_name_before_first_underscore(tmp_path: Path):
    names = np.array([f"{label}/p{person}" for label, person in zip(LABELS, PERSONS, strict=True)])
    folder = tmp_path / "a"
    for index, (image, name) in enumerate(zip(IMAGES, names, strict=True)):
        label, _, person = name.partition("/")
        as_folder(folder, image[None], np.array([label]))
        (folder / label / "0.png").rename(folder / label / f"{person}_{index}.png")
    grouped = user.Data.read(folder, group_by="_")

    assert grouped == user.Data.from_arrays("a", IMAGES, LABELS, groups=[f"p{person}" for person in PERSONS])
    assert grouped != user.Data.read(folder)
    assert "10 groups" in grouped.remarks
    with pytest.raises(DataError, match=r"groups by subject: .* _ "):
        user.Data.read(folder, group_by="subject")
    # A file name without an underscore belongs to no group.
    first = next(folder.glob("*/p0_*.png"))
    ungrouped = first.rename(first.with_name("x.png"))
    with pytest.raises(DataError, match="1 of the 120 pictures"):
        user.Data.read(folder, group_by="_")
    ungrouped.rename(first)
    # Both parts contain all persons.
    (folder / "train").mkdir()
    for name in CLASSES:
        (folder / name).rename(folder / "train" / name)
    for index, (image, label) in enumerate(zip(NEW_IMAGES, NEW_LABELS, strict=True)):
        as_folder(folder / "test", image[None], np.array([label]))
        (folder / "test" / label / "0.png").rename(folder / "test" / label / f"p{index % 10}_{index}.png")
    with pytest.raises(DataError, match="10 groups"):
        user.Data.read(folder, group_by="_")


def test_each_image_is_in_one_part_and_each_class_in_all_parts(tmp_path: Path):
    images, labels = pictures(count=300)
    spec = user.Data.from_arrays("pets", images, labels)
    data = load(spec.name)
    locked, kinds = read_test_set(data, purpose="a test", log=tmp_path / "reads")
    parts = split(data)

    assert spec == dataset(spec.name)
    assert (len(parts.train), len(parts.validation), len(locked)) == (576, 144, 180)
    assert sorted(kinds.bincount().tolist()) == [60, 60, 60]
    assert data.train_labels[parts.validation].bincount().tolist() == [48, 48, 48]
    all_pixels = np.concatenate([data.train_images.numpy(), locked.numpy()]).reshape(900, -1)
    assert sorted(map(bytes, all_pixels)) == sorted(map(bytes, images.reshape(900, -1)))
    pixels = data.train_images.numpy() / 255
    assert spec.mean == pytest.approx((pixels.mean(),), abs=1e-6)
    assert spec.std == pytest.approx((pixels.std(),), abs=1e-6)


def test_folds_of_small_data_validate_each_image_once():
    spec = user.Data.from_arrays("pets", *pictures(count=50))
    parts = [split(load(spec.name), fold) for fold in range(spec.folds)]

    assert spec.folds == 5
    assert sorted(int(index) for part in parts for index in part.validation) == list(range(120))
    assert {(len(part.train), len(part.validation)) for part in parts} == {(96, 24)}


@pytest.mark.parametrize(("rare", "folds", "validation_size", "test_size"), [(40, 5, 18, 24), (400, 1, 192, 240)])
def test_balanced_parts_have_equal_classes_and_repeat_rare_classes_in_training(
    rare: int, folds: int, validation_size: int, test_size: int, tmp_path: Path
):
    images, labels = pictures(count=900)
    indices = np.concatenate([np.arange(rare), np.arange(900, 2700)])
    spec = user.Data.from_arrays("pets", images[indices], labels[indices], balanced=True)
    data = load(spec.name)
    _, locked = read_test_set(data, purpose="a test", log=tmp_path / "reads")

    assert spec.name != user.Data.from_arrays("pets", images[indices], labels[indices]).name
    assert (spec.folds, len(locked), locked.bincount().tolist()) == (folds, test_size, [test_size // 3] * 3)
    for fold in range(spec.folds):
        parts = split(data, fold)
        assert data.train_labels[parts.validation].bincount().tolist() == [validation_size // 3] * 3
        assert len(parts.train) + len(parts.validation) == len(data.train_labels) == int(0.8 * len(indices))
        training, _ = TrainingData(data).parts(torch.device("cpu"), fold)
        counts = training.labels.bincount().tolist()
        assert min(counts) > max(counts) / 2


def test_omitted_images_do_not_count_as_training_images():
    # Class 1 has images in the given validation part only; balancing with groups drops an image.
    labels = np.array([0] * 7 + [1] * 3)
    validates = np.arange(10) >= 5
    units = connected_units([np.array([f"{number}".encode() for number in range(10)])])

    with pytest.raises(DataError):
        choose_validation(labels, units, validates, "01", has_groups=True, balanced=True)


def test_refusal_names_class_with_fewest_images():
    images, labels = pictures(count=900)
    # A fifth of 3 pictures, rounded to 1, is set aside.
    indices = np.concatenate([np.arange(900), np.arange(900, 903), np.arange(1800, 2700)])

    with pytest.raises(DataError, match=f"class '{CLASSES[1]}' has the fewest"):
        user.Data.from_arrays("pets", images[indices], labels[indices], balanced=True)


def test_fixed_group_validates_if_a_fold_would_not_train_a_class():
    # Only group 0 has several images of class 1; a different group has the last image of the class.
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 0])
    groups = np.array([b"a", b"a", b"a", b"b", b"b", b"b", b"c", b"c"])
    fold, used = choose_validation(labels, connected_units([groups]), None, "01", has_groups=True, balanced=False)

    assert used.all()
    assert all({*labels[fold != number]} == {0, 1} for number in range(_FOLDS))


def test_fresh_seeds_validate_on_each_group_once_starting_after_fold_of_first_run():
    spec = user.Data.from_arrays("voices", IMAGES, LABELS, groups=np.arange(len(LABELS)) % 7)
    data = load(spec.name)

    def validation_images(purpose: Purpose, index: int) -> set[int]:
        return {*split(data, job(purpose, index).validation_fold(data.dataset)).validation.tolist()}

    images_by_seed = [validation_images(Purpose.CONFIRM, index) for index in range(spec.group_folds)]
    assert spec.group_folds > 1
    assert sorted(index for images in images_by_seed for index in images) == list(range(len(data.train_labels)))
    assert validation_images(Purpose.SEARCH, 0) == validation_images(Purpose.TRAIN, 0) == images_by_seed[-1]


@pytest.mark.parametrize(("sizes", "group_by"), [((), ""), ((30, 40), ""), ((30, 40), "person")])
@pytest.mark.parametrize("trial", [0, 1, 7])
def test_first_runs_rotate_over_folds_of_images_but_not_of_groups(sizes: tuple[int, ...], group_by: str, trial: int):
    data = replace(DATASETS["mnist"], folds=5, validation_group_sizes=sizes, group_by=group_by)
    shift = 0 if group_by else trial

    def folds_of(purpose: Purpose) -> list[int]:
        return [replace(job(purpose, index), trial=trial).validation_fold(data) for index in range(5)]

    assert folds_of(Purpose.SEARCH) == [(shift + index) % 5 for index in range(5)]
    assert folds_of(Purpose.CONFIRM) == [(shift + index + 1) % 5 for index in range(5)]
    # All networks of a table or of the curve of a quote are compared on the same folds.
    assert folds_of(Purpose.BENCH) == folds_of(Purpose.TRAIN) == list(range(5))


def job(purpose: Purpose, seed_index: int) -> Job:
    """Return a job of a recipe that takes no time."""
    network = parse_network("conv3x3(4) gap linear(10)")
    return Job(architecture=network, recipe=Recipe(), recipe_name="", purpose=purpose, seed_index=seed_index)
