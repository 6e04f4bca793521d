"""Quotes judged by searches: does the answer of a search lie in the intervals that ``harness quote`` states?

``python -m measurements.quotes NAME DATASET --target 97`` runs a quote and a search, each on an empty workspace, and
appends a line to ``results/quotes.jsonl``; without arguments, the command prints the table of all lines.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click

from harness.searching.answer import holds
from harness.system.terminal import DURATION
from harness.training.result import code_version

_RESULTS = Path(__file__).parent / "results" / "quotes.jsonl"
_WORDS = {True: "yes", False: "no"}
_MAX_PARAMETERS = 20_000  # budget of all searches; replaces a missing upper bound in the width


def _document(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Return the JSON document of a command in a workspace, whatever its exit code."""
    command = [sys.executable, "-m", "harness", *arguments, "--json"]
    environment = {**os.environ, "HARNESS_WORKSPACE": str(folder)}
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    document: dict[str, Any] = json.loads(process.stdout)
    if "error" in document:
        raise click.ClickException(document["error"]["message"])
    return document


def measurement(name: str, dataset: str, target: str, seconds: float, seed: int, describe: list[str]) -> dict[str, Any]:
    """Run a quote and a search of the same data, and return the line of results."""
    documents = []
    options = ["--target", target, "--workers", "1", "--seed", str(seed)]
    for command in (["quote", dataset, *options], ["search", "--dataset", dataset, "--time", str(seconds), *options]):
        with tempfile.TemporaryDirectory() as folder:
            if describe:
                _document(["data", "describe", dataset, *describe], Path(folder))
            documents.append(_document(command, Path(folder)))
    quote, search = documents
    parameters = search["winner"]["parameters"] if search["reached"] else None
    return {
        "set": name,
        "target_pct": float(target),
        "commit": code_version()[0],
        "search_commit": code_version()[0],
        "seed": seed,
        "quote": {key: quote[key] for key in ("parameters", "seconds", "search_seconds", "trained")},
        "search": {"limit_seconds": seconds, "seconds": search["seconds"], "parameters": parameters},
    }


def verdict(row: dict[str, Any]) -> dict[str, Any]:
    """Return coverage and width of the interval of sizes, and coverage of the time, for a line of results.

    The width is None if the quote states no lower bound, that is, no network.

    A search without an answer is covered by no upper bound, or a longer forecast search, and by a longer slow time.
    """
    quote = row["quote"]
    search = row["search"]
    low, _, high = quote["parameters"]
    width = None if low is None else min(_MAX_PARAMETERS, high or _MAX_PARAMETERS) / low
    if search["parameters"] is not None:
        size_held = holds(quote["parameters"], search["parameters"])
        return {"size_held": size_held, "width": width, "time_held": holds(quote["seconds"], search["seconds"])}
    limit = search["limit_seconds"]
    size_held = high is None or quote["search_seconds"] > limit
    return {"size_held": size_held, "width": width, "time_held": quote["seconds"][-1] > limit}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the lines of results as a Markdown table, and coverage and median width per commit."""
    lines = [
        "| set | commit | quoted sizes | answer | held, width | quoted seconds | seconds, held |",
        "| --- " * 7 + "|",
    ]
    for row in rows:
        quote = row["quote"]
        search = row["search"]
        judged = verdict(row)
        sizes = " to ".join(f"{size:,}" if size else "more" for size in quote["parameters"])
        times = " to ".join(f"{seconds:.0f}" for seconds in quote["seconds"])
        width_text = "no width" if judged["width"] is None else f"{judged['width']:.1f}"
        size_cell = f"{_WORDS[judged['size_held']]}, {width_text}"
        time_cell = f"{search['seconds']:.0f}, {_WORDS[judged['time_held']]}"
        cells = (row["set"], row["commit"][:8], sizes, search["parameters"] or "none", size_cell, times, time_cell)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for commit in dict.fromkeys(row["commit"] for row in rows):
        judgements = [verdict(row) for row in rows if row["commit"] == commit]
        sizes_held = sum(each["size_held"] for each in judgements)
        times_held = sum(each["time_held"] for each in judgements)
        width = median(each["width"] for each in judgements if each["width"] is not None)
        held = f"{sizes_held} sizes and {times_held} times of {len(judgements)} held"
        lines.append(f"{commit[:8]}: {held}, median width {width:.1f}")
    return "\n".join(lines)


@click.command()
@click.argument("name", default="")
@click.argument("dataset", default="")
@click.option("--target", default="97", help="Target test accuracy, in per cent.")
@click.option("--time", "seconds", type=DURATION, default="3m", help="Time of the search.")
@click.option("--seed", default=1, help="Seed of the quote and of the search.")
@click.option("--describe", default="", help="Options of 'harness data describe', as one word.")
def main(name: str, dataset: str, target: str, seconds: float, seed: int, describe: str) -> None:
    """Judge the quote of DATASET by a search, or print all results."""
    if dataset:
        row = measurement(name, dataset, target, seconds, seed, shlex.split(describe))
        with _RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
    click.echo(table([json.loads(line) for line in _RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main()
