"""What kept weights say of images, against arithmetic by hand, and how that is held to a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn import metrics
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.evidence.evaluation import Evaluation, evaluated, probabilities
from harness.evidence.record import SeedRun, WeightFile
from harness.training.recipe import Precision
from tests.factories import make_record

MNIST = DATASETS["mnist"]
# Of five images: what is right, and what the network is sure of.
LABELS = torch.tensor([0, 1, 2, 1, 0])
SURE = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])


@pytest.fixture
def run() -> Callable[..., SeedRun]:
    """A recorded seed with these wrong images."""

    def made(*wrong: tuple[int, int]) -> SeedRun:
        return replace(make_record([0]).seeds[0], wrong=wrong, test_errors=len(wrong), test_size=len(LABELS))

    return made


def held(recorded: SeedRun, sure: Tensor = SURE, precision: Precision = "fp32") -> Evaluation:
    return evaluated(7, sure, LABELS, precision, recorded)


def linear_on_means() -> WeightFile:
    """The weights of a network that looks at nothing but the mean of an image."""
    kept: dict[str, Any] = {
        "ops.1.weight": np.linspace(-1, 1, 10, dtype=np.float32)[:, None],
        "ops.1.bias": np.arange(10, dtype=np.float32) / 10,
    }
    return WeightFile(Path("net"), kept, {"architecture": "gap | linear(10)"}, {}, tuple(kept))


def test_probabilities_are_those_of_a_network_worked_out_by_hand():
    # More than one batch, and the last of them short.
    pixels = torch.randint(0, 256, (1003, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    pixels[0], pixels[1002] = 0, 255
    weights = linear_on_means()

    shares = probabilities(weights, pixels, MNIST, "fp32")

    means = (pixels.numpy().astype(np.float64).mean((1, 2, 3)) / 255 - 0.1307) / 0.3081
    logits = means[:, None] * weights.kept["ops.1.weight"][:, 0] + weights.kept["ops.1.bias"]
    assert shares.dtype == torch.float32
    assert np.allclose(shares.numpy(), softmax(logits, axis=1), atol=1e-6)


def test_a_recipe_in_bfloat16_is_evaluated_in_bfloat16():
    pixels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 1, 28, 28)

    exact, rounded = (probabilities(linear_on_means(), pixels, MNIST, precision) for precision in ("fp32", "bf16"))

    # Eight bits of logits up to three.
    assert 1e-4 < float((exact - rounded).abs().max()) < 0.01
    assert rounded.dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "differing"),
    [
        ([(2, 0), (4, 2)], (2,)),  # the same image, another class
        ([(4, 2)], (2,)),  # one mistake is not on record
        ([(1, 2), (2, 1), (4, 2)], (1,)),  # one on record is not made
        ([(0, 1), (1, 2)], (0, 1, 2, 4)),  # as many, and others
    ],
)
def test_one_other_class_is_not_as_recorded(
    wrong: list[tuple[int, int]], differing: tuple[int, ...], run: Callable[..., SeedRun]
):
    found = held(run(*wrong))

    assert (found.differing, found.ties, found.as_recorded) == (differing, 0, False)
    assert (found.errors, found.recorded_errors) == (2, len(wrong))


@pytest.mark.parametrize("claimed", [(2, 2), (2, 3), (2, -1), (2, 99)])
def test_a_mistake_that_cannot_be_is_not_as_recorded(claimed: tuple[int, int], run: Callable[..., SeedRun]):
    # The right class, or none: only an edited record claims it. All classes are as good as equal.
    found = held(run(claimed, (4, 2)), SURE.clone().index_fill_(0, torch.tensor(2), 1 / 3))

    assert (found.differing, found.ties, found.as_recorded) == ((2,), 0, False)


@pytest.mark.parametrize(
    ("precision", "margin", "tie"),
    [("fp32", 5e-5, True), ("fp32", 3e-4, False), ("bf16", 0.04, True), ("bf16", 0.06, False)],
)
def test_two_classes_as_good_as_equal_count_as_recorded(
    precision: Precision, margin: float, tie: bool, run: Callable[..., SeedRun]
):
    sure = SURE.clone()
    sure[2] = torch.tensor([0.1, 0.45 + margin / 2, 0.45 - margin / 2])

    # On record the right class was said, by as little.
    found = held(run((4, 2)), sure, precision)

    assert (found.differing, found.ties, found.as_recorded) == ((2,), int(tie), tie)


def test_a_tie_does_not_excuse_another_image(run: Callable[..., SeedRun]):
    sure = SURE.clone()
    sure[2] = torch.tensor([0.0, 0.5, 0.5])

    found = held(run(), sure)

    assert (found.differing, found.ties, found.as_recorded) == ((2, 4), 1, False)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_scores_of_classes_are_those_of_scikit_learn(count: int):
    random = np.random.default_rng(count)
    labels = random.integers(0, count, 200)
    # The last class is never predicted, and has no precision.
    sure = softmax(random.normal(size=(200, count)) + 2 * np.eye(count)[labels], axis=1)
    sure[:, -1] = 0 if count > 2 else sure[:, -1]
    answers = sure.argmax(1)

    evaluation = evaluated(0, torch.from_numpy(sure), torch.from_numpy(labels), "fp32", None)

    assert np.array_equal(evaluation.confusion, metrics.confusion_matrix(labels, answers, labels=range(count)))
    report = metrics.classification_report(labels, answers, output_dict=True, zero_division=0)
    for index, scores in enumerate(evaluation.class_scores):
        expected = report[str(index)]
        values = [expected[name] for name in ("precision", "recall", "f1-score", "support")]
        assert [scores.precision, scores.recall, scores.f1, scores.support] == pytest.approx(values, rel=1e-12)
    area = metrics.roc_auc_score(labels, sure[:, 1]) if count == 2 else None
    assert evaluation.roc_auc == (None if area is None else pytest.approx(area, rel=1e-12))


def test_a_single_class_or_a_network_without_numbers_has_no_roc_auc():
    sure = torch.tensor([[0.9, 0.1], [0.2, 0.8]])

    assert evaluated(0, sure, torch.tensor([1, 1]), "fp32", None).roc_auc is None
    assert evaluated(0, sure * torch.nan, torch.tensor([0, 1]), "fp32", None).roc_auc is None
