#!/usr/bin/env bash
# hyperopt, scikit-optimize, nevergrad and DEHB propose the first and last integer of a range half as often as others.
#
# Versions: hyperopt 0.3.0, scikit-optimize 0.10.2, nevergrad 1.0.12, DEHB 0.1.2, ConfigSpace 1.2.2.
# Expected: an integer from 1 to 4 without further information is drawn with a probability of 1/4 per value, as from
#   ConfigSpace and random.randint. hyperopt documents uniformint as "an integer uniformly between low and high".
# Observed: hp.uniformint, the random and Sobol points of skopt's Optimizer, the RandomSearch of nevergrad and DEHB's
#   vectors round a real number from 1 to 4, so 1 and 4 have a probability of 1/6, 2 and 3 of 1/3. skopt's
#   Integer.rvs, without the Optimizer, is uniform.
# Matters: the smallest network is at the end of each range: with four such ranges (depth, width, kernel, bits) the
#   corner has a probability of 1/1296 in place of 1/256. Use a choice (hp.randint(low, high + 1), ng.p.Choice).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile hyperopt==0.3.0 scikit-optimize==0.10.2 nevergrad==1.0.12 \
  DEHB==0.1.2 ConfigSpace==1.2.2 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
from collections import Counter

import ConfigSpace
import nevergrad
import numpy as np
import skopt
from dehb import DEHB
from hyperopt import hp
from hyperopt.pyll.stochastic import sample

logging.disable(logging.CRITICAL)
COUNT = 2048
rng = np.random.default_rng(0)
space = ConfigSpace.ConfigurationSpace({"n": (1, 4)}, seed=0)
dehb = DEHB(f=print, cs=space, min_fidelity=1, max_fidelity=9, n_workers=1, output_path="out", seed=0)
scalar = nevergrad.p.Scalar(lower=1, upper=4).set_integer_casting()
scalar.random_state.seed(0)
search = nevergrad.optimizers.RandomSearch(scalar, budget=COUNT)
ranges = [skopt.space.Integer(1, 4), skopt.space.Real(0, 1)]
optimizer = skopt.Optimizer(
    ranges, initial_point_generator="sobol", n_initial_points=COUNT, random_state=0, base_estimator="GP"
)
draws = {
    "ConfigSpace": [c["n"] for c in space.sample_configuration(COUNT)],
    "skopt Integer.rvs": skopt.space.Integer(1, 4).rvs(COUNT, random_state=0),
    "hyperopt uniformint": [sample(hp.uniformint("n", 1, 4), rng=rng) for _ in range(COUNT)],
    "skopt Optimizer, random": [x[0] for x in optimizer.space.rvs(COUNT, random_state=0)],
    "skopt Optimizer, Sobol": [x[0] for x in optimizer._initial_samples],
    "nevergrad RandomSearch": [search.ask().value for _ in range(COUNT)],
    "DEHB": [next(iter(dehb.de.values())).vector_to_configspace(rng.random(1))["n"] for _ in range(COUNT)],
}
for index, (name, values) in enumerate(draws.items()):
    counts = Counter(int(value) for value in values)
    shares = [counts[value] / len(values) for value in (1, 2, 3, 4)]
    print(f"{name}:", *[f"{share:.1%}" for share in shares])
    expected = [1 / 4] * 4 if index < 2 else [1 / 6, 1 / 3, 1 / 3, 1 / 6]
    assert np.allclose(shares, expected, atol=0.04), shares
PYTHON
