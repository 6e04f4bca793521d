#!/usr/bin/env bash
# pytorch-ignite: NaN is an improvement for EarlyStopping, and a first score of NaN stays the best for Checkpoint.
#
# Versions: pytorch-ignite 0.5.5, torch 2.13.0.
# Expected: NaN counts as no improvement: Checkpoint(n_saved=1) keeps the best finite score, and EarlyStopping
#   (patience=2) stops after two evaluations without improvement.
# Observed: after the scores NaN, 0.9, 0.95 the only file is that of NaN; after 0.5, NaN, 0.9 that of 0.9. EarlyStopping
#   does not stop a training with NaN in all of ten evaluations; without NaN it stops after the third.
# Matters: a diverged training uses its whole budget, and after a first evaluation with NaN no later weights are saved.
#   Return -inf in place of NaN from the score function, or add TerminateOnNan.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 pytorch-ignite==0.5.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging
import math
import os
import tempfile

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping
from torch import nn

logging.disable(logging.CRITICAL)


def saved_files(scores):
    """Return the files after evaluations with these scores."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(lambda engine, batch: None)
        checkpoint = Checkpoint(
            {"network": nn.Linear(1, 1)},
            DiskSaver(folder, require_empty=False),
            score_function=lambda engine: engine.state.score,
            score_name="score",
            n_saved=1,
        )
        for engine.state.score in scores:
            checkpoint(engine)
        return os.listdir(folder)


def epochs(scores):
    """Return the number of epochs until EarlyStopping ends the training."""
    trainer = Engine(lambda engine, batch: None)
    evaluator = Engine(lambda engine, batch: None)
    stopping = EarlyStopping(2, lambda engine: scores[trainer.state.epoch - 1], trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    return trainer.run([0], max_epochs=len(scores)).epoch


files = {scores: saved_files(scores) for scores in ((math.nan, 0.9, 0.95), (0.5, math.nan, 0.9), (0.5, 0.9, math.nan))}
for scores, names in files.items():
    print(f"scores {scores}: {names}")
lengths = epochs([0.5] + 9 * [0.4]), epochs(10 * [math.nan])
print(f"epochs of at most 10: {lengths[0]} with falling scores, {lengths[1]} with NaN")
assert [["nan" in name for name in names] for names in files.values()] == [[True], [False], [False]], files
assert lengths == (3, 10), lengths
PYTHON
