#!/usr/bin/env bash
# Generating MNIST-1D resets the global seeds of NumPy and of the module random to the argument seed.
#
# Versions: mnist1d 0.0.2.post1, NumPy 2.4.6.
# Expected: make_dataset draws from a separate generator, since a seed is among the arguments.
# Observed: after np.random.seed(1) or np.random.seed(2), a call of make_dataset, and then a draw, the draws are equal.
# Matters: seeds that a program sets before generating the data are void for every later draw of NumPy and random
#   (splits, shuffles, augmentation), so "several seeds" repeat a single seed. Set seeds after the call, or use
#   generators of numpy.random.default_rng.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mnist1d==0.0.2.post1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import random

import numpy as np
from mnist1d.data import get_dataset_args, make_dataset

draws = {}
for generates in (False, True):
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        if generates:
            make_dataset(get_dataset_args())
        draws[generates, seed] = (np.random.rand(), random.random())
        moment = "after make_dataset" if generates else "without a call"
        print(f"seed {seed}, {moment}: NumPy {draws[generates, seed][0]:.6f}, random {draws[generates, seed][1]:.6f}")
assert draws[False, 1] != draws[False, 2]
assert draws[True, 1] == draws[True, 2], draws
arguments = get_dataset_args()
arguments.seed += 1
make_dataset(arguments)
assert np.random.rand() != draws[True, 1][0], "the draws follow from the argument seed"
PYTHON
