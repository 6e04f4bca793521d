"""Evaluation of recorded weights on labelled images, and comparison of the predictions with the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset, dataset
from harness.data.other_images import labelled_images
from harness.data.testset import read_test_set
from harness.data.training_images import ImageData, load, split
from harness.evidence import ledger
from harness.evidence.bounds import over_images, over_seeds
from harness.evidence.record import Record, SeedRun, WeightFile, read_recorded
from harness.spaces.network import Task
from harness.spaces.notation import parse_network
from harness.spaces.space_errors import SearchSpaceError
from harness.system.errors import ContentError, DataError
from harness.system.files import Workspace
from harness.system.statistics import ClassScores, class_scores, roc_auc
from harness.training.integer import MAP_SCALES, WEIGHT_BITS
from harness.training.recipe import Precision
from harness.training.result import Errors, code_version
from harness.training.torch_network import Images, TorchNetwork, build
from harness.training.training_loop import class_probabilities
from harness.training.user_modules.execution import quiet

# Difference of the probabilities of two classes below which the classes are tied: processors and libraries round in
# different orders, and bfloat16 keeps eight bits. Integer results are equal on all machines.
_TIE = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.0}
_BATCH = 500  # images
_NO_CLASS = -1  # a recorded class that is impossible


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictions of a seed of a network on labelled images.

    Attributes:
        wrong: (index of the image, predicted class) of each wrong image.
        recorded_errors: None without a record for these images.
        differing: Indices of the images whose prediction differs from the record.
        ties: Number of ``differing`` images on which the two classes are tied.
        repeated: Whether the weights have the recorded errors, but not the recorded bits.
        confusion: Number of images by label (row) and predicted class (column).
        roc_auc: Area under the ROC curve, from 0 to 1; None if undefined or for more than two classes.
        group_sizes: Images of each group that may be right or wrong together; empty without groups.
    """

    index: int
    images: int
    wrong: tuple[tuple[int, int], ...] = field(repr=False)
    recorded_errors: int | None = None
    differing: tuple[int, ...] = ()
    ties: int = 0
    repeated: bool = False
    confusion: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    roc_auc: float | None = None
    group_sizes: tuple[int, ...] = field(default=(), repr=False)

    @property
    def class_scores(self) -> tuple[ClassScores, ...]:
        """Precision, recall, F1 and support of each class."""
        return class_scores(self.confusion)

    @property
    def errors(self) -> int:
        """Number of wrong images."""
        return len(self.wrong)

    @property
    def accuracy_pct(self) -> float:
        """Accuracy, per cent."""
        return Errors(self.errors, self.images).accuracy_pct

    @property
    def as_recorded(self) -> bool | None:
        """Whether all predictions except ties are as recorded; None without a record."""
        return None if self.recorded_errors is None else len(self.differing) == self.ties


def network_of(weights: WeightFile, task: Task) -> TorchNetwork:
    """Return the network of a weight file, in evaluation mode; ContentError if the file holds none."""
    try:
        with torch.random.fork_rng(devices=[]):
            network = build(parse_network(weights.about["architecture"], task), task)
        for name in (MAP_SCALES, WEIGHT_BITS):
            if name in weights.state:
                network.register_buffer(name, torch.from_numpy(weights.arrays[name]))
        tensors = {name: torch.from_numpy(weights.arrays[weights.tied.get(name, name)]) for name in weights.state}
        # Files do not contain ``num_batches_tracked`` of BN.
        keys = network.load_state_dict(tensors, strict=False)
    except (SearchSpaceError, RuntimeError, KeyError) as error:
        raise ContentError(f"{weights.path} does not contain a network: {str(error).splitlines()[0]}") from error
    if missing_names := [name for name in keys.missing_keys if not name.endswith("num_batches_tracked")]:
        raise ContentError(f"{weights.path} lacks {', '.join(missing_names)}")
    return network.eval()


def probabilities(weights: WeightFile, pixels: Tensor, spec: Dataset, precision: Precision) -> Tensor:
    """Return the class probabilities of each image, float32 (images, classes), computed by torch on the CPU.

    ``pixels`` are uint8 (images, channels, rows, columns), normalised as in ``spec``.
    """
    network = network_of(weights, spec.task)
    architecture = parse_network(weights.about["architecture"], spec.task)
    return class_probabilities(network, architecture, pixels, spec, precision)


def evaluated(index: int, shares: Tensor, labels: Tensor, precision: Precision, original: SeedRun | None) -> Evaluation:
    """Return the evaluation of a seed, compared with the recorded run, if any.

    Args:
        shares: Class probabilities (``probabilities``), (images, classes).
        labels: True classes, int64 (images,).
        precision: Precision of the recipe, which sets the margin of a tie.
    """
    predictions = shares.argmax(1)
    wrong_images = (predictions != labels).nonzero().flatten()
    wrong = tuple(zip(wrong_images.tolist(), predictions[wrong_images].tolist(), strict=True))
    classes = shares.shape[1]
    confusion = torch.bincount(classes * labels + predictions, minlength=classes**2).reshape(classes, classes)
    evaluation = Evaluation(
        index,
        len(labels),
        wrong,
        confusion=tuple(map(tuple, confusion.tolist())),
        roc_auc=roc_auc(labels.tolist(), shares[:, 1].tolist()) if classes == 2 else None,
    )
    if original is None:
        return evaluation
    expected_classes = labels.clone()
    for image, prediction in original.wrong:
        # An edited record may list a class that does not exist, or the true class as a mistake.
        is_possible = 0 <= prediction < classes and prediction != labels[image]
        expected_classes[image] = prediction if is_possible else _NO_CLASS
    differing = (predictions != expected_classes).nonzero().flatten()
    recorded_classes = expected_classes[differing]
    margins = shares[differing, predictions[differing]] - shares[differing, recorded_classes]
    ties = int(((margins < _TIE[precision]) & (recorded_classes != _NO_CLASS)).sum())
    return replace(evaluation, recorded_errors=original.test_errors, differing=tuple(differing.tolist()), ties=ties)


def evaluate_seeds(
    record: Record, indices: Sequence[int], workspace: Workspace, folder: Path | None, images_name: str | None = None
) -> tuple[list[Evaluation], ledger.Registration | None]:
    """Evaluate recorded seeds on the test images or on different labelled images.

    A read of the test images is logged, and the evaluations are compared with the record. An evaluation on different
    images is registered in the ledger first; the results of the first evaluation are entered, too.

    Args:
        folder: Folder of the data; None for the cache.
        images_name: Different labelled images (``harness.data.other_images``); None for the test images.

    Returns:
        The evaluations by ``indices``, and the registration before the evaluation (None for the test images).

    Raises:
        ContentError: Weights are missing or differ from the record.
        DataError: Images are missing or damaged, or some of the different images are training images.
    """
    weight_files = [read_recorded(workspace.records, record, index) for index in indices]
    spec = dataset(record.dataset)
    precision = record.recipe.precision
    entry = None
    group_sizes = spec.test_group_sizes
    if images_name is None:
        noun = "seeds" if len(indices) > 1 else "seed"
        purpose = f"evaluate {record.hash} {record.recipe_name} {noun} {', '.join(map(str, indices))}"
        pixels, labels = read_test_set(load(record.dataset, folder), purpose=purpose, log=workspace.test_log)
    else:
        images = labelled_images(images_name, spec, folder)
        _refuse_trained(images.pixels, record.dataset, folder, images_name)
        pixels = images.pixels
        labels = images.labels
        group_sizes = images.group_sizes
        registration = ledger.Registration(
            hash=record.hash,
            recipe_hash=record.recipe_hash,
            dataset=record.dataset,
            protocol_version=record.protocol_version,
            on=images.name,
            on_sha256=images.sha256,
            images=len(labels),
            indices=tuple(indices),
            declared_utc="",  # set by ``register``
            commit=code_version()[0],
        )
        entry = ledger.register(workspace.ledger, registration)
    evaluations = []
    for index, weights in zip(indices, weight_files, strict=True):
        run = record.seed(index) if entry is None else None
        evaluation = evaluated(index, probabilities(weights, pixels, spec, precision), labels, precision, run)
        is_repetition = run is not None and weights.sha256 != run.weights_sha256
        evaluations.append(replace(evaluation, repeated=is_repetition, group_sizes=group_sizes))
    if entry is not None and not entry.errors:
        errors = tuple(item.errors for item in evaluations)
        bound, images_bound = bounds_of(record, evaluations)
        ledger.close(workspace.ledger, entry, errors=errors, lower_bound_pct=bound, lower_bound_images_pct=images_bound)
    return evaluations, entry


def evaluate_weights(
    network: nn.Module,
    name: str,
    images: ImageData,
    scale: tuple[tuple[float, ...], tuple[float, ...]],
    test_log: Path | None,
) -> Evaluation:
    """Evaluate weights without a record on the validation images, or on the test images.

    Args:
        network: Maps images to a number per class (``execution.SeededModule``), with the weights.
        scale: Mean and standard deviation of each channel, by which the pixels from 0 to 1 are normalised.
        test_log: Log of the read of the test images; None for the validation images.

    Raises:
        ContentError: The network fails, or returns numbers that are infinite or NaN.
        DataError: The test images are missing or damaged.
    """
    if test_log is None:
        indices = split(images).validation
        pixels = images.train_images[indices]
        labels = images.train_labels[indices]
    else:
        pixels, labels = read_test_set(images, purpose=f"evaluate {name}", log=test_log)
    batches = Images(pixels, labels, *scale, images.dataset.classes)
    with quiet(name), torch.inference_mode():
        outputs = [network.eval()(batches[part][0]) for part in torch.split(torch.arange(len(labels)), _BATCH)]
    shares = torch.cat(outputs).float().softmax(1)
    if not shares.isfinite().all():
        raise ContentError(f"{name} returns numbers that are infinite or NaN")
    return evaluated(0, shares, labels, "fp32", None)


def _refuse_trained(pixels: Tensor, name: str, folder: Path | None, images_name: str) -> None:
    training_images = {image.tobytes() for image in load(name, folder).train_images.numpy()}
    count = sum(image.tobytes() in training_images for image in pixels.numpy())
    if count:
        raise DataError(
            f"{count:,} of the {len(pixels):,} images of {images_name} are training images of the network; "
            "--on requires new images"
        )


def bounds_of(record: Record, evaluations: Sequence[Evaluation]) -> tuple[float | None, float | None]:
    """Return the 99 % bounds over seeds, and over seeds and images; None unless all recorded seeds are evaluated.

    A subset of seeds, chosen by a user or by the existing weight files, may not be a random sample.
    """
    if len(evaluations) < len(record.seeds):
        return None, None
    images = evaluations[0].images  # equal for all seeds
    wrong = [[image for image, _ in item.wrong] for item in evaluations]
    bound = over_seeds([item.errors for item in evaluations], images)
    return bound, over_images(wrong, images, evaluations[0].group_sizes)
