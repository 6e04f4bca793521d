"""``harness bench run``: methods of search compared, on a table or on real trainings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.commands.shared import options
from harness.system.errors import UsageError
from harness.system.files import check_writable, workspace
from harness.system.terminal import DURATION, say

if TYPE_CHECKING:
    from harness.bench.comparison import Comparison, Judged
    from harness.bench.scores import Trace
    from harness.bench.setting import Setting
    from harness.bench.table import Table

REPEATS, LIVE_REPEATS = 200, 3
# Options that a table answers by itself, those of real trainings, and those of a replay.
OF_A_TABLE = ("space", "recipe", "dataset")
OF_TRAININGS = ("folder", "device", "engine", "judge_seeds", "cluster")
OF_A_REPLAY = ("spread", "processes")


@click.command(short_help="Compare methods of search on a table, or live.")
@click.argument("table", required=False)
@click.option(
    "--method", "names", multiple=True, help="A method's name; may be repeated [default: all that are built in]."
)
@click.option("--program", "programs", multiple=True, metavar="NAME=COMMAND", help="A program that speaks JSON lines.")
@click.option("--ablations", is_flag=True, help="Also run the default with one part changed at a time.")
@click.option(
    "--repeats", type=click.IntRange(1, 100_000), help="Repeats of each method [default: 200; 3 with --live]."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the comparison.")
@click.option(
    "--target", type=options.PER_CENT, help="Validation accuracy [default: a quarter of the table reaches it]."
)
@click.option("--budget", type=click.IntRange(1), help="Parameter budget [default: the largest network's].")
@click.option("--time", "seconds", type=DURATION, help="Time of a repeat [default: an eighth of the table trained].")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Trainings side by side.")
@click.option(
    "--spread",
    type=click.Choice(["pooled", "recorded"]),
    default="pooled",
    show_default=True,
    help="Where the spread between seeds comes from: similar networks, or the network's own recorded runs.",
)
@click.option(
    "--answer-time",
    "answer_seconds",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Time limit for an answer of your own method.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="Processes that replay [default: one a core].")
@click.option("--live", is_flag=True, help="Real trainings on this machine; a TABLE then only names the task.")
@click.option("--space", help="With --live alone: a space's name, or @FILE.")
@click.option("--recipe", default="fast", show_default=True, help="With --live alone: a recipe's name, or @FILE.toml.")
@click.option(
    "--judge-seeds",
    type=click.IntRange(2, 1000),
    default=5,
    show_default=True,
    help="With --live: seeds that judge an answer.",
)
@options.data_options
@options.device_option
@options.engine_option
@options.cluster_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: below runs/.bench].")
@options.as_json
@click.pass_context
def run(ctx: click.Context, /, as_json: bool, **given: Any) -> int:
    """Compare methods of search: which finds the smallest network that reaches the target, and how fast.

    On a TABLE of recorded trainings the clock is simulated: a training takes the seconds that it took when it was
    recorded, asking a method takes none. The same seeds give the same bytes. All methods have the same space, recipe,
    budget, time and seeds; a network counts once it has passed on fresh seeds; and an answer is judged by the table's
    mean over seeds, which no method sees.

    Built in: random, tpe, nsga2, evolution, halving, random-aided, tpe-aided, nsga2-aided, evolution-aided, default.
    The aided ones have the rungs and the falling budget of the default. Yours joins as an entry point or as a program;
    benchmarks/methods/README.md shows how.

    \b
    harness bench run mnist-bench
    harness bench run mnist-bench --ablations --repeats 400
    harness bench run mnist-bench --method random --program 'mine=python3 mine.py'
    harness bench run mnist-bench --live --method random --method default
    harness bench run --live --space tiny --recipe fast --target 99.2 --time 1h
    """
    _check_form(ctx, given)
    given["repeats"] = given["repeats"] or (LIVE_REPEATS if given["live"] else REPEATS)
    from harness.bench.setting import check_rungs, check_whole, methods_of, setting, table_judged, table_task
    from harness.bench.table_files import read_table, table_folder

    table = None if given["table"] is None else read_table(table_folder(given["table"], workspace()))
    if given["live"]:
        return _live(given, table, as_json)
    assert table is not None, "without --live there is a table"
    task = table_task(table, given)
    check_whole(table, task)
    methods = methods_of(given["names"], given["programs"], ablations=given["ablations"])
    check_rungs(methods, task)
    made = setting(task, methods, given, table)
    with _folder(given, made.comparison) as folder:
        with options.resumable():
            traces = _replayed(made, table, given, folder)
        return _show(folder, made, traces, table_judged(table, task), as_json)


def _check_form(ctx: click.Context, given: dict[str, Any]) -> None:
    """Raise UsageError unless it is clear what is asked, and no option is given that says nothing there."""
    if given["table"] is None and not given["live"]:
        raise UsageError("a TABLE is replayed and --live trains; give one of them, or both")
    if given["table"] is None and (given["space"] is None or given["target"] is None or given["seconds"] is None):
        raise UsageError("--live without a TABLE needs --space, --target and --time: nothing else says what is asked")
    if given["table"] is not None:
        _refuse(ctx, OF_A_TABLE, "belongs to --live without a TABLE: a table has its own")
    if given["live"]:
        _refuse(ctx, OF_A_REPLAY, "belongs to replaying: real trainings have their own seeds and processes")
    else:
        _refuse(ctx, OF_TRAININGS, "belongs to --live: a replay trains nothing")


def _refuse(ctx: click.Context, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            shown = {"folder": "data"}.get(name, name).replace("_", "-")
            raise UsageError(f"--{shown} {why}")


def _replayed(made: Setting, table: Table, given: dict[str, Any], folder: Path) -> list[Trace]:
    """Return the traces of a table; those that an earlier call has left are not done again."""
    from harness.bench import comparison
    from harness.bench.comparison import NoiseModel
    from harness.bench.replay import run_repeats
    from harness.system.machine import core_count
    from harness.training.progress import Reporter

    asked = made.comparison
    there = _begun(folder, asked)

    def keep(traces: Sequence[Trace]) -> None:
        for trace in traces:
            comparison.append_trace(folder, trace)
        reporter.advance(len(traces))

    with Reporter(asked.repeats * len(made.methods), "repeats") as reporter:
        reporter.advance(len(there))
        traces = run_repeats(
            made.methods,
            asked.task,
            table,
            asked.spread or NoiseModel.POOLED,
            asked.repeats,
            asked.seed,
            asked.answer_seconds,
            given["processes"] or core_count(),
            there,
            keep,
        )
    # They were kept in the order in which they ended.
    comparison.write_traces(folder, traces)
    return traces


def _begun(folder: Path, asked: Comparison) -> list[Trace]:
    """Return the repeats that earlier calls have left, and say that they are kept."""
    from harness.bench import comparison

    there = comparison.begin(folder, asked)
    if there:
        say(f"{len(there):,} repeats of an earlier call are kept; remove {folder} to begin anew")
    return there


@contextmanager
def _folder(given: dict[str, Any], asked: Comparison) -> Iterator[Path]:
    """Have the comparison's folder for oneself: the one that is told, or a place that no other comparison has.

    Raises:
        UsageError: it cannot be written, or another process works there.
    """
    from harness.bench.comparison import document
    from harness.evidence import study

    if given["out"] is not None:
        folder = Path(given["out"])
    else:
        digest = hashlib.sha256(json.dumps(document(asked), sort_keys=True).encode()).hexdigest()[:6]
        folder = workspace().runs / ".bench" / f"{asked.table or asked.task.space_name}-{digest}"
    check_writable(folder)
    with study.owned(folder):
        yield folder


def _live(given: dict[str, Any], table: Table | None, as_json: bool) -> int:
    from harness.bench import live

    made, running = live.prepared(given, table)
    with _folder(given, made.comparison) as folder:
        there = _begun(folder, made.comparison)
        with options.resumable(), options.cluster(given["cluster"], running.effort.workers) as link:
            running = running if link is None else live.on_cluster(running, link)
            traces, judged = live.carried_out(made, running, folder, there, partial(click.echo, err=True))
        return _show(folder, made, traces, judged, as_json)


def _show(folder: Path, made: Setting, traces: list[Trace], judged: Judged, as_json: bool) -> int:
    from harness.bench import comparison, findings
    from reports.bench.bench_page import write_page

    comparison.write_judged(folder, judged)
    facts = findings.found(made.comparison, traces, judged)
    written = findings.write_figures(folder, facts)
    report = write_page(folder, made.comparison, facts)
    options.answer(
        as_json,
        findings.figures_document(made.comparison, facts) | {"files": [str(path) for path in (*written, report)]},
        f"{findings.figures_text(made.comparison, facts)}\nreport: {report}",
    )
    return 0
