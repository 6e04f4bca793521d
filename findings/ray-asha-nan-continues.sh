#!/usr/bin/env bash
# Ray Tune: ASHA never stops a trial whose metric is NaN.
#
# Versions: ray 2.60.0.
# Expected: at a rung a trial continues if its metric is in the top third (reduction factor 3). A diverged training,
#   with NaN as accuracy, is not in the top third of any rung and stops after the first epoch.
# Observed: the trial runs to max_t: 27 epochs, as many as the best trial; finite accuracies of 0.5 and 0.4 stop after
#   one epoch. A trial stops if its metric is smaller than the cutoff, which is false for NaN; there is no message.
# Matters: candidates that diverge receive the budget of the best candidate. Report 0 in place of NaN, or pass
#   stop=lambda trial_id, result: isnan(result["accuracy"]) to the RunConfig.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "ray[tune]==2.60.0" numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math
from types import SimpleNamespace

from ray.tune.schedulers import ASHAScheduler

MAX_EPOCHS = 27
accuracies = {"best": 0.9, "second": 0.5, "diverged": math.nan, "worst": 0.4, "as good as best": 0.9}
scheduler = ASHAScheduler(
    time_attr="epoch", metric="accuracy", mode="max", max_t=MAX_EPOCHS, grace_period=1, reduction_factor=3
)
epochs = {}
for name, accuracy in accuracies.items():
    trial = SimpleNamespace(trial_id=name)
    scheduler.on_trial_add(None, trial)
    for epoch in range(1, MAX_EPOCHS + 1):
        decision = scheduler.on_trial_result(None, trial, {"epoch": epoch, "accuracy": accuracy})
        if decision == ASHAScheduler.STOP:
            break
    epochs[name] = epoch
    print(f"{name}: accuracy {accuracy}, stopped after {epoch} epochs")
assert epochs["second"] == epochs["worst"] == 1, epochs
assert epochs["best"] == epochs["as good as best"] == MAX_EPOCHS, epochs
assert epochs["diverged"] == MAX_EPOCHS, epochs
PYTHON
