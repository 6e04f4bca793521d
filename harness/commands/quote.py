"""``harness quote``: forecast the result and the duration of a search."""

from __future__ import annotations

from typing import Any

import click

from harness.interface import api, options


@click.command(short_help="Forecast the result and the duration of a search.")
@options.dataset_as_argument
@options.of(api.quote)
def quote(as_json: bool, **arguments: Any) -> None:
    """Train a few networks on DATASET, and forecast the result and the duration of a search for the target.

    DATASET is a name, or the path of your own data. The forecast states the parameters of the answer, the duration of
    the search on this machine, the result of a linear model, the highest predicted accuracy, and whether more pictures
    would help more than more parameters. Intervals cover 90 %. The test set is not read, and no file is written.

    \b
    harness quote mnist-5k --target 97
    harness quote pictures/ --target 95 --time 3m --json
    """
    result = api.quote(**arguments)
    options.print_result(as_json, result.document(), str(result))
