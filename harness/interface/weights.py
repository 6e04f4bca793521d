"""Weights of a network: kept with a record, or trained in this process."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.data import datasets
from harness.evidence import record as record_files
from harness.evidence.record import Record, SeedRun
from harness.interface import options
from harness.interface.lookup import NetworkArgument, only_row, recipe_of, row_of
from harness.spaces.network import Architecture
from harness.system.errors import TargetMissed, UsageError
from harness.system.files import Workspace
from harness.system.machine import choose_device
from harness.training.recipe import NamedRecipe
from harness.training.result import Epoch, Errors, Purpose, Result, Status

if TYPE_CHECKING:
    from harness.data.training_images import ImageData
    from harness.exports.trained_network import TrainedNetwork
    from harness.training.run import Job
    from harness.training.training_loop import Training

_MAX_EPOCH_LINES = 50  # lines of progress of a training; longer trainings leave out epochs


@dataclass(frozen=True, slots=True)
class SeedOfNetwork:
    """A seed of a network and recipe whose weights are requested.

    Attributes:
        architecture: The network.
        recipe: Recipe of the training.
        dataset: Name of the data set of the network's row, else the requested data set, which may be ``auto``.
        index: Index of the seed.
        record: Record of the network; None without a record.
        recorded_run: Run of the seed in the record; None if the seed is not recorded.
        retrain: Train again, even if weights are kept.
    """

    architecture: Architecture
    recipe: NamedRecipe
    dataset: str
    index: int
    record: Record | None
    recorded_run: SeedRun | None
    retrain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A trained network and its run, compared with the record.

    Attributes:
        seed: The requested seed.
        network: The trained network.
        run: Result of the training, or the recorded run.
        match: Comparison with the recorded weights: a value of ``harness.evidence.record.match``, or ``repeated`` for
            kept weights of a repeated training whose last bits differ.
        epochs: Number of epochs trained now; None for kept weights.
    """

    seed: SeedOfNetwork
    network: TrainedNetwork
    run: Result | SeedRun
    match: str
    epochs: int | None = None


def seed_of_network(
    argument: NetworkArgument,
    workspace: Workspace,
    *,
    seed: int,
    dataset: str,
    recipe: str | None,
    epochs: int | None,
    retrain: bool,
) -> SeedOfNetwork:
    """Return the requested seed of a network, with the recipe, data set and record that fit the options.

    Args:
        argument: The network, with its rows.
        workspace: Workspace of the records.
        seed: Index of the seed.
        dataset: Name of a data set, or ``auto``.
        recipe: Name or ``@FILE.toml``; None for the recipe of the row, else ``fast``.
        epochs: Replaces the number of epochs of a named recipe; None keeps the number.
        retrain: Train again, even if weights are kept.

    Raises:
        UsageError: The weights of the recorded seed are not kept, or the recipe is unknown.
        ContentError: Several rows fit.
    """
    architecture = argument.architecture
    records = [each for each in record_files.read_all(workspace.records) if each.hash == architecture.hash]
    # Weights do not depend on the target of a row.
    rows = [replace(row, target_pct=None) for row in argument.rows or map(row_of, records)]
    argument = replace(argument, rows=tuple(rows))
    row = only_row(argument, dataset=dataset, target_pct=None, recipe=recipe)
    recipe_choice = recipe_of(row, recipe, epochs, workspace)
    if row is not None and row.dataset is not None:
        dataset = row.dataset
    same_recipe = [each for each in records if each.recipe_hash == recipe_choice.recipe.hash]
    fitting_records = [each for each in same_recipe if dataset in (datasets.AUTO, each.dataset)]
    # The record that contains the seed, else the record with the most seeds; targets are ignored.
    record = max(fitting_records, key=lambda each: (each.seed(seed) is not None, len(each.seeds)), default=None)
    if record is not None and not retrain:
        kept_seeds = record.kept_indices(workspace.records)
        if seed not in kept_seeds:
            seeds_text = ", ".join(map(str, kept_seeds)) or "none"
            message = f"the weights of seed {seed} are not kept (kept seeds: {seeds_text})"
            raise UsageError(f"{message}; the option retrain trains the seed again")
    recorded_run = None if record is None else record.seed(seed)
    return SeedOfNetwork(architecture, recipe_choice, dataset, seed, record, recorded_run, retrain)


def weights_of(seed: SeedOfNetwork, images: ImageData, workspace: Workspace, *, device: str, engine: str) -> Weights:
    """Return the kept weights of a seed, or train the network on all training images.

    Raises:
        ContentError: The kept weights differ from the record.
        DeviceError: The device is not available.
        TargetMissed: The training did not complete.
    """
    from harness.evidence.evaluation import network_of
    from harness.exports.trained_network import TrainedNetwork
    from harness.training.run import properties

    recorded_run = seed.recorded_run
    if seed.record is not None and recorded_run is not None and not seed.retrain:
        weights = record_files.read_recorded(workspace.records, seed.record, seed.index)
        run: Result | SeedRun = recorded_run
        model = network_of(weights, images.dataset.task)
        about = dict(weights.about) | {"weights_sha256": weights.sha256} | images.dataset.number_properties
        match = "identical" if weights.sha256 == recorded_run.weights_sha256 else "repeated"
        epochs = None
    else:
        run, training = _trained_again(seed, images, device=device, engine=engine)
        model = training.final_network()
        about = properties(run, images.dataset)
        match = record_files.match(run, recorded_run)
        epochs = run.trained_epochs
        recorded_run = recorded_run if match == "identical" else None
    network = TrainedNetwork(seed.architecture, model, about, images, seed.recipe.recipe, seed.record, recorded_run)
    return Weights(seed, network, run, match, epochs)


def _trained_again(seed: SeedOfNetwork, images: ImageData, *, device: str, engine: str) -> tuple[Result, Training]:
    """Train a seed on all training images, a recorded seed with the beacon and the engine of the record."""
    from harness.training.native.engine import engine_of_repeat
    from harness.training.run import Job

    recorded_run = seed.recorded_run
    job = Job(
        architecture=seed.architecture,
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

    A job with ``Purpose.TRAIN`` trains on the search split and is validated after each epoch; a job with
    ``Purpose.VERIFY`` trains on all images. Device and engine of the job may be ``auto``.

    Raises:
        DeviceError: The device or the engine is not available.
    """
    from harness.data.training_images import split
    from harness.training.native.engine import choose_engine
    from harness.training.progress import Reporter
    from harness.training.run import TrainingData, train_job

    device = choose_device(job.device)
    choice = choose_engine(job.engine, job.recipe, device, job.architecture.op_types)
    has_validation = job.purpose is Purpose.TRAIN
    parts = split(images, job.validation_fold(images.dataset)) if has_validation else None
    options.say_training(choice, job.recipe, len(images.train_labels) if parts is None else len(parts.train))
    epochs = job.recipe.epochs
    job = replace(job, device=str(device), engine=choice.kind, evaluate_each_epoch=has_validation)
    with Reporter(epochs, "epochs") as reporter:
        epochs_per_line = math.ceil(epochs / _MAX_EPOCH_LINES)
        reported_epochs = 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal reported_epochs
            if parts is not None and (epoch.epoch % epochs_per_line == 0 or epoch.epoch == epochs):
                loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
                assert epoch.validation_errors is not None, "each epoch is evaluated"
                errors = Errors(epoch.validation_errors, len(parts.validation))
                figures = f"loss {loss}, validation {errors.accuracy_pct:.2f} %, {epoch.train_seconds:.1f} s"
                reporter.say(f"epoch {epoch.epoch}/{epochs}: {figures}")
            # With several starts, the first reported epoch is the one after which a single start is left.
            reporter.advance(epoch.epoch - reported_epochs)
            reported_epochs = epoch.epoch

        return train_job(job, TrainingData(images), on_epoch)
