"""A comparison: what is asked, every repeat's answers, and what the judge said of them; in memory and on disk.

``comparison.json`` says what was asked, ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of
every network that was an answer. The same command goes on with what is missing. Times of asking and dates are nowhere,
so the same seeds on a table give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from harness.bench.table import Machine, Table
from harness.data.training_images import load
from harness.evidence.study import StudyConfig, config_document
from harness.search import race
from harness.search.clock import Effort
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, document_of, documented, read_as
from harness.system.errors import ContentError
from harness.system.machine import choose_device
from harness.training.executor import Limits
from harness.training.native.native import choose_engine
from harness.training.recipe import check_batch, named_recipe
from search_spaces.catalog import space as space_of
from search_spaces.notation import parse_space

# The method that a search uses.
DEFAULT = "default"
_ASKED, _TRACES, _JUDGED = "comparison.json", "traces.jsonl", "judged.json"
# What a table's task is where nobody says: a target that a quarter of the networks reach, and the time in which an
# eighth of them could be trained. Methods differ while the smallest are hard to find and cannot all be tried.
_REACHING = 0.25
_TRAINED = 1 / 8


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """One task: the smallest network of a space that reaches a target, in a given time.

    Attributes:
        study: what a search is asked; runs may be looked at after its rungs, the last one is the recipe's last epoch.
        seconds: after which nobody trains any more. No method is told.
        workers: trainings side by side.
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
        table: its name; None for real trainings, and so are ``spread`` and ``table_sha256``.
        table_sha256: of its rows, so that another table of that name is another comparison.
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
    """What the judge knows.

    Attributes:
        accuracies_pct: mean validation accuracy at the last epoch of every network that was an answer, by hash.
        smallest: size of the smallest network that reaches the target, of all that were looked at; None for none.
    """

    accuracies_pct: dict[str, float]
    smallest: int | None

    @classmethod
    def of(cls, accuracies_pct: dict[str, float], sizes: dict[str, int], target_pct: float) -> Judged:
        """Return what accuracies say of networks of these sizes, both by hash."""
        reaching = [size for key, size in sizes.items() if statistics.reaches(accuracies_pct[key], target_pct)]
        return cls(accuracies_pct=dict(sorted(accuracies_pct.items())), smallest=min(reaching, default=None))


# What is asked ----------------------------------------------------------------------------------------------


def prepared(given: dict[str, Any], table: Table | None) -> tuple[Comparison, Effort | None]:
    """Return the comparison that the options ask for, of no methods yet, and how its trainings run; None on the simulated clock.

    Raises:
        ContentError: methods may propose what the table does not hold, or its data are not those that are here.
    """
    effort = machine = None
    if given["live"]:
        data = load(table.facts.dataset if table else given["dataset"], given["folder"])
        if table is not None and data.data_hash != table.facts.data_hash:
            raise ContentError(f"the data in {data.source} are not those of the table {table.facts.name!r}")
        task = _table_task(table, given) if table else _asked(given, data.data_hash)
        check_batch(task.study.recipe, data.dataset.train_size)
        device = choose_device(given["device"])
        engine = choose_engine(given["engine"], task.study.recipe, device, parse_space(task.study.space_text).op_types)
        effort = Effort(
            seconds=None, trials=None, workers=task.workers, device=str(device), limits=Limits(), engine=engine.kind
        )
        trainer = engine.engine.name if engine.engine else engine.kind
        machine = Machine.here(device, data.data_hash, trainer, task.workers)
        table = None
    else:
        assert table is not None, "without --live there is a table"
        task = _table_task(table, given)
        limits = [sample.budget for sample in table.facts.samples if sample.bands == 0]
        if not limits:
            raise ContentError(f"the table {table.facts.name!r} is a sample of its space, which only --live can search")
        if None not in limits and task.study.budget > (most := max(limit or 0 for limit in limits)):
            raise ContentError(f"the table {table.facts.name!r} holds the networks of at most {most:,} parameters only")
    root = Path(__file__).resolve().parents[2]
    code = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "scipy")).encode())
    for path in sorted([*root.glob("search_spaces/**/*"), *root.glob("harness/**/*")]):
        if path.suffix in (".py", ".lark", ".cpp", ".h", ".json"):
            code.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    comparison = Comparison(
        task=task,
        methods=(),
        repeats=given["repeats"],
        seed=given["seed"],
        answer_seconds=given["answer_seconds"],
        table=table.facts.name if table else None,
        table_sha256=hashlib.sha256(table.content).hexdigest() if table else None,
        spread=given["spread"] if table else None,
        judge_seeds=None if table else given["judge_seeds"],
        code_sha256=code.hexdigest(),
        machine=machine,
    )
    return comparison, effort


def _table_task(table: Table, given: dict[str, Any]) -> SearchTask:
    """Return the task on a table; what the options leave open is chosen from the table."""
    facts, budget = table.facts, given["budget"] or max(table.sizes.values())
    truth = {key: value for key, value in table.true_accuracies_pct.items() if table.sizes[key] <= budget}
    if not truth:
        raise ContentError(f"the table {facts.name!r} has no network of at most {budget:,} parameters")
    wholes = [row.seconds for row in table.rows if row.rung == facts.rungs[-1]]
    share = statistics.mean(wholes) * len(table.runs) * _TRAINED / given["workers"]
    # A share that rounds to nothing is left as it is.
    seconds = given["seconds"] or round(share, 1) or share
    if not seconds:
        raise ContentError(f"the trainings of the table {facts.name!r} took no time; give --time")
    target = given["target"]
    if target is None:
        target = round(sorted(truth.values(), reverse=True)[int(_REACHING * (len(truth) - 1))], 2)
    # A sample is not replayed, and real trainings are not bound to it.
    listed = tuple({row.architecture: None for row in table.rows if row.hash in truth}) if facts.is_exhaustive else None
    study = facts.config(budget, target)
    return SearchTask(study=study, seconds=seconds, workers=given["workers"], networks=listed)


def _asked(given: dict[str, Any], data_hash: str) -> SearchTask:
    recipe, space, target = named_recipe(given["recipe"]), space_of(given["space"]), given["target"]
    epochs = recipe.recipe.epochs
    # Halving stops wherever epochs double, as they do in a table.
    doubled = [2**power for power in range(epochs.bit_length()) if 2**power < epochs]
    study = StudyConfig(
        dataset=given["dataset"],
        data_hash=data_hash,
        budget=given["budget"] or 20_000,
        target_pct=target,
        threshold_pct=target,
        space=space.name,
        space_text=space.text,
        sampler="random",
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        rungs=tuple(sorted({*doubled, *race.rungs(epochs), epochs})),
        seed=0,
    )
    return SearchTask(study=study, seconds=given["seconds"], workers=given["workers"])


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
