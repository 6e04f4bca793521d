#!/usr/bin/env bash
# multipy: the Holm and Hochberg procedures count p-values below the limits, in place of stepping through the p-values.
#
# Versions: multipy 0.16, statsmodels 0.15.0.
# Expected: holm_bonferroni and hochberg reject the hypotheses that statsmodels rejects; a single p-value is compared
#   with alpha.
# Observed: hochberg rejects as many hypotheses as p-values lie below the limit of the same rank: of 0.04, 0.045, 0.049
#   a single hypothesis is rejected in place of three. holm_bonferroni counts in the same way, also after the first
#   p-value above the limit, and the limits begin with alpha / (m + 1): a single test needs p <= 0.025, for 0.024 and
#   0.0241 one hypothesis is rejected in place of two, and for 0.02, 0.021, 0.022 one in place of none. bonferroni and
#   sidak are right.
# Matters: comparisons of a few networks over seeds lose significant differences, or report a difference that Holm
#   does not reject. Use multipletests of statsmodels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile multipy==0.16 statsmodels==0.15.0 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from multipy import fwer
from statsmodels.stats.multitest import multipletests

PROCEDURES = {
    "holm": fwer.holm_bonferroni,
    "simes-hochberg": fwer.hochberg,
    "bonferroni": fwer.bonferroni,
    "sidak": fwer.sidak,
}
CASES = [
    ("simes-hochberg", [0.04, 0.045, 0.049], 1, 3),
    ("simes-hochberg", [0.001, 0.04, 0.045, 0.049], 2, 4),
    ("holm", [0.03], 0, 1),
    ("holm", [0.024, 0.0241], 1, 2),
    ("holm", [0.02, 0.021, 0.022], 1, 0),
]
for name, values, observed, expected in CASES:
    rejections = int(PROCEDURES[name](values).sum())
    reference = int(multipletests(values, 0.05, name)[0].sum())
    print(f"{name} of {values}: multipy rejects {rejections}, statsmodels {reference}")
    assert (rejections, reference) == (observed, expected)

rng = np.random.default_rng(0)
for name, procedure in PROCEDURES.items():
    fewer = 0
    more = 0
    for _ in range(50):
        p_values = rng.uniform(0, 0.06, 5)
        difference = int(procedure(p_values).sum()) - int(multipletests(p_values, 0.05, name)[0].sum())
        fewer += int(difference < 0)
        more += int(difference > 0)
    print(f"{name}: 50 sets of 5 p-values, {fewer} with fewer rejections than statsmodels, {more} with more")
    if name in ("bonferroni", "sidak"):
        assert fewer == more == 0
    else:
        assert fewer > 5
PYTHON
