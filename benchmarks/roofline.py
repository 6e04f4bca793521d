"""How near a whole training step comes to the limits of one core.

Measured in one run: the core's multiply-adds a second and its memory bandwidth (benchmarks/peak.cpp), and the engine's
images a second for some networks. A step counts three times the multiply-adds of the forward pass (less the first
layer's input gradient, which nobody needs), and nothing else: BN, ReLU, pooling, augmentation and the update are
overhead.

    python -m benchmarks.roofline --data FOLDER

writes benchmarks/results/roofline.json and prints the table for docs/measurements.md. Each kind of machine keeps its
line until it is measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from benchmarks.throughput import NETWORKS, by_harness
from harness.system import files
from harness.training.native import native
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "roofline.json"
# Tiles need a quarter of the multiply-adds that are counted, so a share may lie above 1, and never above this.
MOST_SHARE = 4.0


def limits() -> tuple[float, float]:
    """Return GFLOP/s and GB/s of one core."""
    options = [*native.OPTIONS, *native.level().options]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "peak"
        options = [option for option in options if option not in ("-shared", "-fPIC")]
        subprocess.run([*native.compiler(), *options, str(HERE / "peak.cpp"), "-o", str(made)], check=True)
        answer = subprocess.run([str(made)], capture_output=True, text=True, check=True)
    flops, memory = map(float, answer.stdout.split())
    return flops, memory


def flops_of(text: str) -> float:
    """Return floating-point operations of a training step, an image."""
    layers = analyse(parse_network(text), MNIST).layers
    macs = [layer.macs for layer in layers]
    return 2 * (3 * sum(macs) - next(count for count in macs if count))


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    peaks: list[tuple[float, float]] = []
    speeds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(given.rounds):
        peaks.append(limits())
        for name, (text, batch) in NETWORKS.items():
            speeds[name].append(by_harness(text, batch, given.data, "native"))
    flops, memory = (median(values) for values in zip(*peaks, strict=True))
    rows = [_row(name, text, median(speeds[name]), flops) for name, (text, _) in NETWORKS.items()]
    if any(row["share_of_peak"] > MOST_SHARE for row in rows):
        raise SystemExit(f"no engine is so much faster than a peak of {flops:.0f} GFLOP/s: it was measured wrongly")
    line = {"machine": machine(), "rounds": given.rounds, "peak_gflops": flops, "peak_gbytes": memory, "rows": rows}
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    lines = sorted([*(each for each in known if not _is_alike(each, line)), line], key=lambda each: each["peak_gflops"])
    files.write_json(RESULTS, lines)
    print(section(lines))


def _is_alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    low, high = sorted(float(line["peak_gflops"]) for line in (one, other))
    return one["machine"]["processor"] == other["machine"]["processor"] and bool(high < 1.15 * low)


def section(lines: list[dict[str, Any]]) -> str:
    """Return the table as Markdown: a column a machine, a row a network."""
    names = list(dict.fromkeys(row["network"] for line in lines for row in line["rows"]))
    shares = [{row["network"]: f"{100 * row['share_of_peak']:.0f} %" for row in line["rows"]} for line in lines]
    heads = [
        f"{line['machine']['processor']}, {line['peak_gflops']:.0f} GFLOP/s, commit {line['machine']['commit'][:7]}"
        + " with changes that were not committed" * bool(line["machine"]["dirty"])
        for line in lines
    ]
    table = [("network", *heads), ("---",) * (1 + len(lines))]
    table += [(name, *(share.get(name, "") for share in shares)) for name in names]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in table), ""])


def _row(name: str, text: str, speed: float, peak: float) -> dict[str, Any]:
    flops = flops_of(text)
    return {
        "network": name,
        "images_a_second": round(speed),
        "flops_an_image": flops,
        "gflops": round(flops * speed / 1e9, 1),
        "share_of_peak": round(flops * speed / 1e9 / peak, 3),
    }


if __name__ == "__main__":
    main()
