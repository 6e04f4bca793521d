#!/usr/bin/env bash
# pingouin's ttest(paired=True) reports a power that ignores the pairing.
#
# Versions: pingouin 0.7.0, SciPy 1.17.1.
# Expected: the power belongs to the test that is reported: for pairs it is that of the differences, as in power_ttest
#   with contrast="paired" and d = mean / deviation of the differences.
# Observed: the power is computed from cohen_d, which divides by the deviation of the samples. Two networks differ by
#   0.2 percentage points over 10 seeds, with a deviation of 1 point between seeds and 0.14 of the differences: the
#   mean power of 100 such tests is 0.10, although all of them are significant at 5 %. If the samples of a pair are not
#   correlated, the same formula reports too much: 0.49 for tests of which a quarter is significant.
# Matters: comparisons over the same seeds look as if they needed some 200 seeds. Compute power_ttest(d, n,
#   contrast="paired") with d of the differences.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pingouin==0.7.0 scipy==1.17.1 numpy==2.4.6 pandas==2.3.3
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pingouin

SEEDS, TESTS = 10, 100


def tests(shared, own, difference):
    """Return the share of significant tests, and the mean power of pingouin and of the differences."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(TESTS):
        common = rng.normal(0, shared, SEEDS)
        first = 95 + difference + common + rng.normal(0, own, SEEDS)
        second = 95 + common + rng.normal(0, own, SEEDS)
        row = pingouin.ttest(first, second, paired=True).iloc[0]
        rows.append((row["p_val"] < 0.05, float(row["power"])))
    true_power = pingouin.power_ttest(d=difference / (own * 2**0.5), n=SEEDS, contrast="paired")
    return *np.mean(rows, axis=0), true_power


for title, shared, own, difference in (("correlated", 1, 0.1, 0.2), ("not correlated", 0, 1, 0.6)):
    significant, power, true_power = tests(shared, own, difference)
    print(f"{title}: {significant:.0%} significant, power of the differences {true_power:.2f}, pingouin {power:.2f}")
    assert abs(significant - true_power) < 0.06
    assert power < 0.15 if shared else power > true_power + 0.1
PYTHON
