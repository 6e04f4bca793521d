#!/usr/bin/env bash
# samplerate: "linear" and "zero_order_hold" return a series a sample late, without the last number.
#
# Versions: samplerate 0.2.4 (libsamplerate), NumPy 2.4.6.
# Expected: resample(x, ratio) returns the values of the series at the times k / ratio, whatever the converter; ratio 1
#   returns the series.
# Observed: with "linear" and "zero_order_hold" output k belongs to the time k / ratio - 1, and the first value fills
#   the start: 0, 1, .., 9 becomes 0, 0, 1, .., 8 for ratio 1, and 0, 0, 0, 0.5, .., 8.5 for ratio 2. The last input is
#   lost. The sinc converters are aligned: a sine differs by less than 1e-4 from the exact values, without 400 values at
#   each end. The length of the result is right in all cases.
# Matters: labels of time steps are a step late, a peak at the end of a short series disappears, and channels that are
#   resampled with different converters are shifted by a sample. Use numpy.interp or a sinc converter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile samplerate==0.2.4 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import samplerate

series = np.arange(10.0)
rng = np.random.default_rng(0)
walk = rng.normal(size=200)
for ratio in (1.0, 2.0, 3.0, 0.5):
    result = samplerate.resample(series, ratio, "linear")
    print(f"linear, ratio {ratio}: {' '.join(f'{value:.2f}' for value in result)}")
    result = samplerate.resample(walk, ratio, "linear")
    times = np.arange(len(result)) / ratio
    assert len(result) == ratio * len(walk)
    on_time = np.interp(times, np.arange(len(walk)), walk)
    late = np.interp(times - 1, np.arange(len(walk)), walk)
    print(f"  random series: difference to numpy.interp {np.abs(result - on_time).max():.3f}", end=", ")
    print(f"a sample late {np.abs(result - late).max():.1e}")
    assert np.allclose(result, late, atol=1e-6)
    assert np.abs(result - on_time).max() > 1

held = samplerate.resample(walk, 1.0, "zero_order_hold")
assert np.allclose(held[1:], walk[:-1], atol=1e-6), "the same delay"
print(f"zero_order_hold, ratio 1: {samplerate.resample(series, 1.0, 'zero_order_hold').tolist()}")
sine = np.sin(2 * np.pi * np.arange(2000) / 50)
for converter in ("sinc_best", "sinc_medium", "sinc_fastest", "linear"):
    result = samplerate.resample(sine, 2.0, converter)
    exact = np.sin(2 * np.pi * np.arange(len(result)) / 100)
    difference = np.abs(result - exact)[400:-400].max()
    print(f"{converter}: largest difference to the exact sine {difference:.1e}")
    assert difference > 0.1 if converter == "linear" else difference < 1e-4
PYTHON
