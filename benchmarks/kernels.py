"""Measure the exported C that is optimised for size and for speed on emulated chips, for networks of different form.

The networks have random weights, because instructions hardly depend on the weights. The table is printed as Markdown.
Requires the cross compilers and emulators that CONTRIBUTING lists.

    python -m benchmarks.kernels
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from harness.data.datasets import dataset
from harness.deployment.c_library import Library
from harness.deployment.emulated import FAMILIES, emulate
from harness.system.errors import HarnessError
from harness.training.integer import integer_logits, integer_network, map_scales
from harness.training.torch_network import Images, build
from search_spaces.deployment import integer_plan
from search_spaces.fast_kernels import Optimisation
from search_spaces.network import Architecture, analyse
from search_spaces.notation import parse_network

_FLAG = "-O2"  # option of the compilers, for both variants
_CHIPS = ("Cortex-M0", "RV32IMC")  # keys of ``FAMILIES``
_IMAGES = 20  # random images from which the ranges of maps are measured
NETWORKS = (
    "conv3x3(8) bn relu maxpool conv3x3(16) bn relu maxpool conv3x3(16) bn relu | gap | linear(10)",
    "conv5x5(6) relu maxpool conv5x5(12, pad=0) relu maxpool | linear(10)",
    "conv3x3(16, poses=4) bn(poses=4) relu avgpool conv3x3(16, poses=4) bn(poses=4) relu avgpool | gap | linear(10)",
    "conv3x3(16, poses=8) bn(poses=8) relu maxpool conv3x3(16, poses=8) bn(poses=8) relu maxpool | gap | linear(10)",
    "conv3x3(8) bn relu maxpool dwconv3x3 bn conv1x1(16) bn relu maxpool dwconv3x3 conv1x1(24) relu | gap | linear(10)",
    "conv3x3(8, poses=8) bn relu avgpool conv1x1(24, poses=8) dwconv3x3(poses=8) conv1x1(24, poses=8) bn relu | gap"
    " | linear(10)",
    "conv3x3(12, stride=2) bn relu conv3x3(16, groups=4) bn relu maxpool conv1x1(20) relu | gap | linear(10)",
    "unshuffle(4) conv1x1(24) bn relu res(conv3x3(24, groups=8) bn relu conv1x1(24) bn) relu | gap | linear(10)",
    "conv1x5(8) bn relu conv1x5(8, stride=2) bn relu conv3x1(12) leaky maxpool | gap | linear(10)",
    "maxpool(4) linear(32) relu linear(10)",
)


def _library(architecture: Architecture) -> Library:
    """Return the C library of a network with random weights; the first random image is the example."""
    spec = dataset("mnist")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (_IMAGES, *spec.image_shape), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.zeros(_IMAGES, dtype=torch.int64), spec.mean, spec.std)
    torch.manual_seed(0)
    network = build(architecture, spec.task).eval()
    plan = integer_plan(architecture.ops, spec.task.input_shape)
    integers = integer_network(network, plan, spec.mean, spec.std, map_scales(network, plan, images))
    return Library(network=integers, dataset=spec, examples=pixels[:1].numpy())


def main() -> None:
    """Measure and print the table."""
    print("| network | multiply-adds | arena | chip | per multiply-add, size | speed | code, size | speed |"
          " stack, size | speed |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for text in NETWORKS:
        library = _library(parse_network(text))
        macs = analyse(parse_network(text), library.dataset.task).macs
        expected = integer_logits(library.network, library.examples)
        for chip in _CHIPS:
            results = [
                emulate(replace(library, optimise=optimise), library.examples, FAMILIES[chip], _FLAG)
                for optimise in Optimisation
            ]
            if not all(np.array_equal(result.logits, expected) for result in results):
                raise HarnessError(f"the logits of {text} differ on {chip}")
            works = " | ".join(f"{result.work / macs:.2f}" for result in results)
            codes = " | ".join(f"{result.code_bytes:,}" for result in results)
            stacks = " | ".join(f"{result.stack_bytes:,}" for result in results)
            name = text.replace(" | ", " ")
            arena = library.network.plan.arena_bytes
            print(f"| `{name}` | {macs:,} | {arena:,} | {chip} | {works} | {codes} | {stacks} |", flush=True)


if __name__ == "__main__":
    main()
