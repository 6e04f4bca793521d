"""A made-up table: every network of a small space, with accuracies, noise and seconds of a plausible form.

Errors fall with size and with multiply-adds and rise where widths jump, networks have a luck of their own, seeds waver,
and errors fall over the epochs as in real runs. Nothing here is measured.
"""

from __future__ import annotations

import math
import random
from functools import cache

from harness.bench.comparison import SearchTask
from harness.bench.table import Facts, Row, Sample, Table
from harness.training.recipe import Recipe
from search_spaces.cost import analyse
from search_spaces.draw import enumerate_draws, judge
from search_spaces.notation import parse_space
from search_spaces.task import MNIST
from tests.harness.bench.some_table import MACHINE

SPACE = """width = {4, 6, 8, 12};
stage(channels) = conv3x3(channels) bn relu;
head = <gap | linear(10) / conv1x1(10) | gap>;
net = stage(width) | maxpool | stage(width) | maxpool | conv3x3({6, 8, 12, 16}) bn relu | head;
"""
# Two widths, so eight networks in all.
TINY = "net = conv3x3({4, 8}) bn relu | maxpool | conv3x3({4, 8}) bn relu | gap | <linear(10) / conv1x1(10)>;"
RECIPE = Recipe(epochs=8)
RUNGS = (1, 2, 4, 8)
SIZE = 10_000


@cache
def table(space: str = SPACE, seed: int = 0, seeds: int = 2, noise: float = 0.12) -> Table:
    """Return the table; ``noise`` is the deviation of the logarithm of errors between seeds of a network."""
    parsed = parse_space(space, "made-up")
    networks = {
        found.architecture.hash: found.architecture
        for found in enumerate_draws(parsed)
        if judge(parsed, found.architecture).accepted
    }
    rows = []
    for network_hash, architecture in networks.items():
        analysis = analyse(architecture, MNIST)
        rng = random.Random(f"{seed}/{network_hash}")
        level = math.log(110) - 0.65 * math.log(analysis.parameters / 3000) - 0.25 * math.log(analysis.macs / 500_000)
        level += rng.gauss(0, 0.25)
        pace = 1.0 + analysis.macs / 250_000
        for index in range(seeds):
            luck = rng.gauss(0, noise)
            for rung in RUNGS:
                errors = math.exp(level + luck + rng.gauss(0, 0.05)) * (1 + 4 * (1 - rung / RUNGS[-1]) ** 2.6)
                rows.append(
                    Row(
                        architecture=str(architecture),
                        hash=network_hash,
                        parameters=analysis.parameters,
                        macs=analysis.macs,
                        seed=index,
                        rung=rung,
                        validation_accuracy_pct=100 * (1 - min(round(errors), 9_000) / SIZE),
                        seconds=round(rung * pace * rng.uniform(0.97, 1.03), 3),
                    )
                )
    facts = Facts(
        name="made-up",
        dataset="mnist",
        data_hash="0" * 64,
        split_sha256="0" * 64,
        space=space,
        space_name="made-up",
        recipe=RECIPE,
        recipe_name="short",
        rungs=RUNGS,
        samples=(Sample(seed=0, networks=len(networks), bands=0),),
        machines=(MACHINE,),
    )
    return Table(facts, tuple(rows))


def task(of: Table, **changes: object) -> SearchTask:
    """Return a task on a table."""
    values: dict[str, object] = {
        "dataset": of.facts.dataset,
        "data_hash": of.facts.data_hash,
        "space": of.facts.space,
        "space_name": of.facts.space_name,
        "recipe": of.recipe,
        "recipe_name": of.facts.recipe_name,
        "rungs": of.rungs,
        "budget": 20_000,
        "target_pct": 99.0,
        "seconds": 1_500.0,
        "workers": 2,
        "networks": tuple(runs[0][of.rungs[0]].architecture for runs in of.runs.values()),
    }
    return SearchTask(**(values | changes))  # type: ignore[arg-type]
