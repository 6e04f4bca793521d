"""Which choices of the search space mattered for accuracy, by Optuna's importances.

This is association: the sampler repeats what it likes, and choices hang together. So the importance of the size stands
beside those of the choices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
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
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import FrozenTrial, create_trial

    trials: dict[str, list[FrozenTrial]] = {}
    sizes = [math.log(max(run.parameters, 1)) for run, _ in compared]
    span = FloatDistribution(min(sizes), max(sizes)) if max(sizes) > min(sizes) else None
    for (run, errors), size in zip(compared, sizes, strict=True):
        # In the logarithm of the errors 99 to 99.5 % is as far as 98 to 99 %.
        value = math.log(max(errors, 1))
        if span is not None:
            made = create_trial(params={SIZE: size}, distributions={SIZE: span}, value=value)
            trials.setdefault(SIZE, []).append(made)
        for decision in run.decisions:
            # A choice may be called as the size is.
            name = f"{decision.name} " if decision.name == SIZE else decision.name
            options = CategoricalDistribution(range(decision.size))
            made = create_trial(params={name: decision.index}, distributions={name: options}, value=value)
            trials.setdefault(name, []).append(made)
    found = {name: _importance(name, made) for name, made in trials.items() if len(made) >= FEWEST_NETWORKS // 2}
    total = sum(found.values())
    if not total:
        return None
    shares = [(name, value / total) for name, value in found.items() if value > 0]
    ordered = tuple(sorted(shares, key=lambda pair: (-pair[1], pair[0])))
    return Choices(networks=len(compared), epochs=epochs, epoch=epoch, importances=ordered)


def _importance(name: str, trials: Sequence[object]) -> float:
    """Return how far the best networks' choices differ from all (PED-ANOVA), 0 where there was one option."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {trial.params[name] for trial in trials}  # type: ignore[attr-defined]
    if len(options) < 2:
        return 0.0
    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)  # type: ignore[arg-type]
    value = PedAnovaImportanceEvaluator().evaluate(study, params=[name])[name]
    return value if math.isfinite(value) else 0.0


def _errors(run: Result, epoch: int | None) -> int | None:
    if epoch is None:
        return run.validation_errors
    return next((item.validation_errors for item in run.history if item.epoch == epoch), None)
