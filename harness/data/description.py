"""Facts of a data set for ``data describe``, with the accuracies that the test part can prove."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.data.datasets import Dataset, independent_cases
from harness.data.own import parts_text
from harness.data.training_images import ImageData
from harness.system.terminal import counted
from search_spaces.ops import shape_text
from search_spaces.space import clopper_pearson

_TARGETS = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)  # per cent, target accuracies listed under ``provable``
_CONFIDENCE = 0.95  # confidence level of the lower bounds
_LISTED = 20  # maximum number of classes listed by name


def description(data: ImageData) -> dict[str, Any]:
    """Return the facts of a data set as ``data describe`` prints them, without reading the test part.

    ``provable`` contains, for each target within reach, the least number of correct answers of a single network on the
    test part for which the lower bound (Clopper and Pearson 1934) reaches the target. The images of a group may all be
    right or wrong together, so the number of images of grouped data is the effective number of independent images.
    """
    spec = data.dataset
    counts = Counter(data.train_labels.tolist())
    names = spec.class_names or tuple(map(str, range(spec.classes)))
    provable = []
    for target in _TARGETS:
        right = fewest_right(target, _cases(spec))
        if right is not None:
            provable.append({"target_pct": target, "right": right})
    return {
        "name": spec.name,
        "classes": spec.classes,
        "input_shape": list(spec.image_shape),
        "train_size": spec.train_size,
        "validation_size": spec.validation_size,
        "test_size": spec.test_size,
        "validation_groups": len(spec.validation_group_sizes),
        "test_groups": len(spec.test_group_sizes),
        "mean": list(spec.mean),
        "std": list(spec.std),
        "hash": data.data_hash,
        "folds": spec.folds,
        "images_by_class": {name: counts[index] for index, name in enumerate(names)},
        "overlap": spec.overlap,
        "remarks": list(spec.remarks),
        "duplicates": list(spec.duplicates),
        "provable": provable,
        "source": data.source,
    }


def _cases(spec: Dataset) -> int:
    """Return the effective number of independent test images."""
    return int(independent_cases(spec.test_group_sizes)) if spec.test_group_sizes else spec.test_size


def fewest_right(target_pct: float, images: int) -> int | None:
    """Return the least number of right answers that proves an accuracy, or None if ``images`` is too small."""
    # The lower end of a two-sided interval of confidence 2 c - 1 is a lower bound of confidence c.
    both_sides = 2 * _CONFIDENCE - 1
    for right in range(int(images * target_pct / 100), images + 1):
        lower, _ = clopper_pearson(right, images, both_sides)
        if 100 * lower >= target_pct:
            return right
    return None


def description_lines(data: ImageData, facts: dict[str, Any]) -> list[str]:
    """Return the ``facts`` of `description` as lines of text."""
    spec = data.dataset
    counts = facts["images_by_class"]
    names = [f"{name} {count:,}" for name, count in counts.items()]
    classes = f"{facts['classes']} classes: {', '.join(names[:_LISTED])}"
    if len(names) > _LISTED:
        classes += f" and {len(names) - _LISTED} more with at least {min(counts.values()):,} images each"
    targets = [f"{each['target_pct']:g} % with {each['right']:,} correct" for each in facts["provable"]]
    scale = ", ".join(f"{mean:.4g} ({std:.4g})" for mean, std in zip(facts["mean"], facts["std"], strict=True))
    proven = ", ".join(targets) or "none of the usual targets"
    cases = f"{facts['test_size']:,} test images"
    if spec.test_group_sizes:
        groups = counted(len(spec.test_group_sizes), "test group")
        cases = f"{groups} (equivalent to {_cases(spec):,} independent images)"
    lines = [
        f"{facts['name']}: images of {shape_text(spec.image_shape)}; {parts_text(spec)}",
        classes,
        f"mean (standard deviation) per channel, on a scale from 0 to 1: {scale}",
        f"hash {facts['hash']}, from {facts['source']}",
        f"{cases} can prove with 95 % confidence: {proven}",
    ]
    if spec.remarks:
        lines.append(f"note: {'; '.join(spec.remarks)}")
    return lines + [f"duplicates: {pair}" for pair in spec.duplicates]
