#!/usr/bin/env bash
# betacal: calibration with parameters="ab" can map the largest confidences to the smallest probabilities.
#
# Versions: betacal 1.1.0, scikit-learn 1.9.1.
# Expected: a map of beta calibration never falls (Kull et al. 2017 require a >= 0 and b >= 0), so the order of
#   the confidences stays, and the area under the ROC curve too. With "abm" a term with a negative coefficient is left
#   out of the fit.
# Observed: the map with parameters="ab" keeps negative coefficients. If 10 % of the samples are positive and the
#   classifier was trained with balanced classes, b is below -2: a confidence of 0.9 becomes 0.6, and 0.999 becomes 0.
# Matters: the most certain positives of a detector become the most certain negatives, without a message. Use "abm" or
#   "am", or check that calibrator_.map_ has no negative entry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile betacal==1.1.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from betacal import BetaCalibration

POINTS = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
SAMPLES = 1_000


def study(parameters, share, seed):
    """Return the coefficients of the map, and the probabilities at the points."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(SAMPLES) < share).astype(int)
    confidences = np.where(labels, rng.beta(4, 2, SAMPLES), rng.beta(2, 4, SAMPLES))
    model = BetaCalibration(parameters=parameters)
    model.fit(confidences.reshape(-1, 1), labels)
    return model.calibrator_.map_, model.predict(POINTS)


print("confidences", POINTS)
for parameters in ("abm", "am", "ab"):
    for share in (0.5, 0.1):
        falls = 0
        for seed in range(10):
            coefficients, probabilities = study(parameters, share, seed)
            falls += bool(np.any(np.diff(probabilities) < 0))
        print(f"{parameters}, {share:.0%} positives: falls for {falls} of 10 seeds;", end=" ")
        print(f"last a and b {np.round(coefficients[:2], 2)}, probabilities {np.round(probabilities, 3)}")
        assert falls == (10 if parameters == "ab" and share == 0.1 else 0), falls
assert coefficients[1] < -2, coefficients
assert probabilities[-1] < 0.01 < 0.3 < probabilities[-2], probabilities
PYTHON
