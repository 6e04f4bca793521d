"""``harness toy``: backpropagation on the smallest network of the bench, worked out and drawn."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from harness.commands.shared import options
from harness.system import files
from harness.system.errors import UsageError
from harness.system.files import check_writable
from harness.system.terminal import say


@click.command(short_help="Work out backpropagation on a network of eight weights.")
@click.option(
    "--learning-rate",
    "learning_rates",
    type=float,
    multiple=True,
    help="May be repeated [default: 0.1 0.2 0.5 0.8 1.0 2.0].",
)
@click.option(
    "--iterations", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True, help="Number of updates."
)
@click.option("--target", type=float, default=0.01, show_default=True, help="Count the updates to a loss below it.")
@click.option("--check", "with_check", is_flag=True, help="Compare the gradients with autograd and differences.")
@click.option("--out", type=click.Path(), help="Write the page, the workbook and the figures there.")
@options.as_json
def toy(
    learning_rates: tuple[float, ...],
    iterations: int,
    target: float,
    with_check: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Work out backpropagation on a network of eight weights, and what the learning rate does to it.

    Prints each quantity as a formula, with the numbers put in, and as its value; then a table of learning rates.
    --out writes toy.html (try it yourself), toy.xlsx (the same as a spreadsheet) and two figures as SVG and PNG.
    The files show the documents' learning rates, whatever the other options say.
    docs/backprop.md derives every line.

    \b
    harness toy
    harness toy --learning-rate 0.5 --learning-rate 60 --iterations 200
    harness toy --check
    harness toy --out toy
    """
    from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, train
    from harness.toy.rate_curve import rate_curve
    from harness.toy.toy import check_document, check_text, document, network_text, rates_text

    rates = tuple(dict.fromkeys(learning_rates or LEARNING_RATES))
    curves = [rate_curve(WEIGHTS, EXAMPLE, rate, iterations, target) for rate in rates]
    start = next(train(WEIGHTS, EXAMPLE, 0.0))
    check = None
    if with_check:
        from harness.toy.gradient_check import checked

        check = checked(WEIGHTS, EXAMPLE)
    written = [] if out is None else _write(out)
    if as_json:
        checks = {"checks": check_document(check)} if check else {}
        files = {"files": [str(path) for path in written]} if written else {}
        options.print_json(document(start, curves, target) | checks | files)
        return
    parts = [network_text(EXAMPLE, start), rates_text(curves, target)]
    parts += [check_text(check)] if check else []
    parts += ["\n".join(map(str, written))] if written else []
    click.echo("\n\n".join(parts))


def _write(out: str) -> list[Path]:
    """Write the files of the toy, all or none, and return their paths; they show the documents' rates."""
    if not out:
        raise UsageError("--out '': name a folder; . is the current one")
    folder = Path(out)
    check_writable(folder)
    from reports.toy import toy_figures, toy_page, toy_workbook

    contents = toy_page.contents() | toy_workbook.contents() | toy_figures.contents()
    written = {folder / name: content for name, content in contents.items()}
    files.write_together(written)
    # Some of the options given may have no part in the files.
    context = click.get_current_context()
    shaping = {"learning_rates": "--learning-rate", "iterations": "--iterations", "target": "--target"}
    given = [
        option for name, option in shaping.items() if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        say(
            f"the files of --out show the documents' learning rates; {' and '.join(given)} "
            f"change{'s' * (len(given) == 1)} only what is printed"
        )
    return list(written)
