"""Export of a trained network as an ONNX model that takes raw numbers of the data set.

The logits of onnxruntime are compared with the logits of this program before the file is written. The libraries are in
the optional extra ``export``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.exports.onnx_integers import integer_model
from harness.interface.formats import Files, Format
from harness.interface.weights import TrainedNetwork
from harness.spaces.network import Architecture, Task, analyse
from harness.system.errors import ContentError, refused
from harness.training.integer import IntegerNetwork, integer_logits, integers_of
from harness.training.pixels import RawInputNetwork, raw_numbers
from harness.training.recipe import Recipe

_CHECKED_IMAGES = 1_000  # training images for the comparison of onnxruntime and torch
_CHECKED_INTEGER_IMAGES = 10_000  # training images for the comparison of an integer network, as for C
_BATCH = 1_000  # images per call of onnxruntime
# Relative to the largest logit. The libraries add in different orders, so classes can differ if two logits are nearly
# equal.
_TOLERANCE = 1e-3
# The same for an integer network, whose maps may differ by 1: at most 2.9 % on training images of MNIST
# (docs/use/deployment.md) and less than 10 % on random images (tests/harness/exports/test_onnx.py).
_INTEGER_TOLERANCE = 0.2
_FLOAT_ROUNDING = 1e-6  # relative to the largest logit; float32 rounding
# Numbers of a constant up to which equal constants are merged, to store a tied kernel once. Some kernels exceed the
# default, 1,024; none exceeds this number.
_MAX_CONSTANT_NUMBERS = 1_000_000
_OPSET = 18  # oldest ONNX opset that the exporter of torch writes without conversion


class _DifferentLogits(AssertionError):
    """The exported network has other logits than the network."""


class _Onnx(Format):
    libraries = ("onnx", "onnxruntime", "onnxscript")

    def check(self, architecture: Architecture, task: Task, recipe: Recipe) -> None:
        if recipe.precision == "int8":
            analyse(architecture, task).plan.check()

    def files(self, network: TrainedNetwork, path: Path) -> Files:
        """Return the ONNX file of a network, checked on training images.

        Raises:
            ContentError: ONNX cannot express a PyTorch module of the user.
            AssertionError: The logits differ, a bug of this program.
        """
        images = network.images
        if network.recipe.precision == "int8":
            integers = integers_of(network.model, network.architecture, images.dataset)
            pixels = images.train_images[images.sample(_CHECKED_INTEGER_IMAGES)]
            content, check = integers_to_onnx(integers, images.dataset, pixels, network.about)
            differing = f", {check['logits_differ']:,} of {check['logits']:,} logits differ"
            return Files({path: content}, {"check": check}, _text(check, "the integers") + differing)
        pixels = images.train_images[images.sample(_CHECKED_IMAGES)]
        try:
            content, check = to_onnx(network.model, images.dataset, pixels, network.about)
        except Exception as error:
            module = network.architecture.user_module
            if module is None or refused(error) is not None:
                raise
            if isinstance(error, _DifferentLogits):
                message = f"ONNX cannot express {module.name}: its logits differ from those of torch"
                raise ContentError(message) from error
            cause = " ".join(str(error.__cause__ or error).split())
            raise ContentError(f"{module.name} cannot be exported as ONNX: {cause[:200]}") from error
        return Files({path: content}, {"check": check}, _text(check, "torch"))


FORMAT = _Onnx()


def _text(check: Mapping[str, Any], reference: str) -> str:
    return (
        f"onnxruntime and {reference} on {check['images']:,} training images: logits differ by at most "
        f"{check['largest_difference']:.1g} of the largest, classes differ on {check['classes_differ']}"
    )


def _fix_shapes(graph: Any) -> None:
    """Replace computed shapes of ``Reshape`` by constants, with -1 for the batch; code generators refuse ``Shape``."""
    import onnx_ir

    for node in list(graph):
        shape = node.outputs[0].shape
        if node.op_type != "Reshape" or shape is None or node.inputs[1].const_value is not None:
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) == 1 and 0 not in sizes:
            tensor = onnx_ir.tensor(sizes, onnx_ir.DataType.INT64, name=f"{node.outputs[0].name}_shape")
            constant = onnx_ir.Value(name=tensor.name, type=onnx_ir.TensorType(tensor.dtype), const_value=tensor)
            graph.register_initializer(constant)
            node.replace_input_with(1, constant)


def to_onnx(
    network: nn.Module, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]]:
    """Return the content of an ONNX file and the results of a comparison with torch.

    The input ``pixels`` are raw numbers of the data set, (batch, channels, rows, columns), uint8 if the data set
    consists of bytes, else float64; the output is ``logits``. ``network`` is in evaluation mode on a CPU; ``pixels``,
    uint8, are the images of the comparison; ``about`` is the metadata.

    Raises:
        AssertionError: The logits differ, a bug of this program.
    """
    from onnx_ir.passes.common import DeduplicateInitializersPass
    from onnxscript import optimizer

    raw_network = RawInputNetwork(network, dataset).eval()
    # With a single image, the exporter would fix the batch size at 1.
    example = raw_numbers(torch.zeros(2, *dataset.task.input_shape, dtype=torch.uint8), dataset)
    with warnings.catch_warnings(action="ignore"):  # warnings about code inside torch
        shapes = ({0: torch.export.Dim("batch")},)
        torch_program = torch.export.export(raw_network, (example,), dynamic_shapes=shapes)
        # The exporter's own form of this operator computes shapes in the graph.
        unshuffle = torch.ops.aten.pixel_unshuffle.default
        torch_program = torch_program.run_decompositions({unshuffle: torch.export.default_decompositions()[unshuffle]})
        program = torch.onnx.export(
            torch_program,
            # Programs of users call the name, although only bytes are pixels.
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes=shapes,
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            optimize=False,
            verbose=False,
        )
    assert program is not None, "a program is returned if no file is named"
    # ``optimize=True`` would fold BN into the kernels, which stores a tied kernel once per layer.
    optimizer.fold_constants(program.model)
    _fix_shapes(program.model.graph)
    optimizer.remove_unused_nodes(program.model)
    DeduplicateInitializersPass(size_limit=_MAX_CONSTANT_NUMBERS)(program.model)
    model = program.model_proto
    # The exporter stores source lines and paths of this program in every node.
    graph: Any = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    model.producer_name = "harness"
    for key, value in sorted(about.items()):
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString(deterministic=True)

    theirs = _session_logits(content, raw_numbers(pixels, dataset))
    with torch.inference_mode():
        ours = raw_network.logits(pixels)
    return content, _compared(ours, theirs, _TOLERANCE)


def integers_to_onnx(
    network: IntegerNetwork, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]]:
    """Return an integer network as an ONNX file with quantised maps (QDQ), and the results of a comparison.

    The logits are compared with the reference times ``logit_scale``; the metadata state the counts. Arguments and
    errors as for ``to_onnx``.
    """
    model = integer_model(network, dataset, _OPSET, about)
    theirs = _session_logits(model.SerializeToString(), raw_numbers(pixels, dataset), is_optimised=False)
    ours = torch.from_numpy(network.logit_scale * integer_logits(network, pixels.numpy()))
    check = _compared(ours, theirs, _INTEGER_TOLERANCE)
    check["logits"] = ours.numel()
    check["logits_differ"] = int(((ours - theirs).abs() > _FLOAT_ROUNDING * ours.abs().max()).sum())
    for name, value in check.items():
        model.metadata_props.add(key=f"reference_{name}", value=str(value))
    return model.SerializeToString(deterministic=True), check


def _session_logits(content: bytes, numbers: Tensor, *, is_optimised: bool = True) -> Tensor:
    """Return the logits of raw numbers that onnxruntime computes.

    On x86 processors without VNNI, the optimised kernels for integers add pairs of products with 16-bit saturation
    (onnxruntime's documentation, "Quantize ONNX models"), so integer networks are compared without these kernels.
    """
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    settings = SessionOptions()
    settings.intra_op_num_threads = 1
    if not is_optimised:
        settings.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    logits = [session.run(["logits"], {"pixels": batch.numpy()})[0] for batch in torch.split(numbers, _BATCH)]
    return torch.from_numpy(np.concatenate(logits))


def _compared(ours: Tensor, theirs: Tensor, tolerance: float) -> dict[str, Any]:
    difference = float((ours - theirs).abs().max()) / max(float(ours.abs().max()), 1e-6)
    # ``not <=`` in place of ``>``, so that NaN is rejected too.
    if not difference <= tolerance:
        raise _DifferentLogits(f"the logits of ONNX and harness differ by {difference:.2g}: please report this network")
    differ = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return {"images": len(ours), "largest_difference": difference, "classes_differ": differ}
