"""One run: the training of one network with one recipe and one seed, whole or up to a rung, as a ``Result``."""

from __future__ import annotations

import io
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import torch

from harness.data.datasets import Dataset
from harness.data.testset import read_test_set
from harness.data.training_images import ImageData, Split, split
from harness.system import files
from harness.system.errors import refused_memory
from harness.system.machine import choose_device
from harness.training import inspection
from harness.training.inspection import CONFIDENCE_EDGES, Confidence, Inspection, Miss, packed
from harness.training.native.native import TORCH, choose_engine
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status, derive_seed, environment
from harness.training.steps import Images
from harness.training.teacher import teacher_of
from harness.training.together import population_of, train_epoch_together
from harness.training.train import (
    Training,
    checkpoint,
    count_errors,
    final_network,
    finish_average,
    holding,
    predicting_state,
    predictions,
    probabilities,
    properties,
    resume,
    start,
    to_safetensors,
    train_epoch,
    weights_digest,
)
from search_spaces.network import Architecture, analyse
from search_spaces.ops import op_types
from search_spaces.space import Decision

# A kernel is looked at as shades of grey; four digits are more than anyone sees.
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker is to do, in plain values that travel between processes.

    Attributes:
        seed_index: which of the fixed seeds of the purpose.
        study_seed: of a search's runs (``StudyConfig.run_seed``); without effect outside one.
        beacon: of a certification's seeds (``derive_seed``).
        engine: ``native``, ``torch`` or ``auto``.
        until_epoch: last epoch of this job; None for the recipe's last.
        checkpoint: where the state is kept between jobs; None for nowhere.
        evaluate_each_epoch: look at the validation images after every epoch, not only at the end.
        teachers: where trained teachers are kept; None for nowhere.
        test_log: where reads of the test set are recorded; the test set is read only where this is given.
        test_each_epoch: read it after every epoch, as the source documents did.
        inspection: where to leave what the test images showed; None for nowhere.
        weights: where to leave what was learned, as a safetensors file; None for nowhere.
        spent_seconds: that its earlier part has taken, where it goes on from a rung; they count for its limit.
    """

    architecture: Architecture
    recipe: Recipe
    recipe_name: str
    purpose: Purpose
    seed_index: int
    study_seed: int = 0
    beacon: str = ""
    device: str = "cpu"
    engine: str = TORCH
    until_epoch: int | None = None
    checkpoint: Path | None = None
    evaluate_each_epoch: bool = False
    teachers: Path | None = None
    test_log: Path | None = None
    test_each_epoch: bool = False
    inspection: Path | None = None
    weights: Path | None = None
    study: str | None = None
    trial: int | None = None
    decisions: tuple[Decision, ...] = ()
    spent_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data as one process holds them: loaded once, used by all its runs.

    Attributes:
        placed: what runs train on and are validated on, by device and by whether that is the split.
    """

    data: ImageData
    split: Split
    placed: dict[tuple[torch.device, bool], tuple[Images, Images | None]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, data: ImageData) -> TrainingData:
        """Return the data with their fixed split."""
        return cls(data, split(data))


def execute(
    job: Job,
    loaded: TrainingData,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> Result:
    """Train as the job says, from its checkpoint where there is one.

    Runs for a verification train on all training images and read the test set once, at the end; all others
    train on the search split and never see it. The status is ``running`` where epochs are left.
    """
    return execute_and_keep(job, loaded, on_epoch, on_step)[0]


def execute_and_keep(
    job: Job,
    loaded: TrainingData,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[], None] | None = None,
) -> tuple[Result, Training]:
    """Do as ``execute`` and return what was trained too."""
    ((result, run),) = _execute([job], loaded, on_epoch, on_step, together=False)
    return result, run


def execute_together(jobs: Sequence[Job], loaded: TrainingData) -> list[Result]:
    """Train several seeds of one network with one recipe at once, by torch, and return their results."""
    return [result for result, _ in _execute(jobs, loaded, None, None, together=True)]


def _execute(
    jobs: Sequence[Job],
    loaded: TrainingData,
    on_epoch: Callable[[Epoch], None] | None,
    on_step: Callable[[], None] | None,
    *,
    together: bool,
) -> list[tuple[Result, Training]]:
    job, dataset = jobs[0], loaded.data.dataset
    device, ops = choose_device(job.device), op_types(job.architecture.ops)
    engine = None if together else choose_engine(job.engine, job.recipe, device, ops).engine
    together = together or (engine is None and _captures(device))
    # Masks of dropout and rounding depend on how many train together, so that is part of the engine's name.
    name = f"{TORCH} together {len(jobs)}" if together else TORCH if engine is None else engine.name
    training, validation = _images_of(job, loaded, device)
    teacher = teacher_of(
        job.recipe,
        training,  # those that the job trains on, and no others
        split="all" if job.purpose is Purpose.VERIFY else "split",
        data_hash=loaded.data.data_hash,
        device=device,
        engine=job.engine,
        folder=job.teachers,
    )
    made, now = environment(device, loaded.data.data_hash, name), datetime.now(UTC).isoformat(timespec="seconds")
    results = [replace(begun(each, dataset), environment=made, started_utc=now) for each in jobs]
    runs = []
    for each, result in zip(jobs, results, strict=True):
        begins = (each.architecture, each.recipe, result.seed, device, engine, teacher)
        runs.append(start(*begins, task=dataset.task))
        if each.checkpoint is not None and each.checkpoint.exists() and not _resumes(runs[-1], each.checkpoint):
            runs[-1] = start(*begins, task=dataset.task)
    last = min(job.until_epoch or job.recipe.epochs, job.recipe.epochs)
    going: list[Training] = []
    while left := [run for run in runs if len(run.history) < last and not run.diverged]:
        if together:
            if len(left) != len(going):
                population = population_of(left, training)
            train_epoch_together(population, on_step)
        else:
            train_epoch(left[0], training, on_step)
        going = left
        for each, run in zip(jobs, runs, strict=True):
            if run in left:
                _look(each, loaded, run, training, validation, last)
                if on_epoch is not None:
                    on_epoch(run.history[-1])
    return [
        (_finish_result(each, loaded, result, run, training, validation), run)
        for each, result, run in zip(jobs, results, runs, strict=True)
    ]


def _captures(device: torch.device) -> bool:
    # A GPU takes longer to launch the hundred kernels of a tiny network's step one by one than to run them: there it
    # trains as a population of one, whose step is captured once and replayed.
    return device.type == "cuda"


def _resumes(run: Training, path: Path) -> bool:
    """Bring a run to where its checkpoint was taken; return False where it is damaged: torch then raises anything."""
    content = io.BytesIO(path.read_bytes())
    try:
        resume(run, torch.load(content, map_location=run.device, weights_only=True))
    except Exception as error:
        if refused_memory(error) is not None:
            raise
        print(f"{path} is damaged; the run begins from its start", file=sys.stderr, flush=True)
        path.unlink()
        return False
    return True


def _images_of(job: Job, loaded: TrainingData, device: torch.device) -> tuple[Images, Images | None]:
    # All jobs of a process have the same copy, which stays as long as the process.
    divided = job.purpose is not Purpose.VERIFY
    if (placed := loaded.placed.get((device, divided))) is None:
        dataset = loaded.data.dataset
        pixels, labels = loaded.data.train_images.to(device), loaded.data.train_labels.to(device)
        indices = (loaded.split.train.to(device), loaded.split.validation.to(device)) if divided else (slice(None),)
        parts = [Images(pixels[at], labels[at], dataset.mean, dataset.std, dataset.classes) for at in indices]
        loaded.placed[device, divided] = placed = (parts[0], parts[1] if divided else None)
    return placed


def _look(
    job: Job, loaded: TrainingData, run: Training, training: Images, validation: Images | None, last: int
) -> None:
    at_end = len(run.history) == last or run.diverged
    if at_end or job.evaluate_each_epoch or job.test_each_epoch:
        finish_average(run, training)
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
    pixels, labels = read_test_set(loaded.data, purpose=read_purpose(job), log=job.test_log)
    dataset = loaded.data.dataset
    return Images(pixels.to(device), labels.to(device), dataset.mean, dataset.std, dataset.classes)


def begun(job: Job, data: Dataset) -> Result:
    """Return the result of a job before its first epoch."""
    architecture, recipe_hash = job.architecture, job.recipe.hash
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


def _finish_result(
    job: Job, loaded: TrainingData, result: Result, run: Training, training: Images, validation: Images | None
) -> Result:
    # A run that goes on from its last checkpoint had no epoch after which its average was finished.
    finish_average(run, training)
    if job.checkpoint is not None:
        buffer = io.BytesIO()
        torch.save(checkpoint(run), buffer)
        files.write_bytes(job.checkpoint, buffer.getvalue())
    finished = run.diverged or len(run.history) == job.recipe.epochs
    if run.diverged:
        message = f"the loss was not finite in epoch {len(run.history)}"
        result = replace(result, status=Status.DIVERGED, message=message)
    elif finished:
        result = replace(result, status=Status.COMPLETE)
    if validation is not None:
        errors = run.history[-1].validation_errors
        result = replace(result, validation_errors=errors, validation_size=len(validation))
    result = replace(result, weights_sha256=weights_digest(run))
    if job.test_log is not None and finished:
        test = _test_images(job, loaded, run.device)
        predicted = predictions(run, test)
        index = (predicted != test.labels).nonzero().flatten()
        wrong = tuple(zip(index.tolist(), predicted[index].tolist(), strict=True))
        result = replace(result, test_errors=len(wrong), test_size=len(test), wrong=wrong)
        # A diverged network has nothing to show: its probabilities are no numbers.
        if job.inspection is not None and not run.diverged:
            inspection.write(job.inspection, _inspect(run, test, result))
    if job.weights is not None and finished and not run.diverged:
        files.write_bytes(job.weights, to_safetensors(final_network(run), properties(result, loaded.data.dataset)))
    images = len(run.history) * (len(training) // job.recipe.batch_size) * job.recipe.batch_size
    return replace(
        result,
        history=tuple(run.history),
        train_seconds=run.seconds,
        teacher_seconds=run.teacher.seconds if run.teacher is not None else 0.0,
        images_per_second=images / run.seconds if run.seconds else 0.0,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _inspect(run: Training, test: Images, result: Result) -> Inspection:
    sure = probabilities(run, test)
    misses = []
    for index, said in result.wrong:
        pixels = test.pixels[index, 0].cpu().numpy().tobytes()
        confidence = round(float(sure[index, said]), _DIGITS)
        label = int(test.labels[index])
        misses.append(Miss(image=index, label=label, said=said, confidence=confidence, pixels=packed(pixels)))
    edge, kernels = _first_kernels(run)
    return Inspection(
        hash=result.hash,
        recipe_hash=result.recipe_hash,
        dataset=result.dataset,
        data_hash=result.environment.data_hash if result.environment else "",
        seed_index=result.seed_index,
        weights_sha256=result.weights_sha256 or "",
        label_counts=tuple(torch.bincount(test.labels, minlength=sure.shape[1]).tolist()),
        image_shape=(test.pixels.shape[2], test.pixels.shape[3]),
        misses=tuple(misses),
        confidences=_confidences(sure, test),
        kernel_edge=edge,
        kernels=kernels,
    )


def _confidences(sure: torch.Tensor, test: Images) -> tuple[Confidence, ...]:
    highest, predicted = sure.max(1)
    right = predicted == test.labels
    found = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        inside = (highest > low) & (highest <= high)
        if images := int(inside.sum()):
            mean = float(highest[inside].double().mean())
            here = int((right & inside).sum())
            found.append(Confidence(low=low, high=high, images=images, right=here, mean=round(mean, 6)))
    return tuple(found)


def _first_kernels(run: Training) -> tuple[int, tuple[tuple[float, ...], ...]]:
    """Return edge and values of the square kernels that a convolution that comes first has learned.

    The values are (out_channels / poses, edge * edge).
    """
    with holding(run, predicting_state(run)), torch.no_grad():
        first = next(iter(run.network.parameters()), None)
        if first is None or first.ndim != 4 or first.shape[1] != 1 or first.shape[2] != first.shape[3]:
            return 0, ()
        rows = first.detach().cpu().double().flatten(1).tolist()
    return first.shape[2], tuple(tuple(round(value, _DIGITS) for value in row) for row in rows)
