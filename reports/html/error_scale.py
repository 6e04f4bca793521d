"""Accuracies drawn by their errors, on a logarithmic scale: half the errors are always the same step."""

from __future__ import annotations

# Fewer errors cannot be told apart on 10,000 images, and a logarithmic axis has no 0.
FEWEST_ERRORS_PCT = 0.05


def errors_pct(accuracy_pct: float) -> float:
    """Return the errors, per cent of the images, that an accuracy is drawn by: from 0.05 to 100."""
    return min(max(100 - accuracy_pct, FEWEST_ERRORS_PCT), 100.0)
