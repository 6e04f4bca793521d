"""Tests of the poses of a kernel, against numpy's own turns and flips."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from search_spaces.poses import _composed, channel_order, mirrored, turns

SQUARE = np.arange(9).reshape(3, 3)


def posed(square: np.ndarray, pose: int, poses: int) -> np.ndarray:
    return np.rot90(np.fliplr(square) if mirrored(pose) else square, turns(pose, poses))


@pytest.mark.parametrize("poses", [1, 2, 4, 8])
def test_a_square_looks_different_in_every_pose(poses: int):
    assert len({posed(SQUARE, pose, poses).tobytes() for pose in range(poses)}) == poses


@pytest.mark.parametrize("poses", [1, 2, 4, 8])
def test_one_pose_after_the_other_is_the_pose_that_they_compose(poses: int):
    for first, second in product(range(poses), repeat=2):
        once = posed(SQUARE, _composed(second, first, poses), poses)
        assert np.array_equal(posed(posed(SQUARE, first, poses), second, poses), once)


def test_the_first_pose_changes_nothing():
    assert [_composed(0, pose, 8) for pose in range(8)] == list(range(8))
    assert channel_order(0, 8, 16) == tuple(range(16))


def test_channels_change_places_among_the_poses_of_one_kernel_only():
    # Turned by a quarter, what was seen in the last pose is seen in the first.
    assert channel_order(1, 4, 8) == (3, 0, 1, 2, 7, 4, 5, 6)
    assert channel_order(1, 2, 4) == (1, 0, 3, 2)
    assert channel_order(5, 8, 1) == (0,)
