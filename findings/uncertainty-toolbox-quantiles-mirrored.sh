#!/usr/bin/env bash
# uncertainty-toolbox: the quantile recalibrator moves the quantiles of biased predictions the wrong way.
#
# Versions: uncertainty-toolbox 0.1.1, NumPy 2.4.6, SciPy 1.17.1, scikit-learn 1.9.1, matplotlib 3.11.2.
# Expected: get_proportion_lists with prop_type="quantile" returns the share of observations at or below each predicted
#   quantile, and the quantiles of get_quantile_recalibrator are right for new observations.
# Observed: the residual is prediction minus observation, so the share at or above the mirrored quantile is counted. For
#   predictions that are a deviation too high, 99 % of the observations are below the 0.9 quantile, and the list states
#   61 %. After the recalibration nearly all are below the 0.9 quantile, and 76 % below the 0.1 quantile (39 % before).
#   For deviations that are too small by half the recalibration is right, as mirroring then changes nothing, and so is
#   the mean absolute calibration error.
# Matters: predicted times or accuracies with a bias become worse by the recalibration, without a message. Exchange
#   y_pred and y_true when the recalibrator is created.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile uncertainty-toolbox==0.1.1 numpy==2.4.6 scipy==1.17.1 \
  scikit-learn==1.9.1 matplotlib==3.11.2
cd "$folder"
MPLBACKEND=agg OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import numpy as np
import uncertainty_toolbox as toolbox

SIZE = 4_000
rng = np.random.default_rng(0)


def sample(bias, factor):
    """Return predictions, their stated deviations of 1, and observations."""
    predictions = rng.normal(0, 3, SIZE)
    return predictions, np.ones(SIZE), predictions - bias + factor * rng.normal(0, 1, SIZE)


def below(name, bias, factor, exchange=False):
    """Print and return the shares of new observations below the 0.1 and 0.9 quantiles, before and after."""
    predictions, deviations, observations = sample(bias, factor)
    pair = (observations, deviations, predictions) if exchange else (predictions, deviations, observations)
    with contextlib.redirect_stdout(io.StringIO()):
        recalibrator = toolbox.recalibration.get_quantile_recalibrator(*pair)
    predictions, deviations, observations = sample(bias, factor)
    shares = []
    for level in (0.1, 0.9):
        plain = toolbox.metrics_calibration.get_quantile(predictions, deviations, level)
        recalibrated = recalibrator(predictions, deviations, level)
        shares.append([float(np.mean(observations <= quantile)) for quantile in (plain, recalibrated)])
    print(f"{name}:", ", ".join(f"quantile {level} {before:.1%} before, {after:.1%} after"
                                for level, (before, after) in zip((0.1, 0.9), shares, strict=True)))
    return shares


(low_before, low_after), (high_before, high_after) = below("a deviation too high", 1, 1)
assert 0.35 < low_before < 0.43 and 0.72 < low_after < 0.80
assert 0.98 < high_before < 0.995 and high_after > 0.998
for name, arguments in (("deviations too small by half", (0, 2)), ("a deviation too high, exchanged", (1, 1, True))):
    (_, low), (_, high) = below(name, *arguments)
    assert abs(low - 0.1) < 0.03 and abs(high - 0.9) < 0.03

predictions, deviations, observations = sample(1, 1)
levels, stated = toolbox.get_proportion_lists_vectorized(predictions, deviations, observations, prop_type="quantile")
column = int(np.abs(levels - 0.9).argmin())
quantile = toolbox.metrics_calibration.get_quantile(predictions, deviations, float(levels[column]))
real = np.mean(observations <= quantile)
print(f"quantile {levels[column]:.3f}: {real:.1%} of the observations are below, stated {stated[column]:.1%}")
assert real > 0.98 and abs(stated[column] - 0.61) < 0.04
PYTHON
