"""Selection of the augmentation for a data set by the validation errors of a network.

A rotation preserves the label of most pictures, but not of all. The selected recipe is stored beside the data set for
later searches, and is part of the configuration of a study and of each row of the leaderboard.
"""

from __future__ import annotations

import math
import random
from statistics import fmean
from typing import Any

from harness.data.datasets import Dataset
from harness.searching.time_budget import Effort, pace_of, step_macs
from harness.spaces.network import Architecture
from harness.spaces.space import SearchSpace, draw, judge, uniform
from harness.system.document import read_as
from harness.system.files import Workspace, write_json
from harness.system.terminal import say
from harness.training.executors.base import Executor, run_all
from harness.training.recipe import NamedRecipe, named_recipe
from harness.training.result import Purpose
from harness.training.run import Job

_DIGITS = ("mnist", "mnist-5k")  # data sets with recipe ``small``, without a choice
CHOICES = ("small", "small-shift", "small-still")  # all augmentations, shifts only, none (``recipe.RECIPES``)
SHORT_CHOICE = "small-shift"  # of searches that are too short for a choice
_STEPS = 4_000  # training steps per run: enough to show the gain of an augmentation
_SECONDS = 180.0  # s, time limit below which the number of steps is proportional to the limit
_SHARE_OF_TIME = 0.2  # of the time limit, for all runs together
_LATEST_SHARE = 0.5  # of the time limit, after which the runs are stopped; 2.5 times the expected share
_SEEDS = 2  # most seeds per recipe: the errors differ as much between seeds as between recipes
_DRAWS = 25  # feasible draws, of which the network of median size is trained
_ATTEMPTS = 10_000  # draws in total
_MIN_SECONDS = 60.0  # s, time limit below which ``SHORT_CHOICE`` is used


def recipe_for(data: Dataset, workspace: Workspace, seconds: float | None) -> NamedRecipe | None:
    """Return the default recipe for a search on a data set; None if ``choose`` has to select the recipe first.

    Args:
        seconds: Time limit of the search; None for no limit.

    Raises:
        ContentError: The stored selection is damaged.
    """
    if data.name in _DIGITS:
        return named_recipe("small")
    _, rows, _ = data.image_shape
    if rows == 1:
        return named_recipe("small-still")  # a single row leaves the frame if rotated or shifted
    path = workspace.data(data.name) / "augmentation.json"
    if path.is_file():
        choice = read_as(dict[str, Any], path, f"the file {path}", "delete the file to select the augmentation again")
        return named_recipe(str(choice.get("recipe")))
    return named_recipe(SHORT_CHOICE) if seconds is not None and seconds < _MIN_SECONDS else None


def choose(
    data: Dataset, space: SearchSpace, budget: int, executor: Executor, effort: Effort, workspace: Workspace
) -> NamedRecipe:
    """Train a network with each recipe of ``CHOICES``, and store and return the recipe with the fewest errors.

    The network has the median size of ``_DRAWS`` feasible draws. If no draw is feasible, the smallest draw is trained.
    If the ops of no draw fit together, or the runs of a seed do not end within ``_LATEST_SHARE`` of the time limit,
    ``SHORT_CHOICE`` is returned and nothing is stored. The errors are mean shares over ``_SEEDS`` seeds, or over one
    seed if two would take more than ``_SHARE_OF_TIME`` at the measured pace; in a failed run all validation images
    count as wrong.

    Args:
        executor: Started and stopped here.
        effort: At the expected pace, the runs take at most ``_SHARE_OF_TIME`` of the time limit.
    """
    network = _median_network(space, budget)
    if network is None:
        return named_recipe(SHORT_CHOICE)
    epochs = _epochs(network, data, effort)
    errors_pct = _errors_of(network, epochs, executor, effort)
    if not all(errors_pct.values()):
        say(f"augmentation: recipe {SHORT_CHOICE}, because the trainings for a choice did not end in time", "warning")
        return named_recipe(SHORT_CHOICE)
    best = min(CHOICES, key=lambda name: fmean(errors_pct[name]))
    figures = ", ".join(f"{name} {fmean(errors_pct[name]):.2f} %" for name in CHOICES)
    say(f"augmentation: recipe {best}, by the mean share of wrong validation images ({figures})")
    document = {"recipe": best, "errors_pct": errors_pct, "network": str(network), "epochs": epochs}
    write_json(workspace.data(data.name) / "augmentation.json", document)
    return named_recipe(best)


def _median_network(space: SearchSpace, budget: int) -> Architecture | None:
    """Return the network of median size of ``_DRAWS`` feasible draws; None if the ops of no draw fit together."""
    rng = random.Random(0)
    sizes = dict[Architecture, int]()
    networks = list[Architecture]()
    for _ in range(_ATTEMPTS):
        network = draw(space, uniform(rng)).architecture
        feasibility = judge(space, network, budget)
        if feasibility.analysis is not None:
            sizes[network] = feasibility.analysis.parameters
        if feasibility.accepted:
            networks.append(network)
        if len(networks) == _DRAWS:
            break
    if not sizes:
        return None
    # Infeasible networks compare the recipes as well.
    return sorted(networks or sizes, key=lambda each: sizes[each])[len(networks) // 2]


def _max_seconds(effort: Effort) -> float:
    return math.inf if effort.seconds is None else _SHARE_OF_TIME * effort.seconds * effort.workers


def _epochs(network: Architecture, data: Dataset, effort: Effort) -> int:
    batch = named_recipe(CHOICES[0]).recipe.batch_size
    share = 1.0 if effort.seconds is None else min(1.0, effort.seconds / _SECONDS)
    epochs = max(2, math.ceil(share * _STEPS * batch / data.train_size))
    pace = pace_of(effort.engine, effort.device)
    # In seconds of a worker.
    epoch_seconds = pace.seconds(1, data.train_size, step_macs(network, data.task)) * len(CHOICES) * _SEEDS
    return max(1, int(min(epochs, _max_seconds(effort) / epoch_seconds)))


def _errors_of(network: Architecture, epochs: int, executor: Executor, effort: Effort) -> dict[str, list[float]]:
    jobs = [
        Job(
            architecture=network,
            recipe=named_recipe(name, epochs=epochs).recipe,
            recipe_name=name,
            purpose=Purpose.TRAIN,
            seed_index=seed_index,
            device=effort.device,
            engine=effort.engine,
        )
        for seed_index in range(_SEEDS)
        for name in CHOICES
    ]
    # The validation parts of the seeds may differ in size.
    error_by_seed: dict[str, dict[int, float]] = {name: {} for name in CHOICES}  # per cent of the validation images
    train_seconds = 0.0
    end = math.inf if effort.seconds is None else executor.now() + _LATEST_SHARE * effort.seconds
    for event in run_all(jobs, executor, effort.workers, is_over=lambda: executor.now() >= end):
        validation = event.result.validation
        error_pct = 100.0 if validation is None else 100 - validation.accuracy_pct
        error_by_seed[event.job.recipe_name][event.job.seed_index] = error_pct
        train_seconds += event.result.train_seconds
        ended_runs = sum(map(len, error_by_seed.values()))
        # Jobs begin in order, so all runs of the first seed have begun.
        if ended_runs == len(CHOICES) and _SEEDS * train_seconds > _max_seconds(effort):
            jobs.clear()
    complete_seeds = sorted(set.intersection(*map(set, error_by_seed.values())))
    return {name: [errors[seed] for seed in complete_seeds] for name, errors in error_by_seed.items()}
