"""``harness spaces``: list, show, sample, count and check search spaces; no network is built."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import click

from harness.interface import options
from harness.spaces.catalog import SPACES, space
from harness.spaces.counting import count_text, feasible
from harness.spaces.network import analyse
from harness.spaces.space import SearchSpace, draw_uniform
from harness.system.errors import ContentError
from harness.system.terminal import say

_seed = click.option("--seed", type=int, default=0, help="Random seed.")


@click.group(short_help="List, show, sample, count and check search spaces.")
def spaces() -> None:
    """List, show, sample, count and check search spaces.

    NAME is the name of a built-in space, or @FILE.

    \b
    harness spaces list
    harness spaces sample card --count 3 --budget 8000
    harness spaces check my.space
    """


@spaces.command("list", short_help="List the built-in spaces.")
@options.as_json
def _list(as_json: bool) -> None:
    """List the built-in spaces; the first space is the default."""
    documents = [_facts(space(name)) | {"description": text} for name, text in SPACES.items()]
    lines = [
        f"{each['name']:<8}{count_text(each['derivations']):>14} configurations  {each['description']}"
        for each in documents
    ]
    options.print_result(as_json, {"spaces": documents}, "\n".join(lines))


@spaces.command()
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Print the text of a space."""
    definition = space(name)
    options.print_result(as_json, _facts(definition) | {"text": definition.text}, definition.text.rstrip("\n"))


@spaces.command(short_help="Draw networks from a space.")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 100_000), default=5, help="Number of networks to draw.")
@_seed
@options.option("budget", default=None)
@options.as_json
def sample(name: str, count: int, seed: int, budget: int | None, as_json: bool) -> None:
    """Draw networks from a space, each decision uniformly; rejected networks are drawn again."""
    definition = space(name)
    rng = random.Random(seed)
    networks: list[dict[str, Any]] = []
    for _ in range(count):
        network = draw_uniform(definition, rng, budget)
        analysis = analyse(network.architecture, definition.task)
        costs = {metric: getattr(analysis, metric) for metric in ("parameters", "macs", "receptive_field")}
        facts = {"architecture": str(network.architecture), "hash": network.architecture.hash}
        networks.append(facts | costs | {"decisions": network.indices})
    lines = [f"{network['hash']} {network['parameters']:>7,}  {network['architecture']}" for network in networks]
    document = {"space": definition.name, "seed": seed, "budget": budget, "networks": networks}
    options.print_result(as_json, document, "\n".join(lines))


@spaces.command(short_help="Count the configurations of a space.")
@click.argument("name")
@options.option("budget", default=None)
@click.option(
    "--samples",
    type=click.IntRange(100, 100_000),
    default=2_000,
    help="Number of draws, if the space is too large to enumerate.",
)
@_seed
@options.as_json
def count(name: str, budget: int | None, samples: int, seed: int, as_json: bool) -> None:
    """Count the configurations of a space, and the share that meets the conditions and the budget."""
    definition = space(name)
    document, lines = _counted(definition, budget, seed, samples)
    head = f"{definition.name}: {count_text(document['derivations'], 'configuration')}"
    options.print_result(as_json, document | {"budget": budget}, "\n".join([head, *lines]))


@spaces.command(short_help="Check the search space in a file.")
@click.argument("file", type=click.Path())
@options.as_json
def check(file: str, as_json: bool) -> None:
    """Check the search space in FILE; exit code 4 if invalid, or if the space is small and contains no network.

    The output states how many networks are accepted and why networks are rejected, and warns of rules that 'net' does
    not use. FILE may also be a name of 'harness spaces list', unless a file has this name.
    """
    is_name = file.isidentifier() and not os.path.exists(file)
    definition = space(file if is_name else f"@{file.removeprefix('@')}")
    document, lines = _counted(definition)
    size = count_text(document["derivations"], "configuration")
    if not document["feasible"]["accepted"]:
        rejections = ", ".join(map(str.strip, _rejection_lines(document["feasible"]["rejected"][:1])))
        if document["feasible"]["exact"]:
            raise ContentError(f"{definition.name}: none of the {size} is accepted; {rejections}")
        draw_count = document["feasible"]["looked_at"]
        say(f"none of {draw_count:,} configurations drawn at random is accepted; {rejections}", "warning")
    for name in definition.unused_names:
        say(f"'net' does not use {name!r}", "warning")
    head = f"{definition.name} is a search space: {size}, hash {definition.hash}"
    options.print_result(as_json, document, "\n".join([head, *lines]))


def _facts(definition: SearchSpace) -> dict[str, Any]:
    return {
        "name": definition.name,
        "hash": definition.hash,
        "derivations": definition.configurations,  # a published key of the JSON output
        "conditions": [str(condition) for condition in definition.conditions],
        "unused": definition.unused_names,
    }


def _counted(
    definition: SearchSpace, budget: int | None = None, seed: int = 0, samples: int = 2_000
) -> tuple[dict[str, Any], list[str]]:
    count = feasible(definition, budget, rng=random.Random(seed), samples=samples)
    acceptance_text = f"accepted: {count.accepted:,} of {count.looked_at:,}"
    if count.exact:
        acceptance_text += " (all checked)"
    else:
        low_pct = 100 * (count.low / count.derivations)
        high_pct = 100 * (count.high / count.derivations)
        number = f"{count_text(count.low)} to {count_text(count.high)}"
        confidence = f"{100 * count.confidence:g} % confidence"
        acceptance_text += f" random draws: {low_pct:.2f} to {high_pct:.2f} % of all, {number}, with {confidence}"
    facts = dataclasses.asdict(count)
    return _facts(definition) | {"feasible": facts}, [acceptance_text, *_rejection_lines(facts["rejected"])]


def _rejection_lines(rejections: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for rejection in rejections:
        why = "layers do not fit together" if rejection["reason"] == "shape" else f"by {rejection['reason']}"
        lines.append(f"rejected: {rejection['times']:,}, {why}, such as")
        lines += [f"  {rejection['network']}", f"  {rejection['message']}"]
    return lines
