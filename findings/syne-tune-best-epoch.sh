#!/usr/bin/env bash
# Syne Tune's best_config selects by the best epoch of each trial, not by its last epoch.
#
# Versions: Syne Tune 0.16.0.
# Expected: Tuner.best_config() names the trial with the best accuracy at the end of its training.
# Observed: the trial whose accuracy was highest after any epoch. A trial with 0.95, then 0.50, is better than a trial
#   with 0.60, then 0.90. experiments.load_experiment(...).best_config() does the same.
# Matters: the maximum over epochs favours noisy trainings, and the delivered weights are usually those of the last
#   epoch. Compare the last result of each trial in load_experiment(...).results.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile syne-tune==0.16.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import logging
import os

os.environ["SYNETUNE_FOLDER"] = os.getcwd()  # results of simulations

import numpy as np
import pandas as pd
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
from syne_tune.blackbox_repository import UserBlackboxBackend
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
from syne_tune.config_space import randint
from syne_tune.experiments import load_experiment
from syne_tune.optimizer.baselines import RandomSearch

logging.disable(logging.CRITICAL)
ACCURACIES = np.array([[0.95, 0.50], [0.60, 0.90]])  # networks, epochs
table = np.stack([ACCURACIES, np.cumsum(np.ones((2, 2)), axis=1)], axis=-1)[:, None]
space = {"network": randint(0, 1)}
box = BlackboxTabular(
    pd.DataFrame({"network": range(2)}),
    space,
    {"epoch": randint(1, 2)},
    table,
    objectives_names=["accuracy", "elapsed"],
)
tuner = Tuner(
    trial_backend=UserBlackboxBackend(box, elapsed_time_attr="elapsed", tuner_sleep_time=0.01),
    scheduler=RandomSearch(dict(space), metrics=["accuracy"], do_minimize=False, random_seed=0),
    stop_criterion=StoppingCriterion(max_num_trials_finished=6),
    n_workers=1,
    sleep_time=0,
    callbacks=[SimulatorCallback()],
    save_tuner=False,
)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    tuner.run()
    best = tuner.best_config()[1]["network"]
    experiment = load_experiment(tuner.name)
    loaded = experiment.best_config()["config_network"]
last = experiment.results.sort_values("epoch").groupby("config_network")["accuracy"].last()
print("accuracies after each epoch:", ACCURACIES.tolist(), "last:", last.to_dict())
print(f"best_config of the tuner: network {best}, of the loaded experiment: network {loaded}")
assert set(experiment.results["config_network"]) == {0, 1}, "both networks ran"
assert last.idxmax() == 1
assert (best, loaded) == (0, 0), (best, loaded)
PYTHON
