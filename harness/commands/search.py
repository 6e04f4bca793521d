"""``harness search``: the main job, from its options to its answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from harness.commands import options
from harness.data.datasets import dataset as dataset_named
from harness.data.datasets import task_of
from harness.evidence.mirror import check_url, hidden
from harness.system.files import check_writable, workspace
from harness.system.terminal import (
    DURATION,
    busy,
    console,
    counted,
    duration_text,
    say,
    show_grid,
)

if TYPE_CHECKING:
    pass


@click.command(short_help="Search for the smallest network that reaches the target.")
@click.option("--budget", type=click.IntRange(1, 10**9), default=20_000, help="Parameter budget.")
@click.option(
    "--minimise", type=click.Choice(["parameters", "macs"]), default="parameters", help="Objective to minimise."
)
@click.option(
    "--limit",
    "limits",
    type=options.CONDITIONS,
    help="Constraints on every network, such as 'macs<=1000000,receptive_field>=20'.",
)
@click.option("--target", type=options.PER_CENT, help="Target test accuracy in per cent [default: the data set's].")
@click.option("--space", default="all", help="Search space: a name, or @FILE.")
@click.option(
    "--sampler", default="auto", help="auto (the same as surrogate), surrogate, evolution, tpe, nsga2 or random."
)
@click.option("--recipe", default="small", help="Training recipe: a name, or @FILE.toml.")
@click.option(
    "--epochs",
    type=options.EPOCHS,
    help="Numbers of epochs to choose from, such as 5,10,30 [default: 5,8,12,20,30,60; with --recipe its own].",
)
@click.option(
    "--prior",
    type=click.Choice(["shipped", "own", "none"]),
    default="shipped",
    help="Past runs to learn from: shipped with the package, own (these and your own studies'), or none.",
)
@click.option("--trials", type=click.IntRange(1), help="Maximum number of trials [default: unlimited].")
@click.option("--time", "seconds", type=DURATION, default="57m", help="Time budget, verification included.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Random seed of the search.")
@click.option("--study", "name", help="Name of the study [default: made from the configuration].")
@click.option("--trial-time", type=DURATION, default="30m", help="Time limit of one run.")
@click.option(
    "--trial-memory",
    type=click.IntRange(64),
    default=4096,
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
    from harness.shown_search import search_shown

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
        command = [hidden(word) for word in ("harness", *sys.argv[1:])]
        chosen = {name: value for name, value in given.items() if origins[name] == "commandline"}
        outcome, report = search_shown(plan, chosen | {"storage": storage}, command, storage=storage, verbose=verbose)
        if outcome is None:
            raise KeyboardInterrupt
    options.answer(as_json, outcome.document(report), f"{outcome.text()}\nreport: {report}")
    return 0 if outcome.verdict is not None and outcome.verdict.passed else 3


def _plan_facts(document: dict[str, Any]) -> dict[str, str]:
    """Return a plan, as ``plan_document`` gives it, for people: a line a matter."""
    from search_spaces.space import OBJECTIVES, Metric, configurations_text

    config, effort = document["config"], document["effort"]
    low, high = (100 * share for share in document["feasible_share"])
    share = f"{low:.3g} %" if document["feasible"]["exact"] else f"about {(low + high) / 2:.3g} %"
    objective = f"{config['budget']:,} parameters"
    if "minimise" in config:
        objective += f"; minimised: {OBJECTIVES[Metric(config['minimise'])]}, at most {config['most']:,}"
    runs = f"recipe {config['recipe_name']}, epochs {', '.join(map(str, document['lengths']))}"
    runs += ", pruned at 25 % and 50 %" if config["rungs"] else ""
    if (each := document["estimated_seconds_a_training"]) is not None:
        runs += f"; about {each[0]:.0f} to {each[1]:.0f} s each on one core"
    time = "no time limit" if effort["seconds"] is None else duration_text(effort["seconds"])
    trials = "" if effort["trials"] is None else f", at most {counted(effort['trials'], 'trial')}"
    workers = f"{counted(effort['workers'], 'worker')} on {effort['device']}, {effort['engine']} engine"
    return {
        "study": f"{document['study']} ({'resumed' if document['exists'] else 'new'}) in {document['folder']}",
        "target": f"{config['target_pct']:g} % on the test images of {dataset_named(config['dataset']).title}; "
        f"{config['threshold_pct']:g} % on validation images",
        "budget": objective,
        "space": f"{config['space']}: {configurations_text(document['derivations'])}, {share} feasible",
        "runs": runs,
        "sampler": f"{config['sampler']}, seed {config['seed']}; prior {config['prior']}: "
        + counted(document["past_trainings"], "past run"),
        "effort": f"{workers}; {time}{trials}",
    }
