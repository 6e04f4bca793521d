#!/usr/bin/env bash
# autorank puts the worst population first, and measures effect sizes from the worst, in its frequentist analysis.
#
# Versions: autorank 1.3.0 (1.2.1 does the same).
# Expected: rankdf is ordered from the best population to the worst; effect sizes are "in comparison to the highest
#   mean value" (docstring of autorank), so the population with rank 1 has effect size 0.
# Observed: with order="descending" (larger is better, the default) the table begins with the largest mean rank, the
#   worst population, whose effect size is 0; the best has the largest magnitude, with a negative sign. The Bayesian
#   analysis of the same data has the reverse order. The mean ranks and the p-value are right.
# Matters: the first row is easily taken for the winner, and latex_table prints effects against the worst network. Sort
#   by meanrank, and compute effect sizes against the population of rank 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile autorank==1.3.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import numpy as np
import pandas as pd
from autorank import autorank

rng = np.random.default_rng(0)
names = ["worst", "low", "high", "best"]
accuracies = pd.DataFrame({name: 0.9 + 0.01 * i + 0.01 * rng.normal(size=12) for i, name in enumerate(names)})
orders = {}
for title, arguments in {
    "ANOVA": {"force_mode": "parametric"},
    "Friedman": {"force_mode": "nonparametric"},
    "Bayesian": {"approach": "bayesian", "nsamples": 1000, "random_state": 0},
}.items():
    with contextlib.redirect_stdout(io.StringIO()):
        table = autorank(accuracies, **arguments).rankdf
    if "mean" not in table:
        table["mean"] = accuracies.mean()
    orders[title] = list(table.index)
    rows = [f"{name} (mean {table['mean'][name]:.3f}, d {table.effect_size[name]:.2f})" for name in table.index]
    print(f"{title}: {', '.join(rows)}")
    assert table.effect_size.iloc[0] == 0
assert list(accuracies.mean().sort_values().index) == names
assert orders["ANOVA"] == orders["Friedman"] == names, orders
assert orders["Bayesian"] == names[::-1], orders
PYTHON
