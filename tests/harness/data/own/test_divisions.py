"""Groups and duplicates lie on one side of every division, and parts share no image unless the data set reports it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import own
from harness.data.datasets import DATASETS, Dataset, dataset
from harness.data.description import description
from harness.data.own.divisions import FOLDS, choose_fifth, choose_validation, connected_units
from harness.data.testset import read_test_set
from harness.data.training_images import load, split
from harness.system.errors import DataError
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from harness.training.run import Job, TrainingData, validation_fold
from search_spaces.notation import parse_network
from tests.harness.data.own.pictures import CLASSES, as_folder, as_idx, as_npz, pictures

IMAGES, LABELS = pictures(40)
MORE, OTHERS = pictures(20, seed=1)
PERSONS = np.tile(np.arange(10), 12)


def sides(spec: Dataset, log: Path) -> list[list[set[bytes]]]:
    """Return the images on both sides of each division: training and test part, training and validation per fold."""
    data = load(spec.name)
    locked, _ = read_test_set(data, purpose="a test", log=log)
    parted = [(data.train_images, locked)]
    for fold in range(spec.folds):
        parts = split(data, fold)
        parted.append((data.train_images[parts.train], data.train_images[parts.validation]))
    return [[{image.numpy().tobytes() for image in side} for side in pair] for pair in parted]


def noise(each: int, copies: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with random labels, partly duplicated: only the duplicates can be learned."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (3 * each, 6, 6), np.uint8)
    twice = np.concatenate([images, images[:copies]])
    return twice, np.array(CLASSES)[random.integers(0, 3, len(twice))]


@pytest.mark.parametrize(("each", "copies"), [(30, 90), (30, 20), (300, 300), (30, 0)])
@pytest.mark.parametrize("balanced", [False, True])
def test_equal_images_lie_on_one_side_of_every_division(each: int, copies: int, balanced: bool, tmp_path: Path):
    spec = own.from_arrays("noise", *noise(each, copies), balanced=balanced)

    assert spec.folds == (1 if each > 200 else 5)
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
def test_units_stay_whole_whatever_they_are(images: list[tuple[int, int, int]], balanced: bool):
    labels = np.array([kind for _, _, kind in images])
    labels = np.unique(labels, return_inverse=True)[1]
    names = "0123"[: labels.max() + 1]
    keys = [
        np.array([f"g{group}-{own_}".encode() for group, own_, _ in images]),
        np.array([f"{p // 2 if p < 20 else p}".encode() for p in range(len(images))]),
    ]
    together = connected_units(keys)
    mixed = np.random.default_rng(0).permutation(len(images))
    again = connected_units([each[mixed] for each in keys])
    nothing = np.zeros(len(images), bool)
    try:
        is_test = choose_fifth(labels, together, nothing, names, has_groups=balanced)
        turns, _ = choose_validation(labels, together, None, names, has_groups=False, balanced=balanced)
    except DataError:
        return
    for unit in np.unique(together.of_image):
        assert len({*is_test[together.of_image == unit]}) == 1
        assert len({*turns[together.of_image == unit]}) == 1
    assert len({int((turns == turn).sum()) for turn in range(FOLDS)}) == 1
    assert np.array_equal(choose_fifth(labels[mixed], again, nothing, names, has_groups=balanced), is_test[mixed])
    if balanced:
        counts = {int(((turns == turn) & (labels == kind)).sum()) for turn in range(FOLDS) for kind in {*labels}}
        assert len(counts) == 1


GIVEN: dict[str, dict[str, Any]] = {
    "validation repeats test": {"x_val": MORE, "y_val": OTHERS, "x_test": MORE, "y_test": OTHERS},
    "validation repeats train": {"x_val": IMAGES[:30], "y_val": LABELS[:30]},
    "test repeats train": {"x_test": np.concatenate([MORE, IMAGES[:1]]), "y_test": [*OTHERS, "cat"]},
    "with another class": {"x_test": np.concatenate([MORE, IMAGES[:1]]), "y_test": [*OTHERS, "ox"]},
}


@pytest.mark.parametrize("kind", GIVEN)
def test_parts_that_overlap_are_refused_with_counts_or_said(kind: str, tmp_path: Path):
    arrays = {"X": IMAGES, "y": LABELS, **GIVEN[kind]}
    if kind == "validation repeats train":
        arrays["y_val"] = np.array(CLASSES)[np.arange(30) % 3]
    place = as_npz(tmp_path / "a.npz", **{key: np.asarray(value) for key, value in arrays.items()})
    with pytest.raises(DataError, match=r"\d+ of \d+"):
        own.read(place)
    spec = own.read(place, allow_overlap=True)

    assert spec.overlap == dataset(spec.name).overlap
    assert spec.overlap in own.parts_text(spec)
    assert "overlap" in spec.title


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_a_group_stays_on_one_side(balanced: bool, given: bool, tmp_path: Path):
    images = IMAGES.copy()
    images[:, 0, 0] = PERSONS  # the first pixel names the person
    more = MORE.copy()
    more[:, 0, 0] = 77
    parts = {"x_val": more, "y_val": OTHERS, "speaker_val": np.full(60, 77)} if given else {}
    place = as_npz(tmp_path / "a.npz", X=images, y=LABELS, speaker=PERSONS, **parts)
    spec = own.read(place, group_by="speaker", balanced=balanced)

    for first, second in sides(spec, tmp_path / "log"):
        persons = [{image[0] for image in side} for side in (first, second)]
        assert all(persons)
        assert not persons[0] & persons[1]


@pytest.mark.parametrize(("count", "testing"), [(600, 5), (35, 5), (12, 4), (6, 2)])
def test_all_groups_take_turns_unless_many_groups_validate(count: int, testing: int, tmp_path: Path):
    # The sizes of the groups differ by a factor of ten.
    sizes = [4 + 36 * (number % 7 == 0 and count < 100) for number in range(count)]
    groups = np.repeat(np.arange(count), sizes)
    images = np.random.default_rng(0).integers(0, 256, (len(groups), 8, 8), dtype=np.uint8)
    images[:, 0, 0] = groups % 256
    images[:, 0, 1] = groups // 256
    labels = np.array(CLASSES)[np.arange(len(groups)) % 3]
    spec = own.from_arrays("families", images, labels, groups=groups)

    (rest, test), *turns = [
        [{image[0] + 256 * image[1] for image in side} for side in pair] for pair in sides(spec, tmp_path / "log")
    ]
    validating = [group for _, validation in turns for group in validation]
    assert (len(turns), spec.group_folds) == ((1, 0) if count == 600 else (min(5, len(rest)), len(turns)))
    # Each fold trains on all groups that do not validate; no group validates twice.
    assert all(trained == rest - validation for trained, validation in turns)
    assert sorted({*validating}) == sorted(validating)
    assert len(validating) >= 78 if count == 600 else {*validating} == rest
    assert sorted(spec.validation_group_sizes) == sorted(np.bincount(groups)[validating].tolist())
    assert sorted(spec.test_group_sizes) == sorted(np.bincount(groups)[[*test]].tolist())
    assert len(test) >= testing
    facts = description(load(spec.name))
    assert facts["test_groups"] == len(test)
    assert bool(facts["provable"]) == (count == 600)
    assert own.from_arrays("families", images, labels).name != spec.name


@pytest.mark.parametrize(
    ("group_by", "arrays"),
    [
        ("speakers", {}),
        ("_", {}),
        ("speaker", {"x_test": MORE, "y_test": OTHERS}),
        ("speaker", {"x_test": MORE, "y_test": OTHERS, "speaker_test": PERSONS[:60]}),
        ("speaker", {"x_test": MORE, "y_test": OTHERS, "speaker_test": PERSONS[:59]}),
    ],
)
def test_groups_that_are_not_there_or_in_two_parts_are_refused(group_by: str, arrays: Any, tmp_path: Path):
    place = as_npz(tmp_path / "a.npz", X=IMAGES, y=LABELS, speaker=PERSONS, **arrays)
    with pytest.raises(DataError, match=r"speaker|group"):
        own.read(place, group_by=group_by)


def test_groups_of_one_class_each_are_parted_too(tmp_path: Path):
    patients = [f"{label}{person % 6}" for label, person in zip(LABELS, np.arange(120), strict=True)]
    spec = own.from_arrays("a", IMAGES, LABELS, groups=patients)
    owner = {image.tobytes(): patient for image, patient in zip(IMAGES, patients, strict=True)}

    for first, second in sides(spec, tmp_path / "log"):
        assert not {owner[image] for image in first} & {owner[image] for image in second}


def test_sources_without_groups_refuse_them(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("".join(f"{index % 2}\t{index}\t1\n" for index in range(60)))
    numbers = np.searchsorted(CLASSES, LABELS)
    plain = as_folder(tmp_path / "plain", IMAGES, LABELS)
    for place in (tmp_path / "a.tsv", as_idx(tmp_path / "idx", IMAGES, numbers, "train"), plain):
        with pytest.raises(DataError, match="groups by _"):
            own.read(place, group_by="_")


@pytest.mark.parametrize("count", [119, 121])
def test_there_is_a_group_for_each_image(count: int):
    with pytest.raises(DataError, match=f"120 images and {count} groups"):
        own.from_arrays("a", IMAGES, LABELS, groups=np.arange(count) % 10)


def test_groups_of_folders_are_what_stands_before_the_first_line(tmp_path: Path):
    names = np.array([f"{label}/p{person}" for label, person in zip(LABELS, PERSONS, strict=True)])
    folder = tmp_path / "a"
    for index, (image, name) in enumerate(zip(IMAGES, names, strict=True)):
        label, _, person = name.partition("/")
        as_folder(folder, image[None], np.array([label]))
        (folder / label / "0.png").rename(folder / label / f"{person}_{index}.png")
    grouped = own.read(folder, group_by="_")

    assert grouped == own.from_arrays("a", IMAGES, LABELS, groups=[f"p{person}" for person in PERSONS])
    assert grouped != own.read(folder)
    assert "10 groups" in grouped.remarks
    with pytest.raises(DataError, match=r"groups by subject: .* _ "):
        own.read(folder, group_by="subject")
    # A file name without an underscore belongs to no group.
    first = next(folder.glob("*/p0_*.png"))
    lacking = first.rename(first.with_name("x.png"))
    with pytest.raises(DataError, match="1 of the 120 pictures"):
        own.read(folder, group_by="_")
    lacking.rename(first)
    # Both parts contain all persons.
    (folder / "train").mkdir()
    for name in CLASSES:
        (folder / name).rename(folder / "train" / name)
    for index, (image, label) in enumerate(zip(MORE, OTHERS, strict=True)):
        as_folder(folder / "test", image[None], np.array([label]))
        (folder / "test" / label / "0.png").rename(folder / "test" / label / f"p{index % 10}_{index}.png")
    with pytest.raises(DataError, match="10 groups"):
        own.read(folder, group_by="_")


def test_every_image_is_in_one_part_and_every_class_in_all(tmp_path: Path):
    images, labels = pictures(each=300)
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
    spec = own.from_arrays("pets", *pictures(each=50))
    parts = [split(load(spec.name), fold) for fold in range(spec.folds)]

    assert spec.folds == 5
    assert sorted(int(index) for part in parts for index in part.validation) == list(range(120))
    assert {(len(part.train), len(part.validation)) for part in parts} == {(96, 24)}


@pytest.mark.parametrize(("few", "turns", "in_turn", "tested"), [(40, 5, 18, 24), (400, 1, 192, 240)])
def test_balanced_parts_have_as_many_images_of_each_class_and_small_ones_are_trained_on_several_times(
    few: int, turns: int, in_turn: int, tested: int, tmp_path: Path
):
    images, labels = pictures(each=900)
    some = np.concatenate([np.arange(few), np.arange(900, 2700)])
    spec = own.from_arrays("pets", images[some], labels[some], balanced=True)
    data = load(spec.name)
    _, locked = read_test_set(data, purpose="a test", log=tmp_path / "reads")

    assert spec.name != own.from_arrays("pets", images[some], labels[some]).name
    assert (spec.folds, len(locked), locked.bincount().tolist()) == (turns, tested, [tested // 3] * 3)
    for fold in range(spec.folds):
        parts = split(data, fold)
        assert data.train_labels[parts.validation].bincount().tolist() == [in_turn // 3] * 3
        assert len(parts.train) + len(parts.validation) == len(data.train_labels) == int(0.8 * len(some))
        trained, _ = TrainingData(data).parts(torch.device("cpu"), fold)
        counts = trained.labels.bincount().tolist()
        assert min(counts) > max(counts) / 2


def test_images_that_are_left_out_do_not_count_as_training_images():
    # Class 1 has images in the given validation part only; balancing with groups drops an image.
    labels = np.array([0] * 7 + [1] * 3)
    validates = np.arange(10) >= 5
    together = connected_units([np.array([f"{number}".encode() for number in range(10)])])

    with pytest.raises(DataError):
        choose_validation(labels, together, validates, "01", has_groups=True, balanced=True)


def test_refusal_names_class_with_fewest_images():
    images, labels = pictures(each=900)
    # A fifth of 3 pictures, rounded to 1, is set aside.
    some = np.concatenate([np.arange(900), np.arange(900, 903), np.arange(1800, 2700)])

    with pytest.raises(DataError, match=f"class '{CLASSES[1]}' has the fewest"):
        own.from_arrays("pets", images[some], labels[some], balanced=True)


def test_a_fixed_group_validates_if_a_turn_would_not_train_a_class():
    # Only group 0 has several images of class 1; a different group has the last image of the class.
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 0])
    groups = np.array([b"a", b"a", b"a", b"b", b"b", b"b", b"c", b"c"])
    fold, used = choose_validation(labels, connected_units([groups]), None, "01", has_groups=True, balanced=False)

    assert used.all()
    assert all({*labels[fold != number]} == {0, 1} for number in range(FOLDS))


def test_the_fresh_seeds_of_a_network_validate_on_each_group_once_and_begin_with_another_than_its_first_run():
    groups = np.arange(len(LABELS)) % 7
    spec = own.from_arrays("voices", IMAGES, LABELS, groups=groups)
    data = load(spec.name)

    def validating(purpose: Purpose, index: int) -> set[int]:
        return {*split(data, validation_fold(job(purpose, index), data.dataset)).validation.tolist()}

    fresh = [validating(Purpose.CONFIRM, index) for index in range(spec.group_folds)]
    assert spec.group_folds > 1
    assert sorted(index for images in fresh for index in images) == list(range(len(data.train_labels)))
    assert validating(Purpose.SEARCH, 0) == validating(Purpose.TRAIN, 0) == fresh[-1]


@pytest.mark.parametrize("sizes", [(), (30, 40)])
@pytest.mark.parametrize("trial", [0, 1, 7])
def test_first_runs_rotate_over_folds_of_images_but_not_of_groups(sizes: tuple[int, ...], trial: int):
    data = replace(DATASETS["mnist"], folds=5, validation_group_sizes=sizes)
    shift = 0 if sizes else trial

    def folds_of(purpose: Purpose) -> list[int]:
        return [validation_fold(replace(job(purpose, index), trial=trial), data) for index in range(5)]

    assert folds_of(Purpose.SEARCH) == [(shift + index) % 5 for index in range(5)]
    assert folds_of(Purpose.CONFIRM) == [(shift + index + 1) % 5 for index in range(5)]
    # All networks of a table or of the curve of a quote are compared on the same folds.
    assert folds_of(Purpose.BENCH) == folds_of(Purpose.TRAIN) == list(range(5))


def job(purpose: Purpose, seed_index: int) -> Job:
    """Return a job of a recipe that takes no time."""
    network = parse_network("conv3x3(4) gap linear(10)")
    return Job(architecture=network, recipe=Recipe(), recipe_name="", purpose=purpose, seed_index=seed_index)
