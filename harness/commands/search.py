"""``harness search``: run a search, and print the plan or the answer."""

from __future__ import annotations

from typing import Any

import click

from harness.data.datasets import dataset as dataset_named
from harness.interface import api, options
from harness.interface.results import Study
from harness.searching.request import SearchRequest
from harness.spaces.counting import count_text
from harness.spaces.space import Metric
from harness.system.errors import Interrupted, TargetMissed
from harness.system.files import check_writable
from harness.system.passwords import without_passwords
from harness.system.terminal import busy, console, counted, duration_text, show_table


@click.command(cls=options.Grouped, short_help="Search for the smallest network that reaches the target.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the plan of the search; train nothing.")
@click.option("--verbose", "-v", is_flag=True, help="Print a line for every run.")
@options.dataset_as_argument
@options.of(api.search)
@click.pass_context
def search(ctx: click.Context, /, plan_only: bool, verbose: bool, as_json: bool, **arguments: Any) -> int:
    """Search for the smallest network that reaches the target, verify the best candidate, and rank it.

    DATASET is a name, or the path of your own data. Networks over the budget are rejected without being built. The same
    command resumes an interrupted study. Exit code 3 if no network reached the target.

    \b
    harness search --budget 20000
    harness search pictures/ --target 95
    harness search --budget 5000 --space tiny --time 2h
    harness search --minimise macs --limit 'macs<=1000000'
    harness search --minimise weight_bytes --chip CH32V003 --recipe small-int8
    harness search --plan
    """
    from harness.interface.session import planned_search, run_search_with_progress

    request = SearchRequest.of_command(ctx, arguments)
    with options.resumable(), planned_search(request, only_plan=plan_only) as plan:
        if plan_only:
            from harness.searching.plan import search_plan_json

            # The plan must fail in all cases in which the search would fail.
            check_writable(plan.folder, make=False)
            with busy("counting the networks of the space"):
                document = search_plan_json(plan)
            if request.storage is not None:
                document["storage"] = without_passwords(request.storage)
            if as_json:
                options.print_json(document)
            else:
                facts = list(_plan_facts(document, plan.config.threshold_text).items())
                show_table(console(), facts, [("bold", "")] * len(facts))
            return 0
        answer, report = run_search_with_progress(plan, request, verbose=verbose)
        # Ctrl-C during the search, which then still writes the report.
        if answer is None:
            raise Interrupted(f"interrupted; {Study(plan.folder, plan.workspace)}", hint="resume with the same command")
    options.print_result(as_json, answer.document(report), f"{answer.text()}\nreport: {report}")
    return 0 if answer.reached else TargetMissed.exit_code


def _plan_facts(document: dict[str, Any], threshold: str) -> dict[str, str]:
    """Return the plan as text by title; ``document`` is described in ``search_plan_json``."""
    from harness.searching.scheduler import RUNG_SHARES

    config = document["config"]
    effort = document["effort"]
    low_pct, high_pct = (100 * share for share in document["feasible_share"])
    feasible = f"{low_pct:.3g} %" if document["feasible"]["exact"] else f"{low_pct:.3g} to {high_pct:.3g} %"
    limits_text = f"{config['budget']:,} parameters"
    # Minimised parameters, limited by ``budget``, and an absent second metric have no keys.
    for metric_key, limit_key in (("minimise", "most"), ("second", "second_most")):
        limit = config.get(limit_key)
        if limit is not None:
            metric = Metric(config[metric_key])
            limits_text += f"; minimised: {metric.unit}, at most {limit:,}"
            # The largest value among random draws of the space.
            if metric in document.get("drawn_ceilings", ()):
                limits_text += " (the largest drawn network)"
    if "chip" in document:
        limits_text += f"; limits of the chip: {' and '.join(document['chip'])}"
    recipe = " or ".join(document.get("recipe_choices", [config["recipe_name"]]))
    runs = f"recipe {recipe}, epochs {', '.join(map(str, document['lengths']))}"
    if config["rungs"]:
        runs += f", pruned at {' and '.join(f'{100 * share:g} %' for share in RUNG_SHARES)}"
    seconds = document["estimated_seconds_a_training"]  # of a median network, for the fewest and for the most epochs
    if seconds is not None:
        processor = "a single core" if effort["device"] == "cpu" else "the GPU"
        low, high = (f"{each:.0f}" if each >= 10 else f"{each:.1f}" for each in seconds)
        runs += f"; about {low} to {high} s per run on {processor}"
    time = "no time limit" if effort["seconds"] is None else duration_text(effort["seconds"])
    trials = "" if effort["trials"] is None else f", at most {counted(effort['trials'], 'trial')}"
    workers = f"{counted(effort['workers'], 'worker')} on {effort['device']}, {effort['engine']} engine"
    nodes = "".join(f"; node {node['name']}" for node in document["nodes"])
    return {
        "study": f"{document['study']} ({'resumed' if document['exists'] else 'new'}) in {document['folder']}",
        "target": f"{config['target_pct']:g} % on the test images of {dataset_named(config['dataset']).title}; "
        f"{threshold} on validation images",
        "budget": limits_text,
        "space": f"{config['space']}: {count_text(document['derivations'], 'configuration')}, {feasible} feasible",
        "runs": runs,
        "sampler": f"{config['sampler']}, seed {config['seed']}; prior {config['prior']}: "
        + counted(document["past_trainings"], "prior observation"),
        "effort": f"{workers}; {time}{trials}{nodes}",
    }
