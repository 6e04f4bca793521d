#!/usr/bin/env bash
# tslearn: PAA, SAX and 1d-SAX do not read the end of a series whose length is not a multiple of n_segments.
#
# Versions: tslearn 0.10.0.
# Expected: n_segments segments cover the series; if the length cannot be divided, segments differ by one point.
# Observed: each segment has length // n_segments points, and the rest is ignored without a message: of 150 points 75
#   segments read all, 76 segments read 76, 100 segments read 100. Two series that are equal in the first 80 points
#   have distance 0 for 76 to 80 segments, although the other 70 points differ by five standard deviations.
# Matters: the end of a gesture or a heartbeat is missing from the features, and a search over n_segments compares
#   different parts of the series: more segments may read half as much. Use divisors of the length, or resample the
#   series to a multiple of n_segments.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tslearn==0.10.0 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tslearn.piecewise import (
    OneD_SymbolicAggregateApproximation,
    PiecewiseAggregateApproximation,
    SymbolicAggregateApproximation,
)

LENGTH = 150
rng = np.random.default_rng(0)
first = rng.normal(size=(LENGTH, 1))
second = np.concatenate([first[:80], rng.normal(5, size=(70, 1))])

impulses = np.eye(LENGTH)[:, :, None]  # series k is 1 at point k and 0 elsewhere
for segments in (50, 70, 75, 76, 80, 100, 149):
    features = PiecewiseAggregateApproximation(segments).fit_transform(impulses)
    read = int(np.any(features != 0, axis=(1, 2)).sum())
    models = (
        PiecewiseAggregateApproximation(segments),
        SymbolicAggregateApproximation(segments, 8),
        OneD_SymbolicAggregateApproximation(segments, 8, 8),
    )
    distances = [float(model.fit([first, second]).distance(first, second)) for model in models]
    print(f"{segments} segments: {read} of {LENGTH} points read; distances of PAA, SAX, 1d-SAX:", end=" ")
    print(np.round(distances, 2).tolist())
    assert read == LENGTH // segments * segments, read
    assert all(distance == 0 if 76 <= segments <= 80 else distance > 1 for distance in distances), distances
PYTHON
