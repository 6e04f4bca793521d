"""Pictures that are nearly equal: saved again, a few grey levels apart, or shifted by a pixel.

Candidates are neighbours by the magnitudes of low frequencies, which no shift changes; what is nearly equal is then
decided by the pixels themselves.
"""

from __future__ import annotations

import numpy as np

from harness.data.own.values import Array, chunks

NEAR_LEVELS = 5  # grey levels of 256, root mean square of a difference; JPEG at quality 85 makes 3.4 of MNIST's digits
_LEAST_SIDE = 8  # pixels; smaller pictures and series are alike without being copies
_LEAST_CONTRAST = 3  # times the difference, as standard deviation of the picture's pixels: blank pictures are no twins
_FREQUENCIES = 24
_NEIGHBOURS = 8  # candidates of each picture
_MOST_SIDE = 64  # pixels of the means that are transformed


def twins(pixels: Array) -> Array:
    """Return pairs of nearly equal pictures, int64 (pairs, 2), the lower index first; equal ones are left out.

    Two pictures are nearly equal where the root mean square of their difference is at most ``NEAR_LEVELS`` grey levels,
    after a shift by at most one pixel. The time grows with n log n.

    Args:
        pixels: uint8 (images, channels, rows, columns); series have none.
    """
    from scipy.spatial import cKDTree

    if min(pixels.shape[2:]) < _LEAST_SIDE:
        return np.empty((0, 2), np.int64)
    features = np.concatenate([_features(pixels[block]) for block in chunks(len(pixels), pixels[0].size)])
    # A difference changes no magnitude, nor all together, by more than its own norm; a shift loses an edge besides.
    radius = 1.2 * NEAR_LEVELS
    _, neighbours = cKDTree(features).query(features, k=_NEIGHBOURS + 1, distance_upper_bound=radius)
    firsts, columns = np.nonzero(neighbours < len(pixels))
    pairs = np.stack([firsts, neighbours[firsts, columns]], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    near = [_are_near(pixels[pairs[block, 0]], pixels[pairs[block, 1]]) for block in chunks(len(pairs), pixels[0].size)]
    return pairs[np.concatenate(near)] if near else pairs


def twin_keys(digests: Array, pairs: Array) -> Array:
    """Return bytes (images,) that nearly equal pictures share: the least digest of all that pairs connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(digests)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    of_image = connected_components(graph, directed=False)[1]
    order = np.lexsort((digests, of_image))
    _, firsts = np.unique(of_image[order], return_index=True)
    keys: Array = digests[order[firsts]][of_image]
    return keys


def _features(images: Array) -> Array:
    """Return magnitudes of low frequencies of the mean over channels, in grey levels, float64 (images, frequencies)."""
    from scipy.fft import fft2

    grey = images.mean(1)
    rows, columns = (-(-side // _MOST_SIDE) for side in grey.shape[1:])
    height, width = grey.shape[1] // rows, grey.shape[2] // columns
    blocks = grey[:, : height * rows, : width * columns].reshape(len(grey), height, rows, width, columns)
    spectrum = np.abs(fft2(blocks.mean((2, 4)), norm="forward")) * 1.0
    frequencies = [(row, column) for row in range(5) for column in range(-4, 5) if (row, column) >= (0, 0)]
    frequencies.sort(key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    used = frequencies[:_FREQUENCIES]
    return np.stack([spectrum[:, row % height, column % width] for row, column in used], axis=1)


def _are_near(images: Array, others: Array) -> Array:
    """Return which pairs are nearly equal and not equal, bool (pairs,)."""
    rows, columns = images.shape[2:]
    least = np.full(len(images), np.inf)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            inside = images[:, :, max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
            moved = others[:, :, max(0, -down) : rows + min(0, -down), max(0, -right) : columns + min(0, -right)]
            squares = (inside.astype(np.int64) - moved) ** 2
            least = np.minimum(least, squares.mean((1, 2, 3)))
    contrast = images.reshape(len(images), -1).std(1)
    is_near = (least <= NEAR_LEVELS**2) & (contrast >= _LEAST_CONTRAST * NEAR_LEVELS)
    pairs: Array = is_near & (images != others).any((1, 2, 3))
    return pairs
