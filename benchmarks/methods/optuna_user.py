"""A user's own Optuna script as a program of the bench: TPE over the decisions of the space, penalties for a miss.

What somebody writes in an afternoon who knows Optuna and nothing of the harness but its notation: one value to
minimise, the size, with a penalty for every point of accuracy that is missing. Lines of JSON in, lines of JSON out.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import optuna

from search_spaces.network import Task, analyse
from search_spaces.notation import parse_space
from search_spaces.space import Chooser, DecisionOptions, SearchSpace, draw

# Parameters that one point of missing accuracy counts for.
PENALTY = 5_000


def suggested(trial: optuna.Trial) -> Chooser:
    """Let an Optuna trial decide what the space leaves open."""

    def choose(name: str, options: DecisionOptions) -> int:
        if options.ordered:
            return trial.suggest_int(name, 0, options.size - 1)
        return int(trial.suggest_categorical(name, list(range(options.size))))

    return choose


def main() -> None:
    """Answer until the input ends."""
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
    """Ask until a network is within the budget; larger ones are told as their size."""
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
