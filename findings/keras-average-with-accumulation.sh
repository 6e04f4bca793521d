#!/usr/bin/env bash
# Keras: with gradient accumulation the moving average of the weights forgets at every batch, not at every update.
#
# Versions: keras 3.15.1, torch 2.13.0 as backend.
# Expected: with four equal batches per update, the weights after each update and their moving average are those of a
#   training with one such batch per update. The documentation of gradient_accumulation_steps states that the average
#   counts accumulated iterations.
# Observed: the weights are equal, but the average is computed after every batch with the full ema_momentum, so its
#   time constant is a quarter: momentum 0.9 acts per update as 0.9^4 = 0.66.
# Matters: accumulation replaces a larger batch on small devices. The final weights (the average) are then noisier than
#   stated, which no message shows. Raise ema_momentum to its fourth root.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile keras==3.15.1 torch==2.13.0 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=torch KERAS_HOME="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import keras
import numpy as np

UPDATES, MOMENTUM = 12, 0.9
inputs = np.linspace(-1, 1, 8, dtype="float32")[:, None]
targets = 3 * inputs


def trained(steps, momentum=MOMENTUM, use_ema=True):
    """Train for 12 updates of `steps` equal batches each and return the final weight."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    average = {"use_ema": True, "ema_momentum": momentum} if use_ema else {}
    accumulation = {"gradient_accumulation_steps": steps} if steps > 1 else {}
    model.compile(keras.optimizers.SGD(0.1, **average, **accumulation), loss="mse")
    model.fit(inputs, targets, batch_size=8, epochs=steps * UPDATES, verbose=0)
    return float(np.array(model.get_weights()[0]).squeeze())


raw = [trained(steps, use_ema=False) for steps in (1, 4)]
averages = [trained(steps) for steps in (1, 4)]
rooted = trained(4, momentum=MOMENTUM**0.25)
print(f"weights after {UPDATES} updates, 1 and 4 batches per update: {raw[0]:.4f} {raw[1]:.4f}")
print(f"averages: {averages[0]:.4f} {averages[1]:.4f}; 4 batches with the fourth root of the momentum: {rooted:.4f}")
assert abs(raw[0] - raw[1]) < 1e-5, raw
assert averages[1] - averages[0] > 0.1, averages
assert abs(rooted - averages[0]) < 0.5 * (averages[1] - averages[0]), rooted
PYTHON
