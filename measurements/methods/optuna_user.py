"""Example of an Optuna script as a program for the bench: TPE over the decisions of the space.

The script needs no knowledge of the harness except the notation. TPE minimises a single value: the number of
parameters, plus a penalty for each percentage point below the target. Input and output are JSON lines.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import optuna

from harness.spaces.network import Task, analyse
from harness.spaces.notation import parse_space
from harness.spaces.space import Chooser, DecisionOptions, SearchSpace, draw

PENALTY = 5_000  # parameters per percentage point below the target


def suggested(trial: optuna.Trial) -> Chooser:
    """Return a chooser that lets an Optuna trial make the decisions of the space."""

    def choose(name: str, options: DecisionOptions) -> int:
        if options.ordered:
            return trial.suggest_int(name, 0, options.size - 1)
        return int(trial.suggest_categorical(name, list(range(options.size))))

    return choose


def main() -> None:
    """Answer the questions on stdin until the input ends."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = json.loads(sys.stdin.readline())["begin"]
    task = Task(tuple(problem["input_shape"]), problem["classes"])
    space = parse_space(problem["space"], task=task)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=problem["seed"]))
    trials: dict[str, optuna.Trial] = {}
    for line in sys.stdin:
        for item in json.loads(line)["tried"]:
            if item["validation_accuracy_pct"] is not None and item["network"] in trials:
                missing = max(0.0, problem["target_pct"] - item["validation_accuracy_pct"])
                study.tell(trials.pop(item["network"]), item["parameters"] + PENALTY * missing)
        print(json.dumps({"network": propose(study, space, problem, trials)}), flush=True)


def propose(study: optuna.Study, space: SearchSpace, problem: dict[str, Any], trials: dict[str, optuna.Trial]) -> str:
    """Return the first suggested network within the budget; report larger networks with a penalty."""
    while True:
        trial = study.ask()
        architecture = draw(space, suggested(trial)).architecture
        size = analyse(architecture, space.task).parameters
        if size <= problem["budget"]:
            trials[str(architecture)] = trial
            return str(architecture)
        study.tell(trial, size + PENALTY)


if __name__ == "__main__":
    main()
