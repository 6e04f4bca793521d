"""Training runs: a network with a recipe and a seed, trained up to a rung or to the end, as a ``Result``."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import resource
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn

from harness.data.datasets import Dataset
from harness.data.testset import read_test_set
from harness.data.training_images import ImageData, split
from harness.spaces.network import Architecture, analyse
from harness.spaces.space import Decision
from harness.system import clock, files
from harness.system.document import document_of
from harness.system.errors import DeviceError, refused
from harness.system.machine import choose_device
from harness.system.settings import fixed_settings
from harness.system.statistics import roc_auc
from harness.system.terminal import say
from harness.system.user_code import function_of, guarding_user_code
from harness.training import result as results
from harness.training import training_loop
from harness.training.native.engine import TORCH, choose_engine
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Inspection, Miss, Purpose, Result, Status, derive_seed
from harness.training.torch_network import Images
from harness.training.training_loop import Training

_DIGEST_BYTES = hashlib.sha256().digest_size  # a checkpoint file begins with the SHA-256 of the state


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task of a worker, as plain values that can be sent between processes."""

    architecture: Architecture
    recipe: Recipe
    recipe_name: str
    purpose: Purpose
    seed_index: int  # among the seeds of the purpose (``derive_seed``)
    study_seed: int = 0  # ``StudyConfig.run_seed`` in a search, else without effect
    beacon: str = ""  # commit of a certification, on which the seeds depend; else empty
    device: str = "cpu"  # as for ``choose_device``
    engine: str = TORCH  # ``native``, ``torch`` or ``auto`` (``choose_engine``)
    until_epoch: int | None = None  # None for the last epoch of the recipe
    checkpoint: Path | None = None  # state of the run between jobs; None for no file
    evaluate_each_epoch: bool = False  # count validation errors after each epoch, not only at the end
    test_log: Path | None = None  # None: the job does not read the test set
    test_each_epoch: bool = False  # count test errors after each epoch too (``NamedRecipe``)
    inspection: Path | None = None  # misclassified test images; None for no file
    weights: Path | None = None  # safetensors file; None for no file
    study: str | None = None  # for the result, as the two fields below
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()
    spent_seconds: float = 0.0  # of earlier jobs of the run, counted towards the time limit
    image_share: float = 1.0  # of the training images, drawn at random by ``seed_index``

    def __post_init__(self) -> None:
        assert self.test_log is None or self.purpose is Purpose.VERIFY, "only a verification reads the test set"
        assert self.until_epoch is None or self.recipe.starts == 1, "several starts train to the end in one job"

    def validation_fold(self, data: Dataset) -> int:
        """Return the index of the fold on which the job validates; 0 for data with a single fold.

        The index is ``(trial + seed_index) % folds`` for the first run of a trial, and one higher for a fresh seed, so
        that both validate on different images. On a single fold for all first runs, an easy or hard fold would select
        the networks. ``trial`` counts as 0 for all other purposes, and for folds of groups, which differ so much that
        only runs on the same groups can be compared (docs/project/decisions.md#30).
        """
        number = self.seed_index
        if self.purpose is Purpose.CONFIRM:
            number += 1
        if data.image_folds and self.purpose in (Purpose.SEARCH, Purpose.CONFIRM):
            number += self.trial or 0
        return number % data.folds

    @property
    def purpose_of_read(self) -> str:
        """Reason of the job to read the test set, for the log of reads."""
        return f"{self.purpose} {self.architecture.hash} {self.recipe_name} seed {self.seed_index}"

    def initial_result(self, data: Dataset) -> Result:
        """Return the result of a job before its first epoch."""
        architecture = self.architecture
        recipe_hash = self.recipe.hash
        analysis = analyse(architecture, data.task)
        declared = architecture.hash, recipe_hash, self.purpose, self.seed_index, self.study_seed, self.beacon
        return Result(
            architecture=architecture,
            hash=architecture.hash,
            parameters=analysis.parameters,
            macs=analysis.macs,
            recipe=self.recipe,
            recipe_name=self.recipe_name,
            recipe_hash=recipe_hash,
            dataset=data.name,
            purpose=self.purpose,
            seed_index=self.seed_index,
            seed=derive_seed(*declared),
            status=Status.RUNNING,
            study=self.study,
            trial=self.trial,
            decisions=self.decisions,
        )


class TrainingData:
    """The data set in a worker process: loaded once, shared by all runs of the process."""

    def __init__(self, data: ImageData) -> None:
        self.data = data
        # By device and validation fold.
        self._parts: dict[tuple[torch.device, int | None], tuple[Images, Images | None]] = {}

    def images(self, pixels: torch.Tensor, labels: torch.Tensor, device: torch.device) -> Images:
        """Return images, uint8 (n, channels, rows, columns), on a device, with the normalisation of the data set.

        ``labels`` are int64 (n,).
        """
        dataset = self.data.dataset
        return Images(pixels.to(device), labels.to(device), dataset.mean, dataset.std, dataset.classes)

    def parts(self, device: torch.device, fold: int | None) -> tuple[Images, Images | None]:
        """Return training and validation images; ``fold`` is None to train on all images."""
        parts = self._parts.get((device, fold))
        if parts is None:
            all_images = self.images(self.data.train_images, self.data.train_labels, device)
            train = torch.arange(len(all_images))
            validation_set = None
            if fold is not None:
                train, validation = split(self.data, fold)
                validation_set = _selected(all_images, validation)
            if self.data.dataset.balanced:
                # Repeat each image (size of the largest class // size of its class) times.
                labels = self.data.train_labels[train]
                counts = labels.bincount()
                train = train.repeat_interleave((counts.max() // counts)[labels])
            parts = (_selected(all_images, train), validation_set)
            self._parts[device, fold] = parts
        return parts


def _selected(images: Images, indices: torch.Tensor) -> Images:
    indices = indices.to(images.labels.device)
    return replace(images, pixels=images.pixels[indices], labels=images.labels[indices])


def execute(job: Job, data: TrainingData) -> Result:
    """Same as ``train_job``, without the run, which cannot be sent to the coordinator."""
    return train_job(job, data)[0]


@fixed_settings()
def train_job(job: Job, data: TrainingData, on_epoch: Callable[[Epoch], None] | None = None) -> tuple[Result, Training]:
    """Run a job and return the result and the run.

    The run continues from the checkpoint of the job, if any; the status is ``running`` if epochs are left. Only a
    verification trains on training and validation images, and reads the test set, if there is a ``test_log``: at the
    end of the run, and with ``test_each_epoch`` after each epoch.

    Raises:
        ContentError: The recipe cannot train the network, or user code failed.
        DeviceError: The device or the engine is not available, or the memory is not sufficient.
        StorageError, UsageError: A file cannot be written.
    """
    # The bits of the weights depend on the number of threads.
    torch.set_num_threads(1)
    device = choose_device(job.device)
    engine = choose_engine(job.engine, job.recipe, device, job.architecture.op_types).engine
    train_set, validation_set = _image_sets(job, data, device)
    result = _result_with_environment(job, data, device, TORCH if engine is None else engine.name)
    last_epoch = job.recipe.epochs
    if job.until_epoch is not None:
        last_epoch = min(job.until_epoch, last_epoch)

    def new_start(number: int) -> Training:
        seed = results.start_seed(result.seed, number)
        return training_loop.start(job.architecture, job.recipe, seed, device, engine, task=data.data.dataset.task)

    def evaluate(run: Training) -> None:
        _evaluate_epoch(job, data, run, train_set, validation_set, last_epoch)
        if on_epoch is not None:
            on_epoch(run.history[-1])

    run = _resumed_or_new_run(job, partial(new_start, 0))
    if job.recipe.trainer:
        _train_by_user(run, new_start(0).network, train_set, result.seed, last_epoch, evaluate)
    if job.recipe.starts > 1 and not run.history:
        run = training_loop.best_start(run, new_start, train_set)
        evaluate(run)
    has_passing_evaluations = job.evaluate_each_epoch or job.test_each_epoch or on_epoch is not None
    while len(run.history) < last_epoch and not run.has_diverged:
        run.train(train_set, 1 if has_passing_evaluations else last_epoch - len(run.history))
        evaluate(run)
    # ``evaluate`` was not called if the checkpoint was already at the last epoch.
    run.finish_average(train_set)
    run.finish_integers(train_set)
    if job.checkpoint is not None:
        _write_checkpoint(run, job.checkpoint)
    result = _with_training(result, run, len(train_set), validation_set)
    # The errors of all declared seeds count in the verification, also of diverged runs.
    if job.test_log is not None and result.status is not Status.RUNNING:
        result = _with_test(job, result, run, _test_set(job, data, device))
    if job.weights is not None and result.status is Status.COMPLETE:
        about = properties(result, data.data.dataset)
        files.write_bytes(job.weights, to_safetensors(run.final_network(), about))
    return replace(result, peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), run


def _image_sets(job: Job, data: TrainingData, device: torch.device) -> tuple[Images, Images | None]:
    fold = None
    if job.purpose is not Purpose.VERIFY:
        fold = job.validation_fold(data.data.dataset)
    train_set, validation_set = data.parts(device, fold)
    if job.image_share < 1:
        # Images may be sorted by class.
        order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(job.seed_index))
        train_set = _selected(train_set, order[: max(1, round(job.image_share * len(train_set)))])
    return train_set, validation_set


def _result_with_environment(job: Job, data: TrainingData, device: torch.device, engine: str) -> Result:
    engine_words = (engine, job.recipe.trainer, job.recipe.trainer_sha256[:12])
    return replace(
        job.initial_result(data.data.dataset),
        environment=results.environment(device, data.data.data_hash, " ".join(filter(None, engine_words))),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _write_checkpoint(run: Training, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(run.checkpoint(), buffer)
    content = buffer.getvalue()
    # torch.load does not compare checksums, so a flipped bit would not be detected.
    files.write_bytes(path, hashlib.sha256(content).digest() + content)


def _resumed_or_new_run(job: Job, new_run: Callable[[], Training]) -> Training:
    """Return the run at the checkpoint, or a new run if the checkpoint is missing or damaged."""
    run = new_run()
    # A checkpoint lacks the state of user code, so a run with a trainer always begins anew.
    if job.checkpoint is None or not job.checkpoint.exists() or job.recipe.trainer:
        return run
    try:
        file_content = job.checkpoint.read_bytes()
        digest = file_content[:_DIGEST_BYTES]
        content = file_content[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("wrong checksum")
        run.resume(torch.load(io.BytesIO(content), map_location=run.device, weights_only=True))
    except Exception as error:  # torch.load raises any exception for damaged content
        if isinstance(refused(error), DeviceError):
            raise
        say(f"{job.checkpoint} is damaged; the run restarts from the first epoch")
        job.checkpoint.unlink(missing_ok=True)
        # ``resume`` may have changed the first run.
        return new_run()
    return run


def _train_by_user(
    run: Training, module: nn.Module, images: Images, seed: int, last_epoch: int, evaluate: Callable[[Training], None]
) -> None:
    """Train with the user code of the recipe until ``report`` raises an exception after the last epoch.

    The user code trains ``module``, a second network with the first weights of the run. Only the weights enter the run,
    so that the recorded errors are errors of the counted network.

    Raises:
        OtherCode: The user code has changed.
        ContentError: The user code failed, returned before the last epoch, or changed names or shapes of weights.
    """
    epoch_start = clock.now()

    class LastEpochIsOver(BaseException):
        pass

    @fixed_settings()
    def report(loss: float | torch.Tensor) -> None:
        """Report a finished epoch with the mean loss; raise ``LastEpochIsOver`` after the last epoch."""
        nonlocal epoch_start
        value = float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        run.network.load_state_dict(module.state_dict())
        if not all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values()):
            # Non-finite weights mean divergence, regardless of the reported loss.
            value = math.nan
        run.end_epoch(value, run.recipe.learning_rate, clock.now() - epoch_start)
        evaluate(run)
        epoch_start = clock.now()
        if run.has_diverged or len(run.history) == last_epoch:
            raise LastEpochIsOver

    function = function_of(run.recipe.trainer, "trainer", run.recipe.trainer_sha256)
    torch.manual_seed(seed)
    module.train()
    user_code = guarding_user_code(f"trainer {run.recipe.trainer}", seconds=0)
    with user_code, contextlib.suppress(LastEpochIsOver), fixed_settings():
        function(run.architecture, module, images, seed, run.recipe.epochs, report)
        epochs = f"{len(run.history)} of {last_epoch} epochs"
        raise ValueError(f"return after {epochs}; call report(loss) at the end of each epoch")


def _evaluate_epoch(
    job: Job, data: TrainingData, run: Training, train_set: Images, validation_set: Images | None, last_epoch: int
) -> None:
    job_is_done = len(run.history) == last_epoch or run.has_diverged
    if job_is_done or job.evaluate_each_epoch or job.test_each_epoch:
        run.finish_average(train_set)
        run.finish_integers(train_set)
    if validation_set is not None and (job_is_done or job.evaluate_each_epoch):
        evaluation = run.evaluation(validation_set)
        run.history[-1] = replace(
            run.history[-1],
            validation_errors=evaluation.errors,
            validation_soft_errors=evaluation.soft_errors,
            validation_loss=evaluation.loss,
        )
    if job.test_each_epoch:
        evaluation = run.evaluation(_test_set(job, data, run.device))
        run.history[-1] = replace(run.history[-1], test_errors=evaluation.errors)


def _test_set(job: Job, data: TrainingData, device: torch.device) -> Images:
    assert job.test_log is not None, "a run that was given no log must not read the test set"
    return data.images(*read_test_set(data.data, purpose=job.purpose_of_read, log=job.test_log), device)


def _with_training(result: Result, run: Training, train_size: int, validation_set: Images | None) -> Result:
    if run.has_diverged:
        message = f"the loss was not finite in epoch {len(run.history)}"
        result = replace(result, status=Status.DIVERGED, message=message)
    elif len(run.history) == run.recipe.epochs:
        result = replace(result, status=Status.COMPLETE)
    if validation_set is not None:
        last = run.history[-1]
        result = replace(
            result,
            validation_errors=last.validation_errors,
            validation_soft_errors=last.validation_soft_errors,
            validation_loss=last.validation_loss,
            validation_size=len(validation_set),
        )
    trained_epochs = len(run.history) + run.recipe.start_overhead(run.recipe.epochs)
    image_count = trained_epochs * (train_size // run.recipe.batch_size) * run.recipe.batch_size
    return replace(
        result,
        weights_sha256=run.weights_digest(),
        history=results.history_sample(run.history),
        train_seconds=run.seconds,
        images_per_second=image_count / run.seconds if run.seconds else 0.0,
    )


def _with_test(job: Job, result: Result, run: Training, test_set: Images) -> Result:
    classes = run.predictions(test_set)
    indices = (classes != test_set.labels).nonzero().flatten()
    wrong = tuple(zip(indices.tolist(), classes[indices].tolist(), strict=True))
    result = replace(result, test_errors=len(wrong), test_size=len(test_set), wrong=wrong)
    # The errors of a diverged network contain no information about the images.
    if job.inspection is not None and not run.has_diverged:
        area = None
        if test_set.classes == 2:
            pixels = test_set.pixels.cpu()
            probabilities = training_loop.class_probabilities(
                run.final_network(), run.architecture, pixels, test_set, run.recipe.precision
            )
            area = roc_auc(test_set.labels.tolist(), probabilities[:, 1].tolist())
        files.write_json(job.inspection, document_of(_inspection(result, test_set, area)))
    return result


def _inspection(result: Result, test_set: Images, area: float | None) -> Inspection:
    assert result.weights_sha256 is not None, "a run that has ended has weights"
    labels = test_set.labels.tolist()
    # Reports show grey images, so the first channel represents images with several channels.
    pixels = test_set.pixels[:, 0].cpu().numpy()
    misses = [
        Miss(image=index, label=labels[index], prediction=prediction, pixels=results.pack(pixels[index].tobytes()))
        for index, prediction in result.wrong
    ]
    return Inspection(
        seed_index=result.seed_index,
        weights_sha256=result.weights_sha256,
        label_counts=tuple(torch.bincount(test_set.labels, minlength=test_set.classes).tolist()),
        image_shape=(test_set.pixels.shape[2], test_set.pixels.shape[3]),
        misses=tuple(misses),
        roc_auc=area,
    )


def properties(result: Result, dataset: Dataset) -> dict[str, str]:
    """Return the metadata of a file of weights."""
    return {
        "architecture": str(result.architecture),
        "hash": result.hash,
        "parameters": str(result.parameters),
        "recipe": result.recipe_name,
        "recipe_hash": result.recipe_hash,
        "recipe_fields": json.dumps(asdict(result.recipe), sort_keys=True),
        "dataset": result.dataset,
        **dataset.pixel_properties,
        **dataset.number_properties,
        "seed_index": str(result.seed_index),
        "seed": str(result.seed),
        "weights_sha256": result.weights_sha256 or "",
        "engine": result.environment.engine if result.environment else "",
        "protocol_version": str(result.protocol_version),
    }


def to_safetensors(network: nn.Module, about: Mapping[str, str], names: Mapping[str, str] | None = None) -> bytes:
    """Return the weights as a safetensors file, exact to the bit.

    A tied kernel is stored once, under the name of the first use; the metadata list the names of later uses.

    Args:
        about: Metadata, such as ``properties``.
        names: Names in the file, by names in the state of the network; other tensors keep their names.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    ties: dict[str, str] = {}
    first_names: dict[int, str] = {}  # of the first use, by address of the tensor
    # Without the batch count of BN, an integer that does not affect predictions.
    tensors = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    state = {(names or {}).get(name, name): tensor for name, tensor in tensors.items()}
    for name, tensor in state.items():
        first_name = first_names.setdefault(tensor.data_ptr(), name)
        if first_name == name:
            arrays[name] = tensor.detach().cpu().numpy().copy(order="C")
        else:
            ties[name] = first_name
    # The library writes several entries in random order.
    metadata = {"harness": json.dumps({**about, "tied": ties, "state": list(state)})}
    content: bytes = save(arrays, metadata)
    return content
