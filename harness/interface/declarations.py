"""A declaration for each option of the functions of ``import harness``: options of a search, and further options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from harness.searching.option_types import FILE, SHAPE
from harness.searching.request import SearchRequest
from harness.spaces.fast_kernels import Optimisation
from harness.system.files import workspace
from harness.system.option import Option, options_of


def _known_networks() -> Iterable[str]:
    from harness.interface.lookup import known_names

    return known_names(workspace())


class _FurtherOptions:
    """Options that a search lacks, or that have a different meaning in a search.

    ``options.takes`` replaces the defaults by the defaults of the function.
    """

    network = Option[Any, Any](
        None, "An ``Architecture``, the notation, a preset, a hash or name of the leaderboard, ``@FILE``, ``-`` for "
        "stdin, a PyTorch module (``FILE.py:NAME`` executes the code), a ``Trial``, or a ``Study`` (the answer).",
        known_values=_known_networks,
    )  # fmt: skip
    epochs = Option[Any, Any](None, "Number of epochs; replaces the number of the named recipe.", click.IntRange(1))
    seed = Option[Any, Any](0, "Index of the seed in the list of fixed seeds.", click.IntRange(0, 2**32 - 1))
    seeds = Option[Any, Any](None, "Number of seeds [default: 10, or 30 for a certification].", click.IntRange(1, 1000))
    name = Option[Any, Any]("", "Name of the leaderboard row.")
    input_shape = Option[Any, Any](
        None, "Shape of an image: channels x rows x columns [default: 1x28x28].", SHAPE, flags=("--input",)
    )
    classes = Option[Any, Any](None, "Number of classes [default: 10].", click.IntRange(2))
    torch = Option[Any, Any](False, "Also count with torch, torchsummary and fvcore.", click.BOOL)
    c = Option[Any, Any](None, "Folder to write, with the integer network as C.", FILE)
    optimise = Option[Any, Any](
        None, "Goal of the C code: few bytes or few instructions [default: size; speed if it fits --chip].",
        click.Choice(list(map(str, Optimisation))), flags=("--optimise", "--optimize"),
    )  # fmt: skip
    pytorch = Option[Any, Any](None, "Folder to write, with the network as plain PyTorch.", FILE)
    onnx = Option[Any, Any](None, "ONNX file to write.", FILE)
    safetensors = Option[Any, Any](None, "File to write, with the weights as safetensors.", FILE)
    out = Option[Any, Any](None, "File to write, with the weights as safetensors.", FILE)
    retrain = Option[Any, Any](
        False, "Train a recorded seed again; required if the weights of the seed are not kept.", click.BOOL
    )


_FURTHER = {name: option for name, option in vars(_FurtherOptions).items() if isinstance(option, Option)}
DECLARED: dict[str, Option[Any, Any]] = options_of(SearchRequest) | _FURTHER
