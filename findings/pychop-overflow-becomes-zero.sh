#!/usr/bin/env bash
# pychop: numbers from 65,536 to 131,071 become 0 in half precision.
#
# Versions: pychop 0.6.2, ml_dtypes 0.6.0, NumPy 2.4.6.
# Expected: Chop(5, 10) gives the values of float16, so 65,520 and all larger numbers are infinite; Chop(4, 3), Chop(5,
#   2) and Chop(8, 7) give the values of the 8-bit formats and of bfloat16. Ties to zero and ties away from zero
#   (rmode 7 and 8) treat a number and the negative number alike.
# Observed: numbers between the largest number and the next power of two are rounded to this power, which the format
#   does not contain. The numbers from there to the double become 0, and larger numbers become infinite: 65,520 gives
#   65,536, 100,000 gives 0, 131,072 gives inf. In the 8-bit format 250 gives 256, 300 gives 0 and 512 gives inf. Mode 7
#   rounds ties down, mode 8 rounds ties up. Numbers inside the range, subnormal numbers too, are right.
# Matters: a slight overflow of activations or of scaled gradients is a zero, and no check for inf or NaN notices. Use
#   ml_dtypes, or check the largest number before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pychop==0.6.2 ml-dtypes==0.6.0 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import ml_dtypes
import numpy as np
from pychop import Chop

INFINITY = float("inf")
FORMATS = {
    "float16": (np.float16, 5, 10),
    "bfloat16": (ml_dtypes.bfloat16, 8, 7),
    "float8_e5m2": (ml_dtypes.float8_e5m2, 5, 2),
    "float8_e4m3": (ml_dtypes.float8_e4m3, 4, 3),
}
for name, (dtype, exponent_bits, fraction_bits) in FORMATS.items():
    largest = float(ml_dtypes.finfo(dtype).max)
    power = 2.0 ** np.ceil(np.log2(largest))
    numbers = np.array([largest, (largest + 3 * power) / 4, power, 1.5 * power, 1.99 * power, 2 * power, 1e3 * power])
    for sign in (1, -1):
        expected = (sign * numbers).astype(dtype).astype(float)
        observed = np.asarray(Chop(exponent_bits, fraction_bits)(sign * numbers))
        print(f"{name}: {(sign * numbers).tolist()} -> {observed.tolist()}")
        assert expected.tolist() == [sign * largest] + [sign * INFINITY] * 6, expected
        assert observed.tolist() == [
            sign * number for number in (largest, power, 0, 0, 0, INFINITY, INFINITY)
        ], observed
    rng = np.random.default_rng(0)
    inside = np.concatenate([rng.uniform(-1, 1, 1_000) * largest / 4.0**shift for shift in range(16)])
    assert np.array_equal(Chop(exponent_bits, fraction_bits)(inside), inside.astype(dtype).astype(float))

TIES = np.array([1.03125, 1.09375, -1.03125, -1.09375])
for mode, title, expected, result in (
    (7, "ties to zero", [1, 1.0625, -1, -1.0625], [1, 1.0625, -1.0625, -1.125]),
    (8, "ties away from zero", [1.0625, 1.125, -1.0625, -1.125], [1.0625, 1.125, -1, -1.0625]),
):
    observed = np.asarray(Chop(5, 4, rmode=mode)(TIES)).tolist()
    print(f"{title}: {TIES.tolist()} -> {observed}, expected {expected}")
    assert observed == result != expected
PYTHON
