"""Evaluation of recorded weights, compared with NumPy, scikit-learn and the record."""

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
from harness.evidence.evaluation import Evaluation, bounds_of, evaluated, probabilities
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.evidence.record import SeedRun, WeightFile
from harness.training.recipe import Precision
from tests.factories import make_record

MNIST = DATASETS["mnist"]
# Labels and class probabilities of five images.
LABELS = torch.tensor([0, 1, 2, 1, 0])
SHARES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])


@pytest.fixture
def make_run() -> Callable[..., SeedRun]:
    """Return a function that makes a recorded seed from its wrong images."""

    def make(*wrong: tuple[int, int]) -> SeedRun:
        return replace(make_record([0]).seeds[0], wrong=wrong, test_errors=len(wrong), test_size=len(LABELS))

    return make


def evaluate(recorded: SeedRun, shares: Tensor = SHARES, precision: Precision = "fp32") -> Evaluation:
    return evaluated(7, shares, LABELS, precision, recorded)


def mean_network_weights() -> WeightFile:
    """Return the weights of a network that depends only on the mean of an image."""
    tensors: dict[str, Any] = {
        "ops.1.weight": np.linspace(-1, 1, 10, dtype=np.float32)[:, None],
        "ops.1.bias": np.arange(10, dtype=np.float32) / 10,
    }
    return WeightFile(Path("net"), tensors, {"architecture": "gap | linear(10)"}, {}, tuple(tensors))


def test_probabilities_equal_numpy_computation():
    # More than one batch, with a short last batch.
    pixels = torch.randint(0, 256, (1003, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    pixels[0], pixels[1002] = 0, 255
    weights = mean_network_weights()

    shares = probabilities(weights, pixels, MNIST, "fp32")

    means = (pixels.numpy().astype(np.float64).mean((1, 2, 3)) / 255 - 0.1307) / 0.3081
    logits = means[:, None] * weights.arrays["ops.1.weight"][:, 0] + weights.arrays["ops.1.bias"]
    assert shares.dtype == torch.float32
    assert np.allclose(shares.numpy(), softmax(logits, axis=1), atol=1e-6)


def test_bf16_recipe_is_evaluated_in_bf16():
    pixels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 1, 28, 28)

    exact, rounded = (probabilities(mean_network_weights(), pixels, MNIST, precision) for precision in ("fp32", "bf16"))

    # Logits up to 4 are rounded to eight bits.
    assert 1e-4 < float((exact - rounded).abs().max()) < 0.01
    assert rounded.dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "differing"),
    [
        ([(2, 0), (4, 2)], (2,)),  # a different class of the same image
        ([(4, 2)], (2,)),  # a mistake that is not recorded
        ([(1, 2), (2, 1), (4, 2)], (1,)),  # a recorded mistake that does not occur
        ([(0, 1), (1, 2)], (0, 1, 2, 4)),  # an equal number of mistakes on different images
    ],
)
def test_predictions_that_differ_from_record_are_listed(
    wrong: list[tuple[int, int]], differing: tuple[int, ...], make_run: Callable[..., SeedRun]
):
    evaluation = evaluate(make_run(*wrong))

    assert (evaluation.differing, evaluation.ties, evaluation.as_recorded) == (differing, 0, False)
    assert (evaluation.errors, evaluation.recorded_errors) == (2, len(wrong))


@pytest.mark.parametrize("mistake", [(2, 2), (2, 3), (2, -1), (2, 99)])
def test_impossible_recorded_mistake_counts_as_difference(mistake: tuple[int, int], make_run: Callable[..., SeedRun]):
    # Only an edited record lists the true class or an unknown class. All classes of image 2 are tied.
    evaluation = evaluate(make_run(mistake, (4, 2)), SHARES.clone().index_fill_(0, torch.tensor(2), 1 / 3))

    assert (evaluation.differing, evaluation.ties, evaluation.as_recorded) == ((2,), 0, False)


@pytest.mark.parametrize(
    ("precision", "margin", "is_tie"),
    [("fp32", 5e-5, True), ("fp32", 3e-4, False), ("bf16", 0.04, True), ("bf16", 0.06, False)],
)
def test_tied_classes_count_as_recorded(
    precision: Precision, margin: float, is_tie: bool, make_run: Callable[..., SeedRun]
):
    shares = SHARES.clone()
    shares[2] = torch.tensor([0.1, 0.45 + margin / 2, 0.45 - margin / 2])

    # According to the record, image 2 was right.
    evaluation = evaluate(make_run((4, 2)), shares, precision)

    assert (evaluation.differing, evaluation.ties, evaluation.as_recorded) == ((2,), int(is_tie), is_tie)


def test_tie_does_not_hide_further_difference(make_run: Callable[..., SeedRun]):
    shares = SHARES.clone()
    shares[2] = torch.tensor([0.0, 0.5, 0.5])

    evaluation = evaluate(make_run(), shares)

    assert (evaluation.differing, evaluation.ties, evaluation.as_recorded) == ((2, 4), 1, False)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_class_scores_equal_scikit_learn(count: int):
    random = np.random.default_rng(count)
    labels = random.integers(0, count, 200)
    # If there are more than two classes, the last class is never predicted and has no precision.
    shares = softmax(random.normal(size=(200, count)) + 2 * np.eye(count)[labels], axis=1)
    shares[:, -1] = 0 if count > 2 else shares[:, -1]
    predictions = shares.argmax(1)

    evaluation = evaluated(0, torch.from_numpy(shares), torch.from_numpy(labels), "fp32", None)

    assert np.array_equal(evaluation.confusion, metrics.confusion_matrix(labels, predictions, labels=range(count)))
    report = metrics.classification_report(labels, predictions, output_dict=True, zero_division=0)
    for index, scores in enumerate(evaluation.class_scores):
        values = [report[str(index)][name] for name in ("precision", "recall", "f1-score", "support")]
        assert [scores.precision, scores.recall, scores.f1, scores.support] == pytest.approx(values, rel=1e-12)
    area = metrics.roc_auc_score(labels, shares[:, 1]) if count == 2 else None
    assert evaluation.roc_auc == (None if area is None else pytest.approx(area, rel=1e-12))


def test_roc_auc_is_none_for_single_class_or_nan_probabilities():
    shares = torch.tensor([[0.9, 0.1], [0.2, 0.8]])

    assert evaluated(0, shares, torch.tensor([1, 1]), "fp32", None).roc_auc is None
    assert evaluated(0, shares * torch.nan, torch.tensor([0, 1]), "fp32", None).roc_auc is None


def test_bound_over_images_counts_groups_of_test_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(DATASETS, "mnist", replace(MNIST, test_group_sizes=(1_000,) * 10))
    record = make_record([50, 52, 54, 56, 58, 60])
    evaluations = [
        Evaluation(run.index, run.test_size, run.wrong, run.test_errors, group_sizes=(1_000,) * 10)
        for run in record.seeds
    ]

    _, bound = bounds_of(record, evaluations)

    assert bound == LeaderboardRow.of(record).lower_bound_images_pct
