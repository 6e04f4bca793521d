"""Several different networks at once on a GPU: side by side in one process, a process each, and the seed-style loop.

All sides train on MNIST, augmentation included. A worker of the harness trains a whole job: the capture of its step and
the look at the validation images at its end are part of it, starting its process is not. The seed-style loop is that of
``throughput`` with its network on the GPU, one network at a time. Sides are interleaved; each figure is the median over
the rounds, of the images a second of all networks together.

    python -m benchmarks.gpu_side_by_side --data FOLDER

writes benchmarks/results/gpu-side-by-side.json after every round.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.throughput import measured, seed_style, torchvision_folder
from harness.data.datasets import dataset
from harness.system import files
from harness.system.errors import HarnessError
from harness.system.machine import choose_device, core_count, device_name
from harness.training.recipe import Recipe
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers import workers
from harness.training.workers.gpu_workers import seconds_together
from harness.training.workers.parallelism import MOST_SIDE_BY_SIDE, Parallelism
from harness.training.workers.workers import Source
from search_spaces.language.notation import parse_network

RESULTS = Path(__file__).resolve().parent / "results" / "gpu-side-by-side.json"
EPOCHS = 3
BATCH = 64
LOADERS = (0, 2, 8)


def networks(count: int) -> list[str]:
    """Return so many different networks, at most 32, of 2,326 to 9,707 parameters: nine 3x3 convolutions each."""
    assert count <= MOST_SIDE_BY_SIDE
    widths = [(first, rest) for rest in range(6, 14) for first in range(4, 8)]
    found = []
    for pair in widths[:count]:
        first, rest = (" ".join([f"conv3x3({width}) bn relu"] * 3) for width in pair)
        found.append(f"{first} | maxpool | {rest} | maxpool | {rest} | gap | linear(10)")
    return found


def parallelisms(most: int, cores: int) -> list[Parallelism]:
    """Return 1, 2, 4 and so on up to ``most`` networks in one process, and a process each while there are cores."""
    counts = [2**power for power in range(most.bit_length()) if 2**power <= most]
    many = [Parallelism(count) for count in counts if 1 < count <= cores]
    return [*(Parallelism(1, count) for count in counts), *many]


def images_a_second(source: Source, device: str, parallelism: Parallelism, epochs: int) -> float:
    """Return the images a second of a parallelism, each worker with a network of its own.

    Raises:
        HarnessError: a worker broke.
    """
    pool = workers.start(source, parallelism.workers, parallelism.side_by_side)
    try:
        # The first job of a worker loads the data and starts the device.
        spent = [seconds_together(pool, _jobs(device, parallelism.workers, length)) for length in (1, epochs)]
    finally:
        workers.stop(pool)
    if (seconds := spent[-1]) is None:
        raise HarnessError(f"a worker of {parallelism} broke on {device}")
    return parallelism.workers * epochs * dataset(source.dataset).train_size / seconds


def _jobs(device: str, count: int, epochs: int) -> list[Job]:
    return [
        Job(
            architecture=parse_network(text),
            recipe=Recipe(epochs=epochs, batch_size=BATCH),
            recipe_name="side by side",
            purpose=Purpose.REFERENCE,
            seed_index=0,
            device=device,
        )
        for text in networks(count)
    ]


def rows(found: dict[str, list[float]], sides: Iterable[Parallelism]) -> list[dict[str, Any]]:
    """Return each parallelism beside the best seed-style loop, and their ratio round by round.

    Args:
        found: images a second, a number a round, by ``seed style, N loaders`` and by parallelism.
    """
    styles = [side for side in found if side.startswith("seed style")]
    best = max(styles, key=lambda side: median(found[side]))
    made = []
    for parallelism in sides:
        ratios = [ours / theirs for ours, theirs in zip(found[str(parallelism)], found[best], strict=True)]
        made.append(
            {
                "processes": parallelism.processes,
                "side_by_side": parallelism.side_by_side,
                "images_a_second": round(median(found[str(parallelism)])),
                "seed_style": round(median(found[best])),
                "seed_style_best": best,
                "ratio": round(median(ratios), 2),
                "ratio_least": round(min(ratios), 2),
                "ratio_most": round(max(ratios), 2),
            }
        )
    return made


def main() -> None:
    """Measure all sides, round after round, and write and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=MOST_SIDE_BY_SIDE, help="networks at once")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("HARNESS_DATA"), required="HARNESS_DATA" not in os.environ
    )
    given = parser.parse_args()
    device = choose_device(given.device)
    facts = machine() | {"gpu": device_name(device), "cuda": torch.version.cuda}
    sides, source = parallelisms(given.most, core_count()), Source("mnist", given.data)
    found: dict[str, list[float]] = {}
    with torchvision_folder(given.data) as unpacked:
        for done in range(1, given.rounds + 1):
            for loaders in LOADERS:
                speed = measured(seed_style, 1, networks(1)[0], BATCH, unpacked, loaders, str(device))
                found.setdefault(f"seed style, {loaders} loaders", []).append(speed)
            for parallelism in sides:
                found.setdefault(str(parallelism), []).append(images_a_second(source, str(device), parallelism, EPOCHS))
                print(f"{parallelism}: {found[str(parallelism)][-1]:,.0f} images a second", flush=True)
            table = rows(found, sides)
            document = {"machine": facts, "rounds": done, "epochs": EPOCHS, "batch": BATCH, "images_a_second": found}
            files.write_json(RESULTS, document | {"rows": table})
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
