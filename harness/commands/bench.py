"""``harness bench``: search methods compared on recorded trainings; ``bench_table`` and ``bench_run`` do it."""

from __future__ import annotations

import click

from harness.commands.bench_run import run
from harness.commands.bench_table import table


@click.group(short_help="Compare search methods on recorded trainings.")
def bench() -> None:
    """Compare search methods on tables of recorded trainings, and record such tables.

    \b
    harness bench table NAME --space bench --plan    what recording a table would take
    harness bench run mnist-bench                    all methods, 200 repeats each
    """


for _command in (table, run):
    bench.add_command(_command)
