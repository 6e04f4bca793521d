"""What came of the searches that were disturbed: the file that keeps them, and the table for docs/measurements.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.disturbed import Disturbed
from benchmarks.fault_kind import Kind
from harness.system import files
from harness.system.document import documented, read_as
from harness.system.terminal import counted, duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One search that was disturbed.

    Attributes:
        number: of the search, from 0; with the seed it decides the moments.
        faults: how many struck.
        lost: what was finished before a fault and was not there, or another, afterwards.
        repeated: what was finished twice.
        read_again: seeds for which the test set was read twice.
        leftovers: processes, files and locks that were left when all had ended.
        wrong_ends: exit codes that the kind does not explain, and tracebacks.
        equal: the answer is that of an undisturbed search; to the bit where the kind is repeatable.
        seconds: of wall-clock.
        command: that measured it.
    """

    kind: str
    seed: int
    number: int
    faults: int
    lost: tuple[str, ...]
    repeated: tuple[str, ...]
    read_again: tuple[str, ...]
    leftovers: tuple[str, ...]
    wrong_ends: tuple[str, ...]
    equal: bool
    seconds: float
    command: str
    date_utc: str
    commit: str | None
    dirty: bool | None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All searches, in the order in which they were run; ``machine`` is the last one's."""

    machine: Mapping[str, Any]
    searches: tuple[Measured, ...]


def read(path: Path) -> Results:
    """Return what was measured; nothing where there is no file."""
    if not path.exists():
        return Results(machine={}, searches=())
    return read_as(Results, files.read_bytes(path), f"the results {path}")


def write(path: Path, results: Results) -> None:
    """Keep the results."""
    files.write_json(path, asdict(results))


def next_number(results: Results, kind: str, seed: int) -> int:
    """Return the number of the next search of a kind and a seed."""
    return 1 + max((each.number for each in _of(results, kind, seed)), default=-1)


def struck(results: Results, kind: str, seed: int) -> int:
    """Return how many faults of a kind there were with this seed."""
    return sum(each.faults for each in _of(results, kind, seed))


def is_equal(kind: Kind, found: Disturbed, undisturbed: Mapping[str, Any]) -> bool:
    """Return whether a disturbed search has the answer of an undisturbed one.

    Where the order of events depends on the fault, the answer is that there is one, and that it is verified.
    """
    if found.codes[-1:] != [0]:
        return False
    if kind.is_repeatable:
        return found.answer == undisturbed
    return bool(found.answer["winner"]) and bool(found.answer["seeds"])


def wrong_ends(kind: Kind, found: Disturbed, said: str) -> tuple[str, ...]:
    """Return the exit codes that a kind does not explain, and the tracebacks that were printed."""
    codes = [f"exit code {code}" for code in found.codes[:-1] if code not in kind.ends]
    codes += [f"exit code {code} at the end" for code in found.codes[-1:] if code != 0]
    return (*codes, *(f"a traceback: {error}" for error in _tracebacks(said)))


def _tracebacks(said: str) -> list[str]:
    """Return the last line of each traceback: the error."""
    _, *rest = said.split("Traceback (most recent call last):\n")
    return [next((line for line in each.splitlines() if not line.startswith(" ")), "cut short") for each in rest]


def table(results: Results, kinds: Mapping[str, Kind]) -> str:
    """Return the table of all kinds as Markdown."""
    head = "| fault | faults | searches | lost | repeated | left over | wrong ends | equal answers | took |\n"
    rule = "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    return (
        head
        + rule
        + "".join(_row(name, kind, _searches(results, name)) for name, kind in kinds.items())
        + "\n"
        + (_facts(results))
    )


def _row(name: str, kind: Kind, searches: Sequence[Measured]) -> str:
    if not searches:
        return f"| {kind.what} (`{name}`) | 0 | 0 | | | | | not measured | |\n"
    lost, repeated, left, wrong = (
        sum(len(getattr(each, field)) for each in searches) for field in ("lost", "repeated", "leftovers", "wrong_ends")
    )
    equal = sum(each.equal for each in searches)
    how = "" if kind.is_repeatable else " (by verdict)"
    numbers = f"{sum(each.faults for each in searches)} | {len(searches)} | {lost} | {repeated} | {left} | {wrong}"
    took = duration_text(sum(each.seconds for each in searches))
    return f"| {kind.what} (`{name}`) | {numbers} | {equal} of {len(searches)}{how} | {took} |\n"


def _facts(results: Results) -> str:
    """Return the lines below the table: what it was measured with, and what was read again."""
    if not results.searches:
        return "Nothing has been measured yet.\n"
    again = sum(len(each.read_again) for each in results.searches)
    commits = sorted(
        {(each.commit or "unknown")[:10] + " with changes" * bool(each.dirty) for each in results.searches}
    )
    machine = results.machine
    lines = [
        f"Test images were read again for {again} seeds, whose worker or coordinator fell before the result was on "
        "the disk; `test_reads.jsonl` has a line for each time.",
        f"Measured on {machine['processor']}, {counted(machine['cores'], 'core')}, with commit {', '.join(commits)}.",
    ]
    return "\n\n".join(lines) + "\n"


def _searches(results: Results, kind: str) -> list[Measured]:
    return [each for each in results.searches if each.kind == kind]


def _of(results: Results, kind: str, seed: int) -> list[Measured]:
    return [each for each in _searches(results, kind) if each.seed == seed]
