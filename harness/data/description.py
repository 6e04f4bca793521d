"""What a data set is and what its test part can prove, before a minute is spent on it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.data.datasets import Dataset, independent_cases
from harness.data.own import parts_text
from harness.data.training_images import ImageData
from harness.system.terminal import counted
from search_spaces.ops import shape_text
from search_spaces.space import clopper_pearson

# Accuracies that people ask for; what a test part shows of each is said.
_TARGETS = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)
_CONFIDENCE = 0.95
_LISTED = 20


def description(data: ImageData) -> dict[str, Any]:
    """Return the facts of a data set as ``data describe`` prints them; the test part is not read.

    ``provable`` has, for each target that can be shown, the fewest right answers of one network on the test part whose
    one-sided lower bound reaches it (Clopper and Pearson 1934). Images of a group may all be right or wrong together,
    so there the answers are of as many images as the groups are worth.
    """
    spec = data.dataset
    counts = Counter(data.train_labels.tolist())
    names = spec.class_names or tuple(map(str, range(spec.classes)))
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
        "provable": [
            {"target_pct": target, "right": right}
            for target in _TARGETS
            if (right := fewest_right(target, _cases(spec))) is not None
        ],
        "source": data.source,
    }


def _cases(spec: Dataset) -> int:
    """Return how many independent images the test part is worth."""
    return int(independent_cases(spec.test_group_sizes)) if spec.test_group_sizes else spec.test_size


def fewest_right(target_pct: float, images: int) -> int | None:
    """Return of how many right answers on so many images an accuracy is shown; None where all are too few."""
    # One side of an interval that is wrong on either with the same chance.
    both_sides = 2 * _CONFIDENCE - 1
    counts = range(int(images * target_pct / 100), images + 1)
    return next((right for right in counts if 100 * clopper_pearson(right, images, both_sides)[0] >= target_pct), None)


def description_lines(data: ImageData, facts: dict[str, Any]) -> list[str]:
    """Return the same facts for people."""
    spec = data.dataset
    counts = facts["images_by_class"]
    listed = [f"{name} {count:,}" for name, count in counts.items()]
    more = (
        f" and {len(listed) - _LISTED} more, of {min(counts.values()):,} images or more"
        if len(listed) > _LISTED
        else ""
    )
    targets = [f"{each['target_pct']:g} % from {each['right']:,} right" for each in facts["provable"]]
    scale = ", ".join(f"{mean:.4g} ({std:.4g})" for mean, std in zip(facts["mean"], facts["std"], strict=True))
    proven = ", ".join(targets) or "none of the usual targets"
    cases = f"{facts['test_size']:,} test images"
    if spec.test_group_sizes:
        groups = counted(len(spec.test_group_sizes), "test group")
        cases = f"{groups}, worth {_cases(spec):,} independent images,"
    return [
        f"{facts['name']}: images of {shape_text(spec.image_shape)}; {parts_text(spec)}",
        f"{facts['classes']} classes: {', '.join(listed[:_LISTED])}{more}",
        f"mean (deviation) a channel, on a scale from 0 to 1: {scale}",
        f"hash {facts['hash']}, from {facts['source']}",
        f"{cases} show with 95 % confidence: {proven}",
        *([f"note: {'; '.join(spec.remarks)}"] if spec.remarks else []),
        *(f"there twice: {pair}" for pair in spec.duplicates),
    ]
