"""Syne Tune on a table as a tabular blackbox: ASHA minimises a cost with a penalty, in simulated time."""

from itertools import product

import numpy as np
import pandas as pd
from syne_tune import StoppingCriterion, Tuner
from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
from syne_tune.blackbox_repository import UserBlackboxBackend
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular
from syne_tune.config_space import choice, randint
from syne_tune.experiments import load_experiment
from syne_tune.optimizer.baselines import ASHA

import harness


def blackbox(problem):
    """Return a table as a blackbox; ``serialize`` writes blackboxes in the format of the blackbox repository."""
    sizes = {name: range(each.size) for name, each in problem.options.items()}
    space = {name: randint(0, each.size - 1) for name, each in problem.options.items() if each.ordered}
    space |= {name: choice([*sizes[name]]) for name, each in problem.options.items() if not each.ordered}
    frame = pd.DataFrame(product(*sizes.values()), columns=[*sizes])
    rows = [problem.evaluate(*run) for run in product(frame.to_dict("records"), problem.rungs, problem.seeds)]
    values = np.reshape([(problem.cost(row), row.seconds) for row in rows], (len(frame), -1, len(problem.seeds), 2))
    epochs = {"epochs": randint(problem.rungs[0], problem.rungs[-1])}
    return BlackboxTabular(frame, space, epochs, values.swapaxes(1, 2), np.array(problem.rungs), ["cost", "seconds"])


def tune(problem, trials=50):
    """Return the results at all rungs as a pandas table; Syne Tune stores the table in ``SYNETUNE_FOLDER``."""
    table = blackbox(problem)
    backend = UserBlackboxBackend(table, elapsed_time_attr="seconds", seed=0)
    scheduler = ASHA(table.configuration_space, metric="cost", time_attr="epochs", max_t=problem.rungs[-1])
    stop = StoppingCriterion(max_num_trials_finished=trials)
    tuner = Tuner(backend, scheduler, stop, n_workers=4, sleep_time=0, callbacks=[SimulatorCallback()])
    tuner.run()
    return load_experiment(tuner.name).results


if __name__ == "__main__":
    print(tune(harness.bench.problem("mnist-bench")))
