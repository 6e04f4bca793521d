#!/usr/bin/env bash
# pychop: 8-bit integers have 128 levels, and with symmetric=True the upper half of the ReLU outputs is clipped.
#
# Versions: pychop 0.6.2.
# Expected: Chopi(bits=8) maps the calibrated range to 256 levels, so no number of the range changes by more than half
#   a step of range / 255. With symmetric=True the range is -m to m for the largest magnitude m.
# Observed: the levels of the default are 0 to 127, so errors are twice as large; 4 bits have 8 levels, and 2 bits have
#   2. With symmetric=True the step is (max - min) / 255: outputs of a ReLU from 0 to 1 end at 0.5, numbers from -1 to
#   3 end at 2, and numbers from 2 to 3 all become 0.5. Ranges with min = -max are right.
# Matters: the accuracy of a network in n bits is the accuracy for n - 1 bits, and symmetric activations lose the
#   largest values. Pass bits=9 for 8 bits without symmetric=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pychop==0.6.2 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from pychop import Chopi


def quantise(numbers, bits, symmetric):
    """Return the integers and the values of these integers."""
    quantiser = Chopi(bits=bits, symmetric=symmetric)
    integers = quantiser.quantize(numbers)
    return integers, quantiser.dequantize(integers)


numbers = np.linspace(-1, 3, 10_001)
for bits in (8, 4, 2):
    integers, values = quantise(numbers, bits, symmetric=False)
    half_step = 4 / (2**bits - 1) / 2
    error = np.abs(values - numbers).max()
    levels = len(np.unique(integers))
    print(f"{bits} bits, -1 to 3: {levels} levels, largest error {error / half_step:.2f} half steps of range / levels")
    assert integers.min() == 0
    assert integers.max() == 2 ** (bits - 1) - 1
    assert error > 1.9 * half_step

for first, last, highest in ((0, 1, 0.498), (-1, 3, 1.992), (2, 3, 0.498)):
    values = quantise(np.linspace(first, last, 10_001), 8, symmetric=True)[1]
    print(f"symmetric, {first} to {last}: values from {values.min():.3f} to {values.max():.3f}")
    assert abs(values.max() - highest) < 0.001
    if first == 2:
        assert values.min() == values.max()
values = quantise(np.linspace(-1, 1, 10_001), 8, symmetric=True)[1]
assert np.abs(values - np.linspace(-1, 1, 10_001)).max() < 1.01 / 255
PYTHON
