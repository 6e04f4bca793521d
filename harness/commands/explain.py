"""``harness explain``: the cost of a network, op by op."""

from __future__ import annotations

from typing import Any

import click

from harness.interface import api, options
from harness.system.terminal import counted


@click.command(short_help="Print the cost of a network, op by op.")
@options.of(api.explain)
def explain(network: str, budget: int | None, as_json: bool, **arguments: Any) -> None:
    """Print the cost of NETWORK, op by op; nothing is trained.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, '-' (stdin), or
    a PyTorch module FILE.py:NAME, whose code is executed.
    With --torch the network is built and counted by torch, torchsummary and fvcore; a difference is an internal fault
    (exit code 1).

    \b
    harness explain seed4
    harness explain 'conv3x3(8) bn relu | gap | linear(10)' --budget 20000 --json
    harness explain eab8ff --chip microbit-v1
    harness explain 'conv3x3(8) bn relu | gap | linear(7)' --input 3x32x32 --classes 7
    """
    explanation = api.explain(network, budget=budget, **arguments)
    text = str(explanation)
    if budget is not None:
        text += f"\nbudget {budget:,}: {counted(budget - explanation.analysis.parameters, 'parameter')} left"
    options.print_result(as_json, explanation.document(), text)
