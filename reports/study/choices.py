"""Which choices of the search space mattered for accuracy, by Optuna's importances.

This is association: the sampler repeats what it likes, and choices hang together. So the importance of the size stands
beside those of the choices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.study import StudyConfig
from harness.search.pruning import rungs_of
from harness.training.result import Result
from reports.study.networks import Network

# Fewer networks than this let any choice explain everything.
FEWEST_NETWORKS = 50
SIZE = "parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How much each choice mattered, most first.

    Attributes:
        networks: how many were compared: those of the commonest length of a training, ``epochs``.
        epoch: after which the accuracies compared were read, by all networks alike; None for the end of the run.
        importances: name and share; all shares together are 1. ``SIZE`` names the size of the network.
    """

    networks: int
    epochs: int
    epoch: int | None
    importances: tuple[tuple[str, float], ...]


def choices(of: Sequence[Network], config: StudyConfig) -> Choices | None:
    """Return how much each choice of a study mattered, None where too few networks can be compared."""
    firsts = [run for network in of if (run := network.first) is not None]
    lengths = Counter(run.recipe.epochs for run in firsts)
    # Of equally common lengths the longer says more.
    epochs = max(lengths, key=lambda length: (lengths[length], length), default=config.recipe.epochs)
    epoch = next(iter(rungs_of(config, epochs)), None)
    read = [(run, _errors(run, epoch)) for run in firsts if run.recipe.epochs == epochs]
    compared = [(run, errors) for run, errors in read if errors is not None]
    if len(compared) < FEWEST_NETWORKS:
        return None
    sizes = [math.log(max(run.parameters, 1)) for run, _ in compared]
    made: dict[str, dict[int, float]] = {SIZE: dict(enumerate(sizes))}
    options: dict[str, int | None] = {SIZE: None}
    for place, (run, _) in enumerate(compared):
        for decision in run.decisions:
            # A choice may be called as the size is.
            name = f"{decision.name} " if decision.name == SIZE else decision.name
            made.setdefault(name, {})[place] = decision.index
            options[name] = decision.size
    # In the logarithm of the errors 99 to 99.5 % is as far as 98 to 99 %.
    values = [math.log(max(errors, 1)) for _, errors in compared]
    # Optuna compares what all trials of a study have; a choice below another is made by some networks only.
    groups: dict[frozenset[int], list[str]] = {}
    for name, by_place in made.items():
        if len(by_place) >= FEWEST_NETWORKS // 2 and len(set(by_place.values())) > 1:
            groups.setdefault(frozenset(by_place), []).append(name)
    found: dict[str, float] = {}
    for places, names in groups.items():
        found |= _importances({name: made[name] for name in names}, options, {at: values[at] for at in places})
    total = sum(found.values())
    if not total:
        return None
    shares = [(name, value / total) for name, value in found.items() if value > 0]
    ordered = tuple(sorted(shares, key=lambda pair: (-pair[1], pair[0])))
    return Choices(networks=len(compared), epochs=epochs, epoch=epoch, importances=ordered)


def _importances(
    made: Mapping[str, Mapping[int, float]], options: Mapping[str, int | None], values: Mapping[int, float]
) -> dict[str, float]:
    """Return how far the best networks' choices differ from all (PED-ANOVA), by name.

    Args:
        made: by name and network, the index of the option, or a number.
        options: how many there are, None for a number.
        values: by network, what is made small.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(given.values()), max(given.values()))
        if (size := options[name]) is None
        else CategoricalDistribution(range(size))
        for name, given in made.items()
    }
    study = optuna.create_study(direction="minimize")
    for place, value in values.items():
        params = {name: given[place] for name, given in made.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    found = PedAnovaImportanceEvaluator().evaluate(study, params=list(made))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _errors(run: Result, epoch: int | None) -> int | None:
    if epoch is None:
        return run.validation_errors
    return next((item.validation_errors for item in run.history if item.epoch == epoch), None)
