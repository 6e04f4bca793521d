#!/usr/bin/env bash
# keras: RandomErasing(factor=1.0) erases half of the images, and RandomPosterization(factor=8) keeps 1 to 7 bits.
#
# Versions: keras 3.15.1 with JAX 0.10.2.
# Expected: the documentation of RandomErasing states that factor=1.0 always erases, and also that a single number is
#   the end of a range, so the default of 1.0 is ambiguous. The factor of RandomPosterization is documented as the
#   number of bits to keep, so 8 leaves images with whole numbers as they are, and 4 leaves 16 levels.
# Observed: a single number is the end of a range. RandomErasing draws the probability of each image between 0 and the
#   number, so the default of 1.0 erases every second image. RandomPosterization draws the bits from 1 to below the
#   number: 8 gives 2 to 128 levels, and 4 gives 2 to 8. A pair of equal numbers works as expected.
# Matters: a search over the strength of augmentation sees half of the erasing, and the mildest posterisation is as
#   strong as 1 bit for every seventh image. Pass pairs: factor=(1.0, 1.0), factor=(8, 8).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np

IMAGES = 1_000
ramps = np.tile(np.arange(256, dtype="float32").reshape(1, 16, 16, 1), (IMAGES, 1, 1, 1))
plain = np.full((IMAGES, 16, 16, 1), 200, dtype="float32")


def erased(factor):
    """Return the share of images with erased pixels."""
    layer = keras.layers.RandomErasing(factor=factor, scale=(0.2, 0.3), fill_value=0.0, seed=0)
    return float(np.mean(np.asarray(layer(plain, training=True)).min(axis=(1, 2, 3)) == 0))


def levels(factor):
    """Return the numbers of levels per image."""
    layer = keras.layers.RandomPosterization(factor=factor, seed=0)
    images = np.asarray(layer(ramps, training=True)).reshape(IMAGES, -1)
    return sorted({len(np.unique(image)) for image in images})


for factor, low, high in ((1.0, 0.45, 0.55), (0.5, 0.2, 0.3), ((1.0, 1.0), 1, 1), ((0.5, 0.5), 0.45, 0.55)):
    share = erased(factor)
    print(f"RandomErasing({factor}): {share:.1%} of {IMAGES} images are erased")
    assert low <= share <= high
for factor, expected in ((8, [2, 4, 8, 16, 32, 64, 128]), (4, [2, 4, 8]), ((8, 8), [256]), ((4, 4), [16])):
    counts = levels(factor)
    print(f"RandomPosterization({factor}): {counts} levels")
    assert counts == expected
PYTHON
