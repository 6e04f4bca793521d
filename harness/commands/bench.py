"""``harness bench``: search methods compared on tables of recorded trainings; ``bench run`` is ``bench_run``."""

from __future__ import annotations

import click

from harness.commands.bench_run import run


@click.group(short_help="Compare search methods on recorded trainings.")
def bench() -> None:
    """Compare search methods on tables of recorded trainings, and record such tables.

    \b
    harness bench table NAME --space bench --plan    what recording a table would take
    harness bench run bench                          six methods, 200 repeats each
    """


for _command in (run,):
    bench.add_command(_command)
