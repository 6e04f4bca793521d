#!/usr/bin/env bash
# pymoo: candidates with a NaN objective remove finite candidates from the first front.
#
# Versions: pymoo 0.6.2, moocore 0.3.2.
# Expected: a comparison with NaN is false, so a candidate with NaN neither dominates nor removes a candidate; or
#   pymoo raises an error.
# Observed: a candidate (NaN, 2.5) puts (1, 3) into a later front, although no candidate is better in both objectives. NSGA-II
#   on loss = 1 - x and size = x^2, with NaN as loss for x from 0.6 to 0.7, ends with a front from x = 0 to 0.6; without
#   NaN the front reaches x = 1. The result contains no NaN, and there is no message. The ranks come from
#   moocore.pareto_rank; moocore.is_nondominated keeps (1, 3).
# Matters: a diverged training hides all larger, more accurate networks. Return a large finite loss in place of NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pymoo==0.6.2 moocore==0.3.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import moocore
import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

objectives = np.array([[1, 3], [2, 2], [3, 1], [np.nan, 2.5]])
fronts = [front.tolist() for front in NonDominatedSorting().do(objectives)]
finite_fronts = [front.tolist() for front in NonDominatedSorting().do(objectives[:3])]
kept = moocore.is_nondominated(objectives).tolist()
print(f"objectives {objectives.tolist()}: fronts {fronts}; without the last: {finite_fronts}")
print(f"moocore.is_nondominated: {kept}")
assert finite_fronts == [[0, 1, 2]], finite_fronts
assert 0 not in fronts[0], fronts
assert kept[0], kept


class Networks(Problem):
    """Loss and size of networks of width x; some widths diverge."""

    def __init__(self, diverging):
        super().__init__(n_var=1, n_obj=2, xl=0, xu=1)
        self.diverging = diverging

    def _evaluate(self, x, out, *args, **kwargs):
        width = x[:, 0]
        diverged = self.diverging & (width > 0.6) & (width < 0.7)
        out["F"] = np.stack([np.where(diverged, np.nan, 1 - width), width**2], axis=1)


largest = {}
for diverging in (False, True):
    result = minimize(Networks(diverging), NSGA2(pop_size=20), ("n_gen", 20), seed=1)
    largest[diverging] = result.X.max()
    print(f"diverging widths: {diverging}; {len(result.F)} candidates, widths up to {result.X.max():.2f}", end=" ")
    print(f"loss down to {result.F[:, 0].min():.2f}")
    assert not np.isnan(result.F).any()
assert largest[False] > 0.99, largest
assert largest[True] < 0.7, largest
PYTHON
