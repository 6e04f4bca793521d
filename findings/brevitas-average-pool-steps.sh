#!/usr/bin/env bash
# Brevitas' average pooling divides by a power of two: over 3x3 positions the result has 1.78 times coarser steps.
#
# Versions: Brevitas 0.13.4, torch 2.13.0.
# Expected: TruncAvgPool2d rounds the average of whole numbers to the nearest step of its input, for every window.
# Observed: with 2x2 positions, yes. With 3x3 positions the sum is shifted right by four bits, and the scale of the
#   result is 16/9 of the input's: numbers of up to 127 become numbers of up to 71, and errors reach 0.89 input steps.
#   TruncAdaptiveAvgPool2d over 5x5 positions has 32/25, over 7x7 positions 64/49.
# Matters: the following layer receives 7.2 instead of 8 bits before global pooling of odd maps. Pool over 2, 4 or 8
#   rows and columns, or pass a larger bit_width.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 brevitas==0.13.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import brevitas.nn as qnn
import torch

torch.manual_seed(0)
quantise = qnn.QuantIdentity(bit_width=8, return_quant_tensor=True, scaling_init=1.0, scaling_impl_type="const").eval()
step = float(quantise(torch.zeros(1)).scale)
results = {}
for name, pool, size in (
    ("2x2", qnn.TruncAvgPool2d(2, bit_width=8, return_quant_tensor=True), 12),
    ("3x3", qnn.TruncAvgPool2d(3, bit_width=8, return_quant_tensor=True), 12),
    ("global 5x5", qnn.TruncAdaptiveAvgPool2d(1, bit_width=8, return_quant_tensor=True), 5),
    ("global 7x7", qnn.TruncAdaptiveAvgPool2d(1, bit_width=8, return_quant_tensor=True), 7),
):
    numbers = torch.randint(0, 128, (64, 4, size, size)).float()
    numbers[0] = 127
    pooled = pool.eval()(quantise(numbers * step))
    average = torch.nn.functional.adaptive_avg_pool2d(numbers, pooled.value.shape[-1])
    errors = (pooled.value / step - average).abs()
    results[name] = float(pooled.scale) / step, int(pooled.int().max()), float(errors.max())
    ratio, largest, error = results[name]
    print(f"{name}: scale of the result / scale of the input {ratio:.3f}, largest number {largest} of 127,", end=" ")
    print(f"largest error {error:.2f} input steps")
assert abs(results["2x2"][0] - 1) < 1e-5 and results["2x2"][1] == 127 and results["2x2"][2] <= 0.501, results
assert abs(results["3x3"][0] - 16 / 9) < 1e-5 and results["3x3"][1] == 71 and results["3x3"][2] > 0.8, results
assert abs(results["global 5x5"][0] - 32 / 25) < 1e-5 and abs(results["global 7x7"][0] - 64 / 49) < 1e-5, results
PYTHON
