"""Detection of near-duplicates: pictures that were saved again, differ by a few grey levels or are shifted by a pixel.

Candidate pairs are nearest neighbours by the magnitudes of low frequencies, which are invariant to shifts. Pictures of
low contrast may be near to each other without being copies, but their classes then differ. A second comparison finds
changed copies of the same class: mirrored, turned by quarters, or of another brightness or contrast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from harness.data.user.divisions import components_of, least_keys
from harness.data.user.values import Array, chunks

_NEAR_LEVELS = 5  # grey levels of 256, largest root mean square of a difference; JPEG of quality 85 gives 3.4 on MNIST
# Shares of pairs with different classes, relative to all pairs of pictures (diary 168).
_COPIES_SHARE = 0.05  # largest among copies, whose labels may be wrong
_SIMILAR_SHARE = 0.25  # smallest among pairs that are no copies
_NO_COPIES_SHARE = 0.5  # smallest among all near pairs if none are copies
_MAX_WRONG_LABELS = 10  # near pairs with different classes up to which all near pairs count as copies
_MIN_PAIRS = 50  # pairs from which a share is computed
_MIN_SIDE = 8  # pixels; smaller pictures and series are similar without being copies
_MIN_CONTRAST = 3  # times _NEAR_LEVELS, least standard deviation of a channel; flatter pictures are all similar
_TREE_FREQUENCIES = 24
_HIGHEST_FREQUENCY = 8  # periods per side of a picture
_NEIGHBOURS = 8  # candidates per picture
_MAX_NEIGHBOURS = 64
_ROWS = 512  # pictures per query of the k-d tree, to limit memory
_MAX_GAIN = 1.5  # ratio of the contrasts of changed copies; brightness factors 0.8 and 1.2 differ by 1.5
_MAX_SIDE = 64  # pixels; larger pictures are averaged over blocks


class NearKeys(NamedTuple):
    """Keys of near-duplicates.

    Attributes:
        keys: Key per picture, bytes (images,): the least digest of the connected component of near-duplicates.
        levels: Largest root mean square of the difference of a pair, in grey levels of 256 (``_copy_levels``).
        dropped_pairs: Pairs within ``_NEAR_LEVELS`` with a larger difference.
    """

    keys: Array
    levels: int
    dropped_pairs: int


def near_keys(pixels: Array, digests: Array, labels: Array) -> NearKeys:
    """Return a key per picture, which near-duplicates share."""
    firsts, of_image = np.unique(digests, return_index=True, return_inverse=True)[1:]
    class_shares = np.unique(labels, return_counts=True)[1] / len(labels)
    chance = 1 - float((class_shares**2).sum())
    pairs, differences = _near_pairs(pixels, firsts)
    levels = _copy_levels(differences, _have_other_class(pairs, labels), chance)
    is_near = differences <= levels
    changed_pairs, changed_differences = _near_pairs(pixels, firsts, unchanged_pairs=pairs)
    has_other_class = _have_other_class(changed_pairs, labels)
    changed_levels = min(levels, _copy_levels(changed_differences, has_other_class, chance))
    # With 0 levels, no changed picture is a copy, even if the difference is 0.
    is_changed_copy = (changed_levels > 0) & (changed_differences <= changed_levels) & ~has_other_class
    equal_pairs = np.stack([firsts[of_image], np.arange(len(digests))], axis=1)
    edges = np.concatenate([pairs[is_near], changed_pairs[is_changed_copy], equal_pairs])
    components = components_of(edges[:, 0], edges[:, 1], len(digests))
    return NearKeys(least_keys(digests, components)[components], levels, int((~is_near).sum()))


def _have_other_class(pairs: Array, labels: Array) -> Array:
    return labels[pairs[:, 0]] != labels[pairs[:, 1]]  # type: ignore[no-any-return]


def _copy_levels(differences: Array, has_other_class: Array, chance: float) -> int:
    """Return the largest difference of copies, in grey levels: at most ``_NEAR_LEVELS``, 0 if no pairs are copies.

    The level is lowered to L if few pairs within L have different classes (``_COPIES_SHARE``), but many of the other
    pairs (``_SIMILAR_SHARE``). ``chance`` is the share of different classes among all pairs of pictures.
    """
    if has_other_class.sum() <= _MAX_WRONG_LABELS:
        return _NEAR_LEVELS
    for levels in range(_NEAR_LEVELS - 1, 0, -1):
        is_near = differences <= levels
        if min(is_near.sum(), (~is_near).sum()) < _MIN_PAIRS:
            continue
        is_copy = has_other_class[is_near].mean() <= _COPIES_SHARE * chance
        if is_copy and has_other_class[~is_near].mean() >= _SIMILAR_SHARE * chance:
            return levels
    return 0 if has_other_class.mean() >= _NO_COPIES_SHARE * chance else _NEAR_LEVELS


def _near_pairs(pixels: Array, indices: Array, *, unchanged_pairs: Array | None = None) -> tuple[Array, Array]:
    """Return pairs of similar pictures, int64 (pairs, 2), the lower index first, and their differences, (pairs,).

    The difference is the least root mean square over shifts by at most a pixel along each axis; similar pictures differ
    by at most ``_NEAR_LEVELS`` grey levels. Pairs among more than ``_MAX_NEIGHBOURS`` similar pictures may be missed.
    Series and pictures without contrast have no near-duplicates.

    Args:
        indices: Indices of the pictures to compare, without two equal pictures.
        unchanged_pairs: Pairs to leave out, while all others are compared after the best change of brightness and
            contrast, mirrored and turned, but not shifted. None compares pictures without such changes.
    """
    from scipy.spatial import cKDTree

    changed = unchanged_pairs is not None
    if min(pixels.shape[2:]) < _MIN_SIDE:
        return np.empty((0, 2), np.int64), np.empty(0)
    index_blocks = [indices[block] for block in chunks(len(indices), pixels[0].size)]
    deviations = np.concatenate([pixels[block].std((2, 3)) for block in index_blocks])
    contrast = np.sqrt((deviations**2).mean(1)) if changed else deviations.max(1)
    has_contrast = contrast >= _MIN_CONTRAST * _NEAR_LEVELS
    picture_indices = indices[has_contrast]
    features = np.concatenate([_features(pixels[block], changed=changed) for block in index_blocks])[has_contrast]
    # Magnitudes differ by at most the norm of the difference (Parseval); the factor allows for edges lost in a shift.
    radii = np.full(len(features), 1.2 * _NEAR_LEVELS)
    compare = _differences
    if changed:
        radii = _NEAR_LEVELS / np.concatenate([pixels[block].std((1, 2, 3)) for block in index_blocks])[has_contrast]
        compare = _changed_differences
    tree = cKDTree(features[:, :_TREE_FREQUENCIES]) if len(picture_indices) else None
    pairs = [np.empty((0, 2), np.int64)]
    differences = [np.empty(0)]
    # The rows of a query have similar radii.
    rows_to_compare = np.argsort(radii, kind="stable")
    for neighbour_count in (_NEIGHBOURS, _MAX_NEIGHBOURS):
        crowded_rows = [np.empty(0, np.int64)]
        for start in range(0, len(rows_to_compare), _ROWS):
            rows = rows_to_compare[start : start + _ROWS]
            near_rows, is_crowded = _near_rows(tree, features, radii, rows, neighbour_count)
            near_pictures = picture_indices[near_rows]
            if unchanged_pairs is not None:
                is_known = np.isin(near_pictures @ [len(pixels), 1], unchanged_pairs @ [len(pixels), 1])
                near_pictures = near_pictures[~is_known]
            for block in chunks(len(near_pictures), pixels[0].size):
                candidates = near_pictures[block]
                pair_differences = compare(*pixels[candidates.T])
                pairs.append(candidates[pair_differences <= _NEAR_LEVELS])
                differences.append(pair_differences[pair_differences <= _NEAR_LEVELS])
            crowded_rows.append(rows[is_crowded])
        # Only for these rows the first pass may have missed neighbours.
        rows_to_compare = np.concatenate(crowded_rows)
    distinct, places = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0, return_index=True)
    return distinct, np.concatenate(differences)[places]


def _near_rows(tree: Any, features: Array, radii: Array, rows: Array, count: int) -> tuple[Array, Array]:
    # Missing neighbours have the number of rows.
    neighbours = tree.query(features[rows, :_TREE_FREQUENCIES], k=count + 1, distance_upper_bound=radii[rows].max())[1]
    positions, columns = np.nonzero(neighbours < len(features))
    pairs = np.stack([rows[positions], neighbours[positions, columns]], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    distances = [
        ((features[pairs[block, 0]] - features[pairs[block, 1]]) ** 2).sum(1)
        for block in chunks(len(pairs), features.shape[1])
    ]
    close: Array = pairs[np.concatenate(distances) <= radii[pairs].min(1) ** 2] if distances else pairs
    return close, neighbours[:, -1] < len(features)


def _features(images: Array, *, changed: bool) -> Array:
    """Return low-frequency magnitudes of the mean over channels, in grey levels, float32 (images, frequencies).

    The frequencies are in ascending order of their distance from zero. If ``changed``, the magnitudes are divided by
    the standard deviation of the picture, without the frequency zero, and sorted among the frequencies that mirroring
    and turning exchange.
    """
    from scipy.fft import fft2

    grey = images.mean(1)
    # ``height`` and ``width`` count blocks.
    rows, columns = (-(-side // _MAX_SIDE) for side in grey.shape[1:])
    height = grey.shape[1] // rows
    width = grey.shape[2] // columns
    blocks = grey[:, : height * rows, : width * columns].reshape(len(grey), height, rows, width, columns)
    spectrum = np.abs(fft2(blocks.mean((2, 4)), norm="forward"))
    # The transform of real numbers is symmetric. The Nyquist frequencies are left out.
    highest_row = min(_HIGHEST_FREQUENCY, (height - 1) // 2)
    highest_column = min(_HIGHEST_FREQUENCY, (width - 1) // 2)
    plane = [(row, column) for row in range(highest_row + 1) for column in range(-highest_column, highest_column + 1)]
    half = sorted((pair for pair in plane if pair >= (0, 0)), key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))
    magnitudes = np.stack([spectrum[:, row, column] for row, column in half], axis=1).astype(np.float32)
    if not changed:
        return magnitudes
    # Mirroring changes the sign of a frequency; a quarter turn exchanges row and column.
    orbits: dict[tuple[int, ...], list[int]] = {}
    for index, (row, column) in enumerate(half):
        orbit = (row, abs(column))
        orbits.setdefault(tuple(sorted(orbit)) if height == width else orbit, []).append(index)
    for indices in orbits.values():
        magnitudes[:, indices] = np.sort(magnitudes[:, indices], axis=1)
    deviations = images.std((1, 2, 3))
    return magnitudes[:, 1:] / np.where(deviations, deviations, 1)[:, None].astype(np.float32)


def _differences(images: Array, partners: Array) -> Array:
    rows, columns = images.shape[2:]
    least_squares = np.full(len(images), np.inf)  # least mean square over the shifts
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            inside = images[:, :, max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
            views = partners[:, :, max(0, -down) : rows + min(0, -down), max(0, -right) : columns + min(0, -right)]
            squares = (inside.astype(np.int64) - views) ** 2
            least_squares = np.minimum(least_squares, squares.mean((1, 2, 3)))
    differences: Array = np.sqrt(least_squares)
    return differences


def _changed_differences(images: Array, partners: Array) -> Array:
    """Return the differences of changed copies, (pairs,).

    The difference is the least residual, over mirror images and quarter turns, of the regression of the picture with
    the higher contrast on the other; infinite without a positive correlation, or if the contrasts differ by more than
    ``_MAX_GAIN``.
    """
    first, second = (each - each.mean((1, 2, 3), np.float32, keepdims=True) for each in (images, partners))
    turns = range(4) if images.shape[2] == images.shape[3] else (0, 2)
    turned = [np.rot90(second, turn, (2, 3)) for turn in turns]
    orientations = [*turned, *(each[..., ::-1] for each in turned)]
    covariance = np.max([(first * each).mean((1, 2, 3)) for each in orientations], axis=0)
    variances = np.stack([(each**2).mean((1, 2, 3)) for each in (first, second)])
    is_copy = (covariance > 0) & (variances.max(0) <= _MAX_GAIN**2 * variances.min(0))
    squares = variances.max(0) - covariance**2 / np.where(is_copy, variances.min(0), 1)
    differences: Array = np.sqrt(np.where(is_copy, squares.clip(0), np.inf))
    return differences
