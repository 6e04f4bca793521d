#!/usr/bin/env bash
# torcheval: the top-2 accuracy is 1.0 if all logits are equal or NaN, and rises when logits are rounded.
#
# Versions: torcheval 0.0.7, torchmetrics 1.9.0, pytorch-ignite 0.5.5, scikit-learn 1.9.1, torch 2.13.0.
# Expected: a network with ten equal logits has 2 of 10 classes among its top 2, so its accuracy is 0.2; a network that
#   returns NaN has at most this accuracy. With k=1 all packages say 0.1.
# Observed: torchmetrics and ignite say 0.2 for both, scikit-learn 0.2 and ValueError. torcheval says 1.0 for both, also
#   for k=5, and its hit_rate and reciprocal_rank are 1.0: a class is a hit if fewer than k logits are larger, which
#   holds for ties and for NaN. Random logits have 0.2; rounded to five levels they have 0.35.
# Matters: integer networks have logits with ties, so coarser rounding seems to improve the network, and a diverged or
#   dead network is the best of a search. Check that logits are finite, and use torchmetrics or ignite for k > 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 torcheval==0.0.7 torchmetrics==1.9.0 \
  pytorch-ignite==0.5.5 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import ignite.metrics
import sklearn.metrics
import torch
from torcheval.metrics import functional
from torchmetrics.functional.classification import multiclass_accuracy


def accuracies(logits, labels, k):
    """Return the top-k accuracy of four packages."""
    metric = ignite.metrics.TopKCategoricalAccuracy(k)
    metric.update((logits, labels))
    answers = {
        "torcheval": functional.multiclass_accuracy(logits, labels, k=k),
        "torchmetrics": multiclass_accuracy(logits, labels, num_classes=10, top_k=k, average="micro"),
        "ignite": metric.compute(),
    }
    if logits.isfinite().all():
        answers["scikit-learn"] = sklearn.metrics.top_k_accuracy_score(labels, logits, k=k)
    return {name: round(float(answer), 3) for name, answer in answers.items()}


labels = torch.arange(10).repeat(1_000)
noise = torch.randn(10_000, 10, generator=torch.Generator().manual_seed(0))
equal = torch.zeros(10_000, 10)
cases = {"equal": equal, "NaN": equal / equal, "random": noise, "rounded": noise.round().clamp(-2, 2)}
for name, logits in cases.items():
    for k in (1, 2, 5):
        answers = accuracies(logits, labels, k)
        print(f"{name:8} k={k}: {answers}")
        others = [answer for package, answer in answers.items() if package != "torcheval"]
        assert all(abs(answer - k / 10) < 0.03 for answer in others), answers
        if k == 1 or name == "random":
            assert abs(answers["torcheval"] - k / 10) < 0.03, answers
        elif name == "rounded":
            assert answers["torcheval"] > k / 10 + 0.1, answers
        else:
            assert answers["torcheval"] == 1, answers
assert functional.hit_rate(equal, labels, k=2).mean() == 1
assert functional.reciprocal_rank(equal, labels).mean() == 1
PYTHON
