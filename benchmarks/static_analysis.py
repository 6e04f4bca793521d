"""Static analysis beside building: how many networks a second can be judged, on one core.

Both sides take random networks of a space that fit together, drawn beforehand; the slow side takes the first few of
them a block. One side derives shapes, parameters and
multiply-adds in closed form; the others build the torch module, and count its parameters alone, or let fvcore count
its operators too. Blocks of networks are interleaved; each figure is the median over blocks.

    python -m benchmarks.static_analysis --blocks 15

writes benchmarks/results/static-analysis.json.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine
from harness.system import files
from harness.training.build import build
from search_spaces.catalog import space
from search_spaces.cost import analyse
from search_spaces.draw import Uniform, draw, judge
from search_spaces.network import Architecture
from search_spaces.task import MNIST

RESULTS = Path(__file__).resolve().parent / "results" / "static-analysis.json"
CLOSED_FORM_BLOCK, BUILT_BLOCK = 400, 8


def closed_form(network: Architecture) -> int:
    """Return the parameters by the formulas, after text and hash as a search needs them."""
    assert network.hash
    return analyse(network, MNIST).parameters


def counted(network: Architecture) -> int:
    """Return the parameters of the built module, and no multiply-adds."""
    return sum(parameter.numel() for parameter in build(network, MNIST).parameters())


def built(network: Architecture) -> int:
    """Return the parameters of the built module, after fvcore has counted its operations."""
    from fvcore.nn import FlopCountAnalysis

    module = build(network, MNIST).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counter = FlopCountAnalysis(module, torch.zeros(1, 1, 28, 28))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    return sum(parameter.numel() for parameter in module.parameters())


def speed(side: Callable[[Architecture], int], networks: list[Architecture]) -> float:
    """Return networks a second."""
    began = time.perf_counter()
    for network in networks:
        side(network)
    return len(networks) / (time.perf_counter() - began)


def main() -> None:
    """Measure both sides and write and print their medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--space", default="card")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(0)
    networks: list[Architecture] = []
    where = space(given.space)
    while len(networks) < CLOSED_FORM_BLOCK:
        network = draw(where, Uniform(rng)).architecture
        if judge(where, network, 20_000).accepted:
            networks.append(network)
    assert all(closed_form(network) == built(network) for network in networks[:BUILT_BLOCK])
    ours, plain, theirs = [], [], []
    for _ in range(given.blocks):
        ours.append(speed(closed_form, networks))
        plain.append(speed(counted, networks[:BUILT_BLOCK]))
        theirs.append(speed(built, networks[:BUILT_BLOCK]))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    document = {
        "machine": machine(),
        "space": given.space,
        "blocks": given.blocks,
        "closed_form_a_second": round(median(ours)),
        "counted_a_second": round(median(plain), 1),
        "counted_ratio": round(median(one / other for one, other in zip(ours, plain, strict=True)), 1),
        "built_a_second": round(median(theirs), 1),
        "ratio": round(median(ratios), 1),
        "ratio_least": round(min(ratios), 1),
        "ratio_most": round(max(ratios), 1),
    }
    files.write_json(RESULTS, document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
