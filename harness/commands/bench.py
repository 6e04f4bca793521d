"""``harness bench``: search methods compared on tables of recorded trainings."""

from __future__ import annotations

import click


@click.group(short_help="Compare search methods on recorded trainings.")
def bench() -> None:
    """Compare search methods on tables of recorded trainings, and record such tables.

    \b
    harness bench table NAME --space bench --plan    what recording a table would take
    """
