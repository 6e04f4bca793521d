"""What a person asks to be recorded, and the recording that it comes to on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from harness.bench.tables.machine import this_machine
from harness.bench.tables.recording import Near, Recording, check_rungs, default_rungs, split_digest
from harness.bench.tables.sample import SampledNetworks, sampled
from harness.data.datasets import task_of
from harness.data.training_images import resolve, split
from harness.system.device import choose_device, worker_count
from harness.training.native.engine_choice import TORCH, Choice, choose_engine
from harness.training.recipes import NamedRecipe, check_batch, check_statistics, named_recipe
from harness.training.workers.workers import Source
from search_spaces.catalog import space


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of a recording; ``rungs`` None are those of its recipe, ``workers`` None is one a core."""

    name: str
    space: str
    networks: int
    seeds: int
    rungs: tuple[int, ...] | None
    recipe: str
    epochs: int | None
    budget: int | None
    seed: int
    workers: int | None
    dataset: str
    folder: Path | None
    device: str
    engine: str
    near: Near | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording with what is needed to train it here."""

    recording: Recording
    chosen: SampledNetworks
    source: Source
    device: torch.device
    choice: Choice


def prepared(request: Request) -> Prepared:
    """Choose the networks, load the data and name the machine.

    Raises:
        HarnessError, SearchSpaceError: an option has no such value, or the data are missing.
    """
    named, rungs = _recipe(request)
    known = space(request.space, task_of(request.dataset))
    chosen = sampled(known, request.networks, request.seed, request.budget)
    for network in chosen.networks:
        check_statistics(named.recipe, network.architecture, known.task)
    device = choose_device(request.device)
    choice = choose_engine(request.engine, named.recipe, device)
    data = resolve(request.dataset, request.folder)
    check_batch(named.recipe, data.dataset.train_size)
    engine = TORCH if choice.engine is None else choice.engine.name
    recording = Recording(
        name=request.name,
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        split_sha256=split_digest(split(data).validation.tolist()),
        space=known.text,
        space_name=known.name,
        recipe=named.recipe,
        recipe_name=named.name,
        rungs=rungs,
        seeds=request.seeds,
        sample=chosen.sample,
        machine=this_machine(device, data.data_hash, engine, worker_count(request.workers, device)),
        networks=tuple(network.architecture for network in chosen.networks),
        near=request.near,
    )
    return Prepared(recording, chosen, Source(data.dataset.name, request.folder), device, choice)


def _recipe(request: Request) -> tuple[NamedRecipe, tuple[int, ...]]:
    named = named_recipe(request.recipe, epochs=request.epochs)
    rungs = default_rungs(named.recipe.epochs) if request.rungs is None else request.rungs
    check_rungs(rungs, named.recipe.epochs)
    return named, rungs
