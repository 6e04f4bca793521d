#!/usr/bin/env bash
# spafe: with low_freq or high_freq the mel filters are placed on other frequencies than the spectrum.
#
# Versions: spafe 0.3.3, NumPy 2.4.6, SciPy 1.17.1.
# Expected: low_freq and high_freq limit the range of the filters. A tone at the centre of a filter has its largest
#   energy in this filter. deltas of features that rise by 1 per frame are 1. normalize_ceps(x, "mvn") returns
#   coefficients with mean 0 and variance 1.
# Observed: mel_filter_banks spreads its columns from low_freq to high_freq, and mel_spectrogram and mfcc multiply them
#   by the spectrum from 0 to half of the sampling rate. With 300 to 4,000 Hz at 16 kHz, 22 of 24 tones fall into
#   another filter, by up to 8 filters, and the filter for 1,046 Hz measures 1,625 Hz. The default range is right.
#   deltas runs along the coefficients, and a rise by 1 gives 60. "mvn" divides by the deviation of all coefficients
#   together, so that single coefficients keep variances from 0.006 to 6.
# Matters: telephone band features are the energies of frequencies up to half of the sampling rate, without a message,
#   and differ from firmware that uses the stated band. Keep the default range, or pass fbanks of another package.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile spafe==0.3.3 numpy==2.4.6 scipy==1.17.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from spafe.fbanks.mel_fbanks import mel_filter_banks
from spafe.features.mfcc import mel_spectrogram
from spafe.utils.cepstral import deltas, normalize_ceps
from spafe.utils.converters import mel2hz

RATE, FILTERS, POINTS = 16_000, 24, 512


def moved(**band):
    """Return for the centre of each filter how many filters away the tone has the largest energy."""
    centres = mel2hz(mel_filter_banks(nfilts=FILTERS, nfft=POINTS, fs=RATE, **band)[1], "Oshaghnessy")
    distances = []
    for index, frequency in enumerate(centres):
        tone = np.sin(2 * np.pi * frequency * np.arange(RATE // 4) / RATE)
        energy = mel_spectrogram(tone, fs=RATE, nfilts=FILTERS, nfft=POINTS, pre_emph=False, **band)[0]
        distances.append(int(energy[2].argmax()) - index)
    print("band", band or "default", "centres", *[f"{centre:.0f}" for centre in centres[::6]], "Hz")
    print("  the largest energy is moved by", *distances, "filters")
    return distances


assert set(moved()) == {0}
distances = moved(low_freq=300, high_freq=4_000)
assert distances.count(0) == 2 and min(distances) == -8 and max(distances) == 2
assert min(moved(high_freq=4_000)) <= -5

filters, centres = mel_filter_banks(nfilts=FILTERS, nfft=POINTS, fs=RATE, low_freq=300, high_freq=4_000)
index = int(np.abs(mel2hz(centres, "Oshaghnessy") - 1_000).argmin())
column = int(filters[index].argmax())
print(f"filter {index}: centre {mel2hz(centres[index], 'Oshaghnessy'):.0f} Hz, largest in column {column},",
      f"which is {column * RATE / POINTS:.0f} Hz of the spectrum")
assert column * RATE / POINTS > 1_400

rise = np.arange(30.0)[:, None] + np.zeros(13)
print("deltas of a rise by 1 per frame:", np.unique(np.round(deltas(rise)[8:-8, 6], 6)),
      "and per coefficient:", np.unique(np.round(deltas(rise.T)[6, 8:-8], 6)))
assert np.allclose(deltas(rise)[8:-8, 6], 0) and np.allclose(deltas(rise.T)[6, 8:-8], 60)

features = np.random.default_rng(0).normal(0, np.geomspace(10, 0.3, 13), (500, 13))
variances = normalize_ceps(features, "mvn").var(axis=0)
print("variances after mvn:", *np.round(variances, 3))
assert variances.max() > 5 and variances.min() < 0.05
PYTHON
