#!/usr/bin/env bash
# torch.optim.swa_utils.update_bn weights batches, not images: a short last batch counts as much as a full batch.
#
# Versions: torch 2.13.0.
# Expected: one pass over the loader gives the mean and the variance of all images.
# Observed: the running mean is the unweighted average over the batches, so that 8 of 1,032 images have a third of the
#   weight in batches of 512, 512 and 8. The running variance leaves out the spread between the batches' means.
# Matters: averaged weights (SWA, EMA) of networks with BN depend on the size of the last batch, which is short for
#   most small data sets. Shuffle and pass a loader with drop_last=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

images = torch.zeros(1032, 1, 2, 2)
images[-8:] = 3  # the last batch
norm = nn.BatchNorm2d(1)
update_bn(images.split(512), norm)
print(f"mean of all images {images.mean():.4f}, running mean {norm.running_mean.item():.4f}")
print(f"variance of all images {images.var():.4f}, running variance {norm.running_var.item():.4f}")
torch.testing.assert_close(norm.running_mean.item(), 1.0)
torch.testing.assert_close(norm.running_var.item(), 0.0)
norm = nn.BatchNorm2d(1)
update_bn(images.split(129), norm)  # equal batches
torch.testing.assert_close(norm.running_mean, images.mean()[None])
PYTHON
