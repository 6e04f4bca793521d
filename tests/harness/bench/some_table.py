"""Tables and recordings made up for tests, small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.bench.recording import _Recording
from harness.bench.table import Facts, Machine, Row, Sample, Table
from harness.training.recipe import Recipe
from harness.training.result import Environment
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
TEXTS = tuple(f"conv3x3({width}, stride=2) bn relu | maxpool(4) | gap | linear(10)" for width in (2, 3, 4))
HASHES = tuple(parse_network(text).hash for text in TEXTS)
RECIPE = Recipe(epochs=4)
RUNGS = (1, 2, 4)
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
FACTS = Facts(
    name="made-up",
    dataset="mnist",
    data_hash="d" * 64,
    split_sha256="5" * 64,
    space=SPACE,
    space_name="few",
    recipe=RECIPE,
    recipe_name="fast-4ep",
    rungs=RUNGS,
    samples=(Sample(seed=0, networks=3, bands=0),),
    machines=(MACHINE,),
)


def run_rows(
    network: int = 0, seed: int = 0, accuracies: tuple[float, ...] = (90.0, 95.0, 98.0), **changes: Any
) -> list[Row]:
    """Return the rows of a run of one of the three networks; a second an epoch."""
    analysis = analyse(parse_network(TEXTS[network]), MNIST)
    row = Row(TEXTS[network], HASHES[network], analysis.parameters, analysis.macs, seed, 1, 0.0, 0.0)
    return [
        replace(row, rung=rung, validation_accuracy_pct=accuracy, seconds=float(rung), **changes)
        for rung, accuracy in zip(RUNGS, accuracies, strict=True)
    ]


def some_table(*runs: list[Row], **changes: Any) -> Table:
    """Return a table of these runs; without any, of one seed of each network."""
    chosen = runs or tuple(run_rows(network, accuracies=(90.0, 95.0, 96.0 + network)) for network in range(3))
    return Table(replace(FACTS, **changes), tuple(row for run in chosen for row in run))


def some_recording(**changes: Any) -> _Recording:
    """Return a recording of the three networks with two seeds each."""
    whole = _Recording(
        name="made-up",
        dataset="mnist",
        data_hash="d" * 64,
        split_sha256="5" * 64,
        space=SPACE,
        space_name="few",
        recipe=RECIPE,
        recipe_name="fast-4ep",
        rungs=RUNGS,
        seeds=2,
        sample=Sample(seed=0, networks=3, bands=0),
        machine=MACHINE,
        networks=tuple(map(parse_network, TEXTS)),
    )
    return replace(whole, **changes)
