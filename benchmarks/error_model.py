"""How good the model of the errors is on what it has not seen, beside two linear ones, and its hyperparameters.

All trainings that come with the package and have the learning rate of the recipe ``small`` are predicted from others:
in ten folds over networks, all lengths of a network in one fold, and every form held out in turn. A prediction is a
mean and a deviation of the logarithm of the errors; the outcome's own seeds add to the deviation. The linear models are
least squares over the same observations: over the parameters and epochs, and over what the model before knew of a
network (ADR 7: parameters, multiply-adds, convolutions, receptive field), to which epochs are added, because a search
then had one length.

Hyperparameters are those under which what is on file is most probable. They have seen what is then held out, so they
are looked for again without it, form by form and fold by fold, and what that gives is a line of its own.

    python -m benchmarks.error_model

writes benchmarks/results/error-model.json in about a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from harness.search.proposals import prior
from harness.search.proposals.features import WIDEST_FIELD
from harness.search.proposals.surrogate import SCALES, Observation, Scales, evidence, fitted, predicted
from harness.search.proposals.trainings import PastTraining, digest, shipped
from harness.system import files
from harness.system.statistics import mean
from harness.training.recipe import named_recipe
from search_spaces.cost import analyse
from search_spaces.network import Architecture
from search_spaces.ops import kernels
from search_spaces.task import MNIST

RESULTS = Path(__file__).resolve().parent / "results" / "error-model.json"
RECIPE = "small"
FOLDS = 10
# Of an outcome, standardised: 1.2816 is the 90 % quantile of the normal distribution, in every printed table.
WITHIN_80 = 1.2816
# Round values near the optimum of an earlier try, written down before this measurement.
ROUND = Scales(slope=0.08, bend=0.4, reach=4.0, training_reach=4.0, network=0.06)
# What is looked for; the level and what seeds differ by are known from elsewhere.
FREE = ("slope", "bend", "reach", "training_reach", "network")
# No scale lies farther than so many times from where the search begins.
FARTHEST = 50.0
EVALUATIONS = 600


@dataclass(frozen=True, slots=True)
class Case:
    """A past training as the models see it."""

    training: PastTraining
    observation: Observation

    @property
    def log_errors(self) -> float:
        """Logarithm of the errors, of at least one, as the model takes it."""
        return math.log(max(1.0, self.observation.errors))


@dataclass(frozen=True, slots=True)
class Guess:
    """What was said of a case that was held out; ``deviation`` is that of the outcome, its seeds included."""

    centre: float
    deviation: float
    outcome: float


# Takes the cases to learn from and those that are asked for.
Method = Callable[[Sequence[Case], Sequence[Case]], list[Guess]]


def cases(trainings: Sequence[PastTraining]) -> list[Case]:
    """Return the trainings that the model learns from in a search by the recipe."""
    recipe = named_recipe(RECIPE).recipe
    return [Case(item, seen) for item in trainings for seen in prior.observations([item], recipe, MNIST)]


def folds(known: Sequence[Case], count: int, seed: int = 0) -> dict[str, list[Case]]:
    """Return the cases in so many folds of equally many networks, all cases of a network in one."""
    networks = sorted({case.training.architecture for case in known}, key=str)
    random.Random(seed).shuffle(networks)
    fold = {network: place % count for place, network in enumerate(networks)}
    return {str(at): [case for case in known if fold[case.training.architecture] == at] for at in range(count)}


def forms(known: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the cases by the form of their networks."""
    names = sorted({case.training.form for case in known})
    return {name: [case for case in known if case.training.form == name] for name in names}


def held_out(method: Method, groups: Mapping[str, Sequence[Case]]) -> dict[str, list[Guess]]:
    """Return what is said of each group by what all others teach."""
    return {
        name: method([case for other, items in groups.items() if other != name for case in items], asked)
        for name, asked in groups.items()
    }


def process(scales: Scales) -> Method:
    """Return the model of the searches with these hyperparameters."""

    def guesses(learned: Sequence[Case], asked: Sequence[Case]) -> list[Guess]:
        model = fitted([case.observation for case in learned], scales)
        means, deviations = predicted(model, [case.observation.row for case in asked])
        return [
            Guess(float(centre), math.sqrt(float(own) ** 2 + scales.seed**2 / case.observation.runs), case.log_errors)
            for centre, own, case in zip(means, deviations, asked, strict=True)
        ]

    return guesses


def sought(learned: Sequence[Case], asked: Sequence[Case]) -> list[Guess]:
    """Do as the model of the searches, with the hyperparameters under which what was learned is most probable."""
    return process(most_probable([case.observation for case in learned]))(learned, asked)


def linear(numbers: Callable[[PastTraining], Sequence[float]]) -> Method:
    """Return least squares over some numbers of a training; its deviation is that of a new observation."""

    def guesses(learned: Sequence[Case], asked: Sequence[Case]) -> list[Guess]:
        # (cases, numbers and a constant)
        rows, new = (np.array([[1.0, *numbers(case.training)] for case in side]) for side in (learned, asked))
        outcomes = np.array([case.log_errors for case in learned])
        inverse = np.linalg.pinv(rows.T @ rows)
        slopes = inverse @ rows.T @ outcomes
        variance = ((outcomes - rows @ slopes) ** 2).sum() / max(1, len(rows) - np.linalg.matrix_rank(rows))
        deviations = np.sqrt(variance * (1 + np.einsum("ij,jk,ik->i", new, inverse, new)))
        return [
            Guess(float(centre), float(deviation), case.log_errors)
            for centre, deviation, case in zip(new @ slopes, deviations, asked, strict=True)
        ]

    return guesses


def size_and_length(training: PastTraining) -> tuple[float, ...]:
    """Return the logarithms of parameters and epochs."""
    return (_costs(training.architecture)[0], math.log(training.epochs))


def four_costs(training: PastTraining) -> tuple[float, ...]:
    """Return what the model before knew, logarithms of parameters and multiply-adds, and the logarithm of epochs."""
    return (*_costs(training.architecture), math.log(training.epochs))


@cache
def _costs(architecture: Architecture) -> tuple[float, ...]:
    found = analyse(architecture, MNIST)
    field = min(WIDEST_FIELD, found.receptive_field)
    return (math.log(found.parameters), math.log(max(1, found.macs)), len(kernels(architecture.ops)), field)


def scores(guesses: Sequence[Guess]) -> dict[str, float]:
    """Return how good guesses are: of the logarithm's error and of the error in deviations, 1 where these are right."""
    errors = [guess.outcome - guess.centre for guess in guesses]
    standard = [error / guess.deviation for error, guess in zip(errors, guesses, strict=True)]
    densities = [
        -0.5 * each**2 - math.log(guess.deviation * math.sqrt(2 * math.pi))
        for each, guess in zip(standard, guesses, strict=True)
    ]
    return {
        "n": len(guesses),
        "root_mean_square": round(math.sqrt(mean([error**2 for error in errors])), 4),
        "mean": round(mean(errors), 4),
        "standardised": round(math.sqrt(mean([each**2 for each in standard])), 3),
        "within_80": round(mean([float(abs(each) <= WITHIN_80) for each in standard]), 3),
        "log_density": round(mean(densities), 4),
    }


def measured(method: Method, known: Sequence[Case]) -> dict[str, Any]:
    """Return the scores of a method: of all folds together, of all forms together and of each form."""
    by_fold, by_form = held_out(method, folds(known, FOLDS)), held_out(method, forms(known))
    return {
        "folds": scores([guess for guesses in by_fold.values() for guess in guesses]),
        "forms": scores([guess for guesses in by_form.values() for guess in guesses]),
        "form": {name: scores(guesses) for name, guesses in by_form.items()},
    }


def most_probable(observations: Sequence[Observation], begin: Scales = SCALES) -> Scales:
    """Return the hyperparameters under which observations are most probable (Nelder and Mead, 1965), from some on."""
    from scipy.optimize import minimize

    first = np.log([getattr(begin, name) for name in FREE])
    limit = math.log(FARTHEST)

    def lost(logs: Any) -> float:
        if np.abs(logs - first).max() > limit:
            return math.inf
        return -evidence(observations, _scales(logs, begin))

    found = minimize(lost, first, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 0.01, "maxfev": EVALUATIONS})
    return _scales(found.x, begin)


def _scales(logs: Sequence[float], begin: Scales) -> Scales:
    free = dict(zip(FREE, (float(math.exp(each)) for each in logs), strict=True))
    return Scales(level=begin.level, seed=begin.seed, **free)


def no_worse(found: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether held-out figures are no worse than others: the density of outcomes, by folds and by forms."""
    return all(found[way]["log_density"] >= other[way]["log_density"] for way in ("folds", "forms"))


def main() -> None:
    """Measure all models, print their scores, and write them."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    trainings = shipped("mnist")
    known = cases(trainings)
    observations = [case.observation for case in known]
    optimum = _rounded(most_probable(observations))
    scales = {"present": SCALES, "round": ROUND, "optimum": optimum}
    methods = {name: process(each) for name, each in scales.items()} | {"sought": sought}
    methods |= {"size and length": linear(size_and_length), "four costs": linear(four_costs)}
    found = {name: measured(method, known) for name, method in methods.items()}
    document: dict[str, Any] = {
        "machine": machine(),
        "trainings": {"sha256": digest(trainings), "on_file": len(trainings), "used": len(known)},
        "networks": len({case.training.architecture for case in known}),
        "scales": {
            name: asdict(each) | {"evidence": round(evidence(observations, each), 2)} for name, each in scales.items()
        },
        "optimum_no_worse_than_round": no_worse(found["optimum"], found["round"]),
        "scores": found,
    }
    files.write_json(RESULTS, document)
    print(json.dumps({name: document["scales"][name] for name in scales}, indent=1))
    for name, each in found.items():
        for way, figures in (("folds", each["folds"]), ("forms", each["forms"]), *each["form"].items()):
            print(f"{name:<16}{way:<11}" + "  ".join(f"{key} {value}" for key, value in figures.items()))


def _rounded(scales: Scales) -> Scales:
    """Return scales in three digits, so that what is written is what was measured."""
    return Scales(**{name: float(f"{value:.3g}") for name, value in asdict(scales).items()})


if __name__ == "__main__":
    main()
