"""From the options of ``harness bench run`` to a comparison: the task, the methods, and what judges them."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.bench import external
from harness.bench.comparison import Comparison, Judged, Named, NoiseModel, SearchTask
from harness.bench.methods import ABLATIONS, BUILT_IN, DEFAULT, MAIN, BuiltIn, EntryPoint, Method, Program, Stops
from harness.bench.replay import rungs_of, true_accuracies_pct
from harness.bench.table import Machine, Table, is_exhaustive
from harness.bench.table_files import rows_text
from harness.system import statistics
from harness.system.errors import ContentError, UsageError
from search_spaces.errors import nearest

# What a table's task is where nobody says: a target that a quarter of the networks reach, and the time in which an
# eighth of them could be trained. Methods differ while the smallest are hard to find and cannot all be tried.
_REACHING = 0.25
_TRAINED = 1 / 8
# Live, a method's name is part of the name of a folder that is removed afterwards.
_NAME = re.compile(r"[^\W_][\w.-]*")
_NAME_RULE = "a name has letters, digits, dots, - and _, a letter or digit first"


@dataclass(frozen=True, slots=True)
class Setting:
    """A comparison, ready to begin; ``methods`` in the order of the report."""

    comparison: Comparison
    methods: tuple[Method, ...]


def methods_of(names: Sequence[str], programs: Sequence[str], *, ablations: bool) -> tuple[Method, ...]:
    """Return the methods that were named, all that come with the bench where none was.

    Args:
        names: of methods that come with it or are installed.
        programs: each ``NAME=COMMAND``.
        ablations: the default too, where it is not named, and each of its variants.
    """
    # A program alone is compared with all that come with the bench.
    found: list[Method] = [named(name) for name in names] if names else list(MAIN.values())
    found += [_program(text) for text in programs]
    if ablations:
        found += [method for method in (MAIN[DEFAULT], *ABLATIONS.values()) if method not in found]
    for place, method in enumerate(found):
        if method.name in [other.name for other in found[:place]]:
            raise UsageError(f"method {method.name!r} is given twice; each has a name of its own")
    return tuple(found)


def named(name: str) -> Method:
    """Return a method that comes with the bench or is installed."""
    installed = external.installed()
    theirs = installed.get(name, ())
    ours = ("the bench itself",) if name in BUILT_IN else ()
    if len(ours + theirs) > 1:
        raise UsageError(f"method {name!r} is ambiguous: it comes from {' and from '.join(ours + theirs)}")
    if ours:
        return BUILT_IN[name]
    if not theirs:
        known = [*BUILT_IN, *installed]
        raise UsageError(f"unknown method {name!r}; known are {', '.join(known)}", hint=nearest(name, known))
    if not _NAME.fullmatch(name):
        raise UsageError(f"method {name!r} of {theirs[0]}: {_NAME_RULE}")
    return EntryPoint(name=name)


def _program(text: str) -> Program:
    name, _, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--program {text!r}: {error}") from error
    if not name.strip() or not words:
        raise UsageError(f"--program {text!r}: NAME=COMMAND is wanted, such as 'mine=python3 mine.py'")
    if not _NAME.fullmatch(name):
        raise UsageError(f"--program {text!r}: {_NAME_RULE}")
    if name in BUILT_IN:
        raise UsageError(f"--program {text!r}: {name!r} is a method that comes with the bench")
    return Program(name=name, command=words)


def _code_sha256() -> str:
    root = Path(__file__).resolve().parents[2]
    whole = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in ("numpy", "optuna", "scipy")).encode())
    for path in sorted([*root.glob("search_spaces/**/*"), *root.glob("harness/**/*")]):
        if path.suffix in (".py", ".lark", ".cpp", ".h", ".json"):
            whole.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def _source_sha256(method: Method) -> str | None:
    """Return the SHA-256 of what a method's command names, or of its package; None for one that comes with the bench.

    Looking for a package imports nothing of it. What its files import or start is not covered.
    """
    if isinstance(method, BuiltIn):
        return None
    if isinstance(method, Program):
        found = [Path(shutil.which(method.command[0]) or method.command[0]), *map(Path, method.command[1:])]
    else:
        (begin,) = external.installed()[method.name]
        spec = find_spec(begin.partition(":")[0].partition(".")[0])
        folders = spec.submodule_search_locations or [] if spec else []
        found = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
        found = found or [Path(spec.origin or "")] if spec else []
    whole = hashlib.sha256()
    for path in found:
        # What may be run but not read is passed over.
        with suppress(OSError):
            whole.update(path.name.encode(errors="replace") + path.read_bytes())
    return whole.hexdigest()


def table_task(table: Table, given: dict[str, Any]) -> SearchTask:
    """Return the task on a table; what the options leave open is chosen from the table."""
    truth = true_accuracies_pct(table)
    sizes = {key: next(iter(runs.values()))[table.rungs[0]].parameters for key, runs in table.runs.items()}
    budget = given["budget"] or max(sizes.values())
    within = {key: truth[key] for key, size in sizes.items() if size <= budget}
    if not within:
        raise ContentError(f"the table {table.facts.name!r} has no network of at most {budget:,} parameters")
    wholes = [run[table.rungs[-1]].seconds for runs in table.runs.values() for run in runs.values()]
    share = statistics.mean(wholes) * len(sizes) * _TRAINED / given["workers"]
    # A share that rounds to nothing is left as it is.
    seconds = given["seconds"] or round(share, 1) or share
    if not seconds:
        raise ContentError(
            f"the trainings of the table {table.facts.name!r} took no time, so none can be derived from them",
            hint="give --time",
        )
    ranked = sorted(within.values(), reverse=True)
    target = given["target"]
    if target is None:
        target = round(ranked[int(_REACHING * (len(ranked) - 1))], 2)
    rows = (runs[min(runs)][table.rungs[0]] for key, runs in table.runs.items() if key in within)
    return SearchTask(
        dataset=table.facts.dataset,
        data_hash=table.facts.data_hash,
        space=table.facts.space,
        space_name=table.facts.space_name,
        recipe=table.recipe,
        recipe_name=table.facts.recipe_name,
        rungs=table.rungs,
        budget=budget,
        target_pct=target,
        seconds=seconds,
        workers=given["workers"],
        # A sample is not replayed, and real trainings are not bound to it.
        networks=tuple(row.architecture for row in rows) if is_exhaustive(table.facts) else None,
    )


def check_whole(table: Table, task: SearchTask) -> None:
    """Raise ContentError where networks of the space within the budget are not in the table: methods propose them."""
    facts = table.facts
    if not is_exhaustive(facts):
        raise ContentError(
            f"the table {facts.name!r} is a sample of the space {facts.space_name!r}, and methods propose networks "
            "that it does not hold",
            hint="--live trains them; a table that is replayed holds all networks of its space",
        )
    limits = [sample.budget for sample in facts.samples if sample.bands == 0]
    if None not in limits and task.budget > (most := max(limit or 0 for limit in limits)):
        raise ContentError(
            f"the table {facts.name!r} holds all networks of at most {most:,} parameters, but the budget is "
            f"{task.budget:,}",
            hint=f"--budget {most}",
        )


def check_rungs(methods: Sequence[Method], task: SearchTask) -> None:
    """Raise ContentError where a method stops at an epoch that a table was not looked at."""
    for method in methods:
        stops = method.stops if isinstance(method, BuiltIn) else Stops.NEVER
        missing = sorted(set(rungs_of(stops, task)) - set(task.rungs))
        if missing:
            raise ContentError(
                f"method {method.name!r} stops after epoch {missing[0]}, but the table was recorded after "
                f"{', '.join(map(str, task.rungs))} only"
            )


def table_judged(table: Table, task: SearchTask) -> Judged:
    """Return what a table says of all its networks within the budget."""
    truth = true_accuracies_pct(table)
    sizes = {key: next(iter(runs.values()))[table.rungs[0]].parameters for key, runs in table.runs.items()}
    within = {key: size for key, size in sizes.items() if size <= task.budget}
    reaching = [size for key, size in within.items() if statistics.reaches(truth[key], task.target_pct)]
    return Judged(accuracies_pct=dict(sorted(truth.items())), smallest=min(reaching, default=None))


def setting(
    task: SearchTask,
    methods: tuple[Method, ...],
    given: dict[str, Any],
    table: Table | None = None,
    judge_seeds: int | None = None,
    machine: Machine | None = None,
) -> Setting:
    """Return the comparison: on a table, or with so many seeds that judge on a machine that trains."""
    # Without the default beside it a variant is a method like the others.
    variants = ABLATIONS if MAIN[DEFAULT] in methods else {}
    named_methods = tuple(
        Named(
            name=method.name,
            says=method.says,
            is_variant=method.name in variants,
            command=method.command if isinstance(method, Program) else (),
            source_sha256=_source_sha256(method),
        )
        for method in methods
    )
    comparison = Comparison(
        task=task,
        methods=named_methods,
        repeats=given["repeats"],
        seed=given["seed"],
        answer_seconds=given["answer_seconds"],
        table=table.facts.name if table else None,
        table_sha256=hashlib.sha256(rows_text(table.rows).encode()).hexdigest() if table else None,
        spread=NoiseModel(given["spread"]) if table else None,
        judge_seeds=judge_seeds,
        code_sha256=_code_sha256(),
        machine=machine,
    )
    return Setting(comparison, methods)
