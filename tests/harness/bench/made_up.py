"""Synthetic tables and comparisons: a table of three networks for checks by hand, and tables of whole search spaces.

In tables of whole spaces the errors fall with the parameters, multiply-adds and epochs of a network, and have a random
effect per network and per seed. No value is measured.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache
from typing import Any

from harness.bench.comparison import Comparison, SearchTask
from harness.bench.table import Machine, Row, Sample, Table, TableFacts
from harness.data.datasets import DataFile, Dataset
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import enumerate_draws, judge
from harness.training.recipe import Recipe
from harness.training.result import Environment

FEW = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
TEXTS = tuple(f"conv3x3({width}, stride=2) bn relu | maxpool(4) | gap | linear(10)" for width in (2, 3, 4))
HASHES = tuple(parse_network(text).hash for text in TEXTS)
ENVIRONMENT = Environment(
    commit=None,
    dirty=None,
    python="3.11.7",
    torch="2.13.0",
    device="cpu",
    instructions="x86_64 AVX2",
    threads=1,
    data_hash="d" * 64,
    engine="native avx2 01234567",
)
MACHINE = Machine(processor="a processor", cores=2, workers=2, environment=ENVIRONMENT)
FACTS = TableFacts(
    name="made-up", dataset="mnist", data_hash="d" * 64, split_sha256="5" * 64, space=FEW, space_name="few",
    recipe=Recipe(epochs=4), recipe_name="fast-4ep", rungs=(1, 2, 4), samples=(Sample(seed=0, networks=3, bands=0),),
    machines=(MACHINE,),
)  # fmt: skip


def run_rows(
    network: int = 0, seed: int = 0, accuracies: tuple[float, ...] = (90.0, 95.0, 98.0), **changes: Any
) -> list[Row]:
    """Return the rows of a run of a network; each epoch takes a second."""
    analysis = analyse(parse_network(TEXTS[network]), MNIST)
    row = Row(TEXTS[network], HASHES[network], analysis.parameters, analysis.macs, seed, 1, 0.0, 0.0)
    return [
        row._replace(rung=rung, validation_accuracy_pct=accuracy, seconds=float(rung), **changes)
        for rung, accuracy in zip(FACTS.rungs, accuracies, strict=True)
    ]


def table_of(*runs: list[Row], **changes: Any) -> Table:
    """Return a table of ``runs``, by default of a run per network."""
    table_runs = runs or tuple(run_rows(network, accuracies=(90.0, 95.0, 96.0 + network)) for network in range(3))
    return Table(replace(FACTS, **changes), tuple(row for run in table_runs for row in run))


SPACE = """width = {4, 6, 8, 12};
stage(channels) = conv3x3(channels) bn relu;
head = <gap | linear(10) / conv1x1(10) | gap>;
net = stage(width) | maxpool | stage(width) | maxpool | conv3x3({6, 8, 12, 16}) bn relu | head;
"""
# Two widths per convolution and two heads: eight networks.
TINY = "net = conv3x3({4, 8}) bn relu | maxpool | conv3x3({4, 8}) bn relu | gap | <linear(10) / conv1x1(10)>;"
SIZE = 10_000


# User-defined data set of colour images with five classes, and a search space for the data set.
USER_DATA = Dataset(
    name="pictures-dddddddd",
    target_pct=0.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    licence="",
    classes=5,
    image_shape=(3, 16, 12),
    train_size=4_000,
    validation_size=1_000,
    all_files=(DataFile("train.npz", "a" * 64, ""), DataFile("test.npz", "b" * 64, "")),
    sha256="d" * 64,
)
USER_SPACE = "net = conv3x3({4, 8}) bn relu | maxpool | conv3x3({4, 8}) bn relu | gap | linear(classes);"


@cache
def table(space: str = SPACE, user_data: Dataset | None = None) -> Table:
    """Return a table of all accepted networks of a space; log errors deviate by 0.12 between seeds."""
    task = user_data.task if user_data else MNIST
    parsed = parse_space(space, "made-up", task)
    rows, rungs = [], (1, 2, 4, 8)
    for architecture in {draw.architecture: None for draw in enumerate_draws(parsed)}:
        if not judge(parsed, architecture).accepted:
            continue
        analysis = analyse(architecture, task)
        rng = random.Random(f"0/{architecture.hash}")
        level = math.log(110) - 0.65 * math.log(analysis.parameters / 3000) - 0.25 * math.log(analysis.macs / 500_000)
        level += rng.gauss(0, 0.25)
        epoch_seconds = 1.0 + analysis.macs / 250_000
        for seed in range(2):
            seed_effect = rng.gauss(0, 0.12)
            for rung in rungs:
                errors = math.exp(level + seed_effect + rng.gauss(0, 0.05)) * (1 + 4 * (1 - rung / rungs[-1]) ** 2.6)
                accuracy = 100 * (1 - min(round(errors), 9_000) / SIZE)
                seconds = round(rung * epoch_seconds * rng.uniform(0.97, 1.03), 3)
                network = (str(architecture), architecture.hash, analysis.parameters, analysis.macs)
                rows.append(Row(*network, seed, rung, accuracy, seconds))
    samples = (Sample(seed=0, networks=1_000, bands=0),)
    facts = replace(FACTS, space=space, space_name="made-up", recipe=Recipe(epochs=8), rungs=rungs, samples=samples)
    facts = replace(facts, dataset=user_data.name) if user_data else facts
    return Table(facts, tuple(rows), user_data)


def comparison_of(table: Table, seconds: float = 1_500.0, workers: int = 2, target_pct: float = 99.0) -> Comparison:
    """Return a comparison without methods on the networks of a table."""
    networks = tuple({row.architecture: None for row in table.rows})
    task = SearchTask(study=table.facts.config(20_000, target_pct), seconds=seconds, workers=workers, networks=networks)
    return Comparison(task=task, methods=(), repeats=1, seed=0, answer_seconds=20.0)
