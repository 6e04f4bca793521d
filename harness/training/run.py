"""One run: the training of one network with one recipe and one seed, whole or up to a rung, as a ``Result``."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import resource
import sys
import time
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

from harness.data.datasets import Dataset, number_properties, pixel_properties
from harness.data.testset import read_test_set
from harness.data.training_images import ImageData, split
from harness.system import files
from harness.system.errors import ContentError, DeviceError, refused
from harness.system.machine import choose_device
from harness.system.user_code import called, function_of
from harness.training.modules import Images, Teacher, network_on, state_tensors
from harness.training.native.engine import TORCH, choose_engine
from harness.training.recipe import Recipe, start_overhead
from harness.training.result import (
    PROTOCOL_VERSION,
    Epoch,
    Inspection,
    Miss,
    Purpose,
    Result,
    Status,
    derive_seed,
    environment,
    packed,
    start_seed,
)
from harness.training.train import (
    Training,
    best_start,
    checkpoint,
    count_errors,
    end_epoch,
    final_network,
    finish_average,
    finish_integers,
    predicting_state,
    predictions,
    resume,
    start,
    train_epoch,
    weights_digest,
)
from search_spaces.network import Architecture, analyse
from search_spaces.notation import parse_network
from search_spaces.space import Decision

_DIGEST_BYTES = hashlib.sha256().digest_size  # bytes before the state in a checkpoint: their SHA-256


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker is to do, in plain values that travel between processes."""

    architecture: Architecture
    recipe: Recipe
    recipe_name: str
    purpose: Purpose
    seed_index: int  # which of the seeds of the purpose (``derive_seed``)
    study_seed: int = 0  # of a search's runs (``StudyConfig.run_seed``); without effect outside one
    beacon: str = ""  # the commit that declared a certification, on which its seeds depend; empty outside one
    device: str = "cpu"
    engine: str = TORCH  # ``native``, ``torch`` or ``auto``
    until_epoch: int | None = None  # last epoch of this job; None for the recipe's last
    checkpoint: Path | None = None  # file with the state of the run between jobs; None for no file
    evaluate_each_epoch: bool = False  # count validation errors after every epoch, not only after the job's last
    teachers: Path | None = None  # folder of trained teachers; None where none are kept
    test_log: Path | None = None  # log of reads of the test set; a job without one never reads it
    test_each_epoch: bool = False  # read it after every epoch too, as a recipe's document did (``NamedRecipe``)
    inspection: Path | None = None  # file for the test images that were classed wrongly; None for no file
    weights: Path | None = None  # safetensors file for the learned weights; None for no file
    study: str | None = None
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()
    spent_seconds: float = 0.0  # which the run has taken in earlier jobs, up to a rung; they count for its limit
    image_share: float = 1.0  # of the images to train on, drawn at random; less than 1 shows what more of them bring

    def __post_init__(self) -> None:
        """Keep the test set from all purposes but verification, and rungs from runs of several starts."""
        assert self.test_log is None or self.purpose is Purpose.VERIFY, "only a verification reads the test set"
        assert self.until_epoch is None or self.recipe.starts == 1, "several starts train to the end in one job"


class TrainingData:
    """The data as one process holds them: loaded once, used by all its runs."""

    def __init__(self, data: ImageData) -> None:
        self.data = data
        # Images to train on and to validate on, by device and by the fold that validates.
        self._parts: dict[tuple[torch.device, int | None], tuple[Images, Images | None]] = {}

    def images(self, pixels: torch.Tensor, labels: torch.Tensor, device: torch.device) -> Images:
        """Return some of the data set's images on a device."""
        dataset = self.data.dataset
        return Images(pixels.to(device), labels.to(device), dataset.mean, dataset.std, dataset.classes)

    def parts(self, device: torch.device, fold: int | None) -> tuple[Images, Images | None]:
        """Return the images to train on and the fold to validate on, one copy for all runs of a process.

        Where ``fold`` is None all images are trained on and none are left to validate on.
        """
        if (parts := self._parts.get((device, fold))) is None:
            whole = self.images(self.data.train_images, self.data.train_labels, device)
            everything = torch.arange(len(whole.labels))
            indices = [part.to(device) for part in ([everything] if fold is None else split(self.data, fold))]
            if self.data.dataset.balanced:
                # Oversample: each image of a class is repeated (size of the largest class // size of its class) times.
                labels = whole.labels[indices[0]]
                counts = labels.bincount()
                indices[0] = indices[0].repeat_interleave((counts.max() // counts)[labels])
            images = [replace(whole, pixels=whole.pixels[part], labels=whole.labels[part]) for part in indices]
            self._parts[device, fold] = parts = (images[0], None if fold is None else images[1])
        return parts


def execute(job: Job, loaded: TrainingData) -> Result:
    """Train as ``train_job`` does; return the result alone, as a process hands it on without the run."""
    return train_job(job, loaded)[0]


def train_job(
    job: Job, loaded: TrainingData, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[Result, Training]:
    """Train as a job says; return its result and the run.

    The run goes on from the job's checkpoint where there is one; its status is ``running`` where epochs are left. A
    verification trains on all training images, all others on the search split. Where a verification has a ``test_log``
    it reads the test set when its run is over, and with ``test_each_epoch`` after every epoch too; no other run does.
    """
    dataset = loaded.data.dataset
    device = choose_device(job.device)
    engine = choose_engine(job.engine, job.recipe, device, job.architecture.op_types).engine
    name = TORCH if engine is None else engine.name
    name = " ".join(filter(None, (name, job.recipe.trainer, job.recipe.trainer_sha256[:12])))
    # Cross-validation: a search's first runs, of index 0, validate on fold 0, and fresh seeds from fold 1 on: on other
    # images than those by which the network was picked. With one fold it is always fold 0.
    shift = 1 if job.purpose is Purpose.CONFIRM else 0
    fold = (job.seed_index + shift) % dataset.folds
    train_set, validation_set = loaded.parts(device, None if job.purpose is Purpose.VERIFY else fold)
    if job.image_share < 1:
        train_set = _some_of(train_set, job.image_share, job.seed_index)
    # A teacher sees the images that the job trains on, and no others.
    teacher = _teacher_of(job, train_set, loaded.data.data_hash, device, fold)
    result = replace(
        initial_result(job, dataset),
        environment=environment(device, loaded.data.data_hash, name),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )

    def new_start(number: int) -> Training:
        seed = start_seed(result.seed, number)
        return start(job.architecture, job.recipe, seed, device, engine, teacher, task=dataset.task)

    run = _resumed_or_new_run(job, partial(new_start, 0))
    last = min(job.until_epoch or job.recipe.epochs, job.recipe.epochs)

    def evaluate() -> None:
        _evaluate_epoch(job, loaded, run, train_set, validation_set, last)
        if on_epoch is not None:
            on_epoch(run.history[-1])

    if job.recipe.trainer:
        _train_by_user(run, train_set, result.seed, last, evaluate)
    if job.recipe.starts > 1 and not run.history:
        run = best_start(run, new_start, train_set)
        evaluate()
    while len(run.history) < last and not run.diverged:
        train_epoch(run, train_set)
        evaluate()
    # Where the checkpoint was that of the job's last epoch, no epoch was trained after which this was done.
    finish_average(run, train_set)
    finish_integers(run, train_set)
    if job.checkpoint is not None:
        buffer = io.BytesIO()
        torch.save(checkpoint(run), buffer)
        # The archive's own checksums are not compared by torch.load, so a flipped bit would go on unseen.
        files.write_bytes(job.checkpoint, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    result = _with_training(result, run, len(train_set), validation_set)
    # A run that diverged is tested too: its seed counts in the verification, with the errors that it makes.
    if job.test_log is not None and result.status is not Status.RUNNING:
        result = _with_test(job, result, run, _test_set(job, loaded, device))
    if job.weights is not None and result.status is Status.COMPLETE:
        files.write_bytes(job.weights, to_safetensors(final_network(run), properties(result, dataset)))
    return replace(result, peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), run


def _some_of(images: Images, share: float, seed: int) -> Images:
    """Return a share of the images, drawn at random, which is the same for the same seed."""
    # Images may be in the order of their classes.
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    part = order[: max(1, round(share * len(images)))].to(images.pixels.device)
    return replace(images, pixels=images.pixels[part], labels=images.labels[part])


def _resumed_or_new_run(job: Job, new_run: Callable[[], Training]) -> Training:
    """Return the run at its checkpoint, or a new one where none is there or it is damaged."""
    run = new_run()
    # A checkpoint holds nothing of what a person's own trainer would need to go on, so its run begins anew.
    if job.checkpoint is None or not job.checkpoint.exists() or job.recipe.trainer:
        return run
    try:
        stored = job.checkpoint.read_bytes()
        digest = stored[:_DIGEST_BYTES]
        content = stored[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("its checksum is another one")
        resume(run, torch.load(io.BytesIO(content), map_location=run.device, weights_only=True))
    except Exception as error:  # torch raises anything where it is damaged
        if isinstance(refused(error), DeviceError):
            raise
        print(f"{job.checkpoint} is damaged; the run begins from its start", file=sys.stderr, flush=True)
        job.checkpoint.unlink()
        # The damaged file may have been read in part.
        return new_run()
    return run


def _train_by_user(run: Training, images: Images, seed: int, last: int, evaluate: Callable[[], None]) -> None:
    """Have the recipe's trainer train from the start up to epoch ``last``: its ``report`` ends it there."""
    name = f"trainer {run.recipe.trainer}"
    epoch_start = time.perf_counter()

    class LastEpochIsOver(BaseException):
        pass

    def report(loss: float | torch.Tensor) -> None:
        """Tell of an epoch that is over, with its mean loss; does not return from the last one."""
        nonlocal epoch_start
        value = float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        if not all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values()):
            # Weights that are not finite make no network, so the run has diverged whatever loss is reported.
            value = math.nan
        end_epoch(run, value, run.recipe.learning_rate, time.perf_counter() - epoch_start)
        was_training = run.network.training
        evaluate()
        run.network.train(was_training)
        epoch_start = time.perf_counter()
        if run.diverged or len(run.history) == last:
            raise LastEpochIsOver

    function = function_of(run.recipe.trainer, "trainer", run.recipe.trainer_sha256)
    torch.manual_seed(seed)
    run.network.train()
    with called(name, seconds=0), contextlib.suppress(LastEpochIsOver):
        function(run.architecture, run.network, images, seed, run.recipe.epochs, report)
        raise ValueError(f"it returned after {len(run.history)} of {last} epochs; report(loss) ends each")


def _evaluate_epoch(
    job: Job, loaded: TrainingData, run: Training, train_set: Images, validation_set: Images | None, last: int
) -> None:
    """Enter the errors that a job asks for into the epoch that has just been trained."""
    job_is_done = len(run.history) == last or run.diverged
    if job_is_done or job.evaluate_each_epoch or job.test_each_epoch:
        finish_average(run, train_set)
        finish_integers(run, train_set)
    if validation_set is not None and (job_is_done or job.evaluate_each_epoch):
        run.history[-1] = replace(run.history[-1], validation_errors=count_errors(run, validation_set))
    if job.test_each_epoch:
        errors = count_errors(run, _test_set(job, loaded, run.device))
        run.history[-1] = replace(run.history[-1], test_errors=errors)


def purpose_of_read(job: Job) -> str:
    """Return why a job reads the test set, for the log of reads."""
    return f"{job.purpose} {job.architecture.hash} {job.recipe_name} seed {job.seed_index}"


def _test_set(job: Job, loaded: TrainingData, device: torch.device) -> Images:
    assert job.test_log is not None, "a run that was given no log must not read the test set"
    return loaded.images(*read_test_set(loaded.data, purpose=purpose_of_read(job), log=job.test_log), device)


def initial_result(job: Job, data: Dataset) -> Result:
    """Return the result of a job before its first epoch."""
    architecture = job.architecture
    recipe_hash = job.recipe.hash
    analysis = analyse(architecture, data.task)
    return Result(
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash=recipe_hash,
        dataset=data.name,
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=derive_seed(architecture.hash, recipe_hash, job.purpose, job.seed_index, job.study_seed, job.beacon),
        status=Status.RUNNING,
        study=job.study,
        trial=job.trial,
        decisions=job.decisions,
    )


def _with_training(result: Result, run: Training, train_size: int, validation_set: Images | None) -> Result:
    """Return a result with what its run has come to: status, history, weights, times and validation errors."""
    if run.diverged:
        message = f"the loss was not finite in epoch {len(run.history)}"
        result = replace(result, status=Status.DIVERGED, message=message)
    elif len(run.history) == run.recipe.epochs:
        result = replace(result, status=Status.COMPLETE)
    if validation_set is not None:
        errors = run.history[-1].validation_errors
        result = replace(result, validation_errors=errors, validation_size=len(validation_set))
    trained_epochs = len(run.history) + start_overhead(run.recipe, run.recipe.epochs)
    image_count = trained_epochs * (train_size // run.recipe.batch_size) * run.recipe.batch_size
    return replace(
        result,
        weights_sha256=weights_digest(run),
        history=tuple(run.history),
        train_seconds=run.seconds,
        teacher_seconds=run.teacher.seconds if run.teacher is not None else 0.0,
        images_per_second=image_count / run.seconds if run.seconds else 0.0,
    )


def _with_test(job: Job, result: Result, run: Training, test_set: Images) -> Result:
    """Return a result with its errors on the test images; write the inspection of these where the job asks for it."""
    classes = predictions(run, test_set)
    index = (classes != test_set.labels).nonzero().flatten()
    wrong = tuple(zip(index.tolist(), classes[index].tolist(), strict=True))
    result = replace(result, test_errors=len(wrong), test_size=len(test_set), wrong=wrong)
    # The errors of a diverged network show a person nothing about its images.
    if job.inspection is not None and not run.diverged:
        files.write_json(job.inspection, asdict(_inspection(result, test_set)))
    return result


def _inspection(result: Result, test_set: Images) -> Inspection:
    assert result.weights_sha256 is not None, "a run that has ended has weights"
    labels = test_set.labels.tolist()
    # Reports show errors as grey pictures, so of images with several channels the first stands for all.
    pixels = test_set.pixels[:, 0].cpu().numpy()
    misses = [
        Miss(image=index, label=labels[index], said=answer, pixels=packed(pixels[index].tobytes()))
        for index, answer in result.wrong
    ]
    return Inspection(
        seed_index=result.seed_index,
        weights_sha256=result.weights_sha256,
        label_counts=tuple(torch.bincount(test_set.labels, minlength=test_set.classes).tolist()),
        image_shape=(test_set.pixels.shape[2], test_set.pixels.shape[3]),
        misses=tuple(misses),
    )


def properties(result: Result, dataset: Dataset) -> dict[str, str]:
    """Return the metadata of a file of weights: the network and where its weights come from."""
    return {
        "architecture": str(result.architecture),
        "hash": result.hash,
        "parameters": str(result.parameters),
        "recipe": result.recipe_name,
        "recipe_hash": result.recipe_hash,
        "recipe_fields": json.dumps(asdict(result.recipe), sort_keys=True),
        "dataset": result.dataset,
        **pixel_properties(dataset),
        **number_properties(dataset),
        "seed_index": str(result.seed_index),
        "seed": str(result.seed),
        "weights_sha256": result.weights_sha256 or "",
        "engine": result.environment.engine if result.environment else "",
        "protocol_version": str(result.protocol_version),
    }


def to_safetensors(network: nn.Module, about: Mapping[str, str]) -> bytes:
    """Return the weights as a safetensors file that reads back bit for bit.

    A tied kernel is stored once, under the name of its first user; the other names stand in the metadata.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tied: dict[str, str] = {}
    first_users: dict[int, str] = {}
    # BN's count of batches, the only integer in a state, is left out: a prediction does not depend on it.
    state = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in state.items():
        user = first_users.setdefault(tensor.data_ptr(), name)
        if user == name:
            arrays[name] = tensor.detach().cpu().numpy().copy(order="C")
        else:
            tied[name] = user
    # One entry, because the library writes several in no fixed order.
    metadata = {"harness": json.dumps({**about, "tied": tied, "state": list(state)})}
    content: bytes = save(arrays, metadata)
    return content


def _teacher_of(job: Job, images: Images, data_hash: str, device: torch.device, fold: int) -> Teacher | None:
    """Return the teacher that a job's recipe names, trained now where it is not kept; None where it names none.

    A teacher is an ordinary training run with a fixed seed on the images of its student, so it never sees a test image,
    and it is kept for all students of a recipe. Torch trains one that the native engine declines.
    """
    if (recipe := job.recipe.teacher_recipe) is None:
        return None
    architecture = parse_network(job.recipe.teacher, images.task)
    engine_name = TORCH if job.engine == TORCH else "auto"
    engine = choose_engine(engine_name, recipe, device, architecture.op_types).engine
    facts = environment(device, data_hash, TORCH if engine is None else engine.name)
    # Whatever may give other bits changes the file's name; not the commit, which a comparison of results ignores too.
    key = [PROTOCOL_VERSION, asdict(replace(facts, commit=None, dirty=None))]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    # Fold 0 has no number: it is the whole split of a data set without folds.
    part = "all" if job.purpose is Purpose.VERIFY else f"split{fold or ''}"
    networks = []
    seconds = 0.0
    for index in range(job.recipe.teacher_seeds):
        seed = derive_seed(architecture.hash, recipe.hash, Purpose.TEACHER, index)
        new_run = partial(start, architecture, recipe, seed, device, engine, task=images.task)
        if job.teachers is None:
            teacher_state = _trained_teacher(new_run, images)
        else:
            path = job.teachers / f"{architecture.hash}-{recipe.hash}-{part}-{index}-{digest}.pt"
            teacher_state = _kept_teacher(path, new_run, images)
        network = network_on(architecture, images.task, device)
        with torch.no_grad():
            for tensor, weights in zip(state_tensors(network), teacher_state["weights"], strict=True):
                tensor.copy_(weights)
        networks.append(network.eval().requires_grad_(False))
        seconds += teacher_state["seconds"]
    return Teacher(architecture, tuple(networks), seconds)


def _trained_teacher(new_run: Callable[[], Training], images: Images) -> dict[str, Any]:
    """Train a teacher and return its ``weights`` and the ``seconds`` that it took."""
    run = new_run()
    while len(run.history) < run.recipe.epochs:
        train_epoch(run, images)
        if run.diverged:
            network = f"the teacher {run.architecture.hash}"
            raise ContentError(f"{network} diverged in epoch {len(run.history)} of its recipe")
    finish_average(run, images)
    return {"weights": predicting_state(run), "seconds": run.seconds}


def _kept_teacher(path: Path, new_run: Callable[[], Training], images: Images) -> dict[str, Any]:
    """Return the teacher that a file keeps; where there is no file, train it and write one, its digest in front."""
    # Of several processes that lack the teacher one trains it, and the others wait.
    with files.locked(path.with_suffix(".lock")):
        if not path.exists():
            buffer = io.BytesIO()
            torch.save(_trained_teacher(new_run, images), buffer)
            files.write_bytes(path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    content = path.read_bytes()  # a SHA-256 of 32 bytes, and the state that it is of
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ContentError(f"the teacher {path} is damaged", hint="remove the file; it is trained again")
    state: dict[str, Any] = torch.load(io.BytesIO(content[32:]), map_location=images.pixels.device, weights_only=True)
    return state
