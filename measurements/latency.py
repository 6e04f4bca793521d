"""Fit the formula of ``latency_us`` to the time of the native engine for a single image on a single core.

Networks are drawn from the built-in spaces for images of several shapes. The coefficients of multiply-adds, feature-map
values and ops are fitted by non-negative least squares of the relative errors. The errors of the formula are measured
on a held-out third of the networks.

    python -m measurements.latency
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls

from harness.spaces.catalog import space
from harness.spaces.network import Analysis, Task, analyse
from harness.spaces.ops import flat
from harness.spaces.space import draw_uniform
from harness.system.files import write_json
from harness.training.native.driver import measured_latency
from measurements.machine_facts import machine

RESULTS = Path(__file__).parent / "results" / "latency.json"
_MNIST = (1, 28, 28)
# Number of networks to draw by space and shape of the images.
_DRAWN = {
    ("all", _MNIST): 150,
    ("card", _MNIST): 60,
    ("tiny", _MNIST): 60,
    ("small", (1, 8, 8)): 60,
    ("all", (3, 32, 32)): 60,
}


def terms(analysis: Analysis) -> tuple[int, int, int]:
    """Return the terms of the formula: ops, multiply-adds, feature-map values."""
    ops = sum(1 for _ in flat([layer.op for layer in analysis.costed_ops]))
    return ops, analysis.macs, analysis.map_numbers


def main() -> None:
    """Measure, fit and write the results."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    rows = []
    for (name, shape), count in _DRAWN.items():
        task = Task(shape, 10)
        for _ in range(count):
            network = draw_uniform(space(name, task), rng, 20_000).architecture
            rows.append([*terms(analyse(network, task)), measured_latency(network, task, 300)])
    table = np.array(rows)  # (networks, 4): the terms and the measured microseconds
    held_out = np.arange(len(table)) % 3 == 0
    fitted = table[~held_out]
    # Rows are divided by the measured time, so that the relative error is minimised.
    coefficients, _ = nnls(fitted[:, :-1] / fitted[:, -1:], np.ones(len(fitted)))
    errors = abs(table[held_out, :-1] @ coefficients / table[held_out, -1] - 1)
    document = {
        "networks": len(table),
        "coefficients": [float(f"{each:.4g}") for each in coefficients],
        "microseconds": [float(each) for each in np.percentile(table[:, -1], [0, 50, 100]).round(1)],
        "relative_error_median": round(float(np.median(errors)), 4),
        "relative_error_90": round(float(np.percentile(errors, 90)), 4),
        "machine": machine(),
    }
    write_json(RESULTS, document)
    print(document)


if __name__ == "__main__":
    main()
