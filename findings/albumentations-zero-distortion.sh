#!/usr/bin/env bash
# albumentations: OpticalDistortion moves every image by half a pixel, GridDistortion blanks the last row and column.
#
# Versions: albumentations 2.0.8, opencv-python-headless 5.0.0.93.
# Expected: a distortion of strength 0 leaves the image as it is, as ElasticTransform, Perspective, Affine and
#   OpticalDistortion with mode "fisheye" do; over random strengths from -0.05 to 0.05 the mean shift is 0.
# Observed: OpticalDistortion in its mode "camera", the default, puts the centre at 14.0 of 28 columns, so at strength 0
#   each pixel is the mean of four neighbours, shifted by half a pixel up and left; so is the mean over 300 random
#   strengths. GridDistortion at strength 0 enlarges each of its 5x5 cells by 5/4: two rows on both sides of a border
#   between cells are equal, and the last row and the last column are outside of the image (0).
# Matters: a half pixel is a sixth of a stroke of a 28x28 digit. Training images are blurred and moved to one side, test
#   images are not, and a strength that is scheduled down to 0 does not end at the clean image. Pass mode="fisheye",
#   and use ElasticTransform or GridElasticDeform in place of GridDistortion.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile numpy==2.4.6 albumentations==2.0.8 \
  opencv-python-headless==5.0.0.93 scipy==1.17.1
cd "$folder"
NO_ALBUMENTATIONS_UPDATE=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import albumentations
import numpy as np
import scipy.ndimage

SIZE = 28
columns = np.tile(np.arange(SIZE, dtype=np.float32), (SIZE, 1))  # each pixel holds its position
zero = (0, 0)
layers = {
    "ElasticTransform": albumentations.ElasticTransform(alpha=0, p=1),
    "Perspective": albumentations.Perspective(scale=zero, p=1),
    "Affine": albumentations.Affine(rotate=zero, p=1),
    "OpticalDistortion, fisheye": albumentations.OpticalDistortion(zero, mode="fisheye", p=1),
    "OpticalDistortion, camera": albumentations.OpticalDistortion(zero, mode="camera", p=1),
    "GridDistortion": albumentations.GridDistortion(distort_limit=zero, p=1),
}
changed = {}
for name, layer in layers.items():
    answer = layer(image=columns)["image"]
    changed[name] = not np.allclose(answer, columns, atol=1e-3)
    print(f"{name:27} columns 0 to 12 and 27: {answer[9, :13].tolist()} {answer[9, -1]}")
assert [name for name, is_changed in changed.items() if is_changed] == ["OpticalDistortion, camera", "GridDistortion"]

noise = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32)
camera, grid = (layers[name](image=noise)["image"] for name in list(layers)[-2:])
shifted = scipy.ndimage.shift(noise, -0.5, order=1)
print("camera, largest difference to a shift by half a pixel:", np.abs(camera - shifted)[:-1, :-1].max())
assert np.abs(camera - shifted)[:-1, :-1].max() < 1e-3
assert not grid[-1].any()
assert not grid[:, -1].any()
assert all(np.array_equal(grid[row - 1], grid[row]) for row in (5, 10, 15, 20, 25))

for mode, expected in (("fisheye", 0.0), ("camera", 0.5)):
    layer = albumentations.Compose([albumentations.OpticalDistortion((-0.05, 0.05), mode=mode, p=1)], seed=0)
    shift = np.mean([(layer(image=columns)["image"] - columns)[4:-4, 4:-4] for _ in range(300)])
    print(f"{mode}: mean shift over 300 random strengths {shift:.3f} pixels")
    assert abs(shift - expected) < 0.01, shift
PYTHON
