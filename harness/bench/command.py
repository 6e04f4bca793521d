"""``harness bench``: record tables of runs, and compare search methods on tables or in live runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.bench import METHODS
from harness.data.datasets import dataset
from harness.interface import options
from harness.searching.option_types import EPOCHS, PER_CENT
from harness.system import files
from harness.system.errors import UsageError
from harness.system.machine import core_count
from harness.system.terminal import DURATION, counted, say

if TYPE_CHECKING:
    from harness.bench.comparison import Findings, Judged, Trace
    from harness.bench.recording import TableRequest
    from harness.bench.replay import Contest, RunRequest
    from harness.bench.table import Table
    from harness.searching.time_budget import Effort

_option = click.option
# Options that are refused with a table, which determines them.
_FIXED_BY_A_TABLE: tuple[str, ...] = ("space", "recipe", "dataset")
# Options that are refused without --live.
_ONLY_LIVE: tuple[str, ...] = ("data", "device", "engine", "judge_seeds", "cluster")
# Options that are refused with --live.
_ONLY_REPLAYED: tuple[str, ...] = ("spread", "processes")


@click.group(short_help="Compare search methods on recorded runs.")
def bench() -> None:
    """Compare search methods on tables of recorded runs, and record such tables.

    \b
    harness bench table NAME --space bench --plan    show the runs and the time of a recording
    harness bench run mnist-bench                    compare all methods, 200 repeats each
    harness bench run mnist-bench mnist-forms        compare on two tables, and rank over both
    """


@bench.command(short_help="Record, show, merge or export a table of runs.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_option("--space", help="Search space of a new table: a name, or @FILE; without --space, NAME is shown.")
@_option("--networks", type=click.IntRange(1, 100_000), default=400, help="Maximum number of networks to train.")
@_option("--seeds", type=click.IntRange(1, 1000), default=2, help="Number of runs per network.")
@_option("--near", type=PER_CENT, help="Validation accuracy near which networks get more runs.")
@_option("--within", type=click.FloatRange(0, 100), default=0.1, help="Distance from --near, in percentage points.")
@_option("--near-seeds", type=click.IntRange(1, 1000), default=4, help="Total runs per network near --near.")
@_option(
    "--rungs",
    type=EPOCHS,
    help="Epochs with validation, such as 1,2,4,8 [default: the rungs of a search with an earlier and the last epoch].",
)
@_option("--recipe", default="fast", help="Training recipe: a name, or @FILE.toml.")
@_option("--epochs", type=click.IntRange(1), help="Number of epochs; replaces the number of the recipe.")
@_option("--budget", type=click.IntRange(1), help="Parameter budget.")
@_option("--seed", type=click.IntRange(0), default=0, help="Random seed of the choice of networks.")
@options.json_and("workers", "cluster", "dataset", "data", "device", "engine")
@_option("--plan", "only_plan", is_flag=True, help="Print the runs and the estimated time; train nothing.")
@_option("--merge", is_flag=True, help="Merge the tables NAME... of several machines into the table --into.")
@_option("--into", metavar="NAME", help="Name of the merged table.")
@_option("--export", "export_to", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for CSV and Parquet.")
def table(
    names: tuple[str, ...],
    only_plan: bool,
    merge: bool,
    into: str | None,
    export_to: Path | None,
    as_json: bool,
    **arguments: Any,
) -> int:
    """Record the table NAME: train networks of a space on several seeds, and store the accuracy at every rung.

    The networks are chosen from bands of size; of a small space, all networks are trained. The test set is not read.
    After Ctrl-C or a crash, the same command continues from the last rungs. The finished table is written to
    measurements/tables/NAME. Without --space, the table NAME is shown. To show, export or merge a table, NAME may also
    be a folder (with a slash).

    \b
    harness bench table mine --space bench --epochs 8 --plan
    harness bench table mine --space tiny --networks 300 --budget 4000 --epochs 8
    harness bench table --merge here there --into both
    harness bench table mine --export mine-for-pandas
    """
    is_recording = arguments["space"] is not None
    is_one_action = [merge, is_recording, export_to is not None].count(True) <= 1
    has_names_of_a_merge = into is not None and len(names) > 1
    has_one_name = into is None and len(names) == 1
    names_fit = has_names_of_a_merge if merge else has_one_name
    is_plan_of_a_table = only_plan and not is_recording
    if is_plan_of_a_table or not is_one_action or not names_fit:
        raise UsageError("use NAME, NAME --space SPACE [--plan], NAME --export FOLDER or --merge NAME NAME --into NAME")
    from harness.bench.table import export_table, merged, read_table, table_folder, write_table

    workspace = files.workspace()
    if is_recording:
        from harness.bench.recording import TableRequest

        return _record(names[0], TableRequest(**arguments), only_plan, as_json)
    first, *further_tables = (read_table(table_folder(name, workspace)) for name in names)
    if export_to is not None:
        paths = [str(path) for path in export_table(first, export_to)]
        options.print_result(as_json, {"files": paths}, "\n".join(paths))
        return 0
    if into is None:
        return _show_table(first, as_json)
    folder = Path(into) if "/" in into else workspace.table(into)
    absolute = folder.resolve()
    # A recording of the same name would later overwrite the merged table.
    has_recording = absolute.parent == workspace.tables.resolve() and workspace.recording(absolute.name).exists()
    if has_recording or (folder / "table.csv").exists() or (folder / "table.json").exists():
        raise UsageError(f"a table or a recording exists for {folder}; choose a new name for --into")
    merged_table = merged([first, *further_tables], folder.name)
    write_table(folder, merged_table)
    return _show_table(merged_table, as_json, folder)


def _show_table(table: Table, as_json: bool, folder: Path | None = None) -> int:
    from harness.bench.table import summary_text

    facts = table.summary()
    text = summary_text(table, facts)
    if folder is not None:
        text += f"\ntable: {folder}"
    options.print_result(as_json, facts | {"folder": None if folder is None else str(folder)}, text)
    return 0


def _record(name: str, request: TableRequest, only_plan: bool, as_json: bool) -> int:
    from harness.bench.recording import plan_text, prepare, record, recording_json
    from harness.bench.table import write_table
    from harness.studies.config import locked_folder
    from harness.training.executors.clusters import ClusterOptions, Kinds, connection
    from harness.training.progress import Progress

    workspace = files.workspace()
    table_folder = workspace.table(name)
    recording_folder = workspace.recording(name)
    if table_folder.exists() and not recording_folder.exists():
        message = f"the table {table_folder} exists without a recording"
        raise UsageError(f"{message}; record under a new name and merge the tables")
    recording = prepare(recording_folder, name, request)
    plan = recording_json(recording)
    if only_plan:
        options.print_result(as_json, plan, plan_text(plan))
        return 0
    facts = recording.facts
    machine = facts.machines[0]  # this machine, the only machine of a recording
    files.check_writable(table_folder.parent)
    say(plan_text(plan))
    options.say_training(recording.choice, facts.recipe, dataset(facts.dataset).train_size)
    cluster_options = ClusterOptions(machine.workers, str(recording.device), machine.engine, kinds=Kinds.OURS)
    with (
        options.resumable(),
        locked_folder(recording_folder),
        # The seconds of a table must be comparable: only nodes like this machine join a cluster, with equally many
        # workers.
        connection(request.cluster)(cluster_options) as cluster,
        Progress(plan["runs"], "runs") as progress,
    ):
        progress.advance(len(recording.finished_runs))
        recorded_table = record(recording, progress, cluster.make_executor)
    write_table(table_folder, recorded_table)
    return _show_table(recorded_table, as_json, table_folder)


@bench.command(short_help="Compare search methods on tables, or live.")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@_option(
    "--method",
    "names",
    multiple=True,
    help=f"Name of a method ({', '.join(METHODS)}), or your own function as MODULE:NAME; may be repeated "
    "[default: all these methods].",
)
@_option("--program", "programs", multiple=True, metavar="NAME=COMMAND", help="Your own method as a program.")
@_option("--ablations", is_flag=True, help="Also compare variants of the method default with a single change.")
@_option("--repeats", type=click.IntRange(1, 100_000), help="Repeats per method [default: 200; 3 with --live].")
@_option("--seed", type=click.IntRange(0), default=0, help="Random seed of the comparison.")
@_option("--target", type=PER_CENT, help="Target validation accuracy [default: a quarter of the table reaches it].")
@_option("--budget", type=click.IntRange(1), help="Parameter budget [default: size of the largest network].")
@_option(
    "--time", "seconds", type=DURATION, help="Time limit per repeat [default: training time of an eighth of the table]."
)
@_option("--workers", type=click.IntRange(1, 256), default=2, help="Number of parallel runs.")
@_option(
    "--spread",
    type=click.Choice(["pooled", "recorded"]),
    default="pooled",
    help="Source of the spread between seeds: pooled over similar networks, or recorded runs of the network.",
)
@_option(
    "--answer-time", "answer_seconds", type=DURATION, default="10s", help="Time limit for an answer of your own method."
)
@_option("--processes", type=click.IntRange(1, 256), help="Number of replay processes [default: one per core].")
@_option("--live", is_flag=True, help="Train on this machine; a TABLE only defines the task.")
@_option("--space", help="With --live and no TABLE: search space, a name or @FILE.")
@_option("--recipe", default="fast", help="With --live and no TABLE: recipe, a name or @FILE.toml.")
@_option(
    "--judge-seeds", type=click.IntRange(2, 1000), default=5, help="With --live: fresh seeds that judge an answer."
)
@options.json_and("dataset", "data", "device", "engine", "cluster")
@_option("--out", type=click.Path(path_type=Path), help="Folder of the results [default: in runs/.bench].")
@click.pass_context
def run(ctx: click.Context, /, as_json: bool, **arguments: Any) -> int:
    """Compare search methods by the smallest network that reaches the target, over time and at the end.

    On a TABLE of recorded runs the clock is simulated: a run takes the recorded seconds, and a call of a method takes
    no time. Equal seeds give equal bytes. All methods have the same space, recipe, budget, time and seeds. A method
    answers only with networks that passed on fresh seeds (except the variant no-confirmation). An answer is then judged
    by the mean over seeds in the table, which is hidden from the methods. Several tables are compared separately, then
    the methods are ranked over all tables.

    The method default is harness search itself. The aided methods use its rungs and its falling budget. Your own method
    is a Python function or a program; see measurements/methods/README.md.

    \b
    harness bench run mnist-bench
    harness bench run mnist-bench --ablations --repeats 400
    harness bench run mnist-bench mnist-forms
    harness bench run mnist-bench --method random --program 'mine=python3 mine.py'
    harness bench run mnist-bench --live --method random --method default
    harness bench run --live --space tiny --recipe fast --target 99.2 --time 1h
    """
    from harness.bench import methods, replay
    from harness.studies.config import locked_folder

    default_repeats = 3 if arguments["live"] else 200
    request = replay.RunRequest(**arguments | {"repeats": arguments["repeats"] or default_repeats})
    _check_run(ctx, request)
    compared = methods.methods_of(request.names, request.programs, ablations=request.ablations)
    tables = _tables(request.tables)
    contests: list[Contest]
    if request.live:
        contests = [replay.prepare_live(request, compared, tables[0] if tables else None)]
    else:
        contests = [replay.prepare_replay(request, compared, table) for table in tables]
    folder = request.out or files.workspace().runs / ".bench" / _folder_name(contests)
    files.check_writable(folder)
    with locked_folder(folder), options.resumable():
        if len(contests) > 1:
            _rank(request, contests, folder, as_json)
        else:
            findings, paths, text = _compare(request, contests[0], folder)
            options.print_result(as_json, findings.document | {"files": paths}, text)
    return 0


def _tables(names: Sequence[str]) -> list[Table]:
    """Raise UsageError if two tables have the same name, which is the folder of their results."""
    from harness.bench.table import read_table, table_folder

    tables: dict[str, Table] = {}
    for name in names:
        table = read_table(table_folder(name, files.workspace()))
        if table.facts.name in tables:
            raise UsageError(f"two tables are named {table.facts.name!r}")
        tables[table.facts.name] = table
    return list(tables.values())


def _folder_name(contests: Sequence[Contest]) -> str:
    first = contests[0].comparison
    name = first.table or first.task.study.space
    if len(contests) > 1:
        name = f"{len(contests)}-tables"
    designs = json.dumps([contest.comparison.document for contest in contests], sort_keys=True)
    return f"{name}-{hashlib.sha256(designs.encode()).hexdigest()[:6]}"


def _compare(request: RunRequest, contest: Contest, folder: Path) -> tuple[Findings, list[str], str]:
    from harness.bench import comparison
    from harness.bench.bench_page import write_bench_page
    from harness.bench.table import Table

    earlier_traces = comparison.begin(folder, contest.comparison)
    if earlier_traces:
        say(f"resuming with {counted(len(earlier_traces), 'finished repeat')}; delete {folder} to start again")
    if isinstance(contest.source, Table):
        traces, judged = _replay(request, contest, contest.source, folder, earlier_traces)
    else:
        traces, judged = _run_live(request, contest, contest.source, folder, earlier_traces)
    comparison.write_end(folder, traces, judged)
    findings = comparison.findings(contest.comparison, traces, judged)
    page = write_bench_page(folder, contest.comparison, findings)
    paths = [*comparison.write_figures(folder, findings), page]
    text = f"{comparison.figures_text(contest.comparison, findings.document)}\nreport: {page}"
    return findings, list(map(str, paths)), text


def _rank(request: RunRequest, contests: Sequence[Contest], folder: Path, as_json: bool) -> None:
    from harness.bench.bench_page import write_ranks_page
    from harness.bench.comparison import ranks_of, ranks_text
    from harness.studies.config import locked_folder

    findings: dict[str, Findings] = {}
    paths: list[str] = []
    texts: list[str] = []
    for contest in contests:
        name = contest.comparison.table
        assert name is not None, "live runs are not ranked"
        say(f"table {name}")
        with locked_folder(folder / name):
            findings[name], table_paths, text = _compare(request, contest, folder / name)
        paths += table_paths
        texts.append(text)
    ranking = ranks_of(findings)
    document_path = folder / "ranks.json"
    files.write_json(document_path, ranking)
    paths += [str(document_path), str(write_ranks_page(folder, ranking))]
    texts.append(f"{ranks_text(ranking)}\nreport: {paths[-1]}")
    comparisons = [findings_of_table.document for findings_of_table in findings.values()]
    options.print_result(as_json, ranking | {"comparisons": comparisons, "files": paths}, "\n\n".join(texts))


def _check_run(ctx: click.Context, request: RunRequest) -> None:
    has_table = bool(request.tables)
    if request.live and len(request.tables) > 1:
        raise UsageError(f"--live accepts a single table, got {len(request.tables)}")
    lacks_a_task = not request.live or None in (request.space, request.target, request.seconds)
    if lacks_a_task and not has_table:
        raise UsageError("a TABLE is required, or --live with --space, --target and --time")
    kind = "live runs" if request.live else "a replay"
    refused_options: tuple[str, ...] = _ONLY_REPLAYED if request.live else _ONLY_LIVE
    if has_table:
        kind += " with a table"
        refused_options += _FIXED_BY_A_TABLE
    for name in refused_options:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} has no effect on {kind}")


def _run_live(
    request: RunRequest, contest: Contest, effort: Effort, folder: Path, earlier_traces: Sequence[Trace]
) -> tuple[list[Trace], Judged]:
    from harness.bench.replay import run_live
    from harness.training.executors.base import DataLocation
    from harness.training.executors.clusters import ClusterOptions, Kinds, connection

    source = DataLocation(contest.comparison.task.study.dataset, request.data)
    # All methods must have equal conditions: only nodes like this machine join a cluster, and no additional workers.
    workers = effort.workers
    cluster_options = ClusterOptions(workers, effort.device, effort.engine, slot_limit=workers, kinds=Kinds.OURS)
    with connection(request.cluster)(cluster_options) as cluster:
        make_executor = partial(cluster.make_executor, source, effort.limits)
        return run_live(contest, effort, make_executor, folder, earlier_traces, say)


def _replay(
    request: RunRequest, contest: Contest, table: Table, folder: Path, earlier_traces: Sequence[Trace]
) -> tuple[list[Trace], Judged]:
    from harness.bench.comparison import Judged, append_trace
    from harness.bench.replay import run_repeats
    from harness.training.progress import Progress

    comparison = contest.comparison
    with Progress(comparison.repeats * len(contest.methods), "repeats") as progress:
        progress.advance(len(earlier_traces))

        def store(trace: Trace) -> None:
            append_trace(folder, trace)
            progress.advance()

        traces = run_repeats(contest, table, request.processes or core_count(), earlier_traces, store)
    study = comparison.task.study
    sizes = {key: size for key, size in table.sizes.items() if size <= study.budget}
    return traces, Judged.of(table.true_accuracies_pct, sizes, study.target_pct)
