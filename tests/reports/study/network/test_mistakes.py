from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.record import Record
from reports.study.network.calibration import calibration
from reports.study.network.mistakes import Mistakes, mistakes
from reports.study.network.mistakes_gallery import gallery
from tests.reports.looked_at import drawn, inspected, label_of
from tests.wording import lacking


@pytest.fixture
def record(synthetic: Any) -> Record:
    """Three seeds of 12, 12 and 14 errors, ten of them on mislabelled images; all are said to be a 3."""
    made: Record = synthetic.evidence(synthetic.network(4, 8, 8), [12, 12, 14])
    return made


@pytest.fixture
def inspections(record: Record) -> list[Any]:
    return [inspected(record, run) for run in record.seeds]


def pictured(found: Mistakes) -> int:
    """Return the number of mistakes whose image is known."""
    return sum(mistake.pixels is not None for mistake in found.mistakes)


def test_mistakes_of_most_seeds_come_first_and_all_are_there(record: Record, inspections: list[Any]):
    found = mistakes(record, inspections)

    assert len(found.mistakes) == 14
    assert [mistake.seeds for mistake in found.mistakes] == [3] * 12 + [1] * 2
    assert sum(mistake.seeds for mistake in found.mistakes) == 12 + 12 + 14
    assert sum(mistake.mislabelled for mistake in found.mistakes) == 10
    assert all(mistake.label == label_of(mistake.image) for mistake in found.mistakes)
    assert all(mistake.pixels == drawn(mistake.image) for mistake in found.mistakes)
    assert pictured(found) == 14


def test_the_confusion_matrix_counts_every_image_of_every_seed(record: Record, inspections: list[Any]):
    found = mistakes(record, inspections)

    assert found.confusion is not None
    assert sum(map(sum, found.confusion)) == 3 * 10_000
    assert [sum(row) for row in found.confusion] == [3_000] * 10
    assert sum(row[3] for label, row in enumerate(found.confusion) if label != 3) == 12 + 12 + 14


def test_different_answers_to_one_image_are_told_apart(record: Record, inspections: list[Any]):
    first = record.seeds[0]
    image, _ = first.wrong[0]
    other = replace(first, wrong=((image, 7), *first.wrong[1:]))

    found = mistakes(replace(record, seeds=(other, *record.seeds[1:])), inspections)

    [mistake] = [item for item in found.mistakes if item.image == image]
    assert mistake.said == ((3, 2), (7, 1))
    assert " or 7" in gallery(found, "x")


def test_without_inspections_the_page_says_what_it_lacks_and_names_the_images(record: Record):
    found = mistakes(record, ())

    made = gallery(found, "x")

    assert (found.confusion, found.image_shape, pictured(found)) == (None, None, 0)
    assert "No confusion matrix: the labels of these images are not known here." in made
    assert "947 (3 by 3)" in made
    assert "<img" not in made


def test_an_image_that_no_inspection_shows_leaves_the_matrix_out(record: Record, inspections: list[Any]):
    found = mistakes(record, inspections[:2])

    # The third seed alone has two further mistakes.
    assert found.confusion is None
    assert pictured(found) == 12


def test_each_picture_says_what_it_is_and_wrong_labels_are_marked(record: Record, inspections: list[Any]):
    made = gallery(mistakes(record, inspections), "x")

    assert made.count("<img ") == 14
    assert 'alt="test image 947, label 8, said 3"' in made
    assert made.count("label wrong") == 10
    assert lacking(made, "14 test images wrong", "one of 3 seeds", "12 with every seed", "10 of them") == []


def test_a_network_without_a_mistake_has_a_sentence(synthetic: Any):
    perfect = synthetic.evidence(synthetic.network(4, 8, 8), [0, 0])

    assert gallery(mistakes(perfect, ()), "x") == "<p>None of 2 seeds got any test image wrong.</p>"


def test_confidence_is_pooled_over_the_seeds(record: Record, inspections: list[Any]):
    found = calibration(inspections)

    assert found is not None
    assert [item.images for item in found.confidences] == [2 * 38, 30_000 - 2 * 38]
    # Of the unsure half is right at a confidence of 0.6; the sure are right at 0.9995.
    expected = (abs(38 - 0.6 * 76) + (30_000 - 76) * 0.0005) / 30_000 * 100
    assert found.error_points == pytest.approx(expected)
    assert calibration([]) is None
