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
from harness.training.recipe import Recipe
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
)
from harness.training.train import (
    Training,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker is to do, in plain values that travel between processes."""

    architecture: Architecture
    recipe: Recipe
    recipe_name: str
    purpose: Purpose
    seed_index: int  # which of the fixed seeds of the purpose
    study_seed: int = 0  # of a search's runs (``StudyConfig.run_seed``); without effect outside one
    beacon: str = ""  # of a certification's seeds (``derive_seed``)
    device: str = "cpu"
    engine: str = TORCH  # ``native``, ``torch`` or ``auto``
    until_epoch: int | None = None  # last epoch of this job; None for the recipe's last
    checkpoint: Path | None = None  # where the state is kept between jobs; None for nowhere
    evaluate_each_epoch: bool = False  # look at the validation images after every epoch, not only at the end
    teachers: Path | None = None  # where trained teachers are kept; None for nowhere
    test_log: Path | None = None  # for reads of the test set, which is read only where this is given
    test_each_epoch: bool = False  # read it after every epoch, as the source documents did
    inspection: Path | None = None  # where to leave what the test images showed; None for nowhere
    weights: Path | None = None  # where to leave what was learned, as a safetensors file; None for nowhere
    study: str | None = None
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()
    spent_seconds: float = 0.0  # by its earlier part, where it goes on from a rung; they count for its limit


class TrainingData:
    """The data as one process holds them: loaded once, used by all its runs."""

    def __init__(self, data: ImageData) -> None:
        self.data = data
        # What runs train on and are validated on, by device and by whose turn it is to validate.
        self._placed: dict[tuple[torch.device, int | None], tuple[Images, Images | None]] = {}

    def images(self, pixels: torch.Tensor, labels: torch.Tensor, device: torch.device) -> Images:
        """Return some of the data set's images on a device."""
        dataset = self.data.dataset
        return Images(pixels.to(device), labels.to(device), dataset.mean, dataset.std, dataset.classes)

    def parts(self, device: torch.device, fold: int | None) -> tuple[Images, Images | None]:
        """Return what runs train on and are validated on, if anything; all runs of a process have the same copy."""
        if (placed := self._placed.get((device, fold))) is None:
            whole = self.images(self.data.train_images, self.data.train_labels, device)
            everything = torch.arange(len(whole.labels))
            places = [at.to(device) for at in ([everything] if fold is None else split(self.data, fold))]
            if self.data.dataset.balanced:
                # As often as its class is smaller than the largest.
                kinds = whole.labels[places[0]]
                counts = kinds.bincount()
                places[0] = places[0].repeat_interleave((counts.max() // counts)[kinds])
            parts = [replace(whole, pixels=whole.pixels[at], labels=whole.labels[at]) for at in places]
            self._placed[device, fold] = placed = (parts[0], None if fold is None else parts[1])
        return placed


def execute(job: Job, loaded: TrainingData) -> Result:
    """Train as ``train_job`` does, and return the result alone."""
    return train_job(job, loaded)[0]


def train_job(
    job: Job, loaded: TrainingData, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[Result, Training]:
    """Train as a job says.

    It goes on from its checkpoint where there is one; its status is ``running`` where epochs are left. Runs for a
    verification train on all training images and read the test set once, at the end; all others train on the search
    split and never see it.
    """
    dataset = loaded.data.dataset
    device = choose_device(job.device)
    engine = choose_engine(job.engine, job.recipe, device, job.architecture.op_types).engine
    name = TORCH if engine is None else engine.name
    name = " ".join(filter(None, (name, job.recipe.trainer, job.recipe.trainer_sha256[:12])))
    # A candidate is confirmed where other images than at first are validated on, if parts of the data take turns.
    turn = (job.seed_index + (job.purpose is Purpose.CONFIRM)) % dataset.folds
    training, validation = loaded.parts(device, None if job.purpose is Purpose.VERIFY else turn)
    # A teacher sees the images that the job trains on, and no others.
    teacher = _teacher_of(job, training, loaded.data.data_hash, device, turn)
    result = replace(
        initial_result(job, dataset),
        environment=environment(device, loaded.data.data_hash, name),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    begins = (job.architecture, job.recipe, result.seed, device, engine, teacher)
    run = start(*begins, task=dataset.task)
    # Nobody knows what a person's own code would need to go on: it begins anew.
    if job.checkpoint is not None and job.checkpoint.exists() and not job.recipe.trainer:
        try:
            content = io.BytesIO(job.checkpoint.read_bytes())
            resume(run, torch.load(content, map_location=device, weights_only=True))
        except Exception as error:  # torch raises anything where it is damaged
            if isinstance(refused(error), DeviceError):
                raise
            print(f"{job.checkpoint} is damaged; the run begins from its start", file=sys.stderr, flush=True)
            job.checkpoint.unlink()
            run = start(*begins, task=dataset.task)
    last = min(job.until_epoch or job.recipe.epochs, job.recipe.epochs)

    def look() -> None:
        _look(job, loaded, run, training, validation, last)
        if on_epoch is not None:
            on_epoch(run.history[-1])

    if job.recipe.trainer:
        _train_by_own(run, training, result.seed, last, look)
    while len(run.history) < last and not run.diverged:
        train_epoch(run, training)
        look()
    return _finished(job, loaded, result, run, training, validation), run


def _train_by_own(run: Training, images: Images, seed: int, last: int, look: Callable[[], None]) -> None:
    """Have the recipe's trainer train from the start up to epoch ``last``: its ``report`` ends it there."""
    name = f"trainer {run.recipe.trainer}"
    began = time.perf_counter()

    class Enough(BaseException):
        pass

    def report(loss: float | torch.Tensor) -> None:
        """Tell of an epoch that is over, with its mean loss; does not return from the last one."""
        nonlocal began
        value = float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
        if not all(torch.isfinite(tensor).all() for tensor in run.network.state_dict().values()):
            # Weights that are not finite are no network, whatever loss is told.
            value = math.nan
        end_epoch(run, value, run.recipe.learning_rate, time.perf_counter() - began)
        training = run.network.training
        look()
        run.network.train(training)
        began = time.perf_counter()
        if run.diverged or len(run.history) == last:
            raise Enough

    function = function_of(run.recipe.trainer, "trainer", run.recipe.trainer_sha256)
    torch.manual_seed(seed)
    run.network.train()
    with called(name, seconds=0), contextlib.suppress(Enough):
        function(run.architecture, run.network, images, seed, run.recipe.epochs, report)
        raise ValueError(f"it returned after {len(run.history)} of {last} epochs; report(loss) ends each")


def _look(
    job: Job, loaded: TrainingData, run: Training, training: Images, validation: Images | None, last: int
) -> None:
    at_end = len(run.history) == last or run.diverged
    if at_end or job.evaluate_each_epoch or job.test_each_epoch:
        finish_average(run, training)
        finish_integers(run, training)
    if validation is not None and (at_end or job.evaluate_each_epoch):
        run.history[-1] = replace(run.history[-1], validation_errors=count_errors(run, validation))
    if job.test_each_epoch:
        errors = count_errors(run, _test_images(job, loaded, run.device))
        run.history[-1] = replace(run.history[-1], test_errors=errors)


def read_purpose(job: Job) -> str:
    """Return why a job reads the test set, for the log of reads."""
    return f"{job.purpose} {job.architecture.hash} {job.recipe_name} seed {job.seed_index}"


def _test_images(job: Job, loaded: TrainingData, device: torch.device) -> Images:
    if job.test_log is None:
        raise AssertionError("a run that was given no log must not read the test set")
    return loaded.images(*read_test_set(loaded.data, purpose=read_purpose(job), log=job.test_log), device)


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


def _finished(
    job: Job, loaded: TrainingData, result: Result, run: Training, training: Images, validation: Images | None
) -> Result:
    # A run that goes on from its last checkpoint had no epoch after which its average was finished.
    finish_average(run, training)
    finish_integers(run, training)
    if job.checkpoint is not None:
        buffer = io.BytesIO()
        torch.save(checkpoint(run), buffer)
        files.write_bytes(job.checkpoint, buffer.getvalue())
    ended = run.diverged or len(run.history) == job.recipe.epochs
    if run.diverged:
        message = f"the loss was not finite in epoch {len(run.history)}"
        result = replace(result, status=Status.DIVERGED, message=message)
    elif ended:
        result = replace(result, status=Status.COMPLETE)
    if validation is not None:
        errors = run.history[-1].validation_errors
        result = replace(result, validation_errors=errors, validation_size=len(validation))
    images = len(run.history) * (len(training) // job.recipe.batch_size) * job.recipe.batch_size
    result = replace(
        result,
        weights_sha256=weights_digest(run),
        history=tuple(run.history),
        train_seconds=run.seconds,
        teacher_seconds=run.teacher.seconds if run.teacher is not None else 0.0,
        images_per_second=images / run.seconds if run.seconds else 0.0,
    )
    if job.test_log is not None and ended:
        test = _test_images(job, loaded, run.device)
        predicted = predictions(run, test)
        index = (predicted != test.labels).nonzero().flatten()
        wrong = tuple(zip(index.tolist(), predicted[index].tolist(), strict=True))
        result = replace(result, test_errors=len(wrong), test_size=len(test), wrong=wrong)
        # A diverged network has nothing to show.
        if job.inspection is not None and not run.diverged:
            files.write_json(job.inspection, asdict(_inspection(result, test)))
    if job.weights is not None and ended and not run.diverged:
        files.write_bytes(job.weights, to_safetensors(final_network(run), properties(result, loaded.data.dataset)))
    return replace(result, peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _inspection(result: Result, test: Images) -> Inspection:
    assert result.weights_sha256 is not None, "a run that has ended has weights"
    labels = test.labels.tolist()
    pixels = test.pixels[:, 0].cpu().numpy()
    misses = [
        Miss(image=index, label=labels[index], said=answer, pixels=packed(pixels[index].tobytes()))
        for index, answer in result.wrong
    ]
    return Inspection(
        seed_index=result.seed_index,
        weights_sha256=result.weights_sha256,
        label_counts=tuple(torch.bincount(test.labels, minlength=test.classes).tolist()),
        image_shape=(test.pixels.shape[2], test.pixels.shape[3]),
        misses=tuple(misses),
    )


def properties(result: Result, dataset: Dataset) -> dict[str, str]:
    """Return what a file of weights says of itself: the network and where its weights come from."""
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
    first: dict[int, str] = {}
    # How many batches BN has seen, a whole number, is left out: a prediction does not depend on it.
    state = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in state.items():
        user = first.setdefault(tensor.data_ptr(), name)
        if user == name:
            arrays[name] = tensor.detach().cpu().numpy().copy(order="C")
        else:
            tied[name] = user
    # One entry, because the library writes several in no fixed order.
    metadata = {"harness": json.dumps({**about, "tied": tied, "state": list(state)})}
    content: bytes = save(arrays, metadata)
    return content


def _teacher_of(job: Job, images: Images, data_hash: str, device: torch.device, turn: int) -> Teacher | None:
    """Return the teacher that a job's recipe names, trained now where it is not kept; None where it names none.

    A teacher is an ordinary training run with a fixed seed on the images of its student, so it never sees a test image,
    and it is kept for all students of a recipe. Torch trains one that the native engine declines.
    """
    if (own := job.recipe.teacher_recipe) is None:
        return None
    architecture = parse_network(job.recipe.teacher, images.task)
    engine_name = TORCH if job.engine == TORCH else "auto"
    engine = choose_engine(engine_name, own, device, architecture.op_types).engine
    facts = environment(device, data_hash, TORCH if engine is None else engine.name)
    # Whatever may give other bits changes the file's name; not the commit, which a comparison of results ignores too.
    key = [PROTOCOL_VERSION, asdict(replace(facts, commit=None, dirty=None))]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    part = "all" if job.purpose is Purpose.VERIFY else f"split{turn or ''}"

    def trained(index: int) -> dict[str, Any]:
        seed = derive_seed(architecture.hash, own.hash, Purpose.TEACHER, index)
        run = start(architecture, own, seed, device, engine, task=images.task)
        while len(run.history) < own.epochs:
            train_epoch(run, images)
            if run.diverged:
                raise ContentError(
                    f"the teacher {architecture.hash} diverged in epoch {len(run.history)} of its recipe"
                )
        finish_average(run, images)
        return {"weights": predicting_state(run), "seconds": run.seconds}

    networks = []
    seconds = 0.0
    for index in range(job.recipe.teacher_seeds):
        if job.teachers is None:
            saved = trained(index)
        else:
            path = job.teachers / f"{architecture.hash}-{own.hash}-{part}-{index}-{digest}.pt"
            # Of several processes that lack it one trains, and the others wait.
            with files.locked(path.with_suffix(".lock")):
                if not path.exists():
                    buffer = io.BytesIO()
                    torch.save(trained(index), buffer)
                    files.write_bytes(path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
            content = path.read_bytes()  # a digest of 32 bytes, and the state that it is of
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ContentError(f"the teacher {path} is damaged", hint="remove the file; it is trained again")
            saved = torch.load(io.BytesIO(content[32:]), map_location=device, weights_only=True)
        # Its first weights are drawn, and written over at once.
        network = network_on(architecture, images.task, device)
        with torch.no_grad():
            for tensor, weights in zip(state_tensors(network), saved["weights"], strict=True):
                tensor.copy_(weights)
        networks.append(network.eval().requires_grad_(False))
        seconds += saved["seconds"]
    return Teacher(architecture, tuple(networks), seconds)
