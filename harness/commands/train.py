"""``harness train`` and ``harness export``: one training, and trained networks for other programs."""

from __future__ import annotations

from typing import Any

import click

from harness import api, options


@click.command(short_help="Train one network once and validate it.")
@options.of(api.train)
def train(as_json: bool, **arguments: Any) -> int:
    """Train NETWORK once on the search split and validate it after every epoch.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, or '-'
    (stdin). The test set is not read; 'harness verify' does that. One thread trains, as in a search, so that the
    same seed gives the same weights. Exit code 3 when training diverges.

    \b
    harness train seed4 --epochs 3
    harness train 'conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)' --json
    """
    training = api.train(**arguments)
    options.answer(as_json, training.document(), str(training))
    return 3 if training.result.status == "diverged" else 0


@click.command(short_help="Write a network as ONNX or safetensors.")
@options.of(api.export)
def export(as_json: bool, **arguments: Any) -> int:
    """Write a trained NETWORK for other programs, as ONNX or safetensors.

    The weights of a recorded seed are those kept in records/weights. A network without a record is trained, on all
    training images with this seed, and so is a recorded one with --retrain; the test set is not read. On the same kind
    of machine the weights are those of the record, bit for bit; the output says whether they are.

    The ONNX model takes the raw numbers of the data set, MNIST's as uint8 (batch, 1, 28, 28), scales and normalises
    them itself, and is compared with torch on real images before it is written; rotated filters are written out. It
    needs the optional packages of 'export'. The safetensors file has torch's names; a shared kernel is stored once,
    under the name of the first layer that uses it. Both name the classes, and say how numbers are scaled.
    Exit code 6 if packages are missing, 3 if training diverges; then nothing is written.

    \b
    harness export eab8ff --onnx digits.onnx
    harness export 4b8be5 --seed 3 --onnx net.onnx --safetensors net.safetensors
    """
    result = api.export(**arguments)
    options.answer(as_json, dict(result.facts), str(result))
    return 0
