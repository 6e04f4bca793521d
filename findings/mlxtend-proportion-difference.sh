#!/usr/bin/env bash
# mlxtend's proportion_difference returns a p-value that is large if the first proportion is clearly larger.
#
# Versions: mlxtend 0.25.0, statsmodels 0.15.0, SciPy 1.17.1.
# Expected: "the p-value for a difference of proportions test": 90 and 80 of 100 give 0.05, in either order, as in
#   statsmodels.
# Observed: the function returns the normal distribution function of z, which is the p-value of one alternative (the
#   first proportion is smaller). 90 against 80 of 100 gives 0.977, 80 against 90 gives 0.023, and equal proportions
#   give 0.5. Of 100 pairs with 95 % and 90 % of 1,000, none is significant at 5 %, and all are in the other order.
# Matters: the accuracy of a better network is usually the first argument, so a clear improvement has a p-value near 1,
#   and a decline looks twice as significant. Compute 2 * scipy.stats.norm.sf(abs(z)) from the returned z.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mlxtend==0.25.0 statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from mlxtend.evaluate import proportion_difference
from scipy.stats import norm
from statsmodels.stats.proportion import test_proportions_2indep

values = {}
for first, second in ((90, 80), (80, 90), (85, 85)):
    z, p = proportion_difference(first / 100, second / 100, 100)
    reference = test_proportions_2indep(first, 100, second, 100, method="wald").pvalue
    values[first] = p
    print(f"{first} against {second} of 100: z {z:.2f}, p {p:.3f}; statsmodels (Wald): {reference:.3f}", end="; ")
    print(f"from z: {2 * norm.sf(abs(z)):.3f}")
    assert np.isclose(2 * norm.sf(abs(z)), reference)
assert np.isclose(values[90], norm.cdf(2))
assert np.isclose(values[80], norm.cdf(-2))
assert values[85] == 0.5

rng = np.random.default_rng(0)
better = rng.binomial(1000, 0.95, 100) / 1000
worse = rng.binomial(1000, 0.90, 100) / 1000
significant = sum(proportion_difference(x, y, 1000)[1] < 0.05 for x, y in zip(better, worse))
swapped = sum(proportion_difference(y, x, 1000)[1] < 0.05 for x, y in zip(better, worse))
print(f"95 % against 90 % of 1,000, 100 pairs: {significant} significant; in the other order: {swapped}")
assert significant == 0, significant
assert swapped > 90, swapped
PYTHON
