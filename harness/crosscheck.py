"""A network held against other libraries: its costs as torchsummary and fvcore count them, its logits in ONNX runtime.

Each library counts in a way of its own: torchsummary a shared kernel once a use, and fvcore's figure mixes in batch
normalisation and pooling. What is left must be equal; a difference is a fault of this program or of theirs.
``onnx``, ``onnxruntime`` and ``onnxscript`` are the optional extra ``export``.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.data.own.values import Array, other_range, seems_small
from harness.evidence.record import SeedRun
from harness.system.errors import DataError, HarnessError, typed
from harness.training.modules import build, normalised
from harness.training.result import Result, same_bits_due
from search_spaces.network import Analysis, Architecture, Task
from search_spaces.ops import shape_text

# fvcore's names for what ``macs`` counts: convolutions, and linear layers in both forms that torch records.
_COMPARABLE_OPERATORS = ("conv", "linear", "addmm")
# What --onnx needs beyond the program's own requirements.
ONNX_LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
# Logits of two libraries differ by the order of their additions; classes only where two logits are as good as equal.
_TOLERANCE = 1e-3
# The oldest that torch's exporter writes without converting.
_OPSET = 18


@dataclass(frozen=True, slots=True)
class Counts:
    """What the other libraries say.

    Attributes:
        torch: stored parameters of the built module, a shared kernel once; ``fvcore`` counts them so too.
        torchsummary: its total less ``tied_repeats``, which it counts again at later uses of a shared kernel.
        fvcore_macs: its multiply-adds of convolutions and linear layers, one image, evaluation mode.
    """

    torch: int
    torchsummary: int
    fvcore: int
    fvcore_macs: int
    tied_repeats: int


def cross_check(architecture: Architecture, analysis: Analysis) -> Counts:
    """Build the network, let every library count it, and compare with ``analysis``.

    torch's random state is left as it was, and nothing is printed.

    Raises:
        HarnessError: a library disagrees, or cannot be used; both are internal faults.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, analysis.task).eval()
        own = sum(parameter.numel() for parameter in network.parameters())
        repeats = sum(parameter.numel() for _, parameter in network.named_parameters(remove_duplicate=False)) - own
        try:
            summary, (fvcore, macs) = _summary_total(network, analysis.task), _fvcore_counts(network, analysis.task)
        except ImportError as error:
            raise HarnessError(f"cannot count: {error}", hint=f"'{typed('doctor')}' shows what is installed") from error
    counts = Counts(own, summary - repeats, fvcore, macs, repeats)
    due = Counts(analysis.parameters, analysis.parameters, analysis.parameters, analysis.macs, repeats)
    if counts != due:
        raise HarnessError(f"{counts} where {due} is right", hint="a fault of this program: please report this network")
    return counts


def _summary_total(network: nn.Module, task: Task) -> int:
    """Return the total that torchsummary prints; ImportError where it, or another package of its name, prints none."""
    from torchsummary import summary

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        # It runs two random images through what it is given, which moves BN statistics in training mode.
        summary(copy.deepcopy(network).eval(), task.input_shape, device="cpu")
    total = re.search(r"^Total params: ([\d,]+)$", printed.getvalue(), re.MULTILINE)
    if total is None:
        raise ImportError("torchsummary printed no total")
    return int(total[1].replace(",", ""))


def _fvcore_counts(network: nn.Module, task: Task) -> tuple[int, int]:
    """Return fvcore's number of parameters, and its multiply-adds of one image in convolutions and linear layers.

    fvcore calls a multiply-add a flop. It also counts batch normalisation (2 a value) and global pooling (1 a
    value), which ``macs`` leaves out, and passes over other pooling and additions.
    """
    with warnings.catch_warnings():
        # It scripts and traces, which torch calls out of date.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis, parameter_count

        counter = FlopCountAnalysis(network.eval(), torch.zeros(1, *task.input_shape))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        flops = counter.by_operator()
        return int(parameter_count(network)[""]), int(sum(flops.get(name, 0) for name in _COMPARABLE_OPERATORS))


def match(result: Result, recorded: SeedRun | None) -> str:
    """Return how trained weights compare with those on record, which another machine may not give bit for bit."""
    if recorded is None or recorded.weights_sha256 is None or result.environment is None:
        return "not on record"
    if recorded.weights_sha256 == result.weights_sha256:
        return "identical"
    return "different" if same_bits_due(result.environment, recorded.environment) else "made elsewhere"


class OfPixels(nn.Module):
    """A network that takes the raw numbers of a data set, rounds them to its 256 steps and normalises them itself."""

    def __init__(self, network: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.network, self.dataset = network, dataset
        self.low, self.high = dataset.low or (0.0,), dataset.high or (255.0,)
        self.takes_bytes = {*self.low} == {0.0} and {*self.high} == {255.0}

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the logits, (images, classes), of raw numbers of any type, (images, channels, rows, columns).

        Axes of one entry may be left out.

        Raises:
            DataError: they are of another shape or scale, or not finite; what may only seem so is warned of.
        """
        shape = self.dataset.image_shape
        if not isinstance(numbers, Tensor):
            numbers = _tensor(numbers)
        if numbers.shape[1:] != shape:
            if [size for size in numbers.shape[1:] if size > 1] != [size for size in shape if size > 1]:
                size = shape_text(numbers.shape[1:])
                raise DataError(f"images are of {size}, but those of {self.dataset.name} of {shape_text(shape)}")
            numbers = numbers.reshape(-1, *shape)
        if self.takes_bytes and numbers.dtype == torch.uint8:
            return self.logits(numbers)
        numbers = numbers.double()
        if not torch.compiler.is_compiling() and len(numbers):
            self._check(numbers.detach().cpu().numpy())
        low, high = (_by_channel(limits, numbers) for limits in (self.low, self.high))
        shades = 255 * (numbers - low) / (high - low)
        # With the gradient of what is not rounded, where somebody wants one.
        steps = shades + (shades.round() - shades).detach() if shades.requires_grad else shades.round()
        return self.logits(steps.clamp(0, 255))

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits of pixels (images, channels, rows, columns) as the data set holds them, from 0 to 255."""
        images = normalised(pixels.float() / 255, self.dataset.mean, self.dataset.std)
        logits: Tensor = self.network(images)
        return logits

    def _check(self, numbers: Array) -> None:
        if not np.isfinite(numbers).all():
            raise DataError("some numbers are missing or not finite")
        low, high = np.array(self.low), np.array(self.high)
        difference = other_range(numbers, low, high)
        least, most = float(numbers.min()), float(numbers.max())
        if seems_small(numbers, low, high) or (difference and low.min() <= least and most <= high.max()):
            due = f"those of {self.dataset.name} from {low.min():g} to {high.max():g}"
            warnings.warn(f"numbers go from {least:g} to {most:g}, {due}", stacklevel=5)
        elif difference:
            raise DataError(f"the numbers {difference}: give them as those of {self.dataset.name} were given")


def _tensor(numbers: Any) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(numbers))
    except (TypeError, ValueError) as error:
        raise DataError(f"{type(numbers).__name__} is no array of numbers") from error


def _by_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _raw(pixels: Tensor, whole: OfPixels) -> Tensor:
    """Return numbers of which a data set makes these pixels, uint8 where it has bytes, else float64."""
    if whole.takes_bytes:
        return pixels
    low, high = (_by_channel(limits, pixels.double()) for limits in (whole.low, whole.high))
    return low + pixels / 255 * (high - low)


def to_onnx(
    network: nn.Module, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]]:
    """Return a file of a model from ``pixels`` (batch, channels, rows, columns) to ``logits``, and its check.

    What it calls ``pixels`` are the raw numbers of the data set: uint8 for bytes, float64 for others.

    Args:
        network: in evaluation mode, on a CPU.
        pixels: as the data set holds them, uint8; on these images its logits are compared with torch's.
        about: what the model's metadata say.

    Raises:
        AssertionError: they differ; a fault of this program.
    """
    from onnx_ir.passes.common import DeduplicateInitializersPass
    from onnxruntime import InferenceSession, SessionOptions
    from onnxscript import optimizer

    whole = OfPixels(network, dataset).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch uses itself
        program = torch.onnx.export(
            whole,
            # One image would be taken for a model of one image only.
            (_raw(torch.zeros(2, *dataset.task.input_shape, dtype=torch.uint8), whole),),
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            optimize=False,
            verbose=False,
        )
    assert program is not None, "a program is returned where no file is named"
    # Not torch's own optimisation, which folds BN into kernels: one that layers share would be stored for each of them.
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    DeduplicateInitializersPass(size_limit=1_000_000)(program.model)
    model = program.model_proto
    # The exporter notes lines and paths of this program beside every node.
    graph: Any = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    model.producer_name = "harness"
    for key, value in sorted(about.items()):
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString(deterministic=True)

    settings = SessionOptions()
    settings.intra_op_num_threads = 1
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(["logits"], {"pixels": _raw(pixels, whole).numpy()})[0])
    with torch.inference_mode():
        ours = whole.logits(pixels)
    difference = float((ours - theirs).abs().max()) / max(float(ours.abs().max()), 1e-6)
    # Written so that a nan is refused too.
    if not difference <= _TOLERANCE:
        raise AssertionError(f"ONNX gives other logits than torch, by {difference:.2g}: please report it")
    differ = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return content, {"images": len(pixels), "largest_difference": difference, "classes_differ": differ}
