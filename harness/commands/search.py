"""``harness search``: the main job, from its options to its answer."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.commands.shared import options
from harness.data.datasets import dataset as dataset_named
from harness.data.datasets import task_of
from harness.evidence.mirror import check_url, hidden
from harness.system.files import check_writable, workspace
from harness.system.terminal import (
    DURATION,
    busy,
    console,
    counted,
    duration_option,
    duration_text,
    say,
    show_grid,
)

if TYPE_CHECKING:
    from harness.evidence.mirror import Mirror
    from harness.search.plan import SearchPlan


@click.command(short_help="Search for the smallest network that reaches the target.")
@click.option("--budget", type=click.IntRange(1, 10**9), default=20_000, show_default=True, help="Parameter budget.")
@click.option(
    "--minimise",
    type=click.Choice(["parameters", "macs"]),
    default="parameters",
    show_default=True,
    help="Objective to minimise.",
)
@click.option(
    "--limit",
    "limits",
    type=options.CONDITIONS,
    help="Constraints on every network, such as 'macs<=1000000,receptive_field>=20'.",
)
@click.option("--target", type=options.PER_CENT, help="Target test accuracy in per cent [default: the data set's].")
@click.option("--space", default="all", show_default=True, help="Search space: a name, or @FILE.")
@click.option(
    "--sampler",
    default="auto",
    show_default=True,
    help="auto (the same as surrogate), surrogate, evolution, tpe, nsga2 or random.",
)
@click.option("--recipe", default="small", show_default=True, help="Training recipe: a name, or @FILE.toml.")
@click.option(
    "--epochs",
    type=options.EPOCHS,
    help="Numbers of epochs to choose from, such as 5,10,30 [default: 5,8,12,20,30,60; with --recipe its own].",
)
@click.option(
    "--prior",
    type=click.Choice(["shipped", "own", "none"]),
    default="shipped",
    show_default=True,
    help="Past runs to learn from: shipped with the package, own (these and your own studies'), or none.",
)
@click.option("--trials", type=click.IntRange(1), help="Maximum number of trials [default: unlimited].")
@click.option(
    "--time",
    "seconds",
    type=DURATION,
    default="57m",
    show_default=True,
    help="Time budget, verification included.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the search.")
@click.option("--study", "name", help="Name of the study [default: made from the configuration].")
@click.option("--trial-time", type=DURATION, default="30m", show_default=True, help="Time limit of one run.")
@click.option(
    "--trial-memory",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    help="Memory limit of one worker in MiB, mapped files not counted.",
)
@options.storage_option(
    help="Mirror the study in this database, for optuna-dashboard: postgresql://..., sqlite:///FILE."
)
@click.option("--plan", "plan_only", is_flag=True, help="Print the plan of the search; train nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Print a line for every run.")
@options.workers_option
@options.cluster_option
@options.device_option
@options.engine_option
@options.data_options
@options.as_json
@click.pass_context
def search(
    ctx: click.Context, /, plan_only: bool, verbose: bool, as_json: bool, storage: str | None, **given: Any
) -> int:
    """Search for the smallest network that reaches the target, verify the best one found, and rank it.

    Networks over the budget are rejected before they are built. The same command resumes a study that
    was interrupted. Exit code 3 when no network reached the target.

    \b
    harness search --budget 20000
    harness search --budget 5000 --space tiny --time 2h
    harness search --minimise macs --limit 'macs<=1000000'
    harness search --plan
    """
    from harness.search.clock import least_seconds
    from harness.search.plan import make_plan, on_cluster, plan_document

    if storage is not None:
        check_url(storage)
    origins = {
        name: (source.name.lower() if (source := ctx.get_parameter_source(name)) else "default") for name in given
    }
    with busy("reading the images and past runs"):
        plan = make_plan(given, origins, workspace())
    for name in plan.space.unused:
        say(f"'net' of the space '{plan.space.name}' does not use {name!r}", "warning")
    seconds, least = plan.effort.seconds, least_seconds(plan.config.dataset)
    if seconds is not None and seconds < least:
        enough = f"{duration_text(least)} are usually enough on two cores"
        say(f"{duration_text(seconds)} may be too short to train, confirm and verify a network; {enough}", "warning")
    with options.resumable(), options.cluster(given["cluster"], plan.effort.workers) as link:
        if link is not None:
            plan = on_cluster(plan, link, given["workers"])
        options.say_engine(plan.engine)
        if plan_only:
            check_writable(plan.folder, make=False)
            with busy("counting the networks of the space"):
                document = plan_document(plan) | ({} if storage is None else {"storage": hidden(storage)})
            if as_json:
                options.print_json(document)
            else:
                facts = list(_plan_facts(document).items())
                show_grid(console(), facts, [("bold", "")] * len(facts))
            return 0
        options.say_teacher(plan.recipe.recipe, task_of(plan.config.dataset), plan.workspace.teachers)
        return _run(plan, storage, _given(ctx), as_json, verbose=verbose)


def _run(plan: SearchPlan, storage: str | None, given: dict[str, str], as_json: bool, *, verbose: bool) -> int:
    from harness.commands.search_progress import SearchReporter
    from harness.commands.shared.live_report import LiveReport
    from harness.evidence.leaderboard import collect
    from harness.evidence.study import open_study, owned
    from harness.search.finish import conclude, outcome_of
    from harness.search.loop import opened, run_search
    from harness.search.prior import keep
    from reports.study_page import write_report
    from search_spaces.space import OBJECTIVES

    # Find out now, not after an hour, that results cannot be written or the standings cannot be read.
    collect(plan.workspace)
    for folder in (plan.workspace.root, plan.workspace.records, plan.folder):
        check_writable(folder)
    options.say_left_out(plan.left_out)
    config, seconds = plan.config, plan.effort.seconds
    with owned(plan.folder), _mirrored(plan, storage) as mirror:
        if not (plan.folder / "config.json").exists():
            keep(plan.folder, plan.past)
        fresh = open_study(plan.folder, config, plan.origins)
        found = opened(plan.folder, config, plan.effort, plan.source, plan.executor_of)
        say(f"{'new' if fresh else 'resuming'} study {plan.folder.name} in {plan.folder}")
        time = "no time limit" if seconds is None else duration_text(seconds)
        say(
            f"target {config.target_pct:g} % on {dataset_named(config.dataset).title} ({config.threshold_pct:.2f} % on "
            f"validation images); at most {config.ceiling:,} {OBJECTIVES[config.minimise]}; {time}"
            + ("" if fresh else f", {duration_text(found.seconds)} used")
        )
        with SearchReporter(plan.folder, config, plan.effort, verbose=verbose) as reporter:
            live = LiveReport(plan.folder, plan.workspace, reporter.say)
            reporter.heartbeat, found.watcher = live.refresh, reporter
            if mirror is not None:
                mirror.say, mirror.entries = reporter.say, found.entries
            command = [hidden(word) for word in ("harness", *sys.argv[1:])]
            run_search(found, command)
            verdict = None
            if not found.interrupted:
                reporter.verifying()
                verdict = conclude(plan, found, reporter.on_event, reporter.say)
        end = None if found.interrupted else outcome_of(plan, found, verdict, given)
        report = write_report(plan.folder, plan.workspace)
    if end is None:
        raise KeyboardInterrupt
    options.print_json(end.document(report)) if as_json else click.echo(f"{end.text()}\nreport: {report}")
    return 0 if verdict is not None and verdict.passed else 3


def _mirrored(plan: SearchPlan, storage: str | None) -> AbstractContextManager[Mirror | None]:
    """Return what keeps the study in a database, which answers; nothing where no database was named."""
    if storage is None:
        return nullcontext()
    from harness.evidence.mirror import Mirror
    from harness.evidence.study import check_config

    if (plan.folder / "config.json").exists():
        check_config(plan.folder, plan.config)
    with busy("opening the database"):
        return Mirror(plan.folder.name, plan.config, storage, say)


def _given(ctx: click.Context) -> dict[str, str]:
    """Return the options of the command line and their values, as they are typed, but for passwords."""

    def typed(value: Any, is_duration: bool) -> str:
        if is_duration:
            return duration_option(value)
        return ",".join(map(str, value)) if isinstance(value, tuple) else hidden(str(value))

    return {
        option.opts[0]: typed(value, option.type is DURATION)
        for option in ctx.command.params
        if option.name is not None
        and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        # Flags say what is shown, and "auto" is what holds without the option.
        and (value := ctx.params[option.name]) is not None
        and not isinstance(value, bool)
    }


def _plan_facts(document: dict[str, Any]) -> dict[str, str]:
    """Return a plan for people, a line a matter.

    Args:
        document: as ``harness.search.plan.plan_document`` gives it.
    """
    from search_spaces.count import configurations_text
    from search_spaces.space import OBJECTIVES, Metric

    config, effort, feasible = document["config"], document["effort"], document["feasible"]
    *shorter, longest = map(str, document["lengths"])
    epochs = f"{', '.join(shorter)} or {longest} epochs" if shorter else counted(int(longest), "epoch")
    low, high = (100 * share for share in document["feasible_share"])
    share = f"{low:.3g} %" if feasible["exact"] else f"about {(low + high) / 2:.3g} %"
    objective = f"{document['config']['budget']:,} parameters"
    if "minimise" in config:
        objective += f"; minimised: {OBJECTIVES[Metric(config['minimise'])]}, at most {config['most']:,}"
    runs = f"recipe {config['recipe_name']}, {epochs}"
    if config["rungs"]:
        runs += ", pruned at 25 % and 50 %"
    if (each := document["estimated_seconds_a_training"]) is not None:
        least, most = (f"{seconds:.0f}" for seconds in each)
        runs += f"; about {least if least == most else f'{least} to {most}'} s each on one core"
    ends = [
        "no time limit" if effort["seconds"] is None else duration_text(effort["seconds"]),
        *([] if effort["trials"] is None else [f"at most {counted(effort['trials'], 'trial')}"]),
    ]
    nodes = [
        f"{node['name']} ({counted(node['cores'], 'core')}"
        + (f", {counted(node['gpus'], 'GPU')})" if node["gpus"] else ")")
        for node in document["nodes"]
    ]
    words = {"seconds": "time", "folder": "data", "limits": "limit"}
    given = [
        f"--{words.get(name, name).replace('_', '-')}{' (environment)' if origin == 'environment' else ''}"
        for name, origin in document["origins"].items()
        if origin not in ("default", "default_map")
    ]
    return {
        "study": f"{document['study']} ({'resumed' if document['exists'] else 'new'}) in {document['folder']}",
        "target": f"{config['target_pct']:g} % on the test images of {dataset_named(config['dataset']).title}; "
        f"{config['threshold_pct']:g} % on validation images",
        "budget": objective,
        "space": f"{config['space']}: {configurations_text(document['derivations'])}, {share} feasible",
        "runs": runs,
        "sampler": f"{config['sampler']}, seed {config['seed']}; prior {config['prior']}: "
        + counted(document["past_trainings"], "past run"),
        "effort": f"{counted(effort['workers'], 'worker')} on {effort['device']}, {effort['engine']} engine; "
        + ", ".join(ends),
        **({"nodes": ", ".join(nodes)} if nodes else {}),
        **({"storage": document["storage"]} if "storage" in document else {}),
        "set by you": ", ".join(given) or "nothing",
    }
