#!/usr/bin/env bash
# DEHB's incumbent is the lowest score of any fidelity, also if its configuration is bad at the full fidelity.
#
# Versions: DEHB 0.1.2, ConfigSpace 1.2.2.
# Expected: the incumbent of a search with epochs from 1 to 9 is the best of the configurations with 9 epochs.
# Observed: with a score that is noisier after few epochs, the incumbent of 10 searches is always a configuration whose
#   best score has fewer than 9 epochs, and its score after 9 epochs is always worse than that of the best configuration
#   with 9 epochs.
# Matters: short trainings of small networks are noisy, and some scores (training loss, size with a penalty) rise with
#   the epochs. Select from dehb.history the entries with the largest fidelity.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile DEHB==0.1.2 ConfigSpace==1.2.2 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import hashlib

import ConfigSpace
import numpy as np
from dehb import DEHB
from loguru import logger

logger.remove()  # DEHB's messages


def score(x, epochs):
    """Return (x - 0.3)^2 with noise that depends on x and epochs only; deviation 0.3 / epochs."""
    digest = hashlib.sha256(f"{x:.9f} {epochs}".encode()).digest()
    return (x - 0.3) ** 2 + 0.3 / epochs * np.random.default_rng(list(digest)).normal()


def train(config, fidelity, **_):
    return {"fitness": score(config["x"], round(fidelity)), "cost": fidelity}


lower, worse = 0, 0
for seed in range(10):
    space = ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0)}, seed=seed)
    dehb = DEHB(f=train, cs=space, min_fidelity=1, max_fidelity=9, n_workers=1, output_path="out", seed=seed)
    _, _, history = dehb.run(fevals=60)
    incumbent, reported = dehb.get_incumbents()
    full = [entry[2] for entry in history if entry[4] == 9]
    final = score(incumbent["x"], 9)
    lower += reported < min(full)
    worse += final > min(full)
print(f"10 searches: {lower} incumbents have a score of fewer than 9 epochs;", end=" ")
print(f"{worse} are worse after 9 epochs than the best configuration with 9 epochs")
assert lower == 10, lower
assert worse == 10, worse
PYTHON
