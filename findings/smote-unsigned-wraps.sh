#!/usr/bin/env bash
# imbalanced-learn: SMOTE and ADASYN of uint8 images make pixels that lie in neither of the two mixed images.
#
# Versions: imbalanced-learn 0.14.2, scikit-learn 1.9.1, NumPy 2.4.6, SciPy 1.17.1.
# Expected: each new image is a mean of two images of the class, so pixels lie between the pixels of both images, up to
#   rounding. The type of the pixels changes the result by less than 1.
# Observed: the difference of two images is computed as uint8 and wraps around if the second pixel is smaller: the
#   difference from 200 to 100 is 156, and mixtures are 10, 164, 143, 83. With the same random_state a quarter of the
#   new pixels differ by more than 1 from the result for floats, by up to 255, in 99 % of the new images. uint16 too;
#   int16 and float32 are right. SMOTE, BorderlineSMOTE and ADASYN behave alike, without a message.
# Matters: images are usually stored as uint8, and the rare class is then trained on noise, which a glance at the class
#   sizes does not show. Convert to float32 or int16 before fit_resample.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile imbalanced-learn==0.14.2 scikit-learn==1.9.1 numpy==2.4.6 \
  scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import sklearn.datasets
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

warnings.simplefilter("error", RuntimeWarning)
images, digits = sklearn.datasets.load_digits(return_X_y=True)
images = images * 15  # 0 to 240
labels = (digits == 8).astype(int)
rows = np.concatenate([np.flatnonzero(labels == 0)[:900], np.flatnonzero(labels == 1)[:20]])
images, labels = images[rows], labels[rows]

for sampler in (SMOTE, BorderlineSMOTE, ADASYN):
    exact, _ = sampler(random_state=0).fit_resample(images, labels)
    exact = exact[len(images) :]
    for dtype in ("float32", "int16", "uint16", "uint8"):
        result, _ = sampler(random_state=0).fit_resample(images.astype(dtype), labels)
        difference = np.abs(result[len(images) :].astype(float) - exact)
        pixels = (difference > 1).mean()
        new_images = (difference > 1).any(axis=1).mean()
        print(
            f"{sampler.__name__} {dtype}, {len(exact)} new images: {pixels:.3f} of the pixels, in {new_images:.3f}",
            f"of the images, differ by more than 1; the largest difference is {difference.max():.1f}",
        )
        if dtype.startswith("u"):
            assert pixels > 0.15 and new_images > 0.95 and difference.max() > 200
        else:
            assert pixels == 0

pair = np.array([[200], [100]], dtype=np.uint8)
crowd = np.full((10, 1), 255, dtype=np.uint8)
mixtures, _ = SMOTE(k_neighbors=1, random_state=0).fit_resample(np.concatenate([pair, crowd]), [1] * 2 + [0] * 10)
mixtures = mixtures[12:, 0]
print("mixtures of 200 and 100:", mixtures.tolist())
assert ((mixtures < 100) | (mixtures > 200)).any()
PYTHON
