#!/usr/bin/env bash
# timm: MultiStepLRScheduler lowers the rate an epoch before StepLRScheduler and before PyTorch's MultiStepLR.
#
# Versions: timm 1.0.31, torch 2.13.0, torchvision 0.28.0 (imported by timm).
# Expected: with decay_t=[30] epochs 0 to 29 have the first rate and epoch 30 the lower rate, as StepLRScheduler with
#   decay_t=30 and MultiStepLR with milestones [30].
# Observed: the lower rate begins in epoch 29, or in step 29 with t_in_epochs=False. A comment in the source states that
#   the offset stays; the documentation of the parameter does not mention it.
# Matters: milestones of PyTorch or of a step schedule do not carry over. In a training of 10 epochs each drop is a
#   tenth of the training too early, and the last phase longer. Pass each milestone plus one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 torchvision==0.28.0 numpy==2.4.6 timm==1.0.31
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # operators of a torchvision for GPUs are absent beside a torch for CPUs; timm needs none here
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
from timm.scheduler import MultiStepLRScheduler, StepLRScheduler

EPOCHS, DROP = 40, 30


def first_low_epoch(create, timm=True):
    """Return the first epoch that is trained with the lower rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = create(optimizer)
    rates = []
    for epoch in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if timm:
            scheduler.step(epoch + 1)
            scheduler.step_update(epoch + 1)
        else:
            scheduler.step()
    return next(epoch for epoch, rate in enumerate(rates) if rate < 0.5)


epochs = {
    "timm MultiStepLRScheduler": first_low_epoch(lambda o: MultiStepLRScheduler(o, [DROP], 0.1)),
    "timm MultiStepLRScheduler, in steps": first_low_epoch(
        lambda o: MultiStepLRScheduler(o, [DROP], 0.1, t_in_epochs=False)
    ),
    "timm StepLRScheduler": first_low_epoch(lambda o: StepLRScheduler(o, DROP, 0.1)),
    "torch MultiStepLR": first_low_epoch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [DROP], 0.1), timm=False),
}
for name, epoch in epochs.items():
    print(f"{name}: first epoch with the lower rate {epoch}")
assert list(epochs.values()) == [DROP - 1, DROP - 1, DROP, DROP], epochs
PYTHON
