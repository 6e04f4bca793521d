#!/usr/bin/env bash
# jMetalPy: sign_test leaves the observed number of wins out of the p-value, so 8 wins of 10 are significant.
#
# Versions: jMetalPy 1.9.0, NumPy 2.2.6, pandas 2.2.3, SciPy 1.15.3, statsmodels 0.14.4.
# Expected: the p-value of the sign test is twice the probability of at least as many wins under the binomial
#   distribution, without ties, as computed by scipy.stats.binomtest. For 8 wins of 10 it is 0.109.
# Observed: it is twice the probability of more wins: 0.021 for 8 of 10, and exactly 0 for 10 of 10 or 5 of 5. Two equal
#   classifiers on 10 data sets differ at the level of 5 % in 10.9 % of the cases, on 20 data sets in 11.5 %. Ties count
#   as data sets: 6 wins and 4 ties give 0.344 in place of 0.031.
# Matters: comparisons of two optimisers or classifiers on 10 to 30 data sets use this test. Use binomtest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile jmetalpy==1.9.0 numpy==2.2.6 pandas==2.2.3 scipy==1.15.3 \
    statsmodels==0.14.4
cd "$folder"
MPLBACKEND=Agg OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from jmetal.lab.statistical_test.functions import sign_test
from scipy.stats import binom, binomtest


def p_values(wins, losses, ties=0):
    """Return the p-values of jMetalPy and SciPy."""
    scores = np.zeros((wins + losses + ties, 2))
    scores[:wins, 0] = 1
    scores[wins : wins + losses, 1] = 1
    return float(sign_test(scores).loc["p-value", "Results"]), float(binomtest(wins, wins + losses).pvalue)


for wins, losses in ((5, 0), (6, 4), (7, 3), (8, 2), (9, 1), (10, 0), (15, 5), (20, 0)):
    jmetal, exact = p_values(wins, losses)
    strict = 2 * binom.sf(wins, wins + losses, 0.5)
    print(f"{wins} wins, {losses} losses: jMetalPy {jmetal:.4f}, SciPy {exact:.4f}")
    assert np.isclose(jmetal, strict, atol=1e-12) and jmetal < exact, "the probability of more wins"
assert p_values(10, 0)[0] == p_values(5, 0)[0] == 0
assert p_values(8, 2)[0] < 0.05 < p_values(8, 2)[1]
jmetal, exact = p_values(6, 0, ties=4)
print(f"6 wins, 4 ties: jMetalPy {jmetal:.4f}, SciPy without the ties {exact:.4f}")
assert jmetal > 0.3 and exact < 0.05

for cases, share in ((10, 0.109), (20, 0.115)):
    chances = np.zeros(2)
    for wins in range(cases + 1):
        if 2 * wins == cases:
            continue  # no direction
        rejections = np.array(p_values(wins, cases - wins)) < 0.05
        chances += rejections * binom.pmf(wins, cases, 0.5)
    print(f"{cases} data sets, equal classifiers: rejected by jMetalPy {chances[0]:.3f}, by SciPy {chances[1]:.3f}")
    assert abs(chances[0] - share) < 0.001 and chances[1] < 0.05, chances
PYTHON
