"""Builds whose vectors differ in width give the same bits: sums over a batch are made in the same parts everywhere."""

from __future__ import annotations

import pytest
import torch

from benchmarks.same_bits import NETWORKS, RECIPES, some_images
from harness.training.native import native
from harness.training.native.native import LEVELS
from harness.training.recipe import Recipe
from harness.training.train import start, train_epoch, weights_digest
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness.training.native.test_native_tiles import TILED

TURNED = (
    "conv3x3(8, poses=4, bias) bn(poses=4) prelu | avgpool | prelu bn conv3x3(8) prelu bn(poses=2, shared) leaky "
    "dropout(0.2) | swish bn swish avgpool | dropout2d(0.2) gap | linear(10)"
)
WIDE = "maxpool(4) conv1x1(9) bn relu conv1x1(23, bias) relu gap linear(10)"


def digest(text: str, recipe: Recipe, *options: str) -> str:
    """Return what an engine that is compiled with these options learns in a few steps."""
    engine = native.load(LEVELS[-1], extra=("-O0", *options))
    run = start(parse_network(text), recipe, 3, torch.device("cpu"), engine, task=MNIST)
    train_epoch(run, some_images(70))
    return weights_digest(run)


@pytest.mark.parametrize("recipe", RECIPES, ids=["SGD, batch 32", "Adam, batch 20"])
@pytest.mark.parametrize(
    "text",
    [*NETWORKS, TURNED, TILED[1], TILED[3], WIDE],
    ids=["ties", "strides", "vectors", "poses", "tiles", "narrow tiles", "1x1"],
)
def test_the_width_of_vectors_is_not_in_the_bits(text: str, recipe: Recipe):
    # The narrow ones need no instruction that a processor may lack; the wide ones are laid out by the compiler.
    narrow = digest(text, recipe)
    assert [digest(text, recipe, f"-DVECTOR_BYTES={width}") for width in (32, 64)] == [narrow, narrow]
