"""Time one update of the toy, forward pass, backward pass and step, in plain Python, NumPy and torch.

All three train the same network from the same weights, and the run stops if their losses differ. Blocks of updates are
interleaved, so that a slow moment of the machine meets all three; the figure of each is the median over its blocks.

    python -m benchmarks.toy_update --blocks 30 --updates 300

writes benchmarks/results/toy-update.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.machine import machine
from harness.system import files
from harness.toy.backprop import EXAMPLE, WEIGHTS, losses, update
from harness.toy.backprop import backward as chain_rule
from harness.toy.backprop import forward as passed

RESULTS = Path(__file__).resolve().parent / "results" / "toy-update.json"
LEARNING_RATE = 0.5
# Runs a number of updates from the documents' weights and returns the loss before the last of them.
Contender = Callable[[int], float]


def plain_python(updates: int) -> float:
    """Train with harness.toy.backprop."""
    weights, loss = WEIGHTS, 0.0
    for _ in range(updates):
        found = passed(weights, EXAMPLE)
        loss = found.E_total
        weights = update(weights, chain_rule(weights, EXAMPLE, found), LEARNING_RATE)
    return loss


def numpy(updates: int) -> float:
    """Train with two 2x2 matrices in NumPy."""
    hidden, output = np.array(astuple(WEIGHTS)).reshape(2, 2, 2).copy()
    inputs, targets = np.array([EXAMPLE.i1, EXAMPLE.i2]), np.array([EXAMPLE.t1, EXAMPLE.t2])
    loss = 0.0
    for _ in range(updates):
        inner = 1 / (1 + np.exp(-hidden @ inputs))
        answers = 1 / (1 + np.exp(-output @ inner))
        error = answers - targets
        loss = float(0.5 * error @ error)
        outer_slope = error * answers * (1 - answers)
        inner_slope = outer_slope @ output * inner * (1 - inner)
        output -= LEARNING_RATE * np.outer(outer_slope, inner)
        hidden -= LEARNING_RATE * np.outer(inner_slope, inputs)
    return loss


def torch_eager(updates: int) -> float:
    """Train with two 2x2 matrices in torch, autograd and SGD, in float64."""
    hidden, output = (part.clone().requires_grad_() for part in _matrices())
    inputs = torch.tensor([EXAMPLE.i1, EXAMPLE.i2], dtype=torch.float64)
    targets = torch.tensor([EXAMPLE.t1, EXAMPLE.t2], dtype=torch.float64)
    optimizer = torch.optim.SGD([hidden, output], lr=LEARNING_RATE)
    loss = torch.zeros(())
    for _ in range(updates):
        optimizer.zero_grad()
        answers = torch.sigmoid(output @ torch.sigmoid(hidden @ inputs))
        loss = ((targets - answers) ** 2).sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    return loss.item()


def _matrices() -> torch.Tensor:
    return torch.tensor(astuple(WEIGHTS), dtype=torch.float64).reshape(2, 2, 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all three, print each with its ratio to plain Python, and write every block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=_positive, default=30)
    parser.add_argument("--updates", type=_positive, default=300, help="in a block")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    microseconds = timed(given.blocks, given.updates)
    files.write_json(
        RESULTS,
        {"machine": machine(), "blocks": given.blocks, "updates": given.updates, "microseconds": microseconds},
    )
    first = median(microseconds["plain Python"])
    for name, found in microseconds.items():
        middle = median(found)
        print(
            f"{name:<13}{middle:8.2f} microseconds an update ({min(found):.2f} to {max(found):.2f}), "
            f"{middle / first:6.2f} times plain Python"
        )


def timed(blocks: int, updates: int) -> dict[str, list[float]]:
    """Return the microseconds of an update, block by block, of each contender."""
    contenders: dict[str, Contender] = {"plain Python": plain_python, "NumPy": numpy, "torch": torch_eager}
    expected = losses(WEIGHTS, EXAMPLE, LEARNING_RATE, updates)[-2]
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(blocks):
        for name, train in contenders.items():
            begun = time.perf_counter()
            loss = train(updates)
            found[name].append(1e6 * (time.perf_counter() - begun) / updates)
            if abs(loss - expected) > 1e-12:
                raise SystemExit(f"{name} trains something else: loss {loss}, expected {expected}")
    return found


def _positive(given: str) -> int:
    if not (given.isdecimal() and int(given) > 0):
        raise argparse.ArgumentTypeError(f"{given!r} is not a whole number above 0")
    return int(given)


if __name__ == "__main__":
    main()
