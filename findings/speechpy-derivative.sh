#!/usr/bin/env bash
# speechpy: derivatives lack the subtraction, pre-emphasis takes the last sample into the first, a frame is missing.
#
# Versions: speechpy 2.4, NumPy 1.26.4, SciPy 1.15.3.
# Expected: the derivative of constant features is 0, and of features that rise by 1 per frame it is 1. preemphasis
#   leaves the first sample, as it has no predecessor. A second at 16 kHz has 99 frames of 20 ms every 10 ms.
# Observed: derivative_extraction contains the second half of the difference as a separate statement, so the
#   derivative of a constant 5 is 1.5, three tenths of the number. It runs along the coefficients, not along time.
#   In extract_derivative_feature channel 1 is therefore a sum of the next two coefficients of the same frame, and
#   channel 2 is a sum of four.
#   preemphasis subtracts 0.98 times the last sample of the recording from the first. mfcc returns 98 frames, so the
#   last 10 ms are not used; a recording of exactly one frame has none.
# Matters: the second and third channel for keyword spotting contain no change over time, and firmware that computes
#   real differences gets other inputs. Compute the differences with numpy along axis 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile speechpy==2.4 numpy==1.26.4 scipy==1.15.3
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import speechpy
from speechpy import feature, processing


def exact(features):
    """Return the derivative along time by the formula of the documentation, with repeated ends."""
    padded = np.pad(features, ((2, 2), (0, 0)), "edge")
    return sum(k * (padded[2 + k : 2 + k + len(features)] - padded[2 - k : 2 - k + len(features)]) for k in (1, 2)) / 10


def middle(values):
    return values[len(values) // 2, values.shape[1] // 2]


frames = np.arange(20.0)[:, None]
for name, features, slope in (("constant 5", np.full((20, 13), 5.0), 0), ("rising by 1", frames + np.zeros(13), 1)):
    answer = processing.derivative_extraction(features, DeltaWindows=2)
    print(f"{name}: static {middle(features)}, derivative {middle(answer):.2f}, exact {middle(exact(features)):.2f}")
    assert np.isclose(middle(answer), 0.3 * middle(features)) and np.isclose(middle(exact(features)), slope)

rng = np.random.default_rng(0)
signal = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * np.linspace(0.1, 1, 16_000)
signal += rng.normal(0, 0.01, len(signal))
static = speechpy.feature.mfcc(signal, sampling_frequency=16_000)
cube = feature.extract_derivative_feature(static)
correct = np.corrcoef(cube[2:-2, :, 1].ravel(), exact(static)[2:-2].ravel())[0, 1]
print(f"channel 1: correlation with the derivative along time {correct:.3f}")
assert np.isclose(cube[5, 5, 1], (static[5, 6] + 2 * static[5, 7]) / 10) and abs(correct) < 0.3

emphasised = processing.preemphasis(np.array([1.0, 2, 3, 100]), cof=0.98)
print("pre-emphasis of 1 2 3 100:", *emphasised)
assert np.allclose(emphasised, [1 - 98, 2 - 0.98, 3 - 1.96, 100 - 2.94])

for samples, count in ((16_000, 98), (16_160, 99), (320, 0), (480, 1)):
    shape = speechpy.feature.mfe(rng.normal(size=samples), 16_000)[0].shape
    print(f"{samples} samples: {shape[0]} frames of 320 every 160, complete frames {(samples - 320) // 160 + 1}")
    assert shape[0] == count
PYTHON
