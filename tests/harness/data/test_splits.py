from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.splits import stratified_choice, stratified_folds

labels_lists = st.lists(st.integers(0, 5), min_size=1, max_size=60)


@given(labels_lists, st.floats(0, 1))
def test_the_choice_has_the_size_asked_for_and_every_class_within_one_of_its_share(labels, part):
    size = int(part * len(labels))

    chosen = stratified_choice(labels, size, "t")

    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    counts, taken = Counter(labels), Counter(labels[index] for index in chosen)
    for label, count in counts.items():
        assert abs(taken[label] - Fraction(size * count, len(labels))) < 1


def test_equal_remainders_go_to_the_lower_class():
    labels = [2, 1, 0, 0, 1, 2]

    assert Counter(labels[index] for index in stratified_choice(labels, 4, "t")) == {0: 2, 1: 1, 2: 1}


def test_the_larger_remainder_goes_first():
    labels = [0] * 3 + [1] * 7

    assert Counter(labels[index] for index in stratified_choice(labels, 4, "t")) == {0: 1, 1: 3}


def test_a_class_gives_the_images_whose_hash_is_smallest():
    ranked = sorted(range(50), key=lambda index: hashlib.sha256(f"tag:{index}".encode()).hexdigest())

    assert stratified_choice([7] * 50, 9, "tag") == sorted(ranked[:9])
    assert stratified_choice([7] * 50, 9, "other") != stratified_choice([7] * 50, 9, "tag")


def test_the_choice_never_changes():
    assert stratified_choice([index % 4 for index in range(40)], 8, "fixed") == [
        5,
        15,
        20,
        23,
        29,
        32,
        34,
        38,
    ]


@pytest.mark.parametrize("size", [-1, 4])
def test_more_than_there_are_cannot_be_chosen(size: int):
    with pytest.raises(ValueError, match=rf"^cannot choose {size} of 3 images$"):
        stratified_choice([0, 1, 2], size, "t")


@given(labels_lists, st.integers(1, 7), st.data())
def test_folds_are_of_one_size_in_all_and_in_every_class_and_hold_each_image_once(labels, count, data):
    among = data.draw(st.lists(st.sampled_from(range(len(labels))), unique=True, min_size=1))
    count = min(count, len(among))

    folds = stratified_folds(labels, among, count, "t")

    assert sorted(index for fold in folds for index in fold) == sorted(among)
    assert all(fold == sorted(fold) for fold in folds)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for label in set(labels):
        taken = [sum(labels[index] == label for index in fold) for fold in folds]
        assert max(taken) - min(taken) <= 1


def test_every_fold_has_its_share_of_rare_and_frequent_classes():
    labels = [0] * 40 + [1] * 200 + [2] * 160

    found = [Counter(labels[index] for index in fold) for fold in stratified_folds(labels, range(400), 4, "t")]

    assert found == [{0: 10, 1: 50, 2: 40}] * 4


def test_a_class_is_dealt_out_in_the_order_of_its_hashes():
    among = range(3, 50)
    ranked = sorted(among, key=lambda index: hashlib.sha256(f"tag:{index}".encode()).hexdigest())

    found = stratified_folds([7] * 50, among, 3, "tag")

    assert found == [sorted(ranked[place] for place in range(len(ranked)) if place % 3 == fold) for fold in range(3)]
    assert found != stratified_folds([7] * 50, among, 3, "other")


@pytest.mark.parametrize("count", [0, 3])
def test_more_folds_than_images_or_none_are_refused(count: int):
    with pytest.raises(ValueError, match=rf"^cannot divide 2 images into {count} folds$"):
        stratified_folds([0, 1, 2], [0, 2], count, "t")
