"""Candidates an hour: the same search with torch and with the native engine, one after the other.

Each side is `harness search` from a cold start with the same seed and the same time, in a workspace of its own. What
counts is networks whose first run has ended, pruned or whole, and multiply-adds trained, because a faster side also
gets to other networks.

    python -m benchmarks.candidates --minutes 5 --data FOLDER

writes benchmarks/results/candidates.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from harness.data.datasets import dataset
from harness.evidence import study
from harness.system import files
from harness.training.result import Status

RESULTS = Path(__file__).resolve().parent / "results" / "candidates.json"


def searched(engine: str, minutes: float, folder: Path | None) -> dict[str, Any]:
    """Return what a search of so many minutes has done."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "harness",
            "search",
            "--study",
            "s",
            "--dataset",
            "mnist",
            "--time",
            f"{minutes}m",
            "--engine",
            engine,
        ]
        environment = {**os.environ, "HARNESS_WORKSPACE": place}
        if folder is not None:
            environment["HARNESS_DATA"] = str(folder)
        began = time.monotonic()
        answer = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        seconds = time.monotonic() - began
        if answer.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(command)} ended with {answer.returncode}: {answer.stderr[-500:]}")
        runs = study.finished_results(Path(place) / "runs" / "s")
    images = dataset("mnist").train_size
    first = [run for run in runs if run.purpose == "search"]
    return {
        "engine": engine,
        "seconds": seconds,
        "networks": len(first),
        "whole": sum(run.status is Status.COMPLETE for run in first),
        "fresh_seeds": len(runs) - len(first),
        "networks_an_hour": 3600 * len(first) / seconds,
        "macs_an_hour": 3600 / seconds * sum(run.macs * images * len(run.history) for run in runs),
    }


def main() -> None:
    """Run both sides and write them with their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    sides = [searched(engine, given.minutes, given.data) for engine in ("torch", "native")]
    document = {
        "machine": machine(),
        "minutes": given.minutes,
        "sides": sides,
        "networks_ratio": sides[1]["networks_an_hour"] / max(1e-9, sides[0]["networks_an_hour"]),
        "macs_ratio": sides[1]["macs_an_hour"] / max(1e-9, sides[0]["macs_an_hour"]),
    }
    files.write_json(RESULTS, document)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
