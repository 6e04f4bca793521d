#!/usr/bin/env bash
# Keras with PyTorch: average pooling with padding="same" counts the last row twice.
#
# Versions: keras 3.15.1, torch 2.13.0, jax 0.10.2.
# Expected: AveragePooling2D(3, strides=2, padding="same") has the same values with each backend: the mean of those
#   cells of a window that exist, as with the backends JAX and NumPy.
# Observed: if the padding is odd (6x6, pool 3, stride 2), the PyTorch backend copies the last row and the last column
#   and averages them: the last value of 0, 1, .., 5 in a row is (4 + 5 + 5) / 3 in place of 4.5. Even padding (7x7) and
#   MaxPooling2D are equal.
# Matters: feature maps of 28x28 have odd padding with a pool of 3 and a stride of 2. A network that was trained with
#   one backend has other outputs with the other, without a message. Pool with padding="valid", or with pool 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile keras==3.15.1 torch==2.13.0 jax==0.10.2 numpy==2.4.6
cd "$folder"
cat > program.py <<'PYTHON'
import sys

import keras
import numpy as np

outputs = {}
for size in (6, 7, 28):
    row = np.arange(size, dtype="float32")
    images = np.broadcast_to(row, (1, size, size))[..., None]
    for name, layer in (("average", keras.layers.AveragePooling2D), ("maximum", keras.layers.MaxPooling2D)):
        pooled = keras.ops.convert_to_numpy(layer(3, strides=2, padding="same")(images))
        outputs[f"{name} {size}"] = pooled[0, 0, :, 0]
np.savez(sys.argv[1], **outputs)
PYTHON
for backend in torch jax numpy; do
  KERAS_BACKEND=$backend KERAS_HOME="$folder" "$folder/venv/bin/python" -W ignore program.py "$backend.npz"
done
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np

outputs = {backend: np.load(f"{backend}.npz") for backend in ("torch", "jax", "numpy")}
for name in outputs["jax"].files:
    last = {backend: float(arrays[name][-1]) for backend, arrays in outputs.items()}
    print(f"{name}: last value", *[f"{backend} {value:.3f}" for backend, value in last.items()])
    np.testing.assert_allclose(outputs["jax"][name], outputs["numpy"][name], rtol=1e-6)
    if name in ("average 6", "average 28"):
        size = int(name.split()[1])
        assert abs(last["jax"] - (size - 1.5)) < 1e-5, last
        assert abs(last["torch"] - (size - 4 / 3)) < 1e-5, last
    else:
        np.testing.assert_allclose(outputs["torch"][name], outputs["jax"][name], rtol=1e-6)
PYTHON
