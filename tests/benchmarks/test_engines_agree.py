"""Tests of the comparison of the two engines."""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
from scipy.stats import t

from benchmarks.engines_agree import interval


def test_the_interval_is_students():
    differences = [0.1, -0.2, 0.05, 0.0, 0.12]
    reach = float(t.ppf(0.95, 4)) * stdev(differences) / math.sqrt(5)
    assert interval(differences) == pytest.approx((mean(differences) - reach, mean(differences) + reach))
