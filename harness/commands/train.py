"""``harness train``: train a network once."""

from __future__ import annotations

from typing import Any

import click

from harness.interface import api, options


@click.command(short_help="Train a network once, with validation.")
@options.of(api.train)
def train(as_json: bool, **arguments: Any) -> int:
    """Train NETWORK once on the search split and validate the network after every epoch.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, '-' (stdin), or
    a PyTorch module FILE.py:NAME, whose code is executed.
    The test set is not read; 'harness verify' does that. Training uses a single thread, as in a search, so that the
    same seed gives the same weights. Exit code 3 if training diverges.

    \b
    harness train seed4 --epochs 3
    harness train 'conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)' --json
    """
    training = api.train(**arguments)
    options.print_result(as_json, training.document(), str(training))
    return 3 if training.result.status == "diverged" else 0
