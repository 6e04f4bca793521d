#!/usr/bin/env bash
# statds: t_test_paired and t_test_unpaired never reject if the first mean is lower, with p-values above 1.
#
# Versions: statds 1.1.7, NumPy 2.4.6, pandas 3.1.1.
# Expected: both tests are two-sided: the p-value is 2 * (1 - F(|t|)) and does not change if the columns are swapped.
# Observed: the p-value is 2 * (1 - F(t)). Accuracies of 90 % against 80 % on 20 data sets give t = 18.9, p = 9e-14 and
#   "Reject H0"; 80 % against 90 % give t = -18.9, p = 2.0 and "Fail to Reject H0". The limit of t is the one-sided
#   limit 1.729 for 19 degrees of freedom, in place of 2.093.
# Matters: whether a better classifier is significant depends on the order of the columns. wilcoxon, binomial and
#   mannwhitneyu of statds are symmetric. Put the larger mean first and compare the p-value with the level, or use SciPy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile statds==1.1.7 numpy==2.4.6 pandas==3.1.1
cd "$folder"
MPLBACKEND=Agg OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pandas as pd
from statds import no_parametrics, parametrics

rng = np.random.default_rng(0)
better = 0.9 + 0.02 * rng.normal(size=20)
worse = 0.8 + 0.02 * rng.normal(size=20)
better_first = pd.DataFrame({"better": better, "worse": worse})
worse_first = better_first[["worse", "better"]]


def result(test, table):
    """Print and return the p-value and the decision; the computation of a p-value of t takes a second."""
    statistic, p_value, limit, text = test(table)
    name = f"{test.__name__}, {' - '.join(table)}"
    print(f"{name}: statistic {statistic:.2f}, limit {limit}, p-value {p_value:.3g}, {text}")
    assert test is no_parametrics.wilcoxon or limit in (1.729, 1.686), "the one-sided limits"
    return float(p_value), text.startswith("Reject")


symmetric = result(no_parametrics.wilcoxon, better_first)
assert symmetric == result(no_parametrics.wilcoxon, worse_first) and symmetric[1], symmetric
p_value, rejects = result(parametrics.t_test_paired, better_first)
assert rejects and p_value < 1e-6, p_value
for test in (parametrics.t_test_paired, parametrics.t_test_unpaired):
    p_value, rejects = result(test, worse_first)
    assert not rejects and 1.999 < p_value < 2.001, p_value
PYTHON
