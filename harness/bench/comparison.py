"""A comparison: what is asked, every repeat's answers, and what the judge said of them; in memory and on disk.

``comparison.json`` says what was asked, ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of
every network that was an answer. The same command goes on with what is missing. Times of asking and dates are nowhere,
so the same seeds on a table give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from harness.bench.table import Machine
from harness.evidence.study import StudyConfig, config_document
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, document_of, documented, read_as
from harness.system.errors import ContentError

# The method that a search uses.
DEFAULT = "default"
_ASKED, _TRACES, _JUDGED = "comparison.json", "traces.jsonl", "judged.json"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """One task: the smallest network of a space that reaches a target, in a given time.

    Attributes:
        study: what a search is asked; runs may be looked at after its rungs, the last one is the recipe's last epoch.
        seconds: after which nobody trains any more. No method is told.
        networks: all that may be proposed, where a table lists them; else None.
    """

    study: StudyConfig
    seconds: float
    workers: int
    networks: tuple[str, ...] | None = None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The network that a method would return from a moment on; None in all fields where it would return none."""

    seconds: float
    hash: str | None
    architecture: WrittenNetwork | None
    parameters: int | None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat of one method.

    Attributes:
        seed: of the repeat, the same for all methods.
        answers: one a change, in order; before the first there is none.
        networks: proposed and trained; ``runs`` of them, fresh seeds included.
        rejected: proposals that were over the budget or known conditions.
        ended: seconds at which nothing more was done; the end of the task, unless the space was searched through.
    """

    method: str
    repeat: int
    seed: int
    answers: tuple[Answer, ...]
    networks: int
    runs: int
    rejected: int
    ended: float


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A method as it was asked for; ``command`` and ``source_sha256`` are of somebody's own."""

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
        table: its name; None for real trainings, and so are ``spread`` and ``table_sha256``, which is of its rows.
        spread: where runs get theirs: those of similar networks, or the network's own; ``replay`` explains both.
        seed: of the comparison; repeat i of every method has a seed made of it and i.
        code_sha256: of the code that decides a repeat; None in comparisons that are older than it.
        machine: of real trainings; ``judge_seeds``: fresh seeds that judge an answer of theirs.
    """

    task: SearchTask
    methods: tuple[Named, ...]
    repeats: int
    seed: int
    answer_seconds: float
    table: str | None = None
    table_sha256: str | None = None
    spread: Literal["pooled", "recorded"] | None = None
    judge_seeds: int | None = None
    code_sha256: str | None = None
    machine: Machine | None = None
    schema_version: Literal[1] = 1

    @property
    def document(self) -> dict[str, Any]:
        """What was asked as plain JSON values."""
        return asdict(self) | {"task": asdict(self.task) | {"study": config_document(self.task.study)}}


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the judge knows: mean validation accuracies at the last epoch of all answers, by hash.

    ``smallest`` is the size of the smallest network that reaches the target, of all that were looked at; None for none.
    """

    accuracies_pct: dict[str, float]
    smallest: int | None

    @classmethod
    def of(cls, accuracies_pct: dict[str, float], sizes: dict[str, int], target_pct: float) -> Judged:
        """Return what accuracies say of networks of these sizes, both by hash."""
        reaching = [size for key, size in sizes.items() if statistics.reaches(accuracies_pct[key], target_pct)]
        return cls(accuracies_pct=dict(sorted(accuracies_pct.items())), smallest=min(reaching, default=None))


# On disk ----------------------------------------------------------------------------------------------------


def begin(folder: Path, asked: Comparison) -> list[Trace]:
    """Write what is asked, or check that the same is asked of a folder that is there; return the traces it has."""
    path, kept = folder / _ASKED, folder / _TRACES
    if not path.exists():
        files.write_json(path, asked.document)
        return []
    there = read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    if there != asked:
        names = [item.name for item in fields(Comparison) if getattr(there, item.name) != getattr(asked, item.name)]
        raise ContentError(f"{folder} holds a comparison with another {', '.join(names)}; give --out another folder")
    # What a kill has torn has no end of line; it may well end with the brace of an answer.
    lines = kept.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if kept.exists() else []
    traces = [read_as(Trace, line, f"a line of {kept}") for line in lines if line.endswith("}")]
    # A torn line must not run into the next one.
    files.write_text(kept, "".join(f"{_line(trace)}\n" for trace in traces))
    return traces


def append_trace(folder: Path, trace: Trace) -> None:
    """Append a repeat that has ended."""
    files.append_line(folder / _TRACES, _line(trace))


def write_end(folder: Path, traces: Sequence[Trace], judged: Judged) -> None:
    """Write all repeats in their order, not that in which they ended, and what the judge said."""
    files.write_text(folder / _TRACES, "".join(f"{_line(trace)}\n" for trace in traces))
    files.write_json(folder / _JUDGED, asdict(judged))


def _line(trace: Trace) -> str:
    return json.dumps(document_of(trace), separators=(",", ":"), allow_nan=False)
