"""A comparison on disk: what was asked, every repeat's answers, and what the judge said of them.

``comparison.json`` says what was asked, ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of
every network that was an answer. The same command goes on with what is missing. Times of asking and dates are nowhere,
so the same seeds on a table give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Literal

from harness.bench.scores import Trace
from harness.bench.table import Machine
from harness.evidence.study import StudyConfig
from harness.system import files
from harness.system.document import document_of, documented, read_as
from harness.system.errors import ContentError
from harness.training.recipe import Recipe, recipe_document

_ASKED, TRACES, JUDGED = "comparison.json", "traces.jsonl", "judged.json"


class NoiseModel(StrEnum):
    """The runs of similar networks, or the network's own; ``readings`` explains both."""

    POOLED = "pooled"
    RECORDED = "recorded"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """One task: the smallest network of a space that reaches a target, in a given time.

    Attributes:
        space: the whole definition, in the language of spaces; ``space_name`` is for people.
        budget: most parameters of a network.
        target_pct: validation accuracy at the last epoch that a network must reach.
        rungs: epochs at which a run may be looked at, ascending; the last one is the recipe's last.
        seconds: after which nobody trains any more. No method is told.
        workers: trainings side by side.
        networks: all that may be proposed, where a table lists them; else None.
    """

    dataset: str
    data_hash: str
    space: str
    space_name: str
    recipe: Recipe
    recipe_name: str
    rungs: tuple[int, ...]
    budget: int
    target_pct: float
    seconds: float
    workers: int
    networks: tuple[str, ...] | None = None


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, the same for all methods; ``seed`` is the comparison's."""
    # 31 bits suit every generator that a method may use.
    return int.from_bytes(hashlib.sha256(f"bench|{seed}|{repeat}".encode()).digest()[:4], "big") >> 1


def study_config(task: SearchTask, sampler: str, rungs: tuple[int, ...], seed: int) -> StudyConfig:
    """Return the task as the configuration of a search, which must not stop at other epochs than the task's rungs."""
    assert set(rungs) <= set(task.rungs), "a method stops only where the task is looked at"
    return StudyConfig(
        dataset=task.dataset,
        data_hash=task.data_hash,
        budget=task.budget,
        target_pct=task.target_pct,
        threshold_pct=task.target_pct,
        space=task.space_name,
        space_text=task.space,
        sampler=sampler,
        recipe=task.recipe,
        recipe_name=task.recipe_name,
        rungs=rungs,
        seed=seed,
    )


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
    """Write what is asked, or check that the same is asked of a folder that is there; return the traces it has."""
    path = folder / _ASKED
    if not path.exists():
        files.write_json(path, document(comparison))
        return []
    there = read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    traces = _read_traces(folder)
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


def _read_traces(folder: Path) -> list[Trace]:
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
