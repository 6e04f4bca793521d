"""Weights of a network: kept with a record, or trained in this process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.data import datasets
from harness.evidence import record as record_files
from harness.evidence.record import Record, SeedRun
from harness.interface import options
from harness.interface.lookup import KnownRow, NetworkArgument, only_row, recipe_of
from harness.spaces.network import Architecture
from harness.system.errors import TargetMissed, UsageError
from harness.system.files import Workspace
from harness.system.machine import choose_device
from harness.training.recipe import NamedRecipe, Recipe
from harness.training.result import Epoch, Errors, Purpose, Result, Status

if TYPE_CHECKING:
    from harness.data.training_images import ImageData
    from harness.training.run import Job
    from harness.training.torch_network import TorchNetwork
    from harness.training.training_loop import Training

_MAX_EPOCH_LINES = 50  # of a training; longer trainings leave out epochs


@dataclass(frozen=True, slots=True)
class NetworkSeed:
    """A seed of a network, with the recipe, the data set and the record that an argument selects.

    Attributes:
        dataset: Data set of the network's row, else the requested data set, which may be ``auto``.
        record: None without a record.
        retrain: Train again, even if weights are kept.
    """

    argument: NetworkArgument
    recipe: NamedRecipe
    dataset: str
    index: int
    record: Record | None = None
    retrain: bool = False

    @property
    def run(self) -> SeedRun | None:
        """Run of the seed in the record; None if the seed is not recorded."""
        return None if self.record is None else self.record.seed(self.index)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained network with the training images: the input of an export format.

    Attributes:
        model: Torch module in evaluation mode, on a CPU.
        about: Metadata for the exported files.
        match: A value of ``harness.evidence.record.match``, or ``repeated`` for kept weights of a repeated training
            whose last bits differ.
        epochs: Number of epochs trained now; None for kept weights.
        names: Names of tensors in a safetensors file, by names in the state of ``model``; empty for equal names.
    """

    seed: NetworkSeed
    model: TorchNetwork
    about: Mapping[str, str]
    images: ImageData
    run: Result | SeedRun
    match: str
    epochs: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture:
        """The network without weights."""
        return self.seed.argument.architecture

    @property
    def recipe(self) -> Recipe:
        """Recipe of the training."""
        return self.seed.recipe.recipe

    @property
    def recorded_run(self) -> SeedRun | None:
        """Recorded run with these weights, or None."""
        return self.seed.run if self.match in ("identical", "repeated") else None


def network_seed(
    argument: NetworkArgument,
    workspace: Workspace,
    *,
    seed: int,
    dataset: str,
    recipe: str | None,
    epochs: int | None,
    retrain: bool,
) -> NetworkSeed:
    """Return a seed of a network, with the recipe, data set and record that fit the options.

    Raises:
        UsageError: The weights of the recorded seed are not kept, or the recipe is unknown.
        ContentError: Several rows fit.
    """
    records = argument.records_in(workspace)
    # Weights do not depend on the target of a row.
    rows = tuple(replace(row, target_pct=None) for row in argument.rows or map(KnownRow.of, records))
    row = only_row(replace(argument, rows=rows), dataset=dataset, target_pct=None, recipe=recipe)
    recipe_choice = recipe_of(row, recipe, epochs, workspace)
    if row is not None and row.dataset is not None:
        dataset = row.dataset
    # The record that contains the seed, else the record with the most seeds.
    record = max(
        (
            each
            for each in records
            if each.recipe_hash == recipe_choice.recipe.hash and dataset in (datasets.AUTO, each.dataset)
        ),
        key=lambda each: (each.seed(seed) is not None, len(each.seeds)),
        default=None,
    )
    if record is not None and not retrain:
        kept_seeds = record.kept_indices(workspace.records)
        if seed not in kept_seeds:
            seeds_text = ", ".join(map(str, kept_seeds)) or "none"
            message = f"the weights of seed {seed} are not kept (kept seeds: {seeds_text})"
            raise UsageError(f"{message}; the option retrain trains the seed again")
    return NetworkSeed(argument, recipe_choice, dataset, seed, record, retrain)


def trained_network(
    seed: NetworkSeed, images: ImageData, workspace: Workspace, *, device: str, engine: str
) -> TrainedNetwork:
    """Return the network with the kept weights of a seed, or train the network on all training images.

    Raises:
        ContentError: The kept weights differ from the record.
        DeviceError: The device is not available.
        TargetMissed: The training did not complete.
    """
    from harness.evidence.evaluation import network_of
    from harness.training.run import properties

    recorded_run = seed.run
    if seed.record is None or recorded_run is None or seed.retrain:
        result, training = _trained_again(seed, images, device=device, engine=engine)
        about = properties(result, images.dataset)
        match = record_files.match(result, recorded_run)
        return TrainedNetwork(seed, training.final_network(), about, images, result, match, result.trained_epochs)
    weights = record_files.read_recorded(workspace.records, seed.record, seed.index)
    about = dict(weights.about) | {"weights_sha256": weights.sha256} | images.dataset.number_properties
    match = "identical" if weights.sha256 == recorded_run.weights_sha256 else "repeated"
    return TrainedNetwork(seed, network_of(weights, images.dataset.task), about, images, recorded_run, match)


def _trained_again(seed: NetworkSeed, images: ImageData, *, device: str, engine: str) -> tuple[Result, Training]:
    """A recorded seed is trained with the beacon and the engine of the record."""
    from harness.training.native.engine import engine_of_repeat
    from harness.training.run import Job

    recorded_run = seed.run
    job = Job(
        architecture=seed.argument.architecture,
        recipe=seed.recipe.recipe,
        recipe_name=seed.recipe.name,
        purpose=Purpose.VERIFY,
        seed_index=seed.index,
        beacon=(recorded_run.beacon if recorded_run else None) or "",
        device=device,
        engine=engine_of_repeat(engine, recorded_run.environment.engine if recorded_run else None),
    )
    result, training = train_here(job, images)
    if result.status is not Status.COMPLETE:
        raise TargetMissed(f"seed {seed.index} {result.status}: {result.message}; nothing was written")
    return result, training


def train_here(job: Job, images: ImageData) -> tuple[Result, Training]:
    """Train in this process and show the progress; return the result and the trained state.

    ``Purpose.TRAIN`` trains on the search split and validates after each epoch; ``Purpose.VERIFY`` trains on all
    images. Device and engine may be ``auto``.

    Raises:
        DeviceError: The device or the engine is not available.
    """
    from harness.data.training_images import split
    from harness.training.native.engine import choose_engine
    from harness.training.progress import Progress
    from harness.training.run import TrainingData, train_job

    device = choose_device(job.device)
    choice = choose_engine(job.engine, job.recipe, device, job.architecture.op_types)
    has_validation = job.purpose is Purpose.TRAIN
    parts = split(images, job.validation_fold(images.dataset)) if has_validation else None
    options.say_training(choice, job.recipe, len(images.train_labels) if parts is None else len(parts.train))
    epochs = job.recipe.epochs
    job = replace(job, device=str(device), engine=choice.kind, evaluate_each_epoch=has_validation)
    with Progress(epochs, "epochs") as progress:
        epochs_per_line = math.ceil(epochs / _MAX_EPOCH_LINES)
        reported_epochs = 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal reported_epochs
            if parts is not None and (epoch.epoch % epochs_per_line == 0 or epoch.epoch == epochs):
                loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
                assert epoch.validation_errors is not None, "each epoch is evaluated"
                errors = Errors(epoch.validation_errors, len(parts.validation))
                figures = f"loss {loss}, validation {errors.accuracy_pct:.2f} %, {epoch.train_seconds:.1f} s"
                progress.say(f"epoch {epoch.epoch}/{epochs}: {figures}")
            # With several starts, the first reported epoch is the first with a single start.
            progress.advance(epoch.epoch - reported_epochs)
            reported_epochs = epoch.epoch

        return train_job(job, TrainingData(images), on_epoch)
