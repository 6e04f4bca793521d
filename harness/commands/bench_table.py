"""``harness bench table``: record, show, merge and export tables of recorded trainings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data.datasets import task_of
from harness.system.errors import UsageError, typed
from harness.system.files import Workspace, check_writable, workspace

if TYPE_CHECKING:
    from harness.bench.recording import Prepared
    from harness.bench.table import Table


@click.command(short_help="Record, show, merge or export a table of trainings.")
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
    _check_form(names, given["space"] is not None, only_plan, merge, into, export_to)
    if merge:
        assert into is not None, "checked above"
        return _merge(names, into, as_json)
    if given["space"] is not None:
        return _record(names[0], given, only_plan, as_json)
    found = _read(names[0])
    if export_to is not None:
        from harness.bench.table_files import export_table

        paths = [str(path) for path in export_table(found, export_to)]
        options.answer(as_json, {"files": paths}, "\n".join(paths))
        return 0
    _show(found, as_json)
    return 0


def _check_form(
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


def _read(name: str) -> Table:
    from harness.bench.table_files import read_table, table_folder

    return read_table(table_folder(name, workspace()))


def _show(found: Table, as_json: bool, written: Path | None = None) -> None:
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
    from harness.bench.table_files import write_table

    place = workspace()
    folder = Path(into) if "/" in into else place.table(into)
    _check_free(folder, place)
    found = merged([_read(name) for name in names], folder.name)
    write_table(folder, found)
    _show(found, as_json, folder)
    return 0


def _check_free(folder: Path, place: Workspace) -> None:
    """Raise UsageError where a merge would write over a table, or a recording later over the merged one."""
    from harness.bench.table_files import holds_table

    other = "give --into another name"
    if holds_table(folder):
        raise UsageError(f"there is a table in {folder}: a merge never writes over one", hint=other)
    whole = folder.resolve()
    if whole.parent == place.tables.resolve() and (recording := place.recording(whole.name)).exists():
        raise UsageError(f"the recording in {recording} writes its table to {folder} when it ends", hint=other)


def _record(name: str, given: dict[str, Any], only_plan: bool, as_json: bool) -> int:
    from harness.bench.recording import Near, check_recording, finished_runs, prepared
    from harness.bench.session import plan_document, plan_text
    from harness.bench.table_files import write_table

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
    recorded = _train(ready, plan["runs"], plan["ended"], folder, place, address)
    write_table(out, recorded)
    _show(recorded, as_json, out)
    return 0


def _train(ready: Prepared, runs: int, ended: int, folder: Path, place: Workspace, address: str | None) -> Table:
    from harness.bench.session import on_cluster, record
    from harness.evidence import study
    from harness.training.progress import Reporter
    from harness.training.workers import Processes

    with (
        options.resumable(),
        study.owned(folder),
        options.cluster(address, ready.recording.machine.workers) as link,
        Reporter(runs, "runs") as reporter,
    ):
        reporter.advance(ended)
        executor_of = Processes if link is None else on_cluster(ready, link)
        return record(folder, ready, place.teachers, reporter, executor_of)
