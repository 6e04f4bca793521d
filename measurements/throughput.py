"""Measure the training throughput on a processor: the harness against a typical PyTorch loop.

All sides train the same network on MNIST with a process of one thread per core, without evaluation. The PyTorch loop
uses torchvision's data set with a transform per image, a DataLoader with zero or one worker, and eager fp32. The
harness trains with shifted images, by torch and by the compiled engine. Each result is the median over interleaved
rounds, summed over all processes.

    python -m measurements.throughput --rounds 5 --data FOLDER

writes measurements/results/throughput.json.

    python -m measurements.throughput --roofline --data FOLDER

measures how close a training step comes to the limits of a core: peak multiply-adds per second and memory bandwidth
(measurements/peak.cpp), and the engine's images per second. A step counts three times the multiply-adds of the forward
pass, minus the unused input gradient of the first layer. BN, ReLU, pooling, augmentation and the update count as
overhead. Results go to measurements/results/roofline.json, a line per kind of machine. The table for
docs/evidence/measurements.md is printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from harness.data.datasets import dataset
from harness.data.training_images import find, import_torchvision, load
from harness.spaces.catalog import PRESETS
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system import files
from harness.system.machine import core_count
from harness.training.native.engine import OPTIONS, compiler, level
from harness.training.native.engine import load as load_engine
from harness.training.recipe import Recipe
from harness.training.torch_network import Images, build
from harness.training.training_loop import start
from measurements.machine_facts import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "throughput.json"
ROOFLINE = HERE / "results" / "roofline.json"
# (network, batch size) by name.
NETWORKS = {
    "seed4": (PRESETS["seed4"], 128),
    "3,702 parameters": (
        "conv3x3(4) bn relu conv3x3(4) bn relu conv3x3(4) bn relu | maxpool | conv3x3(8) bn relu conv3x3(8) bn relu "
        "conv3x3(8) bn relu | maxpool | conv3x3(8) bn relu conv3x3(8) bn relu conv3x3(8) bn relu | gap | linear(10)",
        32,
    ),
    "1,502 parameters": (
        "conv3x3(4) bn relu conv3x3(4) bn relu | maxpool | conv3x3(6) bn relu conv3x3(6) bn relu | maxpool | "
        "conv3x3(6) bn relu conv3x3(6) bn relu | gap | linear(10)",
        32,
    ),
    # The certified network, with rotated and tied kernels.
    "1,462 parameters, in poses": (
        "conv3x3(16, poses=4) bn(poses=4) relu | avgpool"
        " | conv1x1(12, poses=4) conv3x3(32, poses=4, tie=t1) bn(poses=4) relu | avgpool"
        + " | res(conv1x1(12, poses=4, tie=t2) conv3x3(32, poses=4, tie=t1) bn(poses=4)) relu" * 4
        + " | gap | linear(10)",
        32,
    ),
}
SEED_STYLE_IMAGES = 8_192  # images per measurement with torch, after 10 warm-up steps
HARNESS_IMAGES = 30_000  # images per measurement with the compiled engine, after 10 warm-up steps
# Upper limit of the share of the peak: the engine's tiles (Winograd) need a quarter of the counted multiply-adds.
MAX_SHARE = 4.0


def seed_style(text: str, batch: int, folder: Path, loaders: int, device: str = "cpu") -> float:
    """Return the images per second of a single process of the PyTorch loop.

    Args:
        text: Network in the notation.
        batch: Batch size.
        folder: Folder of the images, in torchvision's layout.
        loaders: Number of worker processes of the DataLoader.
        device: Device of torch.
    """
    torch.set_num_threads(1)
    torchvision = import_torchvision()
    transforms = torchvision.transforms
    normal = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    images = torchvision.datasets.MNIST(str(folder), train=True, transform=normal)
    loader = torch.utils.data.DataLoader(
        images,
        batch_size=batch,
        shuffle=True,
        num_workers=loaders,
        drop_last=True,
        # Children of a spawned process would be spawned as well; a normal training script forks.
        multiprocessing_context="fork" if loaders else None,
    )
    network = build(parse_network(text), MNIST).train().to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    began = time.perf_counter()
    done = -10 * batch  # images; negative during the warm-up
    for pixels, labels in loader:
        if done == 0:
            began = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(pixels.to(device)), labels.to(device))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        loss.item()
        done += batch
        if done >= SEED_STYLE_IMAGES:
            break
    return done / (time.perf_counter() - began)


@contextmanager
def torchvision_folder(folder: Path) -> Iterator[Path]:
    """Unpack MNIST for torchvision's data set into a temporary folder."""
    spec = dataset("mnist")
    source = find(spec, folder)
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file in spec.all_files:
            plain = source / file.name
            content = plain.read_bytes() if plain.exists() else gzip.decompress(Path(f"{plain}.gz").read_bytes())
            (raw / file.name).write_bytes(content)
        yield Path(root)


def by_harness(text: str, batch: int, folder: Path, engine: str) -> float:
    """Return the images per second of a single process of the harness; ``engine`` is ``native`` or ``torch``."""
    torch.set_num_threads(1)
    data = load("mnist", folder)
    count = HARNESS_IMAGES if engine == "native" else SEED_STYLE_IMAGES
    images = Images(data.train_images[:count], data.train_labels[:count], data.dataset.mean, data.dataset.std)
    # Average the weights from the first step on, since most steps of a run do.
    recipe = replace(Recipe(), batch_size=batch, average_start=0.0)
    native = load_engine() if engine == "native" else None
    run = start(parse_network(text), recipe, 0, torch.device("cpu"), native, task=MNIST)
    run.train(replace(images, pixels=images.pixels[: 10 * batch], labels=images.labels[: 10 * batch]))
    before = run.seconds
    run.train(images)
    return count // batch * batch / (run.seconds - before)


def measured(side: Callable[..., float], count: int, *arguments: Any) -> float:
    """Return the sum of ``side(*arguments)`` over ``count`` parallel processes."""
    # A multiprocessing.Pool would not work: its processes are daemonic and cannot start DataLoader workers.
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        return sum(future.result() for future in [pool.submit(side, *arguments) for _ in range(count)])


def limits() -> tuple[float, float]:
    """Return the peak GFLOP/s and GB/s of a core."""
    options = [option for option in (*OPTIONS, *level().options) if option not in ("-shared", "-fPIC")]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        subprocess.run([*compiler(), *options, str(HERE / "peak.cpp"), "-o", str(program)], check=True)
        answer = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    flops, memory = map(float, answer.stdout.split())
    return flops, memory


def flops_of(text: str) -> float:
    """Return the floating-point operations of a training step per image.

    Forward pass, gradient of the weights and gradient of the input; the first layer needs no gradient of the input.
    """
    layers = analyse(parse_network(text), MNIST).costed_ops
    macs = [layer.macs for layer in layers]
    return 2 * (3 * sum(macs) - next(count for count in macs if count))


def measure_roofline(rounds: int, folder: Path) -> None:
    """Measure the limits of a core and the speed of the engine, write the line of this machine, and print the table."""
    peaks: list[tuple[float, float]] = []
    speeds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(rounds):
        peaks.append(limits())
        for name, (text, batch) in NETWORKS.items():
            speeds[name].append(by_harness(text, batch, folder, "native"))
    flops, memory = (median(values) for values in zip(*peaks, strict=True))
    rows = []
    for name, (text, _) in NETWORKS.items():
        speed = median(speeds[name])
        work = flops_of(text)
        row = {"network": name, "images_a_second": round(speed), "flops_an_image": work}
        gflops = work * speed / 1e9
        rows.append(row | {"gflops": round(gflops, 1), "share_of_peak": round(gflops / flops, 3)})
        if gflops > MAX_SHARE * flops:
            raise SystemExit(f"no engine is so much faster than a peak of {flops:.0f} GFLOP/s: it was measured wrongly")
    line = {"machine": machine(), "rounds": rounds, "peak_gflops": flops, "peak_gbytes": memory, "rows": rows}
    known = json.loads(ROOFLINE.read_text(encoding="utf-8"))
    lines = sorted([*(each for each in known if not _is_alike(each, line)), line], key=lambda each: each["peak_gflops"])
    files.write_json(ROOFLINE, lines)
    print(section(lines))


def _is_alike(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether two lines are of one kind of machine: equal processors, peaks that differ by less than 15 %."""
    low, high = sorted(float(line["peak_gflops"]) for line in (first, second))
    return first["machine"]["processor"] == second["machine"]["processor"] and bool(high < 1.15 * low)


def section(lines: list[dict[str, Any]]) -> str:
    """Return the table as Markdown, with a column per machine and a row per network."""
    names = list(dict.fromkeys(row["network"] for line in lines for row in line["rows"]))
    shares = [{row["network"]: f"{100 * row['share_of_peak']:.0f} %" for row in line["rows"]} for line in lines]
    heads = [
        f"{line['machine']['processor']}, {line['peak_gflops']:.0f} GFLOP/s, commit {line['machine']['commit'][:7]}"
        + (" with changes that were not committed" if line["machine"]["dirty"] else "")
        for line in lines
    ]
    table = [("network", *heads), ("---",) * (1 + len(lines))]
    table += [(name, *(share.get(name, "") for share in shares)) for name in names]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in table), ""])


def main() -> None:
    """Measure all sides in interleaved rounds, and write and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    parser.add_argument("--roofline", action="store_true", help="the limits of one core, and the engine's share")
    arguments = parser.parse_args()
    load_engine()
    if arguments.roofline:
        return measure_roofline(arguments.rounds, arguments.data)
    speeds: dict[str, dict[str, list[float]]] = {name: {} for name in NETWORKS}
    with torchvision_folder(arguments.data) as unpacked:
        for name, (text, batch) in list(NETWORKS.items()) * arguments.rounds:
            for loaders in (0, 1):
                speed = measured(seed_style, core_count(), text, batch, unpacked, loaders)
                speeds[name].setdefault(f"seed style, {loaders} loaders", []).append(speed)
            for engine in ("torch", "native"):
                speed = measured(by_harness, core_count(), text, batch, arguments.data, engine)
                speeds[name].setdefault(f"harness, {engine}", []).append(speed)
            print(name, {side: round(values[-1]) for side, values in speeds[name].items()}, flush=True)
    rows = [_row(name, sides) for name, sides in speeds.items()]
    document = {"machine": machine(), "rounds": arguments.rounds, "images_a_second": speeds, "rows": rows}
    files.write_json(RESULTS, document)
    print(json.dumps(rows, indent=1))


def _row(name: str, sides: dict[str, list[float]]) -> dict[str, Any]:
    """Return medians and ratios of a network; the PyTorch loop counts with the better number of workers."""
    best = max((side for side in sides if side.startswith("seed")), key=lambda side: median(sides[side]))
    native = sides["harness, native"]
    ratios = [speed / base for speed, base in zip(native, sides[best], strict=True)]
    over_torch = [speed / base for speed, base in zip(native, sides["harness, torch"], strict=True)]
    return {
        "network": name,
        "batch": NETWORKS[name][1],
        "seed_style": round(median(sides[best])),
        "seed_style_best": best,
        "harness_torch": round(median(sides["harness, torch"])),
        "harness_native": round(median(native)),
        "ratio": round(median(ratios), 2),
        "ratio_least": round(min(ratios), 2),
        "ratio_most": round(max(ratios), 2),
        "ratio_to_torch": round(median(over_torch), 2),
    }


if __name__ == "__main__":
    main()
