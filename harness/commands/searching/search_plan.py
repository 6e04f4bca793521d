"""What ``harness search --plan`` says to people."""

from __future__ import annotations

from typing import Any

from harness.data.datasets import dataset
from harness.system.terminal import counted, duration_text
from search_spaces.count import configurations_text
from search_spaces.space import OBJECTIVES, Metric


def plan_facts(document: dict[str, Any]) -> dict[str, str]:
    """Return the plan, a line a matter.

    Args:
        document: as ``harness.search.run_plan.plan_document`` gives it.
    """
    config, effort = document["config"], document["effort"]
    recipe, limits = config["recipe"], effort["limits"]
    lengths = ", ".join(map(str, document["lengths"][:-1]))
    last = str(document["lengths"][-1])
    return {
        "study": f"{document['study']} ({'continues' if document['exists'] else 'new'}) in {document['folder']}",
        "target": f"{config['target_pct']:g} % on the test images of {dataset(config['dataset']).title}",
        "threshold": f"{config['threshold_pct']:g} % on the validation images; it stands for the target, because a "
        f"search does not read the test images ({_offset_text(document['offset'])})",
        "space": f"{config['space']}: {configurations_text(document['derivations'])} (ways to draw a network)",
        "share": _share_text(document),
        **_objective_text(config),
        "sampler": f"{config['sampler']}, seed {config['seed']}",
        "prior": _prior_text(document),
        "recipe": f"{config['recipe_name']}; batches of {recipe['batch_size']}; "
        f"{f'{lengths} or {last}' if lengths else last} {'epoch' if last == '1' else 'epochs'}; "
        + (
            "hopeless trainings stop after a quarter or a half" if config["rungs"] else "every training goes to its end"
        ),
        "confirmed": f"after {document['stand_seeds']} to {document['most_seeds']} more seeds, if "
        f"its verification passes with a chance of at least {100 * document['confidence']:g} %",
        "effort": _effort_text(document),
        **({"nodes": _nodes_text(document["nodes"])} if document["nodes"] else {}),
        **({"storage": f"{document['storage']}, which a plan does not open"} if "storage" in document else {}),
        "limits": f"{duration_text(limits['seconds'])} a training, {limits['memory_mb']:g} MiB a worker",
        "expected": _expected_text(document),
        "set by you": _given_text(document["origins"]),
    }


def _objective_text(config: dict[str, Any]) -> dict[str, str]:
    """Return what is minimised, where it is not the parameters."""
    if "minimise" not in config:
        return {}
    return {"minimised": f"{OBJECTIVES[Metric(config['minimise'])]}, at most {config['most']:,}"}


def _effort_text(document: dict[str, Any]) -> str:
    effort = document["effort"]
    workers = counted(effort["workers"], "worker")
    time = "no limit of time" if effort["seconds"] is None else f"{duration_text(effort['seconds'])} in all"
    trials = "any number of networks" if effort["trials"] is None else f"at most {counted(effort['trials'], 'network')}"
    return f"{workers} on {effort['device']}, {effort['engine']} engine; {time}, {trials}"


def _nodes_text(nodes: list[dict[str, Any]]) -> str:
    """Return the nodes of a cluster and what they offer."""
    return ", ".join(f"{node['name']} ({_offer(node)})" for node in nodes)


def _offer(node: dict[str, Any]) -> str:
    cores = counted(node["cores"], "core")
    return f"{cores}, {counted(node['gpus'], 'GPU')}" if node["gpus"] else cores


def _given_text(origins: dict[str, str]) -> str:
    """Return the options that are not at their defaults, and the variables of the environment that set some."""
    words = {"seconds": "time", "folder": "data", "limits": "limit"}
    given = [
        f"--{words.get(name, name).replace('_', '-')}{' (environment)' if origin == 'environment' else ''}"
        for name, origin in origins.items()
        if origin not in ("default", "default_map")
    ]
    return ", ".join(given) or "nothing"


def _prior_text(document: dict[str, Any]) -> str:
    """Return what earlier trainings the model of the errors begins with."""
    count, config = document["past_trainings"], document["config"]
    prior = config["prior"]
    if not count:
        found = f"no earlier training on {config['dataset']} by such a recipe is known"
        return f"{prior}: {found}, so the search begins with networks spread over all sizes"
    return f"{prior}: the model of the errors begins with {counted(count, 'earlier training')}"


def _offset_text(offset: dict[str, Any]) -> str:
    if offset["relative_error"] is None:
        return "as many errors are expected on both; the ratio is not measured for these images"
    return (
        f"{offset['errors_ratio']:.3f} test errors are expected for each validation error, "
        f"standard error {100 * offset['relative_error']:.1f} %"
    )


def _expected_text(document: dict[str, Any]) -> str:
    seconds = document["estimated_seconds_a_training"]
    if seconds is None:
        return f"unknown: none of {document['feasible']['looked_at']:,} networks drawn keeps conditions and budget"
    low, high = seconds
    span = f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
    return (
        f"{span} s for a training of a median network ({document['feasible']['median_macs'] / 1e6:.2g} million MACs) "
        "on one core of a slow two-core CPU machine"
    )


def _share_text(document: dict[str, Any]) -> str:
    """Return how much of a space a search can train, and how that is known."""
    low, high = (100 * share for share in document["feasible_share"])
    count = document["feasible"]
    share, known = (
        f"{low:.3g} to {high:.3g} %",
        f"{count['looked_at']:,} drawn, {100 * count['confidence']:g} % interval",
    )
    if count["exact"]:
        share, known = f"{low:.3g} %", "all counted"
    limits = f"the budget of {document['config']['budget']:,} parameters and the conditions of the space"
    return f"{share} of the configurations keep {limits} ({known}); the others are rejected before they are trained"
