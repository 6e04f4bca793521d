"""Seeds that were never trained, looked at: what a verification would have left of their test images."""

from __future__ import annotations

from harness.evidence.record import Record, SeedRun
from harness.training import inspection
from harness.training.inspection import Confidence, Inspection, Miss


def inspected(made: Record, run: SeedRun) -> Inspection:
    size = run.test_size
    right = size - run.test_errors
    return Inspection(
        hash=made.hash,
        recipe_hash=made.recipe_hash,
        dataset=made.dataset,
        data_hash="ab" * 32,
        seed_index=run.index,
        weights_sha256=run.weights_sha256 or "",
        label_counts=(size // 10,) * 10,
        image_shape=(28, 28),
        misses=tuple(
            Miss(image=image, label=label_of(image), said=said, confidence=0.75, pixels=inspection.packed(drawn(image)))
            for image, said in run.wrong
        ),
        confidences=(
            Confidence(low=0.5, high=0.7, images=2 * run.test_errors, right=run.test_errors, mean=0.6),
            Confidence(low=0.999, high=1.0, images=right - run.test_errors, right=right - run.test_errors, mean=0.9995),
        ),
        kernel_edge=3,
        kernels=tuple(tuple((place - 4) / 4 * (-1) ** number for place in range(9)) for number in range(4)),
    )


def label_of(image: int) -> int:
    """A label that is never 3, which is what all are said to be."""
    return (4, 5, 8, 9, 2)[image % 5]


def drawn(image: int) -> bytes:
    """A ring of its own size for each image."""
    size = 4 + image % 9
    return bytes(
        255 if abs((row - 14) ** 2 + (column - 14) ** 2 - size**2) < 2 * size else 0
        for row in range(28)
        for column in range(28)
    )
