"""A fractional factorial on one small network: which of fifteen choices of recipe and grammar matter, on validation.

Thirty-two combinations of fifteen two-level factors, 2^(15-10), resolution IV: the first five factors run through all
their combinations, the levels of the others are products of three of these, so that no main effect is confounded with
an effect of two factors (Box and Hunter, Technometrics 3, 1961). Every run informs every effect: with n runs of
deviation s an effect has the standard error 2 s / sqrt(n). The deviation is what the main effects leave unexplained:
seeds, and effects of several factors together. The test set is not read.

    python -m benchmarks.factorial choices --epochs 20 --data FOLDER
    python -m benchmarks.factorial amounts --epochs 30 --data FOLDER
    python -m benchmarks.factorial separable --epochs 60 --data FOLDER

writes benchmarks/results/factorial-choices.json and so on, and keeps the runs beside it.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.runs import trained
from harness.system import files
from harness.system.statistics import mean
from harness.training.recipe import AverageStatistics, Initialisation, Recipe, Schedule
from harness.training.result import Purpose
from harness.training.run import Job
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

HERE = Path(__file__).resolve().parent / "results"
TEACHER = (
    "conv3x3(12) bn relu | maxpool | conv3x3(24) bn relu conv3x3(24) bn relu | maxpool | "
    "conv3x3(32) bn relu conv3x3(32) bn relu | gap | linear(10)"
)


@dataclass(frozen=True, slots=True)
class Factor:
    """A choice between two levels: of the recipe, or of the network's text.

    Attributes:
        low, high: fields of the recipe that a level sets.
        rewrite: what the high level does to the text of the network.
    """

    name: str
    low: dict[str, Any] = field(default_factory=dict)
    high: dict[str, Any] = field(default_factory=dict)
    rewrite: Callable[[str], str] | None = None


_TAUGHT: dict[str, Any] = {"teacher": TEACHER, "teacher_recipe": Recipe()}
CHOICES = (
    Factor("learning rate 0.05 -> 0.1", {"learning_rate": 0.05}, {"learning_rate": 0.1}),
    Factor("weight decay 1e-4 -> 5e-4", {"weight_decay": 1e-4}, {"weight_decay": 5e-4}),
    Factor("moved images 0.4 -> 0.8", {"augmented_share": 0.4}, {"augmented_share": 0.8}),
    Factor("no teacher -> taught", {}, _TAUGHT),
    Factor("relu -> leaky(0.1)", rewrite=lambda text: text.replace("relu", "leaky(0.1)")),
    Factor("batch 32 -> 16", {"batch_size": 32}, {"batch_size": 16}),
    Factor("warm-up 0.05 -> 0.3", {"warmup": 0.05}, {"warmup": 0.3}),
    Factor("average 0.998 -> 0.9995", {"average_decay": 0.998}, {"average_decay": 0.9995}),
    Factor("moves to the end -> off in the last 0.2", {}, {"augmentation_off_share": 0.2}),
    Factor("linear -> cosine", {}, {"schedule": Schedule.COSINE}),
    Factor("kaiming -> dirac", {}, {"initialisation": Initialisation.DIRAC}),
    Factor("statistics averaged -> recomputed", {}, {"average_statistics": AverageStatistics.RECOMPUTED}),
    Factor("maxpool -> avgpool", rewrite=lambda text: text.replace("maxpool", "avgpool")),
    Factor("bn before -> after the rectifier", rewrite=lambda text: text.replace("bn relu", "relu bn")),
    Factor("bn scaled -> unscaled", rewrite=lambda text: text.replace("bn", "bn(unscaled)")),
)
# What the first design showed is set here: average pooling, cosine, BN with its scale, recomputed statistics.
AMOUNTS = (
    Factor("learning rate 0.1 -> 0.2", {"learning_rate": 0.1}, {"learning_rate": 0.2}),
    Factor("weight decay 0 -> 2e-4", {"weight_decay": 0.0}, {"weight_decay": 2e-4}),
    Factor("momentum 0.9 -> 0.95", {"momentum": 0.9}, {"momentum": 0.95}),
    Factor("moved images 0.5 -> 1", {"augmented_share": 0.5}, {"augmented_share": 1.0}),
    # In the two places outside the sums; in a sum there is no rectifier.
    Factor("bn before -> after the rectifier", rewrite=lambda text: text.replace("bn relu", "relu bn")),
    Factor("batch 32 -> 64", {"batch_size": 32}, {"batch_size": 64}),
    Factor("warm-up 0.02 -> 0.2", {"warmup": 0.02}, {"warmup": 0.2}),
    Factor("label smoothing 0 -> 0.05", {}, {"label_smoothing": 0.05}),
    Factor("rotation 7 -> 13 degrees", {"rotation_degrees": 7.0}, {"rotation_degrees": 13.0}),
    Factor("shift 1.5 -> 3 pixels", {"shift_pixels": 1.5}, {"shift_pixels": 3.0}),
    Factor("scale 0.07 -> 0.15", {"scale": 0.07}, {"scale": 0.15}),
    Factor("shear 0.07 -> 0.2", {"shear": 0.07}, {"shear": 0.2}),
    Factor("end at 0 -> at 0.02 of the rate", {}, {"final_rate": 0.02}),
    Factor("kaiming -> torch's first weights", {}, {"initialisation": Initialisation.TORCH}),
    Factor("average 0.998 -> 0.9998", {"average_decay": 0.998}, {"average_decay": 0.9998}),
)
# Around what `small` is, on a network of another form.
SEPARABLE = (
    Factor("learning rate 0.1 -> 0.2", {"learning_rate": 0.1}, {"learning_rate": 0.2}),
    Factor("weight decay 5e-5 -> 3e-4", {"weight_decay": 5e-5}, {"weight_decay": 3e-4}),
    Factor("moved images 0.4 -> 0.8", {"augmented_share": 0.4}, {"augmented_share": 0.8}),
    Factor("bn before -> after the rectifier", rewrite=lambda text: text.replace("bn relu", "relu bn")),
    Factor("batch 32 -> 64", {"batch_size": 32}, {"batch_size": 64}),
    Factor("warm-up 0.05 -> 0.2", {"warmup": 0.05}, {"warmup": 0.2}),
    Factor("momentum 0.9 -> 0.95", {"momentum": 0.9}, {"momentum": 0.95}),
    Factor("rotation 7 -> 13 degrees", {"rotation_degrees": 7.0}, {"rotation_degrees": 13.0}),
    Factor("shift 1.5 -> 2.5 pixels", {"shift_pixels": 1.5}, {"shift_pixels": 2.5}),
    Factor("scale 0.07 -> 0.15", {"scale": 0.07}, {"scale": 0.15}),
    Factor("shear 0.05 -> 0.15", {"shear": 0.05}, {"shear": 0.15}),
    Factor("moves to the end -> off in the last 0.1", {}, {"augmentation_off_share": 0.1}),
    Factor("kaiming -> dirac", {}, {"initialisation": Initialisation.DIRAC}),
    Factor("head drawn -> of zeros", {}, {"zero_head": True}),
    Factor("average 0.998 -> 0.9995", {"average_decay": 0.998}, {"average_decay": 0.9995}),
)
# Rewritten in this order: the order of the two ops, then each op's own form.
_ORDER = ("bn before -> after the rectifier", "relu -> leaky(0.1)", "bn scaled -> unscaled", "maxpool -> avgpool")


@dataclass(frozen=True, slots=True)
class Design:
    """What is varied, and on what.

    Attributes:
        network: text with what the factors rewrite.
        recipe: what the factors leave as it is.
    """

    factors: tuple[Factor, ...]
    network: str
    recipe: Recipe


DESIGNS = {
    "choices": Design(
        CHOICES,
        "conv3x3(4) bn relu conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | maxpool | "
        "conv3x3(12) bn relu conv3x3(12, tie=b) bn relu conv3x3(12, tie=b) bn relu | maxpool | conv3x3(12, tie=b) "
        "bn relu conv3x3(12, tie=b) bn relu conv3x3(12, tie=b) bn relu conv3x3(12, tie=b) bn relu | gap | linear(10)",
        replace(Recipe(), batch_size=32),
    ),
    "amounts": Design(
        AMOUNTS,
        "conv3x3(18) bn relu | avgpool | conv1x1(6) | conv3x3(12, pad=0) bn relu conv3x3(12, tie=b, pad=0) bn relu "
        "conv3x3(12, tie=b, pad=0) bn relu conv3x3(12, tie=b, pad=0) bn relu | gap | linear(10)",
        replace(Recipe(), schedule=Schedule.COSINE, average_statistics=AverageStatistics.RECOMPUTED),
    ),
    "separable": Design(
        SEPARABLE,
        "conv3x3(16) bn relu | avgpool | conv1x1(16) bn relu res(dwconv3x3 conv1x1(16) bn) relu "
        "res(dwconv3x3 conv1x1(16) bn) relu | avgpool | res(dwconv3x3 conv1x1(16) bn) relu "
        "res(dwconv3x3 conv1x1(16) bn) relu res(dwconv3x3 conv1x1(16) bn) relu | gap | linear(10)",
        replace(Recipe(), schedule=Schedule.COSINE, average_statistics=AverageStatistics.RECOMPUTED),
    ),
}


def levels(factors: int) -> list[tuple[int, ...]]:
    """Return 32 rows of levels -1 and 1, a column a factor, at most fifteen.

    Five factors are free; each further one is the product of three of them.
    """
    generators = list(combinations(range(5), 3))[: factors - 5]
    return [
        (*free, *(math.prod(free[at] for at in generator) for generator in generators))
        for free in product((-1, 1), repeat=5)
    ]


def combination(design: Design, row: tuple[int, ...]) -> tuple[str, Recipe]:
    """Return the network's text and the recipe of one row of levels."""
    network = design.network
    changes: dict[str, Any] = {}
    high = {factor.name: factor for factor, level in zip(design.factors, row, strict=True) if level > 0}
    for factor, level in zip(design.factors, row, strict=True):
        changes |= factor.high if level > 0 else factor.low
    for name in _ORDER:
        rewrite = high[name].rewrite if name in high else None
        network = rewrite(network) if rewrite else network
    return network, replace(design.recipe, **changes)


def main() -> None:
    """Train what is missing, estimate the effects and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", choices=DESIGNS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    design = DESIGNS[given.design]
    rows = levels(len(design.factors))
    jobs = []
    for index in range(given.seeds):
        for at, row in enumerate(rows):
            text, recipe = combination(design, row)
            jobs.append(
                Job(
                    architecture=parse_network(text),
                    recipe=replace(recipe, epochs=given.epochs),
                    recipe_name=f"row {at}",
                    purpose=Purpose.REFERENCE,
                    seed_index=index,
                    engine="native",
                )
            )
    runs = trained(jobs, given.data, HERE / "runs" / f"factorial-{given.design}.json")
    accuracies = [run.validation_accuracy_pct or 0.0 for run in runs]
    by_row = [accuracies[at :: len(rows)] for at in range(len(rows))]
    found = effects(rows, by_row)
    files.write_json(
        HERE / f"factorial-{given.design}.json",
        {
            "machine": machine(),
            "network": design.network,
            "parameters": analyse(parse_network(design.network), MNIST).parameters,
            "epochs": given.epochs,
            "seeds": given.seeds,
            "mean_pct": mean(accuracies),
            "deviation_pct": found.deviation,
            "error_pct": found.error,
            "effects_pct": {factor.name: effect for factor, effect in zip(design.factors, found.effects, strict=True)},
            "rows": [{"levels": row, "validation_accuracy_pct": seen} for row, seen in zip(rows, by_row, strict=True)],
        },
    )
    print(f"{len(jobs)} runs, mean {mean(accuracies):.3f} %, standard error of an effect {found.error:.3f}")
    for factor, effect in sorted(zip(design.factors, found.effects, strict=True), key=lambda pair: -abs(pair[1])):
        print(f"{factor.name:<42} {effect:+.3f}")


@dataclass(frozen=True, slots=True)
class Effects:
    """What the factors do.

    Attributes:
        effects: mean at the high level less mean at the low one, a factor.
        deviation: of single runs, from what mean and main effects leave.
        error: standard error of an effect.
    """

    effects: tuple[float, ...]
    deviation: float
    error: float


def effects(design: list[tuple[int, ...]], by_row: list[list[float]]) -> Effects:
    """Estimate the main effects; each row of the design has its runs, as many as the others.

    Raises:
        ValueError: there are no more runs than there is to estimate.
    """
    runs = [(row, value) for row, seen in zip(design, by_row, strict=True) for value in seen]
    freedom = len(runs) - len(design[0]) - 1
    if freedom < 1:
        raise ValueError(f"{len(runs)} runs leave nothing over beside {len(design[0])} effects and a mean")
    # The columns are orthogonal, so least squares are means of signed values.
    overall = mean([value for _, value in runs])
    halves = [mean([row[at] * value for row, value in runs]) for at in range(len(design[0]))]
    squares = sum(
        (value - overall - sum(half * level for half, level in zip(halves, row, strict=True))) ** 2
        for row, value in runs
    )
    deviation = math.sqrt(squares / freedom)
    return Effects(tuple(2 * half for half in halves), deviation, 2 * deviation / math.sqrt(len(runs)))


if __name__ == "__main__":
    main()
