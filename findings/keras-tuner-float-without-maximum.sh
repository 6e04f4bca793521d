#!/usr/bin/env bash
# keras-tuner: Float(0, 1, step=0.2) never proposes 1.0, since the number of steps is rounded down after 1 // 0.2.
#
# Versions: keras-tuner 1.4.8 (which needs six 1.17.0), keras 3.15.1 with JAX 0.10.2.
# Expected: the documentation of Float states for this call "The possible values are [0, 0.2, 0.4, 0.6, 0.8, 1.0]".
# Observed: the number of values is int((maximum - minimum) // step + 1), and 1 // 0.2 is 4 in floating point, since
#   0.2 is stored as a number slightly above a fifth. Of 15 ordinary ranges seven end a step early: 0 to 1 by 0.1 and by
#   0.2, 0 to 0.5 by 0.1 and by 0.05, 0 to 0.3 by 0.1, 0 to 0.6 by 0.2, 1 to 2 by 0.2. Grid search visits no maximum
#   and random search draws none. 0 to 0.4 by 0.1, powers of two, Int, and sampling="log" are right.
# Matters: a search for the dropout rate from 0 to 0.5 by 0.1 never trains a network with 0.5, without a message. Add
#   half a step to the maximum, or use Choice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile keras-tuner==1.4.8 keras==3.15.1 jax==0.10.2 \
  six==1.17.0 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import keras_tuner

RANGES = [(0, 1, 0.1), (0, 1, 0.2), (0, 0.5, 0.1), (0, 0.5, 0.05), (0, 0.3, 0.1), (0, 0.6, 0.2), (1, 2, 0.2),
          (0, 0.4, 0.1), (0, 0.2, 0.05), (0.1, 0.5, 0.1), (0.1, 0.9, 0.1), (0.2, 0.8, 0.2), (0, 0.9, 0.3),
          (0, 1, 0.25), (0, 0.75, 0.25)]
MISSING = RANGES[:7]


def proposals(tuner, suggest, **options):
    """Return the sorted values that a tuner proposes."""
    values = set()

    class Search(tuner):
        def run_trial(self, trial):
            value = suggest(trial.hyperparameters)
            values.add(round(value, 9))
            return float(value)

    with contextlib.redirect_stdout(io.StringIO()):
        Search(directory=".", overwrite=True, **options).search()
    return sorted(values)


for minimum, maximum, step in RANGES:
    grid = proposals(keras_tuner.GridSearch, lambda space: space.Float("rate", minimum, maximum, step=step))
    wider = proposals(keras_tuner.GridSearch, lambda space: space.Float("rate", minimum, maximum + step / 2, step=step))
    print(f"Float({minimum}, {maximum}, step={step}):", *grid, "" if maximum in grid else "  maximum missing")
    assert (maximum not in grid) == ((minimum, maximum, step) in MISSING) and maximum in wider
drawn = proposals(keras_tuner.RandomSearch, lambda space: space.Float("rate", 0, 0.5, step=0.1), max_trials=50, seed=0)
print("random search, Float(0, 0.5, step=0.1):", *drawn)
assert drawn == [0, 0.1, 0.2, 0.3, 0.4]
integers = proposals(keras_tuner.GridSearch, lambda space: space.Int("size", 1, 10, step=3))
powers = proposals(keras_tuner.GridSearch, lambda space: space.Float("rate", 0.001, 1, step=10, sampling="log"))
print("Int(1, 10, step=3):", *integers, " Float(0.001, 1, step=10, sampling='log'):", *powers)
assert integers == [1, 4, 7, 10] and powers == [0.001, 0.01, 0.1, 1]
PYTHON
