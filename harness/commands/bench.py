"""``harness bench``: search methods compared on tables of recorded trainings; ``bench table`` is ``bench_table``."""

from __future__ import annotations

import click

from harness.commands.bench_table import table


@click.group(short_help="Compare search methods on recorded trainings.")
def bench() -> None:
    """Compare search methods on tables of recorded trainings, and record such tables.

    \b
    harness bench table NAME --space bench --plan    what recording a table would take
    """


for _command in (table,):
    bench.add_command(_command)
