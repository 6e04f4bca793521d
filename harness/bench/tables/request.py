"""What a person asks to be recorded, and the recording that it comes to on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.bench.tables.recording import Near, Recording, check_rungs, default_rungs, split_digest
from harness.bench.tables.sample import SampledNetworks, sampled
from harness.bench.tables.table import Machine
from harness.data.datasets import task_of
from harness.data.training_images import resolve, split
from harness.system.machine import choose_device, core_count, device_name, processor_name, worker_count
from harness.training.native.native import TORCH, Choice, choose_engine
from harness.training.recipe import check_batch, check_statistics, named_recipe
from harness.training.result import environment
from harness.training.workers import Source
from search_spaces.catalog import space as space_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording with what is needed to train it here."""

    recording: Recording
    chosen: SampledNetworks
    source: Source
    device: torch.device
    choice: Choice


def prepared(
    *,
    name: str,
    space: str,
    networks: int,
    seeds: int,
    rungs: tuple[int, ...] | None,
    recipe: str,
    epochs: int | None,
    budget: int | None,
    seed: int,
    workers: int | None,
    dataset: str,
    folder: Path | None,
    device: str,
    engine: str,
    near: Near | None = None,
) -> Prepared:
    """Choose the networks, load the data and name the machine.

    Args:
        rungs: None for those of the recipe.
        workers: None for one a core.

    Raises:
        HarnessError, SearchSpaceError: an option has no such value, or the data are missing.
    """
    named = named_recipe(recipe, epochs=epochs)
    rungs = default_rungs(named.recipe.epochs) if rungs is None else rungs
    check_rungs(rungs, named.recipe.epochs)
    known = space_of(space, task_of(dataset))
    chosen = sampled(known, networks, seed, budget)
    for network in chosen.networks:
        check_statistics(named.recipe, network.architecture, known.task)
    trainer = choose_device(device)
    choice = choose_engine(engine, named.recipe, trainer)
    data = resolve(dataset, folder)
    check_batch(named.recipe, data.dataset.train_size)
    built = TORCH if choice.engine is None else choice.engine.name
    recording = Recording(
        name=name,
        dataset=data.dataset.name,
        data_hash=data.data_hash,
        split_sha256=split_digest(split(data).validation.tolist()),
        space=known.text,
        space_name=known.name,
        recipe=named.recipe,
        recipe_name=named.name,
        rungs=rungs,
        seeds=seeds,
        sample=chosen.sample,
        machine=this_machine(trainer, data.data_hash, built, worker_count(workers, trainer)),
        networks=tuple(network.architecture for network in chosen.networks),
        near=near,
    )
    return Prepared(recording, chosen, Source(data.dataset.name, folder), trainer, choice)


def this_machine(device: torch.device, data_hash: str, engine: str, workers: int) -> Machine:
    """Return the facts of this machine, without a commit: a recording may go on with a later one."""
    facts = replace(environment(device, data_hash, engine), commit=None, dirty=None, threads=1)
    processor = processor_name() if device.type == "cpu" else device_name(device)
    return Machine(processor=processor, cores=core_count(), workers=workers, environment=facts)
