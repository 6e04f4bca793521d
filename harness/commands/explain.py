"""``harness explain``: shapes, parameters, multiply-adds and receptive field of a network, op by op."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.system.files import workspace
from harness.system.terminal import Column, console, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.cost import Analysis
    from search_spaces.network import Architecture
    from search_spaces.ops import Op
    from search_spaces.task import Shape


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
    from search_spaces.catalog import network_name
    from search_spaces.cost import analyse, check_budget, stored_numbers
    from search_spaces.op_specs import op_text
    from search_spaces.task import MNIST

    architecture = read_network(network, workspace(), MNIST).architecture
    analysis = analyse(architecture, MNIST)
    if budget is not None:
        check_budget(analysis.parameters, budget)
    document: dict[str, Any] = {
        "architecture": str(architecture),
        "hash": architecture.hash,
        "parameters": analysis.parameters,
        "stored_numbers": stored_numbers(architecture, MNIST),
        "macs": analysis.macs,
        "receptive_field": analysis.receptive_field,
        "layers": [asdict(layer) | {"op": op_text(layer.op)} for layer in analysis.layers],
    }
    if with_torch:
        from harness.cross_check import cross_check

        document["checks"] = asdict(cross_check(architecture, analysis))
    if as_json:
        options.print_json(document)
        return
    _show(architecture, analysis)
    name = network_name(architecture, analysis.parameters)
    click.echo(f"{name}, hash {architecture.hash}; {document['stored_numbers']:,} numbers with the statistics of BN")
    if budget is not None:
        click.echo(f"budget {budget:,}: {budget - analysis.parameters:,} parameters left")
    if with_torch:
        click.echo("the same: " + ", ".join(f"{name} {number:,}" for name, number in document["checks"].items()))


def _show(architecture: Architecture, analysis: Analysis) -> None:
    """Print a line an op; the ops of a residual sum stand below it, whose line has their costs."""
    rows, used = list[tuple[str, ...]](), set[str]()
    shape: Shape = analysis.task.input_shape
    for layer in analysis.layers:
        (op, output, shared), *inner = _rows((layer.op,), shape, used)
        costs = (shared or f"{layer.parameters:,}", f"{layer.macs:,}", str(layer.receptive_field))
        rows += [(op, output, *costs), *((*row, "", "") for row in inner)]
        shape = layer.output_shape
    # The receptive field of the last layer before global pooling or the classifier.
    rows.append(("total", "", f"{analysis.parameters:,}", f"{analysis.macs:,}", str(analysis.receptive_field)))
    numbers = [Column(title, numeric=True) for title in ("output", "parameters", "MACs", "receptive field")]
    show_table(console(), [Column("op"), *numbers], rows, [""] * (len(rows) - 1) + ["bold"])


def _rows(ops: Sequence[Op], shape: Shape, used: set[str], indent: str = "") -> list[tuple[str, str, str]]:
    """Return op, output shape and whether its kernel was used before; ``used`` takes note of the names of kernels."""
    from search_spaces.cost import output_shape
    from search_spaces.op_specs import op_text
    from search_spaces.ops import Conv, DepthwiseConv, Residual
    from search_spaces.task import shape_text

    rows = []
    for op in ops:
        output = output_shape(op, shape)
        if isinstance(op, Residual):
            inner = _rows(op.ops, shape, used, indent + "  ")
            rows += [(f"{indent}res(", shape_text(output), ""), *inner, (f"{indent})", "", "")]
        else:
            tie = op.tie if isinstance(op, Conv | DepthwiseConv) else None
            rows.append((indent + op_text(op), shape_text(output), "shared" if tie in used else ""))
            if tie is not None:
                used.add(tie)
        shape = output
    return rows
