"""Faults at random moments of real small searches: what is lost, repeated and left over, and whether the answer holds.

    python -m benchmarks.chaos --plan
    python -m benchmarks.chaos --kinds coordinator,worker --count 200 --seed 0

Each search is disturbed several times, then left to its end, and compared with an undisturbed one. What has ended is
written at once to benchmarks/results/chaos.json, and as a table to docs/measurements.md; called again, the script goes
on until there are so many faults of each kind. Kinds that this machine cannot have are named and left out. It needs
Linux.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import accounts, chaos_results
from benchmarks.chaos_results import Measured, is_equal, next_number, struck, wrong_ends
from benchmarks.disturbed import disturbed
from benchmarks.fault_kind import Kind
from benchmarks.faults import KINDS
from benchmarks.machine import machine
from benchmarks.marked_block import marks, with_block
from benchmarks.small_search import SmallSearch, Stuck
from harness.system import files
from harness.system.errors import HarnessError, UsageError
from harness.training.result import code_version

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "measurements.md"
RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
MARKS = marks("faults", "benchmarks/chaos.py")
CHEAP, DEAR = 200, 20
# A search of which so many in a row have ended before a fault struck is too short for its faults.
MOST_VAIN = 5


def main() -> None:
    """Disturb searches until there are enough faults; leave with 1 where something was lost, repeated or left."""
    # Whoever ends this script ends its search, too; in the background a shell lets both ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    given = _given()
    try:
        kinds = chosen(given.kinds)
        if given.tables_only:
            write_table()
        elif given.plan:
            print(plan_text(kinds, given.count, given.seed))
        elif not _measure(kinds, given):
            sys.exit(1)
    except (HarnessError, Stuck) as error:
        print(f"chaos: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, HarnessError) else 1)
    except KeyboardInterrupt:
        print("chaos: interrupted; the same command goes on with what is missing", file=sys.stderr)
        sys.exit(130)


def chosen(names: list[str] | None) -> dict[str, Kind]:
    """Return the kinds of these names, all where none are given.

    Raises:
        UsageError: there is no kind of that name.
    """
    for name in names or ():
        if name not in KINDS:
            raise UsageError(f"unknown kind {name!r}; there are {', '.join(KINDS)}")
    return {name: kind for name, kind in KINDS.items() if names is None or name in names}


def wanted(kind: Kind, count: int | None) -> int:
    """Return how many faults of a kind are wanted."""
    return count if count is not None else DEAR if kind.minutes else CHEAP


def plan_text(kinds: Mapping[str, Kind], count: int | None, seed: int) -> str:
    """Return what would be run."""
    results = chaos_results.read(RESULTS)
    lines = []
    for name, kind in kinds.items():
        there, why_not = struck(results, name, seed), kind.why_not()
        lines.append(
            f"{name:<12} {there} of {wanted(kind, count)} faults: {kind.what}"
            + (f"; not on this machine: {why_not}" if why_not else "")
        )
    return "\n".join(lines)


def write_table() -> None:
    """Write the table into its page."""
    made = chaos_results.table(chaos_results.read(RESULTS), KINDS)
    files.write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), MARKS, made))


def measured(
    name: str,
    seed: int,
    number: int,
    faults: int,
    undisturbed: Mapping[str, Any],
    work_seconds: float,
    root: Path,
    command: str,
) -> Measured:
    """Run and disturb one search in a folder of its own below ``root``; return what came of it.

    Raises:
        Stuck: it does not go on.
    """
    kind, began, date = KINDS[name], time.monotonic(), datetime.now(UTC)
    place = Path(tempfile.mkdtemp(prefix=f"{name}-{seed}-{number}-", dir=root))
    found = disturbed(kind, place, random.Random(f"{name}/{seed}/{number}"), faults, work_seconds)
    commit, dirty = code_version.__wrapped__()
    return Measured(
        kind=name,
        seed=seed,
        number=number,
        faults=found.faults,
        lost=tuple(found.lost),
        repeated=tuple(found.repeated),
        read_again=tuple(found.read_again),
        leftovers=tuple(found.leftovers),
        wrong_ends=wrong_ends(kind, found, (place / "said.txt").read_text(errors="replace")),
        equal=is_equal(kind, found, undisturbed),
        seconds=round(time.monotonic() - began, 1),
        command=command,
        date_utc=date.isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
    )


def undisturbed_search(place: Path) -> tuple[dict[str, Any], float]:
    """Run a search that nothing disturbs; return its answer, and the seconds from its first line to its end.

    Raises:
        UsageError: it has no answer, or leaves something: then nothing can be compared with it.
    """
    search = SmallSearch(place, more=("--workers", "1"))
    search.start()
    search.wait_for((search.study / "log.jsonl").exists)
    began = time.monotonic()
    code = search.wait()
    seconds = time.monotonic() - began
    search.end()
    left = [*search.survivors, *accounts.leftovers(search.work, place / "tmp")]
    if code != 0 or left:
        raise UsageError(f"an undisturbed search ends with exit code {code} and leaves {left or 'nothing'}: {place}")
    return accounts.answer(search.work), seconds


def _measure(kinds: Mapping[str, Kind], given: argparse.Namespace) -> bool:
    """Disturb searches until there are enough faults of each kind; return whether all is well."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        root = given.root or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        undisturbed, seconds = undisturbed_search(Path(tempfile.mkdtemp(prefix="undisturbed-", dir=root)))
        print(f"an undisturbed search works for {seconds:.0f} s", file=sys.stderr)
        is_well = True
        for name, kind in kinds.items():
            if why_not := kind.why_not():
                print(f"{name}: not on this machine: {why_not}", file=sys.stderr)
                continue
            count, vain = wanted(kind, given.count), 0
            command = f"python -m benchmarks.chaos --kinds {name} --count {count} --seed {given.seed}"
            while (lacking := count - struck(results := chaos_results.read(RESULTS), name, given.seed)) > 0:
                number = next_number(results, name, given.seed)
                found = measured(
                    name, given.seed, number, min(lacking, kind.at_once), undisturbed, seconds, root, command
                )
                # Read again: another kind may have been measured meanwhile.
                results = chaos_results.read(RESULTS)
                chaos_results.write(RESULTS, replace(results, machine=machine(), searches=(*results.searches, found)))
                write_table()
                is_well = _said(found) and is_well
                vain = 0 if found.faults else vain + 1
                if not found.faults:
                    # The undisturbed search was slower: then moments fall behind the end.
                    seconds = min(seconds, found.seconds)
                if vain == MOST_VAIN:
                    raise UsageError(f"{vain} searches in a row ended before a fault of kind {name} struck")
        return is_well


def _said(found: Measured) -> bool:
    """Say what came of a search; return whether it is as it should be."""
    faulty = (*found.lost, *found.repeated, *found.leftovers, *found.wrong_ends)
    is_well = found.equal and not faulty
    said = "well" if is_well else "; ".join(faulty) or "another answer"
    print(f"{found.kind}, search {found.number}: {found.faults} faults in {found.seconds:.0f} s: {said}", flush=True)
    return is_well


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", type=lambda text: text.split(","), metavar="KIND[,KIND]", help=", ".join(KINDS))
    parser.add_argument(
        "--count", type=int, help=f"faults of each kind [default: {CHEAP}; {DEAR} where one takes minutes]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments [default: 0]")
    parser.add_argument("--plan", action="store_true", help="say what would be run; run nothing")
    parser.add_argument("--root", type=Path, help="where the searches' folders are made and kept")
    parser.add_argument("--tables-only", action="store_true", help="write the table again; run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
