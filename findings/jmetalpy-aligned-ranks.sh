#!/usr/bin/env bash
# jMetalPy: the post-hoc test of aligned ranks rejects a third of the pairs of equal classifiers.
#
# Versions: jMetalPy 1.9.0, NumPy 2.2.6, pandas 2.2.3, SciPy 1.15.3, statsmodels 0.14.4.
# Expected: friedman_aligned_ph_test compares mean ranks of all k * n aligned observations with the standard error
#   sqrt(k * (k * n + 1) / 6) of ranks from 1 to k * n, so about 5 % of the pairs of equal classifiers have p < 0.05, as
#   with friedman_ph_test. Adjusted p-values of Hochberg are at most Holm's.
# Observed: the standard error is sqrt(k * (n + 1) / 6), smaller by nearly sqrt(k): of 200 experiments with 4 equal
#   classifiers on 20 data sets 34.5 % have p < 0.05 for the first pair, with 10 classifiers 57 %, with friedman_ph_test
#   3.5 and 6 %.
#   Hochberg takes the largest product of rank and p-value in place of the smallest: p-values of 0.001, 0.5 and 0.6
#   become 1.0, 1.0 and 0.6 in place of 0.003, 0.6 and 0.6.
# Matters: aligned ranks are the usual choice for few classifiers, where each rank carries little. Multiply the standard
#   error by hand, or use friedman_ph_test with "Holm".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile jmetalpy==1.9.0 numpy==2.2.6 pandas==2.2.3 scipy==1.15.3 \
    statsmodels==0.14.4
cd "$folder"
MPLBACKEND=Agg OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from jmetal.lab.statistical_test.apv_procedures import hochberg, holm
from jmetal.lab.statistical_test.functions import friedman_aligned_ph_test, friedman_ph_test
from scipy.stats import norm, rankdata
from statsmodels.stats.multitest import multipletests

CASES = 20  # data sets
EXPERIMENTS = 200

for count in (4, 10):
    shares = np.zeros(3)
    for seed in range(EXPERIMENTS):
        scores = np.random.default_rng(seed).normal(size=(CASES, count))
        z_values, p_values = friedman_aligned_ph_test(scores)
        ranks = rankdata(scores - scores.mean(axis=1, keepdims=True)).reshape(scores.shape).mean(axis=0)
        z_exact = abs(ranks[0] - ranks[1]) / np.sqrt(count * (count * CASES + 1) / 6)
        ratio = np.sqrt((count * CASES + 1) / (CASES + 1))
        assert np.isclose(z_values.iloc[0, 1], ratio * z_exact)
        p_exact = 2 * norm.sf(z_exact)
        shares += np.array([p_values.iloc[0, 1], p_exact, friedman_ph_test(scores)[1].iloc[0, 1]]) < 0.05
    shares /= EXPERIMENTS
    print(f"{count} equal classifiers, p < 0.05 for the first pair: aligned ranks {shares[0]:.3f},", end=" ")
    print(f"with ranks up to {count * CASES} {shares[1]:.3f}, Friedman ranks {shares[2]:.3f}")
    assert shares[0] > 0.3 and max(shares[1:]) < 0.12, shares

p_values = np.array([0.001, 0.5, 0.6])
table = np.concatenate([[1.0], p_values])[np.newaxis]  # the control method first
for name, procedure, method in (("Holm", holm, "holm"), ("Hochberg", hochberg, "simes-hochberg")):
    jmetal = procedure(table, control=0).to_numpy().ravel()
    exact = multipletests(p_values, method=method)[1]
    print(f"{name} of {p_values}: jMetalPy {jmetal.round(4)}, statsmodels {exact.round(4)}")
    if name == "Holm":
        assert np.allclose(jmetal, exact)
    else:
        assert np.allclose(jmetal, [1, 1, 0.6]) and np.allclose(exact, [0.003, 0.6, 0.6])
PYTHON
