"""``harness explain``: shapes, parameters, multiply-adds and receptive field of a network, op by op."""

from __future__ import annotations

import dataclasses

import click

from harness.commands.shared import options
from harness.system.files import workspace


@click.command(short_help="Say what a network costs, op by op.")
@click.argument("network")
@click.option("--budget", type=click.IntRange(1), help="Exit with 4 when there are more parameters.")
@click.option("--torch", "with_torch", is_flag=True, help="Count with torch, torchsummary and fvcore too.")
@options.as_json
def explain(network: str, budget: int | None, with_torch: bool, as_json: bool) -> None:
    """Say what NETWORK costs, op by op; trains nothing.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, or '-'
    (stdin). With --torch the network is built, and other counts are an internal fault (exit code 1).

    \b
    harness explain seed4
    harness explain 'conv3x3(8) bn relu | gap | linear(10)' --budget 20000 --json
    """
    from harness.commands.shared.network_argument import read_network
    from harness.explain import document, table
    from search_spaces.cost import analyse, check_budget
    from search_spaces.task import MNIST

    architecture = read_network(network, workspace(), MNIST).architecture
    analysis = analyse(architecture, MNIST)
    if budget is not None:
        check_budget(analysis.parameters, budget)
    checks = None
    if with_torch:
        from harness.cross_check import cross_check

        checks = dataclasses.asdict(cross_check(architecture, analysis))
    if as_json:
        options.print_json(document(architecture, analysis) | ({"checks": checks} if checks else {}))
        return
    click.echo(table(architecture, analysis))
    if budget is not None:
        click.echo(f"budget {budget:,}: {budget - analysis.parameters:,} parameters left")
    if checks is not None:
        click.echo("the same: " + ", ".join(f"{name} {number:,}" for name, number in checks.items()))
