"""``harness toy``: backpropagation on a network of eight weights, worked out and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.interface import options
from harness.interface.plots import empty_figure, write_figure
from harness.system import files
from harness.system.errors import UsageError
from harness.system.files import check_writable
from harness.system.terminal import aligned
from harness.toy import backprop
from harness.toy.rates import RateCurve, checked_gradients, largest_difference, rate_curve, remarks, shortest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@click.command(short_help="Work out backpropagation on a network of eight weights.")
@click.option(
    "--learning-rate",
    "learning_rates",
    type=float,
    multiple=True,
    help="Learning rate; may be repeated [default: 0.1 0.2 0.5 0.8 1.0 2.0].",
)
@click.option("--iterations", type=click.IntRange(1, 1_000_000), default=1_000, help="Number of updates.")
@click.option("--target", type=float, default=0.01, help="Count the updates until the loss is below this value.")
@click.option("--check", "with_check", is_flag=True, help="Compare the gradients with autograd and differences.")
@click.option("--out", type=click.Path(), help="Folder for the page, the workbook and a figure.")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="File for a figure of these learning rates: .png, .svg or .pdf."
)
@options.as_json
def toy(
    learning_rates: tuple[float, ...],
    iterations: int,
    target: float,
    with_check: bool,
    out: str | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Work out backpropagation on a network of eight weights, and show the effect of the learning rate.

    Print each quantity as a formula, with the numbers inserted, and as a value; then a table of learning rates. --out
    writes toy.html (an interactive page), toy.xlsx (the same as a spreadsheet) and a figure as SVG and PNG. These files
    always show the default learning rates; --figure draws the rates given by --learning-rate.
    docs/evidence/backprop.md derives every line.

    \b
    harness toy
    harness toy --learning-rate 0.5 --learning-rate 60 --iterations 200
    harness toy --check
    harness toy --out toy
    """
    from harness.training.result import finite

    rates = tuple(dict.fromkeys(learning_rates or backprop.LEARNING_RATES))
    curves = [rate_curve(backprop.START, rate, iterations, target) for rate in rates]
    quantities = backprop.forward_and_backward(backprop.START)
    paths = [] if out is None else _write(out)
    if figure is not None:
        write_figure(_rates_figure(curves, target), figure)
        paths.append(figure)
    document: dict[str, Any] = {
        "initial_loss": quantities["E_total"],
        "gradients": backprop.gradients(quantities),
        "curves": {str(curve.learning_rate): list(map(finite, curve.losses)) for curve in curves},
        "target": target,
        "updates_to_target": {str(curve.learning_rate): curve.reached_after for curve in curves},
        "updates_searched": curves[0].update_limit,
        "remarks": remarks(curves, target),
    }
    paragraphs = [_network_text(quantities), _rates_text(curves, target)]
    if with_check:
        by_source = checked_gradients(backprop.START)
        differences = {source: largest_difference(by_source, source) for source in by_source if source != "chain_rule"}
        document["checks"] = {source: by_source[source] for source in differences}
        document["checks"] |= {f"{source}_max_difference": largest for source, largest in differences.items()}
        paragraphs.append(_check_text(by_source, differences))
    if paths:
        document["files"] = [str(path) for path in paths]
        paragraphs.append("\n".join(document["files"]))
    options.print_result(as_json, document, "\n\n".join(paragraphs))


def _rates_figure(curves: Sequence[RateCurve], target: float) -> Figure:
    figure, axes = empty_figure()
    for curve in curves:
        axes.plot(curve.losses, label=f"learning rate {curve.learning_rate:g}")
    axes.axhline(target, linestyle="--", color="grey", label=f"target {target:g}")
    # The first point is at 0 updates, which a logarithmic axis cannot show.
    axes.set(xscale="symlog", yscale="log", xlabel="updates", ylabel="loss")
    axes.legend()
    return figure


def _check_text(by_source: Mapping[str, Mapping[str, float]], differences: Mapping[str, float]) -> str:
    lines = ["Check: chain rule, autograd (float64), central differences", ""]
    for name in by_source["chain_rule"]:
        lines.append("  ".join(["", name, *(f"{values[name]:+.15f}" for values in by_source.values())]))
    lines += [f"  the largest difference from {source} is {largest:.1e}" for source, largest in differences.items()]
    return "\n".join(lines)


def _network_text(numbers: Mapping[str, float]) -> str:
    lines = ["The network: 2 inputs, 2 sigmoid hidden units, 2 sigmoid outputs, 8 weights, no biases", ""]
    lines += [
        "  " + "  ".join(f"{name} {numbers[name]:g}" for name in names)
        for names in (backprop.EXAMPLE, backprop.WEIGHTS)
    ]
    for title, formulas in (
        ("Forward: input and output of each unit, and the loss", backprop.FORWARD),
        ("Backward: dE_dw1 is the derivative of E_total with respect to w1, and so on", backprop.BACKWARD),
    ):
        rows = [
            (name, f"= {formula}", f"= {backprop.with_numbers(formula, numbers)}", f"= {numbers[name]: .12f}")
            for name, formula in formulas.items()
        ]
        lines += ["", title, "", *(f"  {line}" for line in aligned(rows, "<"))]
    lines += ["", "The eight gradients, each in a single formula", ""]
    lines += [
        f"  dE_d{name} = {numbers[f'dE_d{name}']: .12f} = {formula}" for name, formula in backprop.GRADIENTS.items()
    ]
    return "\n".join(lines)


def _rates_text(curves: Sequence[RateCurve], target: float) -> str:
    updates = len(curves[0].losses) - 1
    # Columns: after 1, 10, 100 ... updates and after all.
    columns = sorted({*(10**power for power in range(len(str(updates)))), updates})
    rows = [["rate", *(f"after {number:,}" for number in columns), f"updates to a loss below {shortest(target)}"]]
    for curve in curves:
        losses = [f"{curve.losses[number]:.6g}" for number in columns]
        steps_text = f"none in {curve.update_limit:,}" if curve.reached_after is None else f"{curve.reached_after:,}"
        rows.append([shortest(curve.learning_rate), *losses, steps_text])
    head = f"Learning rates: the loss, {curves[0].losses[0]:.9f} at the start, and after further updates"
    lines = [head, "", *(f"  {line}" for line in aligned(rows))]
    sentences = remarks(curves, target)
    if sentences:
        lines += ["", *(f"  {sentence}" for sentence in sentences)]
    return "\n".join(lines)


def _write(out: str) -> list[Path]:
    if not out:
        raise UsageError("--out '': a folder is required; . is the current folder")
    check_writable(Path(out))
    from harness.toy.toy_page import contents

    content_of_path = {Path(out) / name: content for name, content in contents().items()}
    files.write_together(content_of_path)
    return list(content_of_path)
