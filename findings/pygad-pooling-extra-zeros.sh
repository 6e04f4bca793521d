#!/usr/bin/env bash
# pygad.cnn: pooling of maps with an odd side appends a row and a column of zeros that belong to no window.
#
# Versions: pygad 3.9.2, NumPy 2.4.6.
# Expected: pooling of 13x13 maps over 2x2 windows gives 6x6 outputs, one for each window, as in Keras and PyTorch.
# Observed: the side of the output is (side - window + 1) / stride + 1 in place of (side - window) / stride + 1, rounded
#   down. If the stride divides side - window + 1, there is a place more than there are windows, and this place stays 0,
#   for the maximum and the average: 13x13 becomes 7x7, 8x8 with 3x3 windows becomes 4x4, and with stride 1 this is so
#   for every side. For maps of -1 the zeros are the largest outputs.
# Matters: of 28x28 images, 3x3 kernels and two poolings leave 7x7 in place of 6x6 numbers, so a dense layer has 36 %
#   more weights, of which the weights of zeros never matter but are searched. Choose even sides for 2x2 windows with
#   stride 2, and no stride of 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pygad==3.9.2 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pygad.cnn


def pooled(kind, side, window, stride):
    """Return the pooled map of -1, and the number of windows per side."""
    maps = -np.ones((side, side, 1))
    layer = getattr(pygad.cnn, f"{kind}Pooling2D")(window, pygad.cnn.Input2D((side, side, 1)), stride=stride)
    getattr(layer, "max_pooling" if kind == "Max" else "average_pooling")(maps)
    assert tuple(map(int, layer.layer_output_size)) == layer.layer_output.shape
    return layer.layer_output[:, :, 0], (side - window) // stride + 1


CASES = [(13, 2, 2), (14, 2, 2), (28, 2, 2), (8, 3, 2), (7, 3, 2), (29, 3, 3), (5, 2, 1), (6, 3, 1)]
for kind in ("Max", "Average"):
    for side, window, stride in CASES:
        output, windows = pooled(kind, side, window, stride)
        extra = (side - window + 1) % stride == 0
        print(f"{kind} {side}x{side}, windows {window}x{window}, stride {stride}: {output.shape[0]} outputs per side,",
              f"{windows} windows", "  differs" if extra else "")
        assert output.shape == (windows + extra, windows + extra) and (output[:windows, :windows] == -1).all()
        assert not extra or ((output[-1] == 0).all() and (output[:, -1] == 0).all())

image = pygad.cnn.Input2D((28, 28, 1))
convolution = pygad.cnn.Conv2D(4, 3, image, activation_function="relu")
first = pygad.cnn.MaxPooling2D(2, convolution)
second = pygad.cnn.MaxPooling2D(2, first)
dense = pygad.cnn.Dense(10, pygad.cnn.Flatten(second), activation_function="softmax")
sides = [int(layer.layer_output_size[0]) for layer in (image, convolution, first, second)]
print("sides of the network:", *sides, "weights of the dense layer:", dense.initial_weights.size, "in place of 1440")
assert sides == [28, 26, 13, 7] and dense.initial_weights.size == 7 * 7 * 4 * 10
PYTHON
