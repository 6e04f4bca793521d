"""How dependable the main job is: searches from a cold start, one after the other, and what each must show.

    python -m benchmarks.main_job --plan
    python -m benchmarks.main_job --data FOLDER

Each search is ``harness search`` with its defaults in a workspace of its own. What has ended is written at once to
benchmarks/results/main-job.json, and as a table to docs/measurements.md; its reads of the test set are appended
to benchmarks/results/main-job-reads.jsonl. Called again, the script goes on with what is missing, and with what rests
on other defaults than those of the present code. Misses stay in the file. Nothing else should run meanwhile: a search
that gets less than 90 % of its cores stays in the file as disturbed, and is run again.

Searches without the prior, and with a sampler that takes turns with the model, are run when they are named: what these
parts are worth is the difference to the cold searches of the same seeds.

A machine whose cores are much faster than those that the figures are meant for is halved: a search has one core.
Only the case full-speed has all of them; it shows what the same search does on a machine twice as fast.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import main_job_results
from benchmarks.cold_search import Setting, command_of, run
from benchmarks.machine import machine
from benchmarks.main_job_results import (
    Case,
    MeasuredSearch,
    configuration_key,
    is_disturbed,
    missing,
    tidied,
    verdict,
    with_search,
)
from benchmarks.main_job_tables import beside, summary
from benchmarks.marked_block import marks, with_block
from benchmarks.roofline import limits
from benchmarks.search_defaults import DATASET, defaults
from harness.data.training_images import resolve
from harness.search.proposals.trainings import shipped
from harness.system import files
from harness.system.errors import DeviceError, HarnessError, UsageError, typed
from harness.system.files import Workspace
from harness.system.terminal import DURATION, duration_text
from harness.training.native.native import EngineUnavailable
from harness.training.result import code_version

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "measurements.md"
RESULTS = ROOT / "benchmarks" / "results" / "main-job.json"
READS = "main-job-reads.jsonl"
MARKS = marks("main job", "benchmarks/main_job.py")

# None of these seeds was searched with before; the prior has learned from searches with seeds up to 68.
CASES: dict[str, Case] = {
    "10m": Case(options=("--time", "10m"), seeds=(70, 71, 72, 73, 74, 75, 76, 77), most_parameters=8_000),
    "20m": Case(options=("--time", "20m"), seeds=(78, 79, 80, 81), most_parameters=5_000),
    "57m": Case(options=("--time", "57m"), seeds=(82, 83, 84), most_parameters=3_000, goal_parameters=2_000),
    "one-worker": Case(options=("--workers", "1", "--time", "20m"), seeds=(85,)),
    "beside-work": Case(options=("--time", "20m"), seeds=(86,), busy=1),
    "budget-3000": Case(options=("--budget", "3000", "--time", "57m"), seeds=(87,)),
    "target-99": Case(options=("--target", "99", "--time", "10m"), seeds=(88,)),
}
# Compared with the first case, seed by seed and on one kind of machine; they need show nothing.
COMPARED: dict[str, Case] = {
    "no-prior": Case(options=("--prior", "none", "--time", "10m"), seeds=(71, 72, 73)),
    "evolution": Case(options=("--sampler", "evolution", "--time", "10m"), seeds=(71, 72, 73)),
    "full-speed": Case(options=("--time", "10m"), seeds=(71,), full_speed=True),
}
# The searches are meant for cores of some 130 GFLOP/s; one of twice that is shared by two workers.
FAST_GFLOPS = 150.0


def main() -> None:
    """Run what is missing; leave with the exit code of what went wrong."""
    # Whoever ends this script ends its search, too; in the background a shell lets both ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    given = _given()
    try:
        if given.tables_only:
            _write_tables()
        elif given.plan:
            print(plan_text(missing(main_job_results.read(RESULTS), chosen(given.cases, given.seeds), defaults())))
        else:
            _measure(given)
    except EngineUnavailable as error:
        print(f"main_job: the peak of this machine cannot be measured: {error}", file=sys.stderr)
        sys.exit(DeviceError.exit_code)
    except HarnessError as error:
        print(f"main_job: {error.message}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("main_job: interrupted; the same command goes on with what is missing", file=sys.stderr)
        sys.exit(130)


def chosen(names: Sequence[str] | None, seeds: Sequence[int] | None) -> dict[str, Case]:
    """Return the cases of these names with those of their seeds that are among these; None takes all of the main job.

    Raises:
        UsageError: there is no case of that name, or nothing is left.
    """
    every = CASES | COMPARED
    for name in names or ():
        if name not in every:
            raise UsageError(f"unknown case {name!r}; there are {', '.join(every)}")
    found = CASES if names is None else {name: case for name, case in every.items() if name in names}
    if seeds is not None:
        found = {name: replace(case, seeds=tuple(s for s in case.seeds if s in seeds)) for name, case in found.items()}
    if not any(case.seeds for case in found.values()):
        raise UsageError(f"none of the cases {', '.join(found)} has a seed of {', '.join(map(str, seeds or ()))}")
    return found


def plan_text(waiting: list[tuple[str, int]]) -> str:
    """Return what would be run and how long it takes at most."""
    every = CASES | COMPARED
    total = sum(_seconds(every[name].options) for name, _ in waiting)
    lines = [
        f"{name:<12} {typed('search', *every[name].options, '--seed', str(seed))}" + beside(every[name])
        for name, seed in waiting
    ]
    return "\n".join([*lines, f"{len(waiting)} searches, {duration_text(total)} at most"])


def setting_of(case: Case, data: Path | None, *, half_speed: bool) -> Setting:
    """Return what a search of this case is run with.

    At half the speed a single worker would have its core to itself, so another process shares it.
    """
    half_speed = half_speed and not case.full_speed
    shares = half_speed and _value(case.options, "--workers") == "1"
    return Setting(data=data, half_speed=half_speed, busy=case.busy + shares)


def current() -> str:
    """Return the table that docs/measurements.md should hold."""
    results = tidied(main_job_results.read(RESULTS), CASES | COMPARED)
    known = frozenset(each.architecture.hash for each in shipped(DATASET))
    return summary(results, CASES, known)


def _measure(given: argparse.Namespace) -> None:
    """Run the searches that are missing, one after the other."""
    cases, configuration = chosen(given.cases, given.seeds), defaults()
    waiting = missing(main_job_results.read(RESULTS), cases, configuration)
    if not waiting:
        print("nothing is missing", file=sys.stderr)
        return
    data = None if given.data is None else Path(given.data).resolve()
    if any("--dataset" not in cases[name].options for name, _ in waiting):
        # A search would go on with fewer images where there is no MNIST, and show nothing.
        resolve(DATASET, data)
    # The best of several: what else runs for a moment makes a fast core look slow.
    facts, peak = machine(), max(limits()[0] for _ in range(3))
    print(f"{peak:.0f} GFLOP/s a core{', searches at half speed' if peak > FAST_GFLOPS else ''}", file=sys.stderr)
    with ExitStack() as stack:
        root = given.root or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="main-job-")))
        root.mkdir(parents=True, exist_ok=True)
        for name, seed in waiting:
            if defaults() != configuration:
                raise UsageError("the code has changed since this began, so the searches would be of two kinds")
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-{seed}-", dir=root))
            setting = setting_of(cases[name], data, half_speed=peak > FAST_GFLOPS)
            arguments = tuple(command_of(cases[name].options, seed, setting))
            print(f"{' '.join(arguments)} in {folder}", file=sys.stderr)
            date, (commit, dirty) = datetime.now(UTC), code_version.__wrapped__()
            try:
                outcome = run(arguments, setting, folder)
            finally:
                _keep_reads(folder, f"{name}, seed {seed}")
            found = MeasuredSearch(
                case=name,
                seed=seed,
                options=cases[name].options,
                arguments=arguments,
                date_utc=date.isoformat(timespec="seconds"),
                machine=facts | {"commit": commit, "dirty": dirty},
                peak_gflops=round(peak, 1),
                half_speed=setting.half_speed,
                busy=setting.busy,
                configuration=configuration_key(configuration),
                outcome=outcome,
                verdict=verdict(cases[name], outcome),
            )
            _keep(found, configuration)
            if outcome.exit_code not in (0, 3):
                print((folder / "stderr.txt").read_text(errors="replace")[-2000:], file=sys.stderr)


def _keep_reads(folder: Path, search: str) -> None:
    """Append what a search has read of the test set to the file of all such reads, beside the results."""
    log = Workspace(folder).test_log
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        # What a kill has cut is kept as it is: it stands for a read, too.
        files.append_line(RESULTS.with_name(READS), json.dumps({"search": search, "line": line}))


def _keep(search: MeasuredSearch, configuration: dict[str, Any]) -> None:
    """Write a search that has ended to the file and the tables, and say what came of it."""
    results = with_search(main_job_results.read(RESULTS), search, configuration)
    main_job_results.write(RESULTS, tidied(results, CASES | COMPARED))
    _write_tables()
    winner, judged = search.outcome.winner, search.verdict
    found = "no winner" if winner is None else f"{winner.parameters:,} parameters"
    said = "met" if judged.met else f"missed: {', '.join(judged.missed)}"
    if is_disturbed(search):
        said += (
            f"; other programs took {1 - (search.outcome.processor_share or 0):.0%} of its cores, so it does not count"
        )
    print(f"{search.case}, seed {search.seed}: {found}, {said}", flush=True)


def _write_tables() -> None:
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, current()))


def _seconds(options: Sequence[str]) -> float:
    """Return the time that a case gives its searches."""
    return float(DURATION.convert(_value(options, "--time"), None, None))


def _value(options: Sequence[str], name: str) -> str | None:
    return options[options.index(name) + 1] if name in options else None


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"), help="folder of the images")
    parser.add_argument(
        "--cases", type=lambda text: text.split(","), metavar="NAME[,NAME]", help=", ".join(CASES | COMPARED)
    )
    parser.add_argument("--seeds", type=numbers, metavar="N[,N]", help="of the cases' own, only these")
    parser.add_argument("--plan", action="store_true", help="say what would be run; run nothing")
    parser.add_argument("--root", type=Path, help="where the searches' folders are made and kept")
    parser.add_argument("--tables-only", action="store_true", help="write the table again; run nothing")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Return numbers that commas separate."""
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
