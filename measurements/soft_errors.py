"""Measure how much soft errors tell about the final errors of a network, in tables that record both.

    python -m measurements.soft_errors TABLE ... --out FILE

reads tables of ``harness bench table`` with soft errors and writes a JSON document with a part per table and rung:

- ``deviation_pct``: standard deviation of the logarithm between seeds of a network, pooled over the networks.
- ``error``: mean squared error of the logarithm of the mean final count of the *other* seeds, predicted from a single
  seed at the rung. The predictors are the count, the soft errors, both, and the loss; each is a linear regression of
  logarithms on all other networks (leave one network out). ``target_noise`` is the part of ``error`` that is noise of
  the predicted mean.
- ``rank_correlation``: Spearman's correlation over the networks between the predictor and the mean of the other seeds,
  mean over the seeds.
- ``ratio``: mean of count / soft errors over the networks, its standard deviation between networks, and the part of
  this deviation that is noise.
- ``final_over_rung``: final errors over errors at the rung, median and standard deviation of the logarithm.
- ``mean_count_by_seed``: mean count, plus ``PSEUDO_COUNT``, of all networks by seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from harness.bench.table import Table, read_table
from harness.training.result import Status

PSEUDO_COUNT = 0.5  # errors added to a count, whose logarithm may not exist otherwise
PREDICTORS = {"count": (0,), "soft": (1,), "both": (0, 1), "loss": (2,)}  # columns of ``Runs.logs``
MIN_SEEDS = 2  # seeds of a network that enters


class Runs(NamedTuple):
    """Logarithms of the evaluations of all networks with equally many seeds at a rung.

    Attributes:
        logs: Logarithms of count, soft errors and loss, (networks, seeds, 3).
        final_counts: Counts at the last rung, (networks, seeds).
    """

    logs: Any
    final_counts: Any


def runs_of(table: Table, rung: int, seeds: int) -> Runs:
    """Return the complete runs of the first ``seeds`` seeds of each network at a rung."""
    size = table.data.validation_size
    last = table.facts.rungs[-1]
    logs = []
    finals = []
    for by_seed in table.runs.values():
        runs = [run for seed, run in sorted(by_seed.items()) if seed < seeds]
        rows = [run[rung] for run in runs]
        if len(rows) < seeds or any(row.status is not Status.COMPLETE for row in rows):
            continue
        counts = [(1 - row.validation_accuracy_pct / 100) * size + PSEUDO_COUNT for row in rows]
        softs = [row.validation_soft_errors for row in rows]
        losses = [row.validation_loss for row in rows]
        logs.append(np.log(np.array([counts, softs, losses], dtype=float)).T)
        finals.append([(1 - run[last].validation_accuracy_pct / 100) * size for run in runs])
    return Runs(np.array(logs), np.array(finals))


def deviations_pct(runs: Runs) -> list[float]:
    """Return the standard deviations between seeds of the three logarithms, pooled over the networks, per cent."""
    return [float(value) for value in 100 * np.sqrt(runs.logs.var(axis=1, ddof=1).mean(axis=0))]


def others(runs: Runs) -> tuple[Any, float]:
    """Return the log of the mean final count of the other seeds, (networks, seeds), and the variance of its noise."""
    seeds = runs.final_counts.shape[1]
    sums = runs.final_counts.sum(axis=1, keepdims=True) - runs.final_counts
    means = sums / (seeds - 1)
    targets = np.log(means + PSEUDO_COUNT)
    variances = runs.final_counts.var(axis=1, ddof=1) / (seeds - 1)
    noise = (variances / (runs.final_counts.mean(axis=1) + PSEUDO_COUNT) ** 2).mean()
    return targets, float(noise)


def prediction_error(runs: Runs, columns: Sequence[int]) -> float:
    """Return the mean squared error of a regression on ``columns``, with the networks left out in turn."""
    targets, _ = others(runs)
    networks, seeds = targets.shape
    inputs = np.concatenate([np.ones((networks, seeds, 1)), runs.logs[:, :, list(columns)]], axis=2)
    grams = np.einsum("nsi,nsj->nij", inputs, inputs)
    moments = np.einsum("nsi,ns->ni", inputs, targets)
    squares = []
    for network in range(networks):
        weights = np.linalg.solve(grams.sum(0) - grams[network], moments.sum(0) - moments[network])
        squares.append((inputs[network] @ weights - targets[network]) ** 2)
    return float(np.mean(squares))


def rank_correlation(runs: Runs, column: int) -> float:
    """Return Spearman's correlation of a predictor with the mean of the other seeds, mean over the seeds."""
    targets, _ = others(runs)
    seeds = range(targets.shape[1])
    return float(np.mean([spearmanr(runs.logs[:, seed, column], targets[:, seed]).statistic for seed in seeds]))


def ratio_of(runs: Runs) -> dict[str, float]:
    """Return mean, deviation between networks and noise of the logarithm of count / soft errors."""
    differences = runs.logs[:, :, 0] - runs.logs[:, :, 1]
    means = differences.mean(axis=1)
    noise = differences.var(axis=1, ddof=1).mean() / differences.shape[1]
    return {
        "ratio": float(np.exp(means.mean())),
        "deviation_pct": float(100 * means.std(ddof=1)),
        "noise_pct": float(100 * np.sqrt(noise)),
    }


def final_ratios(runs: Runs, last: Runs) -> dict[str, tuple[float, float]]:
    """Return final over rung of counts and soft errors: the median, and the standard deviation of the logarithm."""
    ratios = {}
    for column, name in enumerate(("count", "soft")):
        differences = last.logs[:, :, column] - runs.logs[:, :, column]
        ratios[name] = (float(np.exp(np.median(differences))), float(differences.std()))
    return ratios


def analysis(table: Table) -> dict[str, Any]:
    """Return the figures of a table as plain JSON values."""
    seeds = min(len(by_seed) for by_seed in table.runs.values())
    assert seeds >= MIN_SEEDS, f"the table {table.facts.name} has a network with a single seed"
    parts = []
    last = runs_of(table, table.facts.rungs[-1], seeds)
    for rung in table.facts.rungs:
        runs = runs_of(table, rung, seeds)
        _, noise = others(runs)
        parts.append(
            {
                "epoch": rung,
                "networks": len(runs.logs),
                "seeds": seeds,
                "median_errors": float(np.median(runs.final_counts)),
                "deviation_pct": dict(zip(("count", "soft", "loss"), deviations_pct(runs), strict=True)),
                "error": {name: prediction_error(runs, columns) for name, columns in PREDICTORS.items()},
                "target_noise": noise,
                "rank_correlation": {
                    name: rank_correlation(runs, column) for column, name in enumerate(("count", "soft", "loss"))
                },
                "ratio": ratio_of(runs),
                "final_over_rung": final_ratios(runs, last),
                # With folds of images, each seed validates on another fold.
                "mean_count_by_seed": np.exp(runs.logs[:, :, 0]).mean(axis=0).tolist(),
            }
        )
    facts = table.facts
    return {
        "table": facts.name,
        "dataset": facts.dataset,
        "recipe": facts.recipe_name,
        "validation_images": table.data.validation_size,
        "engine": facts.machines[0].environment.engine,
        "rungs": parts,
    }


def text_of(part: dict[str, Any]) -> str:
    """Return the figures of a rung as a line."""
    names = ("count", "soft", "loss")
    deviations = " ".join(f"{part['deviation_pct'][name]:5.1f}" for name in names)
    errors = " ".join(f"{part['error'][name] - part['target_noise']:.4f}" for name in PREDICTORS)
    ranks = " ".join(f"{part['rank_correlation'][name]:.3f}" for name in names)
    ratio = part["ratio"]
    ratios = f"{ratio['ratio']:.3f} ± {ratio['deviation_pct']:.1f} % (noise {ratio['noise_pct']:.1f})"
    return f"{part['epoch']:>5}  {deviations}  {errors}  {ranks}  {ratios}"


def main() -> None:
    """Analyse the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="folder of a table with soft errors")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    arguments = parser.parse_args()
    documents = []
    for folder in arguments.tables:
        document = analysis(read_table(folder))
        documents.append(document)
        print(f"{document['table']}: {document['recipe']}, {document['validation_images']} validation images")
        print("epoch  deviation % (count soft loss)  error less noise (count soft both loss)  rank (count soft loss)")
        for part in document["rungs"]:
            print(text_of(part))
    arguments.out.write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
