"""A comparison on disk: what was asked, every repeat's answers, and what the judge said of them.

``comparison.json`` changes only where a method that has no repeat yet was mended; the same command goes on with what is
missing. ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of every network that was an answer.
Times of asking and dates are nowhere, so the same seeds on a table give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from harness.bench.methods.task import NoiseModel, SearchTask
from harness.bench.results.findings import Findings, findings
from harness.bench.results.sizes import Judge
from harness.bench.results.trace import Trace
from harness.bench.tables.table import Machine
from harness.system import files
from harness.system.document import document_of, documented, read_as
from harness.system.errors import ContentError, reason
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
    there = read_comparison(folder)
    traces = read_traces(folder)
    if there != comparison and _only_mended(there, comparison, traces):
        files.write_json(path, document(comparison))
    elif there != comparison:
        raise ContentError(
            f"{folder} holds {_other(there, comparison)}; a folder holds one",
            hint="give --out another folder, or remove this one",
        )
    if (folder / TRACES).exists():
        # A torn line must not run into the next one.
        write_traces(folder, traces)
    return traces


def _only_mended(there: Comparison, asked: Comparison, traces: Sequence[Trace]) -> bool:
    """Return whether all that has changed are methods of which there is no repeat: one that failed and was mended."""
    if asked.machine is not None:
        # Live trainings of a repeat that has not ended lie in the folder too.
        return False
    begun = {trace.method for trace in traces}
    mended = tuple(
        replace(theirs, source_sha256=ours.source_sha256) if theirs.name not in begun else theirs
        for theirs, ours in zip(there.methods, asked.methods, strict=False)
    )
    return replace(there, methods=mended) == asked


def _other(there: Comparison, asked: Comparison) -> str:
    """Return which other comparison it is that is there."""
    for theirs, ours in zip(there.methods, asked.methods, strict=False):
        if theirs != ours == replace(theirs, source_sha256=ours.source_sha256):
            return f"a comparison of another state of the method {ours.name!r}, whose files have changed since"
    if asked == replace(there, code_sha256=asked.code_sha256):
        return "a comparison by another state of the harness, whose code or libraries have changed since"
    if asked == replace(there, machine=asked.machine):
        return "a comparison of another machine, engine or version of torch"
    return "another comparison"


def document(comparison: Comparison) -> dict[str, object]:
    """Return what was asked as plain JSON values."""
    whole = asdict(comparison)
    whole["task"]["recipe"] = recipe_document(comparison.task.recipe)
    for method in whole["methods"]:
        if method["source_sha256"] is None:
            del method["source_sha256"]
    return whole


def read_comparison(folder: Path) -> Comparison:
    """Read what was asked.

    Raises:
        ContentError: it is not there, or is not what this program writes.
    """
    path = folder / ASKED
    try:
        return read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    except OSError as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from error


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


def found(comparison: Comparison, traces: Sequence[Trace], judged: Judged) -> Findings:
    """Return what the repeats of a comparison show."""
    task = comparison.task
    judge = Judge(
        judged.accuracies_pct, task.target_pct, task.budget, math.inf if judged.smallest is None else judged.smallest
    )
    return findings(
        traces,
        {method.name: method.says for method in comparison.methods},
        frozenset(method.name for method in comparison.methods if method.is_variant),
        task.seconds,
        judge,
    )


def _line(trace: Trace) -> str:
    return json.dumps(document_of(trace), separators=(",", ":"), allow_nan=False)
