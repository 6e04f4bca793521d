#!/usr/bin/env bash
# Lightning's StochasticWeightAveraging leaves out the last epoch, and takes a step with an old gradient at the end.
#
# Versions: torch 2.13.0, lightning 2.6.6.
# Expected: with ten epochs and swa_epoch_start=7 the module ends with the mean of the weights after the last epochs,
#   the tenth included, and the optimiser takes 100 steps; the pass that recomputes BN statistics changes no weight.
# Observed: the weights are read at the start of an epoch, so the mean is of the epochs 6 to 9, and the tenth epoch is
#   trained in vain. In a network with BN the additional pass ends with a step 101: the gradient of the last training
#   batch is subtracted once more, now from the averaged weights. Without BN there is no such step.
# Matters: the final weights are not the average. With the rate and batch of a real training the step is as large as an
#   ordinary step of the raw weights, and a momentum or Adam makes the step larger. Use WeightAveraging, or average in
#   a callback of your own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 lightning==2.6.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import lightning
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCHES, RATE = 10, 10, 0.05


class Module(lightning.LightningModule):
    def __init__(self, *layers):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), *layers, nn.ReLU(), nn.Linear(8, 1))
        self.steps = 0
        self.weights = []  # of the first layer after each batch

    def training_step(self, batch, index):
        return nn.functional.mse_loss(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=RATE)

    def on_before_optimizer_step(self, optimizer):
        self.steps += 1

    def on_train_batch_end(self, *arguments):
        self.weights.append(self.network[0].weight.detach().clone())


def trained(*layers):
    torch.manual_seed(0)
    inputs = torch.randn(32 * BATCHES, 4)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True).sin()), batch_size=32)
    module = Module(*layers)
    averaging = StochasticWeightAveraging(swa_lrs=RATE, swa_epoch_start=7, annealing_epochs=1)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        callbacks=[averaging],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    return module


def distance(first, second):
    return float((first - second).abs().max())


for layers in ((), (nn.BatchNorm1d(8),)):
    module = trained(*layers)
    ends = module.weights[BATCHES - 1 : EPOCHS * BATCHES : BATCHES]
    final = module.network[0].weight.detach()
    earlier = torch.stack(ends[5:9]).mean(0)
    later = torch.stack(ends[6:10]).mean(0)
    last_step = module.weights[EPOCHS * BATCHES - 1] - module.weights[EPOCHS * BATCHES - 2]
    name = "with BN" if layers else "without BN"
    print(f"{name}: {module.steps} steps; final weights differ from the mean of epochs 6 to 9 by "
          f"{distance(final, earlier):.1e}, from the mean of epochs 7 to 10 by {distance(final, later):.1e}")
    if layers:
        print(f"    from the mean of epochs 6 to 9 plus the last step by {distance(final, earlier + last_step):.1e}")
        assert module.steps == EPOCHS * BATCHES + 1, module.steps
        assert distance(final, earlier) > 1e-5
        assert distance(final, earlier + last_step) < 1e-6
    else:
        assert module.steps == EPOCHS * BATCHES, module.steps
        assert distance(final, earlier) < 1e-6
    assert distance(final, later) > 1e-4
PYTHON
