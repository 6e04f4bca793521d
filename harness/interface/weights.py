"""The weights of a network: those kept with its record, or those of a training in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.data import datasets
from harness.evidence import record
from harness.evidence.record import Record, SeedRun
from harness.interface import options
from harness.interface.lookup import NetworkArgument, only_row, recipe_of, row_of
from harness.system import files
from harness.system.errors import TargetMissed, UsageError
from harness.system.files import Workspace
from harness.system.machine import choose_device, torch_of_caller
from harness.training.recipe import NamedRecipe
from harness.training.result import Epoch, Purpose, Result, Status, accuracy_pct
from search_spaces.network import Architecture

if TYPE_CHECKING:
    from harness.data.training_images import ImageData
    from harness.deployment.network import TrainedNetwork
    from harness.training.run import Job
    from harness.training.train import Training

_MOST_EPOCH_LINES = 50


@dataclass(frozen=True, slots=True)
class SeedOfNetwork:
    """One seed of a network and a recipe, whose weights are wanted.

    Attributes:
        dataset: the network's own, else the one asked for.
        evidence: its record; None without one.
        recorded: the seed in that record; None where it is not on record.
        retrain: kept weights are not wanted.
    """

    architecture: Architecture
    recipe: NamedRecipe
    dataset: str
    index: int
    evidence: Record | None
    recorded: SeedRun | None
    retrain: bool


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A trained network, its run, and how it compares with the record.

    Attributes:
        match: as ``harness.evidence.record.match`` says; ``epochs`` of a training just now, None for kept weights.
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
    """Return the seed that is meant, however its network was named.

    Raises:
        UsageError: its weights are not kept, or nothing describes the recipe.
        ContentError: several rows fit.
    """
    architecture = argument.architecture
    records = [each for each in record.read_all(workspace.records) if each.hash == architecture.hash]
    # The target that a row was made for has no part in weights.
    rows = [replace(row, target_pct=None) for row in argument.rows or map(row_of, records)]
    dataset_named = None if dataset == datasets.AUTO else dataset
    argument = replace(argument, rows=tuple(rows))
    row = only_row(argument, dataset=dataset_named, target_pct=None, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)
    dataset_meant = (row and row.dataset) or dataset_named
    evidence = _record_with(seed, records, named.recipe.hash, dataset_meant)
    if evidence is not None and not retrain:
        _check_kept(evidence, seed, workspace)
    recorded = None if evidence is None else evidence.seed(seed)
    return SeedOfNetwork(architecture, named, dataset_meant or dataset, seed, evidence, recorded, retrain)


def _record_with(seed: int, records: Sequence[Record], recipe_hash: str, dataset: str | None) -> Record | None:
    """Return of several records, for several targets, one that has this seed, else the one of most seeds."""
    fitting = [each for each in records if each.recipe_hash == recipe_hash and dataset in (None, each.dataset)]
    return max(fitting, key=lambda each: (each.seed(seed) is not None, len(each.seeds)), default=None)


def _check_kept(evidence: Record, seed: int, workspace: Workspace) -> None:
    kept_seeds = record.kept_indices(workspace.records, evidence)
    if seed not in kept_seeds:
        held = f"kept are those of {', '.join(map(str, kept_seeds))}" if kept_seeds else "none are"
        raise UsageError(f"the weights of seed {seed} are not kept ({held}); --retrain trains it")


def weights_of(seed: SeedOfNetwork, images: ImageData, workspace: Workspace, *, device: str, engine: str) -> Weights:
    """Return the kept weights of a seed, or those of a training on all training images.

    Raises:
        ContentError: the kept weights are not those of the record.
        DeviceError: there is no such device.
        TargetMissed: the training diverged.
    """
    if seed.evidence is None or seed.recorded is None or seed.retrain:
        return _fresh_weights(seed, images, device=device, engine=engine)
    from harness.deployment.network import TrainedNetwork
    from harness.evidence.evaluate import network_of

    weights = record.read_recorded(workspace.records, seed.evidence, seed.index)
    about = dict(weights.about) | {"weights_sha256": weights.sha256} | datasets.number_properties(images.dataset)
    network = TrainedNetwork(seed.architecture, network_of(weights, images.dataset.task), about, images)
    match = "identical" if weights.sha256 == seed.recorded.weights_sha256 else "repeated"
    return Weights(seed, network, seed.recorded, match)


def _fresh_weights(seed: SeedOfNetwork, images: ImageData, *, device: str, engine: str) -> Weights:
    from harness.deployment.network import TrainedNetwork
    from harness.training.native.engine import engine_of_repeat
    from harness.training.run import Job, properties
    from harness.training.train import final_network

    recorded = seed.recorded
    job = Job(
        architecture=seed.architecture,
        recipe=seed.recipe.recipe,
        recipe_name=seed.recipe.name,
        purpose=Purpose.VERIFY,
        seed_index=seed.index,
        beacon=(recorded and recorded.beacon) or "",
        device=device,
        engine=engine_of_repeat(engine, recorded.environment.engine if recorded else None),
    )
    result, training = train_here(job, images)
    if result.status is not Status.COMPLETE:
        raise TargetMissed(f"seed {seed.index} {result.status}: {result.message}; nothing was written")
    about = properties(result, images.dataset)
    network = TrainedNetwork(seed.architecture, final_network(training), about, images)
    return Weights(seed, network, result, record.match(result, recorded), len(result.history))


def train_here(job: Job, images: ImageData) -> tuple[Result, Training]:
    """Train in this process and show how it goes on; a training on the search split is validated each epoch.

    Device and engine of the job may be ``auto``.
    """
    import torch

    from harness.training.native.engine import choose_engine
    from harness.training.progress import Reporter
    from harness.training.run import TrainingData, train_job

    device = choose_device(job.device)
    choice = choose_engine(job.engine, job.recipe, device, job.architecture.op_types)
    teachers = files.workspace().teachers
    validated = job.purpose is Purpose.TRAIN
    image_count = images.dataset.train_size if validated else len(images.train_labels)
    options.say_training(choice, job.recipe, images.dataset.task, image_count, teachers)
    epochs = job.recipe.epochs
    job = replace(job, device=str(device), engine=choice.kind, teachers=teachers, evaluate_each_epoch=validated)
    with torch_of_caller(), Reporter(epochs, "epochs") as reporter:
        # As in a search and in a verification: the number of threads has a part in the bits.
        torch.set_num_threads(1)

        # People read some lines, not thousands.
        step = -(-epochs // _MOST_EPOCH_LINES)
        reported = 0

        def on_epoch(epoch: Epoch) -> None:
            nonlocal reported
            if validated and (epoch.epoch % step == 0 or epoch.epoch == epochs):
                loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
                accuracy = accuracy_pct(epoch.validation_errors, images.dataset.validation_size)
                figures = f"loss {loss}, validation {accuracy:.2f} %, {epoch.train_seconds:.1f} s"
                reporter.say(f"epoch {epoch.epoch}/{epochs}: {figures}")
            # The first epoch that is reported of several starts is that after which one is left.
            reporter.advance(epoch.epoch - reported)
            reported = epoch.epoch

        return train_job(job, TrainingData(images), on_epoch)
