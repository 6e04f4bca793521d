"""``harness bench``: tables of recorded runs, and methods of search compared on them or on real runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.commands.shared import options
from harness.data.datasets import task_of
from harness.system.errors import UsageError, typed
from harness.system.files import check_writable, workspace
from harness.system.terminal import DURATION, say

if TYPE_CHECKING:
    from harness.bench.comparison import Comparison, Judged
    from harness.bench.scores import Trace
    from harness.bench.setting import Setting
    from harness.bench.table import Table

# Options that a table answers by itself, those of real runs, and those of a replay.
_OF_A_TABLE = ("space", "recipe", "dataset")
_OF_LIVE_RUNS = ("folder", "device", "engine", "judge_seeds", "cluster")
_OF_A_REPLAY = ("spread", "processes")


@click.group(short_help="Compare search methods on recorded runs.")
def bench() -> None:
    """Compare search methods on tables of recorded runs, and record such tables.

    \b
    harness bench table NAME --space bench --plan    what recording a table would take
    harness bench run mnist-bench                    all methods, 200 repeats each
    """


@bench.command(short_help="Record, show, merge or export a table of runs.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--space", help="Record NAME from this search space, or @FILE; without it NAME is shown.")
@click.option(
    "--networks", type=click.IntRange(1, 100_000), default=400, show_default=True, help="Most networks to train."
)
@click.option("--seeds", type=click.IntRange(1, 1000), default=2, show_default=True, help="Runs of each network.")
@click.option("--near", type=options.PER_CENT, help="More runs of networks near this validation accuracy.")
@click.option(
    "--within", type=click.FloatRange(0, 100), default=0.1, show_default=True, help="Distance from --near, in points."
)
@click.option(
    "--near-seeds", type=click.IntRange(1, 1000), default=4, show_default=True, help="Runs of each network near --near."
)
@click.option(
    "--rungs",
    type=options.EPOCHS,
    help="Epochs to validate after, such as 1,2,4,8 [default: a search's rungs, one before, the last].",
)
@click.option("--recipe", default="fast", show_default=True, help="A recipe's name, or @FILE.toml.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Number of epochs, in place of the recipe's; the last of --rungs."
)
@click.option("--budget", type=click.IntRange(1), help="Parameter budget.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the choice of networks.")
@options.workers_option
@options.cluster_option
@options.data_options
@options.device_option
@options.engine_option
@click.option(
    "--plan", "only_plan", is_flag=True, help="Say what would be trained and how long it takes; train nothing."
)
@click.option("--merge", is_flag=True, help="Pool the tables NAME... of several machines into the table --into.")
@click.option("--into", metavar="NAME", help="Where --merge writes.")
@click.option("--export", "export_to", type=click.Path(path_type=Path), metavar="FOLDER", help="Write CSV and Parquet.")
@options.as_json
def table(
    names: tuple[str, ...],
    only_plan: bool,
    merge: bool,
    into: str | None,
    export_to: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Record the table NAME: train networks of a space on several seeds, and note the accuracy at every rung.

    The networks are chosen in bands of size; a small space is trained whole. The test set is not read. After Ctrl-C or
    a crash the same command continues from the last rungs. The finished table is written to benchmarks/tables/NAME.
    Without --space the table NAME is shown; NAME may be a folder if it contains a slash.

    \b
    harness bench table mine --space bench --epochs 8 --plan
    harness bench table mine --space tiny --networks 300 --budget 4000 --epochs 8
    harness bench table --merge here there --into both
    harness bench table mine --export mine-for-pandas
    """
    _check_table_form(names, given["space"] is not None, only_plan, merge, into, export_to)
    if merge:
        assert into is not None, "checked above"
        return _merge(names, into, as_json)
    if given["space"] is not None:
        return _record(names[0], given, only_plan, as_json)
    from harness.bench.table_files import read_table, table_folder

    found = read_table(table_folder(names[0], workspace()))
    if export_to is not None:
        from harness.bench.table_files import export_table

        paths = [str(path) for path in export_table(found, export_to)]
        options.answer(as_json, {"files": paths}, "\n".join(paths))
        return 0
    _show_table(found, as_json)
    return 0


def _check_table_form(
    names: tuple[str, ...], recording: bool, only_plan: bool, merge: bool, into: str | None, export_to: Path | None
) -> None:
    """Raise UsageError unless one thing is asked for: to record, to show, to export or to merge."""
    if merge + recording + (export_to is not None) > 1:
        raise UsageError("--space records, --merge pools and --export writes for other programs; give one of them")
    if merge != (into is not None):
        raise UsageError("--merge NAME NAME needs --into NAME, and --into belongs to --merge")
    if merge and len(names) < 2:
        raise UsageError("--merge needs two tables or more", hint="--merge HERE THERE --into BOTH")
    if not merge and len(names) > 1:
        raise UsageError(f"{len(names)} names were given, but only --merge takes more than one")
    if only_plan and not recording:
        raise UsageError("--plan belongs to a recording: give --space too")


def _show_table(found: Table, as_json: bool, written: Path | None = None) -> None:
    from harness.bench.summary import summary, summary_text

    facts = summary(found)
    if as_json:
        document = {"name": found.facts.name, "dataset": found.facts.dataset, "space": found.facts.space_name}
        recipe = {"recipe": found.facts.recipe_name, "recipe_hash": found.recipe.hash}
        options.print_json(document | recipe | asdict(facts) | {"folder": None if written is None else str(written)})
        return
    click.echo(summary_text(found, facts))
    if written is not None:
        click.echo(f"table: {written}")


def _merge(names: tuple[str, ...], into: str, as_json: bool) -> int:
    from harness.bench.table import merged
    from harness.bench.table_files import holds_table, read_table, table_folder, write_table

    place = workspace()
    folder = Path(into) if "/" in into else place.table(into)
    other = "give --into another name"
    if holds_table(folder):
        raise UsageError(f"there is a table in {folder}: a merge never writes over one", hint=other)
    whole = folder.resolve()
    # A recording of that name would later write over the merged table.
    if whole.parent == place.tables.resolve() and (recording := place.recording(whole.name)).exists():
        raise UsageError(f"the recording in {recording} writes its table to {folder} when it ends", hint=other)
    found = merged([read_table(table_folder(name, place)) for name in names], folder.name)
    write_table(folder, found)
    _show_table(found, as_json, folder)
    return 0


def _record(name: str, given: dict[str, Any], only_plan: bool, as_json: bool) -> int:
    from harness.bench.recording import (
        Near,
        check_recording,
        finished_runs,
        on_cluster,
        plan_document,
        plan_text,
        prepared,
        record,
    )
    from harness.bench.table_files import write_table
    from harness.evidence import study
    from harness.training.processes import Processes
    from harness.training.progress import Reporter

    place = workspace()
    out, folder = place.table(name), place.recording(name)
    if out.exists() and not (folder / "recording.json").exists():
        raise UsageError(
            f"there is a table in {out}, but not its recording: a table is never recorded over",
            hint=f"record under another name and merge, or show it: {typed('bench', 'table', name)}",
        )
    near, within, seeds = given.pop("near"), given.pop("within"), given.pop("near_seeds")
    if near is not None and seeds <= given["seeds"]:
        raise UsageError(f"--near-seeds {seeds}: networks near the target get more runs than --seeds {given['seeds']}")
    wanted = None if near is None else Near(target_pct=near, within_pct=within, seeds=seeds)
    address = given.pop("cluster")
    ready = prepared(name=name, near=wanted, **given)
    check_recording(folder, ready.recording)
    plan = plan_document(ready, finished_runs(folder, ready.recording))
    if only_plan:
        options.answer(as_json, plan, plan_text(ready, plan))
        return 0
    check_writable(out.parent)
    click.echo(plan_text(ready, plan), err=True)
    options.say_engine(ready.choice)
    options.say_teacher(ready.recording.recipe, task_of(ready.recording.dataset), place.teachers)
    with (
        options.resumable(),
        study.owned(folder),
        options.cluster(address, ready.recording.machine.workers) as link,
        Reporter(plan["runs"], "runs") as reporter,
    ):
        reporter.advance(plan["ended"])
        executor_of = Processes if link is None else on_cluster(ready, link)
        recorded = record(folder, ready, place.teachers, reporter, executor_of)
    write_table(out, recorded)
    _show_table(recorded, as_json, out)
    return 0


@bench.command(short_help="Compare methods of search on a table, or live.")
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
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True, help="Runs side by side.")
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
@click.option("--live", is_flag=True, help="Real runs on this machine; a TABLE then only names the task.")
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

    On a TABLE of recorded runs the clock is simulated: a run takes the seconds that it took when it was
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
    given["repeats"] = given["repeats"] or (3 if given["live"] else 200)
    from harness.bench.setting import check_rungs, check_whole, methods_of, setting, table_judged, table_task
    from harness.bench.table_files import read_table, table_folder

    table = None if given["table"] is None else read_table(table_folder(given["table"], workspace()))
    if given["live"]:
        from harness.bench import live

        made, running = live.prepared(given, table)
        with _begun(given, made.comparison) as (folder, there):
            # The cluster is left before the pages are written.
            with options.resumable(), options.cluster(given["cluster"], running.effort.workers) as link:
                running = running if link is None else live.on_cluster(running, link)
                traces, judged = live.carried_out(made, running, folder, there, partial(click.echo, err=True))
            _show(folder, made, traces, judged, as_json)
        return 0
    assert table is not None, "without --live there is a table"
    task = table_task(table, given)
    check_whole(table, task)
    methods = methods_of(given["names"], given["programs"], ablations=given["ablations"])
    check_rungs(methods, task)
    made = setting(task, methods, given, table)
    with _begun(given, made.comparison) as (folder, there):
        with options.resumable():
            traces = _replayed(made, table, given["processes"], folder, there)
        _show(folder, made, traces, table_judged(table, task), as_json)
    return 0


def _show(folder: Path, made: Setting, traces: list[Trace], judged: Judged, as_json: bool) -> None:
    from harness.bench import comparison, findings
    from reports.bench_page import write_page

    comparison.write_judged(folder, judged)
    facts = findings.found(made.comparison, traces, judged)
    document = findings.figures_document(made.comparison, facts)
    written = [*findings.write_figures(folder, document, facts), write_page(folder, made.comparison, facts)]
    files = [str(path) for path in written]
    text = f"{findings.figures_text(made.comparison, facts)}\nreport: {files[-1]}"
    options.answer(as_json, document | {"files": files}, text)


def _check_form(ctx: click.Context, given: dict[str, Any]) -> None:
    """Raise UsageError unless it is clear what is asked, and no option is given that says nothing there."""
    if given["table"] is None and not given["live"]:
        raise UsageError("a TABLE is replayed and --live trains; give one of them, or both")
    if given["table"] is None and (given["space"] is None or given["target"] is None or given["seconds"] is None):
        raise UsageError("--live without a TABLE needs --space, --target and --time: nothing else says what is asked")
    replayed = "belongs to replaying: real runs have their own seeds and processes"
    wrong = dict.fromkeys(_OF_A_REPLAY, replayed) if given["live"] else {}
    if given["table"] is not None:
        wrong |= dict.fromkeys(_OF_A_TABLE, "belongs to --live without a TABLE: a table has its own")
    if not given["live"]:
        wrong |= dict.fromkeys(_OF_LIVE_RUNS, "belongs to --live: a replay trains nothing")
    for name, why in wrong.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{'data' if name == 'folder' else name.replace('_', '-')} {why}")


@contextmanager
def _begun(given: dict[str, Any], asked: Comparison) -> Iterator[tuple[Path, list[Trace]]]:
    """Have the comparison's folder for oneself, and the repeats that earlier calls have left there.

    Raises:
        UsageError: it cannot be written, or another process works there.
    """
    from harness.bench import comparison
    from harness.evidence import study

    if given["out"] is not None:
        folder = Path(given["out"])
    else:
        digest = hashlib.sha256(json.dumps(comparison.document(asked), sort_keys=True).encode()).hexdigest()[:6]
        folder = workspace().runs / ".bench" / f"{asked.table or asked.task.space_name}-{digest}"
    check_writable(folder)
    with study.owned(folder):
        there = comparison.begin(folder, asked)
        if there:
            say(f"{len(there):,} repeats of an earlier call are kept; remove {folder} to begin anew")
        yield folder, there


def _replayed(made: Setting, table: Table, processes: int | None, folder: Path, there: list[Trace]) -> list[Trace]:
    """Return the traces of a table; those that an earlier call has left are not done again."""
    from harness.bench import comparison
    from harness.bench.comparison import NoiseModel
    from harness.bench.replay import run_repeats
    from harness.system.machine import core_count
    from harness.training.progress import Reporter

    asked = made.comparison

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
            processes or core_count(),
            there,
            keep,
        )
    # They were kept in the order in which they ended.
    comparison.write_traces(folder, traces)
    return traces
