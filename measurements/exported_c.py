"""Networks as exported C, for the benchmarks of chips: networks with random weights, recorded networks, emulation."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset, dataset
from harness.data.training_images import ImageData
from harness.evidence.evaluation import network_of
from harness.evidence.record import Record, read, read_recorded
from harness.exports.c_library import Library
from harness.exports.chip_families import ChipFamily
from harness.exports.compiled import write_files
from harness.exports.emulated import Emulation, emulate
from harness.exports.onnx import integers_to_onnx, to_onnx
from harness.spaces.integer_plan import WIDE_BITS, integer_plan
from harness.spaces.network import Architecture
from harness.spaces.posed import PosedBatchNorm, PosedConv2d, SharedBatchNorm, posed_filters
from harness.system.errors import HarnessError
from harness.training.integer import MAP_SCALES, WEIGHT_BITS, integer_logits, integers_of, map_scales
from harness.training.torch_network import Images, TorchNetwork, build

_RECORDS = Path(__file__).parents[1] / "records"
_RANDOM_IMAGES = 20  # random images from which the ranges of maps are measured


def random_library(architecture: Architecture, weight_bits: int = WIDE_BITS) -> Library:
    """Return the C library of a network for MNIST with random weights; the first random image is the example."""
    spec = dataset("mnist")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (_RANDOM_IMAGES, *spec.image_shape), dtype=torch.uint8, generator=generator)
    torch.manual_seed(0)
    network = build(architecture, spec.task).eval()
    network.register_buffer(WEIGHT_BITS, torch.tensor(float(weight_bits)))
    images = Images(pixels, torch.zeros(_RANDOM_IMAGES), spec.mean, spec.std)
    return _integer_library(network, architecture, spec, images)


def _integer_library(network: TorchNetwork, architecture: Architecture, spec: Dataset, images: Images) -> Library:
    """Return the C library of a network, with ranges of maps from the images unless the network has scales."""
    if MAP_SCALES not in network.state_dict():
        plan = integer_plan(architecture.ops, spec.task.input_shape)
        network.register_buffer(MAP_SCALES, map_scales(network, plan, images))
    integers = integers_of(network, architecture, spec)
    return Library(network=integers, dataset=spec, examples=images.pixels[:1].numpy(), title=str(architecture))


def checked_emulation(
    library: Library,
    family: ChipFamily,
    flag: str | None = None,
    write: Callable[[Library, Path], None] = write_files,
) -> Emulation:
    """Run the examples of a library on an emulated chip.

    Args:
        library: Network as a C library.
        family: Family of the chip.
        flag: Optimisation flag of the compiler; None for the flag of the family.
        write: See ``emulate``.

    Raises:
        DeviceError: A tool is missing, the network does not fit, or the program fails.
        HarnessError: The logits differ from the reference.
    """
    emulation = emulate(library, library.examples, family, flag, write)
    if not np.array_equal(emulation.logits, integer_logits(library.network, library.examples)):
        raise HarnessError(f"the logits of {library.title} differ on an emulated chip ({' '.join(family.flags)})")
    return emulation


@dataclass(frozen=True, slots=True)
class RecordedNetwork:
    """A recorded network in the forms that other tools take.

    Attributes:
        record: Record of the network.
        library: C library.
        plain: Float module in which kernels in poses are written out.
        onnx: ONNX files, float and integer, by kind.
        pixels: Training images, uint8 (n, channels, rows, columns).
        images: The same images as the module takes them.
        classes: Classes that the module predicts for them, (n,).
    """

    record: Record
    library: Library
    plain: nn.Module
    onnx: dict[str, bytes]
    pixels: Tensor
    images: Tensor
    classes: np.ndarray[Any, Any]


def recorded_network(name: str, seed: int, data: ImageData, count: int) -> RecordedNetwork:
    """Return a recorded network.

    Args:
        name: File name of the record, without ``.json``.
        seed: Index of a seed whose weights are kept.
        data: Training images.
        count: Number of the images in the result.
    """
    spec = data.dataset
    record = read(_RECORDS / f"{name}.json")
    network = network_of(read_recorded(_RECORDS, record, seed), spec.task)
    range_images = Images(data.train_images, torch.as_tensor(data.train_labels).long(), spec.mean, spec.std)
    library = _integer_library(network, record.architecture, spec, range_images)
    pixels = data.train_images[:count]
    onnx = {
        "float": to_onnx(network, spec, pixels[:2], {})[0],
        "integer": integers_to_onnx(library.network, spec, pixels[:1], {})[0],
    }
    plain = _plain(network)
    images, _ = range_images[:count]
    with torch.inference_mode():
        classes = plain(images).flatten(1).argmax(1).numpy()
    return RecordedNetwork(record, library, plain, onnx, pixels, images, classes)


def _plain(network: Any) -> nn.Module:
    """Return a copy of the layers in which kernels and scales of all poses are written out."""
    plain: nn.Module = deepcopy(network.ops)  # without the view at the end, which bakenn refuses
    for module in plain.modules():
        if isinstance(module, PosedConv2d):
            module.weight = nn.Parameter(posed_filters(module.weight, module.poses))
            module.groups = module.in_channels // module.weight.shape[1]
            module.__class__ = nn.Conv2d  # type: ignore[assignment]  # the kernel is an ordinary kernel now
        elif isinstance(module, PosedBatchNorm | SharedBatchNorm):
            statistics = ("running_mean", "running_var") if isinstance(module, SharedBatchNorm) else ()
            for name in ("weight", "bias", *statistics):
                repeated = getattr(module, name).repeat_interleave(module.poses)
                setattr(module, name, nn.Parameter(repeated, requires_grad=False))
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    return plain.eval()
