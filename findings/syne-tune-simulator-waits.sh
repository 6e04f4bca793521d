#!/usr/bin/env bash
# Syne Tune's simulator notices the end of a trial only every five simulated seconds.
#
# Versions: Syne Tune 0.16.0.
# Expected: on a simulated clock a worker starts the next trial when the last one ends, apart from the stated delays
#   of 0.05 s; Tuner(sleep_time=0) excludes waiting.
# Observed: each trial ends at a multiple of 5 simulated seconds: trainings of 10 s take 15 s, trainings of 0.1 s take
#   5 s. Tuner(sleep_time=0) has no effect; the interval is the argument tuner_sleep_time of the backend.
# Matters: tables of small networks have trainings of seconds, so curves over simulated time show mostly the waiting;
#   ranks of methods that train many short trials change.
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
NETWORKS, EPOCHS = 50, 10


def simulate(epoch_seconds, **options):
    """Return the number of trainings and the simulated seconds of one worker."""
    table = np.zeros((NETWORKS, 1, EPOCHS, 2))
    table[:, 0, :, 0] = np.linspace(1, 0, NETWORKS)[:, None]
    table[:, 0, :, 1] = epoch_seconds * np.arange(1, EPOCHS + 1)
    rows = pd.DataFrame({"network": range(NETWORKS)})
    space = {"network": randint(0, NETWORKS - 1)}
    fidelity = {"epoch": randint(1, EPOCHS)}
    box = BlackboxTabular(rows, space, fidelity, table, objectives_names=["loss", "elapsed"])
    tuner = Tuner(
        trial_backend=UserBlackboxBackend(box, elapsed_time_attr="elapsed", **options),
        scheduler=RandomSearch(dict(space), metrics=["loss"], random_seed=1),
        stop_criterion=StoppingCriterion(max_num_trials_finished=12),
        n_workers=1,
        sleep_time=0,
        callbacks=[SimulatorCallback()],
        save_tuner=False,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        tuner.run()
    results = load_experiment(tuner.name).results
    return results["trial_id"].nunique(), results["st_tuner_time"].max()


seconds = {}
for epoch_seconds, options in ((1, {}), (0.01, {}), (0.01, {"tuner_sleep_time": 0.01})):
    trainings, end = simulate(epoch_seconds, **options)
    work = trainings * EPOCHS * epoch_seconds
    seconds[epoch_seconds, *options] = end / work
    print(f"{trainings} trainings of {EPOCHS * epoch_seconds} s = {work:.1f} s;", end=" ")
    print(f"the simulated clock shows {end:.1f} s {options}")
assert 1.4 < seconds[1,] < 1.6, seconds
assert seconds[0.01,] > 40, seconds
assert seconds[0.01, "tuner_sleep_time"] < 3, seconds
PYTHON
