#!/usr/bin/env bash
# frouros: the PSI of two samples of the same population is above 1 if a bin of a sample is empty.
#
# Versions: frouros 0.9.0, NumPy 2.1.3, SciPy 1.14.1.
# Expected: the population stability index has the usual scale: below 0.1 no change, above 0.25 a large change. An empty
#   bin gets a small share such as 0.0001.
# Observed: an empty bin gets the share 2.2e-308, the smallest normal number, whose logarithm is -708. If a bin that is
#   empty in the reference contains a single observation of 200, the PSI increases by 3.5. For two samples of 200
#   observations of the same normal population and the default of 10 bins, the median PSI is 3.6, and 56 % are above
#   0.25; with shares of at least 0.0001 the median is 0.09, and 3 % are above 0.25. For samples of 1,000 observations
#   25 % and 0 % are above 0.25. The docstring shows a PSI of 134.95 for a shift by a deviation.
# Matters: bins of equal width span the range of both samples, so the outer bins are often empty, and batches from an
#   unchanged sensor have drifted. Limit the shares from below, or use the Hellinger distance or MMD.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from frouros.detectors.data_drift import PSI

LIMIT = 1e-4  # share of an empty bin


def shares(reference, sample, bins=10):
    """Return the shares of both samples in bins of equal width that span both."""
    edges = np.histogram_bin_edges(np.concatenate([reference, sample]), bins)
    return [np.histogram(values, edges)[0] / len(values) for values in (reference, sample)]


def stability_index(reference, sample):
    """Return the PSI with a lower limit for the shares."""
    first, second = (np.maximum(part, LIMIT) for part in shares(reference, sample))
    return np.sum((second - first) * np.log(second / first))


def frouros_index(reference, sample):
    """Return the PSI of frouros."""
    detector = PSI()
    detector.fit(X=reference)
    return detector.compare(X=sample)[0].distance


for size in (200, 1000, 10000):
    rows = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        reference, sample = rng.normal(size=(2, size))
        full = all((part > 0).all() for part in shares(reference, sample))
        rows.append((frouros_index(reference, sample), stability_index(reference, sample), full))
    observed, limited, full = np.array(rows).T
    full = full.astype(bool)
    print(
        f"{size} observations: frouros median {np.median(observed):.3f}, {np.mean(observed > 0.25):.0%} above 0.25;",
        f"with a limit median {np.median(limited):.3f}, {np.mean(limited > 0.25):.0%} above 0.25;",
        f"no empty bin in {full.mean():.0%} of the pairs",
    )
    assert np.allclose(observed[full], limited[full]), "both agree without empty bins"
    if size == 200:
        assert np.median(observed) > 1 and np.mean(observed > 0.25) > 0.45
        assert np.median(limited) < 0.15 and np.mean(limited > 0.25) < 0.1

reference = np.repeat(np.arange(10.0), 20)
reference[reference == 5] = 4
sample = reference.copy()
sample[0] = 5
print(f"a single observation of 200 moves to an empty bin: {frouros_index(reference, sample):.3f}", end=", ")
print(f"with a limit {stability_index(reference, sample):.3f}")
assert frouros_index(reference, sample) > 3 > 0.1 > stability_index(reference, sample)
PYTHON
