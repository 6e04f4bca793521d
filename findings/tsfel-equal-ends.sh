#!/usr/bin/env bash
# tsfel: a window whose first and last sample are equal counts as constant for three features of the ECDF.
#
# Versions: tsfel 0.2.0, NumPy 2.4.6, pandas 2.3.3, statsmodels 0.15.0.
# Expected: ECDF Percentile of a window is its 20th and 80th smallest of 100 samples, ECDF Percentile Count is 20 and
#   80, and ecdf_slope is finite, for every window with different samples. zero_cross counts changes from positive to
#   negative or vice versa, as documented.
# Observed: a window is taken for constant if np.sum(np.diff(signal)) is 0, and this sum is the last sample minus the
#   first. For such windows both percentiles and both counts are the first sample, and the slope is infinite. Of 1,000
#   windows of 100 whole numbers (a sine of amplitude 20 with noise of deviation 5) about 6 % have equal ends.
#   zero_cross counts a step onto 0 and the next step separately: 1 0 -1 has 2 crossings, and 1 0 1 0 1 has 4.
# Matters: sensors deliver whole numbers, so two default features, ECDF Percentile and ECDF Percentile Count, are wrong
#   for some windows, without a message. Leave them out, or add noise below half a step to the samples.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tsfel==0.2.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 \
  scikit-learn==1.9.1 statsmodels==0.15.0
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import tsfel

rng = np.random.default_rng(0)
times = np.arange(100_000)
windows = np.rint(20 * np.sin(2 * np.pi * times / 50) + rng.normal(0, 5, len(times))).astype(int).reshape(1_000, 100)
DEFAULT = tsfel.get_features_by_domain("statistical")["statistical"]
for name in ("ECDF Percentile", "ECDF Percentile Count"):
    print("default feature", name, DEFAULT[name]["parameters"])


def show(window):
    """Print and return the percentiles, counts and slope of a window."""
    percentiles, counts = tsfel.ecdf_percentile(window), tsfel.ecdf_percentile_count(window)
    slope = tsfel.ecdf_slope(window)
    print(f"  first {window[0]}, last {window[-1]}, smallest {window.min()}, largest {window.max()}: percentiles",
          *percentiles, "counts", *counts, f"slope {slope:.3f}")
    return percentiles, counts, slope


equal = windows[:, 0] == windows[:, -1]
print(f"{equal.mean():.1%} of the windows have equal ends")
assert 0.04 < equal.mean() < 0.08
for window in windows[equal]:
    assert tsfel.ecdf_percentile(window) == tsfel.ecdf_percentile_count(window) == (window[0], window[0])
    assert tsfel.ecdf_slope(window) == np.inf and len(set(window)) > 10
for window in windows[~equal]:
    ordered = np.sort(window)
    assert tsfel.ecdf_percentile(window) == (ordered[19], ordered[79])
    assert tsfel.ecdf_percentile_count(window) == (20, 80)
window = windows[equal][0].copy()
assert show(window)[2] == np.inf
window[-1] += 1
assert show(window)[1] == (20, 80)

for signal, crossings in (([1, 0, -1], 2), ([1, 0, 1, 0, 1], 4), ([1, -1, 1], 2), ([2, 1, 2], 0)):
    print("zero crossings of", *signal, "are", tsfel.zero_cross(np.array(signal)))
    assert tsfel.zero_cross(np.array(signal)) == crossings
PYTHON
