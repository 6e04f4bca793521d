"""``harness search``: the main job."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.commands.shared import options
from harness.data.datasets import dataset as dataset_named
from harness.data.datasets import task_of
from harness.evidence.storage_url import check_url, hidden
from harness.system.files import check_writable, workspace
from harness.system.terminal import DURATION, busy, console, duration_option, duration_text, say, show_grid

if TYPE_CHECKING:
    from harness.evidence.mirror import Mirror
    from harness.search.run_plan import SearchPlan


@click.command(short_help="Search for the smallest network that reaches the target.")
@click.option(
    "--budget", type=click.IntRange(1, 10**9), default=20_000, show_default=True, help="Most parameters of a network."
)
@click.option(
    "--minimise",
    type=click.Choice(["parameters", "macs"]),
    default="parameters",
    show_default=True,
    help="What to make as small as possible.",
)
@click.option(
    "--limit",
    "limits",
    type=options.CONDITIONS,
    help="Conditions that every network must meet, such as 'macs<=1000000,receptive_field>=20'.",
)
@click.option("--target", type=options.PER_CENT, help="Test accuracy to reach, in per cent [default: the data set's].")
@click.option("--space", default="all", show_default=True, help="A space's name, or @FILE.")
@click.option(
    "--sampler",
    default="auto",
    show_default=True,
    help="auto (the same as surrogate), surrogate, evolution, tpe, nsga2 or random.",
)
@click.option("--recipe", default="small", show_default=True, help="A recipe's name, or @FILE.toml.")
@click.option(
    "--epochs",
    type=options.EPOCHS,
    help="Lengths of a training to choose from, such as 5,10,30 [default: 5,8,12,20,30,60; with --recipe its own].",
)
@click.option(
    "--prior",
    type=click.Choice(["shipped", "own", "none"]),
    default="shipped",
    show_default=True,
    help="Earlier trainings to learn from: the package's; these and those of your own studies; or none.",
)
@click.option("--trials", type=click.IntRange(1), help="Networks to train at most [default: no end].")
@click.option(
    "--time",
    "seconds",
    type=DURATION,
    default="57m",
    show_default=True,
    help="Time for everything, verification included.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the search.")
@click.option("--study", "name", help="Name of the study [default: made from the configuration].")
@click.option("--trial-time", type=DURATION, default="30m", show_default=True, help="Time limit of one training.")
@click.option(
    "--trial-memory",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    help="Memory limit of one worker in MiB, mapped files not counted.",
)
@options.storage_option(
    help="Show the search in this database too, for optuna-dashboard: postgresql://..., sqlite:///FILE."
)
@click.option("--plan", "plan_only", is_flag=True, help="Print the plan of the search; train nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Print a line for every training.")
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

    Networks over the budget are rejected before they are built. The same command goes on with a study that
    was interrupted. Exit code 3 when no network reached the target.

    \b
    harness search --budget 20000
    harness search --budget 5000 --space tiny --time 2h
    harness search --minimise macs --limit 'macs<=1000000'
    harness search --plan
    """
    from harness.commands.searching.search_plan import plan_facts
    from harness.search.run_plan import make_plan, on_cluster, plan_document

    if storage is not None:
        check_url(storage)
    origins = {
        name: (source.name.lower() if (source := ctx.get_parameter_source(name)) else "default") for name in given
    }
    with busy("reading the images and earlier trainings"):
        plan = make_plan(given, origins, workspace())
    for warning in _warnings(plan):
        say(warning, "warning")
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
                facts = list(plan_facts(document).items())
                show_grid(console(), facts, [("bold", "")] * len(facts))
            return 0
        options.say_teacher(plan.recipe.recipe, task_of(plan.config.dataset), plan.workspace.teachers)
        return _run(plan, storage, _given(ctx), as_json, verbose=verbose)


def _run(
    plan: SearchPlan,
    storage: str | None,
    given: dict[str, str],
    as_json: bool,
    *,
    verbose: bool,
) -> int:
    from harness.commands.searching.search_outcome import outcome, outcome_document, outcome_text
    from harness.commands.searching.search_progress import SearchReporter
    from harness.commands.shared.live_report import LiveReport
    from harness.evidence.events import Advised
    from harness.evidence.study import elapsed_seconds, open_study, owned, read_log
    from harness.search.ending.conclusion import conclude
    from harness.search.loop import run_search
    from harness.search.prior import keep
    from harness.search.session import note
    from reports.study.study_page import write_report

    _check_place(plan)
    for message in plan.left_out:
        say(f"left out of the prior: {message}", "warning")
    with owned(plan.folder), _mirrored(plan, storage) as mirror:
        if not (plan.folder / "config.json").exists():
            keep(plan.folder, plan.past)
        fresh = open_study(plan.folder, plan.config, plan.origins)
        events, left_out = read_log(plan.folder)
        options.say_left_out(left_out)
        click.echo("\n".join(_beginning(plan, elapsed_seconds(events), fresh)), err=True)
        with SearchReporter(plan.folder, plan.config, plan.effort, verbose=verbose) as reporter:
            live = LiveReport(plan.folder, plan.workspace, reporter.say)
            reporter.heartbeat = live.refresh
            if mirror is not None:
                mirror.say = reporter.say
            command = [hidden(word) for word in ("harness", *sys.argv[1:])]
            session = run_search(
                plan.folder, plan.config, plan.effort, plan.source, reporter, command, plan.executor_of
            )
            verdict = None
            if not session.interrupted:
                reporter.verifying()
                verdict = conclude(plan, session, reporter.on_event, reporter.say)
        end = None if session.interrupted else outcome(plan, session, verdict, given)
        if end is not None and end.words is not None:
            advised = Advised(arguments=end.words.arguments, advice=end.words.advice)
            if end.events[-1].event != advised:
                note(session, advised)
        report = write_report(plan.folder, plan.workspace)
    if end is None:
        raise KeyboardInterrupt
    if as_json:
        options.print_json(outcome_document(end, report))
    else:
        click.echo(f"{outcome_text(end)}\nreport: {report}")
    return 0 if verdict is not None and verdict.passed else 3


def _beginning(plan: SearchPlan, used: float, fresh: bool) -> tuple[str, str]:
    """Return what a search says first: which study it is, how many seconds are used, and what it looks for."""
    from search_spaces.space import OBJECTIVES

    config = plan.config
    where = f"study {plan.folder.name} in {plan.folder}"
    if fresh:
        where = f"new {where}"
    elif plan.effort.seconds is None or used < plan.effort.seconds:
        where = f"going on with {where}; {duration_text(used)} used"
    else:
        where += (
            f" has used {duration_text(used)}, all of its time; a longer --time goes on, another --seed begins a new "
            "search"
        )
    target = f"target: {config.target_pct:g} % on {dataset_named(config.dataset).title}"
    threshold = f"{config.threshold_pct:.2f} % on validation images"
    return where, f"{target}; threshold: {threshold}; at most {config.ceiling:,} {OBJECTIVES[config.minimise]}"


def _warnings(plan: SearchPlan) -> list[str]:
    """Return what may keep the search from an answer, or is a slip in the text of the space."""
    from harness.search.clock import least_seconds

    found = [f"'net' of the space '{plan.space.name}' does not use {name!r}" for name in plan.space.unused]
    seconds, least = plan.effort.seconds, least_seconds(plan.config.dataset)
    if seconds is not None and seconds < least:
        title = dataset_named(plan.config.dataset).title
        found.append(
            f"{duration_text(seconds)} may be too short to train, confirm and verify a network of {title}; on two "
            f"cores {duration_text(least)} are usually enough"
        )
    return found


def _mirrored(plan: SearchPlan, storage: str | None) -> AbstractContextManager[Mirror | None]:
    """Return what keeps the study in a database, which answers; nothing where no database was named."""
    if storage is None:
        return nullcontext()
    from harness.evidence.mirror import Mirror
    from harness.evidence.study import check_config

    if (plan.folder / "config.json").exists():
        check_config(plan.folder, plan.config)
    with busy("opening the database"):
        return Mirror(plan.folder, plan.config, storage, lambda line: click.echo(line, err=True))


def _check_place(plan: SearchPlan) -> None:
    """Find out now, not after an hour, that results cannot be written or the standings cannot be read."""
    from harness.evidence.leaderboard import collect

    collect(plan.workspace)
    for folder in (plan.workspace.root, plan.workspace.records, plan.folder):
        check_writable(folder)


def _given(ctx: click.Context) -> dict[str, str]:
    """Return the options of the command line and their values, as they are typed."""
    return {
        option.opts[0]: _typed(option, value)
        for option in ctx.command.params
        if option.name is not None
        and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        # Flags say what is shown, and "auto" is what holds without the option.
        and (value := ctx.params[option.name]) is not None
        and not isinstance(value, bool)
    }


def _typed(option: click.Parameter, value: Any) -> str:
    """Return the value of an option as it is typed, but for a password."""
    if option.type is DURATION:
        return duration_option(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else hidden(str(value))
