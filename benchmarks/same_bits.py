"""No bit moved: two checkouts train the same networks to the same weights, by both engines.

A change that adds an op or makes a kernel faster must leave what can be built already as it was: records are verified
bit for bit. Each checkout trains three networks for some hundred steps on images drawn from a seed, by its own copy of
this file and in a process of its own; the digests of weights, memories and averages must be equal, and so must the
hashes of networks and recipes.

    python -m benchmarks.same_bits OTHER_CHECKOUT

prints one line a training and ends with 1 where two differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from harness.training.native.native import load
from harness.training.recipe import Optimizer, Recipe
from harness.training.steps import Images
from harness.training.train import start, train_epoch
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = (
    "conv3x3(4) bn relu conv3x3(4) bn relu | maxpool | conv3x3(8) bn relu conv3x3(8) bn relu dropout(0.05) | maxpool | "
    "conv3x3(8, tie=a) bn relu conv3x3(8, tie=a) bn relu | gap | linear(10)",
    "conv5x5(5, stride=2, bias) relu bn relu dropout2d(0.1) | avgpool | conv1x1(12, pad=1) bn | dwconv3x3 relu "
    "res(conv3x3(12) bn relu) conv3x3(11, pad=0) relu bn | conv1x1(10, bias) | gap",
    "maxpool relu linear(20) bn relu relu linear(10)",
)
RECIPES = (
    Recipe(epochs=2, batch_size=32),
    Recipe(epochs=2, batch_size=20, optimizer=Optimizer.ADAM, learning_rate=0.003, label_smoothing=0.1),
)
STEPS = 100


def some_images(count: int) -> Images:
    """Return noise around a bright bar whose place tells the class."""
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 90, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    labels = torch.randint(10, (count,), generator=source)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        image[0, 2 * label + 3 : 2 * label + 7, 4:24] += 120
    return Images(pixels, labels, (0.13,), (0.31,))


def digests() -> dict[str, str]:
    """Return what this checkout makes of every network, by name of the training."""
    torch.set_num_threads(1)
    found = {}
    for text in NETWORKS:
        architecture = parse_network(text)
        found[f"canonical text of {architecture.hash}"] = str(architecture)
        for recipe in RECIPES:
            for engine in (load(), None):
                run = start(architecture, recipe, 3, torch.device("cpu"), engine, task=MNIST)
                for _ in range(recipe.epochs):
                    train_epoch(run, some_images(STEPS * recipe.batch_size))
                kept = [value for state in run.optimizer.state.values() for value in state.values()]
                tensors = [*run.state, *(run.average or []), *(value for value in kept if value is not None)]
                digest = hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors))
                name = f"{architecture.hash} recipe {recipe.hash} {'native' if engine else 'torch'}"
                found[name] = f"{digest.hexdigest()[:16]}, loss {run.history[-1].train_loss!r}"
    return found


def main() -> None:
    """Ask both checkouts and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    answers = [_asked(folder) for folder in (ROOT, parser.parse_args().other.resolve())]
    wrong = 0
    for name in sorted(answers[0].keys() | answers[1].keys()):
        ours, theirs = (answer.get(name, "nothing") for answer in answers)
        wrong += ours != theirs
        print(f"{name}: {ours}" if ours == theirs else f"{name}: {ours}, but there {theirs}")
    print("all equal" if not wrong else f"{wrong} differ")
    sys.exit(1 if wrong else 0)


def _asked(checkout: Path) -> dict[str, str]:
    """Return what the trainings of a checkout come to, with its own packages: its folder comes first on the path."""
    code = "import json; from benchmarks.same_bits import digests; print(json.dumps(digests()))"
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


if __name__ == "__main__":
    main()
