"""The metric of latency, beside the measurements that it was fitted to."""

from __future__ import annotations

import json
import math
import random

from benchmarks import latency
from search_spaces.catalog import space
from search_spaces.network import MNIST, analyse
from search_spaces.space import draw_uniform


def test_the_latency_is_that_of_the_fitted_coefficients():
    fitted = json.loads(latency.RESULTS.read_text(encoding="utf-8"))
    for name in ("all", "card", "tiny"):
        analysis = analyse(draw_uniform(space(name), random.Random(name), 20_000).architecture, MNIST)
        pairs = zip(fitted["coefficients"], latency.terms(analysis), strict=True)
        assert analysis.latency_us == math.ceil(math.fsum(each * term for each, term in pairs))
