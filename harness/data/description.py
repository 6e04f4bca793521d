"""Facts of a data set for ``data describe``, with the accuracies that the test part can prove."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.data.training_images import ImageData
from harness.spaces.counting import clopper_pearson
from harness.spaces.ops import shape_text
from harness.system.document import document_of
from harness.system.terminal import counted

_SIZES = ("classes", "train_size", "validation_size", "test_size", "folds")
_FACTS = ("name", *_SIZES, "mean", "std", "overlap", "remarks", "duplicates")
_TARGETS_PCT = (80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)  # listed under ``provable``
_CONFIDENCE = 0.95  # of the lower bounds
_MAX_LISTED = 20  # classes listed by name in the text


def describe(data: ImageData) -> dict[str, Any]:
    """Return the facts of a data set as ``data describe`` prints them, without reading the test part.

    ``images_by_class`` counts training and validation images. ``provable`` has, for each target within reach, the least
    number of right answers, of the effective test images, whose lower bound (Clopper and Pearson 1934) reaches the
    target.
    """
    spec = data.dataset
    counts = Counter(data.train_labels.tolist())
    right_counts = {target_pct: _fewest_right(target_pct, int(spec.test_cases)) for target_pct in _TARGETS_PCT}
    provable = [{"target_pct": target, "right": count} for target, count in right_counts.items() if count is not None]
    return {name: document_of(getattr(spec, name)) for name in _FACTS} | {
        "input_shape": list(spec.image_shape),
        "validation_groups": len(spec.validation_group_sizes),
        "test_groups": len(spec.test_group_sizes),
        "hash": data.data_hash,
        "images_by_class": {name: counts[index] for index, name in enumerate(spec.class_labels)},
        "provable": provable,
        "source": data.source,
    }


def _fewest_right(target_pct: float, images: int) -> int | None:
    # The lower end of a two-sided interval of confidence 2 c - 1 is a lower bound of confidence c.
    interval_confidence = 2 * _CONFIDENCE - 1
    # The lower bound is below the observed accuracy, so the search begins at the target itself.
    counts = range(int(images * target_pct / 100), images + 1)
    lower_bounds = ((count, clopper_pearson(count, images, interval_confidence)[0]) for count in counts)
    return next((count for count, lower_bound in lower_bounds if 100 * lower_bound >= target_pct), None)


def description_lines(data: ImageData, facts: dict[str, Any]) -> list[str]:
    """Return the ``facts`` of `description` as lines of text."""
    spec = data.dataset
    counts = facts["images_by_class"]
    class_texts = [f"{name} {count:,}" for name, count in counts.items()]
    classes = f"{facts['classes']} classes (training and validation): {', '.join(class_texts[:_MAX_LISTED])}"
    if len(class_texts) > _MAX_LISTED:
        classes += f" and {len(class_texts) - _MAX_LISTED} more with at least {min(counts.values()):,} each"
    scale = ", ".join(f"{mean:.4g} ({std:.4g})" for mean, std in zip(facts["mean"], facts["std"], strict=True))
    targets = [f"{each['target_pct']:g} % with {each['right']:,} correct" for each in facts["provable"]]
    provable = ", ".join(targets) or "none of the usual targets"
    evidence = f"{facts['test_size']:,} test {spec.noun}"
    if spec.test_group_sizes:
        groups = counted(len(spec.test_group_sizes), "group")
        evidence += f" in {groups} (equivalent to {int(spec.test_cases):,} independent {spec.noun})"
    lines = [
        f"{facts['name']}: {spec.noun} of {shape_text(spec.image_shape)}; {spec.parts_text}",
        classes,
        f"mean (standard deviation) per channel, on a scale from 0 to 1: {scale}",
        f"hash {facts['hash']}, from {facts['source']}",
        f"{evidence} can prove with {100 * _CONFIDENCE:.0f} % confidence: {provable}",
    ]
    if spec.remarks:
        lines.append(f"note: {'; '.join(spec.remarks)}")
    return lines + [f"duplicates: {pair}" for pair in spec.duplicates]
