"""``harness quote``: what a search will come to, and what it takes, before it."""

from __future__ import annotations

from typing import Any

import click

from harness.interface import api, options


@click.command(short_help="Say how large the answer of a search will be, and what it takes.")
@options.of(api.quote)
def quote(as_json: bool, **arguments: Any) -> None:
    """Train a few networks on DATASET, and say what a search for the target is expected to come to.

    DATASET is a name, or the path of one's own data. It says how many parameters the answer will have, how long the
    search takes here, what a linear model reaches, the highest accuracy in sight, and whether more pictures would
    help more than more parameters. Intervals are of 90 %. Nothing is written, and the test set is not read.

    \b
    harness quote mnist-5k --target 97
    harness quote pictures/ --target 95 --time 3m --json
    """
    quoted = api.quote(**arguments)
    options.answer(as_json, quoted.document(), str(quoted))
