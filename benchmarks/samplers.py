"""Samplers compared on made-up errors over a real space: the smallest network that reaches, after so many networks.

Nothing is trained. The logarithm of the errors falls with the size as it was measured (docs/lab, "aiming"),
shifts by an amount of its own for every option of every decision, and wavers with the network; a run with many errors
counts as pruned. What it shows is which sampler uses what it is told, not which one finds better networks of MNIST.

    python -m benchmarks.samplers --space tiny --budget 5000 --seeds 20

writes benchmarks/results/samplers.json.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import optuna

from harness.search.proposals import sampler
from harness.search.race import Outcome
from harness.system import files
from search_spaces.catalog import space
from search_spaces.draw import Draw, judge
from search_spaces.space import Condition, Metric, SearchSpace

RESULTS = Path(__file__).resolve().parent / "results" / "samplers.json"
LOOKS = (25, 50, 100)
# Errors allowed, errors of a network of 2,500 parameters before its decisions shift them, and those that are pruned.
MOST_ERRORS, USUAL_ERRORS, PRUNED_ERRORS = 71, 70, 120
POWER, SHIFT, WAVER = 0.65, 0.12, 0.10


def made_up_errors(found: Draw, parameters: int, seed: int) -> float:
    """Return the errors of a network, the same for the same seed."""
    shifts = sum(random.Random(f"{seed}/{each.name}/{each.index}").gauss(0, SHIFT) for each in found.decisions)
    waver = random.Random(f"{seed}/{found.architecture.hash}").gauss(0, WAVER)
    return USUAL_ERRORS * math.exp(-POWER * math.log(parameters / 2_500) + shifts + waver)


def smallest_reaching(name: str, within: SearchSpace, seed: int) -> list[float]:
    """Return the parameters of the smallest network that reaches after each of ``LOOKS`` networks; infinity for none.

    Proposals that the space rejects, and known networks, cost nothing and teach nothing.
    """
    index = sampler.new_index(name, seed)
    known: set[str] = set()
    best = math.inf
    seen: list[float] = []
    while len(seen) < len(LOOKS):
        trial, found = sampler.ask(index, within, known)
        analysis = judge(within, found.architecture).analysis
        if not judge(within, found.architecture).accepted or found.architecture.hash in known or analysis is None:
            sampler.forget(index, trial)
            continue
        known.add(found.architecture.hash)
        errors = made_up_errors(found, analysis.parameters, seed)
        sampler.tell(index, trial, Outcome(analysis.parameters, (errors - MOST_ERRORS) / 100, errors <= PRUNED_ERRORS))
        best = min(best, analysis.parameters) if errors <= MOST_ERRORS else best
        seen += [best] if len(known) in LOOKS else []
    return seen


def main() -> None:
    """Ask every sampler and write the medians over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--budget", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    searched = space(given.space)
    limit = Condition(Metric.PARAMETERS, "<=", given.budget)
    within = replace(searched, conditions=(*searched.conditions, limit))
    document: dict[str, Any] = {
        "space": given.space,
        "budget": given.budget,
        "seeds": given.seeds,
        "networks": LOOKS,
        "optuna": optuna.__version__,
        "median_parameters": {},
    }
    for name in sampler.SAMPLERS:
        runs = [smallest_reaching(name, within, seed) for seed in range(given.seeds)]
        medians = [median(run[look] for run in runs) for look in range(len(LOOKS))]
        document["median_parameters"][name] = [None if math.isinf(value) else value for value in medians]
    files.write_json(RESULTS, document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
