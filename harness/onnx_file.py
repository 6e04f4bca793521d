"""A trained network as an ONNX model for other programs, by torch's exporter, compared with torch before it is written.

``onnx``, ``onnxruntime`` and ``onnxscript`` are the optional extra ``export``; ``harness.training.train`` has the
other format.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.evidence.record import SeedRun
from harness.training.result import Result, same_bits_due
from harness.training.steps import normalised

if TYPE_CHECKING:
    from onnx import ModelProto

# What --onnx needs beyond the program's own requirements.
LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
# Logits of two libraries differ by the order of their additions; classes only where two logits are as good as equal.
_TOLERANCE = 1e-3
# The oldest that torch's exporter writes without converting.
_OPSET = 18


class Match(StrEnum):
    """How exported weights compare with those on record."""

    IDENTICAL = "identical"
    REPEATED = "repeated"
    DIFFERENT = "different"
    ELSEWHERE = "made elsewhere"
    UNRECORDED = "not on record"


def match(result: Result, recorded: SeedRun | None) -> Match:
    """Return how trained weights compare with those on record."""
    if recorded is None or recorded.weights_sha256 is None or result.environment is None:
        return Match.UNRECORDED
    if recorded.weights_sha256 == result.weights_sha256:
        return Match.IDENTICAL
    return Match.DIFFERENT if same_bits_due(result.environment, recorded.environment) else Match.ELSEWHERE


class OfPixels(nn.Module):
    """A network that takes raw pixels, 0 to 255, and normalises them itself; gives logits (images, classes)."""

    def __init__(self, network: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.network, self.dataset = network, dataset

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of pixels (images, channels, rows, columns), or (images, rows, columns) of one channel."""
        pixels = pixels[:, None] if pixels.dim() == 3 else pixels
        images: Tensor = self.network(normalised(pixels.float() / 255, self.dataset.mean, self.dataset.std))
        return images


def onnx_model(network: nn.Module, dataset: Dataset, about: Mapping[str, str]) -> ModelProto:
    """Return a trained network as a model from ``pixels``, uint8 (batch, channels, rows, columns), to ``logits``.

    Args:
        network: in evaluation mode, on a CPU.
        about: what the model's metadata say.
    """
    from onnx_ir.passes.common import DeduplicateInitializersPass
    from onnxscript import optimizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch uses itself
        program = torch.onnx.export(
            OfPixels(network, dataset).eval(),
            # One image would be taken for a model of one image only.
            (torch.zeros(2, *dataset.task.input_shape, dtype=torch.uint8),),
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
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
    return model


def to_onnx(
    network: nn.Module, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]]:
    """Return ``onnx_model`` as a file's content, and how its logits compare with torch's on images.

    Raises:
        AssertionError: they differ; a fault of this program.
    """
    from onnxruntime import InferenceSession, SessionOptions

    content: bytes = onnx_model(network, dataset, about).SerializeToString(deterministic=True)
    settings = SessionOptions()
    settings.intra_op_num_threads = 1
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        ours = OfPixels(network, dataset)(pixels)
    difference = float((ours - theirs).abs().max()) / max(float(ours.abs().max()), 1e-6)
    # Written so that a nan is refused too.
    if not difference <= _TOLERANCE:
        raise AssertionError(f"ONNX gives other logits than torch, by {difference:.2g}: please report it")
    differ = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return content, {"images": len(pixels), "largest_difference": difference, "classes_differ": differ}
