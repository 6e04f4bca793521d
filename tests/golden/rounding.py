"""Rounding and digests of values in golden tests, so that a golden holds on every machine.

The last bits of a float depend on the processor: the order of additions in BLAS depends on the width of registers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

SIGNIFICANT_DIGITS = 6
# Smaller absolute values are rounding errors of sums that are zero.
SMALLEST = 1e-9


def rounded(value: Any) -> Any:
    """Return a JSON value with all floats rounded to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return 0.0 if abs(value) < SMALLEST else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def digest(values: Iterable[Any]) -> str:
    """Return a digest of rounded JSON values, which is the same on every machine."""
    lines = [json.dumps(rounded(value), sort_keys=True) for value in values]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
