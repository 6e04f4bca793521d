from __future__ import annotations

import pytest

from harness.training.workers.parallelism import Parallelism, read_parallelism


@pytest.mark.parametrize(
    ("text", "parallelism", "workers"),
    [
        ("1", Parallelism(1), 1),
        ("256", Parallelism(256), 256),
        ("2x8", Parallelism(2, 8), 16),
        ("1x32", Parallelism(1, 32), 32),
    ],
)
def test_a_crew_is_read_as_it_is_printed(text: str, parallelism: Parallelism, workers: int):
    assert read_parallelism(text) == parallelism
    assert str(parallelism) == text
    assert parallelism.workers == workers


def test_one_network_a_process_need_not_be_said():
    assert read_parallelism("3x1") == read_parallelism("3") == Parallelism(3)


@pytest.mark.parametrize("text", ["", "x", "2x", "x2", "2 x 8", "-1", "1.5", "2x8x2", "٢"])
def test_what_is_no_crew_is_refused(text: str):
    with pytest.raises(ValueError, match=r"is neither a number of processes, as 4, nor processes x networks, as 2x8$"):
        read_parallelism(text)


@pytest.mark.parametrize("text", ["0", "257", "1x0", "1x33"])
def test_numbers_out_of_range_are_refused(text: str):
    with pytest.raises(ValueError, match=r"; allowed are 1 to 256 processes, and PxN with 1 to 32 networks in each$"):
        read_parallelism(text)
