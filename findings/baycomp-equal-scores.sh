#!/usr/bin/env bash
# baycomp: for identical scores the first classifier is better with probability 0.7; the sign test returns NaN.
#
# Versions: baycomp 1.0.3, NumPy 2.4.6, SciPy 1.17.1, matplotlib 3.11.2.
# Expected: the probabilities of two_on_multiple(x, x) are 0.5 and 0.5, as those of two_on_single(x, x), and exchanging
#   the arguments exchanges the probabilities. The sign test counts ties for both sides or returns 0.5 too.
# Observed: without a rope both sides of a sample of the posterior have the same weight up to rounding; exact ties are
#   counted for the first classifier, so that it gets 0.67 to 0.77, in either order of the arguments. SignTest.probs is
#   NaN for 12 and more identical scores, and for a single difference in 20. two_on_multiple makes a difference of 0.001
#   in one of 20 data sets a probability of 1.0. With a rope the answers are right.
# Matters: accuracies of small test sets are equal in many data sets, for example those of a network and its pruned
#   copy. Pass a rope, and compare the scores for equality first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile baycomp==1.0.3 numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import baycomp
import numpy as np


def show(name, probabilities):
    """Print and return probabilities."""
    print(f"{name}:", " ".join(f"{probability:.3f}" for probability in probabilities))
    return probabilities


for data_sets in (3, 6, 12, 30):
    scores = np.linspace(0.7, 0.95, data_sets)
    first, _, second = show(f"{data_sets} equal scores", baycomp.two_on_multiple(scores, scores, random_state=0))
    posterior = baycomp.SignedRankTest(scores, scores, random_state=0).sample
    difference = posterior[:, 0] - posterior[:, 2]
    print(f"  posterior: largest difference of both sides {abs(difference).max():.1e}, exact ties",
          f"{np.mean(difference == 0):.3f}")
    assert first > 0.6 and abs(first + second - 1) < 1e-9 and abs(difference).max() < 1e-12
    assert np.isclose(first, np.mean(difference >= 0))
    assert np.allclose(baycomp.two_on_single(scores, scores), 0.5)
    assert np.allclose(baycomp.two_on_multiple(scores, scores, rope=0.01, random_state=0), (0, 1, 0))
    if data_sets >= 12:
        assert np.isnan(show("  sign test", baycomp.SignTest.probs(scores, scores, random_state=0))).all()

scores = np.linspace(0.7, 0.95, 20)
better = scores + np.where(np.arange(20) == 3, 0.001, 0)
assert show("one of 20 larger by 0.001", baycomp.two_on_multiple(scores, better, random_state=0))[2] == 1
assert show("exchanged", baycomp.two_on_multiple(better, scores, random_state=0))[0] == 1
assert np.isnan(show("sign test", baycomp.SignTest.probs(scores, better, random_state=0))).all()
assert show("rope 0.01", baycomp.two_on_multiple(scores, better, rope=0.01, random_state=0))[1] == 1

noise = np.random.default_rng(0).normal(0, 0.01, 20)
forward = show("scores without ties", baycomp.two_on_multiple(scores, scores + noise, random_state=0))
exchanged = show("exchanged", baycomp.two_on_multiple(scores + noise, scores, random_state=0))
assert np.allclose(forward, exchanged[::-1], atol=0.02)
PYTHON
