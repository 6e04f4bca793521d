"""Measure the reliability of ``harness search``: searches from a cold start, in sequence, with requirements.

    python -m measurements.main_job --data FOLDER --cases 10m
    python -m measurements.main_job --table

Each search is ``harness search`` with the default options in a new workspace. The result is written immediately to
measurements/results/main-job.json, replacing an earlier search of the same case and seed; the reads of the test set go
to main-job-reads.jsonl. The table for docs/evidence/measurements.md is printed. Searches that miss a requirement stay
in the file. All searches of the file have the same configuration: after a change of the defaults, the first new search
replaces all.

No other program should run at the same time: a search with less than 90 % of the cores does not count and ends the
script.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click

from harness.commands.search import search
from harness.data.datasets import DATASETS
from harness.evidence.bounds import ErrorRatio
from harness.searching.augmentation import CHOICES
from harness.searching.limited_space import usual_space
from harness.searching.surrogate.prior import package_prior_sha256
from harness.spaces.catalog import space
from harness.system import files
from harness.system.files import Workspace
from harness.system.machine import core_count
from harness.system.terminal import counted
from harness.training.recipe import named_recipe
from measurements.machine_facts import machine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "measurements" / "results" / "main-job.json"


@dataclass(frozen=True, slots=True)
class Case:
    """Searches that differ only in the seed.

    Attributes:
        options: Options of ``harness search``.
        seeds: Seeds of the searches.
        most: Required upper limit of the answer's parameters; None for no limit.
        goal: Desired upper limit of the answer's parameters; None for no goal.
    """

    options: str
    seeds: tuple[int, ...]
    most: int | None = None
    goal: int | None = None


# No earlier search had these seeds; the prior contains searches with seeds up to 68.
CASES = {
    "10m": Case("--time 10m", (303, 304, 305, 306, 307), most=6_000, goal=3_400),
}
# Latest time of the first confirmed network in a case with ``most``; after a longer wait a user would assume that the
# search is stuck.
FIRST_ANSWER_SECONDS = 60.0
MIN_SHARE = 0.9  # least fraction of the processor time of all cores; below, the machine was shared
# Options that do not influence the result of a search by default, and the seed, which differs between the searches.
WITHOUT_EFFECT = {"plan_only", "verbose", "as_json", "study", "data", "cluster", "seed", "storage", "log", "chip"}
FILE_NAMES = {"time": "seconds", "target_pct": "target"}  # names of two options in the results file


def configuration() -> dict[str, Any]:
    """Return the default configuration of a search: options, space, recipe, threshold and prior.

    The code is not part of the configuration: the replays in tests/golden detect changes of behaviour.
    """

    def default(option: click.Parameter) -> str | float | bool | None:
        if isinstance(option, click.Option) and option.is_flag:
            return option.default is True
        if isinstance(option.default, tuple):
            return ",".join(option.default)
        # Since click 8.3, an option without a default has a sentinel instead of None.
        return option.default if isinstance(option.default, str | float | int) else None

    data = DATASETS["mnist"]
    options = {
        FILE_NAMES.get(name, name): default(option)
        for option in search.params
        # The argument DATASET also sets the option --dataset.
        if isinstance(option, click.Option) and (name := str(option.name)) not in WITHOUT_EFFECT
    }
    named = {"space": usual_space(data), "recipe": CHOICES[0]}
    text = space(named["space"]).text
    return {
        "options": options | named,
        "space_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "recipe_hash": named_recipe(named["recipe"]).recipe.hash,
        "threshold_pct": round(ErrorRatio.of(data, 99.4).threshold_pct(99.4), 6),
        "prior_sha256": package_prior_sha256("mnist"),
    }


def measured(name: str, seed: int, data: Path, folder: Path) -> dict[str, Any]:
    """Run a search in an empty folder and return its result with the seconds, the processor share and the machine."""
    arguments = ["search", *CASES[name].options.split(), "--json", "--seed", str(seed)]
    variables = {word: value for word, value in os.environ.items() if not word.startswith("HARNESS_")}
    environment = variables | {"HARNESS_WORKSPACE": str(folder), "HARNESS_DATA": str(data), "PYTHONPATH": str(ROOT)}
    date = datetime.now(UTC)
    used_before = _processor_seconds()
    began = time.monotonic()
    with (folder / "stdout.json").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        command = [sys.executable, "-m", "harness", *arguments]
        code = subprocess.run(command, cwd=folder, env=environment, stdout=out, stderr=err, check=False).returncode
    seconds = time.monotonic() - began
    used = _processor_seconds() - used_before
    if code not in (0, 3):
        raise SystemExit(f"exit code {code}: {(folder / 'stderr.txt').read_text(errors='replace')[-2000:]}")
    share = used / (seconds * core_count())
    if share < MIN_SHARE:
        raise SystemExit(f"other programs took {1 - share:.0%} of the cores, so this search does not count: {folder}")
    return {
        "case": name,
        "seed": seed,
        "arguments": arguments,
        "date_utc": date.isoformat(timespec="seconds"),
        "machine": machine(),
        "exit_code": code,
        **outcome(folder),
        "seconds": round(seconds, 1),
        "processor_share": round(share, 3),
    }


def outcome(folder: Path) -> dict[str, Any]:
    """Return the result of the search in ``folder``, from the output and the log.

    ``sizes`` are the changes of the incumbent as (seconds, parameters); parameters are None if there is no incumbent.
    """
    printed = json.loads((folder / "stdout.json").read_text(encoding="utf-8"))
    row = printed["winner"]
    lines = next(folder.glob("runs/*/log.jsonl")).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    sizes: list[tuple[float, int | None]] = []
    incumbent = None
    for event in events:
        if event["event"] == "confirmed":
            incumbent = event["trial"]
            sizes.append((event["elapsed"], event["parameters"]))
        elif event["event"] == "refuted" and event["trial"] == incumbent:
            incumbent = None
            sizes.append((event["elapsed"], None))
    accuracies = ["mean_test_accuracy_pct", "std_test_accuracy_pct"]
    names = ["hash", "tier", "parameters", "architecture", "recipe", *accuracies, "seeds"]
    return {
        "reached": printed["reached"],
        "winner": None if row is None else {name: row[name] for name in names},
        "sizes": sizes,
        "trained": len({event["run"]["trial"] for event in events if event["event"] == "finished"}),
        "missed": len(printed.get("missed", [])),
    }


def misses(result: dict[str, Any]) -> list[str]:
    """Return a phrase for each requirement that a search (``measured``) has missed."""
    most = CASES[result["case"]].most
    missed = []
    if not result["reached"]:
        missed.append("no answer")
    elif most is not None and result["winner"]["parameters"] > most:
        missed.append(f"more than {most:,} parameters")
    first = _first_answer(result)
    if first is None or (most is not None and first > FIRST_ANSWER_SECONDS):
        missed.append("nothing confirmed in time")
    return missed


def table(searches: Sequence[dict[str, Any]], known: frozenset[str]) -> str:
    """Return a Markdown table with a row per case and a summary; ``known`` are the hashes of the bundled prior."""
    lines = [
        "| options | searches run | met | of these *verified* | parameters of the answer: median (largest) "
        "| asked for | seconds to the first answer: median (longest) |",
        f"|{' --- |' * 7}",
    ]
    goals = ""
    for name, case in CASES.items():
        results = [each for each in searches if each["case"] == name]
        sizes = [each["winner"]["parameters"] for each in results if each["reached"]]
        waits = [seconds for each in results if (seconds := _first_answer(each)) is not None]
        met = [each for each in results if not misses(each)]
        cells = [
            f"`{case.options}`",
            f"{len(results)}",
            f"{len(met)}",
            f"{sum(each['winner']['tier'] == 'verified' for each in met)}",
            f"{median(sizes):,.0f} ({max(sizes):,})" if sizes and len(sizes) == len(results) else "none",
            "an answer" if case.most is None else f"at most {case.most:,}",
            f"{median(waits):.0f} ({max(waits):.0f})" if waits and len(waits) == len(results) else "never",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        if case.goal is not None:
            goals += f" The goal beyond that, {case.goal:,} parameters with `{case.options}`, was reached by "
            goals += f"{sum(size <= case.goal for size in sizes)} of {len(results)}."
    answers = [each["winner"] for each in searches if each["reached"]]
    different = {each["hash"] for each in answers}
    verified = {(each["hash"], each["recipe"]) for each in answers}
    text = f"{sum(not misses(each) for each in searches)} of {len(searches)} searches met the requirements.{goals}"
    networks = counted(len(different), "different network")
    verifications = counted(len(verified), "verification")
    text += (
        f" The {len(answers)} answers contain {networks}, and the seeds that verify a network with a recipe are always "
        f"the same, so the answers depend on {verifications}. The shipped prior contains {len(different & known)} of "
        "these networks."
    )
    return "\n".join([*lines, "", text]) + "\n"


def _first_answer(result: dict[str, Any]) -> float | None:
    """Return the seconds to the first confirmed network; None if there was none."""
    seconds: float | None = result["sizes"][0][0] if result["sizes"] else None
    return seconds


def _processor_seconds() -> float:
    """Return the processor seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def current() -> str:
    """Return the table of the results file."""
    from harness.searching.surrogate.prior import prior_of_package

    searches = json.loads(RESULTS.read_text(encoding="utf-8"))["searches"]
    return table(searches, frozenset(each.architecture.hash for each in prior_of_package("mnist")))


def main() -> None:
    """Run the searches of the requested cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"), help="folder of the images")
    parser.add_argument("--cases", default=",".join(CASES), help=", ".join(CASES))
    parser.add_argument("--seeds", help="of the cases' own, only these")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()), help="where the workspaces are made")
    parser.add_argument("--table", action="store_true", help="print the table; run nothing")
    arguments = parser.parse_args()
    for name in [] if arguments.table else arguments.cases.split(","):
        for seed in CASES[name].seeds:
            if arguments.seeds and str(seed) not in arguments.seeds.split(","):
                continue
            folder = Path(tempfile.mkdtemp(prefix=f"main-job-{name}-{seed}-", dir=arguments.root))
            print(f"{name}, seed {seed}, in {folder}", file=sys.stderr)
            try:
                result = measured(name, seed, Path(arguments.data).resolve(), folder)
            finally:
                log = Workspace(folder).test_log
                for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
                    read = json.dumps({"search": f"{name}, seed {seed}", "line": line})
                    files.append_line(RESULTS.with_name("main-job-reads.jsonl"), read)
            document = json.loads(RESULTS.read_text(encoding="utf-8"))
            now = configuration()
            others = document["searches"] if document["configuration"] == now else []
            others = [each for each in others if (each["case"], each["seed"]) != (name, seed)]
            places = [(case, number) for case, of in CASES.items() for number in of.seeds]
            searches = sorted([*others, result], key=lambda each: places.index((each["case"], each["seed"])))
            files.write_json(RESULTS, {"configuration": now, "searches": searches})
            size = result["winner"] and result["winner"]["parameters"]
            print(f"{name}, seed {seed}: {size}, {misses(result) or 'met'}")
    print(current())


if __name__ == "__main__":
    main()
