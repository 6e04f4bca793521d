"""A trained network as an ONNX model of the raw numbers of its data set, its logits compared with those of torch.

``onnx``, ``onnxruntime`` and ``onnxscript`` are the optional extra ``export``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.deployment.network import Files, TrainedNetwork
from harness.deployment.pixels import OfPixels, by_channel
from harness.system.errors import UsageError
from harness.training.integer import MAP_SCALES

# What --onnx needs beyond the program's own requirements.
ONNX_LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
# So many training images show that onnxruntime and torch agree.
_CHECKED_IMAGES = 1_000
# Logits of two libraries differ by the order of their additions; classes only where two logits are as good as equal.
_TOLERANCE = 1e-3
# The oldest that torch's exporter writes without converting.
_OPSET = 18


def onnx_files(network: TrainedNetwork, path: Path) -> Files:
    """Return the file of a network, checked on training images; raises as ``to_onnx`` does."""
    if MAP_SCALES in network.model.state_dict():
        raise UsageError("--onnx: the answers on record are those of integers, which --c writes and ONNX has not")
    images = network.images
    content, check = to_onnx(
        network.model, images.dataset, images.train_images[images.sample(_CHECKED_IMAGES)], network.about
    )
    return Files({path: content}, {"check": check})


def _raw(pixels: Tensor, whole: OfPixels) -> Tensor:
    """Return numbers of which a data set makes these pixels, uint8 where it has bytes, else float64."""
    if whole.takes_bytes:
        return pixels
    low, high = (by_channel(limits, pixels.double()) for limits in (whole.low, whole.high))
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
