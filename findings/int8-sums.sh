#!/usr/bin/env bash
# paddle.sum of int8 keeps 8 bits; cumsum of int8 keeps 8 bits in JAX, MLX and Keras.
#
# Versions: paddlepaddle 3.3.1, jax 0.10.2, mlx 0.32.4, keras 3.15.1, torch 2.13.0, numpy 2.4.6.
# Expected: sums of int8 are accumulated in a wider integer, as by NumPy and PyTorch, and the last value of a running
#   sum is the sum: 10,000 for 100 values of 100.
# Observed: paddle.sum returns 16 as int8, paddle.cumsum 10,000 as int64. JAX, MLX and Keras (backends torch and JAX)
#   are the other way round: sum is 10,000 as int32 and cumsum ends with 16 as int8. NumPy and PyTorch return 10,000
#   for both. No package warns.
# Matters: sums of quantised activations (global average pooling, integral images, checks of an accumulator's range)
#   wrap around. Convert to int32 before the sum.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile numpy==2.4.6 paddlepaddle==3.3.1 jax==0.10.2 "mlx[cpu]==0.32.4" \
  keras==3.15.1 torch==2.13.0
cd "$folder"
cat > program.py <<'PYTHON'
import sys

import numpy as np

values = np.full(100, 100, np.int8)
package = sys.argv[1]
if package == "numpy":
    sums = values.sum(), values.cumsum()[-1]
elif package == "torch":
    import torch

    sums = torch.tensor(values).sum(), torch.tensor(values).cumsum(0)[-1]
elif package == "paddle":
    import paddle

    tensor = paddle.to_tensor(values)
    sums = paddle.sum(tensor), paddle.cumsum(tensor)[-1]
elif package == "jax":
    import jax.numpy as jnp

    sums = jnp.sum(values), jnp.cumsum(values)[-1]
elif package == "mlx":
    import mlx.core as mx

    sums = mx.sum(mx.array(values)), mx.cumsum(mx.array(values))[-1]
else:
    import keras

    tensor = keras.ops.convert_to_tensor(values)
    sums = keras.ops.sum(tensor), keras.ops.cumsum(tensor)[-1]
total, last = (int(number) for number in sums)
print(f"{package}: sum {total}, end of cumsum {last}")
expected = {"numpy": (10_000, 10_000), "torch": (10_000, 10_000), "paddle": (16, 10_000)}
assert (total, last) == expected.get(package, (10_000, 16)), sums
PYTHON
for package in numpy torch paddle jax mlx keras; do
  KERAS_BACKEND=torch KERAS_HOME="$folder" "$folder/venv/bin/python" -W ignore program.py $package
done
KERAS_BACKEND=jax KERAS_HOME="$folder" "$folder/venv/bin/python" -W ignore program.py "keras with JAX"
