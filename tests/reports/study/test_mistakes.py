from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.record import Record
from reports.study.mistakes import Mistakes, image_uri, mistakes
from tests.reports.looked_at import drawn, inspected, label_of


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


def test_an_image_that_no_inspection_shows_leaves_the_matrix_out(record: Record, inspections: list[Any]):
    found = mistakes(record, inspections[:2])

    # The third seed alone has two further mistakes.
    assert found.confusion is None
    assert pictured(found) == 12


def test_an_image_is_a_png_of_its_pixels():
    """Taken apart by the standard (RFC 2083): four bits a pixel, rows of an odd width are filled up."""
    address = image_uri(bytes([0, 255, 128, 16, 32, 64]), (2, 3))

    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert int.from_bytes(content[at + 8 + length : at + 12 + length], "big") == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + length
    assert chunks[b"IHDR"] == bytes([0, 0, 0, 3, 0, 0, 0, 2, 4, 0, 0, 0, 0])
    assert zlib.decompress(chunks[b"IDAT"]) == bytes([0, 0x0F, 0x80, 0, 0x12, 0x40])
