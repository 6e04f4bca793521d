"""Inject faults into small real searches at random times; count lost, repeated and leftover items, compare answers.

    python -m measurements.chaos --kinds coordinator,worker --count 200 --seed 0
    python -m measurements.chaos --table

Each search gets several faults, runs to its end and is compared with an undisturbed search. The results of a kind of
fault replace the earlier results of this kind in measurements/results/chaos.json. The table for
docs/evidence/measurements.md is printed. Kinds that are not possible on this machine are reported and skipped.
Requires Linux.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.system import files
from harness.system.terminal import duration_text
from harness.training.result import code_version
from measurements import accounts
from measurements.cluster_faults import KINDS as CLUSTER_KINDS
from measurements.faults import KINDS as LOCAL_KINDS
from measurements.faults import Kind
from measurements.machine_facts import machine
from measurements.small_search import SmallSearch

RESULTS = Path(__file__).resolve().parent / "results" / "chaos.json"
KINDS = LOCAL_KINDS | CLUSTER_KINDS
FAULTS = 200  # default number of faults per kind
SLOW_FAULTS = 20  # default number of faults of a kind that takes minutes per fault
MAX_WITHOUT_FAULT = 5  # consecutive searches that end before their first fault, after which the script gives up
SPREAD_SECONDS = 1.0  # longest delay after the end of a run, for faults that do not end the session


def disturbed(kind: Kind, folder: Path, rng: random.Random, faults: int, work_seconds: float) -> dict[str, Any]:
    """Run a search with faults to its end and return counts and answer; files are compared around each fault.

    Args:
        kind: Kind of fault.
        folder: Empty folder for the search.
        rng: Random numbers for the times of the faults.
        faults: Largest number of faults.
        work_seconds: Duration of an undisturbed search, from the first line of the log to the end.
    """
    count = 0
    lost: list[str] = []
    with kind.around(folder) as surroundings:
        search = SmallSearch(folder, more=surroundings.options)
        search.start()
        try:
            while count < faults and _moment_comes(kind, search, rng, work_seconds):
                before = accounts.snapshot_of(search.work)
                kind.strike(search, rng, surroundings)
                count += 1
                lost += accounts.lost(before, accounts.snapshot_of(search.work))
            search.wait()
        finally:
            search.end()
        after = accounts.snapshot_of(search.work)
        return {
            "faults": count,
            "lost": [*lost, *surroundings.lacks(search)],
            "repeated": accounts.repeated(after),
            "read_again": accounts.read_again(after),
            "leftovers": [*search.survivors, *surroundings.left(), *accounts.leftovers(search.work, folder / "tmp")],
            "codes": search.codes,
            "answer": accounts.answer(search.work),
        }


def _moment_comes(kind: Kind, search: SmallSearch, rng: random.Random, work_seconds: float) -> bool:
    """Wait until a random time of the session, or after the end of a run; return False if the search ends before."""

    def log() -> bytes:
        path = search.study / "log.jsonl"
        return path.read_bytes() if path.exists() else b""

    def ended() -> int:
        return log().count(b'"event": "finished"') + len(accounts.snapshot_of(search.work).seeds)

    def begun() -> bool:
        is_verifying = next(search.work.glob("runs/.verify-*"), None) is not None
        return is_verifying or log().count(b'"event": "session"') > len(search.codes)

    before = ended()
    spread = work_seconds if kind.each_session else SPREAD_SECONDS
    has_come = search.wait_for(begun if kind.each_session else lambda: ended() > before)
    until = time.monotonic() + rng.uniform(0, spread)
    return has_come and search.wait_for(lambda: time.monotonic() > until)


def undisturbed_search(folder: Path) -> tuple[dict[str, Any], float]:
    """Run a search without faults; return the answer, and the seconds from the first line of the log to the end."""
    search = SmallSearch(folder, more=("--workers", "1"))
    search.start()
    search.wait_for((search.study / "log.jsonl").exists)
    began = time.monotonic()
    code = search.wait()
    seconds = time.monotonic() - began
    search.end()
    left = [*search.survivors, *accounts.leftovers(search.work, folder / "tmp")]
    if code != 0 or left:
        raise SystemExit(f"an undisturbed search ends with exit code {code} and leaves {left or 'nothing'}: {folder}")
    return accounts.answer(search.work), seconds


def is_equal(kind: Kind, result: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> bool:
    """Return whether the search ended with exit code 0 and the undisturbed answer.

    If the answer is not repeatable with this kind of fault, any verified answer suffices.
    """
    answer = result["answer"]
    is_same = answer == undisturbed if kind.is_repeatable else bool(answer["winner"] and answer["seeds"])
    return result["codes"][-1:] == [0] and is_same


def wrong_ends(kind: Kind, codes: Sequence[int], messages: str) -> list[str]:
    """Return the unexpected exit codes for a kind of fault, and the errors of printed tracebacks."""
    wrong = [f"exit code {code}" for code in codes[:-1] if code not in kind.ends]
    wrong += [f"exit code {code} at the end" for code in codes[-1:] if code != 0]
    for traceback in messages.split("Traceback (most recent call last):\n")[1:]:
        error = next((line for line in traceback.splitlines() if not line.startswith(" ")), "cut short")
        wrong.append(f"a traceback: {error}")
    return wrong


def table(document: Mapping[str, Any]) -> str:
    """Return the results of all kinds as a Markdown table."""
    text = "| fault | faults | searches | lost | repeated | left over | wrong ends | equal answers | took |\n"
    text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    for name, kind in KINDS.items():
        searches = [each for each in document["searches"] if each["kind"] == name]
        cells = [f"{kind.what} (`{name}`)", str(sum(each["faults"] for each in searches)), str(len(searches))]
        for field in ("lost", "repeated", "leftovers", "wrong_ends"):
            cells.append(str(sum(len(each[field]) for each in searches)))
        manner = "" if kind.is_repeatable else " (by verdict)"
        cells.append(f"{sum(each['equal'] for each in searches)} of {len(searches)}{manner}")
        cells.append(duration_text(sum(each["seconds"] for each in searches)))
        text += f"| {' | '.join(cells)} |\n"
    again = sum(len(each["read_again"]) for each in document["searches"])
    suffixes = {True: " with changes", False: ""}
    commits = sorted({each["commit"][:10] + suffixes[each["dirty"]] for each in document["searches"]})
    facts = document["machine"]
    return (
        f"{text}\nTest images were read again for {again} seeds, whose worker or coordinator was killed before the "
        "result was on the disk; `test_reads.jsonl` has a line for each time.\n\n"
        f"Measured on {facts['processor']}, {facts['cores']} cores, with commit {', '.join(commits)}.\n"
    )


def main() -> None:
    """Run searches until there are enough faults; exit with 1 if items were lost, repeated or left over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="KIND[,KIND]", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, help=f"faults of each kind [{FAULTS}; {SLOW_FAULTS} if slow]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [default: 0]")
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()), help="where the folders are made")
    parser.add_argument("--table", action="store_true", help="print the table; run nothing")
    arguments = parser.parse_args()
    is_well = arguments.table or _measure(arguments)
    print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
    sys.exit(0 if is_well else 1)


def _measure(arguments: argparse.Namespace) -> bool:
    """Run the searches, write the results after each, and return whether all went well."""
    is_well = True
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir=arguments.root))
    undisturbed, seconds = undisturbed_search(root / "undisturbed")
    for name in arguments.kinds.split(","):
        kind = KINDS[name]
        if why_not := kind.why_not():
            print(f"{name}: not on this machine: {why_not}", file=sys.stderr)
            continue
        faults_left = arguments.count or (SLOW_FAULTS if kind.minutes else FAULTS)
        searches: list[dict[str, Any]] = []
        without_fault = 0
        spread = seconds
        while faults_left > 0:
            number = len(searches)
            date = datetime.now(UTC)
            began = time.monotonic()
            folder = root / f"{name}-{arguments.seed}-{number}"
            rng = random.Random(f"{name}/{arguments.seed}/{number}")
            result = disturbed(kind, folder, rng, min(faults_left, kind.at_once), spread)
            took = time.monotonic() - began
            commit, dirty = code_version.__wrapped__()
            messages = (folder / "said.txt").read_text(errors="replace")
            ends = wrong_ends(kind, result["codes"], messages)
            equal = is_equal(kind, result, undisturbed)
            # Judged above; the file has the judgements only.
            del result["codes"], result["answer"]
            facts = {"wrong_ends": ends, "equal": equal, "seconds": round(took, 1), "commit": commit, "dirty": dirty}
            facts["date_utc"] = date.isoformat(timespec="seconds")
            searches.append({"kind": name, "seed": arguments.seed, "number": number, **result, **facts})
            # Read the file again: a parallel process may have written a different kind.
            others = [each for each in json.loads(RESULTS.read_bytes())["searches"] if each["kind"] != name]
            files.write_json(RESULTS, {"machine": machine(), "searches": [*others, *searches]})
            faulty = [*result["lost"], *result["repeated"], *result["leftovers"], *ends]
            is_well = is_well and equal and not faulty
            verdict = faulty or ("well" if equal else "not equal")
            print(f"{name}, search {number}: {result['faults']} faults: {verdict}")
            faults_left -= result["faults"]
            without_fault = 0 if result["faults"] else without_fault + 1
            if without_fault:
                # This search was faster than the undisturbed search: draw earlier times, before the end.
                spread = min(spread, took)
            if without_fault == MAX_WITHOUT_FAULT:
                raise SystemExit(f"{without_fault} searches in a row ended before a fault of kind {name} struck")
    return is_well


if __name__ == "__main__":
    main()
