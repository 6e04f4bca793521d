"""What a golden compares: decisions as they are, figures as far as they are promised.

The last bits of a float hang on the processor: a BLAS adds in another order where it has wider registers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

SIGNIFICANT_DIGITS = 6
# What is smaller is the rest of a sum that comes to nothing.
SMALLEST = 1e-9


def rounded(value: Any) -> Any:
    """Return a JSON value, of which every float has six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return 0.0 if abs(value) < SMALLEST else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def digest(values: Iterable[Any]) -> str:
    """Return a digest of JSON values, of what of them is the same on every machine."""
    lines = [json.dumps(rounded(value), sort_keys=True) for value in values]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
