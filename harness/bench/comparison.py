"""A comparison on disk: what was asked, every repeat's answers, and what the judge said of them.

``comparison.json`` says what was asked, ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of
every network that was an answer. The same command goes on with what is missing. Times of asking and dates are nowhere,
so the same seeds on a table give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from harness.bench.methods import NoiseModel, SearchTask
from harness.bench.scores import Trace
from harness.bench.table import Machine
from harness.system import files
from harness.system.document import document_of, documented, read_as
from harness.system.errors import ContentError
from harness.training.recipe import recipe_document

ASKED, TRACES, JUDGED = "comparison.json", "traces.jsonl", "judged.json"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A method as it was asked for.

    Attributes:
        command: of a program.
        source_sha256: of somebody's method, as far as its files are known; None for one that comes with the bench.
    """

    name: str
    says: str
    is_variant: bool
    command: tuple[str, ...] = ()
    source_sha256: str | None = None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was asked.

    Attributes:
        table: its name; None for real trainings.
        table_sha256: of its rows, so that another table of that name is another comparison.
        spread: where the difference between seeds comes from; None for real trainings.
        seed: of the comparison; repeat i of every method has a seed made of it and i.
        code_sha256: of the bench's own code, as far as it decides a repeat; None in comparisons that are older than it.
        machine: of real trainings; None on a table.
        judge_seeds: fresh seeds that judge an answer where there is no table.
    """

    task: SearchTask
    methods: tuple[Named, ...]
    repeats: int
    seed: int
    answer_seconds: float
    table: str | None = None
    table_sha256: str | None = None
    spread: NoiseModel | None = None
    judge_seeds: int | None = None
    code_sha256: str | None = None
    machine: Machine | None = None
    schema_version: Literal[1] = 1


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the judge knows.

    Attributes:
        accuracies_pct: mean validation accuracy at the last epoch of every network that was an answer, by hash.
        smallest: size of the smallest network that reaches the target, of all that were looked at; None for none.
    """

    accuracies_pct: dict[str, float]
    smallest: int | None


def begin(folder: Path, comparison: Comparison) -> list[Trace]:
    """Write what is asked, or check that the same is asked of a folder that is there; return the traces it has.

    Raises:
        UsageError: the folder cannot be written.
        ContentError: it holds another comparison, or something else.
    """
    path = folder / ASKED
    if not path.exists():
        files.write_json(path, document(comparison))
        return []
    there = read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    traces = read_traces(folder)
    if there != comparison:
        differs = ", ".join(
            item.name for item in fields(Comparison) if getattr(there, item.name) != getattr(comparison, item.name)
        )
        raise ContentError(
            f"{folder} holds a comparison with another {differs}", hint="give --out another folder, or remove this one"
        )
    if (folder / TRACES).exists():
        # A torn line must not run into the next one.
        write_traces(folder, traces)
    return traces


def document(comparison: Comparison) -> dict[str, object]:
    """Return what was asked as plain JSON values."""
    whole = asdict(comparison)
    whole["task"]["recipe"] = recipe_document(comparison.task.recipe)
    for method in whole["methods"]:
        if method["source_sha256"] is None:
            del method["source_sha256"]
    return whole


def read_traces(folder: Path) -> list[Trace]:
    """Read the repeats that have ended; a line that a kill has torn is passed over."""
    path = folder / TRACES
    if not path.exists():
        return []
    # What a kill has torn has no end of line; it may well end with the brace of an answer.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    whole = [line for line in lines if line.endswith("}")]
    return [read_as(Trace, line, f"a line of {path}") for line in whole]


def append_trace(folder: Path, trace: Trace) -> None:
    """Append a repeat that has ended."""
    files.append_line(folder / TRACES, _line(trace))


def write_traces(folder: Path, traces: Sequence[Trace]) -> None:
    """Write all repeats at once, in their order."""
    files.write_text(folder / TRACES, "".join(f"{_line(trace)}\n" for trace in traces))


def write_judged(folder: Path, judged: Judged) -> None:
    """Write what the judge said."""
    files.write_json(folder / JUDGED, asdict(judged))


def _line(trace: Trace) -> str:
    return json.dumps(document_of(trace), separators=(",", ":"), allow_nan=False)
