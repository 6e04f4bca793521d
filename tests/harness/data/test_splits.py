from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.splits import stratified_choice

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
