#!/usr/bin/env bash
# batchgenerators: random crops never contain the last row and column.
#
# Versions: batchgenerators 0.25.5, NumPy 2.4.6, SciPy 1.17.1, scikit-image 0.26.0, pandas 2.3.3.
# Expected: RandomCropTransform(crop_size=24) draws all 25 positions of a crop in 28x28 images, which contain the first
#   and the last row and column alike.
# Observed: the position is np.random.randint(margin, size - crop - margin), which excludes the end: of 2,000 images no
#   crop contains the last row or column, and the mean position is 1.5 in place of 2 of 0 to 4. With crop_size=27 every
#   crop begins at 0, so that it is a fixed crop of the upper left corner. A crop of the whole image is right.
# Matters: padding by 2 and random cropping moves images up and left in the mean, and networks never see the lower
#   right edge; a crop one smaller than the image augments nothing. Pad a row and a column at the end first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 \
  pandas==2.3.3
"$folder/venv/bin/pip" install --quiet --no-compile --no-deps batchgenerators==0.25.5
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import collections

import numpy as np
from batchgenerators.transforms.crop_and_pad_transforms import RandomCropTransform

IMAGES, SIDE = 2_000, 28
rows = np.tile(np.arange(SIDE, dtype=np.float32)[:, None], (IMAGES, 1, 1, SIDE))


def positions(crop_size, padding=0, margin=0):
    """Return how often crops of images, which hold the numbers of their rows, begin at each row."""
    np.random.seed(0)
    images = np.pad(rows, ((0, 0), (0, 0), (0, padding), (0, padding)), constant_values=-1)
    crops = RandomCropTransform(crop_size=crop_size, margins=(margin, margin))(data=images)["data"]
    counts = collections.Counter(crops[:, 0, 0, 0].astype(int).tolist())
    return dict(sorted(counts.items()))


for crop_size, padding, margin, expected in ((24, 0, 0, [0, 1, 2, 3]), (27, 0, 0, [0]), (26, 0, 0, [0, 1]),
                                             (20, 0, 2, [2, 3, 4, 5]), (28, 0, 0, [0]), (24, 1, 0, [0, 1, 2, 3, 4])):
    counts = positions(crop_size, padding, margin)
    print(f"crop {crop_size}, padding at the end {padding}, margin {margin}: positions", counts,
          f"of {margin} to {SIDE - crop_size - margin}")
    assert list(counts) == expected
PYTHON
