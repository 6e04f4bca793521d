"""Tests of the comparison of the two engines."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t

from benchmarks.engines_agree import equivalence


def test_the_interval_is_welchs():
    first, second = [99.0, 99.1, 98.9, 99.2], [98.8, 98.9, 99.0]
    squares = (sum((x - 99.05) ** 2 for x in first) / 3 / 4, sum((x - 98.9) ** 2 for x in second) / 2 / 3)
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 3 + squares[1] ** 2 / 2)
    reach = float(t.ppf(0.95, freedom)) * math.sqrt(sum(squares))
    assert equivalence(first, second) == pytest.approx((0.15 - reach, 0.15 + reach))
