"""Looking at a trained network: from a run and the test images to an ``Inspection``.

Not a second evaluation: which images are wrong comes from the result. Only how sure the network was is worked out here.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from harness.training.images import Images
from harness.training.inspection import CONFIDENCE_EDGES, Confidence, Inspection, Miss, packed
from harness.training.result import Result
from harness.training.train import Training, holding, predicting_state, probabilities

# A kernel is looked at as shades of grey; four digits are more than anyone sees.
_DIGITS = 4


def inspect(run: Training, test: Images, result: Result) -> Inspection:
    """Return what a finished run made of the test images; ``result`` says which it got wrong."""
    sure = probabilities(run, test)
    misses = []
    for index, said in result.wrong:
        pixels = test.pixels[index, 0].cpu().numpy().tobytes()
        miss = Miss(
            image=index,
            label=int(test.labels[index]),
            said=said,
            confidence=round(float(sure[index, said]), _DIGITS),
            pixels=packed(pixels),
        )
        misses.append(miss)
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
        images = int(inside.sum())
        if images:
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
